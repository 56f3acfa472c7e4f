//! Durations are seconds or `datetime.timedelta`; times are seconds since the Unix epoch or `datetime.datetime`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::errors;

fn seconds(value: &Bound<'_, PyAny>, method: &str, expected: &str) -> PyResult<f64> {
    if let Ok(seconds) = value.extract::<f64>() {
        return Ok(seconds);
    }
    let given = value.call_method0(method).and_then(|seconds| seconds.extract());
    given.map_err(|_| {
        let found = value.get_type().name().map(|name| name.to_string()).unwrap_or_default();
        PyTypeError::new_err(format!("expected {expected}, not {found}"))
    })
}

/// A duration that a caller gives.
pub(crate) struct Time(pub(crate) Duration);

impl<'py> FromPyObject<'_, 'py> for Time {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let seconds = seconds(&value, "total_seconds", "seconds or a datetime.timedelta")?;
        Duration::try_from_secs_f64(seconds).map(Self).map_err(|_| {
            let text = format!("a duration of {seconds} s is not possible: give 0 or more seconds");
            errors::new(value.py(), "InvalidOption", text)
        })
    }
}

/// A time of the day that a caller gives.
pub(crate) struct At(pub(crate) SystemTime);

impl<'py> FromPyObject<'_, 'py> for At {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let expected = "seconds since the Unix epoch or a datetime.datetime";
        let seconds = seconds(&value, "timestamp", expected)?;
        let since = Duration::try_from_secs_f64(seconds).ok();
        since.and_then(|since| UNIX_EPOCH.checked_add(since)).map(Self).ok_or_else(|| {
            let text = format!("{seconds} s is no time after 1970");
            errors::new(value.py(), "InvalidOption", text)
        })
    }
}

/// Seconds since the Unix epoch.
pub(crate) fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
