//! What both clients hold: a connection to a server.

use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use mezzenger::asynchronous::Client;
use mezzenger::{ClientBuilder, SendError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::delivery::Maker;
use crate::errors::{self, OrRaise};
use crate::events::Events;
use crate::filter::Wanted;
use crate::manage::Manager;
use crate::message::Message;
use crate::operation::Operation;
use crate::options;
use crate::outgoing::{Outgoing, Said};
use crate::payload::{Body, Slice};
use crate::reactor::Reactor;
use crate::receipt::Receipt;
use crate::subscription::{Subscription, Terms, poll_now};
use crate::time::Time;
use crate::wait::{wait, waker};

/// Payloads from which on the copy to the frame is worth letting others have the interpreter.
const LARGE_BYTES: usize = 128 * 1024;

/// A connection to a server: what the clients of threads and of event loops hold.
#[pyclass(subclass, frozen, module = "mezzenger._core")]
pub(crate) struct Core {
    builder: Mutex<Option<ClientBuilder>>,
    client: OnceLock<Client>,
    events: Arc<Events>,
    /// Which classes pickles may have.
    trust: Option<Py<PyAny>>,
    /// What runs operations on an event loop.
    runner: Option<Py<PyAny>>,
}

impl Core {
    pub(crate) fn client(&self, py: Python<'_>) -> PyResult<&Client> {
        self.client.get().ok_or_else(|| {
            let text = "the client is not connected: use `async with`, or await connect()";
            errors::new(py, "NotConnected", text)
        })
    }

    pub(crate) fn trust(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.trust.as_ref().map(|trust| trust.clone_ref(py))
    }

    fn runner(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.runner.as_ref().map(|runner| runner.clone_ref(py))
    }

    fn receipt(&self, py: Python<'_>, receipt: mezzenger::Receipt) -> Receipt {
        Receipt::new(receipt, self.runner(py))
    }
}

/// Publishes, waiting for room alone. A large payload is copied without the interpreter, unless somebody could change it meanwhile: a copy
/// made for that would take as long.
fn publish(
    py: Python<'_>,
    client: &Client,
    name: &str,
    slice: Slice<'_>,
    is_constant: bool,
    said: &Said,
) -> PyResult<mezzenger::Receipt> {
    let message = said.say(client.message(name, slice));
    if is_constant && slice.bytes.len() >= LARGE_BYTES {
        publish_large(py, message.publish())
    } else {
        wait(py, message.publish())?.or_raise(py)
    }
}

fn publish_large(
    py: Python<'_>,
    published: impl Future<Output = Result<mezzenger::Receipt, SendError>> + Send,
) -> PyResult<mezzenger::Receipt> {
    let (mut future, waker) = (pin!(published), waker());
    match py.detach(|| future.as_mut().poll(&mut Context::from_waker(&waker))) {
        Poll::Ready(result) => result.or_raise(py),
        Poll::Pending => wait(py, future)?.or_raise(py),
    }
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(signature = (address, wanted, trust, runner, options))]
    fn new(
        py: Python<'_>,
        address: &str,
        wanted: Vec<String>,
        trust: Option<Py<PyAny>>,
        runner: Option<Py<PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let events = Arc::<Events>::default();
        let builder = events.listen(options::read(py, address, options)?, &wanted);
        let builder = Mutex::new(Some(builder));
        Ok(Self { builder, client: OnceLock::new(), events, trust, runner })
    }

    /// Connects, once.
    fn _connect(slf: &Bound<'_, Self>) -> PyResult<Operation> {
        let builder = &slf.get().builder;
        let builder = builder.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(builder) = builder else {
            let text = "the client was connected before: make a new one";
            return Err(errors::new(slf.py(), "Stopped", text));
        };
        let core = slf.clone().unbind();
        Ok(Operation::new(builder.connect_on_thread(), move |_, client| {
            // The builder is taken once, and so this is set once.
            let _ = core.get().client.set(client);
            Ok(())
        }))
    }

    /// Publishes a message without waiting for the server: messages travel together, and those of one name arrive in their order. Waits
    /// only for room, when the server does not keep up.
    #[pyo3(
        signature = (name, payload, **options),
        text_signature = "($self, name, payload, *, \
                          ack=False, headers=None, content_type=None, reply_to=None, expires_in=None, \
                          deliver_in=None, deliver_at=None, retain=False, idempotency_key=None, format=None)",
    )]
    fn publish(
        &self,
        py: Python<'_>,
        name: &str,
        payload: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Receipt> {
        let client = self.client(py)?;
        let outgoing = Outgoing::read("publish", payload, options)?;
        let is_constant = outgoing.body.is_constant();
        let receipt = publish(py, client, name, outgoing.slice()?, is_constant, &outgoing.said)?;
        Ok(self.receipt(py, receipt))
    }

    /// Publishes each of several payloads under one name, all with the same options: how many there were. Errors are those of flush().
    #[pyo3(
        signature = (name, payloads, **options),
        text_signature = "($self, name, payloads, *, \
                          ack=False, headers=None, content_type=None, reply_to=None, expires_in=None, \
                          deliver_in=None, deliver_at=None, retain=False, idempotency_key=None, format=None)",
    )]
    fn publish_many(
        &self,
        py: Python<'_>,
        name: &str,
        payloads: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<usize> {
        let client = self.client(py)?;
        let (said, format) = Said::read("publish_many", options)?;
        // Values are all of one format, and so of one type.
        let (mut published, mut typed) = (0, None);
        for payload in payloads.try_iter()? {
            let (body, content_type) = Body::of(&payload?, format.as_ref())?;
            let (slice, is_constant) = (body.slice()?, body.is_constant());
            let said = match (content_type, &mut typed) {
                (None, _) => &said,
                (Some(_), Some(typed)) => typed,
                (content_type, typed) => {
                    let (mut said, _) = Said::read("publish_many", options)?;
                    said.say_type(content_type)?;
                    typed.insert(said)
                }
            };
            publish(py, client, name, slice, is_constant, said)?;
            published += 1;
        }
        Ok(published)
    }

    /// Publishes a message and waits until the server has taken it. With ack, the server has then stored it, and delivers it again and
    /// again until it is acknowledged.
    #[pyo3(
        signature = (name, payload, **options),
        text_signature = "($self, name, payload, *, \
                          ack=False, headers=None, content_type=None, reply_to=None, expires_in=None, \
                          deliver_in=None, deliver_at=None, retain=False, idempotency_key=None, format=None)",
    )]
    fn send(
        &self,
        py: Python<'_>,
        name: &str,
        payload: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let client = self.client(py)?;
        let outgoing = Outgoing::read("send", payload, options)?;
        let message = outgoing.said.say(client.message(name, outgoing.slice()?));
        wait(py, message.send())?.or_raise(py)
    }

    /// Publishes a request, and waits for the first answer.
    #[pyo3(
        signature = (name, payload, timeout, **options),
        text_signature = "($self, name, payload, timeout, *, \
                          ack=False, headers=None, content_type=None, expires_in=None, \
                          deliver_in=None, deliver_at=None, idempotency_key=None, format=None)",
    )]
    fn request(
        &self,
        py: Python<'_>,
        name: &str,
        payload: &Bound<'_, PyAny>,
        timeout: Time,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Message> {
        let client = self.client(py)?;
        let outgoing = Outgoing::read("request", payload, options)?;
        let message = outgoing.said.say(client.message(name, outgoing.slice()?));
        let answer = wait(py, message.request(timeout.0))?.or_raise(py)?;
        Ok(Message::new(answer, self.trust(py)))
    }

    /// Publishes what was received under another name, as it is. Waits for room alone.
    fn forward(&self, py: Python<'_>, name: &str, message: &Message) -> PyResult<Receipt> {
        let client = self.client(py)?;
        let receipt = wait(py, client.forward(name, &message.message))?.or_raise(py)?;
        Ok(self.receipt(py, receipt))
    }

    /// For an event loop: the receipt, or an operation when there is no room now.
    #[pyo3(signature = (name, payload, *options))]
    fn _publish<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        payload: &Bound<'py, PyAny>,
        options: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let client = self.client(py)?;
        let outgoing = Outgoing::read_all(payload, options)?;
        let message = outgoing.said.say(client.message(name, outgoing.slice()?));
        if let Poll::Ready(result) = poll_now(message.publish()) {
            let receipt = self.receipt(py, result.or_raise(py)?);
            return Ok(Bound::new(py, receipt)?.into_any());
        }
        let (client, name, runner) = (client.clone(), name.to_owned(), self.runner(py));
        let (payload, said) = outgoing.into_owned()?;
        let published = async move { said.say(client.message(&name, payload)).publish().await };
        let operation =
            Operation::new(published, move |_, receipt| Ok(Receipt::new(receipt, runner)));
        Ok(Bound::new(py, operation)?.into_any())
    }

    #[pyo3(signature = (name, payload, *options))]
    fn _send(
        &self,
        py: Python<'_>,
        name: String,
        payload: &Bound<'_, PyAny>,
        options: &Bound<'_, PyTuple>,
    ) -> PyResult<Operation> {
        let client = self.client(py)?.clone();
        let (payload, said) = Outgoing::read_all(payload, options)?.into_owned()?;
        let sent = async move { said.say(client.message(&name, payload)).send().await };
        Ok(Operation::new(sent, |_, ()| Ok(())))
    }

    #[pyo3(signature = (name, payload, timeout, *options))]
    fn _request(
        &self,
        py: Python<'_>,
        name: String,
        payload: &Bound<'_, PyAny>,
        timeout: Time,
        options: &Bound<'_, PyTuple>,
    ) -> PyResult<Operation> {
        let (client, trust) = (self.client(py)?.clone(), self.trust(py));
        let (payload, said) = Outgoing::read_all(payload, options)?.into_owned()?;
        let asked =
            async move { said.say(client.message(&name, payload)).request(timeout.0).await };
        Ok(Operation::new(asked, move |_, answer| Ok(Message::new(answer, trust))))
    }

    fn _forward(&self, py: Python<'_>, name: String, message: &Message) -> PyResult<Operation> {
        let (client, runner) = (self.client(py)?.clone(), self.runner(py));
        let message = message.message.clone();
        let forwarded = async move { client.forward(&name, &message).await };
        Ok(Operation::new(forwarded, move |_, receipt| Ok(Receipt::new(receipt, runner))))
    }

    /// Publishes the pickled dict of an original client.
    fn _send_original(
        &self,
        py: Python<'_>,
        name: String,
        pickle: &Bound<'_, PyBytes>,
    ) -> PyResult<Operation> {
        let (client, pickle) = (self.client(py)?.clone(), pickle.as_bytes().to_vec());
        let sent = async move { client.send_original(&name, &pickle).await };
        Ok(Operation::new(sent, |_, ()| Ok(())))
    }

    fn _manager(&self, py: Python<'_>) -> PyResult<Manager> {
        Ok(Manager::new(self.client(py)?.clone(), self.trust(py)))
    }

    fn _flush(&self, py: Python<'_>) -> PyResult<Operation> {
        let client = self.client(py)?.clone();
        Ok(Operation::new(async move { client.flush().await }, |_, ()| Ok(())))
    }

    fn _ping(&self, py: Python<'_>) -> PyResult<Operation> {
        let client = self.client(py)?.clone();
        let pinged = async move { client.ping().await };
        Ok(Operation::new(pinged, |_, took: Duration| Ok(took.as_secs_f64())))
    }

    /// Begins to open a subscription.
    #[pyo3(signature = (filter, **options))]
    fn _subscribe(
        &self,
        py: Python<'_>,
        filter: Wanted,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Operation> {
        let client = self.client(py)?.clone();
        let terms = Terms::read(options, py)?;
        let maker = Maker { trust: self.trust(py), owner: self.runner(py) };
        let opened = terms.open(client, filter.0.clone());
        Ok(Operation::new(opened, move |_, opened| Ok(Subscription::new(opened, filter.0, maker))))
    }

    /// Begins to stop, and waits for the end: the operation. Nothing comes of a client that was never connected.
    fn _close(&self) -> Option<Operation> {
        self.events.close();
        self.builder.lock().unwrap_or_else(PoisonError::into_inner).take();
        let client = self.client.get()?.clone();
        let mut closing = Box::pin(async move { client.close().await });
        // The first look has it stop, whoever waits. It may be the last, whose error is told once.
        let ended = poll_now(closing.as_mut());
        let closed = async move {
            match ended {
                Poll::Ready(result) => result,
                Poll::Pending => closing.await,
            }
        };
        Some(Operation::new(closed, |_, ()| Ok(())))
    }

    /// This client's random id, the publisher in the ids of all its messages.
    #[getter]
    fn publisher_id(&self, py: Python<'_>) -> PyResult<u64> {
        self.client(py).map(Client::publisher_id)
    }

    /// Counts since the client was made, by name.
    fn _counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let counted = self.client(py)?.counters();
        let counters = PyDict::new(py);
        for (name, count) in [
            ("published", counted.published),
            ("failed", counted.failed),
            ("resent_frames", counted.resent_frames),
            ("received", counted.received),
            ("missed", counted.missed),
            ("implausible", counted.implausible),
            ("callback_failures", counted.callback_failures),
            ("acknowledged", counted.acknowledged),
            ("acks_dropped", counted.acks_dropped),
            ("blocked", counted.blocked),
        ] {
            counters.set_item(name, count)?;
        }
        counters.set_item("blocked_time", counted.blocked_time.as_secs_f64())?;
        Ok(counters)
    }

    /// Waits for what the client has to report: None once it is closed.
    fn _next_events(&self, py: Python<'_>, timeout: Time) -> PyResult<Option<Vec<Py<PyAny>>>> {
        self.events.take(py, timeout.0)
    }

    /// Has the reactor's loop look when there is something to report.
    fn _tell(&self, reactor: &Reactor) {
        self.events.tell(reactor.ready());
    }
}
