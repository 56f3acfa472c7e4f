//! A request's frames: an envelope, an empty frame, a body.
//!
//! The answer repeats the envelope as it came, so it is kept as it stands on the wire.

use bytes::Bytes;

use super::frame::Head;
use crate::limits::{ENVELOPE_BYTES_MAX, ENVELOPE_FRAMES_MAX};

/// What an answer begins with: the frames of the envelope and the empty one, with their heads.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Envelope(Repr);

/// Bytes that an envelope holds in itself: a request id of eight bytes, or of sixteen, and the empty frame.
const INLINE_BYTES: usize = 22;

#[derive(Clone, PartialEq, Eq)]
enum Repr {
    Inline(u8, [u8; INLINE_BYTES]),
    Boxed(Box<[u8]>),
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Envelope({:?})", self.as_bytes())
    }
}

impl Envelope {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut inline = [0; INLINE_BYTES];
        Self(match inline.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                Repr::Inline(bytes.len() as u8, inline)
            }
            None => Repr::Boxed(bytes.into()),
        })
    }

    /// The frames, with their heads.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline(length, bytes) => &bytes[..usize::from(*length)],
            Repr::Boxed(bytes) => bytes,
        }
    }

    /// Appends the answer to a request.
    pub(crate) fn append_reply(&self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
        Head::message(body.len(), false).append_to(out);
        out.extend_from_slice(body);
    }
}

/// A frame of a request.
#[derive(Debug)]
pub(super) enum Step {
    Frame(Bytes),
    /// One over the limit, which was not kept.
    Oversize {
        bytes: u64,
        first: u8,
    },
}

/// A body that was read, or not.
#[derive(Debug)]
enum Body {
    Kept(Bytes),
    Oversize { bytes: u64, first: u8 },
}

/// What the frames of a request come to.
#[derive(Debug)]
pub(super) enum Assembled {
    /// A request, and what its answer begins with.
    Request(Envelope, Bytes),
    /// The frames are not in order, and why.
    Malformed(Envelope, &'static str),
    /// The body is over the limit, and was not kept.
    TooLarge { envelope: Envelope, bytes: u64, first: u8 },
}

/// A request whose frames are not all there.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    frames: usize,
    envelope: Vec<u8>,
    has_delimiter: bool,
    /// The envelope ends with the delimiter, and no frame of it was left out.
    is_envelope_whole: bool,
    body: Option<Body>,
    wrong: Option<&'static str>,
}

impl Assembly {
    /// Frames so far.
    pub(super) fn frames(&self) -> usize {
        self.frames
    }

    /// Whether a request is incomplete.
    pub(super) fn has_begun(&self) -> bool {
        self.frames > 0
    }

    /// Bytes that the next frame may have, with a body of at most `body_bytes_max`.
    pub(super) fn bytes_max(&self, body_bytes_max: usize) -> usize {
        if self.has_delimiter && self.body.is_none() { body_bytes_max } else { ENVELOPE_BYTES_MAX }
    }

    /// Adds a frame; the request, once all its frames are there.
    pub(super) fn add(&mut self, step: Step, more: bool) -> Option<Assembled> {
        self.frames += 1;
        match step {
            _ if self.body.is_some() => {
                self.wrong = Some("more than one frame behind the empty one");
            }
            // What follows makes the request wrong, so this one need not be kept until then.
            Step::Frame(_) if self.has_delimiter && more => {
                self.body = Some(Body::Kept(Bytes::new()));
            }
            Step::Frame(body) if self.has_delimiter => self.body = Some(Body::Kept(body)),
            Step::Oversize { bytes, first } if self.has_delimiter => {
                self.body = Some(Body::Oversize { bytes, first });
            }
            Step::Frame(frame)
                if self.frames <= ENVELOPE_FRAMES_MAX
                    && self.envelope.len() + frame.len() <= ENVELOPE_BYTES_MAX =>
            {
                self.has_delimiter = frame.is_empty();
                self.is_envelope_whole = frame.is_empty() && self.wrong.is_none();
                Head::message(frame.len(), true).append_to(&mut self.envelope);
                self.envelope.extend_from_slice(&frame);
            }
            Step::Frame(frame) => {
                self.has_delimiter = frame.is_empty();
                self.wrong = Some("too many frames, or bytes, before the empty one");
            }
            Step::Oversize { .. } => {
                self.wrong = Some("too many frames, or bytes, before the empty one");
            }
        }
        if more { None } else { Some(self.finish()) }
    }

    fn finish(&mut self) -> Assembled {
        let Self { mut envelope, has_delimiter, is_envelope_whole, body, mut wrong, .. } =
            std::mem::take(self);
        if !has_delimiter {
            wrong = Some("no empty frame");
        }
        if wrong.is_some() && !is_envelope_whole {
            // The answer goes behind an empty frame all the same.
            envelope.clear();
            envelope.extend_from_slice(&DELIMITER);
        }
        let reply = Envelope::new(&envelope);
        // Its memory serves the next request.
        envelope.clear();
        self.envelope = envelope;
        match (wrong, body) {
            (Some(wrong), _) => Assembled::Malformed(reply, wrong),
            (None, None) => Assembled::Malformed(reply, "nothing behind the empty one"),
            (None, Some(Body::Kept(body))) => Assembled::Request(reply, body),
            (None, Some(Body::Oversize { bytes, first })) => {
                Assembled::TooLarge { envelope: reply, bytes, first }
            }
        }
    }
}

/// An empty frame with more behind it.
const DELIMITER: [u8; 2] = [1, 0];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_with_more_behind_it_is_not_kept() {
        let mut assembly = Assembly::default();
        let body = Bytes::from(vec![7; 1000]);
        assert!(assembly.add(Step::Frame(Bytes::new()), true).is_none());
        assert!(assembly.add(Step::Frame(body.clone()), true).is_none());
        assert!(body.is_unique());
        let event = assembly.add(Step::Frame(body), false);
        assert!(matches!(event, Some(Assembled::Malformed(..))), "{event:?}");
    }

    #[test]
    fn an_envelope_of_a_request_id_needs_no_memory_of_its_own() {
        assert_eq!(size_of::<Envelope>(), 24);
        for bytes in [0, 12, INLINE_BYTES, INLINE_BYTES + 1, 300] {
            let whole: Vec<u8> = (0..bytes).map(|n| n as u8).collect();
            assert_eq!(Envelope::new(&whole).as_bytes(), whole);
        }
    }
}
