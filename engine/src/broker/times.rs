//! Messages that count until a time of the day: nobody gets them from then on, and they are kept no longer.

use std::time::Duration;

use super::check::frame_records;
use super::core::Core;
use super::outgoing::{NEVER_MS, Outgoing};
use crate::limits::{CLOCK_LOOKED_AT, EXPIRED_PER_TURN_MAX};
use crate::message::{Format, Message};
use crate::wire::frame::{Frame, v2_prefix};
use crate::wire::id::MessageId;

impl<E> Core<E> {
    /// It is this time now, and this time of the day, in nanoseconds since the Unix epoch.
    pub(super) fn set_clock(&mut self, now: Duration, unix_ns: u64) {
        (self.clock_set, self.unix_ns) = (now, unix_ns);
    }

    /// The time of the day, in milliseconds since the Unix epoch.
    pub(super) fn unix_ms(&self) -> u64 {
        self.unix_ns / 1_000_000
    }

    /// When the next message expires, or the clock on the wall, which may be set meanwhile, is to be looked at for that.
    pub(super) fn next_time(&self) -> Option<Duration> {
        let first_ms = self.backlog.first_time_ms();
        if first_ms == NEVER_MS {
            return None;
        }
        let left_ns = first_ms.saturating_mul(1_000_000).saturating_sub(self.unix_ns);
        Some(self.clock_set + Duration::from_nanos(left_ns).min(CLOCK_LOOKED_AT))
    }

    /// Notes when a message expires that is kept.
    pub(super) fn note_expiry(&mut self, id: MessageId, expires_ms: u64) {
        if expires_ms != NEVER_MS {
            self.backlog.set_time(id, expires_ms);
        }
    }

    /// From when on nobody gets a message any more.
    pub(super) fn expiry_of(message: &Message) -> u64 {
        let first = match message.format {
            Format::V1 => None,
            Format::V2 => frame_records(&message.body).next(),
        };
        first.and_then(|(_, record)| record.properties().expires_ms).unwrap_or(NEVER_MS)
    }

    /// Gives up some of the messages whose time is over; whether more are left.
    pub(super) fn expire_some(&mut self) -> bool {
        let now_ms = self.unix_ms();
        for _ in 0..EXPIRED_PER_TURN_MAX {
            let Some(id) = self.backlog.next_timed(now_ms) else { return false };
            self.expire(id);
        }
        self.backlog.first_time_ms() <= now_ms
    }

    /// Whether the time of a message is over, which [`Self::expire_some`] had no time for yet.
    pub(super) fn is_expired(&self, id: MessageId) -> bool {
        self.backlog.is_time(id, self.unix_ms())
    }

    /// A message is kept no longer, because its time is over. What groups gave up stays for them.
    pub(super) fn expire(&mut self, id: MessageId) {
        if self.backlog.is_dead(id) {
            return;
        }
        if self.backlog.is_held_for_groups(id)
            && let Some(name) = self.backlog.name_of(id)
        {
            let groups = self.subscribers.topic(&name).groups.clone();
            for member in self.groups.forget(id, &groups) {
                self.note_free(member);
            }
        }
        if self.finish(id) {
            self.counters.expired.add(1);
        }
    }

    /// A frame without the messages whose time is over; `None` when none is left.
    pub(super) fn without_expired(&mut self, outgoing: Outgoing) -> Option<Outgoing> {
        let now_ms = self.unix_ms();
        // One in the original format has one message, which the native frame beside it has, too.
        let Ok(Frame::V2 { name, body }) = Frame::parse(&outgoing.frame) else { return None };
        let (mut frame, mut first_ms) = (v2_prefix(name), NEVER_MS);
        let empty = frame.len();
        for (whole, record) in frame_records(body) {
            let expires_ms = record.properties().expires_ms.unwrap_or(NEVER_MS);
            if expires_ms > now_ms {
                frame.extend_from_slice(whole);
                first_ms = first_ms.min(expires_ms);
            } else if !record.ack {
                self.counters.expired.add(1);
            }
        }
        let is_left = frame.len() > empty;
        is_left.then(|| Outgoing { frame: frame.into(), expires_ms: first_ms, ..outgoing })
    }
}
