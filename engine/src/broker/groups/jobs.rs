//! Jobs: the state of each message of a group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{Ended, GroupId, Groups, Policy};
use crate::retry::Token;
use crate::wire::id::MessageId;

/// How late a job may come back.
const TICK: Duration = Duration::from_millis(10);

/// A message that one member of a group is to acknowledge.
#[derive(Debug)]
pub(super) struct Job {
    /// How often it was handed over.
    pub(super) attempts: u16,
    pub(super) state: State,
}

impl Job {
    /// Whether it gets no further attempt under this policy.
    fn is_used_up(&self, policy: &Policy) -> bool {
        policy.attempts_max != 0 && self.attempts >= policy.attempts_max
    }

    /// How long it waits for its next attempt under this policy, if it does.
    fn backoff(&self, policy: &Policy) -> Option<Duration> {
        let delay = policy.backoff.after(self.attempts).filter(|&ms| ms > 0)?;
        Some(Duration::from_millis(delay.into()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its message is not delivered to anybody yet: it waits for the journal.
    Unstored,
    /// It stands among those that are handed over next.
    Ready,
    /// A member has it, for a time.
    UnderWay { member: u32, token: Token },
    /// It is handed over again later.
    PutOff { token: Token },
    /// Its last attempt failed, or a member rejected it.
    Spent,
}

/// What becomes of a job that a member gives back for a later attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Nak {
    /// The member does not have it.
    Unknown,
    /// It is handed over again.
    Again,
    /// That was its last attempt in this group.
    Spent(GroupId),
}

/// What comes of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Acknowledged {
    /// Whether the message is done.
    pub(in super::super) is_done: bool,
    /// The number of the group, if it is durable.
    pub(in super::super) durable: Option<u64>,
}

/// What is handed over next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Next {
    pub(in super::super) id: MessageId,
    /// Which hand-over this is, from 1.
    pub(in super::super) attempt: u16,
}

pub(super) fn tick(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(TICK.as_nanos())).unwrap_or(u64::MAX)
}

impl Groups {
    /// Makes this many jobs ready at most that members had who are gone; whether some are left.
    pub(in super::super) fn take_back(&mut self, max: usize) -> bool {
        for _ in 0..max {
            let Some(&group) = self.leaving.front() else { break };
            let Some(Some(found)) = self.all.get_mut(group as usize) else { break };
            // The last goes first, so that the oldest is the first again.
            let Some(id) = found.leaving.front_mut().and_then(DoubleEndedIterator::next_back)
            else {
                found.leaving.pop_front();
                if found.leaving.is_empty() {
                    self.leaving.pop_front();
                    self.serve_later(group);
                }
                continue;
            };
            let policy = &found.policy;
            let Some(job) = self.jobs.get_mut(&(group, id)) else { continue };
            if let State::UnderWay { token, .. } = job.state {
                self.timers.cancel(token, &(group, id));
                found.in_flight -= 1;
                self.in_flight -= 1;
                if job.is_used_up(policy) {
                    job.state = State::Spent;
                    self.spent.push_back((group, id));
                } else {
                    job.state = State::Ready;
                    found.ready.push_front(id);
                }
            }
        }
        // The next turn is another group's.
        if let Some(group) = self.leaving.pop_front() {
            self.leaving.push_back(group);
        }
        !self.leaving.is_empty()
    }

    /// Whether jobs of a group are left to be taken back. What it hands over meanwhile could be taken for what somebody had
    /// who is gone.
    pub(in super::super) fn is_returning(&self, group: GroupId) -> bool {
        let group = self.all.get(group as usize).and_then(Option::as_ref);
        group.is_some_and(|group| !group.leaving.is_empty())
    }

    /// A message is a job of a group, from when it is stored.
    pub(super) fn add_job(&mut self, group: GroupId, id: MessageId) {
        let job = Job { attempts: 0, state: State::Unstored };
        if self.jobs.insert((group, id), job).is_none()
            && let Some(Some(group)) = self.all.get_mut(group as usize)
        {
            group.jobs += 1;
        }
    }

    /// Takes a job out, which [`Self::stop`] then stops.
    pub(super) fn remove_job(&mut self, group: GroupId, id: MessageId) -> Option<Job> {
        let job = self.jobs.remove(&(group, id))?;
        if let Some(Some(group)) = self.all.get_mut(group as usize) {
            group.jobs -= 1;
        }
        Some(job)
    }

    /// A message is delivered now: its job for a group, if there is one, is ready.
    pub(super) fn set_ready(&mut self, group: GroupId, id: MessageId) {
        let Some(job) = self.jobs.get_mut(&(group, id)) else { return };
        if job.state == State::Unstored {
            job.state = State::Ready;
            if let Some(found) = &mut self.all[group as usize] {
                found.ready.push_back(id);
                if !found.free.is_empty() {
                    self.serve_later(group);
                }
            }
        }
    }

    /// A message is no longer kept: nobody settles it. `groups`: those that it may be a job of. Returns the members that
    /// had it.
    pub(in super::super) fn forget(&mut self, id: MessageId, groups: &[GroupId]) -> Vec<u32> {
        let mut members = Vec::new();
        for &group in groups {
            let Some(Job { state, .. }) = self.remove_job(group, id) else { continue };
            self.stop(group, id, state);
            match state {
                State::UnderWay { member, .. } => members.push(member),
                State::Ready => self.drop_passed(group),
                State::Unstored | State::PutOff { .. } | State::Spent => {}
            }
        }
        self.shared.remove(&id);
        self.settled(id);
        members
    }

    /// Frees the places of jobs that are no longer ready: where members have no credit, their turn may never come.
    pub(super) fn drop_passed(&mut self, group: GroupId) {
        let Some(Some(found)) = self.all.get_mut(group as usize) else { return };
        let jobs = &self.jobs;
        let is_ready = |id| jobs.get(&(group, id)).is_some_and(|job| job.state == State::Ready);
        found.passed += 1;
        while found.ready.front().is_some_and(|&id| !is_ready(id)) {
            found.ready.pop_front();
        }
        // Half of them at least, so that each is looked at twice at most.
        if found.passed > found.ready.len() / 2 {
            found.ready.retain(|&id| is_ready(id));
            found.passed = 0;
        }
    }

    pub(super) fn stop(&mut self, group: GroupId, id: MessageId, state: State) {
        match state {
            State::UnderWay { member, token } => {
                self.timers.cancel(token, &(group, id));
                self.end_attempt(group, id, member);
            }
            State::PutOff { token } => _ = self.timers.cancel(token, &(group, id)),
            // It is passed over when its turn comes.
            State::Ready | State::Unstored | State::Spent => {}
        }
    }

    /// A member has a job no longer.
    fn end_attempt(&mut self, group: GroupId, id: MessageId, member: u32) {
        if let Some(member) = self.members.get_mut(&member) {
            member.under_way.remove(&id);
        }
        if let Some(Some(group)) = self.all.get_mut(group as usize) {
            group.in_flight -= 1;
            self.in_flight -= 1;
        }
    }

    /// How many jobs of a group are ready, or were.
    pub(in super::super) fn ready(&self, group: GroupId) -> usize {
        self.all.get(group as usize).and_then(Option::as_ref).map_or(0, |group| group.ready.len())
    }

    /// The next job of a group that is ready.
    pub(in super::super) fn next(&mut self, group: GroupId) -> Option<Next> {
        let ready = &mut self.all.get_mut(group as usize)?.as_mut()?.ready;
        while let Some(id) = ready.pop_front() {
            if let Some(job) = self.jobs.get(&(group, id))
                && job.state == State::Ready
            {
                return Some(Next { id, attempt: job.attempts.saturating_add(1) });
            }
        }
        None
    }

    /// The job that came last from [`Self::next`] comes first again.
    pub(in super::super) fn put_back(&mut self, group: GroupId, id: MessageId) {
        if let Some(Some(group)) = self.all.get_mut(group as usize) {
            group.ready.push_front(id);
        }
    }

    /// A member gets a job; whether it may get another one.
    pub(in super::super) fn hand_over(
        &mut self,
        group: GroupId,
        id: MessageId,
        member: u32,
        now: Duration,
    ) -> bool {
        let Some(Some(found)) = self.all.get_mut(group as usize) else { return false };
        let Policy { ack_wait, in_flight_max, .. } = found.policy;
        let Some(job) = self.jobs.get_mut(&(group, id)) else { return true };
        found.in_flight += 1;
        self.in_flight += 1;
        let token = self.timers.schedule((group, id), tick(now.saturating_add(ack_wait)));
        job.attempts = job.attempts.saturating_add(1);
        job.state = State::UnderWay { member, token };
        let Some(member) = self.members.get_mut(&member) else { return false };
        member.under_way.insert(id);
        member.under_way.len() < in_flight_max as usize
    }

    pub(super) fn under_way(&mut self, member: u32, id: MessageId) -> Option<(GroupId, Token)> {
        let group = self.members.get(&member).filter(|it| it.under_way.contains(&id))?.group;
        match self.jobs.get(&(group, id))?.state {
            State::UnderWay { token, .. } => Some((group, token)),
            _ => None,
        }
    }

    /// A member acknowledges a job. `None` when it does not have it; otherwise what comes of it.
    pub(in super::super) fn acknowledge(
        &mut self,
        member: u32,
        id: MessageId,
        has_credit: bool,
    ) -> Option<Acknowledged> {
        let (group, _) = self.under_way(member, id)?;
        let job = self.remove_job(group, id)?;
        self.stop(group, id, job.state);
        self.set_free(member, has_credit);
        let is_last = self.is_last(id);
        let durable = self.number(group);
        // Of one that has dead letters it is remembered as long as they are there.
        if (!is_last || self.done.contains_key(&id))
            && let Some(Some(group)) = self.all.get(group as usize)
        {
            let name = group.name.clone();
            self.note_done(id, name);
        }
        Some(Acknowledged { is_done: is_last, durable })
    }

    /// Which of these groups a message that waits may be for: those that are not done with it, and durable ones only if they
    /// were there when it was published.
    pub(in super::super) fn open_to(
        &self,
        id: MessageId,
        groups: &Arc<[GroupId]>,
    ) -> Arc<[GroupId]> {
        let done = self.done.get(&id);
        if done.is_none() && self.durable == 0 {
            return Arc::clone(groups);
        }
        let done = done.into_iter().flatten();
        let done: BTreeSet<GroupId> =
            done.filter_map(|name| self.by_name.get(name).copied()).collect();
        let is_open = |group: &GroupId| !done.contains(group) && self.may_enlist(id, *group);
        groups.iter().copied().filter(is_open).collect()
    }

    /// A message is kept no longer.
    pub(in super::super) fn settled(&mut self, id: MessageId) {
        self.end_late(id);
        if !self.done.is_empty() {
            self.done_names -= self.done.remove(&id).map_or(0, |names| names.len());
        }
    }

    /// How many jobs there are, those included that are done and are remembered as long as other groups have theirs.
    pub(in super::super) fn jobs(&self) -> usize {
        self.jobs.len() + self.done_names + self.enlisting.to_add()
    }

    /// Whether that was the last job of a message.
    pub(super) fn is_last(&mut self, id: MessageId) -> bool {
        let Some(left) = self.shared.get_mut(&id) else { return true };
        *left -= 1;
        if *left == 1 {
            self.shared.remove(&id);
        }
        false
    }

    /// Whether a job that a member gives back without a delay is handed over again at once.
    pub(in super::super) fn comes_again_at_once(&self, member: u32) -> bool {
        let group = self.members.get(&member).map(|member| member.group as usize);
        let group = group.and_then(|group| self.all.get(group)?.as_ref());
        group.is_some_and(|group| group.policy.backoff.delays_ms().is_empty())
    }

    /// A member wants a job to be handed over again, after a while: without a delay, as its group has it.
    pub(in super::super) fn nak(
        &mut self,
        member: u32,
        id: MessageId,
        delay: Duration,
        now: Duration,
        has_credit: bool,
    ) -> Nak {
        let Some((group, token)) = self.under_way(member, id) else { return Nak::Unknown };
        self.timers.cancel(token, &(group, id));
        self.end_attempt(group, id, member);
        let (Some(Some(found)), Some(job)) =
            (self.all.get_mut(group as usize), self.jobs.get_mut(&(group, id)))
        else {
            return Nak::Unknown;
        };
        let delay = Some(delay).filter(|delay| !delay.is_zero());
        let mut nak = Nak::Again;
        if job.is_used_up(&found.policy) {
            job.state = State::Spent;
            nak = Nak::Spent(group);
        } else if let Some(delay) = delay.or_else(|| job.backoff(&found.policy)) {
            let at = tick(now.saturating_add(delay));
            job.state = State::PutOff { token: self.timers.schedule((group, id), at) };
        } else {
            job.state = State::Ready;
            found.ready.push_front(id);
            self.serve_later(group);
        }
        self.set_free(member, has_credit);
        nak
    }

    /// A member needs more time for a job. `false` when it does not have it.
    pub(in super::super) fn extend(&mut self, member: u32, id: MessageId, now: Duration) -> bool {
        let Some((group, token)) = self.under_way(member, id) else { return false };
        let Some(Some(found)) = self.all.get(group as usize) else { return false };
        let until = tick(now.saturating_add(found.policy.ack_wait));
        self.timers.cancel(token, &(group, id));
        let token = self.timers.schedule((group, id), until);
        if let Some(job) = self.jobs.get_mut(&(group, id)) {
            job.state = State::UnderWay { member, token };
        }
        true
    }

    /// When [`Self::expire`] has something to do next.
    pub(in super::super) fn next_due(&self) -> Option<Duration> {
        let tick = self.timers.next_expiry()?;
        Some(Duration::from_nanos(tick.saturating_mul(TICK.as_nanos() as u64)))
    }

    /// Ends attempts whose time is over, at most this many, and makes jobs ready that were put off until now. Returns the
    /// members that have one less.
    pub(in super::super) fn expire(&mut self, now: Duration, max: usize) -> Vec<u32> {
        let now_tick = u64::try_from(now.as_nanos() / TICK.as_nanos()).unwrap_or(u64::MAX);
        let mut due = std::mem::take(&mut self.due);
        self.timers.advance(now_tick, max, &mut due);
        let mut members = Vec::new();
        // The one that was due first is the first to be handed over.
        for (group, id) in due.drain(..).rev() {
            let (Some(Some(found)), Some(job)) =
                (self.all.get_mut(group as usize), self.jobs.get_mut(&(group, id)))
            else {
                continue;
            };
            if let State::UnderWay { member, .. } = job.state {
                if let Some(member) = self.members.get_mut(&member) {
                    member.under_way.remove(&id);
                }
                found.in_flight -= 1;
                self.in_flight -= 1;
                members.push(member);
                if job.is_used_up(&found.policy) {
                    job.state = State::Spent;
                    self.spent.push_back((group, id));
                    continue;
                }
                if let Some(delay) = job.backoff(&found.policy) {
                    let at = tick(now.saturating_add(delay));
                    job.state = State::PutOff { token: self.timers.schedule((group, id), at) };
                    continue;
                }
            }
            job.state = State::Ready;
            found.ready.push_front(id);
            self.serve_later(group);
        }
        self.due = due;
        members
    }

    /// Takes a message away from a group that is over. `None` when none is left.
    pub(in super::super) fn next_ended(&mut self) -> Option<Ended> {
        // Not before all is taken back, what is spent is given up, and all jobs are changed that were to be: the number may
        // soon be another group's.
        while self.spent.is_empty()
            && let Some(&(group, number)) = self.ending.front()
            && !self.is_returning(group)
            && !self.enlisting.has_before(number)
        {
            let first = (group, MessageId { publisher: 0, sequence: 0 });
            let next = self.jobs.range(first..).next().filter(|((of, _), _)| *of == group);
            if let Some((&(_, id), _)) = next {
                if let Some(job) = self.remove_job(group, id) {
                    self.stop(group, id, job.state);
                }
                let is_done = self.number(group).is_some();
                return Some(Ended { id, is_last: self.is_last(id), is_done });
            }
            self.ending.pop_front();
            self.remove(group);
        }
        None
    }

    /// Whether jobs are left of a group that is over.
    pub(in super::super) fn is_ending(&self) -> bool {
        !self.ending.is_empty()
    }

    /// Whether no message is a job, or soon will be.
    pub(in super::super) fn has_no_jobs(&self) -> bool {
        self.jobs.is_empty() && self.enlisting.is_empty()
    }
}
