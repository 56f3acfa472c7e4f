//! Sends unacknowledged messages again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arcstr::ArcStr;

use super::check::frame_records;
use super::core::Core;
use super::subscribers::{ConnectionId, KeepingUp, Subscribers};
use super::transcode;
use super::transcode_queue::{NativeFrame, cost};
use crate::limits::{
    RESEND_BYTES_PER_TURN_MAX, RESEND_NAMES_PER_TURN_MAX, RESENDS_PER_TURN_MAX,
    TRANSCODED_BYTES_PER_TURN_MAX,
};
use crate::message::{Format, Message};
use crate::wire::frame::v1_prefix;
use crate::wire::id::MessageId;

/// What one turn sends.
#[derive(Default)]
struct ResendBatch {
    /// Frames in flight, one for each name, so that small messages leave together. In the order of their names: what
    /// a server does depends on nothing that a simulation could not repeat.
    frames: BTreeMap<ArcStr, NativeFrame>,
    /// Who wants names and keeps up: found out once for each frame, and not for each message.
    asked: BTreeMap<ArcStr, Option<Arc<KeepingUp>>>,
}

impl ResendBatch {
    /// See [`Subscribers::keeping_up`].
    fn keeping_up(&mut self, subscribers: &mut Subscribers, name: &str) -> Option<Arc<KeepingUp>> {
        if let Some(known) = self.asked.get(name) {
            return known.clone();
        }
        let found = subscribers.keeping_up(name).map(Arc::new);
        self.asked.insert(subscribers.topic(name).name.clone(), found.clone());
        found
    }
}

impl<E> Core<E> {
    /// Sends a bounded number of messages whose time has come, none before it is stored, and to none of the
    /// subscribers that do not keep up with what they get already.
    pub(super) fn resend_due(&mut self, now: Duration) {
        let mut gathered = ResendBatch::default();
        let mut bytes = 0;
        let stored = self.stored_group();
        let jobs_max = self.backlog.messages_max();
        // Each kind has half of the turn, so that neither can keep the other from being sent.
        for _ in 0..RESENDS_PER_TURN_MAX / 2 {
            if bytes >= RESEND_BYTES_PER_TURN_MAX / 2
                || gathered.frames.len() >= RESEND_NAMES_PER_TURN_MAX / 2
            {
                break;
            }
            let (subscribers, groups) = (&mut self.subscribers, &mut self.groups);
            // A group takes its jobs whether those beside it keep up or not.
            let next = self.backlog.next_waiting(stored, |name, id| {
                // Groups that the message is not for have no part in it.
                match groups.open_to(id, &subscribers.topic(name).groups).len() {
                    0 => gathered.keeping_up(subscribers, name).is_none(),
                    fitting => groups.holds_up(name, fitting, jobs_max),
                }
            });
            let Some(id) = next else { break };
            if self.enlist(id, true, now) == 0
                && let Some(message) = self.backlog.get(id)
            {
                bytes += self.resend(&message, now, &mut gathered);
            }
        }
        if self.backlog.is_retry_due(now) {
            self.parked.note_unstored(self.durable, now, self.backlog.interval());
        }
        for _ in 0..RESENDS_PER_TURN_MAX / 2 {
            if bytes >= RESEND_BYTES_PER_TURN_MAX
                || gathered.frames.len() >= RESEND_NAMES_PER_TURN_MAX
            {
                break;
            }
            match self.backlog.next_retry(now) {
                Ok(id) => bytes += self.retry(id, now, &mut gathered),
                Err(true) => {}
                Err(false) => break,
            }
        }
        for (name, frame) in gathered.frames {
            self.send_gathered(&name, frame);
        }
        self.carry_some();
    }

    /// Sends a message whose interval is over, if it may be sent now.
    fn retry(&mut self, id: MessageId, now: Duration, gathered: &mut ResendBatch) -> usize {
        let Some(message) = self.backlog.get(id) else { return 0 };
        if self.parked.is_unstored(id) {
            self.backlog.put_back(id, &message.name, true, now);
            return 0;
        }
        // Groups may have come since, and only they be left.
        if !self.subscribers.topic(&message.name).is_wanted() && self.enlist(id, true, now) > 0 {
            return 0;
        }
        self.resend(&message, now, gathered)
    }

    /// Sends one message to those who want it and keep up, and returns how many bytes of it that took. Without
    /// any, it is tried again after an interval.
    fn resend(&mut self, message: &Message, now: Duration, gathered: &mut ResendBatch) -> usize {
        let id = message.id;
        if self.is_expired(id) {
            self.expire(id);
            return 0;
        }
        let Some(to) = gathered.keeping_up(&mut self.subscribers, &message.name) else {
            self.backlog.put_back(id, &message.name, true, now);
            return 0;
        };
        let is_wanted = !to.is_empty();
        self.backlog.put_back(id, &message.name, is_wanted, now);
        // What still waits to be carried over is one resend.
        self.counters.resent.add(u64::from(is_wanted && !self.carrying.is_resend_wanted(id)));
        let mut bytes = 0;
        if !to.v1.is_empty() {
            bytes += self.resend_as(Format::V1, message, |core| core.resend_v1(message, &to.v1));
        }
        if to.has_native_format() {
            bytes += self.resend_as(Format::V2, message, |core| core.resend_v2(message, gathered));
        }
        bytes
    }

    /// Sends a message again in this format, by `send` unless it is large and has to be carried over; and returns
    /// what that takes, in bytes that are copied.
    fn resend_as(
        &mut self,
        format: Format,
        message: &Message,
        send: impl FnOnce(&mut Self),
    ) -> usize {
        if message.format == format
            || (format == Format::V2 && self.backlog.carried(message.id).is_some())
        {
            send(self);
            message.bytes()
        } else if message.bytes() > TRANSCODED_BYTES_PER_TURN_MAX {
            self.carrying.want_resend(message.id);
            0
        } else {
            send(self);
            cost(message.bytes())
        }
    }

    fn resend_v1(&mut self, message: &Message, to: &Arc<[ConnectionId]>) {
        self.note_sent(message.id);
        match message.format {
            Format::V1 => {
                let frame = [&v1_prefix(&message.name)[..], &message.body].concat();
                self.publish(1, frame.into(), Arc::clone(to), Vec::new(), false);
            }
            Format::V2 => {
                for (_, record) in frame_records(&message.body) {
                    let (frame, checksum) = transcode::to_v1(&message.name, &record);
                    self.backlog.add_alias(checksum, record.id);
                    self.publish(1, frame.into(), Arc::clone(to), Vec::new(), false);
                }
            }
        }
    }

    fn resend_v2(&mut self, message: &Message, gathered: &mut ResendBatch) {
        self.note_sent(message.id);
        let frame = gathered.frames.entry(message.name.clone()).or_default();
        // It is small, or was carried over.
        frame.append(message, &mut self.backlog);
        if !frame.has_room()
            && let Some(frame) = gathered.frames.remove(&message.name)
        {
            // It takes credit.
            gathered.asked.remove(&message.name);
            self.send_gathered(&message.name, frame);
        }
    }

    /// To native subscribers alone: v1 subscribers got theirs one by one.
    fn send_gathered(&mut self, name: &str, frame: NativeFrame) {
        if let Some(to) = self.subscribers.keeping_up(name) {
            let direct = self.direct_again(&to.native, frame.len());
            self.publish(frame.messages(), frame.into(), to.v2, direct, false);
        }
    }
}
