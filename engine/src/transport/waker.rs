//! Ends another thread's [`super::poll()`].

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Wakes the one thread that polls the [`WakeReceiver`]. Cheap to clone, and cheap to call again
/// before that thread woke: only the first call costs a system call.
#[derive(Clone)]
pub struct Waker {
    shared: Arc<Shared>,
}

struct Shared {
    armed: AtomicBool,
    stream: UnixStream,
}

/// The receiving end; give it to [`super::poll()`].
pub struct WakeReceiver {
    shared: Arc<Shared>,
    stream: UnixStream,
}

/// A waker and its receiver.
///
/// # Errors
/// When the process has no file descriptor left.
pub fn pair() -> io::Result<(Waker, WakeReceiver)> {
    let (send, receive) = UnixStream::pair()?;
    send.set_nonblocking(true)?;
    receive.set_nonblocking(true)?;
    let shared = Arc::new(Shared { armed: AtomicBool::new(false), stream: send });
    Ok((Waker { shared: Arc::clone(&shared) }, WakeReceiver { shared, stream: receive }))
}

impl Waker {
    /// Ends the current or the next poll.
    pub fn wake(&self) {
        // The swap orders the caller's writes before the receiver's look at them. A few bytes are
        // in the stream at most, so the write cannot block; it fails only when the receiver is gone.
        if !self.shared.armed.swap(true, Ordering::AcqRel) {
            let _ = (&self.shared.stream).write(&[1]);
        }
    }
}

impl WakeReceiver {
    /// Takes the wake-up back. Call it before looking at what the wakers changed, never after.
    pub fn clear(&mut self) {
        // The byte first: were the flag cleared first, a wake in between would leave a byte that this
        // read takes away while the flag says that one is there.
        let mut byte = [0; 8];
        while matches!(self.stream.read(&mut byte), Ok(n) if n == byte.len()) {}
        self.shared.armed.swap(false, Ordering::AcqRel);
    }

    /// What can be read once it is woken.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Ready, poll};
    use std::time::Duration;

    fn is_woken(receiver: &WakeReceiver) -> bool {
        let mut ready = [Ready::default(); 1];
        poll(&[], &[receiver], &mut ready, Some(Duration::ZERO)).unwrap();
        ready[0].readable
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
