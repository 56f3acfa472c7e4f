//! A thread whose end can be waited for within a bound.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, bounded};

/// A running thread.
#[derive(Debug)]
pub(super) struct Worker {
    name: &'static str,
    /// Nothing is sent: the thread's end disconnects it.
    ended: Receiver<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// Starts a thread.
    pub(super) fn spawn(
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let (running, ended) = bounded(0);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _running: crossbeam::channel::Sender<()> = running;
            body();
        })?;
        Ok(Self { name, ended, thread: Mutex::new(Some(thread)) })
    }

    /// Waits for the thread's end, so long at most; a thread that does not end is left to itself.
    /// Called on that very thread, returns at once.
    pub(super) fn join(&self, bound: Duration) {
        let is_this = |thread: &JoinHandle<()>| thread.thread().id() == thread::current().id();
        {
            let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
            if thread.as_ref().is_none_or(is_this) {
                return;
            }
        }
        if self.ended.recv_timeout(bound) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("thread {} did not end within {bound:?} and is left behind", self.name);
            return;
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has ended; a panic was printed where it happened, and its guards cleaned up.
            let _ = thread.join();
        }
    }
}
