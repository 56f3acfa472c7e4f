//! The request thread: owns the socket that requests leave by and answers come back on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::batches::Finished;
use super::errands::Errands;
use super::error::SendError;
use super::in_flight::{Cargo, InFlight, Request};
use super::line::{Connection, Line};
use super::outbox::Outbox;
use super::report::{Failure, Reporter, add};
use crate::limits::CLIENT_ACKS_PER_FRAME;
use crate::transport::waker::WakeReceiver;
use crate::transport::{Context, Part, Received, Socket, SocketOptions, TransportError, wait};
use crate::wire::frame::v2_prefix;
use crate::wire::reply::{self, Reply};
use crate::wire::{ack, name};

/// Most parts of a reply that are looked at.
const REPLY_PARTS: usize = 3;

/// How often the server is asked for a sign of life, and how long it may take.
const HEARTBEAT_MS: (i32, i32) = (5_000, 15_000);

/// What the request thread is told.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) context: Context,
    pub(super) endpoint: String,
    pub(super) timeout: Duration,
    pub(super) tries: u32,
    pub(super) max_message_bytes: usize,
    pub(super) verbose: bool,
}

/// The state of the request thread. When it goes, all that was on its way fails.
pub(super) struct Requester {
    setup: Setup,
    line: Arc<Line>,
    wakes: WakeReceiver,
    outbox: Arc<Outbox>,
    errands: Arc<Errands>,
    reporter: Arc<Reporter>,
    stopping: Arc<AtomicBool>,
    finished: Vec<Finished>,
    /// Set once it was told to stop: when it ends at the latest.
    stop_at: Option<Instant>,
}

fn connect(setup: &Setup) -> Result<Socket, TransportError> {
    let dealer = setup.context.dealer(SocketOptions {
        // The window bounds what is queued.
        send_hwm: Some(0),
        receive_hwm: Some(0),
        max_message_bytes: Some(i64::try_from(setup.max_message_bytes).unwrap_or(i64::MAX)),
        linger_ms: 0,
        reconnect_ms: Some((50, 1000)),
        heartbeat_ms: Some(HEARTBEAT_MS),
        keepalive_s: None,
    })?;
    dealer.connect(&setup.endpoint)?;
    Ok(dealer)
}

impl Requester {
    pub(super) fn new(
        setup: Setup,
        wakes: WakeReceiver,
        outbox: Arc<Outbox>,
        errands: Arc<Errands>,
        reporter: Arc<Reporter>,
        stopping: Arc<AtomicBool>,
    ) -> Result<Self, TransportError> {
        let dealer = connect(&setup)?;
        let in_flight = InFlight::new(setup.timeout, setup.tries);
        let line = Arc::new(Line::new(Connection::new(dealer, in_flight)));
        let finished = Vec::new();
        let stop_at = None;
        Ok(Self { setup, line, wakes, outbox, errands, reporter, stopping, finished, stop_at })
    }

    /// The connection, for publishers.
    pub(super) fn line(&self) -> Arc<Line> {
        Arc::clone(&self.line)
    }

    /// The thread's body: runs until told to stop, and then until all is answered or time is over.
    pub(super) fn run(mut self) {
        if let Err(error) = self.serve() {
            tracing::error!("the client's request thread ends: {error}");
        }
    }

    fn serve(&mut self) -> Result<(), TransportError> {
        while self.turn(None)? {}
        Ok(())
    }

    /// Does what there is to do, then waits for more, so long at most. `false` at the end.
    pub(super) fn turn(&mut self, wait_max: Option<Duration>) -> Result<bool, TransportError> {
        self.wakes.clear();
        let line = Arc::clone(&self.line);
        let mut line = line.lock();
        let Some(connection) = line.as_mut() else { return Ok(false) };
        self.receive(connection)?;
        let now = Instant::now();
        self.check_time(connection, now)?;
        self.send(connection)?;
        if self.stopping.load(Ordering::Acquire) {
            let stop_at = *self.stop_at.get_or_insert(now + self.setup.timeout);
            let idle = connection.in_flight.is_empty() && self.outbox.is_empty();
            if (idle && self.errands.is_empty()) || now >= stop_at {
                return Ok(false);
            }
        }
        // Sending may have taken the signal of an answer away.
        if connection.dealer.is_readable()? {
            return Ok(true);
        }
        // A publisher that sends meanwhile does not tell. What it sends is due after the timeout.
        let due = connection.resend_at.or_else(|| connection.in_flight.deadline());
        let next = due.into_iter().chain(self.stop_at).min();
        let time = next.map_or(self.setup.timeout, |at| {
            at.saturating_duration_since(Instant::now()).min(self.setup.timeout)
        });
        let signal = connection.dealer.signal()?;
        drop(line);
        wait(signal, &self.wakes, time.min(wait_max.unwrap_or(time)))?;
        Ok(true)
    }

    fn receive(&mut self, connection: &mut Connection) -> Result<(), TransportError> {
        loop {
            let mut parts: [Part; REPLY_PARTS] = Default::default();
            let mut count = 0;
            loop {
                let mut part = Part::empty();
                if connection.dealer.receive(&mut part)? == Received::Nothing {
                    return Ok(());
                }
                let more = part.has_more();
                if count < REPLY_PARTS {
                    parts[count] = part;
                }
                count += 1;
                if !more {
                    break;
                }
            }
            let [id, empty, body] = &parts;
            if let Ok(id) = id.as_slice().try_into()
                && count == REPLY_PARTS
                && empty.as_slice().is_empty()
                && let Some(request) = connection.in_flight.answered(u64::from_le_bytes(id))
            {
                self.finish(request, read_reply(body.as_slice()));
            }
        }
    }

    /// Books how a request ended.
    fn finish(&mut self, request: Request, result: Result<(), SendError>) {
        match request.cargo {
            Cargo::Messages(cut) => {
                // Counted first: who has the answer finds it in the counters.
                match &result {
                    Ok(()) => add(&self.reporter.published, cut.batch.messages as u64),
                    Err(error) => self.reporter.not_published(&cut.batch, error),
                }
                cut.batch.fate.decide(result.clone());
                self.finished.push(Finished { cut, result });
            }
            Cargo::Acks { messages } => match result {
                Ok(()) => add(&self.reporter.acknowledged, messages as u64),
                Err(_) => self.reporter.failure(&Failure::AcksDropped { messages }),
            },
            Cargo::Ping(fate) => fate.decide(result),
        }
    }

    /// Gives up, or sends again, what waited too long.
    fn check_time(
        &mut self,
        connection: &mut Connection,
        now: Instant,
    ) -> Result<(), TransportError> {
        if let Some(at) = connection.resend_at {
            if now >= at {
                connection.resend_at = None;
                add(&self.reporter.resent_frames, connection.start_again(now)? as u64);
            }
            return Ok(());
        }
        if connection.in_flight.deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let timed_out = |tries| Err(SendError::TimedOut { tries, timeout: self.setup.timeout });
        let given_up: Vec<_> = connection
            .in_flight
            .give_up(now)
            .into_iter()
            .map(|request| (timed_out(request.tries), request))
            .collect();
        for (result, request) in given_up {
            self.finish(request, result);
        }
        self.expire_waiting(now);
        // Whatever is wrong with the connection, a new one starts afresh. Failing that, the old one
        // may still work.
        match connect(&self.setup) {
            Ok(dealer) => connection.dealer = dealer,
            Err(error) => tracing::error!("no new connection: {error}"),
        }
        // Clients that a server's end interrupted together shall not come back together.
        let pause_ms_max = (self.setup.timeout.as_millis() / 10).clamp(1, 100) as u64;
        let pause = Duration::from_millis(fastrand::u64(0..pause_ms_max));
        connection.resend_at = Some(now + pause);
        let text = format_args!("no answer from {}: connecting anew", self.setup.endpoint);
        if self.setup.verbose {
            tracing::info!("{text}");
        } else {
            tracing::debug!("{text}");
        }
        Ok(())
    }

    /// While the server is away, what waits must not wait its turn for ever.
    fn expire_waiting(&mut self, now: Instant) {
        let patience = self.setup.timeout * self.setup.tries;
        let Some(cutoff) = now.checked_sub(patience) else { return };
        let expired = self.outbox.expire(cutoff);
        if expired.is_empty() {
            return;
        }
        let error = SendError::Full { waited: patience };
        for batch in &expired {
            self.reporter.not_published(batch, &error);
            batch.fate.decide(Err(error.clone()));
        }
        self.outbox.settle(&expired, &error);
    }

    /// Sends what may leave now.
    fn send(&mut self, connection: &mut Connection) -> Result<(), TransportError> {
        connection.send_messages(&self.outbox, &mut self.finished)?;
        if connection.resend_at.is_some() {
            return Ok(());
        }
        let taken = self.errands.take(connection.in_flight.ack_frames());
        if taken.acks_dropped > 0 {
            self.reporter.failure(&Failure::AcksDropped { messages: taken.acks_dropped });
        }
        let mut result = Ok(());
        for ids in taken.acks.chunks(CLIENT_ACKS_PER_FRAME) {
            let cargo = Cargo::Acks { messages: ids.len() };
            result = result.and(connection.start(ack::frame(ids).into(), cargo));
        }
        for ping in taken.pings {
            let frame = v2_prefix(name::PING).into();
            result = result.and(connection.start(frame, Cargo::Ping(ping)));
        }
        result
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        // Held to the end: nothing is sent behind it.
        let line = Arc::clone(&self.line);
        let mut line = line.lock();
        if let Some(mut connection) = line.take() {
            for request in connection.in_flight.take_all() {
                self.finish(request, Err(SendError::Stopped));
            }
        }
        self.outbox.turn(&mut self.finished, &mut Vec::new(), true);
        let unsent = self.outbox.close();
        for batch in &unsent {
            self.reporter.not_published(batch, &SendError::Stopped);
            batch.fate.decide(Err(SendError::Stopped));
        }
        self.outbox.end(&unsent);
        let acks_dropped = self.errands.close();
        if acks_dropped > 0 {
            self.reporter.failure(&Failure::AcksDropped { messages: acks_dropped });
        }
    }
}

fn read_reply(bytes: &[u8]) -> Result<(), SendError> {
    match reply::read(bytes) {
        Some(Reply::Ok) => Ok(()),
        Some(Reply::Refused { code, text }) => {
            let raw_code = bytes.get(1..3).map_or(0, |b| u16::from_le_bytes([b[0], b[1]]));
            Err(SendError::refused(code, raw_code, text.into_owned()))
        }
        None => {
            let text = format!("an answer of {} bytes that this client cannot read", bytes.len());
            Err(SendError::Unknown { code: 0, text })
        }
    }
}
