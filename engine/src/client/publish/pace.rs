//! Pacing: how many bytes may be in flight, and how large a frame may become, so that a queue in front of the server
//! delays messages by about a target and no more. Pure: bytes and times in, bounds out.
//!
//! The window is what the server answers within the target and one undisturbed round trip. A window that is
//! too small measures a small rate, but a short round trip as well: `rate x (target + floor)` is larger than
//! the window as long as a round trip takes less than that, so it grows until there is a queue of the
//! target's length, and shrinks when the queue is longer.
//!
//! A standing queue hides the floor. So every few seconds all clients of a server let it run empty, all at
//! the same time: one that drained its own part alone would take the others' part for the way's length. That
//! takes the target's time, of which it must stay a small part.

use std::time::{Duration, Instant};

use crate::limits::{
    CLIENT_FRAME_BYTES_MIN, CLIENT_FRAMES_IN_FLIGHT_MIN, CLIENT_ROUND_TRIP_KEPT, FRAME_BYTES_TARGET,
};

/// Frames that the bytes of a target's time make.
const FRAMES_PER_TARGET: f64 = 4.0;

/// What a frame costs for each connection that the server writes it to, whatever it holds: two system calls and a
/// wake-up. About 10 us on any machine.
const COST_PER_CONNECTION: Duration = Duration::from_micros(10);

/// Times that cost which a frame is to take, so that little of the server's time goes to frames instead of bytes.
const COSTS_PER_FRAME: u32 = 32;

/// Times the target that a frame may take for it.
const TARGETS_PER_FRAME_MAX: u32 = 8;

/// Part of the window that does not depend on the rate. It is what makes the windows of clients that share
/// a queue alike: the larger one gains relatively less by it.
const WINDOW_BYTES_MIN: usize = CLIENT_FRAME_BYTES_MIN * CLIENT_FRAMES_IN_FLIGHT_MIN;

/// The frame's size before anything is known of the server.
const FRAME_BYTES_FIRST: usize = 16 * 1024;

/// Bytes that may wait before anything is known of the server.
const WAITING_BYTES_FIRST: usize = 1024 * 1024;

/// Times the target and a round trip that a rate is remembered, at least; twice as long at most.
const RATE_KEPT: u32 = 2;

/// Times the target that lie between the beginnings of two drains, at least.
const TARGETS_PER_PERIOD_MIN: u32 = 8;

/// The shortest time that a rate is measured over: less is the clock's noise.
const INTERVAL_MIN: Duration = Duration::from_micros(1);

/// What is noted when a frame leaves, for the measurement that its answer makes.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendSample {
    bytes: usize,
    at: Instant,
    /// Bytes answered until then.
    answered: u64,
    /// When the last of them were answered.
    answered_at: Instant,
    /// When those had left.
    left_at: Instant,
    /// Whether the window held frames back, not a lack of messages.
    limited: bool,
    /// Whether it left after the queue was drained.
    probes: bool,
}

/// The bounds of one connection, and what they are derived from.
#[derive(Debug)]
pub(in crate::client) struct Pace {
    target: Duration,
    frames: usize,
    bytes: usize,
    answered: u64,
    /// When the last answer came and when what it answered had left; the time of the last departure from
    /// idleness, if that is later.
    answered_at: Option<(Instant, Instant)>,
    rate: Rate,
    round_trip: RoundTrip,
    window: usize,
    /// The most that the window may grow to before bytes in flight now are answered.
    window_max: usize,
    round_ends: u64,
    limited: bool,
    /// Whether no queue was seen yet.
    starting: bool,
    /// Since when the queue is being drained, if it is.
    draining: Option<Instant>,
}

impl Pace {
    /// Of a connection on which messages are to wait no longer than `target`. The periods after which the
    /// queue is drained ([`drain_period`]) begin at `epoch`, which the clients of a server should have in common.
    pub(in crate::client) fn new(target: Duration, epoch: Instant) -> Self {
        let window = FRAME_BYTES_FIRST * CLIENT_FRAMES_IN_FLIGHT_MIN;
        let (frames, bytes, answered, answered_at, round_ends) = Default::default();
        let (rate, limited, draining) = Default::default();
        let round_trip =
            RoundTrip { epoch, lasts: drain_period(target), period: 0, newer: None, older: None };
        Self {
            target,
            frames,
            bytes,
            answered,
            answered_at,
            rate,
            round_trip,
            window,
            window_max: window * 2,
            round_ends,
            limited,
            starting: true,
            draining,
        }
    }

    /// How long messages are to wait at most.
    pub(in crate::client) fn target(&self) -> Duration {
        self.target
    }

    /// Frames in flight.
    pub(in crate::client) fn frames(&self) -> usize {
        self.frames
    }

    /// Bytes in flight.
    pub(in crate::client) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Size at which a frame is closed that is for this many connections: a quarter of the target's worth, and more if
    /// the connections are this many that frames of that size would cost more than their bytes.
    pub(super) fn frame_bytes(&self, connections: u32) -> usize {
        let Some(rate) = self.rate.get() else { return FRAME_BYTES_FIRST };
        let costs = COST_PER_CONNECTION.saturating_mul(connections).saturating_mul(COSTS_PER_FRAME);
        let costs = costs.min(self.target.saturating_mul(TARGETS_PER_FRAME_MAX));
        let worth = rate * (self.target.as_secs_f64() / FRAMES_PER_TARGET).max(costs.as_secs_f64());
        // A float beyond the integer's range becomes its bound.
        (worth as usize).clamp(CLIENT_FRAME_BYTES_MIN, FRAME_BYTES_TARGET)
    }

    /// Bytes that may wait to leave: the target's worth.
    pub(super) fn waiting_bytes(&self) -> usize {
        let Some(rate) = self.rate.get() else { return WAITING_BYTES_FIRST };
        // A float beyond the integer's range becomes its bound.
        ((rate * self.target.as_secs_f64()) as usize).saturating_add(WINDOW_BYTES_MIN)
    }

    /// Whether there is room for a frame of this many bytes. To be asked before each departure: the answer is
    /// remembered as what limits the rate.
    pub(super) fn admits(&mut self, bytes: usize) -> bool {
        let admits = self.has_room_for(bytes);
        self.limited |= !admits;
        admits
    }

    /// Whether there is any room.
    pub(super) fn has_room(&self) -> bool {
        self.has_room_for(1)
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        match self.draining {
            Some(_) => self.frames == 0,
            None => {
                self.frames < CLIENT_FRAMES_IN_FLIGHT_MIN
                    || self.bytes.saturating_add(bytes) <= self.window
            }
        }
    }

    /// Notes that there is room and nothing to send.
    pub(in crate::client) fn idle(&mut self) {
        self.limited = false;
    }

    /// Notes a frame that leaves.
    pub(super) fn depart(&mut self, bytes: usize, now: Instant) -> SendSample {
        let (answered_at, left_at) = match self.answered_at {
            Some(times) if self.frames > 0 => times,
            _ => (now, now),
        };
        self.answered_at = Some((answered_at, left_at));
        // By then the queue is gone, others' part of it, too.
        let probes = self.draining.is_some_and(|since| now >= since + self.target);
        self.frames += 1;
        self.bytes += bytes;
        let (answered, limited) = (self.answered, self.limited);
        SendSample { bytes, at: now, answered, answered_at, left_at, limited, probes }
    }

    /// Notes that a frame is no longer in flight, without an answer or with one that measures nothing.
    pub(super) fn forget(&mut self, departure: &SendSample) {
        self.frames -= 1;
        self.bytes -= departure.bytes;
    }

    /// Notes a frame's answer.
    pub(super) fn answer(&mut self, departure: &SendSample, now: Instant) {
        self.forget(departure);
        self.answered += departure.bytes as u64;
        self.answered_at = Some((now, departure.at));
        let took = now.saturating_duration_since(departure.at);
        // A lack of messages measures the publisher, unless they waited all the same.
        let queues = departure.limited || took > self.round_trip.floor() + self.target;
        if self.round_trip.note(took, now) && queues {
            self.draining = Some(now);
        } else if departure.probes {
            self.draining = None;
        }
        // Answers that came together left no faster than their frames.
        let apart = departure.at.saturating_duration_since(departure.left_at);
        let interval = now.saturating_duration_since(departure.answered_at).max(apart);
        let rate =
            (self.answered - departure.answered) as f64 / interval.max(INTERVAL_MIN).as_secs_f64();
        let allowed = self.target + self.round_trip.floor();
        if queues || self.rate.get().is_none_or(|known| rate >= known) {
            self.rate.note(rate, now, allowed * RATE_KEPT);
        }
        // Until there was a queue, the server may take more: on a long way the target is little to grow by.
        let queue = took.saturating_sub(self.round_trip.floor());
        self.starting &= queue < self.target / 4;
        let further = if self.starting { self.round_trip.floor() } else { Duration::ZERO };
        self.adapt(allowed + further);
    }

    fn adapt(&mut self, allowed: Duration) {
        // At most twice as much in each round trip: the first rates measured are those of single frames.
        if self.answered >= self.round_ends {
            self.round_ends = self.answered + self.bytes as u64;
            self.window_max = self.window.saturating_mul(2);
        }
        let wanted = self.rate.get().unwrap_or(0.0) * allowed.as_secs_f64();
        self.window = (wanted as usize).saturating_add(WINDOW_BYTES_MIN).min(self.window_max);
    }
}

/// The highest of the rates measured recently, in bytes a second. It grows old only by newer ones: what an
/// idle client knew is its best guess.
#[derive(Debug, Default)]
struct Rate {
    since: Option<Instant>,
    newer: f64,
    older: f64,
}

impl Rate {
    fn get(&self) -> Option<f64> {
        self.since.map(|_| self.newer.max(self.older))
    }

    fn note(&mut self, rate: f64, now: Instant, kept: Duration) {
        let age = self.since.map(|since| now.saturating_duration_since(since));
        match age {
            Some(age) if age < kept => self.newer = self.newer.max(rate),
            Some(age) if age < kept * 2 => {
                *self = Self { since: Some(now), newer: rate, older: self.newer };
            }
            _ => *self = Self { since: Some(now), newer: rate, older: 0.0 },
        }
    }
}

/// How often the queue is drained: a power of two of the shortest period, so that clients of all targets drain it
/// together.
pub(super) fn drain_period(target: Duration) -> Duration {
    let mut period = CLIENT_ROUND_TRIP_KEPT;
    while period < target.saturating_mul(TARGETS_PER_PERIOD_MIN) {
        period *= 2;
    }
    period
}

/// The shortest round trip of this period and the last.
#[derive(Debug)]
struct RoundTrip {
    epoch: Instant,
    /// A period's length.
    lasts: Duration,
    /// Periods since then.
    period: u128,
    newer: Option<Duration>,
    older: Option<Duration>,
}

impl RoundTrip {
    fn floor(&self) -> Duration {
        self.newer.into_iter().chain(self.older).min().unwrap_or_default()
    }

    /// Whether this is the first of a period.
    fn note(&mut self, took: Duration, now: Instant) -> bool {
        let since = now.saturating_duration_since(self.epoch);
        let period = since.as_nanos() / self.lasts.as_nanos();
        let begins = period != self.period;
        if begins {
            self.older = self.newer.take();
            self.period = period;
        }
        self.newer = Some(self.newer.map_or(took, |newer| newer.min(took)));
        begins
    }
}

#[cfg(test)]
mod tests;
