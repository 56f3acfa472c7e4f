//! Which durable groups a series of records leaves, and what these have to do with messages.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arcstr::ArcStr;

use super::group::{self, GroupBody, JobState, JobsBody};
use super::record::{self, RECORD_HEADER_BYTES};
use crate::limits::JOURNAL_SETTLES_PER_RECORD_MAX;
use crate::message::DurableGroup;
use crate::wire::id::MessageId;

/// Bytes that a group occupies in the file.
pub(super) fn record_bytes(group: &DurableGroup) -> u64 {
    (RECORD_HEADER_BYTES + group::encode(group).len()) as u64
}

/// A durable group that a journal held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredGroup {
    /// The group.
    pub group: DurableGroup,
    /// How many of the recovered messages were appended before it was created. They are none of its jobs, unless it is
    /// said that they are.
    pub before: usize,
}

/// What is said of messages and groups, by the groups' numbers.
pub type Marks = HashMap<MessageId, Vec<(u64, JobState)>>;

/// The durable groups that a journal held.
#[derive(Clone, Debug, Default)]
pub struct RecoveredGroups {
    /// All of them, in the order in which they were created.
    pub all: Vec<RecoveredGroup>,
    /// The highest number that a group ever had.
    pub last_number: u64,
    /// Which messages some of them are done with, or have as jobs although they were published before. What else
    /// they fit is their job, but for those that they gave up and that are dead letters.
    pub marks: Marks,
}

/// The groups whose records a compaction keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    there: BTreeSet<u64>,
    last: u64,
}

impl Kept {
    /// Those that are there in a file.
    pub(super) fn new(there: impl IntoIterator<Item = u64>, last: u64) -> Self {
        Self { there: there.into_iter().collect(), last }
    }

    /// A group is created.
    pub(super) fn add(&mut self, number: u64) {
        self.there.insert(number);
        self.last = self.last.max(number);
    }

    /// A group ends.
    pub(super) fn remove(&mut self, number: u64) {
        self.there.remove(&number);
    }

    /// Whether a group was there when this was noted, or came later.
    pub(super) fn keeps(&self, number: u64) -> bool {
        number > self.last || self.there.contains(&number)
    }
}

/// The groups that are left, gathered while records are read.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// By number, each with where its record starts.
    all: BTreeMap<u64, (u64, DurableGroup)>,
    by_name: HashMap<ArcStr, u64>,
    marks: Marks,
    last: u64,
}

impl Groups {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Bytes that their records occupy.
    pub(super) fn bytes(&self) -> u64 {
        self.all.values().map(|(_, group)| record_bytes(group)).sum()
    }

    /// Their numbers, and the highest that a group ever had.
    pub(super) fn kept(&self) -> Kept {
        Kept::new(self.all.keys().copied(), self.last)
    }

    /// A record at `offset` says that there is a group.
    pub(super) fn add(&mut self, offset: u64, body: &GroupBody<'_>) {
        let group = DurableGroup {
            number: body.number,
            name: body.name.into(),
            filter_kind: body.filter_kind,
            filter: body.filter.into(),
            ack_wait_ms: body.ack_wait_ms,
            in_flight_max: body.in_flight_max,
            attempts_max: body.attempts_max,
            backoff: body.backoff,
            keeps_expired: body.keeps_expired,
        };
        // No number comes again, nor does a name that is taken: the record that ended the earlier one may be damaged.
        self.end(body.number);
        if let Some(earlier) = self.by_name.insert(group.name.clone(), body.number) {
            self.all.remove(&earlier);
        }
        self.all.insert(body.number, (offset, group));
    }

    /// A record says that a group ended.
    pub(super) fn end(&mut self, number: u64) {
        self.note(number);
        if let Some((_, group)) = self.all.remove(&number) {
            self.by_name.remove(&group.name);
        }
    }

    /// A number is known of, and not given to another group.
    fn note(&mut self, number: u64) {
        self.last = self.last.max(number);
    }

    /// A record says what a group has to do with messages. Those that are not kept are nothing.
    pub(super) fn mark(&mut self, body: &JobsBody<'_>, is_kept: impl Fn(MessageId) -> bool) {
        self.note(body.group);
        for id in record::ids(body.ids).filter(|id| is_kept(*id)) {
            let marks = self.marks.entry(id).or_default();
            match marks.iter_mut().find(|(group, _)| *group == body.group) {
                Some((_, state)) => *state = body.state,
                None => marks.push((body.group, body.state)),
            }
        }
    }

    /// A message is needed no longer.
    pub(super) fn remove(&mut self, id: MessageId) {
        if !self.marks.is_empty() {
            self.marks.remove(&id);
        }
    }

    /// What is said of messages that are kept, and of groups that are.
    fn marks(
        &mut self,
        is_kept: impl Fn(MessageId) -> bool,
        is_there: impl Fn(u64) -> bool,
    ) -> Marks {
        let mut marks = std::mem::take(&mut self.marks);
        marks.retain(|id, marks| {
            marks.retain(|(group, _)| is_there(*group));
            !marks.is_empty() && is_kept(*id)
        });
        marks
    }

    /// What a compaction has to say of messages behind those that it copied.
    pub(super) fn into_marks(
        mut self,
        is_kept: impl Fn(MessageId) -> bool,
        groups: &Kept,
    ) -> Marks {
        self.marks(is_kept, |number| groups.keeps(number))
    }

    /// All that is left, the records of the messages starting at these offsets.
    pub(super) fn into_recovered(mut self, offsets: &[u64]) -> RecoveredGroups {
        let all = std::mem::take(&mut self.all);
        let marks = self.marks(|_| true, |number| all.contains_key(&number));
        let with_place = |(offset, group)| RecoveredGroup {
            group,
            before: offsets.partition_point(|message| *message < offset),
        };
        let mut all: Vec<_> = all.into_values().map(with_place).collect();
        all.sort_by_key(|found| (found.before, found.group.number));
        RecoveredGroups { all, last_number: self.last, marks }
    }
}

/// What is said of messages, as whole records: groups, states, and ids.
pub(super) fn records(marks: &Marks) -> impl Iterator<Item = (u64, JobState, Vec<MessageId>)> {
    let mut of = BTreeMap::<(u64, JobState), Vec<MessageId>>::new();
    for (id, marks) in marks {
        for mark in marks {
            of.entry(*mark).or_default().push(*id);
        }
    }
    of.into_iter().flat_map(|((group, state), mut ids)| {
        ids.sort_unstable();
        let parts = ids.chunks(JOURNAL_SETTLES_PER_RECORD_MAX);
        parts.map(|ids| (group, state, ids.to_vec())).collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::control::Backoff;

    fn body(number: u64, name: &'static str) -> GroupBody<'static> {
        GroupBody {
            number,
            ack_wait_ms: 0,
            in_flight_max: 0,
            attempts_max: 0,
            filter_kind: 0,
            backoff: Backoff::NONE,
            keeps_expired: false,
            name,
            filter: "orders",
        }
    }

    fn id(sequence: u64) -> MessageId {
        MessageId { publisher: 1, sequence }
    }

    #[test]
    fn groups_are_there_until_they_end_and_know_what_came_before() {
        let mut groups = Groups::default();
        groups.add(150, &body(1, "a"));
        groups.add(250, &body(2, "b"));
        groups.end(1);
        groups.add(350, &body(3, "a"));
        groups.end(9);
        let bytes = (RECORD_HEADER_BYTES + HEAD + "aorders".len()) as u64;
        assert_eq!((groups.len(), groups.bytes()), (2, 2 * bytes));
        let recovered = groups.into_recovered(&[100, 200, 300]);
        let all: Vec<_> =
            recovered.all.iter().map(|it| (it.group.number, &*it.group.name, it.before)).collect();
        assert_eq!(all, [(2, "b", 2), (3, "a", 3)]);
        assert_eq!(recovered.last_number, 9);
    }

    const HEAD: usize = 24;

    #[test]
    fn without_the_record_that_ended_it_a_group_ends_with_the_next_of_its_name() {
        let mut groups = Groups::default();
        groups.add(100, &body(1, "a"));
        groups.add(200, &body(2, "a"));
        let recovered = groups.into_recovered(&[]);
        assert!(recovered.all.iter().map(|it| it.group.number).eq([2]));
    }

    #[test]
    fn the_last_word_on_a_message_counts_until_it_is_needed_no_longer() {
        let mut groups = Groups::default();
        groups.add(100, &body(1, "a"));
        groups.add(200, &body(2, "b"));
        let mut mark = |group, state, sequences: &[u64]| {
            let ids: Vec<u8> = sequences.iter().flat_map(|n| id(*n).to_bytes()).collect();
            groups.mark(&JobsBody { group, state, ids: &ids }, |id| id.sequence < 9);
        };
        mark(1, JobState::Done, &[1, 2, 3, 9]);
        mark(2, JobState::Done, &[2]);
        mark(1, JobState::Open, &[2]);
        mark(7, JobState::Done, &[4]);
        groups.remove(id(3));
        let recovered = groups.into_recovered(&[]);
        let marks: BTreeMap<_, _> =
            recovered.marks.iter().map(|(id, marks)| (id.sequence, marks.clone())).collect();
        let expected =
            [(1, vec![(1, JobState::Done)]), (2, vec![(1, JobState::Open), (2, JobState::Done)])];
        assert_eq!(marks, expected.into());
        let records: Vec<_> = records(&recovered.marks).collect();
        let expected = [
            (1, JobState::Done, vec![id(1)]),
            (1, JobState::Open, vec![id(2)]),
            (2, JobState::Done, vec![id(2)]),
        ];
        assert_eq!(records, expected);
    }

    #[test]
    fn a_compaction_keeps_groups_that_are_there_and_those_that_come_later() {
        let mut kept = Kept::new([1, 3], 4);
        assert_eq!([1, 2, 3, 4, 5].map(|n| kept.keeps(n)), [true, false, true, false, true]);
        kept.add(5);
        kept.remove(3);
        assert_eq!([3, 4, 5, 6].map(|n| kept.keeps(n)), [false, false, true, true]);
    }
}
