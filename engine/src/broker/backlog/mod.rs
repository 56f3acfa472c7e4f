//! Every unacknowledged message, in one place: where it is kept, and when it is sent next.
//!
//! A message comes in by [`Backlog::add`] and leaves by [`Backlog::remove`], whatever holds it meanwhile: the
//! wheel, when somebody wants its name; the messages that [`waiting`] holds, when nobody does; and perhaps the
//! aliases by which v1 subscribers acknowledge it. Groups say themselves when they send what they have, and nobody gets
//! what is but a dead letter.

mod ages;
mod aliases;
mod carried;
mod listing;
mod place;
mod timed;
mod waiting;

use std::time::Duration;

use arcstr::ArcStr;
use bytes::Bytes;

use self::ages::Ages;
use self::aliases::Aliases;
use self::carried::CarriedFrames;
pub(super) use self::listing::Listed;
use self::place::Place;
use self::timed::Timed;
use self::waiting::Waiting;
use crate::message::{Body, Format, Message};
use crate::pending::{Entry, Full, Limits, PendingMap, PendingView};
use crate::retry::Retrier;
use crate::wire::checksum::Checksum;
use crate::wire::id::MessageId;

/// Who gets a message that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// Nobody yet: it waits.
    Nobody,
    /// Somebody gets it now, and again if nobody acknowledges it.
    Somebody,
    /// Groups have it, and say when it is sent.
    Groups,
    /// Nobody before its time.
    Later,
}

/// The unacknowledged messages.
pub(crate) struct Backlog {
    pending: PendingMap,
    retrier: Retrier,
    waiting: Waiting,
    aliases: Aliases,
    carried: CarriedFrames,
    expiring: Timed,
    later: Timed,
    ages: Ages,
    due: Vec<MessageId>,
}

impl Backlog {
    /// Nothing, within these limits. A message that somebody wants is due after each interval.
    pub(crate) fn new(limits: Limits, interval: Duration) -> Self {
        Self {
            pending: PendingMap::new(limits),
            retrier: Retrier::new(interval, Duration::ZERO),
            waiting: Waiting::default(),
            aliases: Aliases::default(),
            carried: CarriedFrames::default(),
            expiring: Timed::default(),
            later: Timed::default(),
            ages: Ages::default(),
            due: Vec::new(),
        }
    }

    /// Other limits and another interval count from now on.
    pub(super) fn reconfigure(&mut self, messages: usize, bytes: usize, interval: Duration) {
        self.pending.set_limits(Limits { messages, bytes });
        self.retrier.set_interval(interval);
    }

    /// What other threads may see of it.
    pub(crate) fn view(&self) -> &PendingView {
        self.pending.view()
    }

    /// Whether there is room for this many messages with this many bytes.
    ///
    /// # Errors
    /// The limit that stands against it.
    pub(super) fn check(&self, messages: usize, bytes: usize) -> Result<(), Full> {
        self.pending.check(messages, bytes)
    }

    /// How many messages may be kept.
    pub(super) fn messages_max(&self) -> usize {
        self.pending.limits().messages
    }

    /// How many bytes they may have.
    pub(super) fn bytes_max(&self) -> usize {
        self.pending.limits().bytes
    }

    /// Makes room for this many messages that wait.
    pub(super) fn reserve(&mut self, messages: usize) {
        self.pending.reserve(messages);
        self.waiting.reserve(messages);
    }

    /// Adds a message; `false`, and nothing changes, when it is there already.
    pub(super) fn add(
        &mut self,
        id: MessageId,
        name: &ArcStr,
        format: Format,
        body: Body,
        wanted: Audience,
        now: Duration,
    ) -> bool {
        let place = match wanted {
            Audience::Groups => Place::Groups,
            Audience::Later => Place::Later,
            wanted => self.place(id, name, wanted == Audience::Somebody, now),
        };
        let stretch = self.ages.add(now);
        let entry = Entry::new(name.clone(), format, body, place.to_bits()).came_in(stretch);
        let is_new = self.pending.insert(id, entry);
        if !is_new {
            self.ages.remove(stretch);
            self.leave(place, id);
        }
        is_new
    }

    fn place(&mut self, id: MessageId, name: &ArcStr, wanted: bool, now: Duration) -> Place {
        if wanted {
            Place::Wheel(self.retrier.schedule(id, now))
        } else {
            Place::Waiting(self.waiting.add(name, id))
        }
    }

    fn leave(&mut self, place: Place, id: MessageId) {
        match place {
            Place::Wheel(token) => {
                self.retrier.cancel(token, &id);
            }
            Place::Waiting(place) => self.waiting.remove(place, id),
            Place::Groups | Place::Dead | Place::Later => {}
        }
    }

    /// Takes a message out; whether it was there.
    pub(super) fn remove(&mut self, id: MessageId) -> bool {
        let Some(removed) = self.pending.remove(&id) else { return false };
        self.ages.remove(removed.stretch);
        self.leave(Place::from_bits(removed.token), id);
        self.aliases.remove(id);
        self.carried.remove(id);
        if removed.is_timed {
            self.expiring.remove(id);
            self.later.remove(id);
        }
        true
    }

    /// A message expires at a time of the day, in milliseconds since the Unix epoch: [`Self::next_expired`] says so then.
    pub(super) fn expire_at(&mut self, id: MessageId, at_ms: u64) {
        if self.pending.view().with(&id, Entry::set_timed).is_some() {
            self.expiring.add(id, at_ms);
        }
    }

    /// A message does not expire any more.
    pub(super) fn never_expires(&mut self, id: MessageId) {
        self.expiring.remove(id);
    }

    /// The next message whose time is over, which is forgotten.
    pub(super) fn next_expired(&mut self, now_ms: u64) -> Option<MessageId> {
        self.expiring.next(now_ms)
    }

    /// Whether the time of a message is over.
    pub(super) fn is_expired(&self, id: MessageId, now_ms: u64) -> bool {
        self.expiring.first_ms() <= now_ms && self.expiring.is_time(id, now_ms)
    }

    /// When the first message expires; [`u64::MAX`] if none does.
    pub(super) fn first_expiry_ms(&self) -> u64 {
        self.expiring.first_ms()
    }

    /// A message that was added for later is to be delivered at a time of the day: [`Self::next_later`] says so then.
    pub(super) fn deliver_at(&mut self, id: MessageId, at_ms: u64) {
        if self.is_later(id) {
            self.pending.view().with(&id, Entry::set_timed);
            self.later.add(id, at_ms);
        }
    }

    /// The next message whose time has come; it is for later until it has another place.
    pub(super) fn next_later(&mut self, now_ms: u64) -> Option<MessageId> {
        self.later.next(now_ms)
    }

    /// When the first message is to be delivered that is for later; [`u64::MAX`] without any.
    pub(super) fn first_later_ms(&self) -> u64 {
        self.later.first_ms()
    }

    /// How many messages wait for their time.
    pub(super) fn count_later(&self) -> usize {
        self.later.len()
    }

    /// Whether nobody gets a message before its time.
    pub(super) fn is_later(&self, id: MessageId) -> bool {
        let bits = self.pending.view().with(&id, Entry::token);
        bits.map(Place::from_bits) == Some(Place::Later)
    }

    /// Whether a message is for later only because nobody came to it yet: its time has come.
    pub(super) fn is_overdue(&self, id: MessageId, now_ms: u64) -> bool {
        self.later.first_ms() <= now_ms && self.later.is_time(id, now_ms)
    }

    /// Keeps the native frame of a message in the original format, for a while.
    pub(super) fn keep_carried(&mut self, id: MessageId, frame: Bytes) {
        // It may have been acknowledged since.
        if self.pending.view().contains(&id) {
            self.carried.add(id, frame);
        }
    }

    /// The native frame of a message in the original format, if it is kept.
    pub(super) fn carried(&self, id: MessageId) -> Option<&Bytes> {
        self.carried.get(id)
    }

    /// Notes the v1 checksum by which a native message may be acknowledged.
    pub(super) fn add_alias(&mut self, checksum: Checksum, id: MessageId) {
        // It may have been acknowledged since.
        if self.pending.view().contains(&id) {
            self.aliases.add(checksum, id);
        }
    }

    /// The message that a v1 checksum acknowledges.
    pub(super) fn id_of(&self, checksum: Checksum) -> MessageId {
        self.aliases.oldest(checksum).unwrap_or_else(|| MessageId::from_v1_checksum(checksum))
    }

    /// Somebody wants the one name: what waits under it becomes due, once the journal has stored all up to
    /// the group `after`. Or the names that a prefix fits, and [`Self::sweep`] makes them due.
    pub(super) fn wake(&mut self, prefix: &str, is_whole_name: bool, after: u64) {
        if is_whole_name {
            self.waiting.wake_name(prefix, after);
        } else {
            self.waiting.wake_prefix(prefix, None);
        }
    }

    /// Somebody wants the names that a pattern fits, all of which begin with this text, and [`Self::sweep`] makes them
    /// due.
    pub(super) fn wake_pattern(&mut self, pattern: &str, beginning: &str) {
        self.waiting.wake_prefix(beginning, Some(pattern));
    }

    /// Goes on with waking, this many names at most; whether some are left. What waits under them becomes due
    /// once the journal has stored all up to the group `after`.
    pub(super) fn sweep(&mut self, names_max: usize, after: u64) -> bool {
        self.waiting.sweep(names_max, after)
    }

    /// The next message that waited and is due, of a name that is not held up: its first message decides. The caller sends it, and
    /// says where it belongs then: [`Self::put_back`].
    pub(super) fn next_waiting(
        &mut self,
        stored: u64,
        is_held_up: impl FnMut(&str, MessageId) -> bool,
    ) -> Option<MessageId> {
        self.waiting.next_due(stored, is_held_up)
    }

    /// The next message whose interval is over. As for [`Self::next_waiting`]. `Err(true)`: call again.
    pub(super) fn next_retry(&mut self, now: Duration) -> Result<MessageId, bool> {
        if let Some(id) = self.due.pop() {
            return Ok(id);
        }
        let more = self.retrier.due(now, 1, &mut self.due);
        self.due.pop().ok_or(more)
    }

    /// Whether some message's interval is over.
    pub(super) fn is_retry_due(&self, now: Duration) -> bool {
        self.retrier.next_due().is_some_and(|due| due <= now)
    }

    /// A message that was due is due again after an interval, or waits until somebody wants it.
    pub(super) fn put_back(&mut self, id: MessageId, name: &ArcStr, wanted: bool, now: Duration) {
        let place = self.place(id, name, wanted, now);
        self.note(id, place);
    }

    fn note(&self, id: MessageId, place: Place) {
        let known = self.pending.view().with(&id, |entry| entry.set_token(place.to_bits()));
        debug_assert!(known.is_some());
    }

    /// Some of the messages that somebody wanted when they were sent, at most 1,024, each with its name and a
    /// time before which it was not sent: a part of a walk that begins with part 0. `None` behind the last
    /// part.
    pub(super) fn sent(&self, part: usize) -> Option<Vec<(MessageId, ArcStr, Duration)>> {
        let view = self.pending.view();
        let named = |(id, since)| {
            let name = view.with(&id, |entry| entry.name().clone())?;
            Some((id, name, since))
        };
        Some(self.retrier.part(part)?.filter_map(named).collect())
    }

    /// How much earlier than a message was sent the time may be that [`Self::sent`] says.
    pub(super) fn tick(&self) -> Duration {
        self.retrier.tick()
    }

    /// A message that was sent goes back: it is due at once, or waits when nobody wants it.
    pub(super) fn recall(&mut self, id: MessageId, name: &ArcStr, wanted: bool, now: Duration) {
        let bits = self.pending.view().with(&id, Entry::token);
        let Some(Place::Wheel(token)) = bits.map(Place::from_bits) else { return };
        if !self.retrier.cancel(token, &id) {
            return;
        }
        let place = if wanted {
            Place::Wheel(self.retrier.schedule_now(id, now))
        } else {
            Place::Waiting(self.waiting.add(name, id))
        };
        self.note(id, place);
    }

    /// A message is delivered now: its interval begins, unless groups have it.
    pub(super) fn renew(&mut self, id: MessageId, name: &ArcStr, now: Duration) {
        let bits = self.pending.view().with(&id, Entry::token);
        if let Some(place @ (Place::Wheel(_) | Place::Waiting(_))) = bits.map(Place::from_bits) {
            self.leave(place, id);
            self.put_back(id, name, true, now);
        }
    }

    /// From now on groups say when a message is sent, until [`Self::put_back`].
    pub(super) fn hold_for_groups(&mut self, id: MessageId) {
        if let Some(bits) = self.pending.view().with(&id, Entry::token) {
            self.leave(Place::from_bits(bits), id);
            self.note(id, Place::Groups);
        }
    }

    /// From now on nobody gets a message, until [`Self::hold_for_groups`].
    pub(super) fn hold_as_dead(&mut self, id: MessageId) {
        if let Some(bits) = self.pending.view().with(&id, Entry::token) {
            self.leave(Place::from_bits(bits), id);
            self.note(id, Place::Dead);
        }
    }

    /// Whether a message is a dead letter and nothing else.
    pub(super) fn is_dead(&self, id: MessageId) -> bool {
        let bits = self.pending.view().with(&id, Entry::token);
        bits.map(Place::from_bits) == Some(Place::Dead)
    }

    /// The name of a message, if it is there.
    pub(super) fn name_of(&self, id: MessageId) -> Option<ArcStr> {
        self.pending.view().with(&id, |entry| entry.name().clone())
    }

    /// Bytes of a message, if it is there.
    pub(super) fn bytes_of(&self, id: MessageId) -> Option<usize> {
        self.pending.view().with(&id, |entry| entry.body().len())
    }

    /// Whether messages of a name that waited are due and were not all sent yet.
    pub(super) fn is_name_due(&self, name: &str) -> bool {
        self.waiting.is_name_due(name)
    }

    /// The name of a message that waits.
    pub(super) fn name_of_waiting(&self, id: MessageId) -> Option<ArcStr> {
        let named = |entry: &Entry| match Place::from_bits(entry.token()) {
            Place::Waiting(_) => Some(entry.name().clone()),
            Place::Wheel(_) | Place::Groups | Place::Dead | Place::Later => None,
        };
        self.pending.view().with(&id, named)?
    }

    /// Whether groups say when a message is sent.
    pub(super) fn is_held_for_groups(&self, id: MessageId) -> bool {
        let bits = self.pending.view().with(&id, Entry::token);
        bits.map(Place::from_bits) == Some(Place::Groups)
    }

    /// Notes that a message was sent to somebody.
    pub(super) fn note_sent(&self, id: MessageId) {
        self.pending.view().with(&id, Entry::set_sent);
    }

    /// Whether it is noted that a message was sent to somebody.
    pub(super) fn is_sent(&self, id: MessageId) -> bool {
        self.pending.view().with(&id, Entry::is_sent) == Some(true)
    }

    /// A message, if it is there.
    pub(super) fn get(&self, id: MessageId) -> Option<Message> {
        self.pending.view().get(&id)
    }

    /// How long after it was sent a message is due again.
    pub(super) fn interval(&self) -> Duration {
        self.retrier.interval()
    }

    /// What stood in the way of messages that waited and are due may be gone.
    pub(super) fn try_again(&mut self) {
        self.waiting.try_again();
    }

    /// Whether messages that waited are due, and nothing is known to stand in their way.
    pub(super) fn is_waiting_due(&self) -> bool {
        self.waiting.is_due()
    }

    /// When the next interval is over.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.retrier.next_due()
    }

    /// Whether nothing is held anywhere.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let view = self.pending.view();
        view.is_empty()
            && view.bytes() == 0
            && self.retrier.is_empty()
            && self.waiting.is_empty()
            && self.aliases.is_empty()
            && self.carried.is_empty()
            && self.expiring.is_empty()
            && self.later.is_empty()
            && self.ages.is_empty()
    }
}
