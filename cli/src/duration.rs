//! Durations of the command line.

use std::time::{Duration, SystemTime};

use mezzenger::config::parse_duration;

/// A duration as people write it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|_| "expected a duration, such as 30s or 500ms".to_owned())
}

/// A time as people write it.
pub(crate) fn time(text: &str) -> Result<SystemTime, String> {
    humantime::parse_rfc3339_weak(text)
        .map_err(|_| "expected a date and a time in UTC, such as 2027-01-31T08:00:00Z".to_owned())
}

/// A duration that a group can wait for: the wire format has 32 bits for its milliseconds.
pub(crate) fn of_group(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time > Duration::from_millis(u32::MAX.into()) {
        return Err("must be at most 49 days".to_owned());
    }
    Ok(time)
}

/// The same, which is long enough to be one for the server.
pub(crate) fn positive_of_group(text: &str) -> Result<Duration, String> {
    positive(text).and_then(|_| of_group(text))
}

/// A duration that is long enough to be one for the server.
pub(crate) fn positive(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time < Duration::from_millis(1) {
        return Err("must be at least 1ms".to_owned());
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_its_error_says() {
        let error = time("tomorrow").unwrap_err();
        let (_, example) = error.rsplit_once(' ').expect("an example");
        assert!(time(example).is_ok() && time("2027-13-01T08:00:00Z").is_err());
    }

    #[test]
    fn a_positive_duration_is_a_millisecond_at_least() {
        assert_eq!(positive("3"), Ok(Duration::from_secs(3)));
        assert_eq!(positive("1ms"), Ok(Duration::from_millis(1)));
        assert!(positive("0").is_err() && positive("1us").is_err() && positive("soon").is_err());
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert_eq!(of_group("49days"), Ok(Duration::from_hours(49 * 24)));
        assert!(of_group("50days").is_err() && positive_of_group("0").is_err());
    }
}
