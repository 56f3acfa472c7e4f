//! The broker's thread: owns the sockets, turns what they bring into events, carries effects out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;

use super::core::Core;
use super::effect::{Dialect, Refusal};
use super::egress::Egress;
use super::ingress::{self, Envelope, Request};
use crate::config::Config;
use crate::journal::{Journal, JournalError, LiveSet, Op, SubmitError};
use crate::limits::{REQUESTS_PER_TURN_MAX, SUBSCRIPTIONS_PER_TURN_MAX};
use crate::message::Message;
use crate::metrics::Counters;
use crate::pending::{PendingMap, PendingView};
use crate::retry::Retrier;
use crate::transport::{
    Context, Part, Ready, Received, Socket, TransportError, WakeReceiver, poll,
};
use crate::wire::frame::Frame;
use crate::wire::id::MessageId;

/// While a queue is full there is nothing to poll for: libzmq does not tell when it has room again.
const STOPPED_PAUSE: Duration = Duration::from_millis(1);

/// Why a server that had started ended otherwise than it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A socket failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The journal failed; messages that were answered OK are stored, later ones were refused.
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

/// The journal has at least this long to close, however late the drain is.
const CLOSE_TIME_MIN: Duration = Duration::from_millis(100);

/// Everything the thread owns.
pub(crate) struct Broker {
    core: Core<Envelope>,
    requests: Socket,
    requests_endpoint: String,
    egress: Egress,
    journal: Option<Journal>,
    /// A group that the journal's queue had no room for.
    unsent_group: Option<(u64, Vec<Op>)>,
    wake: WakeReceiver,
    warned_of_subscriptions: bool,
    stop: Arc<AtomicBool>,
    drain_timeout: Duration,
    drain: Drain,
    /// The last turn left requests unread.
    may_have_requests: bool,
    start: Instant,
    /// Last, so that the sockets are closed before it ends.
    _context: Context,
}

/// The parts that [`Broker::new`] puts together.
pub(crate) struct Parts {
    pub(crate) context: Context,
    pub(crate) requests: Socket,
    pub(crate) requests_endpoint: String,
    pub(crate) publisher: Socket,
    pub(crate) publisher_address: SocketAddr,
    pub(crate) journal: Option<Journal>,
    pub(crate) wake: WakeReceiver,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) counters: Arc<Counters>,
}

/// How far a drain has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    Not,
    Until(Instant),
}

impl Broker {
    pub(crate) fn new(core: CoreState, config: &Config, parts: Parts) -> Self {
        let egress = Egress::new(
            parts.publisher,
            parts.publisher_address,
            config.stall_grace,
            parts.counters,
        );
        Self {
            core: core.0,
            requests: parts.requests,
            requests_endpoint: parts.requests_endpoint,
            egress,
            journal: parts.journal,
            unsent_group: None,
            wake: parts.wake,
            warned_of_subscriptions: false,
            stop: parts.stop,
            drain_timeout: config.drain_timeout,
            drain: Drain::Not,
            may_have_requests: false,
            start: Instant::now(),
            _context: parts.context,
        }
    }

    /// Runs until it is told to stop, then drains.
    pub(crate) fn run(mut self) -> Result<(), RunError> {
        loop {
            if let Some(deadline) = self.turn(None)? {
                return self.end(deadline);
            }
        }
    }

    /// Waits until there is something to do, so long at most, and does it. Once all is done that was
    /// left when it was told to stop, returns when the end must be over.
    pub(crate) fn turn(
        &mut self,
        wait_max: Option<Duration>,
    ) -> Result<Option<Instant>, TransportError> {
        self.wait(wait_max)?;
        let now = Instant::now();
        if self.drain == Drain::Not && self.stop.load(Ordering::Acquire) {
            self.drain = Drain::Until(now + self.drain_timeout);
            self.begin_drain();
        }
        self.read_subscriptions(now - self.start)?;
        self.hear_journal();
        self.flush(now)?;
        self.may_have_requests = false;
        if self.may_read() {
            self.may_have_requests = self.read_requests(now)?;
        }
        if self.may_read() {
            self.core.resend_due(now - self.start);
        }
        self.write_journal();
        self.flush(now)?;
        Ok(match self.drain {
            Drain::Until(deadline)
                if now >= deadline || (!self.may_have_requests && self.is_drained()) =>
            {
                Some(deadline)
            }
            _ => None,
        })
    }

    fn wait(&mut self, wait_max: Option<Duration>) -> Result<(), TransportError> {
        let elapsed = self.start.elapsed();
        let timeout = if self.egress.is_stopped() || self.unsent_group.is_some() {
            Some(STOPPED_PAUSE)
        } else if self.may_have_requests {
            Some(Duration::ZERO)
        } else {
            let due = self.core.next_due().map(|due| due.saturating_sub(elapsed));
            match self.drain {
                Drain::Not => due,
                // Nobody wakes the thread at the deadline.
                Drain::Until(_) => Some(due.unwrap_or(STOPPED_PAUSE).min(STOPPED_PAUSE)),
            }
        };
        let timeout = timeout.into_iter().chain(wait_max).min();
        if self.may_read() {
            let sockets = [&self.requests, self.egress.publisher_ref()];
            poll(&sockets, &[&self.wake], &mut [Ready::default(); 3], timeout)?;
        } else {
            // Requests wait: polling their socket would return at once.
            let sockets = [self.egress.publisher_ref()];
            poll(&sockets, &[&self.wake], &mut [Ready::default(); 2], timeout)?;
        }
        self.wake.clear();
        Ok(())
    }

    /// Whether there is room for what another request or resend would cause.
    fn may_read(&self) -> bool {
        !self.egress.is_stopped() && self.unsent_group.is_none() && self.core.has_room()
    }

    fn read_subscriptions(&mut self, now: Duration) -> Result<(), TransportError> {
        if self.egress.is_stopped() {
            // Each may cause a confirmation to be published.
            return Ok(());
        }
        let mut part = Part::empty();
        for _ in 0..SUBSCRIPTIONS_PER_TURN_MAX {
            if self.egress.publisher().receive(&mut part)? == Received::Nothing {
                break;
            }
            match part.as_slice().split_first() {
                Some((1, prefix)) => {
                    let noted = self.core.subscribed(prefix);
                    self.warn_of_subscriptions(noted);
                }
                Some((0, prefix)) => self.core.cancelled(prefix, now),
                // A message from a subscriber: nothing says that it means anything.
                _ => {}
            }
        }
        Ok(())
    }

    fn warn_of_subscriptions(&mut self, noted: bool) {
        if !noted && !self.warned_of_subscriptions {
            self.warned_of_subscriptions = true;
            tracing::warn!(
                "too many subscriptions to note more: messages of the other format no longer reach \
                 all new subscribers"
            );
        }
    }

    fn read_requests(&mut self, now: Instant) -> Result<bool, TransportError> {
        let time = now - self.start;
        for _ in 0..REQUESTS_PER_TURN_MAX {
            let Some(Request { from, body }) = ingress::read(&mut self.requests)? else {
                return Ok(false);
            };
            match body {
                Ok(body) => {
                    if tracing::enabled!(tracing::Level::DEBUG) {
                        log_request(body.as_slice());
                    }
                    self.core.request(from, body.into_bytes(), time);
                }
                Err(wrong) => self.core.refuse(from, Refusal::Envelope(wrong), Dialect::V1),
            }
            self.flush(now)?;
            if !self.may_read() {
                break;
            }
        }
        Ok(true)
    }

    fn flush(&mut self, now: Instant) -> Result<(), TransportError> {
        self.egress.flush(&mut self.core.out.queue, &mut self.requests, now)
    }

    fn write_journal(&mut self) {
        let Some(journal) = &self.journal else { return };
        let Some((group, ops)) = self.unsent_group.take().or_else(|| self.core.take_group()) else {
            return;
        };
        match journal.submit(ops) {
            Ok(ticket) => debug_assert_eq!(ticket, group),
            Err(SubmitError::Full(ops)) => self.unsent_group = Some((group, ops)),
            // hear_journal learns of the failure in the next turn. A request is far smaller than the
            // largest record.
            Err(SubmitError::Failed(_) | SubmitError::TooLarge(_)) => {}
        }
    }

    fn hear_journal(&mut self) {
        let Some(journal) = &self.journal else { return };
        // In this order, so that everything that became durable before a failure counts.
        let failure = journal.failure();
        self.core.durable(journal.durable());
        if self.core.stores()
            && let Some(error) = failure
        {
            tracing::error!(
                "the journal failed, acknowledged messages are refused from now on: {error}"
            );
            self.core.journal_failed(&error.to_string());
            self.unsent_group = None;
        }
    }

    fn begin_drain(&mut self) {
        tracing::info!("ending: new messages are refused, what was taken is finished");
        self.core.drain();
        // A failure leaves the socket listening, which does no harm: messages are refused.
        let _ = self.requests.unbind(&self.requests_endpoint);
    }

    fn is_drained(&self) -> bool {
        self.core.parked.is_empty() && self.core.out.queue.is_empty() && self.may_read()
    }

    /// Closes the journal, which syncs it; a disk that hangs must not keep the process from ending.
    fn end(self, deadline: Instant) -> Result<(), RunError> {
        let Some(journal) = self.journal else { return Ok(()) };
        let (closed, wait) = bounded(1);
        std::thread::spawn(move || closed.send(journal.close()));
        let left = deadline.saturating_duration_since(Instant::now()).max(CLOSE_TIME_MIN);
        match wait.recv_timeout(left) {
            Ok(result) => Ok(result?),
            Err(_) => Err(RunError::DrainTimeout),
        }
    }
}

fn log_request(body: &[u8]) {
    match Frame::parse(body) {
        Ok(Frame::V1 { name, pickle }) => {
            tracing::debug!(name, bytes = pickle.len(), "request in the original format");
        }
        Ok(Frame::V2 { name, body }) => tracing::debug!(name, bytes = body.len(), "request"),
        // The refusal is logged when it is sent.
        Err(_) => {}
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
pub(crate) struct CoreState(pub(super) Core<Envelope>);

impl CoreState {
    pub(crate) fn new(config: &Config, pending: PendingMap, counters: Arc<Counters>) -> Self {
        let retrier = Retrier::new(config.retry_interval, Duration::ZERO);
        Self(Core::new(config.into(), pending, retrier, counters))
    }

    pub(crate) fn make_room(&mut self, messages: usize) {
        self.0.make_room(messages);
    }

    pub(crate) fn restore(&mut self, message: Message) {
        self.0.restore(message);
    }

    pub(crate) fn restore_seen(&mut self, publisher: u64, first: u64, last: u64) {
        self.0.restore_seen(publisher, first, last);
    }
}
