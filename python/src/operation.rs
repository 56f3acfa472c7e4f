//! A call that was begun: a future that a blocking client waits for, and that an event loop polls when it was woken.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use pyo3::BoundObject;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::errors::{OrRaise, Raise};
use crate::reactor::{Reactor, Ready};
use crate::wait::wait;

/// What a call returns, once there is an interpreter to make it.
type Answer = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;
type Work = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A call that an event loop waits for.
pub(crate) struct Task {
    ready: Arc<Ready>,
    /// Whether it is among those that are to be polled.
    is_queued: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` once it is done, or was cancelled.
    work: Option<Work>,
    /// The loop's future of it.
    future: Option<Py<PyAny>>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            let ready = Arc::clone(&self.ready);
            ready.push(self);
        }
    }
}

impl Task {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(self: &Arc<Self>) -> Option<Answer> {
        self.is_queued.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(self));
        let mut state = self.lock();
        let work = state.work.as_mut()?;
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => {
                state.work = None;
                Some(answer)
            }
            Poll::Pending => None,
        }
    }

    /// Polls it, and tells the loop's future when it is done.
    pub(crate) fn run(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        let future = self.lock().future.as_ref().map(|future| future.clone_ref(py));
        let Some(future) = future.as_ref().map(|future| future.bind(py)) else { return Ok(()) };
        // Cancelled, which the loop says in its turn. What has come is not taken: it would be lost.
        if future.call_method0("done")?.is_truthy()? {
            let state = std::mem::take(&mut *self.lock());
            drop(state);
            return Ok(());
        }
        let Some(answer) = self.poll() else { return Ok(()) };
        self.lock().future = None;
        match answer(py) {
            Ok(value) => future.call_method1("set_result", (value,))?,
            Err(error) => future.call_method1("set_exception", (error.into_value(py),))?,
        };
        Ok(())
    }
}

/// A call that was begun.
#[pyclass(frozen, module = "mezzenger._core")]
pub(crate) struct Operation {
    work: Mutex<Option<Work>>,
    task: Mutex<Option<Arc<Task>>>,
}

impl Operation {
    /// The call that this future is, and what Python gets of its value.
    pub(crate) fn new<T, E, R>(
        future: impl Future<Output = Result<T, E>> + Send + 'static,
        convert: impl FnOnce(Python<'_>, T) -> PyResult<R> + Send + 'static,
    ) -> Self
    where
        T: Send + 'static,
        E: Raise + Send + 'static,
        R: for<'py> IntoPyObject<'py>,
    {
        let work = async move {
            let result = future.await;
            let answer: Answer = Box::new(move |py| {
                let value = convert(py, result.or_raise(py)?)?;
                let object = value.into_pyobject(py).map_err(Into::<PyErr>::into)?;
                Ok(object.into_any().unbind())
            });
            answer
        };
        Self { work: Mutex::new(Some(Box::pin(work))), task: Mutex::default() }
    }

    fn take(&self) -> PyResult<Work> {
        let work = self.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.ok_or_else(|| PyRuntimeError::new_err("the operation was begun already"))
    }
}

#[pymethods]
impl Operation {
    /// Waits for its end on this thread.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let work = self.take()?;
        wait(py, work)?(py)
    }

    /// Begins it for an event loop: a tuple of its value when it is done at once, None when the reactor will tell.
    fn start(&self, py: Python<'_>, reactor: &Reactor) -> PyResult<Option<(Py<PyAny>,)>> {
        let state = Mutex::new(State { work: Some(self.take()?), future: None });
        let task =
            Arc::new(Task { ready: reactor.ready(), is_queued: AtomicBool::new(false), state });
        match task.poll() {
            Some(answer) => answer(py).map(|value| Some((value,))),
            None => {
                *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
                Ok(None)
            }
        }
    }

    /// Has the reactor tell this future of its end. Called on the loop's thread, before that runs the reactor again.
    fn attach(&self, future: Py<PyAny>) {
        if let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner) {
            task.lock().future = Some(future);
        }
    }

    /// Gives it up.
    fn cancel(&self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            let state = std::mem::take(&mut *task.lock());
            drop(state);
        }
    }
}
