//! Batches in the making and their order: what the outbox's lock guards. No lock, no thread.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::pace::{Pace, SendSample, drain_period};
use super::receipt::SharedOutcome;
use crate::client::error::SendError;
use crate::client::waiting::Wakers;
use crate::limits::{
    CLIENT_BATCH_OVERHEAD_BYTES, CLIENT_EARLY_FRAMES_MAX, CLIENT_NAMES_COUNTED_MAX,
    CLIENT_ROOMY_BATCHES_MAX,
};
use crate::wire::checksum::Checksum;
use crate::wire::name;

/// The ordinal of a record that is not to have one, before its stamp gives it 0: the others get theirs by it.
pub(super) const NOT_COUNTED: u64 = u64::MAX;

/// The bounds of an outbox.
#[derive(Clone, Copy, Debug)]
pub(in crate::client) struct Bounds {
    /// Largest frame.
    pub(in crate::client) frame_bytes_max: usize,
    /// Bytes that wait, and bytes in flight.
    pub(in crate::client) buffer_bytes: usize,
    /// Frames in flight.
    pub(in crate::client) window_frames: usize,
    /// How long a publisher waits for room.
    pub(in crate::client) patience: Duration,
    /// How long messages are to wait, and to be in flight beyond a round trip.
    pub(in crate::client) target_delay: Duration,
}

/// Messages of one name that share a frame.
#[derive(Debug)]
pub(in crate::client) struct Batch {
    pub(in crate::client) number: u64,
    pub(in crate::client) name: Arc<str>,
    /// The frame, its records not yet in sequence.
    pub(in crate::client) frame: Vec<u8>,
    pub(in crate::client) messages: usize,
    /// Whether its messages have ordinals.
    pub(in crate::client) is_counted: bool,
    /// Size at which it is closed; 0 for the frame of one large message.
    pub(super) bytes_target: usize,
    open: bool,
    pub(in crate::client) created: Instant,
    /// Whether someone published without waiting.
    pub(in crate::client) unattended: bool,
    pub(in crate::client) outcome: Arc<SharedOutcome>,
    /// Of one large message, if it was summed before it leaves.
    pub(in crate::client) checksum: Option<Checksum>,
}

impl Batch {
    /// Whether it is one message that has a frame of its own.
    pub(super) fn is_alone(&self) -> bool {
        self.bytes_target == 0
    }

    /// Whether an error must be reported: somebody does not wait for the answer, or no longer.
    pub(in crate::client) fn is_unattended(&self) -> bool {
        self.unattended || self.outcome.is_abandoned()
    }
}

/// A batch in flight, with its place in the publisher's sequence.
#[derive(Debug)]
pub(in crate::client) struct SequencedBatch {
    pub(in crate::client) batch: Batch,
    pub(in crate::client) first_sequence: u64,
    /// 0 when the name is not counted, or its messages are not.
    pub(in crate::client) first_ordinal: u64,
    /// Whether it was sent on more than one connection: its answer then measures nothing.
    pub(in crate::client) sent_again: bool,
    departure: SendSample,
}

/// How a frame that was in flight ended.
#[derive(Debug)]
pub(in crate::client) struct Finished {
    pub(in crate::client) cut: SequencedBatch,
    pub(in crate::client) result: Result<(), SendError>,
    /// How many connections its messages were for, as far as the server told.
    pub(in crate::client) connections: u32,
}

/// A moment that clients with this target have in common as far as their systems' clocks agree.
fn epoch(target: Duration) -> Instant {
    let now = Instant::now();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let into = wall.as_nanos() % drain_period(target).as_nanos();
    now.checked_sub(Duration::from_nanos(into as u64)).unwrap_or(now)
}

#[derive(Debug, Default)]
struct NameState {
    /// The last ordinal given; `None` for a name beyond those counted.
    ordinal: Option<u64>,
    open: Option<u64>,
    batches_queued: usize,
    frames_in_flight: usize,
    last_frame_bytes: usize,
    /// Whether the last frame that left was closed before.
    last_was_full: bool,
    /// How many connections the last frame was for.
    connections: u32,
    /// Ordinals (first and last) of rejected frames behind which others are in flight, ascending.
    refused: Vec<(u64, u64)>,
}

impl NameState {
    /// Whether an open batch may leave before it is full. Further messages gather until a reply comes; behind a
    /// full frame they gather until none is in flight, because more are about to come.
    fn may_leave_early(&self) -> bool {
        let frames_max = if self.last_was_full { 1 } else { CLIENT_EARLY_FRAMES_MAX };
        self.frames_in_flight < frames_max
    }

    /// Books that a frame with these ordinals ended. A rejected frame was not published: once nothing
    /// behind it was, its ordinals are free again, and subscribers see no gap.
    fn end(&mut self, first: u64, last: u64, refused: bool) {
        let Some(tail) = &mut self.ordinal else { return };
        if !refused {
            // What is before it stays a gap.
            self.refused.retain(|&(from, _)| from > last);
            return;
        }
        let at = self.refused.partition_point(|&(from, _)| from < first);
        self.refused.insert(at, (first, last));
        while let Some(&(from, to)) = self.refused.last()
            && to == *tail
        {
            *tail = from - 1;
            self.refused.pop();
        }
        // Neighbours become one, so that there are no more than frames on their way.
        self.refused.dedup_by(|next, before| {
            let adjoins = before.1 + 1 == next.0;
            if adjoins {
                before.1 = next.1;
            }
            adjoins
        });
    }
}

#[derive(Debug)]
pub(super) struct Batches {
    names: HashMap<Arc<str>, NameState>,
    /// In order of their numbers.
    pub(super) queue: VecDeque<Batch>,
    pub(super) queued_bytes: usize,
    /// Set at the bound, cleared when half of it is free: publishers then run for a while.
    pub(in crate::client) full: bool,
    pub(in crate::client) pace: Pace,
    /// Set at the bound of frames, cleared when half of it is free: frames then leave together, and their
    /// checksums are computed together.
    window_full: bool,
    pub(in crate::client) last_number: u64,
    last_sequence: u64,
    /// Numbers of the batches whose fate is open, ascending.
    pub(super) unsettled: VecDeque<u64>,
    pub(super) first_error: Option<SendError>,
    pub(in crate::client) flushing: usize,
    /// Tasks that wait for room, and tasks that flush.
    pub(super) entering: Wakers,
    pub(super) settling: Wakers,
    /// The I/O thread waits, and there is room in the window.
    pub(super) sleeping: bool,
    /// The server cannot be reached: messages gather to the bound of bytes, as long as they must.
    pub(in crate::client) is_away: bool,
    pub(in crate::client) stopped: bool,
}

impl Batches {
    pub(in crate::client) fn new(target_delay: Duration) -> Self {
        let pace = Pace::new(target_delay, epoch(target_delay));
        let (names, queue, queued_bytes, full, window_full) = Default::default();
        let (last_number, last_sequence, unsettled, first_error) = Default::default();
        let (flushing, entering, settling, sleeping, is_away, stopped) = Default::default();
        Self {
            names,
            queue,
            queued_bytes,
            full,
            pace,
            window_full,
            last_number,
            last_sequence,
            unsettled,
            first_error,
            flushing,
            entering,
            settling,
            sleeping,
            is_away,
            stopped,
        }
    }

    /// Whether what waits is a `part`th of what may, in time or in bytes: of what the server takes within the
    /// target. A publisher fills a queue far faster than a server empties it, so time alone bounds nothing.
    pub(super) fn is_late(&self, part: u32, now: Instant) -> bool {
        let target = self.pace.target() / part;
        !self.is_away
            && (self.queued_bytes > self.pace.waiting_bytes() / part as usize
                || self
                    .queue
                    .front()
                    .is_some_and(|batch| now.saturating_duration_since(batch.created) >= target))
    }

    /// The place of the name's open batch. Checks a name that is met for the first time.
    pub(super) fn open_batch(&mut self, name: &str) -> Result<Option<usize>, SendError> {
        // Mostly the last one pushed to.
        if let Some(batch) = self.queue.back()
            && batch.open
            && *batch.name == *name
        {
            return Ok(Some(self.queue.len() - 1));
        }
        match self.names.get(name) {
            Some(state) => Ok(state.open.and_then(|number| self.find(number))),
            None => {
                name::check_publishable(name)?;
                let counted = self.names.len() < CLIENT_NAMES_COUNTED_MAX;
                let state = NameState { ordinal: counted.then_some(0), ..NameState::default() };
                self.names.insert(name.into(), state);
                Ok(None)
            }
        }
    }

    pub(super) fn find(&self, number: u64) -> Option<usize> {
        self.queue.binary_search_by_key(&number, |batch| batch.number).ok()
    }

    /// Room that the name's next frame will probably need: what its last one took, and as much again.
    /// So frames grow under load without being copied, and a lone message takes no more than it needs.
    pub(super) fn frame_bytes_expected(&self, name: &str) -> usize {
        let roomy = self.queue.len() < CLIENT_ROOMY_BATCHES_MAX;
        let last = self.names.get(name).filter(|_| roomy).map(|state| state.last_frame_bytes);
        last.unwrap_or(0).saturating_mul(2)
    }

    /// Size at which the name's next frame is closed.
    pub(super) fn frame_bytes(&self, name: &str) -> usize {
        self.pace.frame_bytes(self.names.get(name).map_or(0, |state| state.connections))
    }

    /// Closes the name's open batch and adds one, which is open up to this size if it is to be open at all; also
    /// whether it may leave as it is.
    pub(super) fn add_batch(
        &mut self,
        name: &str,
        frame: Vec<u8>,
        bytes_target: Option<usize>,
        now: Instant,
    ) -> (usize, bool) {
        let open = bytes_target.is_some();
        self.last_number += 1;
        let number = self.last_number;
        let (name, previous, early) = match self.names.get_key_value(name) {
            Some((name, state)) => (Arc::clone(name), state.open, state.may_leave_early()),
            None => (name.into(), None, true),
        };
        if let Some(at) = previous.and_then(|previous| self.find(previous)) {
            self.queue[at].open = false;
        }
        if let Some(state) = self.names.get_mut(&*name) {
            state.open = open.then_some(number);
            state.batches_queued += 1;
        }
        self.unsettled.push_back(number);
        self.queued_bytes += CLIENT_BATCH_OVERHEAD_BYTES + if open { frame.len() } else { 0 };
        self.queue.push_back(Batch {
            number,
            name,
            frame,
            messages: 0,
            is_counted: true,
            bytes_target: bytes_target.unwrap_or(0),
            open,
            created: now,
            unattended: false,
            outcome: Arc::default(),
            checksum: None,
        });
        (self.queue.len() - 1, early)
    }

    pub(in crate::client) fn remove(&mut self, at: usize) -> Option<Batch> {
        let batch = self.queue.remove(at)?;
        self.queued_bytes -= batch.frame.len() + CLIENT_BATCH_OVERHEAD_BYTES;
        if let Some(state) = self.names.get_mut(&*batch.name) {
            state.batches_queued -= 1;
            if batch.open {
                state.open = None;
            }
        }
        Some(batch)
    }

    /// Takes the first batch that may leave. Names in flight are no more than the window, so few
    /// batches are passed over.
    pub(super) fn cut_next(&mut self, bounds: &Bounds, now: Instant) -> Option<SequencedBatch> {
        self.window_full &= self.pace.frames() > bounds.window_frames / 2;
        if self.window_full {
            return None;
        }
        let early = |name: &str| self.names.get(name).is_none_or(NameState::may_leave_early);
        let Some(at) = self.queue.iter().position(|batch| !batch.open || early(&batch.name)) else {
            self.pace.idle();
            return None;
        };
        let charged_bytes = self.queue[at].frame.len();
        let fits = self.pace.frames() == 0
            || self.pace.bytes().saturating_add(charged_bytes) <= bounds.buffer_bytes;
        if !self.pace.admits(charged_bytes) || !fits {
            return None;
        }
        let batch = self.remove(at)?;
        let messages = batch.messages as u64;
        let first_sequence = self.last_sequence + 1;
        self.last_sequence += messages;
        let mut first_ordinal = 0;
        if let Some(state) = self.names.get_mut(&*batch.name) {
            state.frames_in_flight += 1;
            state.last_was_full = !batch.open;
            state.last_frame_bytes = charged_bytes;
            if let Some(last) = &mut state.ordinal
                && batch.is_counted
            {
                first_ordinal = *last + 1;
                *last += messages;
            }
        }
        let departure = self.pace.depart(charged_bytes, now);
        self.window_full = self.pace.frames() >= bounds.window_frames;
        Some(SequencedBatch { batch, first_sequence, first_ordinal, sent_again: false, departure })
    }

    /// Whether another frame may be in flight.
    pub(super) fn has_window(&self) -> bool {
        !self.window_full && self.pace.has_room()
    }

    pub(in crate::client) fn finish(&mut self, finished: Finished, now: Instant) {
        let Finished { cut, result, connections } = finished;
        let answered = !matches!(&result, Err(SendError::TimedOut { .. } | SendError::Stopped));
        if answered && !cut.sent_again {
            self.pace.answer(&cut.departure, now);
        } else {
            self.pace.forget(&cut.departure);
        }
        let batch = &cut.batch;
        if let Some(state) = self.names.get_mut(&*batch.name) {
            state.frames_in_flight -= 1;
            if result.is_ok() {
                state.connections = connections;
            }
            let refused =
                matches!(&result, Err(error) if !matches!(error, SendError::TimedOut { .. }));
            if batch.is_counted {
                let last = (cut.first_ordinal + batch.messages as u64).saturating_sub(1);
                state.end(cut.first_ordinal, last, refused);
            }
        }
        self.forget_uncounted(&cut.batch.name);
        self.settle(&cut.batch, result);
    }

    pub(super) fn forget_uncounted(&mut self, name: &str) {
        let idle =
            |s: &NameState| s.ordinal.is_none() && s.frames_in_flight == 0 && s.batches_queued == 0;
        if self.names.get(name).is_some_and(idle) {
            self.names.remove(name);
        }
    }

    pub(in crate::client) fn settle(&mut self, batch: &Batch, result: Result<(), SendError>) {
        if let Ok(at) = self.unsettled.binary_search(&batch.number) {
            self.unsettled.remove(at);
        }
        if let Err(error) = result
            && batch.is_unattended()
        {
            self.first_error.get_or_insert(error);
        }
    }
}

#[cfg(test)]
mod tests;
