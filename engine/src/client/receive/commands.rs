//! Requests of subscriptions, queued until the I/O thread takes them.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::inbox::Inbox;
use crate::client::error::SubscribeError;
use crate::client::report::{Reporter, add};
use crate::client::waiting::oneshot::Sender;
use crate::limits::{CLIENT_ACK_FRAMES_MAX, CLIENT_ACKS_PER_FRAME, CLIENT_ACKS_WAITING_MAX};
use crate::net::waker::Waker;
use crate::wire::control::Verdict;
use crate::wire::id::MessageId;

/// Where the outcome of opening a subscription goes.
pub(super) type Answer = Sender<Result<(), SubscribeError>>;

/// A subscription begins or ends.
pub(super) enum Change {
    Begin { inbox: Arc<Inbox>, answer: Answer },
    End { number: u32 },
}

impl Change {
    fn is_end(&self) -> bool {
        matches!(self, Self::End { .. })
    }
}

/// What a member of a group says of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Ack,
    Nak { delay_ms: u32 },
    Extend,
    Reject { reason: Arc<str> },
}

impl Word {
    pub(super) fn verdict(&self) -> Verdict<'_> {
        match self {
            Self::Ack => Verdict::Ack,
            &Self::Nak { delay_ms } => Verdict::Nak { delay_ms },
            Self::Extend => Verdict::Extend,
            Self::Reject { reason } => Verdict::Reject { reason },
        }
    }

    /// Whether the message is done for its group, so that it is delivered again if this is lost.
    pub(super) fn ends(&self) -> bool {
        matches!(self, Self::Ack | Self::Reject { .. })
    }
}

/// What a member of a group says of messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settle {
    pub(super) number: u32,
    pub(super) word: Word,
    pub(super) ids: Vec<MessageId>,
}

/// Verdicts that are looked through for those that may leave with the first one.
const GATHERED_MAX: usize = 1024;

#[derive(Default)]
struct State {
    changes: VecDeque<Change>,
    numbers: HashSet<u32>,
    last_number: u32,
    credit: BTreeMap<u32, u64>,
    verdicts: VecDeque<(u32, Word, MessageId)>,
    acks_dropped: usize,
    /// Which connection verdicts and credit are for.
    connection: u64,
    /// No verdict is in flight, so the next one must wake the I/O thread.
    idle: bool,
    /// No subscription begins any more.
    stopping: bool,
    closed: bool,
}

/// What waits to be sent for subscriptions. Any thread adds; the I/O thread takes.
pub(in crate::client) struct Commands {
    waker: Waker,
    reporter: Arc<Reporter>,
    state: Mutex<State>,
}

/// What the I/O thread took.
#[derive(Default)]
pub(super) struct Drained {
    pub(super) changes: VecDeque<Change>,
    pub(super) credit: BTreeMap<u32, u64>,
    pub(super) settles: Vec<Settle>,
    /// Acknowledgements dropped since the last time.
    pub(super) acks_dropped: usize,
}

impl Commands {
    pub(in crate::client) fn new(waker: Waker, reporter: Arc<Reporter>) -> Self {
        Self { waker, reporter, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that no subscription has. `None` when the client stops.
    pub(super) fn number(&self) -> Option<u32> {
        let mut state = self.lock();
        if state.stopping {
            return None;
        }
        loop {
            state.last_number = state.last_number.wrapping_add(1);
            let number = state.last_number;
            if state.numbers.insert(number) {
                return Some(number);
            }
        }
    }

    /// Asks for a subscription. When the client stops before it has the answer, the sender goes.
    pub(super) fn begin(&self, inbox: Arc<Inbox>, answer: Answer) {
        self.change(Change::Begin { inbox, answer });
    }

    /// Ends a subscription. Does not wait.
    pub(super) fn end(&self, number: u32) {
        self.change(Change::End { number });
    }

    fn change(&self, change: Change) {
        let mut state = self.lock();
        if !state.closed {
            state.changes.push_back(change);
            self.waker.wake();
        }
    }

    /// A subscription has ended: its number may be another's.
    pub(super) fn free(&self, number: u32) {
        self.lock().numbers.remove(&number);
    }

    /// Grants more bytes, unless the connection that they were taken on has ended.
    pub(super) fn grant(&self, number: u32, bytes: u64, connection: u64) {
        let mut state = self.lock();
        if state.connection == connection && !state.closed {
            *state.credit.entry(number).or_default() += bytes;
            self.waker.wake();
        }
    }

    /// Says what becomes of a message. Never waits: at the bound it is dropped, and the server delivers again.
    pub(super) fn settle(&self, number: u32, word: Word, id: MessageId) {
        let mut state = self.lock();
        if state.closed || state.verdicts.len() >= CLIENT_ACKS_WAITING_MAX {
            if word.ends() {
                match state.closed {
                    // Counted only: nobody is left to tell.
                    true => add(&self.reporter.acks_dropped, 1),
                    false => state.acks_dropped += 1,
                }
            }
            return;
        }
        state.verdicts.push_back((number, word, id));
        let is_full = state.verdicts.len().is_multiple_of(CLIENT_ACKS_PER_FRAME);
        if std::mem::take(&mut state.idle) || is_full {
            self.waker.wake();
        }
    }

    /// What was to be said of a message is void: its delivery is over.
    pub(super) fn void(&self, word: &Word) {
        let mut state = self.lock();
        if word.ends() && !state.closed {
            state.acks_dropped += 1;
            self.waker.wake();
        }
    }

    /// A connection begins: what was to be said on the last one is void.
    pub(super) fn connected(&self, connection: u64) {
        let mut state = self.lock();
        state.connection = connection;
        state.credit.clear();
        let verdicts = std::mem::take(&mut state.verdicts);
        let acks = verdicts.iter().filter(|(_, word, _)| word.ends()).count();
        state.acks_dropped += acks;
    }

    /// Takes what waits. `is_open`: whether the server can be told; `frames`: how many verdicts are in flight.
    pub(super) fn take(&self, is_open: bool, frames: usize) -> Drained {
        let mut state = self.lock();
        let mut taken = Drained {
            changes: std::mem::take(&mut state.changes),
            acks_dropped: std::mem::take(&mut state.acks_dropped),
            ..Drained::default()
        };
        if !is_open {
            return taken;
        }
        taken.credit = std::mem::take(&mut state.credit);
        let mut room = CLIENT_ACK_FRAMES_MAX.saturating_sub(frames);
        // What does not fill a frame gathers while one is on its way.
        while room > 0
            && (frames == 0 || state.verdicts.len() >= CLIENT_ACKS_PER_FRAME)
            && let Some((number, word, _)) = state.verdicts.front().cloned()
        {
            // Those behind others, too: order matters for one message alone, of which one thing is said at a time.
            let same = |(n, w, _): &(u32, Word, MessageId)| *n == number && *w == word;
            let run = state.verdicts.iter().take(CLIENT_ACKS_PER_FRAME).take_while(|it| same(it));
            let run = run.count();
            let mut ids: Vec<_> = state.verdicts.drain(..run).map(|(_, _, id)| id).collect();
            let window = state.verdicts.len().min(GATHERED_MAX);
            let mut others = Vec::new();
            for verdict in state.verdicts.drain(..window) {
                if same(&verdict) && ids.len() < CLIENT_ACKS_PER_FRAME {
                    ids.push(verdict.2);
                } else {
                    others.push(verdict);
                }
            }
            others.into_iter().rev().for_each(|verdict| state.verdicts.push_front(verdict));
            taken.settles.push(Settle { number, word, ids });
            room -= 1;
        }
        state.idle = frames == 0 && taken.settles.is_empty();
        if !state.verdicts.is_empty() && taken.changes.iter().any(Change::is_end) {
            // What was said of its messages is said before a subscription ends: afterwards it would not count.
            let said_of: HashSet<u32> = state.verdicts.iter().map(|(number, ..)| *number).collect();
            for change in std::mem::take(&mut taken.changes) {
                match change {
                    Change::End { number } if said_of.contains(&number) => {
                        state.changes.push_back(change);
                    }
                    _ => taken.changes.push_back(change),
                }
            }
        }
        taken
    }

    /// Whether nothing waits that could be sent.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.changes.is_empty() && state.verdicts.is_empty()
    }

    /// The client stops: no subscription begins any more.
    pub(in crate::client) fn stop(&self) {
        self.lock().stopping = true;
    }

    /// The end: what waits is dropped, and nothing more comes in. Returns how many acknowledgements were dropped
    /// and not told.
    pub(super) fn close(&self) -> usize {
        let mut state = self.lock();
        (state.stopping, state.closed) = (true, true);
        // Whoever waits for an answer hears that there is none.
        state.changes.clear();
        let verdicts = std::mem::take(&mut state.verdicts);
        let acks = verdicts.iter().filter(|(_, word, _)| word.ends()).count();
        acks + std::mem::take(&mut state.acks_dropped)
    }
}

impl std::fmt::Debug for Commands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commands").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::net::waker;

    fn id(sequence: u64) -> MessageId {
        MessageId { publisher: 1, sequence }
    }

    fn ended(taken: &Drained) -> Vec<u32> {
        let end = |change: &Change| match change {
            Change::End { number } => Some(*number),
            Change::Begin { .. } => None,
        };
        taken.changes.iter().filter_map(end).collect()
    }

    #[test]
    fn a_subscription_ends_behind_what_is_said_of_its_messages() {
        let (waker, _wakes) = waker::pair().unwrap();
        let commands = Commands::new(waker, Arc::default());
        for sequence in 0..CLIENT_ACKS_PER_FRAME as u64 + 1 {
            commands.settle(1, Word::Ack, id(sequence));
        }
        commands.end(1);
        commands.end(2);
        // As many are on their way as may be.
        let full = commands.take(true, CLIENT_ACK_FRAMES_MAX);
        assert_eq!((full.settles.len(), ended(&full)), (0, vec![2]));
        // What does not fill a frame waits for the one before it.
        let most = commands.take(true, 1);
        assert_eq!((most.settles.len(), ended(&most)), (1, vec![]));
        assert!(!commands.is_empty());
        let rest = commands.take(true, 0);
        assert_eq!((rest.settles.len(), ended(&rest)), (1, vec![1]));
        assert!(commands.is_empty());
    }

    #[test]
    fn without_a_connection_it_ends_at_once() {
        let (waker, _wakes) = waker::pair().unwrap();
        let commands = Commands::new(waker, Arc::default());
        commands.settle(1, Word::Ack, id(1));
        commands.end(1);
        assert_eq!(ended(&commands.take(false, 0)), [1]);
    }
}
