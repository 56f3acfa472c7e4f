//! What a connection sends while it is held back, and is read all the same for what others may wait for.

use std::collections::VecDeque;

use crate::zmtp::session::Event;

/// What an event takes beyond a request's bytes.
const EVENT_BYTES: usize = 128;

/// Of one connection, in order.
#[derive(Debug, Default)]
pub(super) struct Aside {
    events: VecDeque<Event>,
    bytes: usize,
}

fn bytes(event: &Event) -> usize {
    match event {
        Event::Request(_, body) => body.len() + EVENT_BYTES,
        _ => EVENT_BYTES,
    }
}

impl Aside {
    /// How many bytes that is.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an event, and returns how many bytes that took.
    pub(super) fn push(&mut self, event: Event) -> usize {
        let bytes = bytes(&event);
        self.bytes += bytes;
        self.events.push_back(event);
        bytes
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.bytes -= bytes(&event);
        Some(event)
    }
}
