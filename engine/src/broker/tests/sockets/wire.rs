//! A client's end of a connection: ZMTP, written apart from the server's.

use fastrand::Rng;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V20,
    V30,
    V31,
}

/// A frame that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) more: bool,
    pub(super) command: bool,
    pub(super) body: Vec<u8>,
}

/// Appends a frame. Flags: 1 for more, 4 for a command.
pub(super) fn append(flags: u8, body: &[u8], out: &mut Vec<u8>) {
    match u8::try_from(body.len()) {
        Ok(length) => out.extend([flags, length]),
        Err(_) => {
            out.push(flags | 2);
            out.extend((body.len() as u64).to_be_bytes());
        }
    }
    out.extend(body);
}

/// A command's frame.
pub(super) fn command(name: &str, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    append(4, &[&[name.len() as u8], name.as_bytes(), content].concat(), &mut out);
    out
}

/// The READY command of a socket of this type.
pub(super) fn ready(socket: &str) -> Vec<u8> {
    let length = (socket.len() as u32).to_be_bytes();
    command("READY", &[&b"\x0bSocket-Type"[..], &length, socket.as_bytes()].concat())
}

/// The greeting of a client that speaks 3.x.
pub(super) fn greeting(minor: u8) -> Vec<u8> {
    let mut greeting = vec![0; 64];
    greeting[0] = 0xff;
    (greeting[9], greeting[10], greeting[11]) = (0x7f, 3, minor);
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    /// READY, or the identity of 2.0, is to come.
    Ready,
    Open,
}

/// The state of a connection at the client's end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) version: Version,
    socket: &'static str,
    server: &'static str,
    stage: Stage,
    /// What is said once the server has shown its version, if that is awaited.
    rest: Vec<u8>,
    /// Whether it says nothing further before the server's READY.
    is_patient: bool,
    /// What is said then.
    waiting: Vec<u8>,
    buffer: Vec<u8>,
    /// Bytes that it has said, or will.
    pub(super) total: u64,
}

impl End {
    /// The beginning of a connection, and what is said first.
    pub(super) fn new(version: Version, socket: &'static str, random: &mut Rng) -> (Self, Vec<u8>) {
        let server = if socket == "SUB" { "XPUB" } else { "ROUTER" };
        let mut said = match version {
            Version::V20 => {
                let mut said = greeting(0)[..10].to_vec();
                said.extend([1, if socket == "SUB" { 2 } else { 5 }]);
                append(0, b"somebody", &mut said);
                said
            }
            Version::V30 | Version::V31 => {
                [greeting(u8::from(version == Version::V31)), ready(socket)].concat()
            }
        };
        let total = said.len() as u64;
        let rest = if random.bool() { said.split_off(10) } else { Vec::new() };
        let is_patient = !rest.is_empty() || random.bool();
        let (waiting, buffer) = (Vec::new(), Vec::new());
        let stage = Stage::Greeting;
        (Self { version, socket, server, stage, rest, is_patient, waiting, buffer, total }, said)
    }

    /// What is to be sent now of what a client has to say.
    pub(super) fn say(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        self.total += bytes.len() as u64;
        if self.stage == Stage::Open || !self.is_patient {
            return bytes;
        }
        self.waiting.extend(bytes);
        Vec::new()
    }

    /// Takes bytes, and returns the frames that they complete. What is to be said to them is appended.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn hear(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Vec<Frame>, String> {
        self.buffer.extend(bytes);
        if self.stage == Stage::Greeting && !self.greet(out)? {
            return Ok(Vec::new());
        }
        let mut frames = Vec::new();
        while let Some(frame) = self.cut()? {
            if self.stage == Stage::Open {
                frames.push(frame);
                continue;
            }
            let expected = match self.version {
                Version::V20 => Frame { more: false, command: false, body: Vec::new() },
                Version::V30 | Version::V31 => {
                    Frame { more: false, command: true, body: ready(self.server)[2..].to_vec() }
                }
            };
            if frame != expected {
                return Err(format!("{} was told {frame:?} for READY", self.socket));
            }
            self.stage = Stage::Open;
            out.append(&mut self.waiting);
        }
        Ok(frames)
    }

    /// Whether the server's greeting is over.
    fn greet(&mut self, out: &mut Vec<u8>) -> Result<bool, String> {
        let mut expected = greeting(1);
        expected[8] = 1;
        let wanted = match self.version {
            Version::V20 => {
                expected.truncate(11);
                expected.push(if self.socket == "SUB" { 9 } else { 6 });
                12
            }
            Version::V30 | Version::V31 => 64,
        };
        let there = self.buffer.len().min(wanted);
        if self.buffer[..there] != expected[..there] {
            return Err(format!("a greeting {:?}", &self.buffer[..there]));
        }
        if there > 10 {
            out.append(&mut self.rest);
        }
        if there < wanted {
            return Ok(false);
        }
        self.buffer.drain(..wanted);
        self.stage = Stage::Ready;
        Ok(true)
    }

    fn cut(&mut self) -> Result<Option<Frame>, String> {
        let buffer = &mut self.buffer;
        let Some(&flags) = buffer.first() else { return Ok(None) };
        if flags > 6 || flags & 5 == 5 {
            return Err(format!("flags {flags}"));
        }
        let (head, length) = if flags & 2 == 0 {
            let Some(&length) = buffer.get(1) else { return Ok(None) };
            (2, usize::from(length))
        } else {
            let Some(length) = buffer[1..].first_chunk() else { return Ok(None) };
            (9, u64::from_be_bytes(*length) as usize)
        };
        if length > 1 << 24 {
            return Err(format!("a frame of {length} bytes"));
        }
        if buffer.len() < head + length {
            return Ok(None);
        }
        let body = buffer[head..head + length].to_vec();
        buffer.drain(..head + length);
        Ok(Some(Frame { more: flags & 1 != 0, command: flags & 4 != 0, body }))
    }
}
