//! The promise of the server's answer to one published message.

use pyo3::prelude::*;

use crate::errors::OrRaise;
use crate::operation::Operation;
use crate::time::Time;
use crate::wait::{end_of, wait_until};

/// The promise of the server's answer to one published message.
///
/// Dropping it is fine: an error is then counted, reported, and raised by the next flush().
#[pyclass(frozen, module = "mezzenger")]
pub(crate) struct Receipt {
    receipt: mezzenger::Receipt,
    /// Of the event loop's client that published it.
    owner: Option<Py<PyAny>>,
}

impl Receipt {
    pub(crate) fn new(receipt: mezzenger::Receipt, owner: Option<Py<PyAny>>) -> Self {
        Self { receipt, owner }
    }
}

#[pymethods]
impl Receipt {
    /// Waits until the server has answered; False when the answer is still missing after `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<Time>) -> PyResult<bool> {
        let end = end_of(timeout.map(|Time(time)| time));
        match wait_until(py, end, self.receipt.clone())? {
            Some(answer) => answer.or_raise(py).map(|()| true),
            None => Ok(false),
        }
    }

    /// Waits for the answer, and returns for how many connections the message was; None when that is not known.
    fn receivers(&self, py: Python<'_>) -> PyResult<Option<u32>> {
        self.wait(py, None)?;
        // Decided, so that it does not wait.
        self.receipt.receivers().or_raise(py)
    }

    /// Whether the answer is there.
    #[getter]
    fn done(&self) -> bool {
        self.receipt.is_done()
    }

    /// The wait as an operation.
    fn _operation(&self) -> Operation {
        let receipt = self.receipt.clone();
        Operation::new(receipt, |_, ()| Ok(()))
    }

    fn __await__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(owner) = &self.owner else {
            let text = "this receipt is of a blocking client: call wait()";
            return Err(pyo3::exceptions::PyTypeError::new_err(text));
        };
        owner.bind(py).call_method1("_run", (self._operation(),))?.call_method0("__await__")
    }
}
