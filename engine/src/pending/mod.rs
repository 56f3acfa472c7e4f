//! The lock-free map of messages that nobody has acknowledged yet.
//!
//! One thread, the broker's, holds the [`PendingMap`] and is the only one that changes it. Any other
//! thread may hold a [`PendingView`] of it, which looks up and counts.
//!
//! Underneath is `papaya`, whose lookups never wait, whoever else is at work. Its changes can wait in
//! two places only, both in resizing: when two threads allocate the next table, and when two meet over
//! an entry that is being copied there. With one thread that changes the map neither can happen, and
//! this is why only [`PendingMap`] has the methods that do, walking through all entries included
//! (which finishes a resize first). `docs/decisions/0001-pending-map.md` has the measurements
//! that chose it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

use arcstr::ArcStr;
use papaya::{Guard, HashMap};
use seize::Collector;

use crate::hash::IdHashes;
use crate::message::{Body, Format, Message};
use crate::wire::id::MessageId;

#[cfg(test)]
mod tests;

/// Messages that the map has room for from the start, and below which its table never shrinks. A
/// small table has to be replaced often, as each removal leaves a used-up slot behind.
const CAPACITY_MIN: usize = 8192;

/// Removed messages that are freed together. Each batch costs a system call (`membarrier`), so that
/// lookups need no fence; papaya's default is 32.
const REMOVED_MESSAGES_MAX: usize = 512;

/// Insertions after which a table that was replaced meanwhile is freed: it waits in a batch that only
/// removals would fill.
const INSERTIONS_MAX: usize = 8192;

/// Registers the process for `membarrier`, which frees removed messages without a fence in each reader. With other
/// threads already there, the system waits for every processor first: 10 to 20 ms.
pub(crate) fn prepare() {
    drop(Collector::new());
}

/// Bytes of removed bodies after which they are freed without waiting for a whole batch.
const REMOVED_BYTES_MAX: usize = 256 * 1024;

/// Most that may be pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most messages.
    pub messages: usize,
    /// Most bytes of their bodies.
    pub bytes: usize,
}

/// The map would grow beyond one of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// There would be too many messages.
    #[error(
        "pending limit reached: {waiting} of {limit} messages unacknowledged; this request adds {more}: send again when \
         subscribers have caught up, or raise --max-pending-messages"
    )]
    Messages {
        /// How many were to be added.
        more: usize,
        /// The limit.
        limit: usize,
        /// How many there are.
        waiting: usize,
    },
    /// The messages would have too many bytes.
    #[error(
        "pending limit reached: {waiting} of {limit} bytes of messages unacknowledged; this request adds {more}: send again \
         when subscribers have caught up, or raise --max-pending-bytes"
    )]
    Bytes {
        /// How many were to be added.
        more: usize,
        /// The limit.
        limit: usize,
        /// How many there are.
        waiting: usize,
    },
}

/// A pending message without its id, which the map finds it by.
#[derive(Debug)]
pub struct Entry {
    body: Body,
    name: ArcStr,
    token: AtomicU32,
    stretch: u16,
    format: Format,
    flags: AtomicU8,
}

// A byte more costs eight for each message.
const _: () = assert!(size_of::<Entry>() == 32);

const SENT: u8 = 1;
const TIMED: u8 = 2;

impl Entry {
    /// An entry with a number for its owner.
    pub const fn new(name: ArcStr, format: Format, body: Body, token: u32) -> Self {
        let (token, flags) = (AtomicU32::new(token), AtomicU8::new(0));
        Self { body, name, token, stretch: 0, format, flags }
    }

    /// With a number for the time at which it came.
    #[must_use]
    pub fn came_in(self, stretch: u16) -> Self {
        Self { stretch, ..self }
    }

    /// The number for the time at which it came.
    pub const fn stretch(&self) -> u16 {
        self.stretch
    }

    /// The name the message was published under.
    pub const fn name(&self) -> &ArcStr {
        &self.name
    }

    /// See [`Message::body`].
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Which wire format the body is in.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The number that the message's owner gave it: where it is scheduled to be sent again.
    pub fn token(&self) -> u32 {
        self.token.load(Ordering::Relaxed)
    }

    /// Replaces the number. For the thread that owns the map; others have no use for it.
    pub fn set_token(&self, token: u32) {
        self.token.store(token, Ordering::Relaxed);
    }

    /// Whether the message's owner noted that it was sent.
    pub fn is_sent(&self) -> bool {
        self.has(SENT)
    }

    /// Notes that it was sent. As [`Self::set_token`].
    pub fn set_sent(&self) {
        self.set(SENT);
    }

    /// Whether the message's owner noted that something becomes of it at a time.
    pub fn is_timed(&self) -> bool {
        self.has(TIMED)
    }

    /// Notes that something becomes of it at a time. As [`Self::set_token`].
    pub fn set_timed(&self) {
        self.set(TIMED);
    }

    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    fn set(&self, flag: u8) {
        // One thread writes, so nothing is lost between the load and the store.
        self.flags.store(self.flags.load(Ordering::Relaxed) | flag, Ordering::Relaxed);
    }

    /// The whole message again. Copies a small body and shares a large one.
    pub fn message(&self, id: MessageId) -> Message {
        Message { id, name: self.name.clone(), format: self.format, body: self.body.to_bytes() }
    }
}

/// What is left of an entry once it is removed: its memory is freed on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The entry's number, see [`Entry::token`].
    pub token: u32,
    /// Bytes of its body.
    pub bytes: usize,
    /// See [`Entry::is_timed`].
    pub is_timed: bool,
    /// See [`Entry::stretch`].
    pub stretch: u16,
}

struct Shared {
    map: HashMap<MessageId, Entry, IdHashes>,
    /// Both counts are written by the owner alone.
    len: AtomicUsize,
    bytes: AtomicUsize,
}

/// The map, in the hands of the one thread that changes it.
pub struct PendingMap {
    view: PendingView,
    limits: Limits,
    /// Bytes of bodies removed and perhaps not freed yet.
    removed_bytes: usize,
    /// Insertions since replaced tables were last freed.
    insertions: usize,
}

/// Looks into the map from any thread. Cheap to clone.
#[derive(Clone)]
pub struct PendingView {
    shared: Arc<Shared>,
}

impl PendingMap {
    /// An empty map.
    pub fn new(limits: Limits) -> Self {
        let map = HashMap::builder()
            .capacity(CAPACITY_MIN)
            .hasher(IdHashes::default())
            .collector(Collector::new().batch_size(REMOVED_MESSAGES_MAX))
            .build();
        let shared = Shared { map, len: AtomicUsize::new(0), bytes: AtomicUsize::new(0) };
        let view = PendingView { shared: Arc::new(shared) };
        Self { view, limits, removed_bytes: 0, insertions: 0 }
    }

    /// The view that other threads have, for looking up.
    pub const fn view(&self) -> &PendingView {
        &self.view
    }

    /// The limits that count.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Other limits count from now on. What is there stays.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether there is room for this many messages with this many bytes of bodies between them. As
    /// nobody else inserts, what there is room for now there is room for until the next insertion.
    ///
    /// # Errors
    /// [`Full`] with the limit that stands against it.
    pub fn check(&self, messages: usize, bytes: usize) -> Result<(), Full> {
        let Limits { messages: messages_max, bytes: bytes_max } = self.limits;
        if messages > messages_max.saturating_sub(self.view.len()) {
            let waiting = self.view.len();
            Err(Full::Messages { more: messages, limit: messages_max, waiting })
        } else if bytes > bytes_max.saturating_sub(self.view.bytes()) {
            Err(Full::Bytes { more: bytes, limit: bytes_max, waiting: self.view.bytes() })
        } else {
            Ok(())
        }
    }

    /// Makes room for this many messages more, so that inserting them replaces no table.
    pub fn reserve(&mut self, messages: usize) {
        self.view.shared.map.pin().reserve(messages);
    }

    /// Inserts a message. `false`, and nothing changes, when its id is there already.
    ///
    /// The limits are [`Self::check`]'s business: what recovery finds on disk must go in, even when
    /// the limits have been lowered since.
    pub fn insert(&mut self, id: MessageId, entry: Entry) -> bool {
        let bytes = entry.body.len();
        let shared = &*self.view.shared;
        let guard = shared.map.guard();
        if shared.map.try_insert(id, entry, &guard).is_err() {
            return false;
        }
        set(&shared.len, |len| len + 1);
        set(&shared.bytes, |all| all + bytes);
        self.insertions += 1;
        if self.insertions >= INSERTIONS_MAX {
            self.insertions = 0;
            guard.flush();
        }
        true
    }

    /// Removes a message. Its memory is freed soon: when 512 messages or 256 KiB of bodies have been
    /// removed, and no view that was looking at that moment still is.
    pub fn remove(&mut self, id: &MessageId) -> Option<Removed> {
        let shared = &*self.view.shared;
        let guard = shared.map.guard();
        let entry = shared.map.remove(id, &guard)?;
        let (token, bytes, is_timed) = (entry.token(), entry.body.len(), entry.is_timed());
        let removed = Removed { token, bytes, is_timed, stretch: entry.stretch };
        set(&shared.len, |len| len - 1);
        set(&shared.bytes, |all| all - removed.bytes);
        self.removed_bytes += removed.bytes;
        if self.removed_bytes >= REMOVED_BYTES_MAX {
            self.removed_bytes = 0;
            guard.flush();
        }
        Some(removed)
    }

    /// Calls `f` with every message, in no order.
    pub fn for_each(&self, mut f: impl FnMut(&MessageId, &Entry)) {
        for (id, entry) in &self.view.shared.map.pin() {
            f(id, entry);
        }
    }
}

/// Changes a count that only this thread writes: no read-modify-write instruction is needed.
fn set(count: &AtomicUsize, f: impl FnOnce(usize) -> usize) {
    count.store(f(count.load(Ordering::Relaxed)), Ordering::Relaxed);
}

impl PendingView {
    /// Messages in the map. Seen from another thread it may be a moment old.
    pub fn len(&self) -> usize {
        self.shared.len.load(Ordering::Relaxed)
    }

    /// Whether the map is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the bodies in the map. Seen from another thread it may be a moment old.
    pub fn bytes(&self) -> usize {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// Whether a message is in the map.
    pub fn contains(&self, id: &MessageId) -> bool {
        self.shared.map.pin().contains_key(id)
    }

    /// Calls `f` with a message, if it is in the map, and returns what `f` did. Removed messages are
    /// not freed meanwhile, so `f` should be short.
    pub fn with<R>(&self, id: &MessageId, f: impl FnOnce(&Entry) -> R) -> Option<R> {
        self.shared.map.pin().get(id).map(f)
    }

    /// A message of the map, which lives on after a removal.
    pub fn get(&self, id: &MessageId) -> Option<Message> {
        self.with(id, |entry| entry.message(*id))
    }
}

impl fmt::Debug for PendingMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingMap")
            .field("len", &self.view.len())
            .field("bytes", &self.view.bytes())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for PendingView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingView")
            .field("len", &self.len())
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}
