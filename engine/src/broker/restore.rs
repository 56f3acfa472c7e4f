//! What the journal kept, taken back at a start: what was published, durable groups, messages, and dead letters, in this order.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use arcstr::ArcStr;

use super::backlog::Audience;
use super::core::Core;
use super::groups::GroupId;
use crate::journal::{JobState, Marks, RecoveredGroup, RecoveredGroups};
use crate::message::{DeadLetter, Message};
use crate::wire::filter::Filter;
use crate::wire::id::MessageId;

impl<E> Core<E> {
    /// Makes room for this many messages from the journal.
    pub(super) fn make_room(&mut self, messages: usize) {
        self.backlog.reserve(messages);
    }

    /// Takes back a message from the journal, whose messages share their names; it waits for its first
    /// subscriber.
    pub(super) fn restore(&mut self, message: Message) {
        self.restore_as(message, Audience::Nobody);
    }

    /// The same for whoever wants it. One that has a time is for later, until it has come.
    fn restore_as(&mut self, message: Message, wanted: Audience) {
        let expires_ms = Self::times_of(&message).1;
        let id = message.id;
        self.restore_without_end(message, wanted);
        self.note_expiry(id, expires_ms);
    }

    /// The same for a message that does not expire any more.
    fn restore_without_end(&mut self, message: Message, wanted: Audience) {
        self.counters.recovered.add(1);
        let (deliver_at_ms, _) = Self::times_of(&message);
        let Message { id, name, format, body } = message;
        let is_later = deliver_at_ms > 0 && wanted != Audience::Groups;
        let wanted = if is_later { Audience::Later } else { wanted };
        self.backlog.add(id, &name, format, body.into(), wanted, Duration::ZERO);
        if is_later {
            self.backlog.deliver_at(id, deliver_at_ms);
        }
    }

    /// Takes back what the journal knows of a publisher's sequences.
    pub(super) fn restore_seen(&mut self, publisher: u64, first: u64, last: u64) {
        self.publishers.get(publisher).take(first..=last);
    }

    /// Takes back a dead letter from the journal, behind the messages.
    pub(super) fn restore_letter(&mut self, letter: DeadLetter) {
        let Some(bytes) = self.backlog.bytes_of(letter.id) else { return };
        self.groups.note_done(letter.id, letter.group.clone());
        if letter.is_done {
            self.backlog.hold_as_dead(letter.id);
        }
        self.letters.add(letter, bytes);
    }

    /// Takes back durable groups from the journal, before the messages, of which these dead letters tell.
    pub(super) fn restore_groups(
        &mut self,
        groups: RecoveredGroups,
        letters: &[DeadLetter],
    ) -> Restoring {
        self.groups.note_number(groups.last_number);
        let mut restoring = Restoring { marks: groups.marks, ..Restoring::default() };
        for RecoveredGroup { group, before } in groups.all {
            // Only what breaks no rule was written, and the checksum was right.
            let Ok(filter) = Filter::read(group.filter_kind, group.filter.as_bytes()) else {
                continue;
            };
            let Ok(id) = self.add_durable(&group, &filter, Duration::ZERO) else { continue };
            restoring.by_number.insert(group.number, id);
            restoring.groups.insert(id, (group.name, group.number, before));
        }
        if !restoring.groups.is_empty() {
            for letter in letters {
                restoring.given_up.insert((letter.id, letter.group.clone()));
                if letter.is_done {
                    restoring.dead.insert(letter.id);
                }
            }
        }
        restoring
    }

    /// Takes back the next message from the journal, a job of the durable groups that it was a job of.
    pub(super) fn restore_for(&mut self, message: Message, restoring: &mut Restoring) {
        let at = restoring.messages;
        restoring.messages += 1;
        if restoring.groups.is_empty() {
            return self.restore(message);
        }
        let id = message.id;
        let fitting = self.subscribers.topic(&message.name).groups.clone();
        let jobs = restoring.jobs(at, id, &fitting);
        for name in restoring.done(id) {
            self.groups.note_done(id, name);
        }
        if jobs.is_empty() {
            self.restore(message);
        } else if Self::times_of(&message).0 > 0 && !restoring.is_replayed(id) {
            // When its time has come, they have it.
            self.groups.restore_late(id, &jobs);
            self.restore(message);
        } else {
            if restoring.is_replayed(id) {
                self.restore_without_end(message, Audience::Groups);
            } else {
                self.restore_as(message, Audience::Groups);
            }
            self.groups.restore_jobs(id, &jobs);
        }
    }
}

/// What is known of messages that are taken back from the journal, one after the other.
#[derive(Debug, Default)]
pub(crate) struct Restoring {
    /// The durable groups: their names, their numbers, and how many messages are older than they.
    groups: HashMap<GroupId, (ArcStr, u64, usize)>,
    by_number: HashMap<u64, GroupId>,
    marks: Marks,
    given_up: HashSet<(MessageId, ArcStr)>,
    /// Messages that are done but for their dead letters.
    dead: HashSet<MessageId>,
    /// How many messages were taken back.
    messages: usize,
}

impl Restoring {
    /// The groups of which a message is a job that was the one with this index, and fits these.
    fn jobs(&self, at: usize, id: MessageId, fitting: &[GroupId]) -> Vec<GroupId> {
        if self.dead.contains(&id) {
            return Vec::new();
        }
        let marks = self.marks.get(&id).map_or(&[][..], Vec::as_slice);
        let marked = |number| marks.iter().find(|(group, _)| *group == number).map(|it| it.1);
        let is_job = |group: &GroupId| {
            self.groups.get(group).is_some_and(|(_, number, before)| match marked(*number) {
                Some(state) => state == JobState::Open,
                None => at >= *before,
            })
        };
        let mut jobs: Vec<GroupId> = fitting.iter().copied().filter(is_job).collect();
        // A message may be replayed to a group that it does not fit.
        let open = marks.iter().filter(|(_, state)| *state == JobState::Open);
        for group in open.filter_map(|(number, _)| self.by_number.get(number)) {
            if !jobs.contains(group) {
                jobs.push(*group);
            }
        }
        jobs.retain(|group| {
            let name = self.groups.get(group).map(|(name, ..)| name.clone());
            name.is_some_and(|name| !self.given_up.contains(&(id, name)))
        });
        jobs
    }

    /// Whether a dead letter of a message was replayed, so that its time has come.
    fn is_replayed(&self, id: MessageId) -> bool {
        let marks = self.marks.get(&id).into_iter().flatten();
        marks.into_iter().any(|(_, state)| *state == JobState::Open)
    }

    /// The names of groups that are done with a message, but for those that gave it up.
    fn done(&self, id: MessageId) -> Vec<ArcStr> {
        let marks = self.marks.get(&id).into_iter().flatten();
        let done = marks.filter(|(_, state)| *state == JobState::Done);
        let groups = done.filter_map(|(number, _)| self.groups.get(self.by_number.get(number)?));
        let names = groups.map(|(name, ..)| name.clone());
        names.filter(|name| !self.given_up.contains(&(id, name.clone()))).collect()
    }
}
