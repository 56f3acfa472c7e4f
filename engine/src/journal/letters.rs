//! Which dead letters a series of records leaves.

use std::collections::{BTreeMap, HashMap};

use super::letter::{self, EndBody, LetterBody, LetterEnd};
use super::names::Names;
use super::record::RECORD_HEADER_BYTES;
use crate::hash::IdHashes;
use crate::message::DeadLetter;
use crate::wire::id::MessageId;

/// Bytes that a letter occupies in the file.
pub(super) fn record_bytes(letter: &DeadLetter) -> u64 {
    (RECORD_HEADER_BYTES + letter::body_bytes(letter)) as u64
}

/// The letters of one message.
#[derive(Debug, Default)]
struct MessageLetters {
    is_done: bool,
    /// By group, each with its place among all letters.
    letters: BTreeMap<Box<str>, (u64, DeadLetter)>,
}

/// The letters that are left, gathered while records are read.
#[derive(Debug, Default)]
pub(super) struct Letters {
    of: HashMap<MessageId, MessageLetters, IdHashes>,
    added: u64,
    names: Names,
}

impl Letters {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.of.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.of.values().map(|of| of.letters.len()).sum()
    }

    /// Bytes that their records occupy.
    pub(super) fn bytes(&self) -> u64 {
        let letters = self.of.values().flat_map(|of| of.letters.values());
        letters.map(|(_, letter)| record_bytes(letter)).sum()
    }

    /// A record says that there is a letter. It may say so again, because its message is done meanwhile.
    pub(super) fn add(&mut self, body: &LetterBody<'_>) {
        let letter = DeadLetter {
            id: body.id,
            group: self.names.share(body.group),
            filter_kind: body.filter_kind,
            filter: self.names.share(body.filter),
            cause: body.cause.map(|reason| self.names.share(reason)),
            attempts: body.attempts,
            died_ns: body.died_ns,
            is_done: body.is_done,
        };
        let of = self.of.entry(body.id).or_default();
        of.is_done |= body.is_done;
        let added = self.added;
        self.added += 1;
        let place = of.letters.get(body.group).map_or(added, |&(place, _)| place);
        of.letters.insert(body.group.into(), (place, letter));
    }

    /// A record says that a letter ended; whether its message is needed no longer.
    pub(super) fn end(&mut self, body: &EndBody<'_>) -> bool {
        if body.end == LetterEnd::Done {
            self.remove(body.id);
            return true;
        }
        let Some(of) = self.of.get_mut(&body.id) else { return false };
        of.letters.remove(body.group);
        of.is_done &= body.end == LetterEnd::Purged;
        let (is_done, is_last) = (of.is_done, of.letters.is_empty());
        if is_last {
            self.of.remove(&body.id);
        }
        is_done && is_last
    }

    /// A message is needed no longer, and neither are its letters.
    pub(super) fn remove(&mut self, id: MessageId) {
        if !self.of.is_empty() {
            self.of.remove(&id);
        }
    }

    /// All of them, in the order in which they came. Each says whether its message is done.
    pub(super) fn into_letters(self) -> Vec<DeadLetter> {
        let mut letters = Vec::with_capacity(self.len());
        for MessageLetters { is_done, letters: of } in self.of.into_values() {
            letters.extend(
                of.into_values().map(|(place, letter)| (place, DeadLetter { is_done, ..letter })),
            );
        }
        letters.sort_unstable_by_key(|(place, _)| *place);
        letters.into_iter().map(|(_, letter)| letter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::letter::Cause;

    fn letter(group: &'static str, is_done: bool) -> LetterBody<'static> {
        LetterBody {
            id: MessageId { publisher: 1, sequence: 1 },
            died_ns: 5,
            attempts: 3,
            is_done,
            filter_kind: 0,
            group,
            filter: "orders",
            cause: Cause::UsedUp,
        }
    }

    /// What a series of letters and ends leaves: the groups, whether the message is done, and what the last end said.
    #[track_caller]
    fn check(
        series: &[(&'static str, Result<bool, LetterEnd>)],
        left: &[&str],
        is_done: bool,
        gone: bool,
    ) {
        let mut letters = Letters::default();
        let mut is_gone = false;
        for (group, what) in series {
            let id = MessageId { publisher: 1, sequence: 1 };
            match *what {
                Ok(is_done) => letters.add(&letter(group, is_done)),
                Err(end) => is_gone = letters.end(&EndBody { id, end, group }),
            }
        }
        assert_eq!((letters.len(), letters.is_empty()), (left.len(), left.is_empty()));
        assert_eq!(letters.bytes(), left.iter().map(|group| 70 + group.len() as u64).sum::<u64>());
        let found = letters.into_letters();
        assert!(found.iter().map(|letter| &*letter.group).eq(left.iter().copied()), "{found:?}");
        assert!(found.iter().all(|letter| letter.is_done == is_done));
        assert_eq!(is_gone, gone);
    }

    #[test]
    fn a_message_is_needed_as_long_as_it_has_letters_or_somebody_else_is_to_get_it() {
        let (dead, done) = (Ok(false), Ok(true));
        let (purged, replayed) = (Err(LetterEnd::Purged), Err(LetterEnd::Replayed));
        check(&[("b", dead), ("a", dead)], &["b", "a"], false, false);
        check(&[("b", dead), ("a", done)], &["b", "a"], true, false);
        check(&[("b", dead), ("a", dead), ("b", done)], &["b", "a"], true, false);
        check(&[("b", dead), ("b", purged)], &[], false, false);
        check(&[("b", done), ("b", purged)], &[], false, true);
        check(&[("b", dead), ("a", done), ("a", purged)], &["b"], true, false);
        check(&[("b", dead), ("a", done), ("a", purged), ("b", purged)], &[], false, true);
        check(&[("b", dead), ("a", done), ("b", replayed)], &["a"], false, false);
        check(&[("b", done), ("b", replayed)], &[], false, false);
        check(&[("b", dead), ("a", done), ("x", Err(LetterEnd::Done))], &[], false, true);
        check(&[("x", purged)], &[], false, false);
    }
}
