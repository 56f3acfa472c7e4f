//! When to send an unacknowledged message again.
//!
//! The [`Retrier`] turns one interval into ticks of the [`wheel`], which does the work. It has no
//! thread and no clock: its owner says what time it is.

use std::time::Duration;

use crate::wire::id::MessageId;

pub mod wheel;

pub use wheel::Token;
use wheel::Wheel;

/// Parts of the interval that a tick is one of: how late a message may be sent again.
const TICKS_PER_INTERVAL: u32 = 64;
const TICK_MIN: Duration = Duration::from_millis(1);
const TICK_MAX: Duration = Duration::from_millis(100);

/// Knows which messages are due to be sent again.
///
/// Times are durations since the server's start. A message is due no earlier than the interval after
/// it was scheduled, and at most one tick later: a 64th of the first interval, at least 1 ms and at most
/// 100 ms. A time before one seen earlier counts as that one.
#[derive(Debug)]
pub struct Retrier {
    wheel: Wheel<MessageId>,
    interval_ns: u64,
    /// The longest interval that anything was scheduled with.
    longest_ns: u64,
    tick_ns: u64,
    now_ns: u64,
}

impl Retrier {
    /// A retrier for this interval, without messages.
    pub fn new(interval: Duration, now: Duration) -> Self {
        let tick_ns = nanos((interval / TICKS_PER_INTERVAL).clamp(TICK_MIN, TICK_MAX));
        let now_ns = nanos(now);
        let wheel = Wheel::new(now_ns / tick_ns);
        let interval_ns = nanos(interval);
        Self { wheel, interval_ns, longest_ns: interval_ns, tick_ns, now_ns }
    }

    /// What is scheduled from now on is due after this interval. The tick stays as it is.
    pub fn set_interval(&mut self, interval: Duration) {
        self.interval_ns = nanos(interval);
        self.longest_ns = self.longest_ns.max(self.interval_ns);
    }

    /// How much later than its interval a message may become due.
    pub const fn tick(&self) -> Duration {
        Duration::from_nanos(self.tick_ns)
    }

    /// How long after it was scheduled a message is due.
    pub const fn interval(&self) -> Duration {
        Duration::from_nanos(self.interval_ns)
    }

    /// Messages that are scheduled.
    pub const fn len(&self) -> usize {
        self.wheel.len()
    }

    /// Whether no message is scheduled.
    pub const fn is_empty(&self) -> bool {
        self.wheel.is_empty()
    }

    fn move_to(&mut self, now: Duration) -> u64 {
        self.now_ns = self.now_ns.max(nanos(now));
        self.now_ns
    }

    /// Makes a message due one interval from `now`.
    pub fn schedule(&mut self, id: MessageId, now: Duration) -> Token {
        let at_ns = self.move_to(now).saturating_add(self.interval_ns);
        self.wheel.schedule(id, at_ns.div_ceil(self.tick_ns))
    }

    /// Makes a message due at once.
    pub fn schedule_now(&mut self, id: MessageId, now: Duration) -> Token {
        let at_ns = self.move_to(now);
        self.wheel.schedule(id, at_ns / self.tick_ns)
    }

    /// Some of the messages that are scheduled and not due, at most 1,024, each with a time before which it
    /// was not scheduled: a part of a walk that begins with part 0. `None` behind the last part.
    pub fn part(&self, at: usize) -> Option<impl Iterator<Item = (MessageId, Duration)>> {
        let (now_tick, late_ns) =
            (self.now_ns / self.tick_ns, self.longest_ns.saturating_add(self.tick_ns));
        let waits = self.wheel.part(at)?.filter(move |(_, deadline)| *deadline > now_tick);
        Some(waits.map(move |(id, deadline)| {
            let since_ns = deadline.saturating_mul(self.tick_ns).saturating_sub(late_ns);
            (id, Duration::from_nanos(since_ns))
        }))
    }

    /// All messages of a part of the same walk, those that are due among them.
    pub fn scheduled(&self, part: usize) -> Option<impl Iterator<Item = MessageId>> {
        Some(self.wheel.part(part)?.map(|(id, _)| id))
    }

    /// Forgets a message. `false` when `token` is not (or no longer) where this message is scheduled.
    pub fn cancel(&mut self, token: Token, id: &MessageId) -> bool {
        self.wheel.cancel(token, id)
    }

    /// Appends the messages that are due to `out` and forgets them; whoever sends one again schedules
    /// it again. `true` when the budget left some over: call again.
    ///
    /// The budget also counts messages that only change their place in the wheel, so a call can
    /// return `true` and append nothing.
    pub fn due(&mut self, now: Duration, budget: usize, out: &mut Vec<MessageId>) -> bool {
        let now_tick = self.move_to(now) / self.tick_ns;
        self.wheel.advance(now_tick, budget, out)
    }

    /// When to call [`Self::due`] next. It may be somewhat before a message is due, never after.
    pub fn next_due(&self) -> Option<Duration> {
        let tick = self.wheel.next_expiry()?;
        Some(Duration::from_nanos(tick.saturating_mul(self.tick_ns)))
    }
}

/// Nanoseconds, up to the 584 years that a `u64` holds.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    const fn id(sequence: u64) -> MessageId {
        MessageId { publisher: 1, sequence }
    }

    #[test]
    fn a_tick_is_a_64th_of_the_interval_within_bounds() {
        let tick = |interval| Retrier::new(interval, ms(0)).tick();
        assert_eq!(tick(ms(0)), ms(1));
        assert_eq!(tick(ms(50)), ms(1));
        assert_eq!(tick(ms(640)), ms(10));
        assert_eq!(tick(Duration::from_secs(3600)), ms(100));
        assert_eq!(tick(Duration::MAX), ms(100));
    }

    #[test]
    fn what_is_scheduled_now_is_due_now() {
        let mut retrier = Retrier::new(ms(50), ms(7));
        let token = retrier.schedule_now(id(1), ms(9));
        assert_eq!(retrier.next_due(), Some(ms(9)));
        let mut out = Vec::new();
        assert!(!retrier.due(ms(9), 10, &mut out));
        assert_eq!(out, [id(1)]);
        assert!(!retrier.cancel(token, &id(1)));
        assert_eq!(retrier.next_due(), None);
    }

    #[test]
    fn a_clock_that_jumps_back_makes_nothing_due_early() {
        let mut retrier = Retrier::new(ms(50), ms(0));
        let mut out = Vec::new();
        retrier.due(ms(1000), 10, &mut out);
        retrier.schedule(id(1), ms(0));
        retrier.due(ms(1049), 10, &mut out);
        assert!(out.is_empty());
        retrier.due(ms(1050), 10, &mut out);
        assert_eq!(out, [id(1)]);
    }

    proptest! {
        /// A loop that sleeps until `next_due` meets each message within its interval and a tick.
        #[test]
        fn no_message_is_early_nor_more_than_a_tick_late(
            interval_us in 0..200_000_000_u64, gaps_us in prop::collection::vec(0..50_000_u64, 1..50),
        ) {
            let interval = Duration::from_micros(interval_us);
            let mut now = ms(3);
            let mut retrier = Retrier::new(interval, now);
            let mut scheduled = Vec::new();
            for (n, gap) in (0..).zip(gaps_us) {
                now += Duration::from_micros(gap);
                retrier.schedule(id(n), now);
                scheduled.push(now);
            }
            let start = now;
            let mut out = Vec::new();
            while let Some(next) = retrier.next_due() {
                now = now.max(next);
                while retrier.due(now, 3, &mut out) {}
                for found in out.drain(..) {
                    let at = scheduled[found.sequence as usize];
                    prop_assert!(now >= at + interval, "early");
                    prop_assert!(now < (at + interval + retrier.tick()).max(start + ms(1)), "late");
                }
            }
            prop_assert!(retrier.is_empty());
        }
    }
}
