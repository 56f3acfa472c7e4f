//! The broker's thread: owns the sockets, turns what they bring into events, carries effects out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam::channel::bounded;

use super::core::Core;
use super::drain::Drain;
use super::effect::{Dialect, Refusal};
use super::egress::{Egress, Terms};
use super::ingress::{self, Envelope, Request};
use crate::config::Config;
use crate::journal::{Journal, JournalError, LiveSet, Op, SubmitError};
use crate::limits::{REQUESTS_PER_TURN_MAX, SUBSCRIPTIONS_PER_TURN_MAX};
use crate::message::Message;
use crate::metrics::Counters;
use crate::net::waker::WakeReceiver;
use crate::pending::{PendingMap, PendingView};
use crate::retry::Retrier;
use crate::transport::connections::ConnectionWatch;
use crate::transport::part::Outstanding;
use crate::transport::{Context, Part, Ready, Received, Socket, TransportError, poll};
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

/// Everything the thread owns.
pub(crate) struct Broker {
    core: Core<Envelope>,
    requests: Socket,
    egress: Egress,
    journal: Option<Journal>,
    /// A group that the journal's queue had no room for.
    unsent_group: Option<(u64, Vec<Op>)>,
    wake: WakeReceiver,
    warned_of_subscriptions: bool,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    drain_timeout: Duration,
    /// Since it was told to stop.
    drain: Option<Drain>,
    /// The last turn left requests unread.
    may_have_requests: bool,
    start: Instant,
    /// After the sockets: it ends when they are closed.
    connections: Option<ConnectionWatch>,
    /// Last: it ends when everything made from it is closed.
    context: Context,
}

/// The parts that [`Broker::new`] puts together.
pub(crate) struct Parts {
    pub(crate) requests: Socket,
    pub(crate) publisher: Socket,
    pub(crate) publisher_address: SocketAddr,
    pub(crate) outstanding: Outstanding,
    pub(crate) journal: Option<Journal>,
    pub(crate) wake: WakeReceiver,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) counters: Arc<Counters>,
    /// After the sockets.
    pub(crate) connections: Option<ConnectionWatch>,
    /// Last.
    pub(crate) context: Context,
}

impl Broker {
    pub(crate) fn new(core: CoreState, config: &Config, parts: Parts) -> Self {
        let terms = Terms {
            publisher_address: parts.publisher_address,
            grace: config.stall_grace,
            unsent_bytes_max: config.max_unsent_bytes,
        };
        let counters = Arc::clone(&parts.counters);
        let egress = Egress::new(parts.publisher, terms, parts.outstanding, counters);
        Self {
            core: core.0,
            requests: parts.requests,
            egress,
            journal: parts.journal,
            unsent_group: None,
            wake: parts.wake,
            warned_of_subscriptions: false,
            counters: parts.counters,
            stop: parts.stop,
            drain_timeout: config.drain_timeout,
            drain: None,
            may_have_requests: false,
            start: Instant::now(),
            connections: parts.connections,
            context: parts.context,
        }
    }

    /// Runs until it is told to stop, then drains.
    pub(crate) fn run(mut self) -> Result<(), RunError> {
        loop {
            if let Some(drain) = self.turn(None)? {
                return self.end(drain);
            }
        }
    }

    /// Waits until there is something to do, so long at most, and does it. Once all is done that was
    /// left when it was told to stop, or the time for that is over, returns what is left of the time.
    pub(super) fn turn(
        &mut self,
        wait_max: Option<Duration>,
    ) -> Result<Option<Drain>, TransportError> {
        self.wait(wait_max)?;
        let now = Instant::now();
        if self.drain.is_none() && self.stop.load(Ordering::Acquire) {
            self.begin_drain(now);
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
        Ok(self.drain.filter(|drain| {
            let requests = self.may_have_requests && now < drain.refused_until;
            now >= drain.finished_by || (!requests && self.is_drained())
        }))
    }

    /// [`Self::turn`] for whoever never tells it to stop.
    pub(crate) fn turn_at_once(&mut self) -> Result<(), TransportError> {
        self.turn(Some(Duration::ZERO))?;
        Ok(())
    }

    fn wait(&mut self, wait_max: Option<Duration>) -> Result<(), TransportError> {
        let elapsed = self.start.elapsed();
        let due = if self.egress.is_stopped() || self.unsent_group.is_some() {
            Some(STOPPED_PAUSE)
        } else if !self.core.has_room() {
            // Whatever is due, too: the journal wakes the thread.
            None
        } else if self.may_have_requests {
            Some(Duration::ZERO)
        } else {
            self.core.next_due().map(|due| due.saturating_sub(elapsed))
        };
        // Nobody wakes the thread when its time is over.
        let end = self.drain.map(|_| STOPPED_PAUSE);
        let timeout = [due, end, wait_max].into_iter().flatten().min();
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
                Err(wrong) => {
                    self.counters.requests.add(1);
                    self.core.refuse(from, Refusal::Envelope(wrong), Dialect::V1);
                }
            }
            self.flush(now)?;
            if !self.may_read() || self.drain.is_some_and(|drain| drain.is_late()) {
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

    /// From now on messages are refused, and so are connections. The sockets go on listening: libzmq would
    /// end all connections that were made through a listener with it, and what was read could no longer be
    /// answered.
    fn begin_drain(&mut self, now: Instant) {
        tracing::info!("ending: new messages are refused, what was taken is finished");
        self.core.drain();
        if let Some(connections) = &self.connections {
            connections.refuse_all();
        }
        self.drain = Some(Drain::begin(now, self.drain_timeout));
    }

    fn is_drained(&self) -> bool {
        self.core.parked.is_empty() && self.core.out.queue.is_empty() && self.may_read()
    }

    /// Answers what could not be finished, closes the journal, which syncs it, and the sockets.
    fn end(mut self, drain: Drain) -> Result<(), RunError> {
        if !self.is_drained() {
            self.core.abandon();
            self.egress.wait_no_longer()?;
            self.flush(Instant::now())?;
        }
        let closed = match self.journal.take() {
            Some(journal) => close(journal, drain.closed_by),
            None => Ok(()),
        };
        let Self { requests, egress, connections, context, counters, .. } = self;
        drop((requests, egress));
        drop(connections);
        // Here, what the closed sockets still had to send leaves.
        drop(context);
        tracing::info!(
            "ended within {:?}: {} requests were read and answered, {} of them refused",
            drain.began.elapsed(),
            counters.requests.get(),
            counters.refused.get(),
        );
        closed
    }
}

/// Closes the journal in time: a disk that hangs must not keep the process from ending.
fn close(journal: Journal, closed_by: Instant) -> Result<(), RunError> {
    let (closed, wait) = bounded(1);
    std::thread::spawn(move || closed.send(journal.close()));
    match wait.recv_timeout(closed_by.saturating_duration_since(Instant::now())) {
        Ok(result) => Ok(result?),
        Err(_) => Err(RunError::DrainTimeout),
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
