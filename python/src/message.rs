//! A received message.

use std::ffi::c_int;

use mezzenger::Encoding;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMemoryView, PyString};

use crate::buffer;
use crate::errors;

/// A received message: memoryview(message), or its payload, is a read-only view of the bytes as they came.
#[pyclass(subclass, frozen, module = "mezzenger")]
pub(crate) struct Message {
    pub(crate) message: mezzenger::Message,
    /// Which classes pickles may have, as its client was told.
    trust: Option<Py<PyAny>>,
}

impl Message {
    pub(crate) fn new(message: mezzenger::Message, trust: Option<Py<PyAny>>) -> Self {
        Self { message, trust }
    }

    fn decode<'py>(
        &self,
        slf: &Bound<'py, Self>,
        function: &str,
        pickle: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let trust = pickle.or_else(|| self.trust.as_ref().map(|trust| trust.bind(py).clone()));
        py.import("mezzenger._values")?.getattr(function)?.call1((slf, trust))
    }
}

#[pymethods]
impl Message {
    /// The name it was published under.
    #[getter]
    fn name(&self) -> &str {
        self.message.name()
    }

    /// The payload as a read-only memoryview, without a copy. It keeps the frame alive that the message came in.
    #[getter]
    fn payload<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyMemoryView>> {
        PyMemoryView::from(slf)
    }

    /// The payload as bytes, which are a copy.
    fn bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.message.payload())
    }

    /// The payload as text, whatever it was published as. Raises InvalidText, a UnicodeError, if it is not UTF-8.
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        PyString::from_bytes(py, self.message.payload()).map_err(|error| {
            let text = format!("the payload of {:?} is no text: {error}", self.message.name());
            errors::new(py, "InvalidText", text)
        })
    }

    /// The payload read as JSON.
    fn json<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.get().decode(slf, "json", None)
    }

    /// The payload as the object that was published: text, bytes, or what its content type says. What is a pickle is read with the classes
    /// that `pickle` allows, or the client's option `pickle`, alone.
    #[pyo3(signature = (*, pickle=None))]
    fn value<'py>(
        slf: &Bound<'py, Self>,
        pickle: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.get().decode(slf, "decode", pickle)
    }

    /// What the payload's bytes are: "bytes", "text", "archive", or "pickle" for a message of an original client.
    #[getter]
    fn encoding(&self) -> &'static str {
        match self.message.encoding() {
            Encoding::Bytes => "bytes",
            Encoding::Text => "text",
            Encoding::Archive => "archive",
            Encoding::Pickle => "pickle",
        }
    }

    /// What its publisher says that the payload is, as a media type.
    #[getter]
    fn content_type(&self) -> Option<&str> {
        self.message.content_type()
    }

    /// The name that an answer is to be published under.
    #[getter]
    fn reply_to(&self) -> Option<&str> {
        self.message.reply_to()
    }

    /// The headers as a dict; of several with the same key, the last one. `header_items` has all.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let headers = PyDict::new(py);
        self.message.headers().try_for_each(|(key, value)| headers.set_item(key, value))?;
        Ok(headers)
    }

    /// All headers, in the order in which they were given.
    #[getter]
    fn header_items(&self) -> Vec<(&str, &str)> {
        self.message.headers().collect()
    }

    /// The first header with this key, or None.
    fn header(&self, key: &str) -> Option<&str> {
        self.message.header(key)
    }

    /// Whether the server delivers it again until it is acknowledged.
    #[getter]
    fn requires_ack(&self) -> bool {
        self.message.requires_ack()
    }

    /// When it was made, by its publisher's clock, in seconds since the Unix epoch.
    #[getter]
    fn timestamp(&self) -> f64 {
        crate::time::unix(self.message.timestamp())
    }

    /// When it was made, in nanoseconds since the Unix epoch.
    #[getter]
    fn timestamp_ns(&self) -> u64 {
        self.message.timestamp_ns()
    }

    /// The MD5 over name, payload and timestamp, as 32 hexadecimal digits.
    #[getter]
    fn checksum(&self) -> String {
        self.message.checksum().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Publisher and sequence: the same in each copy of a message that is delivered again.
    #[getter]
    fn id(&self) -> String {
        self.message.id().to_string()
    }

    /// The publisher's count of its messages under this name, from 1; 0 when it does not count.
    #[getter]
    fn ordinal(&self) -> u64 {
        self.message.ordinal()
    }

    /// Whether the checksum matches the content; None for a message from an original client.
    fn verify(&self) -> Option<bool> {
        self.message.verify()
    }

    fn __len__(&self) -> usize {
        self.message.payload().len()
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.bytes(py)
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let (class, message) = (slf.get_type().name()?, &slf.get().message);
        let (name, bytes) = (message.name(), message.payload().len());
        Ok(format!("<{class} {name:?} {bytes} bytes, id {}>", message.id()))
    }

    fn __reduce__(slf: &Bound<'_, Self>) -> PyResult<()> {
        let text = "a message cannot be pickled: take its bytes() or value()";
        Err(errors::new(slf.py(), "Unserializable", text))
    }

    #[expect(unsafe_code, reason = "the signature that the interpreter calls")]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = slf.get().message.payload();
        // SAFETY: the interpreter gives the view. The message keeps its frame, which never moves, and nothing changes the message.
        unsafe { buffer::give(slf.as_any(), bytes, view, flags) }
    }
}
