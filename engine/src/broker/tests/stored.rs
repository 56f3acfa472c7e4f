//! What a journal gives back: its records as they count, one after the other.

use std::collections::BTreeMap;

use super::*;
use crate::journal::{JobState, LetterEnd, Marks, RecoveredGroup, RecoveredGroups};
use crate::message::{DeadLetter, DurableGroup};

/// What the journal would give back.
#[derive(Default)]
pub(super) struct Stored {
    /// In their order, each with how many records stand before its own.
    live: Vec<(usize, Message)>,
    groups: Vec<(usize, DurableGroup)>,
    marks: Marks,
    last_number: u64,
    /// Whether a message is done but for its letters, and these.
    letters: BTreeMap<MessageId, (bool, BTreeMap<String, DeadLetter>)>,
    records: usize,
}

impl Stored {
    pub(super) fn apply(&mut self, op: Op) {
        self.records += 1;
        match op {
            // One that comes again while it is kept counts from its first record.
            Op::Append(message) if self.live.iter().any(|(_, live)| live.id == message.id) => {}
            Op::Append(message) => self.live.push((self.records, message)),
            Op::Settle(id) => self.settle(id),
            Op::Group(group) => {
                self.last_number = group.number;
                self.groups.push((self.records, group));
            }
            Op::EndGroup(number) => self.groups.retain(|(_, group)| group.number != number),
            Op::Jobs { group, state, ids } => {
                for id in ids {
                    assert!(self.live.iter().any(|(_, message)| message.id == id));
                    let marks = self.marks.entry(id).or_default();
                    marks.retain(|(number, _)| *number != group);
                    marks.push((group, state));
                }
            }
            Op::Letter(letter) => {
                let (is_done, letters) = self.letters.entry(letter.id).or_default();
                *is_done |= letter.is_done;
                letters.insert(letter.group.to_string(), letter);
            }
            Op::EndLetter { id, end: LetterEnd::Done, .. } => self.settle(id),
            Op::EndLetter { id, group, end } => {
                let Some((is_done, letters)) = self.letters.get_mut(&id) else { panic!("{id}") };
                assert!(letters.remove(&*group).is_some(), "no letter of {group}");
                *is_done &= end != LetterEnd::Replayed;
                if letters.is_empty() {
                    self.letters.remove(&id);
                }
            }
            _ => panic!("nobody asked for that"),
        }
    }

    fn settle(&mut self, id: MessageId) {
        self.live.retain(|(_, message)| message.id != id);
        self.letters.remove(&id);
        self.marks.remove(&id);
    }

    fn groups(&self) -> RecoveredGroups {
        let before = |record: usize| self.live.iter().filter(|(at, _)| *at < record).count();
        let all = self.groups.iter().map(|(record, group)| RecoveredGroup {
            group: group.clone(),
            before: before(*record),
        });
        let mut marks = self.marks.clone();
        let is_there = |number| self.groups.iter().any(|(_, group)| group.number == number);
        marks.values_mut().for_each(|marks| marks.retain(|(number, _)| is_there(*number)));
        RecoveredGroups { all: all.collect(), last_number: self.last_number, marks }
    }

    fn letters(&self) -> Vec<DeadLetter> {
        let with = |(is_done, letters): &(bool, BTreeMap<String, DeadLetter>)| {
            let of = letters.values().cloned();
            of.map(|letter| DeadLetter { is_done: *is_done, ..letter }).collect::<Vec<_>>()
        };
        self.letters.values().flat_map(with).collect()
    }

    /// The messages that are kept, in their order.
    pub(super) fn live(&self) -> impl Iterator<Item = &Message> {
        self.live.iter().map(|(_, message)| message)
    }

    /// The durable groups.
    pub(super) fn durable(&self) -> impl Iterator<Item = &DurableGroup> {
        self.groups.iter().map(|(_, group)| group)
    }

    /// What became of a message for a group of this name, and of this number if it is durable.
    pub(super) fn state(&self, id: MessageId, name: &str, number: Option<u64>) -> Kept {
        let Some((at, _)) = self.live.iter().find(|(_, message)| message.id == id) else {
            return Kept::No;
        };
        let letters = self.letters.get(&id);
        if letters.is_some_and(|(_, letters)| letters.contains_key(name)) {
            return Kept::Letter;
        }
        let Some(number) = number else { return Kept::No };
        let marks = self.marks.get(&id).into_iter().flatten();
        let marked = marks.into_iter().find(|(group, _)| *group == number);
        let created = self.groups.iter().find(|(_, group)| group.number == number);
        let is_behind = created.is_some_and(|(created, _)| created < at);
        match marked {
            _ if self.is_dead(id) => Kept::No,
            Some((_, JobState::Open)) => Kept::Job,
            None if is_behind => Kept::Job,
            _ => Kept::No,
        }
    }

    /// Whether a message is kept for its dead letters alone.
    pub(super) fn is_dead(&self, id: MessageId) -> bool {
        self.letters.get(&id).is_some_and(|(is_done, _)| *is_done)
    }

    /// Whether a dead letter of a message was replayed for a durable group that is not done with it.
    pub(super) fn is_replayed(&self, id: MessageId) -> bool {
        let is_there = |number| self.groups.iter().any(|(_, group)| group.number == number);
        let mut marks = self.marks.get(&id).into_iter().flatten();
        marks.any(|&(number, state)| state == JobState::Open && is_there(number))
    }

    /// Gives all back to a core that is new.
    pub(super) fn restore<E>(&self, core: &mut Core<E>) {
        self.restore_messages(core);
        for letter in self.letters() {
            core.restore_letter(letter);
        }
    }

    /// The same but for dead letters.
    pub(super) fn restore_messages<E>(&self, core: &mut Core<E>) {
        let mut restoring = core.restore_groups(self.groups(), &self.letters());
        for message in self.live() {
            core.restore_for(message.clone(), &mut restoring);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let has_messages = !self.live.is_empty() || !self.marks.is_empty();
        !has_messages && self.groups.is_empty() && self.letters.is_empty()
    }
}

/// What is kept of a message for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// A job, if the group's filter fits the message.
    Job,
    Letter,
    No,
}
