//! Threads whose end can be waited for within a bound.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// Running threads of one name.
#[derive(Debug)]
pub(super) struct Workers {
    name: &'static str,
    /// Nothing is sent: when the last thread ends, and no further one can begin, it is disconnected.
    ended: Receiver<()>,
    running: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    /// Each thread has a clone. `None` once the end is waited for.
    sender: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// None yet.
    pub(in crate::client) fn new(name: &'static str) -> Self {
        let (running, ended) = bounded(0);
        let running = Running { sender: Some(running), threads: Vec::new() };
        Self { name, ended, running: Mutex::new(running) }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // Nothing in here panics half-way.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// When the system has none, or they were waited for.
    pub(in crate::client) fn spawn(&self, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut running = self.running();
        let Running { sender, threads } = &mut *running;
        let sender = sender.clone().ok_or_else(|| io::Error::other("the client stops"))?;
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread::Builder::new().name(self.name.to_owned()).spawn(move || {
            let _running = sender;
            body();
        })?);
        Ok(())
    }

    /// Waits until all have ended, until then at most; those that do not are left to themselves.
    pub(in crate::client) fn join(&self, end: Option<Instant>) {
        self.running().sender = None;
        let result = match end {
            Some(end) => self.ended.recv_deadline(end),
            None => self.ended.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        if result == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a thread of {} did not end in time and is left behind", self.name);
            return;
        }
        for thread in self.running().threads.drain(..) {
            // It has ended; a panic was printed where it happened, and its guards cleaned up.
            let _ = thread.join();
        }
    }
}
