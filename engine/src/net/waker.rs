//! Ends another thread's [`super::poll()`].

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use crate::sync::atomic::{AtomicBool, Ordering};

/// Wakes the one thread that polls the [`WakeReceiver`]. Cheap to clone, and cheap to call again
/// before that thread woke: only the first call costs a system call.
#[derive(Clone)]
pub(crate) struct Waker {
    shared: Arc<Shared>,
}

struct Shared {
    signal: Signal,
    stream: UnixStream,
}

/// Says whether a byte that wakes lies in a stream, or is about to.
#[derive(Debug, Default)]
pub(super) struct Signal {
    armed: AtomicBool,
}

impl Signal {
    /// Writes a byte unless one is there.
    pub(super) fn raise(&self, mut stream: impl Write) {
        // The swap orders the caller's writes before the receiver's look at them. A few bytes are
        // in the stream at most, so the write cannot block; it fails only when the receiver is gone.
        if !self.armed.swap(true, Ordering::AcqRel) {
            let _ = stream.write(&[1]);
        }
    }

    /// Takes the bytes away.
    pub(super) fn lower(&self, mut stream: impl Read) {
        // The byte first: were the flag cleared first, a wake in between would leave a byte that this
        // read takes away while the flag says that one is there.
        let mut byte = [0; 8];
        while matches!(stream.read(&mut byte), Ok(n) if n == byte.len()) {}
        self.armed.swap(false, Ordering::AcqRel);
    }
}

/// The receiving end; give it to [`super::poll()`].
pub(crate) struct WakeReceiver {
    shared: Arc<Shared>,
    stream: UnixStream,
}

/// A waker and its receiver.
///
/// # Errors
/// When the process has no file descriptor left.
pub(crate) fn pair() -> io::Result<(Waker, WakeReceiver)> {
    let (send, receive) = UnixStream::pair()?;
    send.set_nonblocking(true)?;
    receive.set_nonblocking(true)?;
    let shared = Arc::new(Shared { signal: Signal::default(), stream: send });
    Ok((Waker { shared: Arc::clone(&shared) }, WakeReceiver { shared, stream: receive }))
}

impl Waker {
    /// Ends the current or the next poll.
    pub(crate) fn wake(&self) {
        self.shared.signal.raise(&self.shared.stream);
    }
}

impl WakeReceiver {
    /// Takes the wake-up back. Call it before looking at what the wakers changed, never after.
    pub(crate) fn clear(&mut self) {
        self.shared.signal.lower(&self.stream);
    }

    /// What can be read once it is woken.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::wait::{Pause, wait};
    use std::time::Duration;

    fn is_woken(receiver: &WakeReceiver) -> bool {
        let pause = Pause { connection: None, time: Some(Duration::ZERO) };
        wait(&pause, receiver).unwrap().waker
    }

    #[test]
    fn a_wake_is_seen_once_and_can_come_again() {
        let (waker, mut receiver) = pair().unwrap();
        assert!(!is_woken(&receiver));
        for _ in 0..3 {
            waker.wake();
            waker.clone().wake();
            assert!(is_woken(&receiver));
            receiver.clear();
            assert!(!is_woken(&receiver));
        }
    }
}
