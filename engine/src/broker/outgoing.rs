//! Frames that are to be published, and those of them that are still to be carried over to the other format.

use std::collections::VecDeque;

use arcstr::ArcStr;
use bytes::Bytes;

use crate::limits::TRANSCODING_BYTES_MAX;
use crate::message::Format;
use crate::wire::frame::Frame;

/// The time of what has none, in milliseconds since the Unix epoch.
pub(super) const NEVER_MS: u64 = u64::MAX;

/// A frame that is to be published.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The name that it is published under.
    pub(super) name: ArcStr,
    /// The frame.
    pub(super) frame: Bytes,
    /// Messages in it.
    pub(super) messages: u64,
    /// The format it is in.
    pub(super) format: Format,
    /// Whether a subscriber that does not keep up may lose it.
    pub(super) droppable: bool,
    /// Whether subscribers of the other format have it already.
    pub(super) is_copy: bool,
    /// From when on it is not delivered as it is, in milliseconds since the Unix epoch: when its first message expires. 0 if
    /// one is delivered later, and [`NEVER_MS`] if none of them has a time.
    pub(super) whole_until_ms: u64,
}

/// Frames for v1 subscribers: native ones that are still to be carried over, and what came behind them.
#[derive(Debug, Default)]
pub(super) struct Transcoding {
    queue: VecDeque<Part>,
    bytes: usize,
}

#[derive(Debug)]
struct Part {
    outgoing: Outgoing,
    /// Where the next record begins; a v1 frame has none.
    at: usize,
}

impl Transcoding {
    /// Whether another request may be taken.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < TRANSCODING_BYTES_MAX
    }

    /// Whether nothing is left to be carried over.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// What is carried over next, and where the next record of it begins.
    pub(super) fn first(&self) -> Option<(&Outgoing, usize)> {
        self.queue.front().map(|part| (&part.outgoing, part.at))
    }

    /// This many bytes more of the first are carried over.
    pub(super) fn advance(&mut self, bytes: usize) {
        if let Some(part) = self.queue.front_mut() {
            part.at += bytes;
        }
    }

    /// Adds one.
    pub(super) fn add(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.frame.len();
        let at = match Frame::parse(&outgoing.frame) {
            Ok(Frame::V2 { body, .. }) => outgoing.frame.len() - body.len(),
            _ => 0,
        };
        self.queue.push_back(Part { outgoing, at });
    }

    /// The first is done.
    pub(super) fn finish(&mut self) -> Option<Outgoing> {
        let part = self.queue.pop_front()?;
        self.bytes -= part.outgoing.frame.len();
        Some(part.outgoing)
    }
}
