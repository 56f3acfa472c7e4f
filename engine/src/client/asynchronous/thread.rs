//! The thread that does a client's work where no runtime is to: turns of its requester, and the waits between them.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::driver::End;
use crate::client::connection::requester::Requester;
use crate::client::waiting::Clock;
use crate::net::wait::{Pause, Woken, wait};
use crate::net::waker::WakeReceiver;

/// What a client's thread owns. When it goes, whatever waits for it ends.
pub(super) struct ThreadState {
    // In the order in which they go: what calls wait for is decided before the clock is given up.
    pub(super) requester: Requester,
    pub(super) wakes: WakeReceiver,
    pub(super) clock: Arc<Clock>,
    pub(super) _end: End,
}

impl ThreadState {
    /// Starts the thread, which runs until the client is asked to stop, and then until all is answered or time is over.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(super) fn start(mut self) -> io::Result<()> {
        let thread = std::thread::Builder::new().name("mezzenger-client".to_owned());
        let body = move || {
            if let Err(error) = self.run() {
                tracing::error!("the client ends: its thread cannot wait for the server: {error}");
            }
        };
        thread.spawn(body).map(drop)
    }

    fn run(&mut self) -> io::Result<()> {
        let mut woken = Woken::default();
        while let Some(Pause { connection, time }) = self.requester.turn(woken) {
            let now = Instant::now();
            self.clock.wake(now);
            let end = time.and_then(|time| now.checked_add(time));
            let time = end.map(|end| self.clock.next(end).saturating_duration_since(now));
            woken = wait(&Pause { connection, time }, &self.wakes)?;
            if woken.waker {
                self.wakes.clear();
            }
        }
        Ok(())
    }
}
