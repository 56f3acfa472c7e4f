//! Asks for dead letters, replays and purges them.

use std::sync::Arc;

use bytes::Bytes;

use super::letter::DeadLetter;
use crate::client::connection::control_queue::ControlQueue;
use crate::client::error::{AdminError, unreadable};
use crate::client::receive::message::Message;
use crate::limits::{LETTERS_CHANGED_MAX, LETTERS_LISTED_MAX};
use crate::wire::ack;
use crate::wire::id::MessageId;
use crate::wire::letter::{self, LetterSelection, Listed, Request};
use crate::wire::name;

/// The dead letters of a group, or of all groups, for tasks:
/// [`Client::dead_letters`](crate::asynchronous::Client::dead_letters). A call whose future is dropped may have been carried out, in part
/// where it takes several requests.
#[derive(Clone)]
pub struct DeadLetters {
    control_queue: Arc<ControlQueue>,
    group: String,
}

/// What becomes of letters.
#[derive(Clone, Copy)]
enum Change {
    Replay,
    Purge,
}

impl DeadLetters {
    pub(in crate::client) fn new(control_queue: Arc<ControlQueue>, group: String) -> Self {
        Self { control_queue, group }
    }

    /// The number of dead letters.
    ///
    /// # Errors
    /// [`AdminError`]: the server rejected the request or did not answer, or the client was stopped.
    pub async fn count(&self) -> Result<u64, AdminError> {
        self.page(0, 1, |_| {}).await.map(|listed| listed.total)
    }

    /// The oldest dead letters, at most `limit`.
    ///
    /// # Errors
    /// [`AdminError`]: the server rejected the request or did not answer, or the client was stopped.
    pub async fn list(&self, limit: usize) -> Result<Vec<DeadLetter>, AdminError> {
        let (mut letters, mut from) = (Vec::new(), 0);
        while letters.len() < limit {
            let left = (limit - letters.len()).min(LETTERS_LISTED_MAX);
            let page = self.page(from, left as u16, |letter| letters.push(letter)).await?;
            from = page.next;
            if from == 0 {
                break;
            }
        }
        Ok(letters)
    }

    async fn page(
        &self,
        from: u64,
        limit: u16,
        mut each: impl FnMut(DeadLetter),
    ) -> Result<Listed, AdminError> {
        let answer = self.ask(&Request::List { group: &self.group, from, limit }).await?;
        let (listed, mut entries) = letter::read_listed(&answer).ok_or_else(|| unread(&answer))?;
        while !entries.is_empty() {
            let (entry, rest) = letter::read_entry(entries).ok_or_else(|| unread(&answer))?;
            each(DeadLetter::read(&entry).ok_or_else(|| unread(&answer))?);
            entries = rest;
        }
        Ok(listed)
    }

    /// A dead letter, and its message.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when the group has no such letter.
    pub async fn show(&self, id: MessageId) -> Result<(DeadLetter, Message), AdminError> {
        let answer = self.ask(&Request::Show { group: &self.group, id }).await?;
        let shown = letter::read_shown(&answer).and_then(|(entry, frame)| {
            Some((DeadLetter::read(&entry)?, Message::of_frame(&answer.slice_ref(frame))?))
        });
        shown.ok_or_else(|| unread(&answer))
    }

    /// Delivers these to the group again, with attempts from 1; how many there were. The group must have members, or be durable.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when the group has no members and is not durable, and nothing is lost then; and when some of these are no letters
    /// of it: the others are delivered.
    pub async fn replay(&self, ids: &[MessageId]) -> Result<u64, AdminError> {
        self.change_ids(Change::Replay, ids).await
    }

    /// [`Self::replay`] of all that there are now.
    ///
    /// # Errors
    /// As for [`Self::replay`].
    pub async fn replay_all(&self) -> Result<u64, AdminError> {
        self.change_all(Change::Replay, "").await
    }

    /// [`Self::replay`] of all messages of a name that there are now.
    ///
    /// # Errors
    /// As for [`Self::replay`].
    pub async fn replay_named(&self, name: &str) -> Result<u64, AdminError> {
        name::check_publishable(name)?;
        self.change_all(Change::Replay, name).await
    }

    /// Forgets these for good; how many there were.
    ///
    /// # Errors
    /// [`AdminError::Refused`] when some of these are no letters of the group: the others are gone.
    pub async fn purge(&self, ids: &[MessageId]) -> Result<u64, AdminError> {
        self.change_ids(Change::Purge, ids).await
    }

    /// [`Self::purge`] of all that there are now.
    ///
    /// # Errors
    /// As for [`Self::purge`].
    pub async fn purge_all(&self) -> Result<u64, AdminError> {
        self.change_all(Change::Purge, "").await
    }

    /// [`Self::purge`] of all messages of a name that there are now.
    ///
    /// # Errors
    /// As for [`Self::purge`].
    pub async fn purge_named(&self, name: &str) -> Result<u64, AdminError> {
        name::check_publishable(name)?;
        self.change_all(Change::Purge, name).await
    }

    async fn change_ids(&self, change: Change, ids: &[MessageId]) -> Result<u64, AdminError> {
        let (mut done, mut left) = (0, ids);
        while !left.is_empty() {
            let part = &left[..left.len().min(LETTERS_CHANGED_MAX)];
            let changed = self.change(change, LetterSelection::Ids(&ack::body(part))).await?;
            done += u64::from(changed.done);
            let seen = usize::try_from(changed.next).ok().filter(|&seen| seen > 0);
            left = left.get(seen.unwrap_or(part.len())..).unwrap_or_default();
        }
        Ok(done)
    }

    async fn change_all(&self, change: Change, name: &str) -> Result<u64, AdminError> {
        // What is replayed and dies again comes behind these.
        let end = self.page(0, 1, |_| {}).await?.end;
        let (mut done, mut from) = (0, 0);
        while from < end {
            let changed =
                self.change(change, LetterSelection::Range { from, to: end, name }).await?;
            done += u64::from(changed.done);
            if changed.next == 0 {
                break;
            }
            from = changed.next;
        }
        Ok(done)
    }

    async fn change(
        &self,
        change: Change,
        which: LetterSelection<'_>,
    ) -> Result<letter::Changed, AdminError> {
        let group = &self.group;
        let request = match change {
            Change::Replay => Request::Replay { group, which },
            Change::Purge => Request::Purge { group, which },
        };
        let answer = self.ask(&request).await?;
        letter::read_changed(&answer).ok_or_else(|| unread(&answer))
    }

    async fn ask(&self, request: &Request<'_>) -> Result<Bytes, AdminError> {
        if !self.group.is_empty() {
            name::check_publishable(&self.group)?;
        }
        Ok(self.control_queue.answer_to(letter::request(request).into()).await?)
    }
}

fn unread(answer: &[u8]) -> AdminError {
    AdminError::Refused { text: unreadable(answer) }
}

impl std::fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetters").field("group", &self.group).finish_non_exhaustive()
    }
}
