//! Delivers frames to whoever wants their name, in the format they came in and in the other one.

use std::sync::Arc;

use bytes::Bytes;

use super::core::Core;
use super::effect::Effect;
use super::outgoing::{NEVER_MS, Outgoing};
use super::subscribers::{ConnectionId, Direct};
use super::transcode::{self, Transcoded};
use super::transcode_queue::{Next, TranscodeReason};
use crate::limits::{TRANSCODED_BYTES_PER_TURN_MAX, TRANSCODED_PER_TURN_MAX};
use crate::message::{Format, Message};
use crate::wire::record::{Record, Records};

impl<E> Core<E> {
    /// Gives a frame with this many messages to those who get it, if there is somebody.
    pub(super) fn publish(
        &mut self,
        messages: u64,
        frame: Bytes,
        to: Arc<[ConnectionId]>,
        direct: Vec<Direct>,
        droppable: bool,
    ) {
        if !(to.is_empty() && direct.is_empty()) {
            if self.permits.is_some() {
                self.allow_answers(&frame, &direct);
            }
            self.counters.traffic.delivered.add(messages * (to.len() + direct.len()) as u64);
            self.out.queue.push_back(Effect::Publish { frame, to, direct, droppable });
        }
    }

    /// Publishes a frame to whoever wants its name now; a native one also to v1 subscribers.
    pub(super) fn deliver(&mut self, outgoing: Outgoing) {
        if outgoing.whole_until_ms == NEVER_MS || outgoing.whole_until_ms > self.unix_ms() {
            self.deliver_all(outgoing);
        } else if let Some(rest) = self.for_now(outgoing) {
            self.deliver_all(rest);
        }
    }

    fn deliver_all(&mut self, outgoing: Outgoing) {
        let topic = self.subscribers.topic(&outgoing.name);
        let (v1, v2) = (topic.v1.clone(), topic.v2.clone());
        let Outgoing { messages, format, droppable, is_copy, .. } = outgoing;
        if format == Format::V2 && topic.is_wanted_native() {
            let (native, groups) = (topic.native.clone(), topic.groups.clone());
            self.give_before(&native, &outgoing.name);
            let is_sent = !(v1.is_empty() && v2.is_empty());
            let direct = self.direct(&native, &outgoing, is_sent);
            if !groups.is_empty() {
                self.give(&groups, &outgoing);
            }
            self.publish(messages, outgoing.frame.clone(), v2, direct, droppable);
        }
        if v1.is_empty() || is_copy {
            return;
        }
        if format == Format::V1 && self.transcoding.is_empty() {
            self.publish(messages, outgoing.frame, v1, Vec::new(), droppable);
        } else {
            let is_first = self.transcoding.is_empty();
            self.transcoding.add(outgoing);
            if is_first {
                // Most frames are done at once.
                self.transcode_some();
            }
            if !self.transcoding.is_empty() {
                self.out.queue.push_back(Effect::Deferred { to: v1 });
            }
        }
    }

    /// Goes on with what is to be carried over; whether some is left.
    pub(super) fn transcode_some(&mut self) -> bool {
        let mut left = TRANSCODED_PER_TURN_MAX;
        let (mut bytes, now_ms) = (0, self.unix_ms());
        while left > 0
            && bytes < TRANSCODED_BYTES_PER_TURN_MAX
            && let Some((outgoing, at)) = self.transcoding.first()
        {
            left -= 1;
            let (at, Outgoing { name, frame, format, droppable, whole_until_ms, .. }) =
                (at, outgoing);
            let may_expire = *whole_until_ms != NEVER_MS;
            let (name, frame, droppable) = (name.clone(), frame.clone(), *droppable);
            let to = self.subscribers.topic(&name).v1.clone();
            if *format == Format::V1 {
                self.transcoding.finish();
                self.publish(1, frame, to, Vec::new(), droppable);
                continue;
            }
            match Records::new(&frame[at..]).next() {
                Some(Ok((whole, record)))
                    if may_expire
                        && record.properties().expires_ms.is_some_and(|at| at <= now_ms) =>
                {
                    self.transcoding.advance(whole.len());
                }
                Some(Ok((whole, record))) if !to.is_empty() => {
                    bytes += whole.len();
                    let v1 = self.v1_frame(&name, &record);
                    self.publish(1, v1, to, Vec::new(), droppable);
                    self.transcoding.advance(whole.len());
                }
                _ => _ = self.transcoding.finish(),
            }
        }
        !self.transcoding.is_empty()
    }

    /// The v1 frame of a native record, its checksum noted so that the acknowledgement finds back.
    pub(super) fn v1_frame(&mut self, name: &str, record: &Record<'_>) -> Bytes {
        let (frame, checksum) = transcode::to_v1(name, record);
        if record.ack {
            self.backlog.add_alias(checksum, record.id);
        }
        frame.into()
    }

    /// Has those carried over that waited longest, as many as may be in flight.
    pub(super) fn carry_some(&mut self) {
        while let Some(next) = self.carrying.next(&self.backlog) {
            match next {
                Next::Begun(message) => self.out.queue.push_back(Effect::Carry(message)),
                Next::Gone(want) => self.serve_those(&want),
            }
        }
    }

    /// A message was carried over: it goes to those who want it, unless it was acknowledged meanwhile.
    pub(super) fn carried(&mut self, message: &Message, carried: Option<Transcoded>) {
        let Message { id, format, .. } = message;
        let want = self.carrying.end(message);
        // Without it, who waits for it is served when something else happens: it may fail again.
        let Some(carried) = carried else { return };
        if want.released.is_some() {
            self.publish_released(message, carried);
        } else if self.backlog.view().contains(id) {
            if *format == Format::V1 {
                self.backlog.keep_carried(*id, carried.frame.clone());
            }
            if want.is_resend {
                self.resend_carried(message, carried);
            }
        }
        self.serve_those(&want);
    }

    /// Publishes to v1 subscribers what came for later, now that it is carried over. Others have it.
    fn publish_released(&mut self, message: &Message, carried: Transcoded) {
        if Self::times_of(message).1 <= self.unix_ms() {
            return;
        }
        let Transcoded { frame, checksum } = carried;
        let droppable = !self.backlog.view().contains(&message.id);
        self.backlog.add_alias(checksum, message.id);
        let to = self.subscribers.topic(&message.name).v1.clone();
        self.publish(1, frame, to, Vec::new(), droppable);
    }

    fn resend_carried(&mut self, message: &Message, carried: Transcoded) {
        let Message { id, name, format, .. } = message;
        let Transcoded { frame, checksum } = carried;
        let Some(to) = self.subscribers.keeping_up(name) else { return };
        self.note_sent(*id);
        match format {
            Format::V1 => {
                let direct = self.direct_again(&to.native, frame.len());
                self.publish(1, frame, to.v2, direct, false);
            }
            Format::V2 => {
                self.backlog.add_alias(checksum, *id);
                self.publish(1, frame, to.v1, Vec::new(), false);
            }
        }
    }

    /// What these waited for is there, or no longer wanted.
    fn serve_those(&mut self, want: &TranscodeReason) {
        for &group in &want.groups {
            self.groups.serve_later(group);
        }
        for &at in &want.owing {
            self.owes_again(at);
        }
    }
}
