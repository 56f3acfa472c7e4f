//! Converts messages that are delivered in the other format, later than when they were published.
//!
//! Carrying one over takes up to 12 ms a MiB, for which nobody else shall wait: a turn does a bounded part of it, and what
//! is large the core wants done elsewhere, and the result comes back as an event.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;

use super::backlog::Backlog;
use super::check::frame_records;
use super::groups::GroupId;
use super::transcode::{self, Original, Transcoded};
use crate::limits::{
    CARRYING_BYTES_MAX, CARRYING_MAX, FRAME_BYTES_TARGET, RESEND_BYTES_PER_TURN_MAX,
    TRANSCODED_BYTES_PER_TURN_MAX,
};
use crate::message::{Format, Message};
use crate::wire::frame::v2_prefix;
use crate::wire::id::MessageId;
use crate::wire::pickle;

/// Bytes that are copied in the time in which one is carried over.
const CARRIED_BYTE_COST: usize = RESEND_BYTES_PER_TURN_MAX / TRANSCODED_BYTES_PER_TURN_MAX;

/// What carrying over this many bytes takes, in bytes that are copied.
pub(super) fn cost(bytes: usize) -> usize {
    bytes * CARRIED_BYTE_COST
}

/// Carries a pending message over; `None` for what is no message, which none of them is.
pub(super) fn transcode_message(message: &Message) -> Option<Transcoded> {
    let Message { name, format, body, .. } = message;
    match format {
        Format::V1 => {
            let original = Original::from(&pickle::scan(body).ok()?);
            let frame = transcode::to_v2(name, body, &original).into();
            Some(Transcoded { frame, checksum: original.checksum })
        }
        Format::V2 => {
            let (_, record) = frame_records(body).next()?;
            let (frame, checksum) = transcode::to_v1(name, &record);
            Some(Transcoded { frame: frame.into(), checksum })
        }
    }
}

/// A native frame of pending messages of one name, in the making.
#[derive(Debug, Default)]
pub(super) struct NativeFrame {
    bytes: Vec<u8>,
    /// The frame of one message that was there already.
    whole: Option<Bytes>,
    messages: u64,
    cost: usize,
}

impl NativeFrame {
    pub(super) fn len(&self) -> usize {
        self.whole.as_ref().map_or(self.bytes.len(), Bytes::len)
    }

    /// How many messages it has.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// What it took to make it, in bytes that are copied.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Whether another message may be added.
    pub(super) fn has_room(&self) -> bool {
        self.whole.is_none() && self.bytes.len() < FRAME_BYTES_TARGET
    }

    /// Appends a pending message of the frame's name. `false` when it has to be carried over elsewhere first.
    pub(super) fn append(&mut self, message: &Message, backlog: &mut Backlog) -> bool {
        let Message { id, name, format, body } = message;
        match format {
            Format::V2 => {
                self.begin(name);
                self.bytes.extend_from_slice(body);
                self.cost += body.len();
            }
            Format::V1 => {
                if let Some(carried) = backlog.carried(*id) {
                    if self.bytes.is_empty() && carried.len() >= FRAME_BYTES_TARGET {
                        self.whole = Some(carried.clone());
                    } else {
                        let head_bytes = self.begin(name);
                        self.bytes.extend_from_slice(&carried[head_bytes..]);
                    }
                    self.cost += carried.len();
                    self.messages += 1;
                    return true;
                }
                if body.len() > TRANSCODED_BYTES_PER_TURN_MAX {
                    return false;
                }
                self.cost += cost(body.len());
                // It was scanned when it was taken, and so can be scanned again.
                if let Ok(fields) = pickle::scan(body) {
                    let carried = Bytes::from(transcode::to_v2(name, body, &(&fields).into()));
                    let head_bytes = self.begin(name);
                    self.bytes.extend_from_slice(&carried[head_bytes..]);
                    backlog.keep_carried(*id, carried);
                }
            }
        }
        self.messages += 1;
        true
    }

    /// Begins the frame of a name, if it is empty, and returns how long its beginning is.
    fn begin(&mut self, name: &str) -> usize {
        if self.bytes.is_empty() {
            self.bytes = v2_prefix(name);
        }
        // A byte for the version, and one behind the name.
        name.len() + 2
    }
}

impl From<NativeFrame> for Bytes {
    fn from(frame: NativeFrame) -> Self {
        frame.whole.unwrap_or_else(|| frame.bytes.into())
    }
}

/// For what a message is to be carried over.
#[derive(Debug, Default)]
pub(super) struct TranscodeReason {
    /// To be sent again.
    pub(super) is_resend: bool,
    /// To be published in the other format, whatever became of it meanwhile.
    pub(super) released: Option<Message>,
    /// To be handed over to a member of each of these groups.
    pub(super) groups: BTreeSet<GroupId>,
    /// To be delivered to these subscriptions, whose credit it waited for.
    pub(super) owing: BTreeSet<u32>,
}

/// What becomes of the message that waited longest.
#[derive(Debug)]
pub(super) enum Next {
    /// It is begun.
    Begun(Message),
    /// It was acknowledged meanwhile; this waited for it.
    Gone(TranscodeReason),
}

/// Messages to be carried over, each once.
#[derive(Debug, Default)]
pub(super) struct TranscodeQueue {
    /// Those that wait and those in progress.
    wanted: HashMap<MessageId, TranscodeReason>,
    waiting: VecDeque<MessageId>,
    /// Bytes of those that are to be published.
    released_bytes: usize,
    /// How many are in progress, and their bytes.
    count: usize,
    bytes: usize,
}

impl TranscodeQueue {
    fn want(&mut self, id: MessageId) -> &mut TranscodeReason {
        self.wanted.entry(id).or_insert_with(|| {
            self.waiting.push_back(id);
            TranscodeReason::default()
        })
    }

    /// Wants a message carried over that is sent again then.
    pub(super) fn want_resend(&mut self, id: MessageId) {
        self.want(id).is_resend = true;
    }

    /// Wants a message carried over that is published then.
    pub(super) fn want_released(&mut self, message: Message) {
        self.released_bytes += message.bytes();
        let before = self.want(message.id).released.replace(message);
        self.released_bytes -= before.map_or(0, |before| before.bytes());
    }

    /// Whether another message may be published that has to be carried over: nothing else counts their bytes.
    pub(super) fn lets_release(&self) -> bool {
        self.released_bytes < CARRYING_BYTES_MAX
    }

    /// Wants a message carried over that is to be handed over by a group. The group is not served before.
    pub(super) fn want_for_group(&mut self, id: MessageId, group: GroupId) {
        self.want(id).groups.insert(group);
    }

    /// Wants a message carried over that this subscription has credit for.
    pub(super) fn want_for_owing(&mut self, id: MessageId, at: u32) {
        self.want(id).owing.insert(at);
    }

    /// Whether a message is to be sent again once it is carried over.
    pub(super) fn is_resend_wanted(&self, id: MessageId) -> bool {
        self.wanted.get(&id).is_some_and(|want| want.is_resend)
    }

    /// Takes the message that waited longest, if it may be begun now.
    pub(super) fn next(&mut self, backlog: &Backlog) -> Option<Next> {
        while let Some(&id) = self.waiting.front() {
            let released = self.wanted.get(&id).and_then(|want| want.released.clone());
            let Some(message) = released.or_else(|| backlog.get(id)) else {
                self.waiting.pop_front();
                match self.wanted.remove(&id) {
                    Some(want) => return Some(Next::Gone(want)),
                    None => continue,
                }
            };
            if !self.has_room(message.bytes()) {
                return None;
            }
            self.waiting.pop_front();
            self.count += 1;
            self.bytes += message.bytes();
            return Some(Next::Begun(message));
        }
        None
    }

    /// A message that was begun is done; returns for what.
    pub(super) fn end(&mut self, message: &Message) -> TranscodeReason {
        self.count -= 1;
        self.bytes -= message.bytes();
        let want = self.wanted.remove(&message.id).unwrap_or_default();
        self.released_bytes -= want.released.as_ref().map_or(0, Message::bytes);
        want
    }

    /// Whether one of this many bytes may be begun.
    fn has_room(&self, bytes: usize) -> bool {
        self.count == 0 || (self.count < CARRYING_MAX && self.bytes + bytes <= CARRYING_BYTES_MAX)
    }
}
