//! A publisher that sends again what was not answered OK.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

use super::super::catalog::Catalog;
use super::conditions::{Conditions, FRAME_MESSAGES_MAX, NAMES};
use super::world::{Answer, Says};
use crate::message::Format;
use crate::wire::id::MessageId;

/// Native frames on their way.
const WINDOW: usize = 4;

/// A request that was not answered OK yet.
struct Unanswered {
    request: u64,
    numbers: Vec<usize>,
    body: Bytes,
    /// When it is sent again.
    again_at: Duration,
}

pub(super) struct Publisher {
    id: u64,
    format: Format,
    /// Messages still to make.
    left: usize,
    sequence: u64,
    ordinals: [u64; NAMES.len()],
    requests: u64,
    unanswered: VecDeque<Unanswered>,
    /// Whether it cuts frames anew when it sends them again, as none of our clients does.
    recuts: bool,
}

impl Publisher {
    pub(super) fn new(index: usize, conditions: &Conditions, random: &mut Rng) -> Self {
        let original = random.u32(0..1000) < conditions.originals;
        Self {
            id: index as u64 + 1,
            format: if original { Format::V1 } else { Format::V2 },
            left: conditions.messages,
            sequence: 0,
            ordinals: [0; NAMES.len()],
            requests: 0,
            unanswered: VecDeque::new(),
            recuts: conditions.network.reorders && random.bool(),
        }
    }

    /// Whether all was answered OK that it had to say.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.unanswered.is_empty()
    }

    /// Its connection was made anew: what was on its way on the old one is sent again, in order.
    pub(super) fn connected(&mut self, catalog: &Catalog) {
        self.give_up(catalog);
        for unanswered in &mut self.unanswered {
            unanswered.again_at = Duration::ZERO;
        }
    }

    /// A v1 message that is not kept has nothing by which it could be recognised, and so it is sent once.
    fn give_up(&mut self, catalog: &Catalog) {
        if self.format == Format::V1 {
            self.unanswered.retain(|unanswered| catalog.get(unanswered.numbers[0]).ack);
        }
    }

    /// What it sends now.
    pub(super) fn wake(
        &mut self,
        catalog: &mut Catalog,
        conditions: &Conditions,
        random: &mut Rng,
        now: Duration,
    ) -> Vec<(u64, Bytes, Says)> {
        if self.unanswered.iter().any(|unanswered| unanswered.again_at <= now) {
            self.give_up(catalog);
            if self.recuts && random.bool() {
                self.recut(catalog);
            }
        }
        let window = if self.format == Format::V1 { 1 } else { WINDOW };
        if self.left > 0 && self.unanswered.len() < window {
            self.make(catalog, conditions, random);
        }
        let mut sent = Vec::new();
        for unanswered in self.unanswered.iter_mut().filter(|request| request.again_at <= now) {
            unanswered.again_at = now + conditions.timeout;
            let says = Says::Publish(unanswered.numbers.clone());
            sent.push((unanswered.request, unanswered.body.clone(), says));
        }
        sent
    }

    fn make(&mut self, catalog: &mut Catalog, conditions: &Conditions, random: &mut Rng) {
        let name = random.usize(0..NAMES.len());
        let most = if self.format == Format::V1 { 1 } else { FRAME_MESSAGES_MAX };
        let many = random.usize(1..=most).min(self.left);
        self.left -= many;
        let mut numbers = Vec::new();
        for _ in 0..many {
            let large = random.u32(0..1000) < conditions.large;
            let bytes = if large { conditions.large_bytes } else { 0 };
            let ack = random.u32(0..4) != 0;
            numbers.push(if self.format == Format::V1 {
                catalog.original(NAMES[name], ack, bytes)
            } else {
                self.sequence += 1;
                self.ordinals[name] += 1;
                let id = MessageId { publisher: self.id, sequence: self.sequence };
                catalog.native(id, self.ordinals[name], NAMES[name], ack, bytes)
            });
        }
        self.add(catalog, numbers);
    }

    fn add(&mut self, catalog: &Catalog, numbers: Vec<usize>) {
        self.requests += 1;
        let body = catalog.request(&numbers);
        let (request, again_at) = (self.requests, Duration::ZERO);
        self.unanswered.push_back(Unanswered { request, numbers, body, again_at });
    }

    /// Makes one frame of the two oldest, if they go on without a gap under one name.
    fn recut(&mut self, catalog: &Catalog) {
        if self.unanswered.len() < 2 {
            return;
        }
        let [last, next] = [
            self.unanswered[0].numbers[self.unanswered[0].numbers.len() - 1],
            self.unanswered[1].numbers[0],
        ]
        .map(|number| catalog.get(number));
        let many = self.unanswered[0].numbers.len() + self.unanswered[1].numbers.len();
        if last.name != next.name
            || last.id.sequence + 1 != next.id.sequence
            || many > FRAME_MESSAGES_MAX
        {
            return;
        }
        let numbers = self.unanswered.drain(..2).flat_map(|request| request.numbers).collect();
        self.add(catalog, numbers);
        self.unanswered.rotate_right(1);
    }

    pub(super) fn answered(
        &mut self,
        request: u64,
        answer: Answer,
        random: &mut Rng,
        now: Duration,
    ) {
        let Some(at) = self.unanswered.iter().position(|other| other.request == request) else {
            return;
        };
        if answer == Answer::Ok {
            self.unanswered.remove(at);
        } else {
            self.unanswered[at].again_at = now + Duration::from_millis(random.u64(20..200));
        }
    }
}
