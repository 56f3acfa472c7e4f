//! The promise of the server's answer to one published message.

use pyo3::prelude::*;

use crate::errors::{self, OrRaise};
use crate::operation::Operation;
use crate::time::Timeout;
use crate::wait::{end_of, wait_until};

/// The promise of the server's answer to one published message. One of an event loop's client is awaited: that returns what receivers()
/// does.
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

    /// A wait would hold an event loop up, which may have to do what is waited for.
    fn may_wait(&self, py: Python<'_>) -> PyResult<()> {
        if self.owner.is_none() || self.receipt.is_done() {
            return Ok(());
        }
        let text = "the server has not answered yet, and to wait would block the event loop: await the receipt";
        Err(errors::new(py, "WouldBlock", text))
    }
}

#[pymethods]
impl Receipt {
    /// Waits until the server has answered; False when the answer is still missing after `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<Timeout>) -> PyResult<bool> {
        self.may_wait(py)?;
        let end = end_of(timeout.map(|Timeout(time)| time));
        match wait_until(py, end, self.receipt.clone())? {
            Some(answer) => answer.or_raise(py).map(|()| true),
            None => Ok(false),
        }
    }

    /// Waits for the answer, and returns for how many connections the message was; None when that is not known, as it was sent again.
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
        let answered = async move {
            receipt.clone().await?;
            // Decided, so that it does not wait.
            receipt.receivers()
        };
        Operation::new(answered, |_, receivers| Ok(receivers))
    }

    fn __repr__(&self) -> &'static str {
        if self.receipt.is_done() { "<Receipt, answered>" } else { "<Receipt, not answered yet>" }
    }

    fn __await__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(owner) = &self.owner else {
            let text = "this receipt is of a blocking client: call wait()";
            return Err(pyo3::exceptions::PyTypeError::new_err(text));
        };
        owner.bind(py).call_method1("_run", (self._operation(),))?.call_method0("__await__")
    }
}
