//! Durations of the command line.

use std::time::Duration;

use mezzenger::config::parse_duration;

/// A duration as people write it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|_| "expected a duration, such as 30s or 500ms".to_owned())
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
    fn a_positive_duration_is_a_millisecond_at_least() {
        assert_eq!(positive("3"), Ok(Duration::from_secs(3)));
        assert_eq!(positive("1ms"), Ok(Duration::from_millis(1)));
        assert!(positive("0").is_err() && positive("1us").is_err() && positive("soon").is_err());
        assert_eq!(duration("0"), Ok(Duration::ZERO));
    }
}
