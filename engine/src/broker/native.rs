//! Deliveries to native subscriptions, within the credit of each.

use std::time::Duration;

use super::check::frame_records;
use super::core::Core;
use super::outgoing::Outgoing;
use super::subscribers::Direct;
use super::transcode_queue::NativeFrame;
use crate::limits::{OWED_PER_TURN_MAX, RESEND_BYTES_PER_TURN_MAX};
use crate::wire::frame::Frame;
use crate::wire::id::MessageId;

impl<E> Core<E> {
    /// Which of these subscriptions get a native frame now. For one that has no credit, what has to be acknowledged
    /// waits until it has some, if it takes part; the rest is lost to it. `is_sent`: others get the frame, too.
    pub(super) fn direct(
        &mut self,
        subscriptions: &[u32],
        outgoing: &Outgoing,
        is_sent: bool,
    ) -> Vec<Direct> {
        let Outgoing { frame, droppable, .. } = outgoing;
        let mut direct = Vec::with_capacity(subscriptions.len());
        // Which messages have to be acknowledged, and how many do not: read when the first one waits.
        let mut content: Option<(Vec<MessageId>, u64)> = None;
        for &at in subscriptions {
            let Some(native) = self.subscribers.native(at) else { continue };
            // What waits already goes first.
            let waits = native.owes() && native.takes_part() && !droppable;
            if !waits && native.pay(frame.len()) {
                direct.push(native.direct(false, 0));
                continue;
            }
            let takes_part = native.takes_part();
            if !waits && let Some(beyond) = self.subscribers.overdraw(at, frame.len()) {
                direct.push(beyond);
                continue;
            }
            let (kept, rest) = content.get_or_insert_with(|| read_content(frame));
            if takes_part {
                kept.iter().for_each(|&id| self.subscribers.owe(at, id));
                // It came in the original format, and need not be carried over again.
                if let &[id] = &kept[..]
                    && !id.is_native()
                {
                    self.backlog.keep_carried(id, frame.clone());
                }
            }
            let lost = *rest + if takes_part { 0 } else { kept.len() as u64 };
            self.counters.messages_dropped.add(lost);
            if lost > 0 {
                self.lost_to = self.subscribers.lose(at, lost).or(self.lost_to);
            }
        }
        if let Some((kept, _)) = content
            && (is_sent || !direct.is_empty())
        {
            kept.into_iter().for_each(|id| self.backlog.note_sent(id));
        }
        direct
    }

    /// Which of these subscriptions get a frame of this many bytes that is sent again: those that have credit.
    pub(super) fn direct_again(&mut self, subscriptions: &[u32], bytes: usize) -> Vec<Direct> {
        let mut direct = Vec::with_capacity(subscriptions.len());
        for &at in subscriptions {
            if let Some(native) = self.subscribers.native(at)
                && native.pay(bytes)
            {
                direct.push(native.direct(true, 0));
            }
        }
        direct
    }

    /// Delivers some of what waited for credit, and of what groups have; whether some is left.
    pub(super) fn serve(&mut self, now: Duration) -> bool {
        let giving = self.give_some();
        let paying = self.pay_owed(now);
        let serving = self.serve_groups(now);
        let releasing = self.release_later(now);
        giving || paying || serving || releasing
    }

    /// Delivers some of what waited for credit that was granted; whether some is left.
    fn pay_owed(&mut self, now: Duration) -> bool {
        let (mut left, mut bytes) = (OWED_PER_TURN_MAX, 0);
        while left > 0
            && bytes < RESEND_BYTES_PER_TURN_MAX
            && let Some(&at) = self.owing.front()
        {
            let paid = self.pay(at, left, RESEND_BYTES_PER_TURN_MAX - bytes, now);
            left = left.saturating_sub(paid.messages.max(1));
            bytes += paid.cost;
            if paid.is_last {
                self.owing.pop_front();
                self.subscribers.unlist_owing(at);
            }
        }
        // The next turn is another's.
        if let Some(at) = self.owing.pop_front() {
            self.owing.push_back(at);
        }
        !self.owing.is_empty()
    }

    /// Delivers one frame of what waited, of this many messages at most, and of no more once it costs so much.
    fn pay(
        &mut self,
        at: u32,
        messages_max: usize,
        cost_max: usize,
        now: Duration,
    ) -> DeliveryCost {
        let (mut of, mut frame, mut messages) = (None, NativeFrame::default(), 0);
        let mut is_carried_first = false;
        while messages < messages_max && frame.has_room() && frame.cost() < cost_max {
            if !self.subscribers.native(at).is_some_and(|native| native.has_credit()) {
                break;
            }
            let Some(id) = self.subscribers.next_owed(at) else { break };
            // Without it, somebody else acknowledged it, or gave it up, or it expired.
            let Some(message) = self.backlog.get(id).filter(|_| !self.is_over(id)) else {
                messages += 1;
                continue;
            };
            let same = (message.name.clone(), self.backlog.is_sent(id));
            if of.as_ref().is_some_and(|of| *of != same) {
                self.subscribers.owe_first(at, id);
                break;
            }
            if !frame.append(&message, &mut self.backlog) {
                // Those behind it wait, too, so that their order holds.
                self.subscribers.owe_first(at, id);
                self.carrying.want_for_owing(id, at);
                is_carried_first = true;
                break;
            }
            messages += 1;
            // Its interval begins with the delivery.
            self.backlog.renew(id, &message.name, now);
            self.backlog.note_sent(id);
            of = Some(same);
        }
        let is_again = of.is_some_and(|(_, is_sent)| is_sent);
        let (bytes, cost) = (frame.len(), frame.cost());
        let Some(native) = self.subscribers.native(at) else {
            return DeliveryCost { messages, cost, is_last: true };
        };
        let mut direct = Vec::new();
        if bytes > 0 && native.pay(bytes) {
            direct.push(native.direct(is_again, 0));
        }
        let is_last = is_carried_first || !(native.owes() && native.has_credit());
        self.publish(messages as u64, frame.into(), [].into(), direct, false);
        DeliveryCost { messages, cost, is_last }
    }

    /// Whether nobody gets a message that is kept: it is a dead letter and nothing else, or its time is over.
    fn is_over(&self, id: MessageId) -> bool {
        (!self.letters.is_empty() && self.backlog.is_dead(id)) || self.is_expired(id)
    }

    /// Notes that a message was sent, if somebody may have to know.
    pub(super) fn note_sent(&mut self, id: MessageId) {
        if self.subscribers.owes_any() {
            self.backlog.note_sent(id);
        }
    }

    /// What a subscription waits for besides credit may be there.
    pub(super) fn owes_again(&mut self, at: u32) {
        if self.subscribers.native(at).is_some() && self.subscribers.list_owing(at) {
            self.owing.push_back(at);
        }
    }
}

/// The messages of a native frame that have to be acknowledged, and how many do not.
fn read_content(frame: &[u8]) -> (Vec<MessageId>, u64) {
    let (mut kept, mut rest) = (Vec::new(), 0);
    if let Ok(Frame::V2 { body, .. }) = Frame::parse(frame) {
        for (_, record) in frame_records(body) {
            if record.ack {
                kept.push(record.id);
            } else {
                rest += 1;
            }
        }
    }
    (kept, rest)
}

/// What one delivery of messages that waited took.
struct DeliveryCost {
    messages: usize,
    /// See [`NativeFrame::cost`].
    cost: usize,
    /// Whether nothing more can be delivered now.
    is_last: bool,
}
