//! Groups: each message that fits a group's filter goes to one of its members, the one with the least in flight.
//!
//! A message that has to be acknowledged is a *job* of each group that it fitted when it was published. A job is
//! ready, in flight at one member, or put off; it is done when that member acknowledges it, and the message when the
//! last of its jobs is. A member that is gone gives its jobs back at once. A job whose attempts are used up, or which a
//! member rejected, is spent: the core makes it a dead letter.

mod durable;
mod enlisting;
mod expired;
mod jobs;
mod spent;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque, btree_set};
use std::time::Duration;

use arcstr::ArcStr;

pub(super) use self::durable::{Ended, Shown};
use self::enlisting::Enlisting;
pub(super) use self::expired::Expired;
use self::jobs::Job;
pub(super) use self::jobs::{Acknowledged, Nak};
pub(super) use self::spent::GivenUp;
use crate::inspect::GroupTotals;
use crate::limits::{DURABLE_GROUPS_MAX, GROUPS_MAX, IN_FLIGHT_MAX, MEMBERSHIPS_MAX_EACH};
use crate::plural::counted;
use crate::retry::wheel::Wheel;
use crate::wire::control::Backoff;
use crate::wire::filter::Filter;
use crate::wire::id::MessageId;

/// A group's number. It goes to another one when nothing is left of the group.
pub(super) type GroupId = u32;

/// What all members of a group agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// How long a member may take before a job goes to another one.
    pub(super) ack_wait: Duration,
    /// Jobs that one member may have in flight, [`IN_FLIGHT_MAX`](crate::limits::IN_FLIGHT_MAX) at most.
    pub(super) in_flight_max: u32,
    /// Attempts after which a job is given up; 0 for no end.
    pub(super) attempts_max: u16,
    /// What comes before further attempts.
    pub(super) backoff: Backoff,
    /// Whether messages that expire become dead letters.
    pub(super) keeps_expired: bool,
}

impl Policy {
    /// Whole milliseconds of the time that a member may take, at most as many as the wire format has.
    pub(super) fn ack_wait_ms(&self) -> u32 {
        u32::try_from(self.ack_wait.as_millis()).unwrap_or(u32::MAX)
    }

    /// What of it is not as in another one, in words.
    fn differences(&self, other: &Self) -> Vec<String> {
        fn attempts(policy: &Policy) -> String {
            match policy.attempts_max {
                0 => "without end".to_owned(),
                max => max.to_string(),
            }
        }
        fn backoff(policy: &Policy) -> String {
            format!("{:?} ms", policy.backoff.delays_ms())
        }
        fn expired(policy: &Policy) -> &'static str {
            if policy.keeps_expired { "become dead letters" } else { "are no more" }
        }
        let mut differences = Vec::new();
        let mut note = |what: &str, there: String, wanted: String| {
            if there != wanted {
                differences.push(format!("{what} {there}, not {wanted}"));
            }
        };
        note(
            "its time to acknowledge is",
            format!("{:?}", self.ack_wait),
            format!("{:?}", other.ack_wait),
        );
        note(
            "a member's messages in flight are at most",
            self.in_flight_max.to_string(),
            other.in_flight_max.to_string(),
        );
        note("its attempts are", attempts(self), attempts(other));
        note("its delays between attempts are", backoff(self), backoff(other));
        note("messages that expire", expired(self).to_owned(), expired(other).to_owned());
        differences
    }
}

/// Why a group cannot be joined, or a job not be settled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum GroupError {
    #[error(
        "group '{group}' is there with other terms: {difference}; use another name, or the terms that it has"
    )]
    Taken { group: String, difference: String },
    #[error("there are {GROUPS_MAX} groups, as many as there may be")]
    TooMany,
    #[error(
        "there are {DURABLE_GROUPS_MAX} durable groups, as many as there may be: delete one that nobody needs"
    )]
    TooManyDurable,
    #[error("there is no group '{0}'")]
    Unknown(String),
    #[error("group '{0}' is not durable: it ends with its last member")]
    NotDurable(String),
    #[error(
        "group '{group}' has {}: it can be deleted when it has none",
        counted(*members, "member", "members")
    )]
    HasMembers { group: String, members: usize },
    #[error(
        "group '{group}' has {} that no member settled: have members settle what is left, or \
         delete the group with its messages",
        counted(*messages, "message", "messages")
    )]
    HasMessages { group: String, messages: usize },
    #[error("group '{0}' is being deleted: try again")]
    Deleting(String),
    #[error(
        "a member may have {0} messages that it did not acknowledge, and at most {IN_FLIGHT_MAX} are allowed; 0 stands for that"
    )]
    InFlight(u32),
    #[error(
        "this connection has {MEMBERSHIPS_MAX_EACH} subscriptions in groups, as many as it may have; use another \
         connection"
    )]
    TooManyMemberships,
    #[error(
        "subscription {0} is not in a group: acknowledge its messages with a frame named 'ack'"
    )]
    NoMember(u32),
    #[error(
        "message {id} is not under way at subscription {number} of this connection: it was settled before, or its \
         time was over and it went to another member ({unknown} of {} of this request)",
        counted(*all, "message", "messages")
    )]
    NotUnderWay { id: MessageId, number: u32, unknown: usize, all: usize },
}

#[derive(Debug)]
struct Group {
    name: ArcStr,
    filter_kind: u8,
    filter: ArcStr,
    policy: Policy,
    /// Where its filter is among the subscriptions.
    at: u32,
    members: usize,
    /// Members that may get more, the one with the fewest bytes in flight first.
    free: BTreeSet<(u64, u32)>,
    ready: VecDeque<MessageId>,
    /// How many of them, at most, are no longer: their messages expired.
    passed: usize,
    /// Its number, if it stays without members.
    durable: Option<u64>,
    is_deleted: bool,
    jobs: usize,
    /// How many of these members have.
    in_flight: usize,
    /// What members had that are gone.
    leaving: VecDeque<btree_set::IntoIter<MessageId>>,
    /// Jobs that were handed over again, and those that were given up.
    redelivered: u64,
    given_up: u64,
    /// It stands in [`Groups::serving`].
    is_served: bool,
}

/// A subscription that belongs to a group.
#[derive(Debug)]
struct Member {
    group: GroupId,
    /// Bytes that were delivered, and for which no credit came back.
    bytes: u64,
    under_way: BTreeSet<MessageId>,
}

/// All groups, their members, and their jobs.
#[derive(Debug)]
pub(super) struct Groups {
    /// By number; the place of one that is gone is empty.
    all: Vec<Option<Group>>,
    vacant: Vec<GroupId>,
    by_name: BTreeMap<ArcStr, GroupId>,
    members: BTreeMap<u32, Member>,
    jobs: BTreeMap<(GroupId, MessageId), Job>,
    /// How many jobs a message has, where that is more than one.
    shared: HashMap<MessageId, u32>,
    /// The names of the groups that are done with a message of which another one has a job, or had when it ended.
    done: HashMap<MessageId, Vec<ArcStr>>,
    /// How many names that are.
    done_names: usize,
    /// Jobs that are spent, in the order in which they became so.
    spent: VecDeque<(GroupId, MessageId)>,
    timers: Wheel<(GroupId, MessageId)>,
    due: Vec<(GroupId, MessageId)>,
    /// Groups that may have something to hand over, each once.
    serving: VecDeque<GroupId>,
    /// Groups whose jobs are to be taken back from members that are gone, each once.
    leaving: VecDeque<GroupId>,
    /// Groups whose last member is gone, and which have jobs left. Each with a number: changes of jobs that come from
    /// it on have nothing to do with the group.
    ending: VecDeque<(GroupId, u64)>,
    enlisting: Enlisting,
    /// How many jobs members have, and how often one was handed over again.
    in_flight: usize,
    redelivered: u64,
    /// How many groups are durable.
    durable: usize,
    /// How many have messages become dead letters that expire.
    keeping: usize,
    /// The highest number that a durable group ever had.
    last_number: u64,
    /// Messages that wait although durable groups are to have them: those that they fit up to this number, as later
    /// groups have higher ones. One number each, so that it is a part of what any message takes.
    late: HashMap<MessageId, u64>,
    /// The numbers of durable groups that were deleted, and of which nothing is left.
    deleted: Vec<u64>,
}

impl Default for Groups {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            vacant: Vec::new(),
            by_name: BTreeMap::new(),
            members: BTreeMap::new(),
            jobs: BTreeMap::new(),
            shared: HashMap::new(),
            done: HashMap::new(),
            done_names: 0,
            spent: VecDeque::new(),
            timers: Wheel::new(0),
            due: Vec::new(),
            serving: VecDeque::new(),
            leaving: VecDeque::new(),
            ending: VecDeque::new(),
            enlisting: Enlisting::default(),
            in_flight: 0,
            redelivered: 0,
            durable: 0,
            keeping: 0,
            last_number: 0,
            late: HashMap::new(),
            deleted: Vec::new(),
        }
    }
}

impl Groups {
    /// The group of this name, if it has this filter and policy; `None` when there is none.
    ///
    /// # Errors
    /// When it has others.
    pub(super) fn find(
        &self,
        name: &str,
        filter: &Filter<'_>,
        policy: Policy,
    ) -> Result<Option<GroupId>, GroupError> {
        self.check_not_deleted(name)?;
        let Some(&id) = self.by_name.get(name) else { return Ok(None) };
        let Some(group) = &self.all[id as usize] else { return Ok(None) };
        let mut differences = group.policy.differences(&policy);
        if (group.filter_kind, &*group.filter) != (filter.kind(), filter.text()) {
            let there = Filter::read(group.filter_kind, group.filter.as_bytes());
            let there = there.map_or_else(|error| error.to_string(), |filter| filter.to_string());
            differences.insert(0, format!("its filter is {there}, not {filter}"));
        }
        if !differences.is_empty() {
            let difference = differences.join("; ");
            return Err(GroupError::Taken { group: name.to_owned(), difference });
        }
        Ok(Some(id))
    }

    /// Whether another group may be added.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn check_room(&self) -> Result<(), GroupError> {
        if self.by_name.len() >= GROUPS_MAX { Err(GroupError::TooMany) } else { Ok(()) }
    }

    /// The number that the next group gets.
    pub(super) fn next_id(&self) -> GroupId {
        self.vacant.last().copied().unwrap_or(self.all.len() as GroupId)
    }

    /// Adds a group under [`Self::next_id`], whose filter is at this place among the subscriptions.
    pub(super) fn add(&mut self, name: &str, filter: &Filter<'_>, policy: Policy, at: u32) {
        let name = ArcStr::from(name);
        self.keeping += usize::from(policy.keeps_expired);
        let group = Group {
            name: name.clone(),
            filter_kind: filter.kind(),
            filter: filter.text().into(),
            policy,
            at,
            members: 0,
            free: BTreeSet::new(),
            ready: VecDeque::new(),
            passed: 0,
            durable: None,
            is_deleted: false,
            jobs: 0,
            in_flight: 0,
            leaving: VecDeque::new(),
            redelivered: 0,
            given_up: 0,
            is_served: false,
        };
        let id = self.next_id();
        match self.vacant.pop() {
            Some(at) => self.all[at as usize] = Some(group),
            None => self.all.push(Some(group)),
        }
        self.by_name.insert(name, id);
    }

    /// A subscription joins a group. `has_credit`: whether it may get something.
    pub(super) fn join(&mut self, group: GroupId, member: u32, has_credit: bool) {
        if let Some(found) = &mut self.all[group as usize] {
            found.members += 1;
            self.members.insert(member, Member { group, bytes: 0, under_way: BTreeSet::new() });
            self.set_free(member, has_credit);
        }
    }

    /// The group of this name.
    pub(super) fn by_name(&self, name: &str) -> Option<GroupId> {
        self.by_name.get(name).copied()
    }

    /// Whether a subscription belongs to a group.
    pub(super) fn is_member(&self, member: u32) -> bool {
        self.members.contains_key(&member)
    }

    /// A member is gone, and [`Self::take_back`] makes its jobs ready again. When it was the last one the group is
    /// over, unless it is durable: returns where the group's filter is.
    pub(super) fn leave(&mut self, member: u32) -> Option<u32> {
        let Member { group: id, bytes, under_way } = self.members.remove(&member)?;
        let group = self.all[id as usize].as_mut()?;
        group.free.remove(&(bytes, member));
        group.members -= 1;
        if !under_way.is_empty() {
            if group.leaving.is_empty() {
                self.leaving.push_back(id);
            }
            group.leaving.push_back(under_way.into_iter());
        }
        if group.members > 0 || group.durable.is_some() {
            return None;
        }
        self.by_name.remove(&group.name);
        self.ending.push_back((id, self.enlisting.next_number()));
        Some(group.at)
    }

    /// A group may have something to hand over.
    pub(super) fn serve_later(&mut self, group: GroupId) {
        if let Some(Some(found)) = self.all.get_mut(group as usize)
            && !std::mem::replace(&mut found.is_served, true)
        {
            self.serving.push_back(group);
        }
    }

    /// Notes whether a member may get more, after its bytes, its jobs or its credit changed.
    pub(super) fn set_free(&mut self, member: u32, has_credit: bool) {
        let Some(found) = self.members.get(&member) else { return };
        let Some(group) = &mut self.all[found.group as usize] else { return };
        let has_room = found.under_way.len() < group.policy.in_flight_max as usize;
        if has_credit && has_room {
            group.free.insert((found.bytes, member));
            if !group.ready.is_empty() {
                let id = found.group;
                self.serve_later(id);
            }
        } else {
            group.free.remove(&(found.bytes, member));
        }
    }

    /// A member granted this many bytes of credit.
    pub(super) fn granted(&mut self, member: u32, bytes: u64, has_credit: bool) {
        self.change_bytes(member, |under_way| under_way.saturating_sub(bytes), has_credit);
    }

    /// This many bytes were delivered to a member.
    pub(super) fn delivered(&mut self, member: u32, bytes: u64, has_credit: bool) {
        self.change_bytes(member, |under_way| under_way.saturating_add(bytes), has_credit);
    }

    fn change_bytes(&mut self, member: u32, to: impl Fn(u64) -> u64, has_credit: bool) {
        let Some(found) = self.members.get_mut(&member) else { return };
        let before = found.bytes;
        found.bytes = to(before);
        let group = found.group as usize;
        if let Some(group) = &mut self.all[group] {
            group.free.remove(&(before, member));
        }
        self.set_free(member, has_credit);
    }

    /// The next group that may have something to hand over.
    pub(super) fn next_serving(&self) -> Option<GroupId> {
        self.serving.front().copied()
    }

    /// The next turn begins with another group.
    pub(super) fn rotate_serving(&mut self) {
        if let Some(group) = self.serving.pop_front() {
            self.serving.push_back(group);
        }
    }

    /// That group has nothing to hand over, or nobody who may get it.
    pub(super) fn served(&mut self) {
        if let Some(id) = self.serving.pop_front()
            && let Some(Some(group)) = self.all.get_mut(id as usize)
        {
            group.is_served = false;
        }
    }

    /// Who gets the next message of a group, and how many members may get some.
    pub(super) fn receiver(&self, group: GroupId) -> Option<(u32, usize)> {
        let group = self.all.get(group as usize)?.as_ref()?;
        let &(_, member) = group.free.first()?;
        Some((member, group.free.len()))
    }

    /// This many jobs of a group were handed over again.
    pub(super) fn note_redelivered(&mut self, group: GroupId, jobs: u64) {
        if let Some(Some(group)) = self.all.get_mut(group as usize) {
            group.redelivered += jobs;
            self.redelivered += jobs;
        }
    }

    /// All groups together.
    pub(super) fn totals(&self) -> GroupTotals {
        GroupTotals {
            count: self.by_name.len() as u64,
            members: self.members.len() as u64,
            unsettled: self.jobs.len() as u64,
            in_flight: self.in_flight as u64,
            redelivered: self.redelivered,
        }
    }

    /// Whether there is no group.
    pub(super) fn has_no_group(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Whether nothing is held anywhere.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
            && self.jobs.is_empty()
            && self.shared.is_empty()
            && self.done.is_empty()
            && self.done_names == 0
            && self.spent.is_empty()
            && self.timers.is_empty()
            && self.by_name.is_empty()
            && self.late.is_empty()
            && self.in_flight == 0
            && self.durable == 0
            && self.keeping == 0
            && self.enlisting.is_empty()
    }
}
