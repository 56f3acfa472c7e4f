//! Sending unacknowledged messages again.

use std::collections::HashMap;
use std::time::Duration;

use arcstr::ArcStr;
use bytes::Bytes;

use super::core::Core;
use super::effect::Effect;
use super::place::Place;
use super::publish::frame_records;
use super::transcode;
use super::waiting::Due;
use crate::limits::{
    FRAME_BYTES_TARGET, RESEND_BYTES_PER_TURN_MAX, RESENDS_PER_TURN_MAX, WAITING_RETRIED,
};
use crate::message::{Format, Message};
use crate::wire::frame::{v1_prefix, v2_prefix};
use crate::wire::id::MessageId;
use crate::wire::pickle;

/// Frames under way, one for each name, so that small messages leave together.
type Gathered = HashMap<ArcStr, Vec<u8>>;

impl<E> Core<E> {
    /// Sends a bounded number of messages whose time has come, none before it is stored.
    pub(super) fn resend_due(&mut self, now: Duration) {
        self.topics.forget_cancelled(now);
        self.wake_waiting(now);
        let mut gathered = Gathered::new();
        let mut bytes = 0;
        let stored = self.stored_group();
        // Each kind has half of the turn, so that neither can keep the other from being sent.
        for _ in 0..RESENDS_PER_TURN_MAX / 2 {
            if bytes >= RESEND_BYTES_PER_TURN_MAX / 2 {
                break;
            }
            let Some((id, why)) = self.waiting.next_due(stored) else { break };
            bytes += self.resend(id, why == Due::InCase, now, &mut gathered);
        }
        if self.retrier.next_due().is_some_and(|due| due <= now) {
            self.parked.note_unstored(self.durable, now, self.retrier.interval());
        }
        let mut due = std::mem::take(&mut self.due);
        for _ in 0..RESENDS_PER_TURN_MAX / 2 {
            if bytes >= RESEND_BYTES_PER_TURN_MAX {
                break;
            }
            let more = self.retrier.due(now, 1, &mut due);
            for id in due.drain(..) {
                if self.parked.is_unstored(id) {
                    let place = Place::Wheel(self.retrier.schedule(id, now));
                    self.pending.view().with(&id, |entry| entry.set_token(place.to_bits()));
                    continue;
                }
                bytes += self.resend(id, false, now, &mut gathered);
            }
            if !more {
                break;
            }
        }
        self.due = due;
        for (_, frame) in gathered {
            self.out.queue.push_back(Effect::Publish(frame.into()));
        }
    }

    fn wake_waiting(&mut self, now: Duration) {
        let after = self.latest_group();
        if std::mem::take(&mut self.sweep) {
            let topics = &self.topics;
            self.waiting.wake(Due::Wanted, after, |name| topics.wanted(name).by_anybody());
        }
        if now >= self.waiting_retried_at {
            self.waiting_retried_at = now + WAITING_RETRIED;
            self.waiting.wake(Due::InCase, after, |_| true);
        }
    }

    /// Sends one message to whoever wants it, or `in_case` in both formats, and returns how many bytes
    /// of it that took.
    fn resend(
        &mut self,
        id: MessageId,
        in_case: bool,
        now: Duration,
        gathered: &mut Gathered,
    ) -> usize {
        let Some(message) = self.pending.view().get(&id) else { return 0 };
        let wanted = self.topics.get(&message.name).wanted;
        let place = if wanted.by_anybody() {
            self.counters.resent.add(1);
            Place::Wheel(self.retrier.schedule(id, now))
        } else {
            Place::Waiting(self.waiting.add(&message.name, id))
        };
        self.pending.view().with(&id, |entry| entry.set_token(place.to_bits()));
        let mut bytes = 0;
        if wanted.v1 || in_case {
            self.resend_v1(&message);
            bytes += message.bytes();
        }
        if wanted.v2 || in_case {
            self.resend_v2(&message, gathered);
            bytes += message.bytes();
        }
        bytes
    }

    fn resend_v1(&mut self, message: &Message) {
        match message.format {
            Format::V1 => {
                let mut frame = v1_prefix(&message.name);
                frame.extend_from_slice(&message.body);
                self.out.queue.push_back(Effect::Publish(frame.into()));
            }
            Format::V2 => {
                for (_, record) in frame_records(&message.body) {
                    let frame: Bytes = self.v1_frame(&message.name, &record);
                    self.out.queue.push_back(Effect::Publish(frame));
                }
            }
        }
    }

    fn resend_v2(&mut self, message: &Message, gathered: &mut Gathered) {
        let frame = gathered.entry(message.name.clone()).or_insert_with_key(|name| v2_prefix(name));
        match message.format {
            Format::V2 => frame.extend_from_slice(&message.body),
            Format::V1 => {
                // It was scanned when it was taken, and so can be scanned again.
                if let Ok(fields) = pickle::scan(&message.body) {
                    transcode::append_v2(&message.name, &message.body, &fields, frame);
                }
            }
        }
        if frame.len() >= FRAME_BYTES_TARGET
            && let Some(frame) = gathered.remove(&message.name)
        {
            self.out.queue.push_back(Effect::Publish(frame.into()));
        }
    }
}
