//! Delayed and expiring messages: nobody gets them before, or after, their time, and an expired message is not kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::backlog::Audience;
use super::check::frame_records;
use super::core::Core;
use super::groups::{Expired, GroupId};
use super::outgoing::{NEVER_MS, Outgoing};
use super::refusal::Refusal;
use super::subscribers::Topic;
use crate::journal::JobState;
use crate::limits::{
    CLOCK_LOOKED_AT, DELAY_DAYS_MAX, DELAYED_PER_TURN_MAX, EXPIRED_PER_TURN_MAX,
    RESEND_BYTES_PER_TURN_MAX, TRANSCODED_BYTES_PER_TURN_MAX,
};
use crate::message::{Body, Format, Message};
use crate::wire::frame::{Frame, v2_prefix};
use crate::wire::id::MessageId;
use crate::wire::letter::Cause;
use crate::wire::properties::Properties;
use crate::wire::record::Record;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Whether a message that came now is delivered later.
pub(super) fn is_later(properties: &Properties<'_>, now_ms: u64) -> bool {
    properties.deliver_at_ms.is_some_and(|at_ms| at_ms > now_ms)
}

/// Checks when a message is to be delivered.
pub(super) fn check_times(
    record: &Record<'_>,
    properties: &Properties<'_>,
    now_ms: u64,
) -> Result<(), Refusal> {
    if !properties.is_counted() && record.ordinal != 0 {
        return Err(Refusal::Rule(
            "a message that is delivered later, or has a key, has no ordinal (0), so that subscribers do not miss it",
        ));
    }
    let Some(at_ms) = properties.deliver_at_ms else { return Ok(()) };
    if properties.retain {
        return Err(Refusal::Rule("a message that is delivered later cannot be retained"));
    }
    let days = at_ms.saturating_sub(now_ms).div_ceil(DAY_MS);
    if days > DELAY_DAYS_MAX { Err(Refusal::TooFarAhead { days }) } else { Ok(()) }
}

impl<E> Core<E> {
    /// It is this time now, and this time of the day, in nanoseconds since the Unix epoch.
    pub(super) fn set_clock(&mut self, now: Duration, unix_ns: u64) {
        (self.clock_set, self.unix_ns) = (now, unix_ns);
    }

    /// The time of the day, in milliseconds since the Unix epoch.
    pub(super) fn unix_ms(&self) -> u64 {
        self.unix_ns / 1_000_000
    }

    /// When the time of the next message has come or is over, or the clock on the wall, which may be set meanwhile, is to be
    /// looked at for that.
    pub(super) fn next_time(&self) -> Option<Duration> {
        let first_ms = match self.carrying.lets_release() {
            true => self.backlog.first_expiry_ms().min(self.backlog.first_later_ms()),
            false => self.backlog.first_expiry_ms(),
        };
        let first_ms = first_ms.min(self.retained.first_expiry_ms()).min(self.keys.first_ms());
        if first_ms == NEVER_MS {
            return None;
        }
        let left_ns = first_ms.saturating_mul(1_000_000).saturating_sub(self.unix_ns);
        Some(self.clock_set + Duration::from_nanos(left_ns).min(CLOCK_LOOKED_AT))
    }

    /// Notes when a message expires that is kept.
    pub(super) fn note_expiry(&mut self, id: MessageId, expires_ms: u64) {
        if expires_ms != NEVER_MS {
            self.backlog.expire_at(id, expires_ms);
        }
    }

    /// Before when nobody gets a message, and from when on.
    pub(super) fn times_of(message: &Message) -> (u64, u64) {
        let first = match message.format {
            Format::V1 => None,
            Format::V2 => frame_records(&message.body).next(),
        };
        let properties = first.map(|(_, record)| record.properties()).unwrap_or_default();
        (properties.deliver_at_ms.unwrap_or(0), properties.expires_ms.unwrap_or(NEVER_MS))
    }

    /// Keeps a message of a request some of whose messages have times, unless its own is over.
    pub(super) fn keep_timed(
        &mut self,
        record: &Record<'_>,
        request: &Bytes,
        whole: &[u8],
        topic: &Topic,
        now: Duration,
    ) {
        let (properties, now_ms) = (record.properties(), self.unix_ms());
        let expires_ms = properties.expires_ms.unwrap_or(NEVER_MS);
        if expires_ms <= now_ms.max(properties.deliver_at_ms.unwrap_or(0)) {
            if self.groups.keeping_expired(&topic.groups).is_empty() {
                self.counters.expired.add(1);
                return;
            }
            // It expires in this turn, as the job that it would have been.
            self.keep(record.id, Format::V2, request, whole, topic, false, now);
            self.note_expiry(record.id, expires_ms.min(now_ms));
            return;
        }
        let later = is_later(&properties, now_ms);
        self.keep(record.id, Format::V2, request, whole, topic, later, now);
        self.note_expiry(record.id, expires_ms);
    }

    /// Gives up some of the messages whose time is over; whether more are left.
    pub(super) fn expire_some(&mut self) -> bool {
        let now_ms = self.unix_ms();
        let mut spent = 0;
        while spent < EXPIRED_PER_TURN_MAX {
            let Some(id) = self.backlog.next_expired(now_ms) else { return false };
            spent += 1 + self
                .backlog
                .name_of(id)
                .map_or(0, |name| self.subscribers.topic(&name).groups.len());
            if self.expire(id) {
                return true;
            }
        }
        self.backlog.first_expiry_ms() <= now_ms
    }

    /// Whether the time of a message is over, which [`Self::expire_some`] had no time for yet.
    pub(super) fn is_expired(&self, id: MessageId) -> bool {
        self.backlog.is_expired(id, self.unix_ms())
    }

    /// A message is kept no longer, because its time is over. What groups gave up stays for them, and those that keep what expires give it up
    /// now; whether some of them are left for a further turn.
    pub(super) fn expire(&mut self, id: MessageId) -> bool {
        if self.backlog.is_dead(id) {
            return false;
        }
        if let Some(name) = self.backlog.name_of(id) {
            let groups = self.subscribers.topic(&name).groups.clone();
            if !self.groups.keeping_expired(&groups).is_empty() && self.is_job_of(id, &groups) {
                return self.give_up_expired(id, &name, &groups);
            }
            if self.backlog.is_held_for_groups(id) {
                for member in self.groups.forget(id, &groups) {
                    self.note_free(member);
                }
            }
        }
        if self.finish(id) {
            self.counters.expired.add(1);
        }
        false
    }

    /// Whether a message is a job of some of these groups; one that waits although some of them are to have it becomes
    /// theirs.
    fn is_job_of(&mut self, id: MessageId, groups: &Arc<[GroupId]>) -> bool {
        if self.backlog.is_held_for_groups(id) {
            return true;
        }
        let is_next = self.is_for_groups(id);
        let owed = self.groups.open_to(id, groups);
        let owed: Vec<GroupId> = owed
            .iter()
            .copied()
            .filter(|group| is_next || self.groups.is_durable(*group))
            .collect();
        if self.groups.keeping_expired(&owed).is_empty() {
            return false;
        }
        self.groups.end_late(id);
        self.backlog.hold_for_groups(id);
        self.groups.restore_jobs(id, &owed);
        true
    }

    /// Groups that keep what expires give a message up; the others are done with it.
    fn give_up_expired(&mut self, id: MessageId, name: &str, groups: &[GroupId]) -> bool {
        let Expired { kept_by, done, members, is_done } = self.groups.expire_message(id, groups);
        for member in members {
            self.note_free(member);
        }
        for number in done {
            self.note_job(Some(number), JobState::Done, id);
        }
        let mut has_no_room = false;
        for group in kept_by {
            has_no_room |= self.give_up(group, id, Cause::Expired, self.clock_set).is_err();
        }
        if is_done || self.backlog.is_dead(id) {
            let is_over = self.backlog.is_dead(id) || self.finish(id);
            self.counters.expired.add(u64::from(is_over));
            return false;
        }
        // Jobs that are not added yet are given up as soon as they are.
        let is_left = self.groups.is_enlisting(name) || !has_no_room;
        let wait = if is_left { Duration::ZERO } else { self.backlog.interval() };
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.backlog.expire_at(id, self.unix_ms().saturating_add(wait_ms));
        is_left
    }

    /// The part of a frame that is delivered now; `None` when nothing is. What is delivered later waits for its time from
    /// now on.
    pub(super) fn for_now(&mut self, outgoing: Outgoing) -> Option<Outgoing> {
        let now_ms = self.unix_ms();
        // One in the original format has one message, which the native frame beside it has, too.
        let Ok(Frame::V2 { name, body }) = Frame::parse(&outgoing.frame) else { return None };
        let (mut frame, mut until_ms) = (v2_prefix(name), NEVER_MS);
        let (empty, mut messages) = (frame.len(), 0);
        for (whole, record) in frame_records(body) {
            let properties = record.properties();
            let expires_ms = properties.expires_ms.unwrap_or(NEVER_MS);
            let deliver_at_ms = properties.deliver_at_ms.unwrap_or(0);
            if expires_ms <= now_ms.max(deliver_at_ms) {
                // Of those that are kept, somebody else counts it.
                self.counters.expired.add(u64::from(!record.ack));
            } else if record.ack && deliver_at_ms > 0 && !self.backlog.view().contains(&record.id) {
                // It was taken back, or settled, before it was stored: nobody gets it, least of all now.
            } else if record.ack && self.backlog.is_later(record.id) {
                self.backlog.deliver_at(record.id, deliver_at_ms);
            } else if !record.ack && deliver_at_ms > now_ms {
                let kept = Body::keep(&outgoing.frame, whole);
                let (name, id) = (&outgoing.name, record.id);
                self.backlog.add(id, name, Format::V2, kept, Audience::Later, self.clock_set);
                self.backlog.deliver_at(id, deliver_at_ms);
            } else {
                frame.extend_from_slice(whole);
                messages += 1;
                until_ms = until_ms.min(expires_ms);
            }
        }
        let is_left = frame.len() > empty;
        // The other format's frame beside it is not delivered.
        let (frame, whole_until_ms, is_copy) = (frame.into(), until_ms, false);
        is_left.then(|| Outgoing { frame, messages, whole_until_ms, is_copy, ..outgoing })
    }

    /// Delivers some of the messages whose time has come; whether more are left.
    pub(super) fn release_later(&mut self, now: Duration) -> bool {
        let (now_ms, mut bytes) = (self.unix_ms(), 0);
        for _ in 0..DELAYED_PER_TURN_MAX {
            // Once some are carried over, it goes on.
            if !self.carrying.lets_release() {
                return false;
            }
            if bytes >= RESEND_BYTES_PER_TURN_MAX {
                break;
            }
            let Some(id) = self.backlog.next_later(now_ms) else { return false };
            if self.backlog.is_later(id)
                && let Some(message) = self.backlog.get(id)
            {
                bytes += message.bytes();
                self.release_one(message, now);
            }
        }
        self.backlog.first_later_ms() <= now_ms
    }

    /// Delivers a message as if it had been published now.
    fn release_one(&mut self, message: Message, now: Duration) {
        let (_, expires_ms) = Self::times_of(&message);
        // A large one is carried over elsewhere, as it is when it is sent again.
        let is_large = message.bytes() > TRANSCODED_BYTES_PER_TURN_MAX;
        let is_copy = is_large && !self.subscribers.topic(&message.name).v1.is_empty();
        if is_copy {
            self.carrying.want_released(message.clone());
        }
        let Message { id, name, format, body } = message;
        let ack = frame_records(&body).next().is_some_and(|(_, record)| record.ack);
        if ack {
            self.give_place(id, &name, now);
        } else {
            self.backlog.remove(id);
        }
        self.deliver(Outgoing {
            frame: [&v2_prefix(&name)[..], &body].concat().into(),
            name,
            messages: 1,
            format,
            droppable: !ack,
            is_copy,
            whole_until_ms: expires_ms,
        });
    }

    /// A message that is kept and was for later is for whoever wants it now.
    fn give_place(&mut self, id: MessageId, name: &str, now: Duration) {
        let topic = self.subscribers.topic(name).clone();
        let groups = self.groups.open_to(id, &topic.groups);
        let is_behind = !groups.is_empty()
            && (self.backlog.is_name_due(name)
                || self.groups.holds_up(name, groups.len(), self.backlog.messages_max()));
        if is_behind {
            // It becomes a job in its turn.
            self.backlog.put_back(id, &topic.name, false, now);
            self.backlog.wake(name, true, self.latest_group());
        } else if groups.is_empty() {
            self.backlog.put_back(id, &topic.name, topic.is_wanted(), now);
        } else {
            self.groups.end_late(id);
            self.backlog.hold_for_groups(id);
            self.groups.add_jobs(&topic.name, id, &groups);
        }
    }
}
