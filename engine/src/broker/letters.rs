//! Dead letters: which messages groups gave up, and why. The messages themselves are in the backlog.

use std::collections::{BTreeMap, BTreeSet};

use arcstr::ArcStr;

use crate::limits::{LETTER_OVERHEAD_BYTES, LETTERS_SHARE};
use crate::message::DeadLetter;
use crate::plural::counted;
use crate::wire::id::MessageId;
use crate::wire::letter::Cause;

/// Why nothing comes of a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LetterError {
    #[error("there is no group '{0}', and there are no dead letters of one")]
    NoGroup(String),
    #[error(
        "group '{0}' has no members who could get its dead letters, so that nothing was replayed: join it first"
    )]
    NoMembers(String),
    #[error(
        "group '{group}' has no dead letter of message {id} ({unknown} of {} of this request)",
        counted(*all, "message", "messages")
    )]
    Unknown { group: String, id: MessageId, unknown: usize, all: usize },
    #[error(
        "dead letter limit reached: {letters} of {max} dead letters kept; the message stays in its group: replay or purge some, \
         or raise --max-pending-messages"
    )]
    TooMany { letters: usize, max: usize },
    #[error(
        "dead letter limit reached: {bytes} of {max} bytes of dead letters kept, and this one has {more}; the message stays in its \
         group: replay or purge some, or raise --max-pending-bytes"
    )]
    TooLarge { bytes: usize, more: usize, max: usize },
}

#[derive(Debug)]
struct Kept {
    letter: DeadLetter,
    cost: usize,
}

/// What a letter counts for: its message, which may have several, is counted for each.
fn cost(message_bytes: usize, cause: &Cause<ArcStr>) -> usize {
    message_bytes + cause.reason().map_or(0, ArcStr::len) + LETTER_OVERHEAD_BYTES
}

/// All dead letters, numbered from 1 in the order in which they died.
#[derive(Debug)]
pub(super) struct Letters {
    all: BTreeMap<u64, Kept>,
    of_group: BTreeMap<ArcStr, BTreeSet<u64>>,
    of_message: BTreeMap<(MessageId, ArcStr), u64>,
    next: u64,
    bytes: usize,
    max: usize,
    bytes_max: usize,
}

impl Letters {
    /// None, and room for a part of this many messages and bytes.
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> Self {
        Self {
            all: BTreeMap::new(),
            of_group: BTreeMap::new(),
            of_message: BTreeMap::new(),
            next: 1,
            bytes: 0,
            max: messages_max / LETTERS_SHARE,
            bytes_max: bytes_max / LETTERS_SHARE,
        }
    }

    /// There is room for a part of this many messages and bytes from now on.
    pub(super) fn set_limits(&mut self, messages_max: usize, bytes_max: usize) {
        (self.max, self.bytes_max) = (messages_max / LETTERS_SHARE, bytes_max / LETTERS_SHARE);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Letters of a group.
    pub(super) fn len_of(&self, group: &str) -> usize {
        self.of_group.get(group).map_or(0, BTreeSet::len)
    }

    /// The number that the next one gets.
    pub(super) fn next_number(&self) -> u64 {
        self.next
    }

    /// Whether a message of this many bytes may become a letter.
    ///
    /// # Errors
    /// The limit that stands against it.
    pub(super) fn check(
        &self,
        message_bytes: usize,
        cause: &Cause<ArcStr>,
    ) -> Result<(), LetterError> {
        let (letters, max) = (self.all.len(), self.max);
        if letters >= max {
            return Err(LetterError::TooMany { letters, max });
        }
        let (bytes, more, max) = (self.bytes, cost(message_bytes, cause), self.bytes_max);
        if bytes.saturating_add(more) > max {
            return Err(LetterError::TooLarge { bytes, more, max });
        }
        Ok(())
    }

    /// Adds a letter of a message of this many bytes. The limits are [`Self::check`]'s business: what recovery finds must go
    /// in.
    pub(super) fn add(&mut self, letter: DeadLetter, message_bytes: usize) {
        let (id, group) = (letter.id, letter.group.clone());
        if let Some(number) = self.of_message.insert((id, group.clone()), self.next) {
            self.take_out(number);
        }
        let cost = cost(message_bytes, &letter.cause);
        self.bytes += cost;
        self.of_group.entry(group).or_default().insert(self.next);
        self.all.insert(self.next, Kept { letter, cost });
        self.next += 1;
    }

    fn take_out(&mut self, number: u64) -> Option<DeadLetter> {
        let Kept { letter, cost } = self.all.remove(&number)?;
        self.bytes -= cost;
        if let Some(numbers) = self.of_group.get_mut(&letter.group) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.of_group.remove(&letter.group);
            }
        }
        Some(letter)
    }

    /// Takes one out.
    pub(super) fn remove(&mut self, number: u64) -> Option<DeadLetter> {
        let letter = self.take_out(number)?;
        self.of_message.remove(&(letter.id, letter.group.clone()));
        Some(letter)
    }

    pub(super) fn get(&self, number: u64) -> Option<&DeadLetter> {
        self.all.get(&number).map(|kept| &kept.letter)
    }

    /// The number of a group's letter of a message.
    pub(super) fn number(&self, group: &str, id: MessageId) -> Option<u64> {
        self.of_message.get(&(id, group.into())).copied()
    }

    /// The first letter of a message, if it has some.
    pub(super) fn first_of(&self, id: MessageId) -> Option<&DeadLetter> {
        if self.all.is_empty() {
            return None;
        }
        let (key, number) = self.of_message.range((id, ArcStr::new())..).next()?;
        if key.0 == id { self.get(*number) } else { None }
    }

    /// Numbers of a group's letters, or of all for the empty name, from this one on, and at most this many.
    pub(super) fn from(&self, group: &str, from: u64, max: usize) -> Vec<u64> {
        if group.is_empty() {
            return self.all.range(from..).map(|(number, _)| *number).take(max).collect();
        }
        let numbers = self.of_group.get(group);
        numbers.map_or_else(Vec::new, |all| all.range(from..).copied().take(max).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(sequence: u64, group: &str) -> DeadLetter {
        DeadLetter {
            id: MessageId { publisher: 1, sequence },
            group: group.into(),
            filter_kind: 0,
            filter: "orders".into(),
            cause: Cause::UsedUp,
            attempts: 1,
            died_ns: 0,
            is_done: true,
        }
    }

    #[test]
    fn letters_are_found_by_number_group_and_message_until_they_are_removed() {
        let mut letters = Letters::new(8, 8 * 1024);
        letters.add(letter(1, "a"), 10);
        letters.add(letter(2, "b"), 10);
        letters.add(letter(1, "b"), 10);
        assert_eq!(letters.from("", 0, 9), [1, 2, 3]);
        assert_eq!((letters.from("b", 0, 1), letters.from("b", 3, 9)), (vec![2], vec![3]));
        assert_eq!((letters.len(), letters.len_of("b"), letters.len_of("c")), (3, 2, 0));
        let id = |sequence| MessageId { publisher: 1, sequence };
        assert_eq!(letters.number("b", id(1)), Some(3));
        assert_eq!(letters.first_of(id(1)).map(|letter| &*letter.group), Some("a"));
        assert_eq!(letters.first_of(id(3)), None);
        // The same again has another number.
        letters.add(letter(1, "a"), 10);
        assert_eq!((letters.from("a", 0, 9), letters.len()), (vec![4], 3));
        for number in [2, 3, 4] {
            assert!(letters.remove(number).is_some() && letters.remove(number).is_none());
        }
        assert!(letters.is_empty() && letters.of_group.is_empty() && letters.of_message.is_empty());
        assert_eq!(letters.bytes, 0);
    }

    #[test]
    fn they_have_a_part_of_the_limits() {
        let mut letters = Letters::new(4, 4 * 1024);
        assert_eq!(letters.check(2 * 1024 - 256, &Cause::UsedUp), Ok(()));
        assert!(matches!(
            letters.check(2 * 1024 - 255, &Cause::UsedUp),
            Err(LetterError::TooLarge { .. })
        ));
        let reason = Cause::Rejected(ArcStr::from("x"));
        let refused = letters.check(2 * 1024 - 256, &reason);
        assert!(matches!(refused, Err(LetterError::TooLarge { .. })));
        letters.add(letter(1, "a"), 10);
        assert_eq!(letters.check(1, &Cause::UsedUp), Ok(()));
        letters.add(letter(2, "a"), 10);
        assert_eq!(
            letters.check(1, &Cause::UsedUp),
            Err(LetterError::TooMany { letters: 2, max: 2 })
        );
    }
}
