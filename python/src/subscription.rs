//! A subscription, read by a thread or by an event loop.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mezzenger::asynchronous::{
    Client, Delivery as Delivered, GroupBuilder, Subscription as Opened, SubscriptionBuilder,
};
use mezzenger::{Filter, ReceiveError, SubscribeError};
use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{PyTraverseError, PyVisit};

use crate::arguments::{Given, number, text};
use crate::delivery::Maker;
use crate::errors::{self, OrRaise};
use crate::operation::Operation;
use crate::time::{Timeout, delay};
use crate::wait::{end_of, wait_until};

/// How a subscription is to be opened: the keyword arguments of what subscribes.
#[derive(Default)]
pub(crate) struct Terms {
    /// `None`: as is usual for the filter.
    observe: Option<bool>,
    with_last: bool,
    lossy: bool,
    credit: Option<u64>,
    group: Option<String>,
    ack_wait: Option<Duration>,
    in_flight_max: Option<u32>,
    attempts_max: Option<u16>,
    backoff: Option<Vec<Duration>>,
    keep_expired: bool,
    leaves_extending: bool,
}

impl Terms {
    pub(crate) fn read(
        arguments: Option<&Bound<'_, PyDict>>,
        py: Python<'_>,
    ) -> PyResult<(Self, Given)> {
        let (mut terms, mut of_groups) = (Self::default(), None);
        let mut given = Given::default();
        for (key, value) in arguments.into_iter().flatten() {
            let key = key.cast_into::<PyString>()?;
            if value.is_none() {
                continue;
            }
            let name = key.to_str()?;
            given.note(name, &value);
            let mut needs_group = |option| _ = of_groups.get_or_insert(option);
            match name {
                "observe" => terms.observe = Some(value.is_truthy()?),
                "with_last" => terms.with_last = value.is_truthy()?,
                "lossy" => terms.lossy = value.is_truthy()?,
                "credit" => terms.credit = Some(number(name, &value)?),
                "group" => {
                    terms.group = Some((*text(name, &value, "InvalidName")?).to_owned());
                }
                "ack_wait" => {
                    terms.ack_wait = Some(delay(name, &value)?);
                    needs_group("ack_wait");
                }
                "in_flight_max" => {
                    terms.in_flight_max = Some(number(name, &value)?);
                    needs_group("in_flight_max");
                }
                "attempts_max" => {
                    terms.attempts_max = Some(number(name, &value)?);
                    needs_group("attempts_max");
                }
                "backoff" => {
                    terms.backoff = Some(delays(name, &value)?);
                    needs_group("backoff");
                }
                "keep_expired" => {
                    terms.keep_expired = value.is_truthy()?;
                    if terms.keep_expired {
                        needs_group("keep_expired");
                    }
                }
                "extend" => {
                    terms.leaves_extending = !value.is_truthy()?;
                    if terms.leaves_extending {
                        needs_group("extend");
                    }
                }
                other => {
                    let text = format!("got an unexpected keyword argument '{other}'");
                    return Err(PyTypeError::new_err(text));
                }
            }
        }
        match of_groups {
            Some(option) if terms.group.is_none() => {
                let text = format!("the option {option} needs a group");
                Err(errors::new(py, "InvalidOption", text))
            }
            _ => Ok((terms, given)),
        }
    }

    /// Opens it. What a group cannot have, its builder says.
    pub(crate) async fn open(
        mut self,
        client: Client,
        filter: Filter,
    ) -> Result<Opened, SubscribeError> {
        let builder = self.of_any(client.subscription_to(filter));
        match self.group.take() {
            Some(name) => self.of_group(builder.group(name)).open().await,
            None => builder.open().await,
        }
    }

    fn of_any(&self, mut builder: SubscriptionBuilder) -> SubscriptionBuilder {
        match self.observe {
            Some(true) => builder = builder.observe(),
            // Members of groups take part anyway.
            Some(false) if self.group.is_none() => builder = builder.broadcast(),
            _ => {}
        }
        if self.with_last {
            builder = builder.with_last();
        }
        if self.lossy {
            builder = builder.lossy();
        }
        match self.credit {
            Some(bytes) => builder.credit(bytes),
            None => builder,
        }
    }

    fn of_group(self, mut builder: GroupBuilder) -> GroupBuilder {
        if let Some(time) = self.ack_wait {
            builder = builder.ack_wait(time);
        }
        if let Some(messages) = self.in_flight_max {
            builder = builder.in_flight_max(messages);
        }
        if let Some(attempts) = self.attempts_max {
            builder = builder.attempts_max(attempts);
        }
        if let Some(delays) = &self.backoff {
            builder = builder.backoff(delays);
        }
        if self.keep_expired {
            builder = builder.keep_expired();
        }
        if self.leaves_extending {
            builder = builder.extend_automatically(false);
        }
        builder
    }
}

/// The delays of a group, one after each attempt.
pub(crate) fn delays(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<Duration>> {
    let wrong = |_| PyTypeError::new_err(format!("{name}: expected durations, as in [1, 10]"));
    value.try_iter().map_err(wrong)?.map(|value| delay(name, &value?)).collect()
}

/// A subscription that several may hold; `None` once it was closed.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Option<Opened>>>);

impl Shared {
    pub(crate) fn new(opened: Opened) -> Self {
        Self(Arc::new(Mutex::new(Some(opened))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Opened>> {
        // Held for one look at a time, and never while this thread waits for the interpreter.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message, or has this context's task woken when there is one.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Result<Delivered, ReceiveError>> {
        match &mut *self.lock() {
            Some(opened) => pin!(opened.recv()).poll(context),
            None => Poll::Ready(Err(ReceiveError::Closed)),
        }
    }

    /// The next message, if one is here.
    fn try_recv(&self) -> Result<Delivered, ReceiveError> {
        match &mut *self.lock() {
            Some(opened) => opened.try_recv(),
            None => Err(ReceiveError::Closed),
        }
    }

    /// Ends it, and wakes all that wait.
    pub(crate) fn close(&self) {
        let opened = self.lock().take();
        drop(opened);
    }

    fn is_closed(&self) -> bool {
        self.lock().is_none()
    }
}

/// A subscription that is read like an iterator. Each message comes once, as a Delivery; close() or the end of a `with` block ends it.
#[pyclass(frozen, module = "mezzenger")]
pub(crate) struct Subscription {
    shared: Shared,
    filter: crate::filter::Filter,
    maker: Maker,
    /// Its client, which stays as long as it is read.
    client: Py<PyAny>,
}

impl Subscription {
    pub(crate) fn new(opened: Opened, filter: Filter, maker: Maker, client: Py<PyAny>) -> Self {
        Self { shared: Shared::new(opened), filter: crate::filter::Filter(filter), maker, client }
    }

    /// What a callback needs of it.
    pub(crate) fn parts(&self, py: Python<'_>) -> (Shared, Filter, Maker) {
        (self.shared.clone(), self.filter.0.clone(), self.maker.clone_ref(py))
    }

    /// Waits for a message; `None` when none came in time.
    fn next(
        &self,
        py: Python<'_>,
        timeout: Option<Duration>,
    ) -> PyResult<Option<Result<Delivered, ReceiveError>>> {
        match self.shared.try_recv() {
            Err(ReceiveError::TimedOut) => {
                wait_until(py, end_of(timeout), poll_fn(|context| self.shared.poll(context)))
            }
            now => Ok(Some(now)),
        }
    }

    /// Adds what is here to a list.
    fn take<'py>(
        &self,
        py: Python<'py>,
        max: usize,
        list: &mut Vec<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        while list.len() < max {
            match self.shared.try_recv() {
                Ok(delivered) => list.push(self.maker.make(py, delivered)?),
                Err(ReceiveError::TimedOut) => break,
                // What was taken comes first; the next call says it.
                Err(_) if !list.is_empty() => break,
                Err(error) => return Err(error).or_raise(py),
            }
        }
        Ok(())
    }
}

#[pymethods]
impl Subscription {
    /// What it is for.
    #[getter]
    fn filter(&self) -> crate::filter::Filter {
        self.filter.clone()
    }

    /// Whether it was closed.
    #[getter]
    fn closed(&self) -> bool {
        self.shared.is_closed()
    }

    /// Waits for the next message. Raises ReceiveTimedOut after `timeout`, and SubscriptionClosed when none comes any more.
    #[pyo3(signature = (timeout=None))]
    fn recv<'py>(&self, py: Python<'py>, timeout: Option<Timeout>) -> PyResult<Bound<'py, PyAny>> {
        let timeout = timeout.map(|Timeout(time)| time);
        match self.next(py, timeout)? {
            Some(received) => self.maker.make(py, received.or_raise(py)?),
            None => {
                let waited = timeout.unwrap_or_default().as_secs_f64();
                Err(errors::new(py, "ReceiveTimedOut", format!("no message within {waited} s")))
            }
        }
    }

    /// The next message if one is here, or None.
    fn try_recv<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.shared.try_recv() {
            Ok(delivered) => self.maker.make(py, delivered).map(Some),
            Err(ReceiveError::TimedOut) => Ok(None),
            Err(error) => Err(error).or_raise(py),
        }
    }

    /// Waits for a message, and returns it with those that are here, at most `max`; an empty list after `timeout`.
    #[pyo3(signature = (max=1024, timeout=None))]
    fn recv_many<'py>(
        &self,
        py: Python<'py>,
        max: usize,
        timeout: Option<Timeout>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let mut list = Vec::new();
        self.take(py, max, &mut list)?;
        if list.is_empty() && max > 0 {
            match self.next(py, timeout.map(|Timeout(time)| time))? {
                Some(first) => {
                    list.push(self.maker.make(py, first.or_raise(py)?)?);
                    self.take(py, max, &mut list)?;
                }
                None => return Ok(list),
            }
        }
        Ok(list)
    }

    /// What is here, at most `max` messages.
    #[pyo3(signature = (max=1024))]
    fn try_many<'py>(&self, py: Python<'py>, max: usize) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let mut list = Vec::new();
        self.take(py, max, &mut list)?;
        Ok(list)
    }

    /// A wait for the next message as an operation. One that is cancelled loses none.
    fn _receive(&self, py: Python<'_>) -> Operation {
        let (shared, maker) = (self.shared.clone(), self.maker.clone_ref(py));
        let received = async move { poll_fn(|context| shared.poll(context)).await };
        Operation::new(received, move |py, delivered| maker.make(py, delivered).map(Bound::unbind))
    }

    /// Ends it: what was not acknowledged goes to others. Closing again does nothing.
    fn close(&self) {
        self.shared.close();
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.next(py, None)?.unwrap_or(Err(ReceiveError::TimedOut)) {
            Ok(delivered) => self.maker.make(py, delivered),
            Err(ReceiveError::Closed) => Err(PyStopIteration::new_err(())),
            Err(error) => Err(error).or_raise(py),
        }
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, pyo3::types::PyTuple>) {
        self.close();
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.client)
    }

    fn __repr__(&self) -> String {
        let state = if self.shared.is_closed() { ", closed" } else { "" };
        format!("<Subscription to {}{state}>", self.filter.__repr__())
    }
}

/// Polls once, and is not told when there is more to see.
pub(crate) fn poll_now<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
