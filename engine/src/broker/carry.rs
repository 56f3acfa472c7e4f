//! Large messages that are sent again in the format in which they did not come.
//!
//! Carrying one over takes up to 12 ms a MiB, for which nobody else shall wait: the core wants it done elsewhere,
//! and the result comes back as an event.

use super::check::{Carried, Original};
use super::core::Core;
use super::effect::Effect;
use super::publish::frame_records;
use super::transcode;
use crate::limits::CARRYING_MAX;
use crate::message::{Format, Message};
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

impl<E> Core<E> {
    /// Wants a message carried over, unless that is under way, or too many are: then its next turn is an interval
    /// later.
    pub(super) fn want_carried(&mut self, message: &Message) {
        if self.carrying.len() < CARRYING_MAX && self.carrying.insert(message.id) {
            self.out.queue.push_back(Effect::Carry(message.clone()));
        }
    }

    /// A message was carried over: it goes to those who want it, unless it was acknowledged meanwhile.
    pub(super) fn carried(&mut self, message: &Message, carried: Option<Carried>) {
        let Message { id, name, format, .. } = message;
        self.carrying.remove(id);
        let Some(Carried { frame, checksum }) = carried else { return };
        if !self.backlog.view().contains(id) {
            return;
        }
        let Some([v1, v2]) = self.subscribers.keeping_up(name) else { return };
        let to = match format {
            Format::V1 => v2,
            Format::V2 => {
                self.backlog.add_alias(checksum, *id);
                v1
            }
        };
        if !to.is_empty() {
            self.out.queue.push_back(Effect::Publish { frame, to, droppable: false });
        }
    }
}
