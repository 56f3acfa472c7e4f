//! What a seed stands for: who takes part, and what happens to them.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

use super::without::Without;
use crate::wire::control::{Backoff, Group};
use crate::wire::filter::Filter;

pub(super) const NAMES: [&str; 3] = ["jobs.a", "jobs.b", "news.a"];

/// Groups by name and filter. The first ones are created to be durable; but whoever joins one that is not there makes
/// one that is not.
pub(super) const GROUPS: [(&str, Filter<'static>); 4] = [
    ("one", Filter::Prefix("jobs")),
    ("two", Filter::Pattern("*.a")),
    ("three", Filter::Prefix("")),
    ("four", Filter::Name("jobs.b")),
];
pub(super) const DURABLE: usize = 2;

/// What the members of a group agree on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) ack_wait_ms: u32,
    pub(super) in_flight_max: u32,
    pub(super) attempts_max: u16,
    pub(super) backoff: &'static [u32],
}

impl Terms {
    fn of(random: &mut Rng) -> Self {
        Self {
            ack_wait_ms: [200, 1000, 3000][random.usize(0..3)],
            in_flight_max: [0, 1, 3][random.usize(0..3)],
            attempts_max: [0, 1, 2, 4][random.usize(0..4)],
            backoff: [&[][..], &[100], &[0, 50, 400]][random.usize(0..3)],
        }
    }

    /// What clients tell the server of a group.
    pub(super) fn group(self, at: usize, without: Without) -> Group<'static> {
        let Self { ack_wait_ms, in_flight_max, attempts_max, backoff } = self;
        let backoff = if without == Without::Backoff { &[][..] } else { backoff };
        Group {
            name: GROUPS[at].0,
            ack_wait_ms: match without {
                Without::AckWait => 1 << 30,
                Without::WholeAckWait => ack_wait_ms / 4,
                _ => ack_wait_ms,
            },
            in_flight_max,
            attempts_max: if without == Without::AttemptsMax { 0 } else { attempts_max },
            backoff: Backoff::new(backoff).unwrap(),
            keeps_expired: false,
        }
    }

    pub(super) fn ack_wait(&self) -> Duration {
        Duration::from_millis(self.ack_wait_ms.into())
    }

    /// What comes before the attempt that follows so many.
    pub(super) fn delay(&self, attempts: u16) -> Duration {
        let nth = self.backoff.len().min(attempts.into());
        Duration::from_millis(nth.checked_sub(1).map_or(0, |at| self.backoff[at].into()))
    }
}

#[derive(Clone, Debug)]
pub(super) struct Conditions {
    /// How long until a message that is no job is sent again.
    pub(super) interval: Duration,
    pub(super) terms: [Terms; GROUPS.len()],
    pub(super) publishers: usize,
    /// Messages that each of them makes, and how long it waits between frames.
    pub(super) messages: usize,
    pub(super) pause_ms: Range<u64>,
    /// Of a thousand messages, those that are delivered later, those that expire, and those without acknowledgement.
    pub(super) delayed: u32,
    pub(super) expiring: u32,
    pub(super) unkept: u32,
    pub(super) members: usize,
    /// Of a thousand deliveries, those that a member does not simply acknowledge.
    pub(super) failing: u32,
    pub(super) listeners: usize,
    /// How often somebody creates, deletes, replays or purges.
    pub(super) operations: usize,
    /// Whether all letters are replayed in the end, or purged.
    pub(super) replays: bool,
    pub(super) latency_us: Range<u64>,
    pub(super) cuts: usize,
    pub(super) kills: usize,
    pub(super) drains: usize,
    pub(super) commit_us: Range<u64>,
    /// From then on nobody fails, and nothing is cut or killed any more.
    pub(super) calm_at: Duration,
}

impl Conditions {
    pub(super) fn of(random: &mut Rng) -> Self {
        let ms = Duration::from_millis;
        Self {
            interval: [ms(500), ms(2000)][random.usize(0..2)],
            terms: std::array::from_fn(|_| Terms::of(random)),
            publishers: random.usize(1..4),
            messages: random.usize(10..60),
            pause_ms: 1..[20, 200, 400][random.usize(0..3)],
            delayed: random.u32(0..400),
            expiring: random.u32(0..400),
            unkept: random.u32(0..300),
            members: random.usize(2..7),
            failing: random.u32(0..700),
            listeners: random.usize(0..4),
            operations: random.usize(0..20),
            replays: random.bool(),
            latency_us: 50..[500, 5000, 100_000][random.usize(0..3)],
            cuts: random.usize(0..20),
            kills: random.usize(0..4),
            drains: random.usize(0..2),
            commit_us: 100..[500, 20_000, 400_000][random.usize(0..3)],
            calm_at: ms(random.u64(2000..10_000)),
        }
    }
}
