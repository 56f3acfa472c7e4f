//! The memory that messages take while they wait for an acknowledgement.

use super::{FootprintError, Measured, cargo};
use crate::raw::{Bound, Measure};

/// How many messages are pending at once. The larger one shows that they fit.
const COUNTS: [&str; 2] = ["1000000", "10000000"];

pub(super) fn measure() -> Measured {
    COUNTS.into_iter().map(measure_one).collect()
}

fn measure_one(count: &str) -> Result<Measure, FootprintError> {
    let example = ["run", "--release", "--locked", "-p", "mezzenger-bench", "--example"];
    let said = cargo(&[&example[..], &["pending_memory", "--", count]].concat())?;
    let bytes = bytes_each(&said, count).ok_or_else(|| FootprintError::Output {
        program: "pending_memory".to_owned(),
        said: said.clone(),
        wanted: "the bytes of each pending message",
    })?;
    Ok(Measure {
        name: format!("resident memory of a pending 128-byte message, of {count}"),
        value: bytes,
        unit: "B".to_owned(),
        min: None,
        max: None,
        goal: Some(Bound::AtMost(300.0)),
    })
}

/// Finds `1000000 pending   360.8 MB  360.8 B each`.
fn bytes_each(said: &str, count: &str) -> Option<f64> {
    let start = format!("{count} pending");
    let line = said.lines().find_map(|line| line.trim_start().strip_prefix(&start))?;
    line.trim_end().strip_suffix("B each")?.split_whitespace().last()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_the_example_is_read() {
        let said = "1000000 pending              360.8 MB  360.9 B each\n\
                    each of them replaced once   354.9 MB  354.9 B each\n";
        assert_eq!(bytes_each(said, "1000000"), Some(360.9));
        assert_eq!(bytes_each(said, "10000000"), None);
        assert_eq!(bytes_each("1000000 pending", "1000000"), None);
    }
}
