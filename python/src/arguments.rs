//! Arguments of calls. What cannot work is named with its option and its value; what is of another type is a TypeError, as everywhere in
//! Python.

use std::ops::Deref;

use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyBool, PyString};

use crate::errors;

/// Characters of a value that an error shows.
const SHOWN_MAX: usize = 60;

/// A value as errors show it.
pub(crate) fn shown(value: &Bound<'_, PyAny>) -> String {
    // A number of thousands of digits has no text.
    let Ok(text) = value.repr() else { return format!("<{}>", type_of(value)) };
    let text = text.to_string_lossy();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// The name of a value's type.
pub(crate) fn type_of(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map(|name| name.to_string()).unwrap_or_default()
}

/// An option with a value that cannot work.
pub(crate) fn refused(name: &str, value: &Bound<'_, PyAny>, rule: &str) -> PyErr {
    errors::new(value.py(), "InvalidOption", format!("{name}={}: {rule}", shown(value)))
}

/// A whole number, and the largest that is taken.
pub(crate) trait Number: TryFrom<i64> {
    /// `None`: as large as one likes.
    const MAX: Option<i64>;
}

impl Number for u16 {
    const MAX: Option<i64> = Some(u16::MAX as i64);
}

impl Number for u32 {
    const MAX: Option<i64> = Some(u32::MAX as i64);
}

impl Number for u64 {
    const MAX: Option<i64> = None;
}

impl Number for usize {
    const MAX: Option<i64> = None;
}

/// A number as an option.
pub(crate) fn number<T: Number>(name: &str, value: &Bound<'_, PyAny>) -> PyResult<T> {
    let found = match value.extract::<i64>() {
        Ok(found) if !value.is_instance_of::<PyBool>() => T::try_from(found).ok(),
        Err(error) if error.is_instance_of::<PyOverflowError>(value.py()) => None,
        _ => {
            let text = format!("{name}: expected an int, not {}", type_of(value));
            return Err(PyTypeError::new_err(text));
        }
    };
    found.ok_or_else(|| match T::MAX {
        Some(max) => refused(name, value, &format!("give a number from 0 to {max}")),
        None => refused(name, value, "give a number from 0 to 2**63 - 1"),
    })
}

/// A number as an option that is at least 1.
pub(crate) fn positive<T: Number + PartialEq + From<u8>>(
    name: &str,
    value: &Bound<'_, PyAny>,
) -> PyResult<T> {
    let found = number::<T>(name, value)?;
    if found == T::from(0) { Err(refused(name, value, "give at least 1")) } else { Ok(found) }
}

/// A text as an argument. One that is not Unicode, because it has half a surrogate pair, raises this class.
pub(crate) fn text(name: &str, value: &Bound<'_, PyAny>, class: &str) -> PyResult<PyBackedStr> {
    let Ok(text) = value.cast::<PyString>() else {
        let text = format!("{name}: expected a str, not {}", type_of(value));
        return Err(PyTypeError::new_err(text));
    };
    PyBackedStr::try_from(text.clone()).map_err(|error| {
        let text = format!("{name}={}: {}: give a text that UTF-8 can have", shown(value), error);
        errors::new(value.py(), class, text)
    })
}

/// The name of a message or of a group.
pub(crate) struct Name(PyBackedStr);

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'py> FromPyObject<'_, 'py> for Name {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        text("name", &value, "InvalidName").map(Self)
    }
}

/// A filter's text.
pub(crate) struct FilterText(PyBackedStr);

impl Deref for FilterText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'py> FromPyObject<'_, 'py> for FilterText {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        text("filter", &value, "InvalidFilter").map(Self)
    }
}

/// Options as they were given, for errors that the library finds later.
#[derive(Default)]
pub(crate) struct Given(Vec<(String, String)>);

impl Given {
    pub(crate) fn note(&mut self, name: &str, value: &Bound<'_, PyAny>) {
        self.0.push((name.to_owned(), shown(value)));
    }

    /// What is wrong with an option, which the library calls by the name of its builder's method.
    pub(crate) fn explain(&self, option: &str, problem: &str) -> String {
        let name = match option {
            "server_address" => "address",
            "extend_automatically" => "extend",
            other => other,
        };
        match self.0.iter().find(|(given, _)| given == name) {
            Some((_, value)) => format!("{name}={value} {problem}"),
            None => format!("the option {name} {problem}"),
        }
    }
}
