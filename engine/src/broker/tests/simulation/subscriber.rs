//! A subscriber whose program sometimes fails, and which acknowledges what it worked on.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;

use super::super::catalog::Catalog;
use super::conditions::NAMES;
use super::world::Says;
use crate::message::Format;
use crate::wire::ack;

/// How long a v1 subscriber waits for the answer to an acknowledgement before it sends the next.
const ANSWER_AWAITED: Duration = Duration::from_millis(500);

pub(super) struct Subscriber {
    pub(super) format: Format,
    /// The names it works on.
    names: Vec<&'static str>,
    pub(super) prefixes: Vec<Bytes>,
    /// Whether it goes away for good before all is calm.
    pub(super) leaves: bool,
    pub(super) has_left: bool,
    to_acknowledge: VecDeque<usize>,
    requests: u64,
    /// A v1 subscriber's acknowledgement that was not answered, and until when it waits.
    awaited: Option<(u64, Duration)>,
}

impl Subscriber {
    /// The first one stays, and wants everything.
    pub(super) fn new(index: usize, random: &mut Rng) -> Self {
        let original = random.u32(0..5) < 2;
        let format = if original { Format::V1 } else { Format::V2 };
        let mut names = NAMES.to_vec();
        if index > 0 {
            names.retain(|_| random.bool());
        }
        let prefix = |name: &&'static str| match format {
            Format::V1 => Bytes::from(*name),
            Format::V2 => Bytes::from(format!("\x01{name}|")),
        };
        let prefixes = names.iter().map(prefix).collect();
        Self {
            format,
            names,
            prefixes,
            leaves: index > 0 && random.bool(),
            has_left: false,
            to_acknowledge: VecDeque::new(),
            requests: 0,
            awaited: None,
        }
    }

    /// Works on what a frame holds; returns what it did not fail on.
    pub(super) fn receive(
        &mut self,
        catalog: &Catalog,
        numbers: &[usize],
        failing: u32,
        random: &mut Rng,
    ) -> Vec<usize> {
        let mut done = Vec::new();
        for &number in numbers {
            let made = catalog.get(number);
            // v1 subscriptions match names that only begin so.
            if self.names.contains(&made.name) && random.u32(0..1000) >= failing {
                done.push(number);
                if made.ack && !self.to_acknowledge.contains(&number) {
                    self.to_acknowledge.push_back(number);
                }
            }
        }
        done
    }

    /// Its connections were made anew.
    pub(super) fn connected(&mut self) {
        self.awaited = None;
    }

    /// What it sends now.
    pub(super) fn wake(&mut self, catalog: &Catalog, now: Duration) -> Vec<(u64, Bytes, Says)> {
        if self.awaited.is_some_and(|(_, until)| now < until) || self.to_acknowledge.is_empty() {
            return Vec::new();
        }
        self.requests += 1;
        let (body, says) = if self.format == Format::V1 {
            let Some(number) = self.to_acknowledge.pop_front() else { return Vec::new() };
            self.awaited = Some((self.requests, now + ANSWER_AWAITED));
            (catalog.ack_v1(number), Says::AckV1(number))
        } else {
            let numbers: Vec<usize> = self.to_acknowledge.drain(..).collect();
            let ids: Vec<_> = numbers.iter().map(|&number| catalog.get(number).id).collect();
            (ack::frame(&ids).into(), Says::Ack(numbers))
        };
        vec![(self.requests, body, says)]
    }

    pub(super) fn answered(&mut self, request: u64) {
        self.awaited.take_if(|(awaited, _)| *awaited == request);
    }

    /// Whether there is anything left to acknowledge.
    pub(super) fn is_done(&self) -> bool {
        self.to_acknowledge.is_empty()
    }
}
