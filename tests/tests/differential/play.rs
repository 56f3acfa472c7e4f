//! Says a script to one end, and reads what comes back.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use super::walk::{COMMAND, Frame, GREETING_BYTES, GREETING_V2_BYTES, LONG, MORE, Port, frame};

/// How long an end may take to answer. Far more than it takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes of a signature.
const SIGNATURE_BYTES: usize = 10;

/// What a peer says, and where it pauses.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) port: Port,
    pub(super) bytes: Vec<u8>,
    pub(super) cuts: Vec<usize>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} b\"{}\" cut at {:?}", self.port, self.bytes.escape_ascii(), self.cuts)
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Ours,
    Libzmq,
}

/// A connection to one end.
pub(super) struct Peer {
    end: End,
    stream: TcpStream,
    heard: Vec<u8>,
    has_ended: bool,
    /// Where frames begin in what is heard.
    frames_at: usize,
}

impl Peer {
    pub(super) fn connect(end: End, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { end, stream, heard: Vec::new(), has_ended: false, frames_at: GREETING_BYTES }
    }

    /// Says a script's bytes, with `pause` after each piece. In the handshake it hears the answer to what it
    /// said before it goes on, as peers have to: libzmq closes on what comes before its own READY has left.
    pub(super) fn play(
        &mut self,
        script: &Script,
        mut pause: impl FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        let bytes = &script.bytes[..];
        let is_v2 = self.is_v2(bytes);
        self.frames_at = if is_v2 { GREETING_V2_BYTES } else { GREETING_BYTES };
        let mut marks = [&script.cuts[..], &[self.frames_at, bytes.len()]].concat();
        marks.retain(|&mark| mark <= bytes.len());
        marks.sort_unstable();
        marks.dedup();
        let mut said = 0;
        for mark in marks {
            self.say(&bytes[said..mark]);
            said = mark;
            self.hear_until("the handshake's answer", |peer| peer.has_greeted(&bytes[..said]))?;
            pause()?;
        }
        Ok(())
    }

    fn is_v2(&self, said: &[u8]) -> bool {
        match self.end {
            End::Ours => matches!(said.get(SIGNATURE_BYTES), Some(1 | 2)),
            End::Libzmq => matches!(said.get(SIGNATURE_BYTES), Some(0 | 1)),
        }
    }

    /// Whether the end has said what these bytes of a handshake ask for.
    fn has_greeted(&self, said: &[u8]) -> bool {
        let is_versioned = said.first().is_none_or(|&byte| byte == 0xff)
            && said.get(9).is_none_or(|byte| byte & 1 == 1);
        let due = match said.len() {
            _ if !is_versioned => SIGNATURE_BYTES,
            0..SIGNATURE_BYTES => SIGNATURE_BYTES,
            SIGNATURE_BYTES => SIGNATURE_BYTES + 1,
            bytes if self.is_v2(said) => {
                if bytes < GREETING_V2_BYTES {
                    GREETING_V2_BYTES
                } else {
                    GREETING_V2_BYTES + 2
                }
            }
            bytes if bytes < GREETING_BYTES => GREETING_BYTES,
            _ => return self.heard.get(GREETING_BYTES..).is_some_and(|rest| frame(rest).is_ok()),
        };
        self.heard.len() >= due
    }

    /// Says something. When the end is gone, that shows in what is heard.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        _ = self.stream.write_all(bytes);
    }

    /// Says no more.
    pub(super) fn fall_silent(&mut self) {
        _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Hears until this is so, or the end hangs up.
    pub(super) fn hear_until(
        &mut self,
        what: &str,
        is_done: impl Fn(&Self) -> bool,
    ) -> Result<(), String> {
        let mut buffer = [0; 4096];
        while !self.has_ended && !is_done(self) {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.has_ended = true,
                Ok(bytes) => self.heard.extend(&buffer[..bytes]),
                // A process that is stopped for a moment may find its wait interrupted.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => self.has_ended = true,
                Err(error) => {
                    let heard = self.heard.escape_ascii();
                    return Err(format!(
                        "{:?}: {what} did not come: {error}; heard b\"{heard}\"",
                        self.end
                    ));
                }
            }
        }
        Ok(())
    }

    /// Hears until the end hangs up.
    pub(super) fn hear_the_end(&mut self) -> Result<(), String> {
        self.hear_until("the end of the connection", |_| false)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    pub(super) fn ends_with(&self, bytes: &[u8]) -> bool {
        self.heard.ends_with(bytes)
    }

    /// What was heard, without what means nothing.
    pub(super) fn outcome(&self, port: Port) -> Result<Outcome, String> {
        let greeting_bytes = self.heard.len().min(self.frames_at);
        let (greeting, mut rest) = self.heard.split_at(greeting_bytes);
        let mut outcome = Outcome { greeting: greeting.to_vec(), ..Outcome::default() };
        let mut message = Vec::new();
        while let Ok(frame) = frame(rest) {
            rest = &rest[frame.bytes..];
            check_head(&frame)?;
            if frame.flags & COMMAND != 0 {
                match frame.body.strip_prefix(b"\x05READY") {
                    Some(properties) => outcome.ready.push(ready(properties)?),
                    None => outcome.commands.push(frame.body.to_vec()),
                }
                continue;
            }
            message.push(frame.body.to_vec());
            if frame.flags & MORE == 0 {
                outcome.add(port, std::mem::take(&mut message));
            }
        }
        let is_whole = rest.is_empty() && message.is_empty();
        if !is_whole && !self.has_ended {
            return Err(format!("{:?} broke off within a message", self.end));
        }
        outcome.has_ended = self.has_ended;
        Ok(outcome)
    }
}

/// Checks that a head is as the specification shows it.
fn check_head(frame: &Frame<'_>) -> Result<(), String> {
    let length_flag = if frame.body.len() > 255 { LONG } else { 0 };
    match frame.flags {
        flags if flags & LONG != length_flag => Err(format!("a length in the wrong form: {flags}")),
        flags if flags & !(MORE | LONG | COMMAND) != 0 => Err(format!("unknown flags: {flags}")),
        flags if flags & COMMAND != 0 && flags & MORE != 0 => Err("a command has more".to_owned()),
        _ => Ok(()),
    }
}

type Properties = BTreeMap<Vec<u8>, Vec<u8>>;

/// The properties of a READY, but for an identity that is empty.
fn ready(mut list: &[u8]) -> Result<Properties, String> {
    let mut properties = Properties::new();
    while !list.is_empty() {
        let property = || {
            let (&length, rest) = list.split_first()?;
            let (name, rest) = rest.split_at_checked(usize::from(length))?;
            let (length, rest) = rest.split_first_chunk()?;
            let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            Some((name, value, rest))
        };
        let (name, value, rest) = property().ok_or("its READY is cut")?;
        list = rest;
        if name != b"Identity" || !value.is_empty() {
            properties.insert(name.to_vec(), value.to_vec());
        }
    }
    Ok(properties)
}

/// What an end said, and whether it hung up.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) greeting: Vec<u8>,
    pub(super) ready: Vec<Properties>,
    /// In their order. They may overtake messages.
    pub(super) commands: Vec<Vec<u8>>,
    pub(super) messages: Vec<Vec<Vec<u8>>>,
    /// Names under which messages in the original format came.
    pub(super) v1_names: Vec<Vec<u8>>,
    pub(super) has_ended: bool,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |all: &[Vec<u8>]| -> Vec<String> {
            all.iter().map(|bytes| bytes.escape_ascii().to_string()).collect()
        };
        write!(f, "greeting {} ", self.greeting.escape_ascii())?;
        for (name, value) in self.ready.iter().flatten() {
            write!(f, "{}={} ", name.escape_ascii(), value.escape_ascii())?;
        }
        let messages: Vec<_> = self.messages.iter().map(|message| shown(message)).collect();
        write!(f, "commands {:?} messages {messages:?} ", shown(&self.commands))?;
        write!(f, "v1 names {:?} ended: {}", shown(&self.v1_names), self.has_ended)
    }
}

impl Outcome {
    fn add(&mut self, port: Port, mut message: Vec<Vec<u8>>) {
        let is_single = message.len() == 1;
        let Some(body) = message.last_mut() else { return };
        match (port, &body[..]) {
            // A refusal: its code and text are the server's own.
            (Port::Requests, [1, ..]) => body.truncate(1),
            // The server translates it to a pickle, which has a time of its own.
            (Port::Publishing, [0x20..=0xff, ..]) if is_single => {
                body.truncate(body.iter().position(|&byte| byte == b'|').unwrap_or(body.len()));
                self.v1_names.push(std::mem::take(body));
                return;
            }
            _ => {}
        }
        self.messages.push(message);
    }

    /// Checks that both ends said the same, or as far as either came when they hung up.
    pub(super) fn compare(&self, libzmq: &Self) -> Result<(), String> {
        let agree = if self.has_ended && libzmq.has_ended {
            begin_alike(&self.greeting, &libzmq.greeting)
                && begin_alike(&self.ready, &libzmq.ready)
                && begin_alike(&self.commands, &libzmq.commands)
                && begin_alike(&self.messages, &libzmq.messages)
        } else {
            self == libzmq
        };
        if agree { Ok(()) } else { Err(format!("ours:   {self:?}\nlibzmq: {libzmq:?}")) }
    }

    /// Checks that both ends said the same to these bytes, which are no more than a part of a handshake.
    pub(super) fn compare_greeting(&self, libzmq: &Self, said: &[u8]) -> Result<(), String> {
        // The revision goes with the signature, the identity of ZMTP 2.0 with the socket type.
        let early_bytes = match said {
            [..] if said.len() < SIGNATURE_BYTES => 1,
            [.., 1] if said.len() == SIGNATURE_BYTES + 1 => 2,
            _ => 0,
        };
        let mut early = (self.greeting.clone(), self.messages.clone());
        if early_bytes == 1 && early.0.len() == libzmq.greeting.len() + 1 {
            early.0.pop();
        }
        if early_bytes == 2 && early.1.len() == libzmq.messages.len() + 1 {
            early.1.pop();
        }
        let ours = (&early.0, &early.1, &self.ready, &self.commands, self.has_ended);
        let theirs =
            (&libzmq.greeting, &libzmq.messages, &libzmq.ready, &libzmq.commands, libzmq.has_ended);
        if ours == theirs { Ok(()) } else { Err(format!("ours:   {self:?}\nlibzmq: {libzmq:?}")) }
    }
}

fn begin_alike<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
