//! The broker's thread: turns what connections bring into events for the core, and carries its effects out.
//!
//! One turn waits until something is ready, reads a bounded part of it, and then writes: each connection
//! gets all that the turn has for it in one call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::admission::Admission;
use super::audit::Audit;
use super::backlog::Backlog;
use super::checker::Checker;
use super::core::{Asker, Core};
use super::drain::Drain;
use super::frames::Frames;
use super::hold_time::HoldTime;
use super::live::{Asked, Settings};
use super::log_rate::LogRate;
use super::logins::Logins;
use super::peers::Peers;
use super::permits::Permits;
use super::readable::Readable;
use super::restore::Restoring;
use super::subscribers::ConnectionId;
use super::timers::Timers;
use crate::config::Config;
use crate::inspect;
use crate::journal::{Journal, JournalError, LiveSet, Op, RecoveredGroups, SubmitError};
use crate::limits::{QUEUED_BYTES_EACH_PER_TURN_MAX, QUEUED_BYTES_PER_TURN_MAX};
use crate::message::{DeadLetter, Message, MessageKey};
use crate::metrics::Counters;
use crate::net::socket::{Network, Ready};
use crate::pending::{Limits, PendingView};
use crate::wire::id::MessageId;
use crate::zmtp::envelope::Envelope;

/// While the journal takes nothing, or the end has begun, the thread looks again after this time: nobody wakes
/// it.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Why a server that had started ended otherwise than it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The system could not wait for connections.
    #[error("cannot wait for connections: {0}")]
    Network(#[from] io::Error),
    /// The journal failed; messages that were answered OK are stored, later ones were rejected.
    #[error("the journal failed while the server ended: {0}")]
    Journal(#[from] JournalError),
    /// The journal could not be synced before the drain timeout. What was answered OK is as safe as the
    /// fsync policy promises.
    #[error("the journal was not synced within the drain timeout: is the disk hanging?")]
    DrainTimeout,
    /// The broker's thread panicked, which is a defect of this program.
    #[error("the broker's thread panicked: please report this with what it printed")]
    Panicked,
}

/// Who asked, and what the answer begins with.
#[derive(Debug)]
pub(super) struct Requester {
    pub(super) connection: ConnectionId,
    pub(super) envelope: Envelope,
}

impl Asker for Requester {
    fn connection(&self) -> ConnectionId {
        self.connection
    }
}

/// Everything the thread owns.
pub(crate) struct Broker<N: Network> {
    pub(super) core: Core<Requester>,
    pub(super) network: N,
    pub(super) peers: Peers<N::Stream>,
    pub(super) frames: Frames,
    pub(super) readable: Readable,
    /// Connections that have something to be written.
    pub(super) dirty: Vec<ConnectionId>,
    /// Connections whose next frame is large, and waits until those that are sealed for others have left.
    pub(super) awaiting_room: Vec<ConnectionId>,
    /// Publishers that wait until less is queued for all subscribers together.
    pub(super) held: Vec<ConnectionId>,
    pub(super) hold_time: HoldTime,
    pub(super) checker: Checker,
    pub(super) scratch: Vec<u8>,
    pub(super) settings: Settings,
    pub(super) admission: Admission,
    pub(super) logins: Logins,
    pub(super) audit: Audit,
    pub(super) timers: Timers,
    /// Bytes queued for subscribers in this turn, each frame counted for each of them.
    pub(super) turn_bytes: usize,
    /// The most subscribers that a frame of this turn is for.
    pub(super) turn_fan_out: usize,
    /// Bytes of requests that are not whole, and of answers that wait.
    pub(super) partial_bytes: usize,
    /// Bytes of what connections sent while they were held back.
    pub(super) aside_bytes: usize,
    pub(super) reply_bytes: usize,
    pub(super) counters: Arc<Counters>,
    pub(super) refusal_log: LogRate,
    pub(super) close_log: LogRate,
    pub(super) slow_log: LogRate,
    pub(super) given_up_log: LogRate,
    pub(super) letter_log: LogRate,
    /// How many messages that stay in their groups the log has told.
    pub(super) put_off_told: u64,
    pub(super) dropped_log: LogRate,
    /// How many messages that subscriptions lost the log has told.
    pub(super) dropped_told: u64,
    ready: Vec<Ready>,
    pub(super) journal: Option<Journal>,
    /// Questions about all this.
    pub(super) questions: inspect::Asked,
    /// A group that the journal's queue had no room for.
    unsent_group: Option<(u64, Vec<Op>)>,
    /// Work that takes turns is left.
    has_work: bool,
    stop: Arc<AtomicBool>,
    pub(super) asked: Arc<Asked>,
    /// How many of the questions that were asked it has seen.
    pub(super) asked_seen: u64,
    /// Since it was told to stop.
    pub(super) drain: Option<Drain>,
}

impl<N: Network> Broker<N> {
    pub(crate) fn new(
        core: CoreState,
        config: &Config,
        network: N,
        checker: Checker,
        journal: Option<Journal>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let counters = Arc::clone(&core.0.counters);
        let second = Duration::from_secs(1);
        let logins = Logins::new(checker.waker());
        Self {
            core: core.0,
            network,
            peers: Peers::default(),
            frames: Frames::default(),
            readable: Readable::default(),
            dirty: Vec::new(),
            awaiting_room: Vec::new(),
            held: Vec::new(),
            hold_time: HoldTime::default(),
            checker,
            scratch: Vec::new(),
            settings: config.into(),
            admission: Admission::new(config),
            logins,
            audit: Audit::default(),
            timers: Timers::default(),
            turn_bytes: 0,
            turn_fan_out: 0,
            partial_bytes: 0,
            aside_bytes: 0,
            reply_bytes: 0,
            counters,
            refusal_log: LogRate::new(second),
            close_log: LogRate::new(second),
            slow_log: LogRate::new(10 * second),
            given_up_log: LogRate::new(10 * second),
            letter_log: LogRate::new(10 * second),
            put_off_told: 0,
            dropped_log: LogRate::new(10 * second),
            dropped_told: 0,
            ready: Vec::new(),
            journal,
            questions: inspect::Asked::default(),
            unsent_group: None,
            has_work: false,
            stop,
            asked: Arc::default(),
            asked_seen: 0,
            drain: None,
        }
    }

    /// Runs until it is asked to stop, then drains.
    pub(crate) fn run(mut self) -> Result<(), RunError> {
        loop {
            if let Some(drain) = self.turn(None)? {
                self.audit.tell(Duration::MAX);
                return self.end(drain);
            }
        }
    }

    /// The network that it has its connections from.
    pub(crate) fn network(&mut self) -> &mut N {
        &mut self.network
    }

    /// Whether it has nothing to read, to write, or to go on with.
    #[cfg(feature = "internals")]
    pub(crate) fn is_idle(&self) -> bool {
        self.readable.is_empty()
            && self.dirty.is_empty()
            && self.checker.is_idle()
            && !self.has_work
    }

    /// As if a connection had said hello with this publisher's secret.
    #[cfg(feature = "internals")]
    pub(crate) fn prove(&mut self, connection: ConnectionId, publisher: u64) {
        self.core.prove(connection, publisher);
    }

    /// Waits until there is something to do, so long at most, and does a part of it. Once all is done that
    /// was left when it was told to stop, or the time for that is over, returns how that time was shared out.
    pub(crate) fn turn(&mut self, wait_max: Option<Duration>) -> Result<Option<Drain>, RunError> {
        self.wait(wait_max)?;
        let now = self.network.now();
        if self.drain.is_none() && self.stop.load(Ordering::Acquire) {
            self.begin_drain(now);
        }
        (self.turn_bytes, self.turn_fan_out) = (0, 0);
        self.frames.sealed.begin_turn(self.settings.unsent_bytes_max / 2);
        self.core.set_clock(now, self.network.unix_ns());
        self.hear_asked();
        self.hear_others(now);
        self.hear_question(now);
        self.accept(now);
        self.hear_journal(now);
        self.carry_out(now);
        self.hear_checks(now);
        self.read_some(now);
        self.has_work = self.core.turn(now);
        if self.may_read() && !self.is_full() {
            self.has_work |= self.core.serve(now);
            self.core.resend_due(now);
        }
        self.carry_out(now);
        self.write_journal();
        self.write_some(now);
        self.look_at_deadlines(now);
        self.audit.tell(now);
        self.count(now);
        let began = now;
        let now = self.network.now();
        if self.core.subscribers.is_counting() {
            self.counters.traffic.turns.add(now.saturating_sub(began));
        }
        Ok(self.drain.filter(|drain| {
            let reading = !self.readable.is_empty() && now < drain.refused_until;
            now >= drain.finished_by || (!reading && self.is_drained())
        }))
    }

    fn wait(&mut self, wait_max: Option<Duration>) -> io::Result<()> {
        let now = self.network.now();
        let may_read = self.may_read();
        let reading = self.readable.iter().any(|id| {
            self.peers
                .get_mut(id)
                .is_some_and(|peer| peer.may_be_read() && (may_read || peer.is_subscriber()))
        });
        let due = if reading
            || self.has_work
            || self.core.has_stored()
            || (may_read && self.checker.is_ready() && !self.is_full())
            || !self.dirty.is_empty()
            || self.admission.is_ready(now)
            || self.questions.is_there()
        {
            Some(Duration::ZERO)
        } else if self.unsent_group.is_some() {
            Some(LOOK_AGAIN)
        } else if !may_read || self.is_full() {
            // The journal, or whoever takes what is queued, wakes the thread.
            None
        } else {
            self.core.next_due().map(|due| due.saturating_sub(now))
        };
        let timers = [self.timers.next_due(), self.admission.next_due(), self.audit.next_due()];
        let timers = timers.into_iter().flatten().map(|due| due.saturating_sub(now));
        let end = self.drain.map(|_| LOOK_AGAIN);
        self.hear_network([due, end, wait_max].into_iter().flatten().chain(timers).min())
    }

    /// Waits so long at most, and notes what is ready.
    pub(super) fn hear_network(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.network.wait(timeout, &mut ready)?;
        for event in ready.drain(..) {
            match event {
                Ready::Listener(port) => self.admission.ready(port),
                Ready::Woken => {}
                Ready::Stream { key, readable, writable, ended } => {
                    let Some(peer) = self.peers.get_mut(key) else { continue };
                    peer.is_readable |= readable;
                    peer.has_ended |= ended;
                    if writable {
                        peer.output.unblock();
                        if !peer.output.is_empty() {
                            peer.mark_dirty(&mut self.dirty);
                        }
                    }
                    self.list(key);
                }
            }
        }
        self.ready = ready;
        Ok(())
    }

    /// Whether there is room for what another request or resend would cause.
    pub(super) fn may_read(&self) -> bool {
        self.unsent_group.is_none() && self.core.has_room()
    }

    /// Whether as much is queued for all subscribers together as may be.
    pub(super) fn is_full(&self) -> bool {
        self.frames.bytes() >= self.settings.unsent_bytes_max
    }

    /// Whether enough is queued for subscribers in this turn to be written.
    pub(super) fn turn_is_full(&self) -> bool {
        let each = self.turn_fan_out * QUEUED_BYTES_EACH_PER_TURN_MAX;
        let each = each.min(self.settings.unsent_bytes_max / 4);
        self.turn_bytes >= QUEUED_BYTES_PER_TURN_MAX.max(each)
    }

    fn write_journal(&mut self) {
        let Some(journal) = &self.journal else { return };
        let Some((group, ops)) = self.unsent_group.take().or_else(|| self.core.take_group()) else {
            return;
        };
        match journal.submit(ops) {
            Ok(ticket) => debug_assert_eq!(ticket, group),
            Err(SubmitError::Full(ops)) => self.unsent_group = Some((group, ops)),
            // hear_journal learns of the failure in the next turn, and leaves what can still be stored.
            Err(SubmitError::Failed(ops)) if self.core.stores() => {
                self.unsent_group = Some((group, ops));
            }
            // A request is far smaller than the largest record.
            Err(SubmitError::Failed(_) | SubmitError::TooLarge(_)) => {}
        }
    }

    fn hear_journal(&mut self, now: Duration) {
        let Some(journal) = &self.journal else { return };
        // In this order, so that everything that became durable before a failure counts.
        let failure = journal.failure();
        let takes_settlements = journal.takes_settlements();
        self.core.durable(journal.durable());
        // What is stored at the time of a failure is released before the rest is refused.
        while (failure.is_some() || !self.turn_is_full()) && self.core.release_stored() {
            self.carry_out(now);
        }
        self.core.set_takes_settlements(takes_settlements);
        if self.core.stores()
            && let Some(error) = failure
        {
            tracing::error!(
                "the journal failed; messages with ack=1 are rejected from now on: {error}"
            );
            self.core.journal_failed(&error.to_string(), takes_settlements);
            // The messages of that group were refused just now.
            if let Some((_, ops)) = &mut self.unsent_group {
                ops.retain(|op| takes_settlements && matches!(op, Op::Settle(_)));
            }
        }
    }

    /// From now on nobody may connect, and messages are rejected.
    fn begin_drain(&mut self, now: Duration) {
        tracing::info!("ending: new messages are rejected, accepted ones are finished");
        self.network.stop_listening();
        self.admission.stop();
        self.core.drain();
        // Nothing is published any more that they would have to wait for: they are read, and told.
        let held = self.peers.iter().filter(|peer| peer.is_held).map(|peer| peer.id).collect();
        self.release(held);
        self.refuse_waiting_checks();
        self.drain = Some(Drain::begin(now, self.settings.drain_timeout));
    }

    fn is_drained(&self) -> bool {
        let is_answered = self.core.parked.is_empty() && self.core.checking.is_empty();
        is_answered
            && self.aside_bytes == 0
            && !self.has_work
            && self.may_read()
            && self.frames.bytes() == 0
    }

    /// Closes a connection and lets go of all that it has.
    pub(super) fn close(&mut self, id: ConnectionId) {
        let Some(mut peer) = self.peers.remove(id) else { return };
        self.partial_bytes -= peer.booked_bytes;
        self.aside_bytes -= peer.held_events.bytes();
        self.reply_bytes -= peer.booked_reply_bytes;
        peer.output.clear(&mut self.frames);
        if let Some(check) = peer.whole.take() {
            self.core.forget_check(check.number);
        }
        if peer.is_held {
            self.hold_time.end(self.network.now());
        }
        self.timers.cancel(&peer);
        self.logins.closed(id);
        self.admission.left(&peer);
        self.core.disconnected(id);
        self.has_work = true;
        self.release(std::mem::take(&mut peer.holds));
    }

    /// Lets publishers go on that waited for a subscriber.
    pub(super) fn release(&mut self, holds: Vec<ConnectionId>) {
        for id in holds {
            if let Some(peer) = self.peers.get_mut(id) {
                if std::mem::replace(&mut peer.is_held, false) {
                    self.hold_time.end(self.network.now());
                }
                self.list(id);
            }
        }
    }
}

/// What the journal's compaction may ask, from its own thread: a message is needed as long as it is
/// pending.
pub(crate) struct Live(pub(crate) PendingView);

impl LiveSet for Live {
    fn is_live(&self, id: &MessageId) -> bool {
        self.0.contains(id)
    }
}

/// The core before its thread runs, for whoever fills it from the journal.
pub(crate) struct CoreState(Core<Requester>);

impl CoreState {
    pub(crate) fn new(config: &Config, counters: Arc<Counters>) -> Self {
        let limits =
            Limits { messages: config.max_pending_messages, bytes: config.max_pending_bytes };
        let backlog = Backlog::new(limits, config.retry_interval);
        let mut core = Core::new(config.into(), backlog, counters);
        core.permits = config.access.clone().map(|access| Permits::new(Arc::new(access)));
        Self(core)
    }

    /// What other threads may see of the unacknowledged messages.
    pub(crate) fn pending(&self) -> PendingView {
        self.0.backlog.view().clone()
    }

    pub(crate) fn make_room(&mut self, messages: usize) {
        self.0.make_room(messages);
    }

    pub(crate) fn restore_groups(
        &mut self,
        groups: RecoveredGroups,
        letters: &[DeadLetter],
    ) -> Restoring {
        self.0.restore_groups(groups, letters)
    }

    pub(crate) fn restore(&mut self, message: Message, restoring: &mut Restoring) {
        self.0.restore_for(message, restoring);
    }

    pub(crate) fn restore_letter(&mut self, letter: DeadLetter) {
        self.0.restore_letter(letter);
    }

    pub(crate) fn restore_retained(&mut self, message: Message) {
        self.0.restore_retained(message);
    }

    pub(crate) fn restore_key(&mut self, key: &MessageKey) {
        self.0.restore_key(key);
    }

    pub(crate) fn restore_seen(&mut self, publisher: u64, first: u64, last: u64) {
        self.0.restore_seen(publisher, first, last);
    }
}
