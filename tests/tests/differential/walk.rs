//! Reads a script as far as both ends must agree about it: how far its frames are whole, and where the first
//! allowed difference begins.

use super::difference::{self, Difference};

pub(super) const MORE: u8 = 1;
pub(super) const LONG: u8 = 2;
pub(super) const COMMAND: u8 = 4;

pub(super) const GREETING_BYTES: usize = 64;
pub(super) const GREETING_V2_BYTES: usize = 12;

/// Limits as `engine/src/limits.rs` has them.
const HANDSHAKE_BYTES_MAX: usize = 4096;
const IDENTITY_BYTES_MAX: usize = 255;
const COMMAND_BYTES_MAX: usize = 2048;
const SUBSCRIPTION_BYTES_MAX: usize = 1024;
const FRAMES_PER_REQUEST_MAX: usize = 64;

/// A time to live that ends within a test is a matter of time; one that libzmq's counter makes so, too.
const TTL_MS_MIN: u32 = 30_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    Requests,
    Publishing,
}

impl Port {
    fn peers(self) -> &'static [&'static [u8]] {
        match self {
            Self::Requests => &[b"REQ", b"DEALER", b"ROUTER"],
            Self::Publishing => &[b"SUB", b"XSUB"],
        }
    }

    fn peers_v2(self) -> &'static [u8] {
        match self {
            Self::Requests => &[3, 5, 6],
            Self::Publishing => &[2, 10],
        }
    }
}

/// Where a script leaves its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Handshake,
    Open,
    /// Both ends close it.
    Dead,
}

/// What a script means.
#[derive(Debug)]
pub(super) struct Walk {
    /// Bytes up to here are whole: a part of a greeting, or whole frames.
    pub(super) whole: usize,
    /// The stage there.
    pub(super) stage: Stage,
    /// Whether a message has begun there and does not end.
    pub(super) in_message: bool,
    /// What comes next is this.
    pub(super) difference: Option<Difference>,
}

/// A frame at the beginning of these bytes.
pub(super) struct Frame<'a> {
    pub(super) flags: u8,
    pub(super) body: &'a [u8],
    /// With its head.
    pub(super) bytes: usize,
}

/// Why there is no frame yet.
pub(super) enum NoFrame {
    /// Its end is missing.
    Cut,
    /// The same, and its body has so many bytes, of which the first is there.
    Body(u8, u64),
}

pub(super) fn frame(bytes: &[u8]) -> Result<Frame<'_>, NoFrame> {
    let (&flags, rest) = bytes.split_first().ok_or(NoFrame::Cut)?;
    let (body_bytes, rest) = if flags & LONG == 0 {
        let (&length, rest) = rest.split_first().ok_or(NoFrame::Cut)?;
        (u64::from(length), rest)
    } else {
        let (length, rest) = rest.split_first_chunk().ok_or(NoFrame::Cut)?;
        (u64::from_be_bytes(*length), rest)
    };
    match usize::try_from(body_bytes).ok().and_then(|length| rest.get(..length)) {
        Some(body) => Ok(Frame { flags, body, bytes: bytes.len() - rest.len() + body.len() }),
        None if rest.is_empty() => Err(NoFrame::Cut),
        None => Err(NoFrame::Body(flags, body_bytes)),
    }
}

/// What is wrong with a frame.
enum Wrong {
    Differs(Difference),
    /// Both ends close the connection.
    Dead,
}

impl From<Difference> for Wrong {
    fn from(difference: Difference) -> Self {
        Self::Differs(difference)
    }
}

struct Walker {
    port: Port,
    is_v2: bool,
    /// Frames of the message under way.
    frames: usize,
}

pub(super) fn walk(port: Port, script: &[u8]) -> Walk {
    let at = |whole, stage, difference| Walk { whole, stage, in_message: false, difference };
    let handshake = |whole, difference| at(whole, Stage::Handshake, difference);
    match script {
        [] => return handshake(0, None),
        [0xff, ..] => {}
        _ => return handshake(0, Some(difference::ZMTP_1)),
    }
    if script.get(9).is_some_and(|byte| byte & 1 == 0) {
        return handshake(9, Some(difference::ZMTP_1));
    }
    let greeting_bytes = match script.get(10) {
        None => return handshake(script.len(), None),
        Some(0) => return handshake(10, Some(difference::ZMTP_1)),
        Some(1) => GREETING_V2_BYTES,
        Some(2) => return handshake(10, Some(difference::REVISION_2)),
        Some(3..) => GREETING_BYTES,
    };
    let Some((greeting, frames)) = script.split_at_checked(greeting_bytes) else {
        return handshake(script.len(), None);
    };
    let is_v2 = greeting_bytes == GREETING_V2_BYTES;
    if is_v2 && !port.peers_v2().contains(&greeting[11]) {
        return handshake(11, Some(difference::SOCKET_TYPE_V2));
    }
    if !is_v2 && greeting[12..32] != *b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" {
        return at(script.len(), Stage::Dead, None);
    }
    let mut walk = handshake(greeting_bytes, None);
    let mut walker = Walker { port, is_v2, frames: 0 };
    let mut rest = frames;
    while !rest.is_empty() {
        let (result, bytes) = match frame(rest) {
            Ok(frame) => (walker.frame(walk.stage, &frame), frame.bytes),
            Err(NoFrame::Cut) => (walker.flags(rest[0]), rest.len()),
            Err(NoFrame::Body(flags, bytes)) => (walker.head(walk.stage, flags, bytes), rest.len()),
        };
        match result {
            Err(Wrong::Differs(difference)) => {
                walk.difference = Some(difference);
                return walk;
            }
            Err(Wrong::Dead) => return at(script.len(), Stage::Dead, None),
            Ok(()) if frame(rest).is_err() => return walk,
            Ok(()) => {}
        }
        walk.stage = Stage::Open;
        walk.in_message = walker.frames > 0;
        walk.whole += bytes;
        rest = &rest[bytes..];
    }
    walk
}

impl Walker {
    fn flags(&self, flags: u8) -> Result<(), Wrong> {
        if flags & !(MORE | LONG | COMMAND) != 0 || flags & (MORE | COMMAND) == MORE | COMMAND {
            return Err(difference::FLAGS.into());
        }
        Ok(())
    }

    /// Looks at what stands before a body.
    fn head(&self, stage: Stage, flags: u8, body_bytes: u64) -> Result<(), Wrong> {
        self.flags(flags)?;
        let is_command = flags & COMMAND != 0;
        let bytes_max = match (stage, self.port) {
            // Its answer says what is too long, and the connection lives on.
            (Stage::Open, Port::Requests) if !is_command => return Ok(()),
            // Before it is looked into, a subscription may be as long as a command.
            (Stage::Open, _) => COMMAND_BYTES_MAX,
            _ if self.is_v2 => IDENTITY_BYTES_MAX,
            _ => HANDSHAKE_BYTES_MAX,
        };
        if body_bytes > bytes_max as u64 {
            return Err(difference::LIMITS.into());
        }
        Ok(())
    }

    fn frame(&mut self, stage: Stage, frame: &Frame<'_>) -> Result<(), Wrong> {
        self.head(stage, frame.flags, frame.body.len() as u64)?;
        let is_command = frame.flags & COMMAND != 0;
        match stage {
            Stage::Open if is_command => self.command(frame.body),
            Stage::Open => self.message(frame),
            _ if self.is_v2 && frame.flags & (COMMAND | MORE) != 0 => {
                Err(difference::IDENTITY_V2.into())
            }
            _ if self.is_v2 => Ok(()),
            _ => match frame.body.strip_prefix(b"\x05READY") {
                None => Err(Wrong::Dead),
                Some(_) if !is_command => Err(difference::READY_AS_MESSAGE.into()),
                Some(properties) => self.properties(properties),
            },
        }
    }

    fn properties(&self, mut list: &[u8]) -> Result<(), Wrong> {
        let or_cut = |rest: &[u8]| match rest {
            [] => Wrong::Differs(difference::PROPERTY_CUT),
            _ => Wrong::Dead,
        };
        while let Some((&length, rest)) = list.split_first() {
            let Some((name, rest)) = rest.split_at_checked(usize::from(length)) else {
                return Err(Wrong::Dead);
            };
            let Some((length, rest)) = rest.split_first_chunk() else {
                // A single byte is looked at by neither end.
                return Err(if list.len() == 1 { Wrong::Dead } else { or_cut(rest) });
            };
            let Some((value, rest)) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)
            else {
                return Err(or_cut(rest));
            };
            list = rest;
            let is_peer = self.port.peers().contains(&value);
            if name == b"Socket-Type" && !is_peer {
                return Err(difference::WRONG_SOCKET.into());
            }
            if name.eq_ignore_ascii_case(b"Socket-Type") && !is_peer {
                return Err(difference::PROPERTY_NAMES.into());
            }
            if name.eq_ignore_ascii_case(b"Identity") && value.len() > IDENTITY_BYTES_MAX {
                return Err(difference::LIMITS.into());
            }
        }
        Ok(())
    }

    fn command(&self, body: &[u8]) -> Result<(), Wrong> {
        if self.is_v2 {
            return Err(difference::COMMAND_V2.into());
        }
        let cut = difference::COMMAND_CUT;
        let (&length, rest) = body.split_first().ok_or(cut)?;
        let (name, rest) = rest.split_at_checked(usize::from(length)).ok_or(cut)?;
        match name {
            b"PING" => {
                let (ttl, _) = rest.split_first_chunk::<2>().ok_or(difference::SHORT_PING)?;
                let ttl_ms = u32::from(u16::from_be_bytes(*ttl)) * 100;
                // What is left of it in libzmq's 16 bits.
                if ttl_ms > 0 && ttl_ms & 0xffff < TTL_MS_MIN {
                    return Err(difference::TIME_TO_LIVE.into());
                }
                Ok(())
            }
            b"SUBSCRIBE" | b"CANCEL" => match self.port {
                Port::Requests => Err(difference::SUBSCRIBE_FOR_ROUTER.into()),
                Port::Publishing if self.frames > 0 => {
                    Err(difference::SUBSCRIPTION_IN_PARTS.into())
                }
                Port::Publishing => topic(rest),
            },
            _ => Ok(()),
        }
    }

    fn message(&mut self, frame: &Frame<'_>) -> Result<(), Wrong> {
        let more = frame.flags & MORE != 0;
        match (self.port, frame.body) {
            (Port::Requests, _) if self.frames >= FRAMES_PER_REQUEST_MAX => {
                return Err(difference::LIMITS.into());
            }
            (Port::Publishing, [0 | 1, ..]) if more || self.frames > 0 => {
                return Err(difference::SUBSCRIPTION_IN_PARTS.into());
            }
            (Port::Publishing, [0 | 1, rest @ ..]) => topic(rest)?,
            _ => {}
        }
        self.frames = if more { self.frames + 1 } else { 0 };
        Ok(())
    }
}

fn topic(topic: &[u8]) -> Result<(), Wrong> {
    if topic.len() > SUBSCRIPTION_BYTES_MAX {
        return Err(difference::LIMITS.into());
    }
    if topic.iter().position(|&byte| byte == b'|').is_some_and(|at| at + 1 < topic.len()) {
        return Err(difference::BEHIND_THE_NAME.into());
    }
    Ok(())
}
