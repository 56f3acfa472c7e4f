//! A connection that is replaced whenever it is lost.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::PollFlags;

use super::dial;
use super::stream::Stream;
use super::wait::Polled;
use crate::zmtp::curve::client::ClientHandshake;
use crate::zmtp::curve::keys::ClientKeys;
use crate::zmtp::error::ConnectionError;
use crate::zmtp::handshake::{self, Kind, Mechanism};
use crate::zmtp::plain::{self, Login};

pub(crate) use super::dial::Address;

/// Pause before the next attempt after a failed one, and the most that it doubles to. A connection that
/// lasted no longer than that counts as a failed attempt, too.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long an address may take to answer, and then a server to say what it is, where the owner waits for longer or there
/// is no other to try.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What a connection is for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where servers are, each as good as another. None: the connection is given, and not replaced.
    pub(crate) addresses: Vec<Address>,
    /// How long the owner waits for an answer, and so for one of several addresses.
    pub(crate) timeout: Duration,
    /// What this end is.
    pub(crate) kind: Kind,
    /// A larger received frame ends the connection.
    pub(crate) frame_bytes_max: usize,
    /// Silence after which the client sends a ping.
    pub(crate) heartbeat: Duration,
    /// Silence after that which ends the connection.
    pub(crate) silence_max: Duration,
    /// With these, only the server that has the key is talked to, with CURVE.
    pub(crate) keys: Option<Arc<ClientKeys>>,
    /// What is said to a server that asks for a user's name and password, and to no other.
    pub(crate) login: Option<Arc<Login>>,
}

impl Settings {
    /// How long an address may take. `has_others`: whether the same look-up found further ones to try.
    fn patience(&self, has_others: bool) -> Duration {
        let is_only_one = self.addresses.len() < 2 && !has_others;
        if is_only_one { PATIENCE } else { PATIENCE.min(self.timeout) }
    }

    fn mechanism(&self) -> Mechanism {
        match (&self.keys, &self.login) {
            (Some(_), _) => Mechanism::Curve,
            (None, Some(_)) => Mechanism::Plain,
            (None, None) => Mechanism::Null,
        }
    }
}

/// A connection, or the attempt to get one. Nothing waits.
#[derive(Debug)]
pub(crate) struct Connection {
    settings: Settings,
    /// Which of the servers is tried first.
    turn: usize,
    state: State,
    /// Before the next attempt.
    pause: Duration,
    /// The last error that was reported, so that it is reported once.
    told: Option<String>,
    /// What the owner has not taken.
    changes: Vec<Change>,
    /// Whether the owner looks the server's name up.
    asks: bool,
}

/// What became of a connection.
#[derive(Debug)]
pub(crate) enum Change {
    /// It was made.
    Opened,
    /// It ended, or an attempt to make it did.
    Failed {
        /// Whether it had been made.
        was_open: bool,
        error: ConnectionError,
    },
}

#[derive(Debug)]
enum State {
    Pausing {
        until: Instant,
    },
    /// The owner looks the server's name up.
    Resolving,
    Dialing {
        socket: Arc<OwnedFd>,
        others: std::vec::IntoIter<SocketAddr>,
        /// Whether all addresses before this one rejected the connection.
        refused: bool,
        until: Instant,
    },
    Greeting {
        stream: Stream,
        greeted: bool,
        /// With CURVE, once the server has greeted.
        handshake: Option<Box<ClientHandshake>>,
        until: Instant,
    },
    Open {
        stream: Stream,
        since: Instant,
    },
}

impl Connection {
    /// A connection that [`Self::advance`] begins to make.
    pub(crate) fn new(settings: Settings) -> Self {
        Self::in_state(State::Pausing { until: Instant::now() }, settings)
    }

    /// A connection over a stream that exists.
    pub(crate) fn over(socket: OwnedFd, settings: Settings) -> Self {
        Self::in_state(greet(socket.into(), &settings), settings)
    }

    fn in_state(state: State, settings: Settings) -> Self {
        let (turn, told, changes, asks) = Default::default();
        Self { settings, turn, state, pause: PAUSE.0, told, changes, asks }
    }

    /// Leaves it to the owner to look the server's name up, which takes its time: [`Self::unresolved`].
    #[cfg(feature = "tokio")]
    pub(crate) fn resolved_by_owner(mut self) -> Self {
        self.asks = true;
        self
    }

    /// What the owner is to look up, for [`Self::resolved`].
    #[cfg(feature = "tokio")]
    pub(crate) fn unresolved(&self) -> Option<Vec<Address>> {
        matches!(self.state, State::Resolving).then(|| self.in_turn().cloned().collect())
    }

    /// What the look-ups found, of each host. Goes on with [`Self::advance`].
    #[cfg(feature = "tokio")]
    pub(crate) fn resolved(&mut self, found: Vec<(String, io::Result<Vec<SocketAddr>>)>) {
        if !matches!(self.state, State::Resolving) {
            return;
        }
        let found = found
            .into_iter()
            .map(|(host, found)| found.map_err(|source| ConnectionError::Resolve { host, source }));
        let state = dial::together(found).and_then(|found| self.dial_first(found));
        match state {
            Ok(state) => self.state = state,
            Err(error) => self.lose(error),
        }
    }

    /// Whether [`Self::receive`] has more to read, of which [`Self::polled`] may not tell again.
    pub(crate) fn has_more(&self) -> bool {
        matches!(&self.state, State::Open { stream, .. } | State::Greeting { stream, .. } if stream.more)
    }

    /// Whether what is sent now leaves.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// How long it has been open.
    pub(crate) fn open_for(&self) -> Option<Duration> {
        match &self.state {
            State::Open { since, .. } => Some(since.elapsed()),
            _ => None,
        }
    }

    /// Why there is no connection, since the last one.
    #[cfg(test)]
    pub(super) fn told(&self) -> Option<&str> {
        self.told.as_deref()
    }

    /// Does what is to be done; to be called when [`Self::polled`] says so or [`Self::deadline`] has
    /// come. Only the look-up of a name may take its time. `true` when a connection was made: what was
    /// sent on an earlier one may be lost.
    pub(crate) fn advance(&mut self) -> bool {
        let was_open = self.is_open();
        if let Err(error) = self.step() {
            self.lose(error);
        }
        !was_open && self.is_open()
    }

    /// What became of it since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Gives the connection up, on which nothing was answered for so long, and makes a new one after a
    /// pause.
    pub(crate) fn restart(&mut self, unanswered: Duration, pause: Duration) {
        let error = ConnectionError::Unanswered(unanswered);
        self.changes.push(Change::Failed { was_open: self.is_open(), error });
        self.go_to_the_next();
        self.state = State::Pausing { until: Instant::now() + pause };
    }

    /// Sends a chunk of whole frames, or of one frame's head or body in their order. It is lost with the
    /// connection, or when there is none. [`Self::flush`] makes it leave.
    pub(crate) fn send(&mut self, chunk: Bytes) {
        if let State::Open { stream, .. } = &mut self.state {
            stream.push(chunk);
        }
    }

    /// Gives the system what was sent. `false` when the owner has to look after the connection: the
    /// system takes no more now, or the connection is lost.
    pub(crate) fn flush(&mut self) -> bool {
        let State::Open { stream, .. } = &mut self.state else { return true };
        stream.write();
        stream.sending.is_empty() && !stream.is_lost()
    }

    /// Takes the next whole message into `parts`, of a longer one the first few; `false` until there is
    /// something to read.
    pub(crate) fn receive(&mut self, parts: &mut Vec<Bytes>) -> bool {
        parts.clear();
        let State::Open { stream, .. } = &mut self.state else { return false };
        match stream.read(parts, self.settings.frame_bytes_max) {
            Ok(found) => found,
            Err(error) => {
                self.lose(error);
                false
            }
        }
    }

    /// Lets [`Self::receive`] ask the system again: the socket was seen to be readable.
    pub(crate) fn readable(&mut self) {
        if let State::Open { stream, .. } | State::Greeting { stream, .. } = &mut self.state {
            stream.more = true;
        }
    }

    /// What to wait for.
    pub(crate) fn polled(&self) -> Option<Polled> {
        match &self.state {
            State::Pausing { .. } | State::Resolving => None,
            State::Dialing { socket, .. } => {
                Some(Polled { socket: Arc::clone(socket), write: true })
            }
            State::Greeting { stream, .. } | State::Open { stream, .. } => {
                let write = !stream.sending.is_empty();
                Some(Polled { socket: Arc::clone(&stream.socket), write })
            }
        }
    }

    /// When [`Self::advance`] is due. `reading`: whether the owner takes what comes in.
    pub(crate) fn deadline(&self, reading: bool) -> Option<Instant> {
        match &self.state {
            State::Pausing { until } => (!self.settings.addresses.is_empty()).then_some(*until),
            State::Resolving => None,
            State::Dialing { until, .. } | State::Greeting { until, .. } => Some(*until),
            State::Open { stream, .. } if stream.asked => {
                reading.then(|| stream.heard + self.settings.heartbeat + self.settings.silence_max)
            }
            State::Open { stream, .. } => Some(stream.heard + self.settings.heartbeat),
        }
    }

    fn step(&mut self) -> Result<(), ConnectionError> {
        if let State::Pausing { until } = &self.state
            && !self.settings.addresses.is_empty()
            && Instant::now() >= *until
        {
            if self.asks && self.in_turn().any(|address| address.literal().is_none()) {
                self.state = State::Resolving;
                return Ok(());
            }
            let found = dial::together(self.in_turn().map(Address::resolve))?;
            self.state = self.dial_first(found)?;
        }
        let settings = &self.settings;
        if let State::Dialing { socket, others, refused, until } = &mut self.state {
            let error = match dial::finish(socket) {
                Ok(true) => None,
                Ok(false) if Instant::now() < *until => return Ok(()),
                Ok(false) => Some(ConnectionError::Slow(settings.patience(others.len() > 0))),
                Err(error) => Some(ConnectionError::from_address(error)),
            };
            self.state = match error {
                None => greet(Arc::clone(socket), settings),
                Some(error) => dial_next(std::mem::take(others), *refused, error, settings)?,
            };
        }
        self.shake_hands()?;
        self.look_after()
    }

    /// Where servers are, the one whose turn it is first.
    fn in_turn(&self) -> impl Iterator<Item = &Address> {
        let (later, first) = self.settings.addresses.split_at(self.turn);
        first.iter().chain(later)
    }

    /// Goes on with the greeting. This end says what it is after the server did: libzmq hangs up on a
    /// socket that it has no use for, and then nobody would know why. With CURVE the client must go first.
    fn shake_hands(&mut self) -> Result<(), ConnectionError> {
        let settings = &self.settings;
        let State::Greeting { stream, greeted, handshake, until } = &mut self.state else {
            return Ok(());
        };
        stream.write();
        stream.fill().map_err(|error| match (error, &settings.keys) {
            // Its first command was made for the key that was given, and nobody opened it.
            (ConnectionError::Closed, Some(keys)) if handshake.is_some() => {
                ConnectionError::ServerKey(Box::new(keys.server))
            }
            (error, _) => error,
        })?;
        if !*greeted {
            let checked = handshake::check_greeting(stream.inbox.raw(), settings.mechanism());
            checked.map_err(|error| match error {
                ConnectionError::Foreign => ConnectionError::foreign(stream.inbox.raw()),
                error => error,
            })?;
            *greeted = stream.inbox.take_raw::<{ handshake::GREETING_BYTES }>()?.is_some();
            if *greeted && let Some(keys) = &settings.keys {
                let mut hello = Vec::new();
                let begun = ClientHandshake::begin(Arc::clone(keys), &mut hello);
                *handshake = Some(Box::new(begun));
                stream.push(hello.into());
                stream.write();
            } else if *greeted && let Some(login) = &settings.login {
                let mut hello = Vec::new();
                plain::append_hello(login, &mut hello);
                stream.push(hello.into());
                stream.write();
            }
        }
        if *greeted {
            while let Some((head, body)) = stream.next(settings.frame_bytes_max)? {
                if !head.command {
                    return Err(ConnectionError::Malformed);
                }
                let is_over = match (&mut *handshake, &settings.login) {
                    (Some(handshake), _) => stream.shake_hands(handshake, &body, settings.kind)?,
                    (None, Some(login)) => {
                        let mut out = Vec::new();
                        let step = plain::advance(login, &body, settings.kind, &mut out)?;
                        stream.push(out.into());
                        step == plain::Step::Ready
                    }
                    (None, None) => {
                        handshake::check_ready(&body, settings.kind)?;
                        stream.push(handshake::ready(settings.kind.name()).into());
                        true
                    }
                };
                stream.write();
                if is_over {
                    stream.more = true;
                    self.open();
                    return Ok(());
                }
            }
        }
        let patience = self.settings.patience(false);
        if Instant::now() >= *until { Err(ConnectionError::Slow(patience)) } else { Ok(()) }
    }

    fn open(&mut self) {
        let since = Instant::now();
        let paused = State::Pausing { until: since };
        if let State::Greeting { stream, .. } = std::mem::replace(&mut self.state, paused) {
            self.state = State::Open { stream, since };
            self.changes.push(Change::Opened);
            if self.told.take().is_some() {
                tracing::info!("connected to {}", self.peer());
            }
        }
    }

    /// Looks after an open connection: what waits to leave, pings.
    fn look_after(&mut self) -> Result<(), ConnectionError> {
        let Settings { heartbeat, silence_max, .. } = self.settings;
        let State::Open { stream, .. } = &mut self.state else { return Ok(()) };
        stream.write();
        let silent = stream.heard.elapsed();
        if !stream.asked && silent >= heartbeat {
            stream.ask();
        } else if stream.asked && silent >= heartbeat + silence_max {
            // Who does not read does not hear; the system does.
            if !dial::is(&stream.socket, PollFlags::IN)? {
                return Err(ConnectionError::Silent(silent));
            }
            stream.heard = Instant::now();
            stream.asked = false;
        }
        Ok(())
    }

    fn lose(&mut self, error: ConnectionError) {
        let was_open = self.is_open();
        if self.open_for().is_some_and(|time| time >= PAUSE.1) {
            self.pause = PAUSE.0;
        }
        let text = error.to_string();
        // The same again and again would fill a log.
        if self.told.as_ref() != Some(&text) {
            tracing::warn!("no connection to {}: {text}", self.peer());
            self.told = Some(text);
        }
        self.changes.push(Change::Failed { was_open, error });
        self.go_to_the_next();
        // Clients that a server's end interrupted together shall not come back together.
        let jitter = self.pause.mul_f64(fastrand::f64());
        self.state = State::Pausing { until: Instant::now() + self.pause / 2 + jitter };
        self.pause = (self.pause * 2).min(PAUSE.1);
    }

    /// It is another server's turn, if there is one.
    fn go_to_the_next(&mut self) {
        self.turn = (self.turn + 1) % self.settings.addresses.len().max(1);
    }

    /// Dials the first of these addresses.
    fn dial_first(&self, found: std::vec::IntoIter<SocketAddr>) -> Result<State, ConnectionError> {
        dial_next(found, true, ConnectionError::NoAddress, &self.settings)
    }

    /// The server, for logs.
    fn peer(&self) -> String {
        let addresses: Vec<_> = self.settings.addresses.iter().map(ToString::to_string).collect();
        if addresses.is_empty() { "the server".to_owned() } else { addresses.join(" or ") }
    }
}

/// Dials the next address after this error; when there is none, it stands. `refused`: whether all addresses
/// before the error's rejected.
fn dial_next(
    mut addresses: std::vec::IntoIter<SocketAddr>,
    mut refused: bool,
    mut error: ConnectionError,
    settings: &Settings,
) -> Result<State, ConnectionError> {
    let refuses = |error: &ConnectionError| match error {
        ConnectionError::System(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        // No address was tried.
        ConnectionError::NoAddress => true,
        _ => false,
    };
    loop {
        refused &= refuses(&error);
        let Some(address) = addresses.next() else { break };
        match dial::begin(address) {
            Ok(socket) => {
                let patience = settings.patience(addresses.len() > 0);
                let (socket, until) = (socket.into(), Instant::now() + patience);
                return Ok(State::Dialing { socket, others: addresses, refused, until });
            }
            Err(failed) => error = ConnectionError::from_address(failed),
        }
    }
    Err(match error {
        ConnectionError::System(error) if refused => ConnectionError::NobodyListens(error),
        error => error,
    })
}

fn greet(socket: Arc<OwnedFd>, settings: &Settings) -> State {
    let mut stream = Stream::new(socket);
    let greeting = match settings.mechanism() {
        Mechanism::Null => &handshake::GREETING,
        Mechanism::Plain => &handshake::GREETING_PLAIN,
        Mechanism::Curve => &handshake::GREETING_CURVE,
    };
    stream.push(Bytes::from_static(greeting));
    let until = Instant::now() + settings.patience(false);
    State::Greeting { stream, greeted: false, handshake: None, until }
}
