//! Frames on their way to whoever wants their name, in the format they came in and in the other one.

use std::collections::VecDeque;
use std::sync::Arc;

use arcstr::ArcStr;
use bytes::Bytes;

use super::core::Core;
use super::effect::{Direct, Effect};
use super::subscribers::ConnectionId;
use super::transcode;
use crate::limits::{
    TRANSCODED_BYTES_PER_TURN_MAX, TRANSCODED_PER_TURN_MAX, TRANSCODING_BYTES_MAX,
};
use crate::message::Format;
use crate::wire::frame::Frame;
use crate::wire::record::{Record, Records};

/// A frame that is to be published.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The name that it is published under.
    pub(super) name: ArcStr,
    /// The frame.
    pub(super) frame: Bytes,
    /// The format it is in.
    pub(super) format: Format,
    /// Whether a subscriber that does not keep up may lose it.
    pub(super) droppable: bool,
    /// Whether subscribers of the other format have it already.
    pub(super) is_copy: bool,
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

    fn add(&mut self, outgoing: Outgoing) {
        self.bytes += outgoing.frame.len();
        let at = match Frame::parse(&outgoing.frame) {
            Ok(Frame::V2 { body, .. }) => outgoing.frame.len() - body.len(),
            _ => 0,
        };
        self.queue.push_back(Part { outgoing, at });
    }

    fn finish(&mut self) -> Option<Outgoing> {
        let part = self.queue.pop_front()?;
        self.bytes -= part.outgoing.frame.len();
        Some(part.outgoing)
    }
}

impl<E> Core<E> {
    /// Gives a frame to those who get it, if there is somebody.
    pub(super) fn publish(
        &mut self,
        frame: Bytes,
        to: Arc<[ConnectionId]>,
        direct: Vec<Direct>,
        droppable: bool,
    ) {
        if !(to.is_empty() && direct.is_empty()) {
            self.out.queue.push_back(Effect::Publish { frame, to, direct, droppable });
        }
    }

    /// Publishes a frame to whoever wants its name now; a native one also to v1 subscribers.
    pub(super) fn deliver(&mut self, outgoing: Outgoing) {
        let topic = self.subscribers.topic(&outgoing.name);
        let (v1, v2) = (topic.v1.clone(), topic.v2.clone());
        let Outgoing { format, droppable, is_copy, .. } = outgoing;
        if format == Format::V2 && topic.is_wanted_native() {
            let (native, groups) = (topic.native.clone(), topic.groups.clone());
            let is_sent = !(v1.is_empty() && v2.is_empty());
            let direct = self.direct(&native, &outgoing, is_sent);
            if !groups.is_empty() {
                self.give(&groups, &outgoing);
            }
            self.publish(outgoing.frame.clone(), v2, direct, droppable);
        }
        if v1.is_empty() || is_copy {
            return;
        }
        if format == Format::V1 && self.transcoding.queue.is_empty() {
            self.publish(outgoing.frame, v1, Vec::new(), droppable);
        } else {
            let is_first = self.transcoding.queue.is_empty();
            self.transcoding.add(outgoing);
            if is_first {
                // Most frames are done at once.
                self.transcode_some();
            }
            if !self.transcoding.is_empty() {
                self.out.queue.push_back(Effect::Deferred { to: v1 });
            }
        }
    }

    /// Goes on with what is to be carried over; whether some is left.
    pub(super) fn transcode_some(&mut self) -> bool {
        let mut left = TRANSCODED_PER_TURN_MAX;
        let mut bytes = 0;
        while left > 0
            && bytes < TRANSCODED_BYTES_PER_TURN_MAX
            && let Some(Part { outgoing, at }) = self.transcoding.queue.front()
        {
            left -= 1;
            let (at, Outgoing { name, frame, format, droppable, .. }) = (*at, outgoing);
            let (name, frame, droppable) = (name.clone(), frame.clone(), *droppable);
            let to = self.subscribers.topic(&name).v1.clone();
            if *format == Format::V1 {
                self.transcoding.finish();
                self.publish(frame, to, Vec::new(), droppable);
                continue;
            }
            match Records::new(&frame[at..]).next() {
                Some(Ok((whole, record))) if !to.is_empty() => {
                    bytes += whole.len();
                    let v1 = self.v1_frame(&name, &record);
                    self.publish(v1, to, Vec::new(), droppable);
                    if let Some(part) = self.transcoding.queue.front_mut() {
                        part.at += whole.len();
                    }
                }
                _ => _ = self.transcoding.finish(),
            }
        }
        !self.transcoding.is_empty()
    }

    /// The v1 frame of a native record, its checksum noted so that the acknowledgement finds back.
    pub(super) fn v1_frame(&mut self, name: &str, record: &Record<'_>) -> Bytes {
        let (frame, checksum) = transcode::to_v1(name, record);
        if record.ack {
            self.backlog.add_alias(checksum, record.id);
        }
        frame.into()
    }
}
