//! Waits for a connection and a waker together.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::waker::WakeReceiver;

/// A connection's socket, open as long as somebody waits for it.
#[derive(Clone, Debug)]
pub(crate) struct Polled {
    pub(crate) socket: Arc<OwnedFd>,
    /// Whether to wait until it can be written to, too.
    pub(crate) write: bool,
}

/// What a wait ended with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Woken {
    /// The connection has something to do.
    pub(crate) connection: bool,
    /// The waker was woken.
    pub(crate) waker: bool,
}

/// What to wait for.
#[derive(Clone, Debug)]
pub(crate) struct Pause {
    pub(crate) connection: Option<Polled>,
    /// `None`: no end.
    pub(crate) time: Option<Duration>,
}

/// Waits until the connection has something to do, the waker is woken, or the time is over. A signal ends the wait early.
///
/// # Errors
/// When the system call fails.
pub(crate) fn wait(pause: &Pause, waker: &WakeReceiver) -> io::Result<Woken> {
    let waker = PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN);
    // Beyond what a timespec holds there is no end.
    let time = pause.time.and_then(|time| Timespec::try_from(time).ok());
    let connection = pause.connection.as_ref().map(|Polled { socket, write }| {
        let flags = if *write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        PollFd::new(&**socket, flags)
    });
    let polls = connection.is_some();
    // The waker stands in for what is not there.
    let mut fds = [waker.clone(), connection.unwrap_or_else(|| waker.clone())];
    match poll(&mut fds[..1 + usize::from(polls)], time.as_ref()) {
        Ok(_) => {
            let [waker, connection] = fds.map(|fd| !fd.revents().is_empty());
            Ok(Woken { waker, connection: polls && connection })
        }
        Err(Errno::INTR) => Ok(Woken::default()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(feature = "internals")]
/// Whether something can be read from a stream.
pub(crate) fn has_input(stream: &impl std::os::fd::AsFd) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::IN)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
