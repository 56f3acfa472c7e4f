//! What a seed stands for: who takes part, what the server is told, and what the wires do.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;

pub(super) use super::super::catalog::{FRAME_MESSAGES_MAX, NAMES};
use super::disk::PATH;
use crate::config::{Config, SlowSubscriber};

/// The name of those who have no trouble.
pub(super) const HEALTHY: &str = "c";

/// The name of what a group works on.
pub(super) const WORK: &str = "w";

#[derive(Clone, Debug)]
pub(super) struct Conditions {
    pub(super) config: Config,
    /// Whether messages may be refused because too many wait for their acknowledgement.
    pub(super) is_limited: bool,
    /// Whether any publisher may have to wait for any subscriber.
    pub(super) is_tight: bool,
    pub(super) publishers: usize,
    /// Of a thousand publishers and subscribers, those that speak v1.
    pub(super) originals: u32,
    /// Messages that each publisher makes.
    pub(super) messages: usize,
    /// Of a thousand messages, those with a large payload, and its bytes.
    pub(super) large: u32,
    pub(super) large_bytes: usize,
    /// How long a publisher waits between requests.
    pub(super) pause_ms: Range<u64>,
    pub(super) subscribers: usize,
    /// Of a thousand messages, those that a subscriber's program fails to work on.
    pub(super) failing: u32,
    /// Native subscribers that look on or take part, and members of a group.
    pub(super) natives: usize,
    pub(super) members: usize,
    pub(super) strangers: usize,
    pub(super) wires: Wires,
    /// Of a thousand connections, those that are reset at some byte, and those that stall at one.
    pub(super) resets: u32,
    pub(super) stalls: u32,
    /// Of a thousand of a client's doings, those that end its connection.
    pub(super) ends: u32,
    /// Times at which the system has no descriptors for a while.
    pub(super) shortages: usize,
    /// Of a thousand waits, those that tell what is not so.
    pub(super) spurious: u32,
    /// Microseconds that a read takes at most.
    pub(super) read_us: u64,
    /// Microseconds that a commit of the journal takes, if there is one.
    pub(super) commit_us: Range<u64>,
    /// When the server is killed, and started again.
    pub(super) kills_at: Vec<Duration>,
    /// When the server is told to end, if it is.
    pub(super) drain_at: Option<Duration>,
    /// From then on all wires are good, and nobody has trouble any more.
    pub(super) calm_at: Duration,
}

/// What connections are like.
#[derive(Clone, Debug)]
pub(super) struct Wires {
    /// How long a piece takes.
    pub(super) delay_us: Range<u64>,
    /// Most bytes of a piece.
    pub(super) piece_max: Range<usize>,
    /// Bytes that wait in each direction before the writer has to.
    pub(super) room: Range<usize>,
}

impl Wires {
    pub(super) fn good() -> Self {
        Self { delay_us: 20..200, piece_max: 65_000..65_536, room: 200_000..250_000 }
    }

    fn of(is_fast: bool, random: &mut Rng) -> Self {
        match random.u32(if is_fast { 3..5 } else { 0..5 }) {
            0 => Self { delay_us: 10..200, piece_max: 1..12, room: 1..64 },
            1 => Self { delay_us: 10..2000, piece_max: 1..200, room: 1..5000 },
            2 => Self { delay_us: 100..20_000, piece_max: 200..2000, room: 500..20_000 },
            3 => Self { delay_us: 10..500, piece_max: 1..5000, room: 1000..10_000 },
            _ => Self { delay_us: 10..1000, piece_max: 1..65_536, room: 1..100_000 },
        }
    }
}

impl Conditions {
    pub(super) fn of(random: &mut Rng) -> Self {
        let ms = Duration::from_millis;
        let steady = random.u32(0..4) == 0;
        let is_limited = random.u32(0..4) == 0;
        let is_tight = random.u32(0..4) == 0;
        let is_large = random.u32(0..6) == 0;
        let policies = [SlowSubscriber::Hold, SlowSubscriber::Drop, SlowSubscriber::Disconnect];
        let policy = policies[[0, 0, 1, 2][random.usize(0..4)]];
        let limits = match policy {
            SlowSubscriber::Drop => [300_000, 32 << 20, 32 << 20],
            _ => [2000, 30_000, 32 << 20],
        };
        let has_journal = random.u32(0..3) > 0;
        let config = Config {
            persist_file: has_journal.then(|| PATH.into()),
            retry_interval: [ms(300), ms(1000), ms(3000)][random.usize(0..3)],
            max_pending_messages: if is_limited { random.usize(8..30) } else { 1_000_000 },
            max_message_bytes: if random.bool() { 100_000 } else { 64 << 20 },
            max_connections_per_address: [2, 1000][random.usize(0..2)],
            max_unsent_bytes: if is_tight { random.usize(2000..50_000) } else { 256 << 20 },
            max_subscriber_bytes: limits[random.usize(0..3)],
            slow_subscriber: policy,
            stall_grace: ms(random.u64(300..1500)),
            drain_timeout: ms(random.u64(500..5000)),
            ..Config::default()
        };
        // It takes much before anything is dropped.
        let drops = config.slow_subscriber == SlowSubscriber::Drop;
        let (large, large_bytes) = match (drops, is_large) {
            (true, _) => (700, 60_000),
            (_, true) => (400, 40_000),
            _ => (100, 3000),
        };
        let most_stalls = if drops { 1000 } else { 400 };
        let calm_ms = random.u64(1000..5000);
        let drains = random.bool();
        let kills = if has_journal { random.usize(0..4) } else { 0 };
        Self {
            config,
            is_limited,
            is_tight,
            publishers: random.usize(1..4),
            originals: 350,
            messages: random.usize(10..60),
            large,
            large_bytes,
            pause_ms: 0..[2, 20, 100][random.usize(0..3)],
            subscribers: random.usize(1..4),
            failing: random.u32(0..300),
            natives: random.usize(0..3),
            members: [0, 0, 2, 3][random.usize(0..4)],
            strangers: random.usize(0..4),
            wires: Wires::of(drops, random),
            resets: if steady { 0 } else { random.u32(0..600) },
            stalls: if steady { 0 } else { random.u32(0..most_stalls) },
            ends: if steady { 0 } else { random.u32(0..30) },
            shortages: random.usize(0..3),
            spurious: [0, 50, 300][random.usize(0..3)],
            read_us: [0, 50, 2000][random.usize(0..3)],
            commit_us: [20..300, 200..20_000, 5000..100_000][random.usize(0..3)].clone(),
            kills_at: (0..kills).map(|_| ms(random.u64(30..calm_ms))).collect(),
            drain_at: drains.then(|| ms(random.u64(50..calm_ms * 5 / 4))),
            calm_at: ms(calm_ms),
        }
    }
}
