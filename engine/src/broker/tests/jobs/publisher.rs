//! A publisher that sends again what was not answered OK.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;

use super::super::MessageId;
use super::super::expiry::START_MS;
use super::conditions::{Conditions, NAMES};
use super::messages::Messages;

/// Frames on their way, and messages of each, at most.
const WINDOW: usize = 4;
const FRAME_MESSAGES_MAX: usize = 4;

/// A request that was not answered OK yet.
struct Unanswered {
    numbers: Vec<usize>,
    /// The number of the request by which it was sent, if it was on this connection.
    serial: Option<u64>,
}

pub(super) struct Publisher {
    id: u64,
    /// Messages still to make.
    left: usize,
    sequence: u64,
    unanswered: VecDeque<Unanswered>,
}

impl Publisher {
    pub(super) fn new(index: usize, conditions: &Conditions) -> Self {
        let left = conditions.messages;
        Self { id: index as u64 + 1, left, sequence: 0, unanswered: VecDeque::new() }
    }

    /// Whether all was answered OK that it had to say.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.unanswered.is_empty()
    }

    /// Its connection was made anew: what was on its way on the old one is sent again, in order.
    pub(super) fn connected(&mut self) {
        self.unanswered.iter_mut().for_each(|it| it.serial = None);
    }

    /// What it sends now, the first under this number.
    pub(super) fn wake(
        &mut self,
        messages: &mut Messages,
        conditions: &Conditions,
        random: &mut Rng,
        now: Duration,
        first_serial: u64,
    ) -> Vec<Vec<usize>> {
        if self.left > 0 && self.unanswered.len() < WINDOW {
            let numbers = self.make(messages, conditions, random, now);
            self.unanswered.push_back(Unanswered { numbers, serial: None });
        }
        let unsent = self.unanswered.iter_mut().filter(|it| it.serial.is_none());
        let send = |(unanswered, serial): (&mut Unanswered, u64)| {
            unanswered.serial = Some(serial);
            unanswered.numbers.clone()
        };
        unsent.zip(first_serial..).map(send).collect()
    }

    fn make(
        &mut self,
        messages: &mut Messages,
        conditions: &Conditions,
        random: &mut Rng,
        now: Duration,
    ) -> Vec<usize> {
        let name = NAMES[random.usize(0..NAMES.len())];
        let many = random.usize(1..=FRAME_MESSAGES_MAX).min(self.left);
        self.left -= many;
        let now_ms = START_MS + now.as_millis() as u64;
        let mut numbers = Vec::new();
        for _ in 0..many {
            self.sequence += 1;
            let id = MessageId { publisher: self.id, sequence: self.sequence };
            let mut happens = |of_1000| random.u32(0..1000) < of_1000;
            let ack = !happens(conditions.unkept);
            let (is_later, expires) = (happens(conditions.delayed), happens(conditions.expiring));
            let later = is_later.then(|| now_ms + random.u64(0..3000));
            // Some have expired before they come, or before their time comes.
            let until = expires.then(|| later.unwrap_or(now_ms) + random.u64(0..3000) - 10);
            numbers.push(messages.make(id, name, ack, later, until));
        }
        numbers
    }

    pub(super) fn answered(&mut self, serial: u64, ok: bool) {
        let Some(at) = self.unanswered.iter().position(|it| it.serial == Some(serial)) else {
            return;
        };
        if ok {
            self.unanswered.remove(at);
        } else {
            self.unanswered[at].serial = None;
        }
    }
}
