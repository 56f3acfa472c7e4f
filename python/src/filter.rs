//! The filter of a subscription.

use std::hash::{DefaultHasher, Hash, Hasher};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::arguments::{FilterText, Name, text, type_of};
use crate::errors;

/// Which messages a subscription is for, by their names: one name, a prefix, or a pattern of tokens separated by ".".
#[pyclass(frozen, eq, skip_from_py_object, module = "mezzenger")]
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Filter(pub(crate) mezzenger::Filter);

#[pymethods]
impl Filter {
    /// How they are said is part of what they are.
    #[new]
    #[pyo3(signature = (*_arguments, **_options))]
    fn new(
        _arguments: &Bound<'_, PyTuple>,
        _options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let text = "say what kind of filter it is: Filter.name(..), Filter.prefix(..) or Filter.pattern(..)";
        Err(PyTypeError::new_err(text))
    }

    /// Messages of one name. A str stands for this where a filter is expected, unless it looks like a pattern.
    #[staticmethod]
    fn name(name: FilterText) -> Self {
        Self(mezzenger::Filter::name(&*name))
    }

    /// Messages whose name begins with this text; the empty text stands for all messages.
    #[staticmethod]
    fn prefix(prefix: FilterText) -> Self {
        Self(mezzenger::Filter::prefix(&*prefix))
    }

    /// Messages whose tokens fit: "*" fits any one token, and ">" at the end fits one or more.
    #[staticmethod]
    fn pattern(pattern: FilterText) -> Self {
        Self(mezzenger::Filter::pattern(&*pattern))
    }

    /// Whether messages of this name are among them.
    fn fits(&self, name: Name) -> bool {
        self.0.fits(&name)
    }

    /// "name", "prefix" or "pattern".
    #[getter]
    fn kind(&self) -> &'static str {
        match self.0 {
            mezzenger::Filter::Name(_) => "name",
            mezzenger::Filter::Prefix(_) => "prefix",
            mezzenger::Filter::Pattern(_) => "pattern",
        }
    }

    /// The name, prefix or pattern.
    #[getter]
    fn text(&self) -> &str {
        let (mezzenger::Filter::Name(text)
        | mezzenger::Filter::Prefix(text)
        | mezzenger::Filter::Pattern(text)) = &self.0;
        text
    }

    fn __hash__(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    pub(crate) fn __repr__(&self) -> String {
        format!("Filter.{}({:?})", self.kind(), self.text())
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<(Py<PyAny>, (&'static str, String))> {
        let make = slf.py().import("mezzenger._records")?.getattr("_filter")?;
        let filter = slf.get();
        Ok((make.unbind(), (filter.kind(), filter.text().to_owned())))
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }
}

/// A filter as an argument: a str is a name.
pub(crate) struct Wanted(pub(crate) mezzenger::Filter);

impl<'py> FromPyObject<'_, 'py> for Wanted {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(filter) = value.cast::<Filter>() {
            return Ok(Self(filter.get().0.clone()));
        }
        if !value.is_instance_of::<PyString>() {
            let text =
                format!("expected a name (str) or a mezzenger.Filter, not {}", type_of(&value));
            return Err(PyTypeError::new_err(text));
        }
        let name = text("filter", &value, "InvalidName")?;
        if looks_like_a_pattern(&name) {
            let text = format!(
                "a str is the name of messages, and {name:?} looks like a pattern: give Filter.pattern({name:?}), or Filter.name({name:?}) for \
                 messages of exactly this name"
            );
            return Err(errors::new(value.py(), "InvalidFilter", text));
        }
        Ok(Self(mezzenger::Filter::name(&*name)))
    }
}

/// Whether somebody may have meant a pattern by a name.
fn looks_like_a_pattern(name: &str) -> bool {
    name.contains('*') || name.split('.').any(|token| token == ">")
}
