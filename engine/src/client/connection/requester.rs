//! A client's turns: they look after the connection that requests leave by, and answers and deliveries come back on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::answers::{RecipientCounts, read_answer, read_reply, read_subscription_reply};
use super::control_queue::{ControlQueue, Question};
use super::in_flight::{InFlight, Request, RequestContent};
use super::links::Links;
use super::shared_connection::{Connection, HELLO_ID, SharedConnection};
use crate::client::error::{SendError, SubscribeError};
use crate::client::publish::batches::Finished;
use crate::client::publish::outbox::Outbox;
use crate::client::publish::receipt::Acceptance;
use crate::client::receive::{Commands, Inbox, Registry};
use crate::client::report::{Blocked, Failure, Reporter, add};
use crate::client::run::here;
use crate::limits::{CLIENT_ACKS_PER_FRAME, CLIENT_BLOCKED_TOLD, CLIENT_FRAMES_PER_TURN};
use crate::net::connection::{self, Change};
use crate::net::wait::{Pause, Woken, wait};
use crate::net::waker::WakeReceiver;
use crate::wire::frame::v2_prefix;
use crate::wire::{ack, hello, name};

/// What other threads ask of the I/O thread.
#[derive(Clone)]
pub(in crate::client) struct Setup {
    /// The server, for logs.
    pub(in crate::client) server: String,
    pub(in crate::client) timeout: Duration,
    pub(in crate::client) tries: u32,
    pub(in crate::client) verbose: bool,
    pub(in crate::client) links: Arc<Links>,
    /// What subscriptions ask for.
    pub(in crate::client) commands: Arc<Commands>,
    /// Whether checksums of what they get are checked.
    pub(in crate::client) verify: bool,
    /// What is said first on each connection.
    pub(in crate::client) hello: Bytes,
}

/// What a client's turns are done with. When it goes, all that was in flight fails.
pub(in crate::client) struct Requester {
    setup: Setup,
    connection: Arc<SharedConnection>,
    /// `None`: whoever does the turns is woken, and sees to that.
    wakes: Option<WakeReceiver>,
    /// Of the last reply.
    parts: Vec<Bytes>,
    outbox: Arc<Outbox>,
    control_queue: Arc<ControlQueue>,
    registry: Registry,
    reporter: Arc<Reporter>,
    stopping: Arc<AtomicBool>,
    finished: Vec<Finished>,
    /// When it was told that publishing is blocked, if it still is.
    blocked_at: Option<Instant>,
    /// What the next turn waits for.
    pause: Pause,
    /// Set once it was told to stop: when it ends at the latest.
    stop_at: Option<Instant>,
}

impl Requester {
    pub(in crate::client) fn new(
        setup: Setup,
        wire: connection::Connection,
        wakes: Option<WakeReceiver>,
        outbox: Arc<Outbox>,
        control_queue: Arc<ControlQueue>,
        reporter: Arc<Reporter>,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        let (commands, reports) = (Arc::clone(&setup.commands), Arc::clone(&reporter));
        let registry = Registry::new(commands, reports, setup.verify);
        let in_flight = InFlight::new(setup.timeout, setup.tries);
        let connection = Arc::new(SharedConnection::new(Connection::new(wire, in_flight)));
        let (parts, finished, blocked_at, stop_at) = Default::default();
        Self {
            setup,
            connection,
            wakes,
            parts,
            outbox,
            control_queue,
            registry,
            reporter,
            stopping,
            finished,
            blocked_at,
            pause: Pause { connection: None, time: Some(Duration::ZERO) },
            stop_at,
        }
    }

    /// The connection, for publishers.
    pub(in crate::client) fn connection(&self) -> Arc<SharedConnection> {
        Arc::clone(&self.connection)
    }

    /// Waits and does turns until callbacks are to be called; false when the client has ended: it was told to, and all is
    /// answered or time is over. `is_urged`: one turn without a wait.
    pub(in crate::client) fn run_until_called(&mut self, is_urged: bool) -> bool {
        loop {
            if is_urged {
                self.pause.time = Some(Duration::ZERO);
            }
            let Some(wakes) = &self.wakes else { return false };
            let woken = match wait(&self.pause, wakes) {
                Ok(woken) => woken,
                Err(error) => {
                    tracing::error!(
                        "the client ends: its thread cannot wait for the server: {error}"
                    );
                    return false;
                }
            };
            match self.turn(woken) {
                Some(pause) => self.pause = pause,
                None => return false,
            }
            if is_urged || self.registry.has_called() {
                return true;
            }
        }
    }

    /// The subscriptions whose callbacks are to be called.
    pub(in crate::client) fn take_called(&mut self) -> Vec<Arc<Inbox>> {
        self.registry.take_called()
    }

    /// Does what there is to do, and returns what to wait for; `None` at the end.
    pub(in crate::client) fn turn(&mut self, woken: Woken) -> Option<Pause> {
        let _in_turn = here::begin_turn(self.outbox.address());
        let pause = self.work(woken);
        // Under no lock.
        self.setup.links.tell();
        self.tell_blocked(Instant::now());
        pause
    }

    fn work(&mut self, woken: Woken) -> Option<Pause> {
        self.wakes.iter_mut().filter(|_| woken.waker).for_each(WakeReceiver::clear);
        let connection = Arc::clone(&self.connection);
        let mut connection = connection.lock();
        let connection = connection.as_mut()?;
        if woken.connection {
            connection.wire.readable();
        }
        if connection.wire.advance() {
            self.connected(connection);
        }
        let now = Instant::now();
        let more = self.receive(connection, now);
        self.check_time(connection, now);
        self.send(connection, now);
        connection.wire.flush();
        let changes = connection.wire.take_changes();
        if !changes.is_empty() {
            // One that is lost, or given up for its silence, is mostly made anew at once.
            let is_away = changes.iter().any(|change| match change {
                Change::Failed { was_open, .. } => !was_open,
                Change::Opened => false,
            });
            self.outbox.note_server(is_away && !connection.wire.is_open(), now);
            self.setup.links.note(changes);
        }
        if self.stopping.load(Ordering::Acquire) {
            self.registry.stop();
            let stop_at = *self.stop_at.get_or_insert(now + self.setup.timeout);
            let idle = connection.in_flight.is_empty() && self.outbox.is_empty();
            if (idle && self.control_queue.is_empty() && self.registry.is_idle())
                || now >= stop_at
                || self.setup.links.is_abandoned()
            {
                return None;
            }
        }
        let hello_due = connection.hello_at.map(|at| at + self.setup.timeout);
        let due = connection.in_flight.deadline().into_iter().chain(connection.wire.deadline(true));
        let due = due.chain(hello_due).chain(self.registry.deadline());
        // A publisher that sends meanwhile does not tell. What it sends is due after the timeout.
        let time = match due.chain(self.stop_at).min() {
            _ if more || connection.wire.has_more() => Duration::ZERO,
            Some(at) => at.saturating_duration_since(Instant::now()).min(self.setup.timeout),
            None => self.setup.timeout,
        };
        Some(Pause { connection: connection.wire.polled(), time: Some(time) })
    }

    fn connected(&mut self, connection: &mut Connection) {
        let now = Instant::now();
        connection.greet(&self.setup.hello, now);
        for asked in connection.in_flight.take_subscriptions() {
            self.registry.lost(asked);
        }
        // Before what is published, which they may be for.
        self.registry.connected(|request, asked| {
            connection.start(request.into(), RequestContent::Subscription(asked), now);
        });
        add(&self.reporter.resent_frames, connection.send_again() as u64);
        let text = format_args!("connected to {}", self.setup.server);
        if self.setup.verbose {
            tracing::info!("{text}");
        } else {
            tracing::debug!("{text}");
        }
    }

    /// Tells when publishing begins to be blocked, and when that ends.
    fn tell_blocked(&mut self, now: Instant) {
        match (self.outbox.is_blocked(), self.blocked_at) {
            (true, None) => {
                self.blocked_at = Some(now);
                self.reporter.blocked(Blocked::Began);
            }
            (false, Some(told_at)) => {
                self.blocked_at = None;
                let after = CLIENT_BLOCKED_TOLD + now.duration_since(told_at);
                self.reporter.blocked(Blocked::Ended { after });
            }
            _ => {}
        }
    }

    /// Reads some answers; whether there may be more.
    fn receive(&mut self, connection: &mut Connection, now: Instant) -> bool {
        let mut parts = std::mem::take(&mut self.parts);
        let mut received = 0;
        while received < CLIENT_FRAMES_PER_TURN && connection.wire.receive(&mut parts) {
            received += 1;
            let [id, empty, body] = &parts[..] else { continue };
            if id.is_empty() {
                // No request has an empty id: behind it is a delivery.
                self.registry.deliver(empty, body, now);
                continue;
            }
            let Ok(id) = id.as_ref().try_into().map(u64::from_le_bytes) else { continue };
            if !empty.is_empty() {
                continue;
            }
            if id == HELLO_ID {
                connection.hello_at = None;
                self.hello_answered(body);
            } else if let Some(request) = connection.in_flight.answered(id) {
                match request.cargo {
                    RequestContent::Subscription(asked) => {
                        self.registry.answered(asked, read_subscription_reply(body));
                    }
                    RequestContent::Question(answer) => {
                        answer.send(read_answer(body));
                    }
                    _ => match read_reply(body) {
                        // Its connection ends soon, or is given up when the answer is due.
                        Err(why @ SendError::ShuttingDown { .. }) if self.may_put_off(&request) => {
                            connection.in_flight.put_off(request, why);
                        }
                        result => self.finish(request, result),
                    },
                }
            }
        }
        self.parts = parts;
        received == CLIENT_FRAMES_PER_TURN
    }

    /// Whether the next server may take this, if this one ends.
    fn may_put_off(&self, request: &Request) -> bool {
        matches!(request.cargo, RequestContent::Messages(_))
            && !self.stopping.load(Ordering::Acquire)
    }

    fn hello_answered(&mut self, body: &[u8]) {
        let result = match (hello::read_answer(body), read_reply(body)) {
            (Some(answer), _) => {
                self.outbox.server_takes(answer.max_message_bytes);
                self.registry.retries_after(Duration::from_millis(answer.retry_interval_ms.into()));
                tracing::debug!("{}: instance {:016x}", self.setup.server, answer.instance);
                Ok(())
            }
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => {
                let text = "it took a hello for a message".to_owned();
                Err(SendError::UnsupportedVersion { text })
            }
        };
        if let Err(error) = &result {
            tracing::error!("{} rejected this client: {error}", self.setup.server);
        }
        self.setup.links.answered(result);
    }

    /// Books how a request ended.
    fn finish(&mut self, request: Request, result: Result<RecipientCounts, SendError>) {
        let RecipientCounts { connections, takers } = result.as_ref().copied().unwrap_or_default();
        let result = result.map(|_| ());
        match request.cargo {
            RequestContent::Messages(cut) => {
                // Counted first: who has the answer finds it in the counters.
                match &result {
                    Ok(()) => add(&self.reporter.published, cut.batch.messages as u64),
                    Err(error) => self.reporter.not_published(&cut.batch, error),
                }
                // One that was taken on an earlier connection is told to be for nobody.
                let [receivers, takers] =
                    [connections, takers].map(|count| (!cut.sent_again).then_some(count));
                let taken = result.clone().map(|()| Acceptance { receivers, takers });
                cut.batch.outcome.decide_for(taken);
                self.finished.push(Finished { cut, result, connections });
            }
            RequestContent::Acks { messages } => match result {
                Ok(()) => add(&self.reporter.acknowledged, messages as u64),
                Err(_) => self.reporter.failure(&Failure::AcksDropped { messages }),
            },
            RequestContent::Ping(outcome) => outcome.decide(result),
            RequestContent::Question(answer) => {
                answer.send(result.map(|()| Bytes::new()));
            }
            RequestContent::Subscription(asked) => {
                let (tries, timeout) = (self.setup.tries, self.setup.timeout);
                let error = SubscribeError::NotConfirmed { tries, timeout };
                self.registry.answered(asked, Err(error));
            }
        }
    }

    /// Books that a request got no answer that counts: for this reason, unless a server said that it ends.
    fn finish_unanswered(&mut self, mut request: Request, why: SendError) {
        let why = request.put_off.take().unwrap_or(why);
        self.finish(request, Err(why));
    }

    /// Gives up, or sends again on a new connection, what waited too long.
    fn check_time(&mut self, connection: &mut Connection, now: Instant) {
        let hello_due = connection.hello_at.map(|at| at + self.setup.timeout);
        let due = connection.in_flight.deadline().into_iter().chain(hello_due).min();
        if due.is_none_or(|due| now < due) {
            return;
        }
        if hello_due.is_some_and(|due| now >= due) {
            // Of a connection that is lost, or will be.
            connection.hello_at = None;
        }
        let timeout = self.setup.timeout;
        for request in connection.in_flight.give_up(now) {
            let tries = request.tries;
            self.finish_unanswered(request, SendError::TimedOut { tries, timeout });
        }
        self.expire_waiting(now);
        if connection.in_flight.deadline().is_some_and(|due| now >= due) {
            connection.in_flight.try_again(now);
        }
        // Whatever is wrong with the connection, a new one starts afresh; but a young one has not had its
        // time. Clients that a server's pause interrupted together shall not come back together.
        if connection.wire.open_for().is_some_and(|time| time >= self.setup.timeout / 2) {
            let pause_ms_max = (self.setup.timeout.as_millis() / 10).clamp(1, 100) as u64;
            let pause = Duration::from_millis(fastrand::u64(0..pause_ms_max));
            connection.wire.restart(self.setup.timeout, pause);
            tracing::debug!("no answer from {}: connecting anew", self.setup.server);
        }
    }

    /// While the server is away, what waits must not wait its turn forever.
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
            batch.outcome.decide(Err(error.clone()));
        }
        self.outbox.settle(&expired, &error);
    }

    /// Sends what may leave now.
    fn send(&mut self, connection: &mut Connection, now: Instant) {
        connection.send_messages(&self.outbox, &mut self.finished, now);
        let taken = self.control_queue.take(connection.in_flight.ack_frames());
        if taken.acks_dropped > 0 {
            self.reporter.failure(&Failure::AcksDropped { messages: taken.acks_dropped });
        }
        for ids in taken.acks.chunks(CLIENT_ACKS_PER_FRAME) {
            let cargo = RequestContent::Acks { messages: ids.len() };
            connection.start(ack::frame(ids).into(), cargo, now);
        }
        for ping in taken.pings {
            connection.start(v2_prefix(name::PING).into(), RequestContent::Ping(ping), now);
        }
        for Question { request, answer } in taken.questions {
            connection.start(request, RequestContent::Question(answer), now);
        }
        let (is_open, settles) = (connection.wire.is_open(), connection.in_flight.settle_frames());
        self.registry.ask(is_open, settles, now, |request, asked| {
            connection.start(request.into(), RequestContent::Subscription(asked), now);
        });
    }
}

impl Drop for Requester {
    fn drop(&mut self) {
        // Held to the end: nothing is sent behind it.
        let connection = Arc::clone(&self.connection);
        let mut connection = connection.lock();
        if let Some(mut connection) = connection.take() {
            for request in connection.in_flight.take_all() {
                self.finish_unanswered(request, SendError::Stopped);
            }
        }
        self.outbox.turn(&mut self.finished, &mut Vec::new(), true, Instant::now());
        let unsent = self.outbox.close();
        for batch in &unsent {
            self.reporter.not_published(batch, &SendError::Stopped);
            batch.outcome.decide(Err(SendError::Stopped));
        }
        self.outbox.end(&unsent);
        let acks_dropped = self.control_queue.close();
        if acks_dropped > 0 {
            self.reporter.failure(&Failure::AcksDropped { messages: acks_dropped });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::fd::AsFd;
    use std::thread;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::client::Client;
    use crate::net::tests::shake_hands;

    /// Lets time pass in which nothing may happen to a socket.
    fn await_silence(socket: &impl AsFd, time: Duration) {
        let time = Timespec::try_from(time).unwrap();
        let events = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&time)).unwrap();
        assert_eq!(events, 0, "the client said more, or gave up");
    }

    /// A slow network: making a connection takes most of the patience, and so does an answer.
    #[test]
    fn a_slow_hello_on_a_slow_connection_is_waited_for() {
        let patience = Duration::from_secs(1);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let (peer, _) = listener.accept().unwrap();
            // It does not try another connection.
            await_silence(&listener, patience * 7 / 10);
            let mut peer = shake_hands(peer, b"ROUTER");
            // An id of 8 bytes, nothing, and the hello.
            let mut request = [0; 10 + 2 + 2 + 2 + hello::SECRET_BYTES];
            peer.read_exact(&mut request).unwrap();
            // It does not hang up.
            await_silence(&peer, patience * 7 / 10);
            let said = hello::Answer {
                max_message_bytes: 1 << 20,
                instance: 1,
                retry_interval_ms: 10_000,
            };
            let said = hello::answer(said);
            let head = [1, 0, 0, said.len() as u8];
            peer.write_all(&[&[1, 8][..], &request[2..10], &head, &said].concat()).unwrap();
            // Until the client goes.
            let _ = peer.read_to_end(&mut Vec::new());
        });
        let options = Client::builder().port(port).client_name("");
        let options = options.send_timeout(patience).connection_retries(3);
        drop(options.connect().unwrap());
        server.join().unwrap();
    }
}
