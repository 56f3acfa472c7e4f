//! Python's buffers: those that are published, and those that received payloads are.
#![expect(unsafe_code, reason = "the buffer protocol hands out pointers")]

use std::ffi::{c_int, c_void};

use pyo3::buffer::PyUntypedBuffer;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::errors;

/// The bytes of an object that gave its buffer.
pub(crate) struct View(PyUntypedBuffer);

impl View {
    /// The buffer of an object; `None` when it has none.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        // What gives none, such as an array of times, or one without dimensions, is a value like others.
        let Ok(buffer) = PyUntypedBuffer::get(object) else { return Ok(None) };
        // Its bytes are addresses of this process.
        if buffer.format().to_bytes().contains(&b'O') {
            let text = "an array of objects has no bytes of its own: publish what its elements have, as with \
                        array.tolist(), or with format=\"pickle\"";
            return Err(errors::new(object.py(), "Unserializable", text));
        }
        if !buffer.is_c_contiguous() {
            let text = "the buffer is not contiguous in C order: copy it first, as with \
                        numpy.ascontiguousarray(array) or bytes(view)";
            return Err(errors::new(object.py(), "NotContiguous", text));
        }
        Ok(Some(Self(buffer)))
    }

    /// Its bytes. Whoever else writes to it meanwhile, without the interpreter, decides what is read.
    pub(crate) fn bytes(&self) -> &[u8] {
        let (at, bytes) = (self.0.buf_ptr().cast::<u8>().cast_const(), self.0.len_bytes());
        if at.is_null() || bytes == 0 {
            return &[];
        }
        // SAFETY: the exporter keeps so many contiguous bytes there until the buffer is released, which is when this goes.
        // They are read while this thread is attached to the interpreter.
        unsafe { std::slice::from_raw_parts(at, bytes) }
    }
}

/// Gives a view of bytes that `owner` keeps.
///
/// # Safety
/// `view` is where the interpreter wants it, or null. The bytes stay where they are as long as `owner` lives.
pub(crate) unsafe fn give(
    owner: &Bound<'_, PyAny>,
    bytes: &[u8],
    view: *mut ffi::Py_buffer,
    flags: c_int,
) -> PyResult<()> {
    let (at, length) = (bytes.as_ptr().cast_mut().cast::<c_void>(), bytes.len() as isize);
    // SAFETY: `view` is as promised, and checked for null there. It is read-only, so that nobody writes to the bytes. It takes
    // a reference to `owner`.
    let given = unsafe { ffi::PyBuffer_FillInfo(view, owner.as_ptr(), at, length, 1, flags) };
    if given == 0 { Ok(()) } else { Err(PyErr::fetch(owner.py())) }
}
