//! Traffic after the handshake: each frame within a MESSAGE command.
//!
//! `MESSAGE`, eight bytes of a number that rises, then a box with a byte of flags and the frame's body. libzmq sends the
//! command as a frame of a message, without the command flag; both are taken here. The flags are those of the frame that
//! travels within: 1 if another one of its message follows, 2 for a command, which is how libzmq has SUBSCRIBE and PING
//! travel.

use bytes::Bytes;

use super::primitives::{NONCE_BYTES, SharedKey, TAG_BYTES};
use super::{COUNT_BYTES, CurveError, counted};
use crate::zmtp::frame::{HEAD_BYTES_MAX, Head};

/// How the command begins.
const NAME: &[u8; 8] = b"\x07MESSAGE";
/// Where the box begins, and the flags within it.
const BOX: usize = NAME.len() + COUNT_BYTES;
const FLAGS: usize = BOX + TAG_BYTES;

/// Bytes that a frame's body has beyond its own when it is sealed.
pub(crate) const OVERHEAD_BYTES: usize = FLAGS + 1;

const MORE: u8 = 1;
const COMMAND: u8 = 2;

/// Seals what one end sends. The numbers of its nonces rise from one frame to the next.
#[derive(Debug)]
pub(crate) struct Sealer {
    key: SharedKey,
    prefix: &'static [u8; NONCE_BYTES - COUNT_BYTES],
    /// The last number that was used.
    count: u64,
    /// What there is of the next frame's head.
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    /// The frame that has begun: where its body begins in `out`, and how many bytes of it are to come.
    begun: Option<(usize, u64)>,
}

impl Sealer {
    pub(super) fn new(
        key: SharedKey,
        prefix: &'static [u8; NONCE_BYTES - COUNT_BYTES],
        count: u64,
    ) -> Self {
        Self { key, prefix, count, head: [0; HEAD_BYTES_MAX], head_bytes: 0, begun: None }
    }

    /// Whether all frames that began are whole.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.begun.is_none() && self.head_bytes == 0
    }

    /// Takes bytes of frames in pieces of any size, and appends each frame that becomes whole, sealed. Until then
    /// its part stands in `out`, which must be the same until [`Self::is_between_frames`].
    pub(crate) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        loop {
            let Some((body, left)) = &mut self.begun else {
                if bytes.is_empty() {
                    return;
                }
                bytes = self.begin(bytes, out);
                continue;
            };
            let here = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
            let (part, rest) = bytes.split_at(here);
            out.extend_from_slice(part);
            *left -= part.len() as u64;
            bytes = rest;
            if *left > 0 {
                return;
            }
            let body = *body;
            self.begun = None;
            self.finish(body, out);
        }
    }

    /// Takes what there is of a head, and returns what follows it.
    fn begin<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let known = self.head_bytes;
        let more = bytes.len().min(HEAD_BYTES_MAX - known);
        self.head[known..known + more].copy_from_slice(&bytes[..more]);
        let read = Head::read(&self.head[..known + more]);
        let Some((head, head_bytes)) = read.expect("what this end sends is made of frames") else {
            self.head_bytes += more;
            return &[];
        };
        self.head_bytes = 0;
        self.count += 1;
        let flags = u8::from(head.more) * MORE + u8::from(head.command) * COMMAND;
        let frame_bytes = head.body_bytes + OVERHEAD_BYTES as u64;
        Head { more: false, command: false, body_bytes: frame_bytes }.append_to(out);
        out.extend_from_slice(NAME);
        out.extend_from_slice(&self.count.to_be_bytes());
        out.extend_from_slice(&[0; TAG_BYTES]);
        out.push(flags);
        // Whoever sends a body of this size has it in memory.
        out.reserve(usize::try_from(head.body_bytes).unwrap_or(0));
        self.begun = Some((out.len(), head.body_bytes));
        &bytes[head_bytes - known..]
    }

    /// Seals the frame whose body begins there.
    fn finish(&mut self, body: usize, out: &mut [u8]) {
        let (head, content) = out.split_at_mut(body - 1);
        let tag = self.key.seal(&counted(self.prefix, self.count), content);
        head[body - 1 - TAG_BYTES..].copy_from_slice(&tag);
    }
}

/// Opens what one end receives.
#[derive(Debug)]
pub(crate) struct Opener {
    key: SharedKey,
    prefix: &'static [u8; NONCE_BYTES - COUNT_BYTES],
    /// The last number that came.
    count: u64,
}

impl Opener {
    pub(super) fn new(
        key: SharedKey,
        prefix: &'static [u8; NONCE_BYTES - COUNT_BYTES],
        count: u64,
    ) -> Self {
        Self { key, prefix, count }
    }

    /// Opens the body of a frame: the head and the body of the one that travelled within.
    ///
    /// # Errors
    /// [`CurveError::Command`], [`CurveError::Nonce`], and [`CurveError::Box`]: the connection is to end.
    pub(crate) fn open(&mut self, frame: &[u8]) -> Result<(Head, Bytes), CurveError> {
        if !frame.starts_with(NAME) || frame.len() < OVERHEAD_BYTES {
            return Err(CurveError::Command("MESSAGE"));
        }
        let wrong = CurveError::Command("MESSAGE");
        let (count, sealed) = frame[NAME.len()..].split_first_chunk().ok_or(wrong)?;
        let (tag, content) = sealed.split_first_chunk().ok_or(wrong)?;
        let count = u64::from_be_bytes(*count);
        if count <= self.count {
            return Err(CurveError::Nonce);
        }
        let mut content = content.to_vec();
        self.key
            .open(&counted(self.prefix, count), &mut content, tag)
            .map_err(|_| CurveError::Box("MESSAGE"))?;
        self.count = count;
        let flags = content[0];
        let (more, command) = (flags & MORE != 0, flags & COMMAND != 0);
        if flags & !(MORE | COMMAND) != 0 || (more && command) {
            return Err(CurveError::Command("MESSAGE"));
        }
        let body = Bytes::from(content).slice(1..);
        Ok((Head { more, command, body_bytes: body.len() as u64 }, body))
    }
}
