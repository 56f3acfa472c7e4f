//! Payloads.

use mezzenger::{Encoding, Payload};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::buffer::View;
use crate::errors;

/// What is published, as its object has it.
pub(crate) enum Body<'py> {
    Bytes(Bound<'py, PyBytes>),
    Text(Bound<'py, PyString>),
    View(View),
}

impl<'py> Body<'py> {
    /// Bytes, text and buffers as they are; any other value as `mezzenger._values.encode` writes it, and what that says it is.
    pub(crate) fn of(
        value: &Bound<'py, PyAny>,
        format: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Self, Option<Bound<'py, PyString>>)> {
        if format.is_none() {
            if let Ok(bytes) = value.cast::<PyBytes>() {
                return Ok((Self::Bytes(bytes.clone()), None));
            }
            if let Ok(text) = value.cast::<PyString>() {
                return Ok((Self::Text(text.clone()), None));
            }
            if let Some(view) = View::of(value)? {
                return Ok((Self::View(view), None));
            }
        }
        let values = value.py().import("mezzenger._values")?;
        let encoded = values.getattr("encode")?.call1((value, format))?;
        let (encoded, content_type): (Bound<'py, PyAny>, Bound<'py, PyString>) =
            encoded.extract()?;
        let body = match encoded.cast_into::<PyString>() {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Bytes(error.into_inner().cast_into()?),
        };
        Ok((body, Some(content_type)))
    }

    /// Its bytes.
    pub(crate) fn slice(&self) -> PyResult<Slice<'_>> {
        Ok(match self {
            Self::Bytes(bytes) => Slice { encoding: Encoding::Bytes, bytes: bytes.as_bytes() },
            Self::Text(text) => {
                let bytes = text.to_str().map_err(|error| unencodable(text.py(), &error))?;
                Slice { encoding: Encoding::Text, bytes: bytes.as_bytes() }
            }
            Self::View(view) => Slice { encoding: Encoding::Bytes, bytes: view.bytes() },
        })
    }

    /// Whether nobody can change it meanwhile.
    pub(crate) fn is_constant(&self) -> bool {
        !matches!(self, Self::View(_))
    }
}

/// A text that has half a surrogate pair.
fn unencodable(py: Python<'_>, error: &PyErr) -> PyErr {
    let text = format!(
        "the payload is no text that UTF-8 can have: {error}; publish bytes, as with text.encode(\"utf-8\", \"surrogateescape\")"
    );
    errors::new(py, "InvalidText", text)
}

/// Bytes, and what they are.
#[derive(Clone, Copy)]
pub(crate) struct Slice<'a> {
    pub(crate) encoding: Encoding,
    pub(crate) bytes: &'a [u8],
}

impl Slice<'_> {
    /// A copy.
    pub(crate) fn to_owned(self) -> Owned {
        Owned { encoding: self.encoding, bytes: self.bytes.to_vec() }
    }
}

impl Payload for Slice<'_> {
    fn encoding(&self) -> Encoding {
        self.encoding
    }

    fn as_payload(&self) -> &[u8] {
        self.bytes
    }
}

/// Bytes that an operation keeps, and what they are.
pub(crate) struct Owned {
    encoding: Encoding,
    bytes: Vec<u8>,
}

impl Payload for Owned {
    fn encoding(&self) -> Encoding {
        self.encoding
    }

    fn as_payload(&self) -> &[u8] {
        &self.bytes
    }
}
