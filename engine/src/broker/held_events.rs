//! What a connection sends while it is held back, and is read all the same for what others may wait for.

use std::collections::{BTreeMap, VecDeque};

use crate::wire::control;
use crate::zmtp::session::Event;

/// What an event takes beyond a request's bytes.
const EVENT_BYTES: usize = 128;

/// Of one connection, in order.
#[derive(Debug, Default)]
pub(super) struct HeldEvents {
    events: VecDeque<Event>,
    bytes: usize,
    /// The numbers of the subscriptions that they begin, and how often.
    begun: BTreeMap<u32, usize>,
}

fn bytes(event: &Event) -> usize {
    match event {
        Event::Request(_, body) => body.len() + EVENT_BYTES,
        _ => EVENT_BYTES,
    }
}

/// The number of the subscription that an event begins.
fn begins(event: &Event) -> Option<u32> {
    match event {
        Event::Request(_, body) => control::begins(body),
        _ => None,
    }
}

impl HeldEvents {
    /// Whether a subscription with this number is to begin.
    pub(super) fn begins(&self, number: u32) -> bool {
        self.begun.contains_key(&number)
    }

    /// How many bytes that is.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an event, and returns how many bytes that took.
    pub(super) fn push(&mut self, event: Event) -> usize {
        let bytes = bytes(&event);
        self.bytes += bytes;
        if let Some(number) = begins(&event) {
            *self.begun.entry(number).or_default() += 1;
        }
        self.events.push_back(event);
        bytes
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes -= bytes(&event);
        if let Some(number) = begins(&event)
            && let Some(count) = self.begun.get_mut(&number)
        {
            *count -= 1;
            if *count == 0 {
                self.begun.remove(&number);
            }
        }
        Some(event)
    }
}
