//! The server's end of one connection: greeting, handshake, then requests or subscriptions. Pure: it reads
//! from an inbox and appends to a buffer.

mod close;
mod plain;
mod security;

use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::close::CloseReason;
use self::security::Security;
pub(crate) use self::security::ServerMechanism;
use super::command::{self, Command};
use super::curve::keys::PublicKey;
use super::curve::traffic::Sealer;
use super::envelope::{Assembled, Assembly, Envelope, Step};
use super::frame::Head;
use super::greeting::{self, GreetingError, Version};
use super::handshake::{self, GREETING_BYTES, Mechanism};
use super::inbox::{Inbox, Next};
use super::plain::Login;
use crate::limits::{
    COMMAND_BYTES_MAX, FRAMES_PER_REQUEST_MAX, HANDSHAKE_BYTES_MAX, IDENTITY_BYTES_MAX,
    SUBSCRIPTION_BYTES_MAX,
};

/// Bytes of a ZMTP 2.0 greeting: signature, revision, socket type.
const GREETING_V2_BYTES: usize = 12;

/// Which of the server's sockets a connection belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// A ROUTER: takes requests and answers them.
    Requests,
    /// An XPUB: takes subscriptions and publishes.
    Publishing,
}

impl Port {
    fn socket_type(self) -> &'static str {
        match self {
            Self::Requests => "ROUTER",
            Self::Publishing => "XPUB",
        }
    }

    /// The socket type in a ZMTP 2.0 greeting: [ZMTP 2.0](https://rfc.zeromq.org/spec/15/); XPUB is libzmq's.
    fn socket_type_v2(self) -> u8 {
        match self {
            Self::Requests => 6,
            Self::Publishing => 9,
        }
    }

    /// What may connect to it.
    fn peers(self) -> &'static [&'static str] {
        match self {
            Self::Requests => &["REQ", "DEALER", "ROUTER"],
            Self::Publishing => &["SUB", "XSUB"],
        }
    }

    fn peers_v2(self) -> &'static [u8] {
        match self {
            Self::Requests => &[3, 5, 6],
            Self::Publishing => &[2, 10],
        }
    }
}

/// What a peer did.
#[derive(Debug)]
pub(crate) enum Event {
    /// The handshake is over.
    Opened,
    /// Who the peer says that it is: for [`Session::welcome`] or [`Session::refuse_login`], and nothing happens before.
    Login(Login),
    /// A request, and what its answer begins with.
    Request(Envelope, Bytes),
    /// A request whose frames are not in order, and why.
    Malformed(Envelope, &'static str),
    /// A request whose body is over the limit. It was not kept.
    TooLarge {
        /// What the answer begins with.
        envelope: Envelope,
        /// Bytes of the body.
        bytes: u64,
        /// The body's first byte, which says in which format its sender speaks.
        first: u8,
    },
    /// A subscription.
    Subscribe(Bytes),
    /// A subscription taken back.
    Cancel(Bytes),
}

impl From<Assembled> for Event {
    fn from(assembled: Assembled) -> Self {
        match assembled {
            Assembled::Request(envelope, body) => Self::Request(envelope, body),
            Assembled::Malformed(envelope, why) => Self::Malformed(envelope, why),
            Assembled::TooLarge { envelope, bytes, first } => {
                Self::TooLarge { envelope, bytes, first }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting {
        first_sent: bool,
        version_known: bool,
    },
    /// A READY command is to come.
    Ready,
    /// The commands of PLAIN are to come.
    Plain(plain::Step),
    /// The commands of CURVE are to come.
    Curve,
    /// The frame with a ZMTP 2.0 peer's identity is to come.
    IdentityV2,
    Open,
}

/// The state of a connection at the server's end.
#[derive(Debug)]
pub(crate) struct Session {
    port: Port,
    stage: Stage,
    security: Security,
    has_commands: bool,
    /// Silence after which the peer wants to be given up, in tenths of a second; 0 for never.
    ttl_ds: u16,
    /// What the peer's socket is called.
    identity: Box<[u8]>,
    assembly: Assembly,
    /// A message of several frames is incomplete on the publishing port.
    in_message: bool,
    request_bytes_max: usize,
}

impl Session {
    /// The beginning of a connection. A request's body may have this many bytes. Only clients that have what `demand` asks for
    /// are taken.
    pub(crate) fn new(port: Port, request_bytes_max: usize, demand: &ServerMechanism) -> Self {
        Self {
            port,
            stage: Stage::Greeting { first_sent: false, version_known: false },
            security: Security::new(demand),
            has_commands: true,
            ttl_ds: 0,
            identity: Box::default(),
            assembly: Assembly::default(),
            in_message: false,
            request_bytes_max,
        }
    }

    /// From its next frame on, a request's body may have this many bytes.
    pub(crate) fn set_request_bytes_max(&mut self, bytes: usize) {
        self.request_bytes_max = bytes;
    }

    /// Which socket the connection belongs to.
    pub(crate) fn port(&self) -> Port {
        self.port
    }

    /// Whether the handshake is over.
    pub(crate) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// The key that the client proved to have, with CURVE.
    pub(crate) fn client_key(&self) -> Option<PublicKey> {
        self.security.client_key()
    }

    /// The user whose password the client said, with PLAIN.
    pub(crate) fn user(&self) -> Option<&Arc<str>> {
        self.security.user()
    }

    /// What the peer's socket is called: any bytes, and none if it does not say.
    pub(crate) fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// What seals all that is sent from the end of the handshake on, with CURVE; once.
    pub(crate) fn take_sealer(&mut self) -> Option<Sealer> {
        self.security.take_sealer()
    }

    /// Whether a request has begun and is not whole.
    pub(crate) fn is_within_request(&self) -> bool {
        self.assembly.has_begun()
    }

    /// Silence after which the peer wants to be given up, in tenths of a second; 0 for never.
    pub(crate) fn ttl_ds(&self) -> u16 {
        self.ttl_ds
    }

    /// Goes on with what is in the inbox until something happened, and appends what the peer is to be told.
    ///
    /// # Errors
    /// Why the connection is to be closed, once `out` has left.
    pub(crate) fn advance(
        &mut self,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, CloseReason> {
        loop {
            let step = match self.stage {
                Stage::Greeting { .. } => self.greet(inbox, out)?,
                Stage::Ready | Stage::IdentityV2 => self.shake_hands(inbox, out)?,
                Stage::Curve => self.secure(inbox, out)?,
                Stage::Plain(plain::Step::Hello) => {
                    return Ok(self.hear_login(inbox)?.map(Event::Login));
                }
                Stage::Plain(plain::Step::Checking) => return Ok(None),
                Stage::Plain(plain::Step::Initiate) => self.initiate(inbox, out)?,
                Stage::Open => return self.read(inbox, out),
            };
            match step {
                Progress::Waiting => return Ok(None),
                Progress::Made if self.is_open() => return Ok(Some(Event::Opened)),
                Progress::Made => {}
            }
        }
    }

    fn greet(&mut self, inbox: &mut Inbox, out: &mut Vec<u8>) -> Result<Progress, CloseReason> {
        let mechanism = self.security.mechanism();
        let Stage::Greeting { first_sent, version_known } = &mut self.stage else {
            return Ok(Progress::Waiting);
        };
        if !std::mem::replace(first_sent, true) {
            out.extend_from_slice(&greeting::FIRST);
        }
        match greeting::version(inbox.raw())? {
            None => {
                inbox.keep_part(GREETING_BYTES)?;
                Ok(Progress::Waiting)
            }
            Some(Version::V2) if mechanism != Mechanism::Null => {
                Err(GreetingError::TooOldForSecurity.into())
            }
            Some(Version::V2) => {
                if !std::mem::replace(version_known, true) {
                    // The socket type, and an empty identity.
                    out.extend_from_slice(&[self.port.socket_type_v2(), 0, 0]);
                }
                let Some(greeting) = inbox.take_raw::<GREETING_V2_BYTES>()? else {
                    return Ok(Progress::Waiting);
                };
                let socket_type = greeting[GREETING_V2_BYTES - 1];
                if !self.port.peers_v2().contains(&socket_type) {
                    return Err(self.wrong_socket(format!("number {socket_type} of ZMTP 2.0")));
                }
                self.has_commands = false;
                self.stage = Stage::IdentityV2;
                Ok(Progress::Made)
            }
            Some(Version::V3) => {
                if !std::mem::replace(version_known, true) {
                    out.extend_from_slice(match mechanism {
                        Mechanism::Null => &greeting::REST_V3,
                        Mechanism::Plain => &greeting::REST_V3_PLAIN,
                        Mechanism::Curve => &greeting::REST_V3_CURVE,
                    });
                }
                let Some(greeting) = inbox.take_raw::<GREETING_BYTES>()? else {
                    return Ok(Progress::Waiting);
                };
                greeting::check_mechanism(&greeting, mechanism)?;
                self.stage = match mechanism {
                    Mechanism::Null => {
                        command::append_ready(self.port.socket_type().as_bytes(), out);
                        Stage::Ready
                    }
                    Mechanism::Plain => Stage::Plain(plain::Step::Hello),
                    Mechanism::Curve => Stage::Curve,
                };
                Ok(Progress::Made)
            }
        }
    }

    fn shake_hands(
        &mut self,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
    ) -> Result<Progress, CloseReason> {
        let v2 = self.stage == Stage::IdentityV2;
        let bytes_max = if v2 { IDENTITY_BYTES_MAX } else { HANDSHAKE_BYTES_MAX };
        match inbox.next(bytes_max)? {
            Next::Nothing => return Ok(Progress::Waiting),
            Next::Oversize { .. } => {
                return Err(CloseReason::Protocol("its handshake is too long"));
            }
            Next::Frame(head, identity) if v2 => {
                if head.command || head.more {
                    return Err(CloseReason::Protocol("its identity is no single frame"));
                }
                self.identity = identity[..].into();
            }
            Next::Frame(Head { command: true, .. }, body) => match Command::read(&body) {
                Ok(Command::Ready(properties)) => self.check_ready(properties, out)?,
                Ok(Command::Error) => return Err(CloseReason::Protocol("it sent an ERROR")),
                _ => return Err(CloseReason::Protocol("it did not say READY")),
            },
            Next::Frame(..) => {
                return Err(CloseReason::Protocol("it sent a message before READY"));
            }
        }
        self.stage = Stage::Open;
        Ok(Progress::Made)
    }

    /// Goes on with the handshake of CURVE.
    fn secure(&mut self, inbox: &mut Inbox, out: &mut Vec<u8>) -> Result<Progress, CloseReason> {
        let body = match inbox.next(HANDSHAKE_BYTES_MAX)? {
            Next::Nothing => return Ok(Progress::Waiting),
            Next::Oversize { .. } => {
                return Err(CloseReason::Protocol("its handshake is too long"));
            }
            Next::Frame(Head { command: true, .. }, body) => body,
            Next::Frame(..) => {
                return Err(CloseReason::Protocol("it sent a message within its handshake"));
            }
        };
        if let Some(initiated) = self.security.advance(&body, out)? {
            self.check_ready(&initiated.properties, out)?;
            let properties = handshake::properties(self.port.socket_type().as_bytes());
            self.security = Security::open(&initiated, &properties, out);
            self.stage = Stage::Open;
        }
        Ok(Progress::Made)
    }

    /// Checks what the peer says of itself. Its identity, if it chose one, is a name for people: answers find
    /// their way by the connection.
    fn check_ready(&mut self, properties: &[u8], out: &mut Vec<u8>) -> Result<(), CloseReason> {
        for property in command::properties(properties) {
            let (name, value) = property
                .map_err(|_| CloseReason::Protocol("a property of READY overruns its command"))?;
            if name.eq_ignore_ascii_case(b"Identity") {
                if value.len() > IDENTITY_BYTES_MAX {
                    return Err(CloseReason::Protocol("its identity is longer than 255 bytes"));
                }
                self.identity = value.into();
            }
            if name.eq_ignore_ascii_case(b"Socket-Type")
                && !self.port.peers().iter().any(|peer| peer.as_bytes() == value)
            {
                let found = String::from_utf8_lossy(&value[..value.len().min(32)]).into_owned();
                let reason = self.wrong_socket(found);
                // A libzmq client that is told never tries again, and this one never will fit.
                command::append_error("Invalid socket type", out);
                return Err(reason);
            }
        }
        Ok(())
    }

    fn wrong_socket(&self, found: String) -> CloseReason {
        CloseReason::WrongSocket { found, expected: self.port.peers().join(", ") }
    }

    fn read(&mut self, inbox: &mut Inbox, out: &mut Vec<u8>) -> Result<Option<Event>, CloseReason> {
        loop {
            let bytes_max = match self.port {
                Port::Publishing => SUBSCRIPTION_BYTES_MAX + 1,
                Port::Requests => self.assembly.bytes_max(self.request_bytes_max),
            };
            // A command is never longer than what else may come.
            let event = match self.security.next(inbox, bytes_max.max(COMMAND_BYTES_MAX))? {
                Next::Nothing => return Ok(None),
                Next::Frame(Head { command: true, .. }, body) => self.obey(body, out)?,
                Next::Oversize { head: Head { command: true, .. }, .. } => {
                    return Err(CloseReason::Protocol("a command is too long"));
                }
                Next::Frame(head, body) if self.port == Port::Publishing => {
                    self.change_subscription(head, &body)?
                }
                Next::Oversize { .. } if self.port == Port::Publishing => {
                    return Err(CloseReason::Protocol("a subscription is too long"));
                }
                Next::Frame(head, body) => self.assemble(head, Step::Frame(body))?,
                Next::Oversize { head, first } => {
                    self.assemble(head, Step::Oversize { bytes: head.body_bytes, first })?
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    fn obey(&mut self, body: Bytes, out: &mut Vec<u8>) -> Result<Option<Event>, CloseReason> {
        if !self.has_commands {
            return Err(CloseReason::Protocol("ZMTP 2.0 has no commands"));
        }
        if body.len() > COMMAND_BYTES_MAX {
            return Err(CloseReason::Protocol("a command is too long"));
        }
        let command = Command::read(&body)
            .map_err(|_| CloseReason::Protocol("a command overruns its frame"))?;
        match command {
            Command::Ping { ttl_ds, context } => {
                self.ttl_ds = ttl_ds;
                command::append_pong(context, out);
            }
            Command::Subscribe(topic) if self.port == Port::Publishing => {
                check_topic(topic)?;
                return Ok(Some(Event::Subscribe(body.slice_ref(topic))));
            }
            Command::Cancel(topic) if self.port == Port::Publishing => {
                check_topic(topic)?;
                return Ok(Some(Event::Cancel(body.slice_ref(topic))));
            }
            _ => {}
        }
        Ok(None)
    }

    /// Subscriptions as messages, which is how peers before ZMTP 3.1 send them. What else a peer sends here
    /// means nothing.
    fn change_subscription(
        &mut self,
        head: Head,
        body: &Bytes,
    ) -> Result<Option<Event>, CloseReason> {
        let is_first = !std::mem::replace(&mut self.in_message, head.more);
        match body.split_first() {
            Some((&what @ (0 | 1), topic)) if is_first && !head.more => {
                check_topic(topic)?;
                let topic = body.slice_ref(topic);
                Ok(Some(if what == 1 { Event::Subscribe(topic) } else { Event::Cancel(topic) }))
            }
            _ => Ok(None),
        }
    }

    fn assemble(&mut self, head: Head, step: Step) -> Result<Option<Event>, CloseReason> {
        if self.assembly.frames() >= FRAMES_PER_REQUEST_MAX {
            return Err(CloseReason::Protocol("a request has too many frames"));
        }
        Ok(self.assembly.add(step, head.more).map(Event::from))
    }
}

fn check_topic(topic: &[u8]) -> Result<(), CloseReason> {
    if topic.len() > SUBSCRIPTION_BYTES_MAX {
        return Err(CloseReason::Protocol("a subscription is too long"));
    }
    Ok(())
}

enum Progress {
    Made,
    Waiting,
}

#[cfg(test)]
mod tests;
