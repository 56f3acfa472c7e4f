//! The terms of a group, as builders collect them.

use std::time::Duration;

use crate::client::error::Problem;
use crate::wire::group::{Backoff, Group};

/// The longest time that the wire format takes for a group.
const TIME_MAX: Duration = Duration::from_millis(u32::MAX as u64);
const TOO_LONG: &str = "must be at most 4294967295 ms, some 49 days";

/// Whole milliseconds, at most as many as the wire format takes: some 49 days.
pub(super) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// The policy of a group. Zero, and no delays, stand for what was not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Policy {
    pub(super) ack_wait_ms: u32,
    in_flight_max: u32,
    attempts_max: u16,
    pub(super) backoff: Backoff,
    keeps_expired: bool,
    problem: Option<Problem>,
}

impl Default for Policy {
    fn default() -> Self {
        let (ack_wait_ms, in_flight_max, attempts_max, keeps_expired) = Default::default();
        let (backoff, problem) = (Backoff::NONE, None);
        Self { ack_wait_ms, in_flight_max, attempts_max, backoff, keeps_expired, problem }
    }
}

impl Policy {
    /// Notes what is wrong, to be told when all was said: builders have no errors of their own.
    pub(super) fn object(&mut self, option: &'static str, rule: &'static str) {
        self.problem.get_or_insert((option, rule));
    }

    pub(in crate::client) fn set_ack_wait(&mut self, time: Duration) {
        self.ack_wait_ms = millis(time);
        if self.ack_wait_ms == 0 {
            self.object("ack_wait", "must be at least a millisecond");
        }
        if time > TIME_MAX {
            self.object("ack_wait", TOO_LONG);
        }
    }

    pub(in crate::client) fn set_in_flight_max(&mut self, messages: u32) {
        self.in_flight_max = messages;
        if messages == 0 {
            self.object("in_flight_max", "must be at least 1");
        }
    }

    pub(in crate::client) fn set_attempts_max(&mut self, attempts: u16) {
        self.attempts_max = attempts;
        if attempts == 0 {
            self.object("attempts_max", "must be at least 1");
        }
    }

    pub(in crate::client) fn set_backoff(&mut self, delays: &[Duration]) {
        if delays.iter().any(|&delay| delay > TIME_MAX) {
            self.object("backoff", TOO_LONG);
        }
        let delays: Vec<_> = delays.iter().copied().map(millis).collect();
        match Backoff::new(&delays) {
            Some(backoff) => self.backoff = backoff,
            None => self.object("backoff", "must have at most 16 delays"),
        }
    }

    pub(in crate::client) fn set_keeps_expired(&mut self) {
        self.keeps_expired = true;
    }

    /// What was wrong first, if anything.
    pub(in crate::client) fn check(&self) -> Result<(), Problem> {
        self.problem.map_or(Ok(()), Err)
    }

    /// The group of this name, as it is asked for.
    pub(in crate::client) fn of<'a>(&self, name: &'a str) -> Group<'a> {
        let &Self { ack_wait_ms, in_flight_max, attempts_max, backoff, keeps_expired, .. } = self;
        Group { name, ack_wait_ms, in_flight_max, attempts_max, backoff, keeps_expired }
    }
}
