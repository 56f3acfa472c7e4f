//! The request thread: owns the socket that requests leave by and answers come back on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::batches::{Cut, Finished};
use super::errands::Errands;
use super::error::SendError;
use super::in_flight::{Cargo, InFlight, Request};
use super::outbox::Outbox;
use super::report::{Failure, Reporter, add};
use super::seal::Sealer;
use crate::transport::waker::WakeReceiver;
use crate::transport::{
    Context, Part, Ready, Received, Socket, SocketOptions, TransportError, poll,
};
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
    dealer: Socket,
    wakes: WakeReceiver,
    outbox: Arc<Outbox>,
    errands: Arc<Errands>,
    reporter: Arc<Reporter>,
    stopping: Arc<AtomicBool>,
    in_flight: InFlight,
    finished: Vec<Finished>,
    cuts: Vec<Cut>,
    sealer: Sealer,
    /// Set between a new connection and sending everything again on it.
    resend_at: Option<Instant>,
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
        Ok(Self {
            setup,
            dealer,
            wakes,
            outbox,
            errands,
            reporter,
            stopping,
            in_flight,
            finished: Vec::new(),
            cuts: Vec::new(),
            sealer: Sealer::default(),
            resend_at: None,
        })
    }

    /// The thread's body: runs until told to stop, and then until all is answered or time is over.
    pub(super) fn run(mut self) {
        if let Err(error) = self.serve() {
            tracing::error!("the client's request thread ends: {error}");
        }
    }

    fn serve(&mut self) -> Result<(), TransportError> {
        let mut stop_at = None;
        loop {
            self.wakes.clear();
            self.receive()?;
            let now = Instant::now();
            self.check_time(now)?;
            self.send()?;
            if self.stopping.load(Ordering::Acquire) {
                let stop_at = *stop_at.get_or_insert(now + self.setup.timeout);
                let done =
                    self.in_flight.is_empty() && self.outbox.is_empty() && self.errands.is_empty();
                if done || now >= stop_at {
                    return Ok(());
                }
            }
            let next = [self.resend_at.or_else(|| self.in_flight.deadline()), stop_at];
            let next = next.into_iter().flatten().min();
            let wait = next.map(|at| at.saturating_duration_since(Instant::now()));
            poll(&[&self.dealer], &[&self.wakes], &mut [Ready::default(); 2], wait)?;
        }
    }

    fn receive(&mut self) -> Result<(), TransportError> {
        loop {
            let mut parts: [Part; REPLY_PARTS] = Default::default();
            let mut count = 0;
            loop {
                let mut part = Part::empty();
                if self.dealer.receive(&mut part)? == Received::Nothing {
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
                && let Some(request) = self.in_flight.answered(u64::from_le_bytes(id))
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
    fn check_time(&mut self, now: Instant) -> Result<(), TransportError> {
        if let Some(at) = self.resend_at {
            if now >= at {
                self.resend_at = None;
                for request in self.in_flight.again(now) {
                    add(&self.reporter.resent_frames, 1);
                    transmit(&mut self.dealer, request)?;
                }
            }
            return Ok(());
        }
        if self.in_flight.deadline().is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let timed_out = |tries| Err(SendError::TimedOut { tries, timeout: self.setup.timeout });
        let given_up: Vec<_> = self
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
            Ok(dealer) => self.dealer = dealer,
            Err(error) => tracing::error!("no new connection: {error}"),
        }
        // Clients that a server's end interrupted together shall not come back together.
        let pause_ms_max = (self.setup.timeout.as_millis() / 10).clamp(1, 100) as u64;
        let pause = Duration::from_millis(fastrand::u64(0..pause_ms_max));
        self.resend_at = Some(now + pause);
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
    fn send(&mut self) -> Result<(), TransportError> {
        let paused = self.resend_at.is_some();
        let mut cuts = std::mem::take(&mut self.cuts);
        self.outbox.turn(&mut self.finished, &mut cuts, paused);
        // What was taken is noted in any case, so that the end decides its fate.
        let mut result = Ok(());
        self.sealer.seal(&mut cuts);
        for mut cut in cuts.drain(..) {
            let frame = std::mem::take(&mut cut.batch.frame).into();
            result = result.and(self.start(frame, Cargo::Messages(cut)));
        }
        self.cuts = cuts;
        if paused || result.is_err() {
            return result;
        }
        let taken = self.errands.take(self.in_flight.has_acks());
        if taken.acks_dropped > 0 {
            self.reporter.failure(&Failure::AcksDropped { messages: taken.acks_dropped });
        }
        if !taken.acks.is_empty() {
            let messages = taken.acks.len();
            result = self.start(ack::frame(&taken.acks).into(), Cargo::Acks { messages });
        }
        for ping in taken.pings {
            result = result.and(self.start(v2_prefix(name::PING).into(), Cargo::Ping(ping)));
        }
        result
    }

    fn start(&mut self, frame: Bytes, cargo: Cargo) -> Result<(), TransportError> {
        transmit(&mut self.dealer, self.in_flight.add(frame, cargo, Instant::now()))
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        for request in self.in_flight.take_all() {
            self.finish(request, Err(SendError::Stopped));
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

/// Sends a request. Were a queue full, the request would count as lost on its way, and be sent again.
fn transmit(dealer: &mut Socket, request: &Request) -> Result<(), TransportError> {
    let parts = [
        Part::copy_of(&request.id.to_le_bytes()),
        Part::empty(),
        Part::share(request.frame.clone()),
    ];
    for (at, mut part) in parts.into_iter().enumerate() {
        if !dealer.send(&mut part, at < REPLY_PARTS - 1)? {
            break;
        }
    }
    Ok(())
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
