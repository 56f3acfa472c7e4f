//! Dead letters: the messages that groups give up, and the requests about them.
//!
//! A dead letter is done for its group as if a member had acknowledged it. Its message stays in the backlog, where nobody
//! gets it, and in the journal, until its last letter is replayed or purged.

use std::time::Duration;

use arcstr::ArcStr;

use super::check::bounded_ids;
use super::core::Core;
use super::effect::Reply;
use super::groups::{GivenUp, GroupId};
use super::letters::LetterError;
use super::refusal::Refusal;
use super::subscribers::ConnectionId;
use crate::journal::{JobState, LetterEnd, Op};
use crate::limits::{
    LETTERS_CHANGED_MAX, LETTERS_LISTED_MAX, LETTERS_MADE_PER_TURN_MAX, LETTERS_TOLD_MAX,
};
use crate::message::{DeadLetter, Format};
use crate::wire::id::MessageId;
use crate::wire::letter::{self, Cause, Changed, Entry, LetterSelection, Listed, Request};
use crate::wire::record::Records;

impl<E> Core<E> {
    /// A group gives a job up that is spent. Without room for its letter it stays in the group, and is handed over again
    /// after the retry interval.
    ///
    /// # Errors
    /// Why it stays.
    pub(super) fn give_up(
        &mut self,
        group: GroupId,
        id: MessageId,
        cause: Cause<ArcStr>,
        now: Duration,
    ) -> Result<(), Refusal> {
        let Some(bytes) = self.backlog.bytes_of(id) else {
            // It expired.
            self.groups.forget(id, &[group]);
            return Ok(());
        };
        let room = self.letters.check(bytes, &cause).map_err(Refusal::from);
        if let Err(refusal) = self.check_journal().and(room) {
            // What expired is handed over to nobody meanwhile: it stays spent.
            if cause != Cause::Expired {
                let at = now.saturating_add(self.backlog.interval());
                self.groups.put_off(group, id, at);
            }
            self.counters.dead_letters_put_off.add(1);
            return Err(refusal);
        }
        let Some(given_up) = self.groups.give_up(group, id) else { return Ok(()) };
        let GivenUp { group, filter_kind, filter, attempts, is_last } = given_up;
        let died_ns = self.unix_ns;
        self.counters.dead_letters_made.add(1);
        match cause {
            Cause::UsedUp => self.counters.dead_letters_used_up.add(1),
            Cause::Rejected(_) => self.counters.dead_letters_rejected.add(1),
            Cause::Expired => self.counters.dead_letters_expired.add(1),
        }
        if is_last {
            self.backlog.hold_as_dead(id);
        }
        let letter = DeadLetter {
            id,
            group,
            filter_kind,
            filter,
            cause,
            attempts,
            died_ns,
            is_done: is_last,
        };
        if self.stores() {
            self.out.journal.push(Op::Letter(letter.clone()));
        }
        self.letters.add(letter, bytes);
        Ok(())
    }

    /// Gives some of the jobs up whose last attempt failed; whether more are left.
    pub(super) fn give_some_up(&mut self, now: Duration) -> bool {
        for _ in 0..LETTERS_MADE_PER_TURN_MAX {
            let Some((group, id)) = self.groups.next_spent() else { break };
            // What stays in its group is counted, and the log tells.
            let _ = self.give_up(group, id, Cause::UsedUp, now);
        }
        self.groups.has_spent()
    }

    /// A message is done. If it has dead letters, it stays for them alone: then whether it was not done before.
    pub(super) fn stays_for_letters(&mut self, id: MessageId) -> Option<bool> {
        let letter = self.letters.first_of(id)?;
        if self.backlog.is_dead(id) {
            return Some(false);
        }
        let letter = DeadLetter { is_done: true, ..letter.clone() };
        if self.stores() {
            self.out.journal.push(Op::Letter(letter));
        }
        self.backlog.hold_as_dead(id);
        Some(true)
    }

    /// A request about dead letters.
    pub(super) fn letters_request(
        &mut self,
        connection: ConnectionId,
        request: &Request<'_>,
    ) -> Result<Reply, Refusal> {
        self.check_asker(connection)?;
        let answer = match *request {
            Request::List { group, from, limit } => self.list(group, from, limit)?,
            Request::Show { group, id } => self.show(group, id)?,
            Request::Replay { group, which } => letter::replayed(self.replay_some(group, which)?),
            Request::Purge { group, which } => letter::purged(self.purge_some(group, which)?),
        };
        Ok(Reply::Answer(answer))
    }

    /// Gives letters of a group to it again, a bounded number of them.
    pub(super) fn replay_some(
        &mut self,
        group: &str,
        which: LetterSelection<'_>,
    ) -> Result<Changed, Refusal> {
        self.check_running()?;
        self.check_journal()?;
        self.replay(group, which)
    }

    /// Forgets letters of a group, a bounded number of them.
    pub(super) fn purge_some(
        &mut self,
        group: &str,
        which: LetterSelection<'_>,
    ) -> Result<Changed, Refusal> {
        self.check_journal()?;
        self.check_group(group)?;
        self.change(group, which, Self::purge_one)
    }

    /// Whether there is such a group, or there are letters of one.
    fn check_group(&self, group: &str) -> Result<(), Refusal> {
        if self.letters.len_of(group) == 0 && self.groups.by_name(group).is_none() {
            return Err(LetterError::NoGroup(group.to_owned()).into());
        }
        Ok(())
    }

    fn list(&self, group: &str, from: u64, limit: u16) -> Result<Vec<u8>, Refusal> {
        let total = if group.is_empty() { self.letters.len() } else { self.letters.len_of(group) };
        let limit = match limit {
            0 => LETTERS_LISTED_MAX,
            limit => LETTERS_LISTED_MAX.min(limit.into()),
        };
        let numbers = self.letters.from(group, from, limit + 1);
        let next = numbers.get(limit).copied().unwrap_or(0);
        let end = self.letters.next_number();
        let mut answer = letter::listed(Listed { total: total as u64, next, end });
        for &number in numbers.iter().take(limit) {
            self.with_entry(number, |entry| entry.append_to(&mut answer));
        }
        Ok(answer)
    }

    /// A letter as clients get it in lists.
    pub(super) fn with_entry<R>(&self, number: u64, f: impl FnOnce(&Entry<'_>) -> R) -> Option<R> {
        let letter = self.letters.get(number)?;
        self.backlog.view().with(&letter.id, |kept| {
            let body = kept.body();
            let published_ns = match kept.format() {
                Format::V2 => Records::new(body).flatten().next().map_or(0, |it| it.1.timestamp_ns),
                // To read it takes long, and the dict has it.
                Format::V1 => 0,
            };
            f(&Entry {
                number,
                id: letter.id,
                published_ns,
                died_ns: letter.died_ns,
                attempts: letter.attempts,
                cause: letter.cause.map(|reason| &**reason),
                group: &letter.group,
                filter_kind: letter.filter_kind,
                filter: &letter.filter,
                name: kept.name(),
                bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
            })
        })
    }

    fn show(&self, group: &str, id: MessageId) -> Result<Vec<u8>, Refusal> {
        self.check_group(group)?;
        let unknown = || LetterError::Unknown { group: group.to_owned(), id, unknown: 1, all: 1 };
        let number = self.letters.number(group, id).ok_or_else(unknown)?;
        let frame = self.backlog.get(id).ok_or_else(unknown)?.frame();
        let shown = self.with_entry(number, |entry| letter::shown(entry, &frame));
        Ok(shown.ok_or_else(unknown)?)
    }

    fn replay(&mut self, group: &str, which: LetterSelection<'_>) -> Result<Changed, Refusal> {
        self.check_group(group)?;
        self.groups.check_not_deleted(group).map_err(Refusal::Durable)?;
        let Some(id) = self.groups.by_name(group) else {
            return Err(LetterError::NoMembers(group.to_owned()).into());
        };
        self.change(group, which, |core, number| core.replay_one(id, number))
    }

    /// Does this with each of these letters of a group until it took as much as one request may: `change` gives how many groups
    /// it told of a letter.
    fn change(
        &mut self,
        group: &str,
        which: LetterSelection<'_>,
        mut change: impl FnMut(&mut Self, u64) -> usize,
    ) -> Result<Changed, Refusal> {
        let (mut done, mut told) = (0, 0);
        match which {
            LetterSelection::Ids(ids) => {
                let (bytes, max) = (ids.len(), LETTERS_CHANGED_MAX * MessageId::BYTES);
                let ids = bounded_ids(ids)?;
                if bytes > max {
                    return Err(Refusal::BatchTooLarge { bytes, max });
                }
                let (all, mut unknown, mut first) = (ids.len(), 0, None);
                let mut seen = 0;
                for id in ids {
                    if told >= LETTERS_TOLD_MAX {
                        break;
                    }
                    seen += 1;
                    if let Some(number) = self.letters.number(group, id) {
                        told += change(self, number);
                        done += 1;
                    } else {
                        unknown += 1;
                        first.get_or_insert(id);
                    }
                }
                match first {
                    Some(id) => {
                        let group = group.to_owned();
                        Err(LetterError::Unknown { group, id, unknown, all: seen }.into())
                    }
                    None if seen < all => Ok(Changed { done, next: seen as u64 }),
                    None => Ok(Changed { done, next: 0 }),
                }
            }
            LetterSelection::Range { from, to, name } => {
                let mut numbers = self.letters.from(group, from, LETTERS_CHANGED_MAX + 1);
                if to > 0 {
                    numbers.retain(|&number| number < to);
                }
                let mut seen = 0;
                for &number in numbers.iter().take(LETTERS_CHANGED_MAX) {
                    if told >= LETTERS_TOLD_MAX {
                        break;
                    }
                    seen += 1;
                    let is_meant = name.is_empty()
                        || self.with_entry(number, |entry| entry.name == name) == Some(true);
                    if is_meant {
                        told += change(self, number);
                        done += 1;
                    }
                }
                let next = numbers.get(seen).copied().unwrap_or(0);
                Ok(Changed { done, next })
            }
        }
    }

    /// Its group gets a message again, from its first attempt on. How many groups were told.
    fn replay_one(&mut self, group: GroupId, number: u64) -> usize {
        let Some(DeadLetter { id, group: name, .. }) = self.letters.remove(number) else {
            return 0;
        };
        let mut told = 1;
        self.groups.note_open(id, &name);
        if self.backlog.is_held_for_groups(id) {
            self.groups.add_another_job(group, id);
        } else if let Some(message) = self.backlog.get(id) {
            let groups = if self.backlog.is_dead(id) {
                told += self.note_all_done(id, &message.name, group);
                [group].into()
            } else {
                // It waits for anybody, and so for the groups that have come since.
                let fitting = self.subscribers.topic(&message.name).groups.clone();
                let mut groups = self.groups.open_to(id, &fitting);
                if !groups.contains(&group) {
                    groups = groups.iter().copied().chain([group]).collect();
                }
                groups
            };
            told += groups.len();
            self.groups.end_late(id);
            self.backlog.hold_for_groups(id);
            self.groups.add_ready_jobs(&message.name, id, &groups);
        }
        // Whoever replays it wants it delivered, and it may have been over long ago.
        self.backlog.never_expires(id);
        // It may be none by the order of things, as the group may have been created since.
        self.note_job(self.groups.durable_number(&name), JobState::Open, id);
        self.end_letter(id, name, LetterEnd::Replayed);
        told
    }

    /// Has the journal say that durable groups are done with a message that becomes a job of another one: until now its dead
    /// letters said so. How many groups there are.
    fn note_all_done(&mut self, id: MessageId, name: &str, except: GroupId) -> usize {
        let fitting = self.subscribers.topic(name).groups.clone();
        for group in fitting.iter().filter(|group| **group != except) {
            self.note_job(self.groups.number(*group), JobState::Done, id);
        }
        fitting.len()
    }

    /// A letter is needed no longer, and neither is its message if that was all that kept it. How many groups were told.
    fn purge_one(&mut self, number: u64) -> usize {
        let Some(DeadLetter { id, group, .. }) = self.letters.remove(number) else { return 0 };
        let is_last = self.backlog.is_dead(id) && self.letters.first_of(id).is_none();
        if is_last {
            self.backlog.remove(id);
            self.groups.settled(id);
        } else {
            // Without its letter nothing else says so.
            self.note_job(self.groups.durable_number(&group), JobState::Done, id);
        }
        let end = if is_last { LetterEnd::Done } else { LetterEnd::Purged };
        self.end_letter(id, group, end);
        1
    }

    fn end_letter(&mut self, id: MessageId, group: ArcStr, end: LetterEnd) {
        if self.stores() {
            self.out.journal.push(Op::EndLetter { id, group, end });
        }
    }
}
