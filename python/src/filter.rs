//! Which messages a subscription is for.

use std::hash::{DefaultHasher, Hash, Hasher};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Which messages a subscription is for, by their names: one name, a prefix, or a pattern of tokens parted by ".".
#[pyclass(frozen, eq, skip_from_py_object, module = "mezzenger")]
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Filter(pub(crate) mezzenger::Filter);

#[pymethods]
impl Filter {
    /// Messages of one name. A str stands for this where a filter is expected.
    #[staticmethod]
    fn name(name: String) -> Self {
        Self(mezzenger::Filter::Name(name))
    }

    /// Messages whose name begins with this text; the empty text stands for all messages.
    #[staticmethod]
    fn prefix(prefix: String) -> Self {
        Self(mezzenger::Filter::Prefix(prefix))
    }

    /// Messages whose tokens fit: "*" fits any one token, and ">" at the end fits one or more.
    #[staticmethod]
    fn pattern(pattern: String) -> Self {
        Self(mezzenger::Filter::Pattern(pattern))
    }

    /// Whether messages of this name are among them.
    fn fits(&self, name: &str) -> bool {
        self.0.fits(name)
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

    fn __repr__(&self) -> String {
        format!("Filter.{}({:?})", self.kind(), self.text())
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
        if let Ok(name) = value.cast::<PyString>() {
            return Ok(Self(mezzenger::Filter::name(name.to_str()?)));
        }
        match value.cast::<Filter>() {
            Ok(filter) => Ok(Self(filter.get().0.clone())),
            Err(_) => Err(PyTypeError::new_err("expected a name (str) or a mezzenger.Filter")),
        }
    }
}
