//! Events of a client, in a queue that a Python thread or an event loop takes from.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mezzenger::{Blocked, ClientBuilder, ConnectionEvent, Failure, Missed};
use pyo3::BoundObject;
use pyo3::prelude::*;

use crate::errors::Raise;
use crate::reactor::Ready;
use crate::time::Timeout;

/// Events that wait; further ones are counted, and told once there is room.
const EVENTS_MAX: usize = 4096;

enum Event {
    Missed(Missed),
    Blocked(Blocked),
    Connection(ConnectionEvent),
    Failure(Failure),
}

#[derive(Default)]
struct State {
    events: VecDeque<Event>,
    dropped: u64,
    is_closed: bool,
    /// The event loop that takes them.
    loop_of: Option<Arc<Ready>>,
}

/// A client's events.
#[derive(Default)]
pub(crate) struct Events {
    state: Mutex<State>,
    changed: Condvar,
}

impl Events {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: Event) {
        let mut state = self.lock();
        if state.events.len() == EVENTS_MAX {
            state.dropped += 1;
            return;
        }
        state.events.push_back(event);
        if let Some(ready) = &state.loop_of {
            ready.raise();
        }
        self.changed.notify_all();
    }

    /// Has a client report what is wanted here: some of "missed", "blocked", "connection" and "error".
    pub(crate) fn listen(
        self: &Arc<Self>,
        mut builder: ClientBuilder,
        wanted: &[String],
    ) -> ClientBuilder {
        for what in wanted {
            let events = Arc::clone(self);
            builder = match what.as_str() {
                "missed" => {
                    builder.on_missed(move |missed| events.push(Event::Missed(missed.clone())))
                }
                "blocked" => {
                    builder.on_blocked(move |blocked| events.push(Event::Blocked(blocked)))
                }
                "connection" => builder
                    .on_connection(move |event| events.push(Event::Connection(event.clone()))),
                _ => builder.on_error(move |failure| events.push(Event::Failure(failure.clone()))),
            };
        }
        builder
    }

    pub(crate) fn tell(&self, ready: Arc<Ready>) {
        self.lock().loop_of = Some(ready);
    }

    /// No more come.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// What waits, each as its kind and what is known; `None` at the end.
    pub(crate) fn take(
        &self,
        py: Python<'_>,
        timeout: Duration,
    ) -> PyResult<Option<Vec<Py<PyAny>>>> {
        let (events, dropped, is_closed) = py.detach(|| {
            let mut state = self.lock();
            if state.events.is_empty() && !state.is_closed && !timeout.is_zero() {
                let woken = self.changed.wait_timeout(state, timeout);
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
            let dropped = std::mem::take(&mut state.dropped);
            (std::mem::take(&mut state.events), dropped, state.is_closed)
        });
        if events.is_empty() && is_closed {
            return Ok(None);
        }
        let mut objects = Vec::with_capacity(events.len() + 1);
        for event in events {
            objects.push(event.object(py)?);
        }
        if dropped > 0 {
            objects.push(object(py, ("dropped", dropped))?);
        }
        Ok(Some(objects))
    }
}

/// Where what a client has to report waits. It does not keep the client.
#[pyclass(frozen, module = "mezzenger._core")]
pub(crate) struct EventQueue(Arc<Events>);

impl EventQueue {
    pub(crate) fn new(events: Arc<Events>) -> Self {
        Self(events)
    }
}

#[pymethods]
impl EventQueue {
    /// Waits for what the client has to report: None once it is closed.
    fn next(&self, py: Python<'_>, timeout: Timeout) -> PyResult<Option<Vec<Py<PyAny>>>> {
        self.0.take(py, timeout.0)
    }
}

fn object<'py>(py: Python<'py>, parts: impl IntoPyObject<'py>) -> PyResult<Py<PyAny>> {
    let object = parts.into_pyobject(py).map_err(Into::<PyErr>::into)?;
    Ok(object.into_any().unbind())
}

impl Event {
    fn object(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Missed(Missed { name, publisher, messages, .. }) => {
                object(py, ("missed", name, publisher, messages))
            }
            Self::Blocked(Blocked::Ended { after }) => {
                object(py, ("blocked", false, after.as_secs_f64()))
            }
            Self::Blocked(_) => object(py, ("blocked", true, 0.0)),
            Self::Connection(ConnectionEvent::Disconnected { why }) => {
                object(py, ("connection", false, why.to_string()))
            }
            Self::Connection(_) => object(py, ("connection", true, None::<String>)),
            Self::Failure(failure) => {
                let cause = match &failure {
                    Failure::Publish { error, .. } => Some(error.raise(py).into_value(py)),
                    Failure::Subscription { error, .. } => Some(error.raise(py).into_value(py)),
                    _ => None,
                };
                object(py, ("error", class(&failure), failure.to_string(), cause))
            }
        }
    }
}

/// The exception's class.
fn class(failure: &Failure) -> &'static str {
    match failure {
        Failure::Callback { .. } => "CallbackFailure",
        Failure::Publish { .. } => "PublishFailure",
        Failure::Checksum { .. } => "ChecksumFailure",
        Failure::BadFrame { .. } => "BadFrameFailure",
        Failure::Refused { .. } => "AckRefusedFailure",
        Failure::Subscription { .. } => "SubscriptionFailure",
        Failure::AcksDropped { .. } => "AcksDroppedFailure",
        _ => "Failure",
    }
}
