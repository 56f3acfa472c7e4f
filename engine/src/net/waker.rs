//! Ends another thread's [`wait()`](super::wait::wait), or a task's wait.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{self, Context};

use crate::sync::atomic::{AtomicBool, Ordering};

/// Wakes the one thread that polls the [`WakeReceiver`], or the task that has the [`TaskWakes`]. Cheap to clone, and cheap
/// to call again before that woke: only the first call costs a system call, or wakes a task.
#[derive(Clone)]
pub(crate) struct Waker(WakeTarget);

#[derive(Clone)]
enum WakeTarget {
    Thread(Arc<Shared>),
    Task(Arc<Task>),
}

/// A task that is woken.
#[derive(Default)]
struct Task {
    woken: AtomicBool,
    waiting: Mutex<Option<task::Waker>>,
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

/// The receiving end; give it to [`wait()`](super::wait::wait).
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
    Ok((Waker(WakeTarget::Thread(Arc::clone(&shared))), WakeReceiver { shared, stream: receive }))
}

/// A waker of a task, and what that task waits for. They take no descriptor.
pub(crate) fn for_task() -> (Waker, TaskWakes) {
    let task = Arc::<Task>::default();
    (Waker(WakeTarget::Task(Arc::clone(&task))), TaskWakes(task))
}

impl Waker {
    /// Ends the current or the next poll.
    pub(crate) fn wake(&self) {
        match &self.0 {
            WakeTarget::Thread(shared) => shared.signal.raise(&shared.stream),
            WakeTarget::Task(task) => task.wake(),
        }
    }
}

impl Task {
    fn wake(&self) {
        // The swap orders the caller's writes before the task's look at them.
        if !self.woken.swap(true, Ordering::AcqRel) {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waiting) = waiting {
                waiting.wake();
            }
        }
    }
}

/// The receiving end of a task.
pub(crate) struct TaskWakes(Arc<Task>);

impl TaskWakes {
    /// Whether the waker was woken, which takes that back; else the task of this context is woken when it is. Call it before
    /// looking at what the wakers changed, never after.
    pub(crate) fn take(&self, context: &Context<'_>) -> bool {
        let waker = Some(context.waker().clone());
        // Whoever wakes after this finds the task; of a wake before, the lock shows the flag.
        *self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner) = waker;
        self.0.woken.swap(false, Ordering::AcqRel)
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
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;
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

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_is_woken_once_and_again_after_it_looked() {
        let (waker, wakes) = for_task();
        let count = Arc::<Count>::default();
        let task = task::Waker::from(Arc::clone(&count));
        let context = Context::from_waker(&task);
        waker.wake();
        // Nobody waited, and it is not lost.
        assert!(wakes.take(&context) && !wakes.take(&context));
        for round in 1..=3 {
            waker.wake();
            waker.clone().wake();
            assert_eq!(count.0.load(Ordering::Relaxed), round);
            assert!(wakes.take(&context) && !wakes.take(&context));
        }
    }
}
