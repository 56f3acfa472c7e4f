//! The bound on messages published and not yet received by the slowest subscriber of the run.
//!
//! Most brokers do not hold publishers back: they drop messages, or disconnect a subscriber, when it
//! falls behind. Within a bound that their queues can hold, a saturated run of them is without loss.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::count::Count;

/// A publisher takes room for this part of its share at a time: so the counts of all subscribers are
/// summed up seldom.
const PARTS: u64 = 8;

/// How often the one publisher that looks for room does so: seldom enough to leave the processor to
/// the target, often enough that a window of some milliseconds never runs empty.
const TICK: Duration = Duration::from_micros(200);

/// The window that the publishers of a run share.
#[derive(Debug)]
pub(crate) struct Window {
    limit: u64,
    /// Messages that one publisher takes room for at a time.
    chunk: u64,
    /// Messages that publishers took room for.
    taken: AtomicU64,
    /// Held by the publisher that looks for room. The others sleep in its queue.
    turn: Mutex<()>,
    /// The counts of each subscriber.
    received: Vec<Vec<Arc<Count>>>,
}

impl Window {
    /// A window of `limit` messages.
    pub(crate) fn new(limit: u64, publishers: u16, received: Vec<Vec<Arc<Count>>>) -> Self {
        let chunk = (limit / (PARTS * u64::from(publishers))).max(1);
        Self { limit, chunk, taken: AtomicU64::new(0), turn: Mutex::new(()), received }
    }

    /// Waits for room and takes it: messages that the caller may publish now. `None` when `is_over`
    /// said so first.
    pub(crate) fn take(&self, is_over: impl Fn() -> bool) -> Option<u64> {
        if self.try_take() {
            return Some(self.chunk);
        }
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.try_take() {
                return Some(self.chunk);
            }
            if is_over() {
                return None;
            }
            thread::sleep(TICK);
        }
    }

    fn try_take(&self) -> bool {
        let end = self.received_by_all() + self.limit;
        let taken = |taken: u64| (taken + self.chunk <= end).then_some(taken + self.chunk);
        self.taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).is_ok()
    }

    /// Messages received by the slowest subscriber.
    fn received_by_all(&self) -> u64 {
        let sum = |counts: &Vec<Arc<Count>>| counts.iter().map(|count| count.get()).sum();
        self.received.iter().map(sum).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages that can be published before the window is full.
    fn room(window: &Window) -> u64 {
        std::iter::from_fn(|| window.take(|| true)).sum()
    }

    #[test]
    fn the_slowest_subscriber_makes_room() {
        let counts: Vec<Vec<Arc<Count>>> = vec![vec![Arc::default(), Arc::default()]; 1];
        let slow = vec![Arc::new(Count::default())];
        let window = Window::new(16, 2, vec![counts[0].clone(), slow.clone()]);
        assert_eq!(room(&window), 16);
        counts[0][0].set(9);
        counts[0][1].set(7);
        assert_eq!(room(&window), 0, "the other subscriber has received nothing");
        slow[0].set(5);
        assert_eq!(room(&window), 5);
    }

    #[test]
    fn a_window_of_one_lets_one_message_through() {
        let received = vec![Arc::new(Count::default())];
        let window = Window::new(1, 8, vec![received.clone()]);
        assert_eq!(room(&window), 1);
        received[0].set(1);
        assert_eq!(room(&window), 1);
    }
}
