//! The connection that both clients hold.

use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use mezzenger::asynchronous::Client;
use mezzenger::{ClientBuilder, SendError};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyMapping, PyMemoryView, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};

use crate::arguments::{Given, Name, type_of};
use crate::delivery::Maker;
use crate::errors::{self, CloseError, OrRaise, PingError, WithOptions};
use crate::events::{EventQueue, Events};
use crate::filter::Wanted;
use crate::forks::Process;
use crate::manage::Manager;
use crate::message::Message;
use crate::operation::Operation;
use crate::options;
use crate::outgoing::{Outgoing, Said};
use crate::payload::{Body, Slice};
use crate::reactor::Reactor;
use crate::receipt::Receipt;
use crate::subscription::{Subscription, Terms, poll_now};
use crate::time::Timeout;
use crate::wait::{wait, waker};

/// Payloads from which on the copy to the frame is worth letting others have the interpreter.
const LARGE_BYTES: usize = 128 * 1024;

/// What a client was made with.
struct Settings {
    /// Which classes pickles may have.
    trust: Option<Py<PyAny>>,
    /// What runs operations on an event loop.
    runner: Option<Py<PyAny>>,
}

/// A connection to a server: what the clients of threads and of event loops hold.
#[pyclass(subclass, frozen, module = "mezzenger._core")]
pub(crate) struct Core {
    settings: OnceLock<Settings>,
    builder: Mutex<Option<(ClientBuilder, Given)>>,
    client: OnceLock<Client>,
    events: Arc<Events>,
    process: Process,
}

impl Core {
    pub(crate) fn client(&self, py: Python<'_>) -> PyResult<&Client> {
        self.client.get().ok_or_else(|| {
            let text = "the client is not connected: use `async with`, or await connect()";
            errors::new(py, "NotConnected", text)
        })
    }

    pub(crate) fn trust(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.settings.get()?.trust.as_ref().map(|trust| trust.clone_ref(py))
    }

    fn runner(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.settings.get()?.runner.as_ref().map(|runner| runner.clone_ref(py))
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

/// Rejects what would be taken apart into letters, numbers or keys.
#[pyfunction]
pub(crate) fn check_payloads(payloads: &Bound<'_, PyAny>) -> PyResult<()> {
    let is_one = payloads.is_instance_of::<PyString>()
        || payloads.is_instance_of::<PyBytes>()
        || payloads.is_instance_of::<PyByteArray>()
        || payloads.is_instance_of::<PyMemoryView>()
        || payloads.cast::<PyMapping>().is_ok();
    if !is_one {
        return Ok(());
    }
    let found = type_of(payloads);
    let text = format!(
        "publish_many() takes an iterable of payloads, and a {found} is one payload: give [payload], or call publish()"
    );
    Err(PyTypeError::new_err(text))
}

#[pymethods]
impl Core {
    /// What it is made with comes with `_configure`.
    #[new]
    #[pyo3(signature = (*_arguments, **_options))]
    fn new(_arguments: &Bound<'_, PyTuple>, _options: Option<&Bound<'_, PyDict>>) -> Self {
        let (settings, builder, client, events) = Default::default();
        Self { settings, builder, client, events, process: Process::this() }
    }

    /// Says, once, what it is made with. `wanted`: which events are reported.
    fn _configure(
        &self,
        py: Python<'_>,
        address: &Bound<'_, PyAny>,
        wanted: Vec<String>,
        trust: Option<Py<PyAny>>,
        runner: Option<Py<PyAny>>,
        options: &Bound<'_, PyDict>,
    ) -> PyResult<()> {
        let (builder, given) = options::read(address, options)?;
        if self.settings.set(Settings { trust, runner }).is_err() {
            let text = "the client was made before: make another one";
            return Err(errors::new(py, "Stopped", text));
        }
        let builder = self.events.listen(builder, &wanted);
        *self.builder.lock().unwrap_or_else(PoisonError::into_inner) = Some((builder, given));
        Ok(())
    }

    /// Connects, once.
    fn _connect(slf: &Bound<'_, Self>) -> PyResult<Operation> {
        let builder = &slf.get().builder;
        let builder = builder.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((builder, given)) = builder else {
            let text = "the client was connected before: make a new one";
            return Err(errors::new(slf.py(), "Stopped", text));
        };
        let core = slf.clone().unbind();
        let connected = async move {
            builder.connect_on_thread().await.map_err(|error| WithOptions::new(error, given))
        };
        Ok(Operation::new(connected, move |_, client| {
            // The builder is taken once, and so this is set once.
            let _ = core.get().client.set(client);
            Ok(())
        }))
    }

    /// Publishes a message without waiting for the server: messages travel together, and those of one name arrive in their order. Waits
    /// only for room, when the server does not keep up. Returns a Receipt, the promise of the server's answer.
    ///
    /// `payload`: bytes, str and buffers (bytearray, memoryview, arrays) travel as they are, other values as JSON, or as `format` says:
    /// "json", "msgpack" or "pickle".
    ///
    /// Options:
    ///
    /// - `ack`: the server keeps the message until it is acknowledged, and delivers it again until then.
    /// - `headers`: a dict of str, or pairs of str, that travel with it. `content_type`: what the payload is, as a media type.
    /// - `reply_to`: the name that an answer is to be published under.
    /// - `expires_in`: nobody gets it after so long (seconds or timedelta).
    /// - `deliver_in`: nobody gets it before so long (seconds or timedelta). `deliver_at`: nobody gets it before this time (an aware datetime,
    ///   or seconds since the Unix epoch). One of the two.
    /// - `retain`: the server keeps it as the last one of its name, for subscriptions with `with_last=True`.
    /// - `idempotency_key`: another message with this name and key is not published for a while (2 minutes, if the server is not told otherwise).
    ///
    /// Raises a SendError for what is known at once, such as InvalidName, SendTooLarge, SendFull (no room within `send_timeout` times
    /// `connection_retries`) and Stopped, and Unserializable for a value that `format` cannot write.
    #[pyo3(
        signature = (name, payload, **options),
        text_signature = "($self, name, payload, *, \
                          ack=False, headers=None, content_type=None, reply_to=None, expires_in=None, \
                          deliver_in=None, deliver_at=None, retain=False, idempotency_key=None, format=None)",
    )]
    fn publish(
        &self,
        py: Python<'_>,
        name: Name,
        payload: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Receipt> {
        let client = self.client(py)?;
        let outgoing = Outgoing::read("publish", payload, options)?;
        let is_constant = outgoing.body.is_constant();
        let receipt = publish(py, client, &name, outgoing.slice()?, is_constant, &outgoing.said)?;
        Ok(self.receipt(py, receipt))
    }

    /// Publishes each of several payloads under one name, all with the same options, which are those of publish(): how many there were.
    /// `payloads` is an iterable of what publish() takes; one text or one buffer is a TypeError. What the server rejects is raised by
    /// flush() or close().
    #[pyo3(
        signature = (name, payloads, **options),
        text_signature = "($self, name, payloads, *, \
                          ack=False, headers=None, content_type=None, reply_to=None, expires_in=None, \
                          deliver_in=None, deliver_at=None, retain=False, idempotency_key=None, format=None)",
    )]
    fn publish_many(
        &self,
        py: Python<'_>,
        name: Name,
        payloads: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<usize> {
        let client = self.client(py)?;
        check_payloads(payloads)?;
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
            publish(py, client, &name, slice, is_constant, said)?;
            published += 1;
        }
        Ok(published)
    }

    /// Publishes a message and waits until the server has taken it. With ack, the server has then stored it, and delivers it again and
    /// again until it is acknowledged. Options are those of publish().
    ///
    /// Raises a SendError: why it was not published, or SendTimedOut when that is not known.
    #[pyo3(
        signature = (name, payload, **options),
        text_signature = "($self, name, payload, *, \
                          ack=False, headers=None, content_type=None, reply_to=None, expires_in=None, \
                          deliver_in=None, deliver_at=None, retain=False, idempotency_key=None, format=None)",
    )]
    fn send(
        &self,
        py: Python<'_>,
        name: Name,
        payload: &Bound<'_, PyAny>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<()> {
        let client = self.client(py)?;
        let outgoing = Outgoing::read("send", payload, options)?;
        let message = outgoing.said.say(client.message(&name, outgoing.slice()?));
        wait(py, message.send())?.or_raise(py)
    }

    /// Publishes a request, and waits `timeout` (seconds or timedelta) for the first answer, which is a Message. Options are those of
    /// publish().
    ///
    /// Raises NoSubscriber at once when nobody is there, and RequestTimedOut without an answer in time.
    #[pyo3(
        signature = (name, payload, timeout, **options),
        text_signature = "($self, name, payload, timeout, *, \
                          ack=False, headers=None, content_type=None, expires_in=None, \
                          deliver_in=None, deliver_at=None, idempotency_key=None, format=None)",
    )]
    fn request(
        &self,
        py: Python<'_>,
        name: Name,
        payload: &Bound<'_, PyAny>,
        timeout: Timeout,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Message> {
        let client = self.client(py)?;
        let outgoing = Outgoing::read("request", payload, options)?;
        let message = outgoing.said.say(client.message(&name, outgoing.slice()?));
        let answer = wait(py, message.request(timeout.0))?.or_raise(py)?;
        Ok(Message::new(answer, self.trust(py)))
    }

    /// Publishes what was received under another name, as it is. Waits for room alone.
    fn forward(&self, py: Python<'_>, name: Name, message: &Message) -> PyResult<Receipt> {
        let client = self.client(py)?;
        let receipt = wait(py, client.forward(&name, &message.message))?.or_raise(py)?;
        Ok(self.receipt(py, receipt))
    }

    /// For an event loop: the receipt, or an operation when there is no room now.
    #[pyo3(signature = (name, payload, *options))]
    fn _publish<'py>(
        &self,
        py: Python<'py>,
        name: Name,
        payload: &Bound<'py, PyAny>,
        options: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let client = self.client(py)?;
        let outgoing = Outgoing::read_all(payload, options)?;
        let message = outgoing.said.say(client.message(&name, outgoing.slice()?));
        if let Poll::Ready(result) = poll_now(message.publish()) {
            let receipt = self.receipt(py, result.or_raise(py)?);
            return Ok(Bound::new(py, receipt)?.into_any());
        }
        let (client, name, runner) = (client.clone(), (*name).to_owned(), self.runner(py));
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
        name: Name,
        payload: &Bound<'_, PyAny>,
        options: &Bound<'_, PyTuple>,
    ) -> PyResult<Operation> {
        let (client, name) = (self.client(py)?.clone(), (*name).to_owned());
        let (payload, said) = Outgoing::read_all(payload, options)?.into_owned()?;
        let sent = async move { said.say(client.message(&name, payload)).send().await };
        Ok(Operation::new(sent, |_, ()| Ok(())))
    }

    #[pyo3(signature = (name, payload, timeout, *options))]
    fn _request(
        &self,
        py: Python<'_>,
        name: Name,
        payload: &Bound<'_, PyAny>,
        timeout: Timeout,
        options: &Bound<'_, PyTuple>,
    ) -> PyResult<Operation> {
        let (client, name, trust) = (self.client(py)?.clone(), (*name).to_owned(), self.trust(py));
        let (payload, said) = Outgoing::read_all(payload, options)?.into_owned()?;
        let asked =
            async move { said.say(client.message(&name, payload)).request(timeout.0).await };
        Ok(Operation::new(asked, move |_, answer| Ok(Message::new(answer, trust))))
    }

    fn _forward(&self, py: Python<'_>, name: Name, message: &Message) -> PyResult<Operation> {
        let (client, runner) = (self.client(py)?.clone(), self.runner(py));
        let name = (*name).to_owned();
        let message = message.message.clone();
        let forwarded = async move { client.forward(&name, &message).await };
        Ok(Operation::new(forwarded, move |_, receipt| Ok(Receipt::new(receipt, runner))))
    }

    /// Publishes the pickled dict of an original client.
    fn _send_original(
        &self,
        py: Python<'_>,
        name: Name,
        pickle: &Bound<'_, PyBytes>,
    ) -> PyResult<Operation> {
        let name = (*name).to_owned();
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
        let pinged = async move { client.ping().await.map_err(PingError) };
        Ok(Operation::new(pinged, |_, took: Duration| Ok(took.as_secs_f64())))
    }

    /// Begins to open a subscription.
    #[pyo3(signature = (filter, **options))]
    fn _subscribe(
        slf: &Bound<'_, Self>,
        filter: Wanted,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Operation> {
        let (py, core) = (slf.py(), slf.get());
        let client = core.client(py)?.clone();
        let (terms, given) = Terms::read(options, py)?;
        let maker = Maker { trust: core.trust(py), owner: core.runner(py) };
        let (owner, opened) = (slf.clone().unbind(), terms.open(client, filter.0.clone()));
        let opened = async move { opened.await.map_err(|error| WithOptions::new(error, given)) };
        Ok(Operation::new(opened, move |_, opened| {
            Ok(Subscription::new(opened, filter.0, maker, owner.into_any()))
        }))
    }

    /// Begins to stop, and waits for the end: the operation. Nothing comes of a client that was never connected, nor of one of the process
    /// that this was forked from, which goes on there.
    fn _close(&self) -> Option<Operation> {
        if !self.process.is_this() {
            return None;
        }
        self.builder.lock().unwrap_or_else(PoisonError::into_inner).take();
        let events = Arc::clone(&self.events);
        let Some(client) = self.client.get().cloned() else {
            events.close();
            return None;
        };
        let mut closing = Box::pin(async move { client.close().await.map_err(CloseError) });
        // The first look has it stop, whoever waits. It may be the last, whose error is told once.
        let ended = poll_now(closing.as_mut());
        let closed = async move {
            let result = match ended {
                Poll::Ready(result) => result,
                Poll::Pending => closing.await,
            };
            // What fails while it ends is reported, too.
            events.close();
            result
        };
        Some(Operation::new(closed, |_, ()| Ok(())))
    }

    /// Ends it without a wait, and reports nothing.
    fn _abandon(&self) {
        if self._close().is_some() {
            self.events.close();
        }
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

    /// Where what the client has to report waits.
    fn _events(&self) -> EventQueue {
        EventQueue::new(Arc::clone(&self.events))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Some(Settings { trust, runner }) = self.settings.get() else { return Ok(()) };
        visit.call(trust)?;
        visit.call(runner)
    }

    /// Has the reactor's loop look when there is something to report.
    fn _tell(&self, reactor: &Reactor) {
        self.events.tell(reactor.ready());
    }
}
