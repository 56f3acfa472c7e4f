//! The waker, in every order in which its threads may run.

use std::io::{self, Read, Write};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;

use super::waker::Signal;

/// Stands for the pair of sockets. It orders nothing, so that whatever is ordered is the signal's doing.
#[derive(Default)]
struct Pipe {
    bytes: AtomicUsize,
}

impl Write for &Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for &Pipe {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let taken = self.bytes.load(Ordering::Relaxed).min(room.len());
        self.bytes.fetch_sub(taken, Ordering::Relaxed);
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }
}

/// A waker and its receiver over a pipe.
#[derive(Default)]
pub(crate) struct ModelWaker {
    signal: Signal,
    pipe: Pipe,
}

impl ModelWaker {
    /// As [`super::Waker::wake`].
    pub(crate) fn wake(&self) {
        self.signal.raise(&self.pipe);
    }

    /// Polls and clears until `done`, which looks at what the wakers changed. When a wake-up is lost, it
    /// waits forever, which loom finds out.
    pub(crate) fn wait_until(&self, mut done: impl FnMut() -> bool) {
        while !done() {
            while self.pipe.bytes.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
            self.signal.lower(&self.pipe);
        }
    }
}

#[test]
fn no_wake_up_is_lost_and_what_came_before_it_is_seen() {
    let mut orders = loom::model::Builder::new();
    // All orders of three threads would take hours. Of those with so few preemptions some lose the wake-up
    // when the signal is lowered the wrong way round.
    orders.preemption_bound = Some(3);
    orders.check(|| {
        let waker = Arc::new(ModelWaker::default());
        let changed: Arc<[AtomicBool; 2]> = Arc::default();
        for who in 0..2 {
            let (waker, changed) = (Arc::clone(&waker), Arc::clone(&changed));
            thread::spawn(move || {
                // The swap in the signal alone makes it seen.
                changed[who].store(true, Ordering::Relaxed);
                waker.wake();
            });
        }
        waker.wait_until(|| changed.iter().all(|changed| changed.load(Ordering::Relaxed)));
    });
}

#[test]
fn a_waker_that_wakes_again_and_again_is_heard_each_time() {
    loom::model(|| {
        let waker = Arc::new(ModelWaker::default());
        let changed = Arc::new(AtomicUsize::new(0));
        let (waking, changing) = (Arc::clone(&waker), Arc::clone(&changed));
        thread::spawn(move || {
            for count in 1..=2 {
                changing.store(count, Ordering::Relaxed);
                waking.wake();
            }
        });
        for count in 1..=2 {
            waker.wait_until(|| changed.load(Ordering::Relaxed) >= count);
        }
    });
}

#[test]
fn no_more_bytes_wait_than_threads_wake() {
    loom::model(|| {
        let waker = Arc::new(ModelWaker::default());
        let wakers = [(); 2].map(|()| {
            let waker = Arc::clone(&waker);
            thread::spawn(move || waker.wake())
        });
        waker.signal.lower(&waker.pipe);
        for waker in wakers {
            waker.join().unwrap();
        }
        assert!(waker.pipe.bytes.load(Ordering::Relaxed) <= 2);
    });
}
