//! What a seed stands for: who takes part, and what the network and the disk do to them.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

pub(super) use super::super::catalog::{FRAME_MESSAGES_MAX, NAMES};
use crate::config::Verify;
use crate::pending::Limits;

#[derive(Clone, Debug)]
pub(super) struct Conditions {
    pub(super) durable: bool,
    pub(super) limits: Limits,
    /// How long until an unacknowledged message is sent again.
    pub(super) interval: Duration,
    pub(super) verify: Verify,
    pub(super) publishers: usize,
    /// Of a thousand publishers, those that speak v1.
    pub(super) originals: u32,
    /// Messages that each of them makes.
    pub(super) messages: usize,
    /// Of a thousand messages, those with a large payload, and its bytes.
    pub(super) large: u32,
    pub(super) large_bytes: usize,
    /// How long a publisher waits between frames, and for an answer.
    pub(super) pause_ms: Range<u64>,
    pub(super) timeout: Duration,
    pub(super) subscribers: usize,
    /// Of a thousand messages, those that a subscriber's program fails to work on.
    pub(super) failing: u32,
    pub(super) network: Weather,
    /// Connections that are cut, until all is calm.
    pub(super) cuts: usize,
    pub(super) kills: usize,
    pub(super) drains: usize,
    /// Subscriptions cancelled by somebody who never had them.
    pub(super) strange_cancels: usize,
    pub(super) commit_us: Range<u64>,
    /// Of a thousand commits, those that hang for up to three retry intervals.
    pub(super) hanging_commits: u32,
    pub(super) failing_disk: bool,
    /// From then on nothing is lost, cut, killed or slow any more.
    pub(super) calm_at: Duration,
}

/// What happens to what is sent. Without losses, copies and reordering it is what TCP makes of a network.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    pub(super) delay_us: Range<u64>,
    /// Of a thousand packets, those that are lost, and those that arrive twice.
    pub(super) losses: u32,
    pub(super) copies: u32,
    pub(super) reorders: bool,
}

impl Weather {
    pub(super) fn calm() -> Self {
        Self { delay_us: 50..500, losses: 0, copies: 0, reorders: false }
    }
}

impl Conditions {
    pub(super) fn of(random: &mut Rng) -> Self {
        let unlimited = Limits { messages: 1_000_000, bytes: 1 << 30 };
        let limits = match random.u32(0..4) {
            0 => Limits { messages: random.usize(FRAME_MESSAGES_MAX..20), ..unlimited },
            // The largest frame has room.
            1 => Limits { bytes: random.usize(16_000..30_000), ..unlimited },
            _ => unlimited,
        };
        let ms = Duration::from_millis;
        let interval = [ms(300), ms(1000), ms(5000)][random.usize(0..3)];
        let slowest_us = [1000, 20_000, 200_000][random.usize(0..3)];
        let steady = random.bool();
        let network = Weather {
            delay_us: 50..slowest_us,
            losses: if steady { 0 } else { random.u32(0..200) },
            copies: if steady { 0 } else { random.u32(0..200) },
            reorders: !steady,
        };
        Self {
            durable: random.u32(0..4) != 0,
            limits,
            interval,
            verify: Verify::Stored,
            publishers: random.usize(1..5),
            originals: 300,
            messages: random.usize(20..150),
            large: 125,
            large_bytes: 3000,
            pause_ms: 0..[5, 50, 200][random.usize(0..3)],
            timeout: ms(random.u64(500..3000)),
            subscribers: random.usize(1..5),
            failing: random.u32(0..300),
            network,
            cuts: random.usize(0..20),
            kills: random.usize(0..4),
            drains: random.usize(0..2),
            strange_cancels: random.usize(0..3),
            commit_us: 100..[500, 20_000, 200_000][random.usize(0..3)],
            hanging_commits: [0, 20][random.usize(0..2)],
            failing_disk: random.u32(0..6) == 0,
            calm_at: ms(random.u64(3000..15_000)),
        }
    }

    /// An impatient publisher sends its frames again and again to a server whose disk is slow.
    pub(super) fn flood(random: &mut Rng) -> Self {
        let ms = Duration::from_millis;
        Self {
            durable: true,
            verify: Verify::Never,
            publishers: 1,
            originals: 0,
            messages: 12,
            large: 1000,
            large_bytes: 300_000,
            pause_ms: 1..2,
            timeout: ms(50),
            network: Weather::calm(),
            commit_us: 2_000_000..2_000_001,
            calm_at: ms(5000),
            ..Self::of(random).without_faults()
        }
    }

    fn without_faults(self) -> Self {
        let limits = Limits { messages: 1_000_000, bytes: 1 << 30 };
        Self {
            limits,
            failing: 0,
            cuts: 0,
            kills: 0,
            drains: 0,
            strange_cancels: 0,
            hanging_commits: 0,
            failing_disk: false,
            ..self
        }
    }
}
