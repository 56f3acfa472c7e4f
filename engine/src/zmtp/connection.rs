//! A connection that is made anew whenever it is lost.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::PollFlags;

use super::dial;
use super::error::ConnectionError;
use super::frame::Head;
use super::handshake::{self, Kind};
use super::inbox::{Filled, Inbox};
use super::sending::Sending;
use super::wait::Polled;

pub(crate) use super::dial::Address;

/// Pause before the first attempt after a failed one, and the most that it doubles to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long an address may take to answer, and then a server to say what it is.
const PATIENCE: Duration = Duration::from_secs(5);

/// Parts of a message that are kept: one more than any message has that means something.
const PARTS_MAX: usize = 4;

/// What a connection is for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where the server is. `None`: the connection is given, and not made anew.
    pub(crate) address: Option<Address>,
    /// What this end is.
    pub(crate) kind: Kind,
    /// A larger received frame ends the connection.
    pub(crate) frame_bytes_max: usize,
    /// Silence after which the server is asked for a sign of life.
    pub(crate) heartbeat: Duration,
    /// Silence after that which ends the connection.
    pub(crate) silence_max: Duration,
}

/// A connection, or the attempt to get one. Nothing waits.
#[derive(Debug)]
pub(crate) struct Connection {
    settings: Settings,
    state: State,
    /// Before the next attempt.
    pause: Duration,
    /// The last error that was told, so that it is told once.
    told: Option<String>,
}

#[derive(Debug)]
enum State {
    Pausing { until: Instant },
    Dialing { socket: Arc<OwnedFd>, others: std::vec::IntoIter<SocketAddr>, until: Instant },
    Greeting { stream: Stream, greeted: bool, until: Instant },
    Open { stream: Stream },
}

#[derive(Debug)]
struct Stream {
    socket: Arc<OwnedFd>,
    inbox: Inbox,
    /// Of a message that is not whole yet.
    parts: Vec<Bytes>,
    sending: Sending,
    /// Whether the system may have more than was read.
    more: bool,
    heard: Instant,
    asked: bool,
}

impl Stream {
    fn new(socket: Arc<OwnedFd>, now: Instant) -> Self {
        let (inbox, parts, sending) = Default::default();
        Self { socket, inbox, parts, sending, more: true, heard: now, asked: false }
    }

    fn write(&mut self) -> io::Result<()> {
        self.sending.write(self.socket.as_fd())
    }

    /// Reads once.
    fn fill(&mut self) -> Result<(), ConnectionError> {
        self.more = self.inbox.fill(self.socket.as_fd())? == Filled::Full;
        Ok(())
    }
}

impl Connection {
    /// A connection that [`Self::advance`] begins to make.
    pub(crate) fn new(settings: Settings, now: Instant) -> Self {
        Self { settings, state: State::Pausing { until: now }, pause: PAUSE.0, told: None }
    }

    /// A connection over a stream that exists.
    pub(crate) fn over(socket: OwnedFd, settings: Settings, now: Instant) -> Self {
        let state = greet(socket.into(), settings.kind, now);
        Self { settings, state, pause: PAUSE.0, told: None }
    }

    /// Whether what is sent now leaves.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Why there is no connection, since the last one.
    #[cfg(test)]
    pub(super) fn told(&self) -> Option<&str> {
        self.told.as_deref()
    }

    /// Does what can be done without waiting; to be called when [`Self::polled`] says so or
    /// [`Self::deadline`] has come. `true` when a connection was made: what was sent on an earlier one
    /// may be lost.
    pub(crate) fn advance(&mut self, now: Instant) -> bool {
        let was_open = self.is_open();
        if let Err(error) = self.step(now) {
            self.lose(&error, now);
        }
        !was_open && self.is_open()
    }

    /// Gives the connection up and makes a new one after a pause.
    pub(crate) fn restart(&mut self, pause: Duration, now: Instant) {
        self.state = State::Pausing { until: now + pause };
    }

    /// Sends a chunk of whole frames, or of one frame's head or body in their order. It is lost with the
    /// connection, or when there is none. [`Self::flush`] makes it leave.
    pub(crate) fn send(&mut self, chunk: Bytes) {
        if let State::Open { stream } = &mut self.state {
            stream.sending.push(chunk);
        }
    }

    /// Gives the system what was sent. `false` when the owner has to wait until it takes the rest, or
    /// the connection was lost.
    pub(crate) fn flush(&mut self, now: Instant) -> bool {
        let State::Open { stream } = &mut self.state else { return true };
        match stream.write() {
            Ok(()) => stream.sending.is_empty(),
            Err(error) => {
                self.lose(&error.into(), now);
                false
            }
        }
    }

    /// Takes the next whole message into `parts`, of a longer one the first few; `false` until there is
    /// something to read.
    pub(crate) fn receive(&mut self, parts: &mut Vec<Bytes>, now: Instant) -> bool {
        parts.clear();
        match self.read(parts, now) {
            Ok(found) => found,
            Err(error) => {
                self.lose(&error, now);
                false
            }
        }
    }

    /// Lets [`Self::receive`] ask the system again: the socket was seen to be readable.
    pub(crate) fn readable(&mut self) {
        if let State::Open { stream } | State::Greeting { stream, .. } = &mut self.state {
            stream.more = true;
        }
    }

    /// What to wait for.
    pub(crate) fn polled(&self) -> Option<Polled> {
        match &self.state {
            State::Pausing { .. } => None,
            State::Dialing { socket, .. } => {
                Some(Polled { socket: Arc::clone(socket), write: true })
            }
            State::Greeting { stream, .. } | State::Open { stream } => {
                let write = !stream.sending.is_empty();
                Some(Polled { socket: Arc::clone(&stream.socket), write })
            }
        }
    }

    /// When [`Self::advance`] is due. `reading`: whether the owner takes what comes in.
    pub(crate) fn deadline(&self, reading: bool) -> Option<Instant> {
        match &self.state {
            State::Pausing { until } => self.settings.address.as_ref().map(|_| *until),
            State::Dialing { until, .. } | State::Greeting { until, .. } => Some(*until),
            State::Open { stream } if stream.asked => {
                reading.then(|| stream.heard + self.settings.heartbeat + self.settings.silence_max)
            }
            State::Open { stream } => Some(stream.heard + self.settings.heartbeat),
        }
    }

    fn step(&mut self, now: Instant) -> Result<(), ConnectionError> {
        if let State::Pausing { until } = &self.state
            && let Some(address) = &self.settings.address
            && now >= *until
        {
            let others = address.resolve()?;
            self.state = dial_next(others, None, now)?;
        }
        if let State::Dialing { socket, others, until } = &mut self.state {
            match dial::finish(socket) {
                Ok(false) if now < *until => return Ok(()),
                Ok(false) => {
                    let slow = ConnectionError::Slow(PATIENCE);
                    self.state = dial_next(std::mem::take(others), Some(slow), now)?;
                }
                Ok(true) => {
                    let State::Dialing { socket, .. } =
                        std::mem::replace(&mut self.state, State::Pausing { until: now })
                    else {
                        return Ok(());
                    };
                    self.state = greet(socket, self.settings.kind, now);
                }
                Err(error) => {
                    self.state = dial_next(std::mem::take(others), Some(error.into()), now)?;
                }
            }
        }
        self.shake_hands(now)?;
        self.look_after(now)
    }

    fn shake_hands(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let State::Greeting { stream, greeted, until } = &mut self.state else { return Ok(()) };
        stream.write()?;
        let bytes_max = self.settings.frame_bytes_max;
        stream.fill()?;
        if !*greeted && let Some(greeting) = stream.inbox.take_raw() {
            handshake::check_greeting(&greeting)?;
            *greeted = true;
        }
        if *greeted {
            stream.inbox.cut(bytes_max)?;
            if let Some((head, body)) = stream.inbox.take()? {
                if !head.command {
                    return Err(ConnectionError::Malformed);
                }
                handshake::check_ready(&body, self.settings.kind)?;
                stream.more = true;
                stream.heard = now;
                let paused = State::Pausing { until: now };
                if let State::Greeting { stream, .. } = std::mem::replace(&mut self.state, paused) {
                    self.state = State::Open { stream };
                    self.pause = PAUSE.0;
                    self.told = None;
                }
                return Ok(());
            }
        }
        if now >= *until { Err(ConnectionError::Slow(PATIENCE)) } else { Ok(()) }
    }

    /// Looks after an open connection: what waits to leave, signs of life.
    fn look_after(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let Settings { heartbeat, silence_max, .. } = self.settings;
        let State::Open { stream } = &mut self.state else { return Ok(()) };
        stream.write()?;
        let silent = now.saturating_duration_since(stream.heard);
        if !stream.asked && silent >= heartbeat {
            stream.asked = true;
            stream.sending.push(Bytes::from_static(PING));
            stream.write()?;
        } else if stream.asked && silent >= heartbeat + silence_max {
            // Who does not read does not hear; the system does.
            if !dial::is(&stream.socket, PollFlags::IN)? {
                return Err(ConnectionError::Silent(silent));
            }
            stream.heard = now;
            stream.asked = false;
        }
        Ok(())
    }

    fn read(&mut self, parts: &mut Vec<Bytes>, now: Instant) -> Result<bool, ConnectionError> {
        let State::Open { stream } = &mut self.state else { return Ok(false) };
        loop {
            while let Some((head, body)) = stream.inbox.take()? {
                if head.command {
                    if let Some(pong) = pong(&body) {
                        stream.sending.push(pong);
                        stream.write()?;
                    }
                    continue;
                }
                if stream.parts.len() < PARTS_MAX {
                    stream.parts.push(body);
                }
                if !head.more {
                    std::mem::swap(parts, &mut stream.parts);
                    return Ok(true);
                }
            }
            if !stream.more {
                return Ok(false);
            }
            stream.fill()?;
            stream.heard = now;
            stream.asked = false;
            stream.inbox.cut(self.settings.frame_bytes_max)?;
        }
    }

    fn lose(&mut self, error: &ConnectionError, now: Instant) {
        let text = error.to_string();
        // The same again and again would fill a log.
        if self.told.as_ref() != Some(&text) {
            let address = self.settings.address.as_ref().map(ToString::to_string);
            tracing::warn!(
                "no connection to {}: {text}",
                address.as_deref().unwrap_or("the server")
            );
            self.told = Some(text);
        }
        // Clients that a server's end interrupted together shall not come back together.
        let jitter = self.pause.mul_f64(fastrand::f64());
        self.state = State::Pausing { until: now + self.pause / 2 + jitter };
        self.pause = (self.pause * 2).min(PAUSE.1);
    }
}

/// Dials the next address; when there is none, the error of the last one stands.
fn dial_next(
    mut addresses: std::vec::IntoIter<SocketAddr>,
    mut error: Option<ConnectionError>,
    now: Instant,
) -> Result<State, ConnectionError> {
    for address in addresses.by_ref() {
        match dial::begin(address) {
            Ok(socket) => {
                let (socket, until) = (socket.into(), now + PATIENCE);
                return Ok(State::Dialing { socket, others: addresses, until });
            }
            Err(failed) => error = Some(failed.into()),
        }
    }
    Err(error.unwrap_or(ConnectionError::Slow(Duration::ZERO)))
}

fn greet(socket: Arc<OwnedFd>, kind: Kind, now: Instant) -> State {
    let mut stream = Stream::new(socket, now);
    stream.sending.push(handshake::hello(kind).into());
    State::Greeting { stream, greeted: false, until: now + PATIENCE }
}

/// A PING command without a time to live and without a context, as a frame.
const PING: &[u8] = b"\x04\x07\x04PING\0\0";

/// The answer to a PING, as a frame: its context comes back.
fn pong(body: &[u8]) -> Option<Bytes> {
    let context = body.strip_prefix(b"\x04PING")?.get(2..)?;
    let body = [b"\x04PONG", context].concat();
    let mut frame = Vec::new();
    Head::command(body.len()).append_to(&mut frame);
    frame.extend(body);
    Some(frame.into())
}
