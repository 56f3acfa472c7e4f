//! The verification: what one subscriber received under one name, publisher by publisher.
//!
//! It runs for each delivered message, so its common case, the next message of a publisher, is one
//! comparison and one addition. What has a gap before it, or comes late, takes a slower path.

use std::sync::Arc;

use crate::roll::{Marks, Roll};

/// Gaps remembered for one publisher; the oldest is given up beyond it, and stays a loss.
const GAPS_MAX: usize = 65_536;

/// What a message turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// New.
    First,
    /// Received before.
    Again,
    /// None of the run's messages.
    Foreign,
}

/// What one subscriber received under one name.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    streams: Vec<Stream>,
    foreign: u64,
}

/// The messages of one publisher under one name. They are numbered from 1 and sent in order.
#[derive(Debug)]
pub(crate) struct Stream {
    /// One past the highest sequence seen.
    next: u64,
    /// Sequences below `next` that were not seen: `[from, to)`, ascending.
    gaps: Vec<(u64, u64)>,
    received: u64,
    duplicated: u64,
    reordered: u64,
    /// What it has in common with other members of a group, which then say what is missing, and not its gaps.
    marks: Option<Marks>,
}

/// The result for one publisher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Different messages received.
    pub(crate) received: u64,
    /// Copies of messages that had been received before.
    pub(crate) duplicated: u64,
    /// Messages that came after a later one.
    pub(crate) reordered: u64,
    /// The highest sequence received; 0 when none was.
    pub(crate) highest: u64,
}

impl Ledger {
    pub(crate) fn new(publishers: usize) -> Self {
        Self { streams: (0..publishers).map(|_| Stream::new()).collect(), foreign: 0 }
    }

    /// That of a member of a group, under the name with this index.
    pub(crate) fn of_member(publishers: usize, name: usize, roll: &Arc<Roll>) -> Self {
        let mut ledger = Self::new(publishers);
        for (publisher, stream) in ledger.streams.iter_mut().enumerate() {
            stream.marks = Some(Marks::new(roll, name, publisher));
        }
        ledger
    }

    /// Enters a message.
    #[inline]
    pub(crate) fn enter(&mut self, publisher: usize, sequence: u64) -> Seen {
        match self.streams.get_mut(publisher) {
            Some(stream) => stream.enter(sequence),
            None => self.enter_foreign(),
        }
    }

    /// Enters a message that is none of the run's.
    #[cold]
    pub(crate) fn enter_foreign(&mut self) -> Seen {
        self.foreign += 1;
        Seen::Foreign
    }

    /// Messages that were none of the run's.
    pub(crate) fn foreign(&self) -> u64 {
        self.foreign
    }

    /// The highest sequence received of a publisher; 0 when none was.
    pub(crate) fn highest(&self, publisher: usize) -> u64 {
        self.streams[publisher].next - 1
    }

    /// How many of a publisher's messages from `first` to `last`, both included, were not received.
    pub(crate) fn missing(&self, publisher: usize, first: u64, last: u64) -> u64 {
        let Stream { next, gaps, .. } = &self.streams[publisher];
        // What was never reached is a gap without an end.
        let gaps = gaps.iter().copied().chain([(*next, u64::MAX)]);
        gaps.map(|(from, to)| to.min(last + 1).saturating_sub(from.max(first))).sum()
    }

    /// The result for each publisher.
    pub(crate) fn counts(&self) -> impl Iterator<Item = Count> + '_ {
        self.streams.iter().map(|stream| Count {
            received: stream.received,
            duplicated: stream.duplicated,
            reordered: stream.reordered,
            highest: stream.next - 1,
        })
    }
}

impl Stream {
    fn new() -> Self {
        Self { next: 1, gaps: Vec::new(), received: 0, duplicated: 0, reordered: 0, marks: None }
    }

    #[inline]
    fn enter(&mut self, sequence: u64) -> Seen {
        if let Some(marks) = &mut self.marks {
            let is_first = marks.mark(sequence);
            return self.enter_marked(sequence, is_first);
        }
        if sequence == self.next {
            self.next += 1;
            self.received += 1;
            return Seen::First;
        }
        self.enter_out_of_turn(sequence)
    }

    /// Enters a message of which the group knows whether it is new.
    fn enter_marked(&mut self, sequence: u64, is_first: bool) -> Seen {
        if !is_first {
            self.duplicated += 1;
            return Seen::Again;
        }
        self.received += 1;
        self.reordered += u64::from(sequence < self.next);
        self.next = self.next.max(sequence.saturating_add(1));
        Seen::First
    }

    #[cold]
    fn enter_out_of_turn(&mut self, sequence: u64) -> Seen {
        if sequence > self.next {
            if self.gaps.len() == GAPS_MAX {
                self.gaps.remove(0);
            }
            self.gaps.push((self.next, sequence));
            self.next = sequence + 1;
            self.received += 1;
            return Seen::First;
        }
        // The last gap that begins at or before the message.
        let at = self.gaps.partition_point(|&(from, _)| from <= sequence);
        match at.checked_sub(1).map(|at| (at, self.gaps[at])) {
            Some((at, (from, to))) if sequence < to => {
                self.fill(at, from, to, sequence);
                self.received += 1;
                self.reordered += 1;
                Seen::First
            }
            _ => {
                self.duplicated += 1;
                Seen::Again
            }
        }
    }

    /// Takes `sequence` out of the gap `[from, to)` at index `at`.
    fn fill(&mut self, at: usize, from: u64, to: u64, sequence: u64) {
        match (from == sequence, sequence + 1 == to) {
            (true, true) => {
                self.gaps.remove(at);
            }
            (true, false) => self.gaps[at].0 = sequence + 1,
            (false, true) => self.gaps[at].1 = sequence,
            (false, false) => {
                self.gaps[at].1 = sequence;
                self.gaps.insert(at + 1, (sequence + 1, to));
            }
        }
    }
}

/// Messages of one publisher that one subscriber ought to have received and did not: those that the
/// server took, less those that came. `refused` ones may have come all the same (an answer can be lost
/// after the message was published), so they are never counted as a loss.
pub(crate) fn lost(sent: u64, refused: u64, received: u64) -> u64 {
    sent.saturating_sub(refused).saturating_sub(received)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enters `sequences` of one publisher that sent 1 to 5 and expects these counts.
    #[track_caller]
    fn check(sequences: &[u64], losses: u64, duplicated: u64, reordered: u64) {
        let mut ledger = Ledger::new(1);
        for &sequence in sequences {
            ledger.enter(0, sequence);
        }
        let count = ledger.counts().next().unwrap_or_default();
        let found = (lost(5, 0, count.received), count.duplicated, count.reordered);
        assert_eq!(found, (losses, duplicated, reordered), "{sequences:?}");
    }

    #[test]
    fn a_faultless_run_is_clean() {
        check(&[1, 2, 3, 4, 5], 0, 0, 0);
    }

    #[test]
    fn a_loss_is_found_wherever_it_is() {
        check(&[2, 3, 4, 5], 1, 0, 0);
        check(&[1, 2, 4, 5], 1, 0, 0);
        check(&[1, 2, 3, 4], 1, 0, 0);
        check(&[1, 5], 3, 0, 0);
        check(&[], 5, 0, 0);
    }

    #[test]
    fn a_duplicate_is_found_and_hides_no_loss() {
        check(&[1, 1, 2, 3, 4, 5], 0, 1, 0);
        check(&[1, 2, 3, 4, 5, 1, 5], 0, 2, 0);
        check(&[1, 3, 3, 4, 5], 1, 1, 0);
        check(&[3, 4, 5, 4], 2, 1, 0);
    }

    #[test]
    fn a_late_message_is_reordered_and_not_lost() {
        check(&[2, 1, 3, 4, 5], 0, 0, 1);
        check(&[5, 4, 3, 2, 1], 0, 0, 4);
        check(&[1, 5, 3, 2, 4], 0, 0, 3);
        check(&[1, 5, 3, 3, 4], 1, 1, 2);
    }

    #[test]
    fn publishers_are_kept_apart() {
        let mut ledger = Ledger::new(2);
        assert_eq!(ledger.enter(0, 1), Seen::First);
        assert_eq!(ledger.enter(1, 1), Seen::First);
        assert_eq!(ledger.enter(1, 1), Seen::Again);
        let counts: Vec<_> = ledger.counts().map(|c| (c.received, c.duplicated)).collect();
        assert_eq!(counts, [(1, 0), (1, 1)]);
    }

    #[test]
    fn a_message_of_nobody_is_foreign() {
        let mut ledger = Ledger::new(2);
        assert_eq!(ledger.enter(2, 1), Seen::Foreign);
        assert_eq!(ledger.enter(0, 0), Seen::Again, "numbers start at 1");
        assert_eq!(ledger.foreign(), 1);
    }

    #[test]
    fn what_was_refused_is_no_loss() {
        assert_eq!(lost(10, 2, 8), 0);
        assert_eq!(lost(10, 2, 9), 0, "refused, and came all the same");
        assert_eq!(lost(10, 2, 7), 1);
    }

    #[test]
    fn what_is_missing_is_counted_within_a_range() {
        let mut ledger = Ledger::new(1);
        for sequence in [3, 4, 7, 8] {
            ledger.enter(0, sequence);
        }
        let missing = |first, last| ledger.missing(0, first, last);
        assert_eq!([missing(1, 2), missing(1, 1), missing(3, 4), missing(4, 7)], [2, 1, 0, 2]);
        assert_eq!([missing(6, 10), missing(9, 10), missing(1, 10)], [3, 2, 6]);
        assert_eq!([missing(5, 4), missing(9, 8), ledger.highest(0)], [0, 0, 8]);
    }

    #[test]
    fn members_of_a_group_receive_each_message_once() {
        let roll = Arc::default();
        let mut members = [0; 2].map(|_| Ledger::of_member(1, 0, &roll));
        for (member, sequence) in [(0, 1), (1, 3), (0, 2), (1, 2), (1, 4), (0, 5), (1, 1), (0, 5)] {
            members[member].enter(0, sequence);
        }
        let counts = members.map(|of| of.counts().next().unwrap_or_default());
        let expected = [
            Count { received: 3, duplicated: 1, reordered: 0, highest: 5 },
            Count { received: 2, duplicated: 2, reordered: 0, highest: 4 },
        ];
        assert_eq!(counts, expected);
        let mut member = Ledger::of_member(1, 0, &Arc::default());
        let seen = [9, 3, 9].map(|sequence| member.enter(0, sequence));
        assert_eq!(seen, [Seen::First, Seen::First, Seen::Again]);
        assert_eq!(member.counts().map(|count| count.reordered).sum::<u64>(), 1);
    }

    #[test]
    fn gaps_beyond_the_bound_stay_lost() {
        let mut stream = Stream::new();
        for sequence in 1..=GAPS_MAX as u64 + 1 {
            stream.enter(2 * sequence);
        }
        assert_eq!(stream.gaps.len(), GAPS_MAX);
        assert_eq!(stream.enter(1), Seen::Again);
        assert_eq!(stream.enter(3), Seen::First);
    }
}
