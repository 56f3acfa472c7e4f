//! Large messages that are sent again in the format in which they did not come.
//!
//! Carrying one over takes up to 12 ms a MiB, for which nobody else shall wait: the core wants it done elsewhere,
//! and the result comes back as an event.

use std::collections::{HashSet, VecDeque};

use super::check::{Carried, Original};
use super::core::Core;
use super::effect::Effect;
use super::publish::frame_records;
use super::transcode;
use crate::limits::{CARRYING_BYTES_MAX, CARRYING_MAX};
use crate::message::{Format, Message};
use crate::wire::id::MessageId;
use crate::wire::pickle;

/// Carries a pending message over; `None` for what is no message, which none of them is.
pub(super) fn carry(message: &Message) -> Option<Carried> {
    let Message { name, format, body, .. } = message;
    match format {
        Format::V1 => {
            let original = Original::from(&pickle::scan(body).ok()?);
            let frame = transcode::to_v2(name, body, &original).into();
            Some(Carried { frame, checksum: original.checksum })
        }
        Format::V2 => {
            let (_, record) = frame_records(body).next()?;
            let (frame, checksum) = transcode::to_v1(name, &record);
            Some(Carried { frame: frame.into(), checksum })
        }
    }
}

/// Messages to be carried over, each once.
#[derive(Debug, Default)]
pub(super) struct Carrying {
    /// Those that wait and those under way.
    wanted: HashSet<MessageId>,
    waiting: VecDeque<MessageId>,
    count: usize,
    bytes: usize,
}

impl Carrying {
    /// Wants a message carried over.
    pub(super) fn want(&mut self, id: MessageId) {
        if self.wanted.insert(id) {
            self.waiting.push_back(id);
        }
    }

    /// Whether a message is wanted and was not carried over yet.
    pub(super) fn is_wanted(&self, id: MessageId) -> bool {
        self.wanted.contains(&id)
    }

    /// Whether one of so many bytes may be begun.
    fn has_room(&self, bytes: usize) -> bool {
        self.count == 0 || (self.count < CARRYING_MAX && self.bytes + bytes <= CARRYING_BYTES_MAX)
    }
}

impl<E> Core<E> {
    /// Has those carried over that waited longest, as many as may be under way.
    pub(super) fn carry_some(&mut self) {
        while let Some(&id) = self.carrying.waiting.front() {
            let Some(message) = self.backlog.get(id) else {
                // Acknowledged meanwhile.
                self.carrying.waiting.pop_front();
                self.carrying.wanted.remove(&id);
                continue;
            };
            if !self.carrying.has_room(message.bytes()) {
                break;
            }
            self.carrying.waiting.pop_front();
            self.carrying.count += 1;
            self.carrying.bytes += message.bytes();
            self.out.queue.push_back(Effect::Carry(message));
        }
    }

    /// A message was carried over: it goes to those who want it, unless it was acknowledged meanwhile.
    pub(super) fn carried(&mut self, message: &Message, carried: Option<Carried>) {
        let Message { id, name, format, .. } = message;
        self.carrying.wanted.remove(id);
        self.carrying.count -= 1;
        self.carrying.bytes -= message.bytes();
        let Some(Carried { frame, checksum }) = carried else { return };
        if !self.backlog.view().contains(id) {
            return;
        }
        let Some(to) = self.subscribers.keeping_up(name) else { return };
        match format {
            Format::V1 => {
                let direct = self.direct_again(&to.native, frame.len());
                self.publish(frame, to.v2, direct, false);
            }
            Format::V2 => {
                self.backlog.add_alias(checksum, *id);
                self.publish(frame, to.v1, Vec::new(), false);
            }
        }
    }
}
