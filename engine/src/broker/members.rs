//! Deliveries to members of groups, and their verdicts.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arcstr::ArcStr;
use bytes::Bytes;

use super::check::bounded_ids;
use super::core::{AcceptedRequest, Core};
use super::groups::{Acknowledged, Ended, GroupError, GroupId, Nak, Policy};
use super::outgoing::Outgoing;
use super::refusal::Refusal;
use super::subscribers::ConnectionId;
use super::transcode_queue::NativeFrame;
use crate::journal::JobState;
use crate::limits::{
    IN_FLIGHT_MAX, MEMBERSHIPS_MAX_EACH, OWED_PER_TURN_MAX, RESEND_BYTES_PER_TURN_MAX,
};
use crate::wire::control::{self, Backoff, Subscribe, Verdict};
use crate::wire::frame::{Frame, v2_prefix};
use crate::wire::id::MessageId;
use crate::wire::letter::Cause;
use crate::wire::record::Records;

/// Parts of a frame, which groups with equal shares have in common: of many groups, all may want the same parts.
struct Parts<'a> {
    name: &'a ArcStr,
    frame: &'a Bytes,
    /// Whether the frame has no other records.
    is_all: bool,
    /// Where the records lie.
    records: &'a [Range<usize>],
    /// By the first record and the one behind the last.
    made: HashMap<(usize, usize), Bytes>,
}

impl Parts<'_> {
    fn get(&mut self, records: Range<usize>) -> Bytes {
        if self.is_all && records == (0..self.records.len()) {
            return self.frame.clone();
        }
        let make = || {
            let mut part = v2_prefix(self.name);
            for record in self.records.get(records.clone()).unwrap_or_default() {
                part.extend_from_slice(&self.frame[record.clone()]);
            }
            part.into()
        };
        self.made.entry((records.start, records.end)).or_insert_with(make).clone()
    }
}

impl<E> Core<E> {
    /// What members of a group agree on that say this. What they leave open is as the group has it that is there, or as the
    /// server does.
    pub(super) fn policy(
        &self,
        group: &control::Group<'_>,
        there: Option<Policy>,
    ) -> Result<Policy, GroupError> {
        let there = there.unwrap_or(Policy {
            ack_wait: self.backlog.interval(),
            in_flight_max: IN_FLIGHT_MAX,
            attempts_max: 0,
            backoff: Backoff::NONE,
            keeps_expired: false,
        });
        Ok(Policy {
            ack_wait: match group.ack_wait_ms {
                0 => there.ack_wait,
                ms => Duration::from_millis(ms.into()),
            },
            in_flight_max: match group.in_flight_max {
                0 => there.in_flight_max,
                max if max > IN_FLIGHT_MAX => return Err(GroupError::InFlight(max)),
                max => max,
            },
            attempts_max: match group.attempts_max {
                0 => there.attempts_max,
                max => max,
            },
            backoff: match group.backoff {
                Backoff::NONE => there.backoff,
                backoff => backoff,
            },
            keeps_expired: group.keeps_expired || there.keeps_expired,
        })
    }

    /// A subscription becomes a member of a group, which is made if there is none; how many milliseconds a member may take.
    pub(super) fn join(
        &mut self,
        connection: ConnectionId,
        wanted: &Subscribe<'_>,
        group: &control::Group<'_>,
        now: Duration,
    ) -> Result<u32, Refusal> {
        let there = self.groups.policy_of(group.name);
        let policy = self.policy(group, there)?;
        let known = self.groups.find(group.name, &wanted.filter, policy)?;
        if known.is_none() {
            self.groups.check_room()?;
        }
        if self.subscribers.members_of(connection).len() >= MEMBERSHIPS_MAX_EACH {
            return Err(GroupError::TooManyMemberships.into());
        }
        let member = self.subscribers.add_native(connection, wanted, now)?;
        let id = known.unwrap_or_else(|| {
            let id = self.groups.next_id();
            let at = self.subscribers.add_group(id, &wanted.filter, now);
            self.groups.add(group.name, &wanted.filter, policy, at);
            id
        });
        self.groups.join(id, member, wanted.credit > 0);
        Ok(policy.ack_wait_ms())
    }

    /// A subscription ends that may be a member of a group: what it had goes to others.
    pub(super) fn leave(&mut self, member: u32) {
        // The filter of a group that is not durable goes with its last member.
        if let Some(at) = self.groups.leave(member) {
            self.subscribers.end_native(at);
        }
    }

    /// A member says what became of messages.
    pub(super) fn settle_jobs(
        &mut self,
        connection: ConnectionId,
        number: u32,
        verdict: Verdict<'_>,
        ids: &[u8],
        now: Duration,
    ) -> Result<AcceptedRequest, Refusal> {
        let member = self.subscribers.find_native(connection, number)?;
        if !self.groups.is_member(member) {
            return Err(GroupError::NoMember(number).into());
        }
        let mut ids = bounded_ids(ids)?;
        let (all, mut unknown, mut first) = (ids.len(), 0, None);
        let has_credit = self.has_credit(member);
        // Each of those that come again at once goes before all others: the last one first, so that their order holds.
        let is_backwards = matches!(verdict, Verdict::Nak { delay_ms: 0 })
            && self.groups.comes_again_at_once(member);
        let cause = match verdict {
            Verdict::Reject { reason } => Cause::Rejected(ArcStr::from(reason)),
            _ => Cause::UsedUp,
        };
        let (mut is_dead, mut stays) = (false, None);
        while let Some(id) = if is_backwards { ids.next_back() } else { ids.next() } {
            let is_known = match verdict {
                Verdict::Ack => match self.groups.acknowledge(member, id, has_credit) {
                    Some(Acknowledged { is_done, durable }) => {
                        // Also one with dead letters may be needed again, by another group.
                        if !is_done || self.letters.first_of(id).is_some() {
                            self.note_job(durable, JobState::Done, id);
                        }
                        if is_done {
                            self.settle_now(id);
                        }
                        true
                    }
                    None => false,
                },
                Verdict::Nak { delay_ms } => {
                    let delay = Duration::from_millis(delay_ms.into());
                    match self.groups.nak(member, id, delay, now, has_credit) {
                        Nak::Unknown => false,
                        Nak::Again => true,
                        Nak::Spent(group) => {
                            is_dead |= self.give_up(group, id, Cause::UsedUp, now).is_ok();
                            true
                        }
                    }
                }
                Verdict::Reject { .. } => match self.groups.reject(member, id, has_credit) {
                    Some(group) => {
                        match self.give_up(group, id, cause.clone(), now) {
                            Ok(()) => is_dead = true,
                            Err(refusal) => _ = stays.get_or_insert(refusal),
                        }
                        true
                    }
                    None => false,
                },
                Verdict::Extend => self.groups.extend(member, id, now),
            };
            if !is_known {
                unknown += 1;
                if first.is_none() || is_backwards {
                    first = Some(id);
                }
            }
        }
        match (first, stays) {
            (Some(id), _) => Err(GroupError::NotUnderWay { id, number, unknown, all }.into()),
            (None, Some(refusal)) => Err(refusal),
            (None, None) if verdict == Verdict::Ack => self.check_settlements(),
            (None, None) if is_dead => {
                Ok(AcceptedRequest { group: self.latest_group(), kept: true })
            }
            // Nothing of it is stored.
            (None, None) => Ok(AcceptedRequest::AT_ONCE),
        }
    }

    fn has_credit(&mut self, member: u32) -> bool {
        self.subscribers.native(member).is_some_and(|native| native.has_credit())
    }

    /// A member has credit for this many bytes more.
    pub(super) fn credit_member(&mut self, member: u32, bytes: u64) {
        let has_credit = self.has_credit(member);
        self.groups.granted(member, bytes, has_credit);
    }

    /// A native frame is delivered: what is kept of it becomes ready in these groups, and the rest goes to one member of
    /// each. What nobody has credit for is lost to the group.
    pub(super) fn give(&mut self, groups: &Arc<[GroupId]>, outgoing: &Outgoing) {
        let Outgoing { name, frame, .. } = outgoing;
        let Ok(Frame::V2 { body, .. }) = Frame::parse(frame) else { return };
        let mut at = frame.len() - body.len();
        let (mut kept, mut rest) = (Vec::new(), Vec::new());
        for (whole, record) in Records::new(body).flatten() {
            if record.ack {
                kept.push(record.id);
            } else {
                rest.push(at..at + whole.len());
            }
            at += whole.len();
        }
        self.groups.deliver(name, &kept, groups);
        let is_all = kept.is_empty();
        let mut parts = Parts { name, frame, is_all, records: &rest, made: HashMap::new() };
        for &group in &**groups {
            self.give_unkept(group, &mut parts);
        }
    }

    /// Gives records of a frame to members of a group.
    fn give_unkept(&mut self, group: GroupId, parts: &mut Parts<'_>) {
        let all = parts.records.len();
        let (mut at, mut share) = (0, 0);
        while at < all {
            let Some((member, members)) = self.groups.receiver(group) else {
                self.counters.messages_dropped.add((all - at) as u64);
                return;
            };
            if share == 0 {
                share = all.div_ceil(members);
            }
            let end = all.min(at + share);
            let (part, messages) = (parts.get(at..end), (end - at) as u64);
            at = end;
            self.give_frame(member, messages, part, 1, true);
        }
    }

    /// Delivers a frame with this many messages to a member.
    fn give_frame(
        &mut self,
        member: u32,
        messages: u64,
        frame: Bytes,
        attempt: u16,
        droppable: bool,
    ) {
        let Some(native) = self.subscribers.native(member) else { return };
        let bytes = frame.len();
        native.pay(bytes);
        let (direct, has_credit) = (native.direct(attempt > 1, attempt), native.has_credit());
        self.groups.delivered(member, bytes as u64, has_credit);
        self.publish(messages, frame, [].into(), vec![direct], droppable);
    }

    /// Hands over some of the jobs that are ready; whether there may be more to do.
    pub(super) fn serve_groups(&mut self, now: Duration) -> bool {
        let (mut left, mut cost) = (OWED_PER_TURN_MAX, 0);
        let mut share = None;
        while left > 0
            && cost < RESEND_BYTES_PER_TURN_MAX
            && let Some(group) = self.groups.next_serving()
        {
            let receiver = self.groups.receiver(group).filter(|_| !self.groups.is_returning(group));
            let given = receiver.and_then(|(member, members)| {
                // As much for each of those that may get some now.
                let ready = self.groups.ready(group);
                let share = *share.get_or_insert_with(|| ready.div_ceil(members).max(1));
                let cost_max = RESEND_BYTES_PER_TURN_MAX - cost;
                self.hand_over(group, member, share.min(left), cost_max, now)
            });
            match given {
                Some((messages, frame_cost)) => {
                    left -= messages;
                    cost += frame_cost;
                }
                None => {
                    self.groups.served();
                    share = None;
                }
            }
        }
        self.groups.rotate_serving();
        self.groups.next_serving().is_some()
    }

    /// Hands jobs over to a member in one frame, no more of them once it costs so much: how many, and what it
    /// cost. `None` when none was ready.
    fn hand_over(
        &mut self,
        group: GroupId,
        member: u32,
        messages_max: usize,
        cost_max: usize,
        now: Duration,
    ) -> Option<(usize, usize)> {
        let (mut frame, mut of, mut messages) = (NativeFrame::default(), None, 0);
        while messages < messages_max && frame.has_room() && frame.cost() < cost_max {
            if !self.subscribers.native(member)?.has_credit_for(frame.len()) {
                break;
            }
            let Some(next) = self.groups.next(group) else { break };
            let Some(message) = self.backlog.get(next.id) else {
                self.groups.forget(next.id, &[group]);
                continue;
            };
            if self.is_expired(next.id) {
                self.expire(next.id);
                if self.backlog.bytes_of(next.id).is_none() {
                    self.groups.forget(next.id, &[group]);
                }
                continue;
            }
            let same = (message.name.clone(), next.attempt);
            if of.as_ref().is_some_and(|of| *of != same) {
                self.groups.put_back(group, next.id);
                break;
            }
            if !frame.append(&message, &mut self.backlog) {
                // Those behind it wait, too, so that their order holds.
                self.groups.put_back(group, next.id);
                self.carrying.want_for_group(next.id, group);
                break;
            }
            self.note_sent(next.id);
            of = Some(same);
            messages += 1;
            if !self.groups.hand_over(group, next.id, member, now) {
                break;
            }
        }
        let ((_, attempt), cost) = (of?, frame.cost());
        if attempt > 1 {
            self.counters.resent.add(messages as u64);
            self.groups.note_redelivered(group, messages as u64);
        }
        self.give_frame(member, messages as u64, frame.into(), attempt, false);
        Some((messages, cost))
    }

    /// Makes jobs ready again whose member took too long.
    pub(super) fn expire_jobs(&mut self, now: Duration) {
        for member in self.groups.expire(now, OWED_PER_TURN_MAX) {
            self.note_free(member);
        }
    }

    /// A member has one job less.
    pub(super) fn note_free(&mut self, member: u32) {
        let has_credit = self.has_credit(member);
        self.groups.set_free(member, has_credit);
    }

    /// Whether a message is for groups alone: they have it, or it waits for its turn to become their job.
    pub(super) fn is_for_groups(&mut self, id: MessageId) -> bool {
        if self.groups.has_no_jobs() && self.groups.has_no_group() {
            return false;
        }
        if self.backlog.is_held_for_groups(id) {
            return true;
        }
        // One whose time has come is taken back by nobody any more.
        let waits = match self.backlog.is_overdue(id, self.unix_ms()) {
            true => self.backlog.name_of(id),
            false => self.backlog.name_of_waiting(id).filter(|it| self.backlog.is_name_due(it)),
        };
        waits.is_some_and(|name| {
            let groups = &self.subscribers.topic(&name).groups;
            !self.groups.open_to(id, groups).is_empty()
        })
    }

    /// A message that waited for anybody becomes a job of the groups that it fits: of how many. One that is not stored
    /// yet is ready when it is delivered.
    pub(super) fn enlist(&mut self, id: MessageId, is_stored: bool, now: Duration) -> usize {
        if self.groups.has_no_group() {
            return 0;
        }
        let Some(message) = self.backlog.get(id) else { return 0 };
        let name = &message.name;
        let groups = self.groups.open_to(id, &self.subscribers.topic(name).groups);
        if groups.is_empty() {
            return 0;
        }
        if is_stored && self.groups.holds_up(name, groups.len(), self.backlog.messages_max()) {
            // It goes on waiting, and is due.
            self.backlog.put_back(id, name, false, now);
            self.backlog.wake(name, true, self.latest_group());
            return groups.len();
        }
        self.groups.end_late(id);
        self.backlog.hold_for_groups(id);
        if is_stored {
            self.groups.add_ready_jobs(name, id, &groups);
        } else {
            self.groups.add_jobs(name, id, &groups);
        }
        groups.len()
    }

    /// Goes on with jobs that are left to be added; whether some are left.
    pub(super) fn enlist_some(&mut self) -> bool {
        let backlog = &self.backlog;
        let is_left = self.groups.enlist_some(|id| backlog.is_held_for_groups(id));
        if self.groups.take_room(self.backlog.messages_max()) {
            self.backlog.try_again();
        }
        is_left
    }

    /// Messages whose only groups are over are anybody's, or done if the last one was deleted; whether some are left.
    pub(super) fn end_groups(&mut self, now: Duration) -> bool {
        let mut unstored = None;
        let mut left = OWED_PER_TURN_MAX;
        while left > 0
            && let Some(Ended { id, is_last, is_done }) = self.groups.next_ended()
        {
            left -= 1;
            if !is_last {
                continue;
            }
            if is_done {
                self.settle_now(id);
                continue;
            }
            let unstored = unstored.get_or_insert_with(|| self.parked.unstored());
            // Another group may have come.
            match self.enlist(id, !unstored.contains(&id), now) {
                0 => {
                    if let Some(message) = self.backlog.get(id) {
                        let is_wanted = self.subscribers.topic(&message.name).is_wanted();
                        self.backlog.put_back(id, &message.name, is_wanted, now);
                    }
                }
                // To find out for which groups it is takes a while, if there are many.
                groups => left = left.saturating_sub(groups / 8),
            }
        }
        self.answer_deletions(now);
        self.groups.is_ending()
    }
}
