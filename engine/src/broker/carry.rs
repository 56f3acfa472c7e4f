//! Messages that are delivered in the format in which they did not come, later than when they were published.
//!
//! Carrying one over takes up to 12 ms a MiB, for which nobody else shall wait: a turn does a bounded part of it, and what
//! is large the core wants done elsewhere, and the result comes back as an event.

use std::collections::{BTreeSet, HashMap, VecDeque};

use bytes::Bytes;

use super::check::{Carried, Original};
use super::core::Core;
use super::effect::Effect;
use super::groups::GroupId;
use super::publish::frame_records;
use super::transcode;
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

/// What carrying over so many bytes takes, in bytes that are copied.
pub(super) fn cost(bytes: usize) -> usize {
    bytes * CARRIED_BYTE_COST
}

/// Carries a pending message over; `None` for what is no message, which none of them is.
pub(super) fn carry(message: &Message) -> Option<Carried> {
    let Message { name, format, body, .. } = message;
    match format {
        Format::V1 => {
            let original = Original::from(&pickle::scan(body).ok()?);
            let frame = transcode::to_v2(name, body, &original).into();
            Some(Carried { frame, checksum: original.checksum })
        }
        Format::V2 => {
            let (_, record) = frame_records(body).next()?;
            let (frame, checksum) = transcode::to_v1(name, &record);
            Some(Carried { frame: frame.into(), checksum })
        }
    }
}

/// A native frame of pending messages of one name, in the making.
#[derive(Debug, Default)]
pub(super) struct NativeFrame {
    bytes: Vec<u8>,
    /// The frame of one message that was there already.
    whole: Option<Bytes>,
    cost: usize,
}

impl NativeFrame {
    pub(super) fn len(&self) -> usize {
        self.whole.as_ref().map_or(self.bytes.len(), Bytes::len)
    }

    /// What it took to make it, in bytes that are copied.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Whether another message may be added.
    pub(super) fn has_room(&self) -> bool {
        self.whole.is_none() && self.bytes.len() < FRAME_BYTES_TARGET
    }
}

impl From<NativeFrame> for Bytes {
    fn from(frame: NativeFrame) -> Self {
        frame.whole.unwrap_or_else(|| frame.bytes.into())
    }
}

/// For what a message is to be carried over.
#[derive(Debug, Default)]
struct Want {
    /// To be sent again.
    is_resend: bool,
    /// To be handed over to a member of each of these groups.
    groups: BTreeSet<GroupId>,
    /// To be delivered to these subscriptions, whose credit it waited for.
    owing: BTreeSet<u32>,
}

/// Messages to be carried over, each once.
#[derive(Debug, Default)]
pub(super) struct Carrying {
    /// Those that wait and those under way.
    wanted: HashMap<MessageId, Want>,
    waiting: VecDeque<MessageId>,
    count: usize,
    bytes: usize,
}

impl Carrying {
    fn want(&mut self, id: MessageId) -> &mut Want {
        self.wanted.entry(id).or_insert_with(|| {
            self.waiting.push_back(id);
            Want::default()
        })
    }

    /// Wants a message carried over that is sent again then.
    pub(super) fn want_resend(&mut self, id: MessageId) {
        self.want(id).is_resend = true;
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

    /// Whether one of so many bytes may be begun.
    fn has_room(&self, bytes: usize) -> bool {
        self.count == 0 || (self.count < CARRYING_MAX && self.bytes + bytes <= CARRYING_BYTES_MAX)
    }
}

impl<E> Core<E> {
    /// Has those carried over that waited longest, as many as may be under way.
    pub(super) fn carry_some(&mut self) {
        while let Some(&id) = self.carrying.waiting.front() {
            let Some(message) = self.backlog.get(id) else {
                // Acknowledged meanwhile.
                self.carrying.waiting.pop_front();
                if let Some(want) = self.carrying.wanted.remove(&id) {
                    self.serve_those(&want);
                }
                continue;
            };
            if !self.carrying.has_room(message.bytes()) {
                break;
            }
            self.carrying.waiting.pop_front();
            self.carrying.count += 1;
            self.carrying.bytes += message.bytes();
            self.out.queue.push_back(Effect::Carry(message));
        }
    }

    /// A message was carried over: it goes to those who want it, unless it was acknowledged meanwhile.
    pub(super) fn carried(&mut self, message: &Message, carried: Option<Carried>) {
        let Message { id, format, .. } = message;
        let want = self.carrying.wanted.remove(id).unwrap_or_default();
        self.carrying.count -= 1;
        self.carrying.bytes -= message.bytes();
        // Without it, who waits for it is served when something else happens: it may fail again.
        let Some(carried) = carried else { return };
        if self.backlog.view().contains(id) {
            if *format == Format::V1 {
                self.backlog.keep_carried(*id, carried.frame.clone());
            }
            if want.is_resend {
                self.resend_carried(message, carried);
            }
        }
        self.serve_those(&want);
    }

    fn resend_carried(&mut self, message: &Message, carried: Carried) {
        let Message { id, name, format, .. } = message;
        let Carried { frame, checksum } = carried;
        let Some(to) = self.subscribers.keeping_up(name) else { return };
        self.note_sent(*id);
        match format {
            Format::V1 => {
                let direct = self.direct_again(&to.native, frame.len());
                self.publish(frame, to.v2, direct, false);
            }
            Format::V2 => {
                self.backlog.add_alias(checksum, *id);
                self.publish(frame, to.v1, Vec::new(), false);
            }
        }
    }

    /// What these waited for is there, or no longer wanted.
    fn serve_those(&mut self, want: &Want) {
        for &group in &want.groups {
            self.groups.serve_later(group);
        }
        for &at in &want.owing {
            self.owes_again(at);
        }
    }

    /// Appends a pending message to a native frame of its name. `false` when it has to be carried over elsewhere first.
    pub(super) fn append_native(&mut self, message: &Message, frame: &mut NativeFrame) -> bool {
        let Message { id, name, format, body } = message;
        match format {
            Format::V2 => {
                frame.begin(name);
                frame.bytes.extend_from_slice(body);
                frame.cost += body.len();
            }
            Format::V1 => {
                if let Some(carried) = self.backlog.carried(*id) {
                    if frame.bytes.is_empty() && carried.len() >= FRAME_BYTES_TARGET {
                        frame.whole = Some(carried.clone());
                    } else {
                        let record = frame.begin(name);
                        frame.bytes.extend_from_slice(&carried[record..]);
                    }
                    frame.cost += carried.len();
                    return true;
                }
                if body.len() > TRANSCODED_BYTES_PER_TURN_MAX {
                    return false;
                }
                frame.cost += cost(body.len());
                // It was scanned when it was taken, and so can be scanned again.
                if let Ok(fields) = pickle::scan(body) {
                    let carried = Bytes::from(transcode::to_v2(name, body, &(&fields).into()));
                    let record = frame.begin(name);
                    frame.bytes.extend_from_slice(&carried[record..]);
                    self.backlog.keep_carried(*id, carried);
                }
            }
        }
        true
    }
}

impl NativeFrame {
    /// Begins the frame of a name, if it is empty, and returns how long its beginning is.
    fn begin(&mut self, name: &str) -> usize {
        if self.bytes.is_empty() {
            self.bytes = v2_prefix(name);
        }
        // A byte for the version, and one behind the name.
        name.len() + 2
    }
}
