//! Durations are seconds or `datetime.timedelta`; times are seconds since the Unix epoch or an aware `datetime.datetime`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;

use crate::arguments::{refused, type_of};

/// A number of seconds, or what the method of an object says.
fn seconds_of(name: &str, value: &Bound<'_, PyAny>, method: &str, expected: &str) -> PyResult<f64> {
    match value.extract::<f64>() {
        Ok(seconds) => return Ok(seconds),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => {
            return Err(refused(name, value, "is too large"));
        }
        Err(_) => {}
    }
    let given = value.call_method0(method).and_then(|seconds| seconds.extract());
    given.map_err(|_| {
        PyTypeError::new_err(format!("{name}: expected {expected}, not {}", type_of(value)))
    })
}

/// A duration that a caller gives.
pub(crate) fn duration(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let seconds = seconds_of(name, value, "total_seconds", "seconds or a datetime.timedelta")?;
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| refused(name, value, "give 0 or more seconds, or a timedelta"))
}

/// The longest delay that the server takes: some 49 days.
const DELAY_MAX: Duration = Duration::from_millis(u32::MAX as u64);

/// A duration that the server counts.
pub(crate) fn delay(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let found = duration(name, value)?;
    if found > DELAY_MAX { Err(refused(name, value, "give at most 49 days")) } else { Ok(found) }
}

/// A duration in seconds.
#[pyfunction]
pub(crate) fn seconds(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    duration(name, value).map(|time| time.as_secs_f64())
}

/// How long a call waits.
pub(crate) struct Timeout(pub(crate) Duration);

impl<'py> FromPyObject<'_, 'py> for Timeout {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        duration("timeout", &value).map(Self)
    }
}

/// After how long a message is delivered again.
pub(crate) struct Delay(pub(crate) Duration);

impl<'py> FromPyObject<'_, 'py> for Delay {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        delay("delay", &value).map(Self)
    }
}

/// A time of the day that a caller gives.
pub(crate) fn moment(name: &str, value: &Bound<'_, PyAny>) -> PyResult<SystemTime> {
    let is_naive = value.call_method0("utcoffset").is_ok_and(|offset| offset.is_none());
    if is_naive {
        let rule = "has no time zone: give datetime.now(timezone.utc) + a timedelta, or value.astimezone() if local time is meant";
        return Err(refused(name, value, rule));
    }
    let expected = "seconds since the Unix epoch or a datetime.datetime";
    let seconds = seconds_of(name, value, "timestamp", expected)?;
    let since = Duration::try_from_secs_f64(seconds).ok();
    since
        .and_then(|since| UNIX_EPOCH.checked_add(since))
        .ok_or_else(|| refused(name, value, "give a time after 1970"))
}

/// Seconds since the Unix epoch.
pub(crate) fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
