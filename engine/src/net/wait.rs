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

/// Waits until the connection has something to do, the waker is woken, or the time is over. A signal
/// ends the wait early.
///
/// # Errors
/// When the system refuses.
pub(crate) fn wait(pause: &Pause, waker: &WakeReceiver) -> io::Result<Woken> {
    let waker = PollFd::from_borrowed_fd(waker.as_fd(), PollFlags::IN);
    // Beyond what a timespec holds there is no end.
    let time = pause.time.and_then(|time| Timespec::try_from(time).ok());
    let polled = match &pause.connection {
        Some(Polled { socket, write }) => {
            let flags = if *write { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let mut fds = [waker, PollFd::new(socket, flags)];
            poll(&mut fds, time.as_ref()).map(|_| fds.map(|fd| !fd.revents().is_empty()))
        }
        None => {
            let mut fds = [waker];
            poll(&mut fds, time.as_ref()).map(|_| [!fds[0].revents().is_empty(), false])
        }
    };
    match polled {
        Ok([waker, connection]) => Ok(Woken { connection, waker }),
        Err(Errno::INTR) => Ok(Woken::default()),
        Err(error) => Err(error.into()),
    }
}
