//! A delivered message, and the verdicts of its receiver.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mezzenger::asynchronous::Delivery as Delivered;
use mezzenger::{Payload, SendError};
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;

use crate::arguments::{Name, refused, text};
use crate::errors::{self, OrRaise};
use crate::forks::Process;
use crate::message::Message;
use crate::operation::Operation;
use crate::payload::Body;
use crate::receipt::Receipt;
use crate::time::Delay;
use crate::wait::wait;

/// Bytes of a reason that travel.
const REASON_BYTES_MAX: usize = 255;

/// A reason that travels as a whole.
fn reason(reason: &Bound<'_, PyAny>) -> PyResult<String> {
    let text = text("reason", reason, "InvalidOption")?;
    if text.len() <= REASON_BYTES_MAX {
        return Ok((*text).to_owned());
    }
    let rule = format!(
        "has {} bytes, and at most {REASON_BYTES_MAX} travel: shorten it, or log the rest",
        text.len()
    );
    Err(refused("reason", reason, &rule))
}

/// What a callback returns to say what becomes of its message; None stands for `Verdict.ack()`.
#[pyclass(frozen, eq, skip_from_py_object, module = "mezzenger")]
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Verdict(pub(crate) mezzenger::Verdict);

#[pymethods]
impl Verdict {
    /// It is done.
    #[staticmethod]
    fn ack() -> Self {
        Self(mezzenger::Verdict::Ack)
    }

    /// Not now: in a group it is delivered again after so long.
    #[staticmethod]
    #[pyo3(signature = (delay=None))]
    fn nak(delay: Option<Delay>) -> Self {
        Self(mezzenger::Verdict::Nak(delay.map_or(Duration::ZERO, |Delay(delay)| delay)))
    }

    /// Never: in a group it becomes a dead letter with this reason, of at most 255 bytes.
    #[staticmethod]
    #[pyo3(signature = (reason))]
    fn reject(reason: &Bound<'_, PyAny>) -> PyResult<Self> {
        self::reason(reason).map(|reason| Self(mezzenger::Verdict::Reject(reason)))
    }

    fn __repr__(&self) -> String {
        match &self.0 {
            mezzenger::Verdict::Ack => "Verdict.ack()".to_owned(),
            mezzenger::Verdict::Nak(delay) => format!("Verdict.nak({})", delay.as_secs_f64()),
            mezzenger::Verdict::Reject(reason) => format!("Verdict.reject({reason:?})"),
        }
    }
}

/// A message that was delivered to a subscription, which is to be settled if it asks for acknowledgement.
#[pyclass(subclass, frozen, extends = Message, module = "mezzenger", name = "_Delivery")]
pub(crate) struct BaseDelivery {
    /// `None` once it is settled.
    delivery: Mutex<Option<Delivered>>,
    is_redelivered: bool,
    is_retained: bool,
    attempt: u16,
    process: Process,
}

impl BaseDelivery {
    fn lock(&self) -> MutexGuard<'_, Option<Delivered>> {
        // It is replaced as a whole.
        self.delivery.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what becomes of it, unless that was said.
    pub(crate) fn settle(&self, verdict: &mezzenger::Verdict) -> bool {
        let Some(delivery) = self.lock().take() else { return false };
        match verdict {
            mezzenger::Verdict::Ack => delivery.ack(),
            mezzenger::Verdict::Nak(delay) => delivery.nak(*delay),
            mezzenger::Verdict::Reject(reason) => delivery.reject(reason),
        }
        true
    }

    fn say(&self, py: Python<'_>, verdict: &mezzenger::Verdict) -> PyResult<()> {
        self.process.check(py, "client")?;
        if self.settle(verdict) {
            return Ok(());
        }
        let text = "the message was settled before: ack(), nak() and reject() count once";
        Err(errors::new(py, "AlreadySettled", text))
    }
}

/// What was delivered, lent for a call that may wait, and given back when it goes. Meanwhile it counts as settled.
struct Lent {
    owner: Py<BaseDelivery>,
    delivery: Option<Delivered>,
}

impl Lent {
    fn of(owner: &Bound<'_, BaseDelivery>) -> PyResult<Self> {
        owner.get().process.check(owner.py(), "client")?;
        let delivery = owner.get().lock().take();
        if delivery.is_none() {
            let text = "the message was settled before: reply() and forward_to() come first";
            return Err(errors::new(owner.py(), "AlreadySettled", text));
        }
        Ok(Self { owner: owner.clone().unbind(), delivery })
    }

    async fn reply(&self, payload: impl Payload) -> Result<mezzenger::Receipt, SendError> {
        match &self.delivery {
            Some(delivery) => delivery.reply(payload).await,
            None => Err(SendError::NoReplyWanted),
        }
    }

    async fn reply_error(&self, reason: &str) -> Result<mezzenger::Receipt, SendError> {
        match &self.delivery {
            Some(delivery) => delivery.reply_error(reason).await,
            None => Err(SendError::NoReplyWanted),
        }
    }

    async fn forward_to(&self, name: &str) -> Result<mezzenger::Receipt, SendError> {
        match &self.delivery {
            Some(delivery) => delivery.forward_to(name).await,
            None => Err(SendError::NoReplyWanted),
        }
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.owner.get().lock() = self.delivery.take();
    }
}

#[pymethods]
impl BaseDelivery {
    /// Whether it was sent before, to this subscription or to another one.
    #[getter]
    fn redelivered(&self) -> bool {
        self.is_redelivered
    }

    /// Whether it came because the subscription asked for the last values.
    #[getter]
    fn retained(&self) -> bool {
        self.is_retained
    }

    /// How often its group got it, this time included; 0 outside of groups.
    #[getter]
    fn attempt(&self) -> u16 {
        self.attempt
    }

    /// Whether ack(), nak() or reject() was called.
    #[getter]
    fn settled(&self) -> bool {
        self.lock().is_none()
    }

    /// It is done. Does not wait: acknowledgements leave together.
    fn ack(&self, py: Python<'_>) -> PyResult<()> {
        self.say(py, &mezzenger::Verdict::Ack)
    }

    /// Gives it back to its group, which gets it again after `delay`. Outside of groups the server delivers it again by itself.
    #[pyo3(signature = (delay=None))]
    fn nak(&self, py: Python<'_>, delay: Option<Delay>) -> PyResult<()> {
        let delay = delay.map_or(Duration::ZERO, |Delay(delay)| delay);
        self.say(py, &mezzenger::Verdict::Nak(delay))
    }

    /// It will never be done: in a group it becomes a dead letter with this reason, of at most 255 bytes.
    fn reject(&self, py: Python<'_>, reason: &Bound<'_, PyAny>) -> PyResult<()> {
        self.say(py, &mezzenger::Verdict::Reject(self::reason(reason)?))
    }

    /// Settles it as what a callback returned says, unless that was done. What reply() returns stands for nothing.
    fn _settle(&self, said: &Bound<'_, PyAny>) -> PyResult<bool> {
        if let Ok(verdict) = said.cast::<Verdict>() {
            return Ok(self.settle(&verdict.get().0));
        }
        if said.is_none() || said.is_instance_of::<Receipt>() {
            return Ok(self.settle(&mezzenger::Verdict::Ack));
        }
        let text = format!(
            "a callback returned {}: return None, which acknowledges, or a Verdict, such as Verdict.nak()",
            said.repr()?
        );
        Err(PyTypeError::new_err(text))
    }

    /// Asks for as much time again as the group gives, from now on.
    fn extend(&self, py: Python<'_>) -> PyResult<()> {
        self.process.check(py, "client")?;
        let is_extended = self.lock().as_ref().map(Delivered::extend).is_some();
        if is_extended {
            return Ok(());
        }
        let text = "the message was settled before: there is no time to be extended";
        Err(errors::new(py, "AlreadySettled", text))
    }

    /// A context manager, also for `async with`: acknowledges at its end, and gives the message back, or leaves it unacknowledged, when
    /// an exception ends it.
    #[pyo3(signature = (*, nak_delay=None))]
    fn process<'py>(
        slf: &Bound<'py, Self>,
        nak_delay: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let module = slf.py().import("mezzenger._process")?;
        module.getattr("Process")?.call1((slf, nak_delay))
    }
}

/// A delivery of a blocking client.
#[pyclass(frozen, extends = BaseDelivery, module = "mezzenger")]
pub(crate) struct Delivery;

#[pymethods]
impl Delivery {
    /// Answers it, if it is a request. Waits for room in the buffer alone, and settles nothing.
    #[pyo3(signature = (payload, *, format=None))]
    fn reply(
        slf: &Bound<'_, Self>,
        payload: &Bound<'_, PyAny>,
        format: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Receipt> {
        let (body, _) = Body::of(payload, format)?;
        let lent = Lent::of(slf.as_super())?;
        let receipt = wait(slf.py(), lent.reply(body.slice()?))?.or_raise(slf.py())?;
        Ok(Receipt::new(receipt, None))
    }

    /// Answers it, if it is a request, that it failed: whoever asked gets RequestFailed with this reason. Waits for room in the buffer alone,
    /// and settles nothing.
    fn reply_error(slf: &Bound<'_, Self>, reason: &str) -> PyResult<Receipt> {
        let lent = Lent::of(slf.as_super())?;
        let receipt = wait(slf.py(), lent.reply_error(reason))?.or_raise(slf.py())?;
        Ok(Receipt::new(receipt, None))
    }

    /// Publishes it under another name, as it is. Waits for room in the buffer alone, and settles nothing.
    fn forward_to(slf: &Bound<'_, Self>, name: Name) -> PyResult<Receipt> {
        let lent = Lent::of(slf.as_super())?;
        let receipt = wait(slf.py(), lent.forward_to(&name))?.or_raise(slf.py())?;
        Ok(Receipt::new(receipt, None))
    }
}

/// A delivery of an event loop's client.
#[pyclass(frozen, extends = BaseDelivery, module = "mezzenger._core")]
pub(crate) struct AioDelivery {
    /// The client.
    owner: Py<PyAny>,
}

impl AioDelivery {
    /// The coroutine of a call, which Python names when nobody awaits it.
    fn run<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        operation: Operation,
    ) -> PyResult<Bound<'py, PyAny>> {
        let coroutine = self.owner.bind(py).call_method1("_run", (operation,))?;
        coroutine.setattr(intern!(py, "__name__"), name)?;
        coroutine.setattr(intern!(py, "__qualname__"), format!("Delivery.{name}"))?;
        Ok(coroutine)
    }
}

#[pymethods]
impl AioDelivery {
    /// Answers it, if it is a request. Waits for room in the buffer alone, and settles nothing.
    #[pyo3(signature = (payload, *, format=None))]
    fn reply<'py>(
        slf: &Bound<'py, Self>,
        payload: &Bound<'py, PyAny>,
        format: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (body, _) = Body::of(payload, format)?;
        let payload = body.slice()?.to_owned();
        let lent = Lent::of(slf.as_super())?;
        let owner = slf.get().owner.clone_ref(slf.py());
        let replied = async move { lent.reply(payload).await };
        let operation =
            Operation::new(replied, move |_, receipt| Ok(Receipt::new(receipt, Some(owner))));
        slf.get().run(slf.py(), "reply", operation)
    }

    /// Answers it, if it is a request, that it failed: whoever asked gets RequestFailed with this reason. Waits for room in the buffer alone,
    /// and settles nothing.
    fn reply_error<'py>(slf: &Bound<'py, Self>, reason: String) -> PyResult<Bound<'py, PyAny>> {
        let lent = Lent::of(slf.as_super())?;
        let owner = slf.get().owner.clone_ref(slf.py());
        let replied = async move { lent.reply_error(&reason).await };
        let operation =
            Operation::new(replied, move |_, receipt| Ok(Receipt::new(receipt, Some(owner))));
        slf.get().run(slf.py(), "reply_error", operation)
    }

    /// Publishes it under another name, as it is. Waits for room in the buffer alone, and settles nothing.
    fn forward_to<'py>(slf: &Bound<'py, Self>, name: Name) -> PyResult<Bound<'py, PyAny>> {
        let name = (*name).to_owned();
        let lent = Lent::of(slf.as_super())?;
        let owner = slf.get().owner.clone_ref(slf.py());
        let forwarded = async move { lent.forward_to(&name).await };
        let operation =
            Operation::new(forwarded, move |_, receipt| Ok(Receipt::new(receipt, Some(owner))));
        slf.get().run(slf.py(), "forward_to", operation)
    }
}

/// Makes Python's objects of what was delivered.
pub(crate) struct Maker {
    /// Which classes pickles may have.
    pub(crate) trust: Option<Py<PyAny>>,
    /// The client of an event loop.
    pub(crate) owner: Option<Py<PyAny>>,
}

impl Maker {
    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        let clone = |object: &Option<Py<PyAny>>| object.as_ref().map(|it| it.clone_ref(py));
        Self { trust: clone(&self.trust), owner: clone(&self.owner) }
    }

    /// The object of a delivery.
    pub(crate) fn make<'py>(
        &self,
        py: Python<'py>,
        delivered: Delivered,
    ) -> PyResult<Bound<'py, PyAny>> {
        let trust = self.trust.as_ref().map(|trust| trust.clone_ref(py));
        let message = Message::new(delivered.message().clone(), trust);
        let (is_redelivered, is_retained) = (delivered.is_redelivered(), delivered.is_retained());
        let attempt = delivered.attempt();
        let delivery = Mutex::new(Some(delivered));
        let process = Process::this();
        let base = BaseDelivery { delivery, is_redelivered, is_retained, attempt, process };
        let whole = PyClassInitializer::from(message).add_subclass(base);
        Ok(match &self.owner {
            Some(owner) => {
                let owner = owner.clone_ref(py);
                Bound::new(py, whole.add_subclass(AioDelivery { owner }))?.into_any()
            }
            None => Bound::new(py, whole.add_subclass(Delivery))?.into_any(),
        })
    }
}
