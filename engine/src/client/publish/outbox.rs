//! The queue in which published messages gather into frames until the I/O thread takes them.
//!
//! A name's messages gather in its one open batch. The batch may leave when it is full, or when few
//! frames of that name are in flight: so a lone message goes at once, and under load the replies
//! clock the frames. One lock guards it all; a publish takes it once.

mod tasks;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::batches::{Batch, Batches, Bounds, Finished, NOT_COUNTED, SequencedBatch};
use super::detached::DetachedFrames;
use super::receipt::SharedOutcome;
use crate::client::error::SendError;
use crate::client::report::{Reporter, add};
use crate::client::run::here;
use crate::client::waiting::Woken;
use crate::limits::{
    CLIENT_BLOCKED_TOLD, CLIENT_OWN_FRAME_BYTES, FRAME_BYTES_TARGET, KEPT_FRAME_SHARE_MAX,
    PENDING_COPY_BYTES_MAX,
};
use crate::net::waker::Waker;
use crate::wire::checksum;
use crate::wire::frame::v2_prefix;
use crate::wire::record::{LENGTH_BYTES, ROOT_BYTES, Record};

#[cfg(feature = "tokio")]
pub(in crate::client) use tasks::Flushing;

/// The outbox. Publishers push; the I/O thread takes.
pub(in crate::client) struct Outbox {
    bounds: Bounds,
    state: Mutex<Batches>,
    room: Condvar,
    settled: Condvar,
    reporter: Arc<Reporter>,
    /// Wakes the I/O thread.
    waker: Waker,
    /// Somebody has waited for room long enough to tell. Changes under the lock.
    blocked: AtomicBool,
    /// The server's limit, as far as it told.
    server_bytes_max: AtomicUsize,
}

/// A message that is in the outbox now.
pub(super) struct Pushed {
    pub(in crate::client) outcome: Arc<SharedOutcome>,
    /// A frame may leave and the I/O thread does not know: the caller has to send it or wake the
    /// thread.
    pub(in crate::client) may_leave: bool,
    /// Whether it has a frame of its own.
    pub(in crate::client) is_large: bool,
}

/// A call that waits for room. It is counted.
struct Waiting<'a> {
    since: Instant,
    reporter: &'a Reporter,
}

impl<'a> Waiting<'a> {
    fn begin(reporter: &'a Reporter) -> Self {
        add(&reporter.blocked, 1);
        Self { since: Instant::now(), reporter }
    }

    fn time(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        add(&self.reporter.blocked_us, self.time().as_micros() as u64);
    }
}

/// A message that comes in.
pub(super) enum NewMessage<'a> {
    /// It may share a frame with others.
    Record(Record<'a>),
    /// It has one of its own.
    Frame { bytes: Vec<u8>, is_counted: bool },
}

/// Bytes of a frame that holds one message.
pub(super) fn frame_bytes(name: &str, payload_bytes: usize) -> usize {
    name.len() + 2 + LENGTH_BYTES + ROOT_BYTES + payload_bytes
}

/// Size at which a frame that ends with this record is closed. The server keeps a large message within
/// its frame: each must be a fair part of what it holds in memory.
fn frame_bytes_max(record: &Record<'_>) -> usize {
    let bytes = LENGTH_BYTES + ROOT_BYTES + record.payload.len();
    if record.ack && bytes > PENDING_COPY_BYTES_MAX {
        FRAME_BYTES_TARGET.min(bytes * KEPT_FRAME_SHARE_MAX)
    } else {
        FRAME_BYTES_TARGET
    }
}

impl Outbox {
    pub(in crate::client) fn new(bounds: Bounds, reporter: Arc<Reporter>, waker: Waker) -> Self {
        let state = Mutex::new(Batches::new(bounds.target_delay));
        let (room, settled, blocked) = Default::default();
        let server_bytes_max = AtomicUsize::new(usize::MAX);
        Self { bounds, state, room, settled, reporter, waker, blocked, server_bytes_max }
    }

    /// Notes the largest message that the server takes.
    pub(in crate::client) fn server_takes(&self, bytes_max: u64) {
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        self.server_bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Notes whether the server cannot be reached.
    pub(in crate::client) fn note_server(&self, is_away: bool, now: Instant) {
        let mut state = self.lock();
        state.is_away = is_away;
        let woken = self.make_room(&mut state, now);
        drop(state);
        woken.wake();
    }

    /// The largest message that the server takes, as far as it told.
    pub(super) fn server_bytes_max(&self) -> usize {
        self.server_bytes_max.load(Ordering::Relaxed)
    }

    /// Where it lies, by which its client is known.
    pub(in crate::client) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn lock(&self) -> MutexGuard<'_, Batches> {
        // A panic under the lock is a bug of this module alone; go on with what is there.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a message, waiting for room.
    pub(super) fn push(
        &self,
        name: &str,
        mut parcel: NewMessage<'_>,
        unattended: bool,
    ) -> Result<Pushed, SendError> {
        let mut waiting = None;
        let mut state = self.lock();
        loop {
            if let Some(pushed) = self.try_push(&mut state, name, &mut parcel, unattended)? {
                return Ok(pushed);
            }
            state = self.wait_for_room(state, &mut waiting)?;
        }
    }

    /// Takes a message if there is room.
    #[inline]
    fn try_push(
        &self,
        state: &mut Batches,
        name: &str,
        parcel: &mut NewMessage<'_>,
        unattended: bool,
    ) -> Result<Option<Pushed>, SendError> {
        match parcel {
            NewMessage::Record(record) => self.push_record(state, name, record, unattended),
            NewMessage::Frame { bytes, is_counted } => {
                self.push_frame(state, name, bytes, *is_counted, unattended)
            }
        }
    }

    /// Adds a message to its name's open batch.
    #[inline]
    fn push_record(
        &self,
        state: &mut Batches,
        name: &str,
        record: &Record<'_>,
        unattended: bool,
    ) -> Result<Option<Pushed>, SendError> {
        let bytes = LENGTH_BYTES + ROOT_BYTES + record.payload.len();
        if !self.has_room(state, bytes)? {
            return Ok(None);
        }
        let bytes_max = self.bounds.frame_bytes_max.min(self.server_bytes_max());
        let frame_bytes_max = frame_bytes_max(record).min(bytes_max);
        let mut wake = false;
        let is_counted = record.ordinal != NOT_COUNTED;
        let open = state.open_batch(name)?;
        let at = if let Some(at) = open
            && let batch = &state.queue[at]
            && batch.is_counted == is_counted
            && batch.frame.len() + bytes <= batch.bytes_target.min(frame_bytes_max)
        {
            at
        } else {
            // A clock is read for each frame, not for each message.
            let now = Instant::now();
            if state.is_late(1, now) {
                state.full = true;
                return Ok(None);
            }
            wake |= open.is_some();
            let target = state.frame_bytes(name);
            let mut frame = v2_prefix(name);
            let expected = state.frame_bytes_expected(name).min(target).min(frame_bytes_max);
            frame.reserve_exact(expected.saturating_sub(frame.len()).max(bytes));
            let (at, early) = state.add_batch(name, frame, Some(target), now);
            state.queue[at].is_counted = is_counted;
            wake |= early;
            at
        };
        let batch = &mut state.queue[at];
        let before = batch.frame.len();
        record
            .append_to(&mut batch.frame)
            .map_err(|_| SendError::TooLarge { bytes, bytes_max: self.bounds.frame_bytes_max })?;
        batch.messages += 1;
        batch.unattended |= unattended;
        let outcome = Arc::clone(&batch.outcome);
        state.queued_bytes += batch.frame.len() - before;
        let may_leave = wake && std::mem::take(&mut state.sleeping);
        Ok(Some(Pushed { outcome, may_leave, is_large: false }))
    }

    /// Adds a frame that holds one message, and takes it.
    fn push_frame(
        &self,
        state: &mut Batches,
        name: &str,
        frame: &mut Vec<u8>,
        is_counted: bool,
        unattended: bool,
    ) -> Result<Option<Pushed>, SendError> {
        let bytes = frame.len();
        if !self.has_room(state, bytes)? {
            return Ok(None);
        }
        let now = Instant::now();
        if state.is_late(1, now) {
            state.full = true;
            return Ok(None);
        }
        state.open_batch(name)?;
        let (at, _) = state.add_batch(name, std::mem::take(frame), None, now);
        let batch = &mut state.queue[at];
        batch.messages = 1;
        batch.is_counted = is_counted;
        batch.unattended = unattended;
        let outcome = Arc::clone(&batch.outcome);
        state.queued_bytes += bytes;
        let may_leave = std::mem::take(&mut state.sleeping);
        Ok(Some(Pushed { outcome, may_leave, is_large: true }))
    }

    /// Whether there is room for this many bytes.
    #[inline]
    fn has_room(&self, state: &mut Batches, bytes: usize) -> Result<bool, SendError> {
        if state.stopped {
            return Err(SendError::Stopped);
        }
        let bytes_max = self.bounds.buffer_bytes;
        if !state.full && state.queued_bytes > 0 && state.queued_bytes + bytes > bytes_max {
            state.full = true;
        }
        Ok(!state.full)
    }

    /// Waits until there may be room.
    fn wait_for_room<'a>(
        &'a self,
        state: MutexGuard<'a, Batches>,
        waiting: &mut Option<Waiting<'a>>,
    ) -> Result<MutexGuard<'a, Batches>, SendError> {
        // Its turns alone make room.
        if here::is_in_turn_of(self.address()) {
            return Err(SendError::Full { waited: Duration::ZERO });
        }
        here::hand_over();
        let waited = waiting.get_or_insert_with(|| Waiting::begin(&self.reporter)).time();
        let Some(left) = self.bounds.patience.checked_sub(waited).filter(|t| !t.is_zero()) else {
            return Err(SendError::Full { waited });
        };
        let untold = CLIENT_BLOCKED_TOLD.saturating_sub(waited);
        if untold.is_zero() {
            self.blocks();
        }
        let pause = if untold.is_zero() { left } else { left.min(untold) };
        Ok(self.room.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0)
    }

    /// Somebody has waited for room long enough to tell. Under the lock, and while there is no room.
    fn blocks(&self) {
        if !self.blocked.swap(true, Ordering::Relaxed) {
            self.waker.wake();
        }
    }

    /// Whether a call has waited for room for some time, and waits on.
    pub(in crate::client) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// One turn of the I/O thread: books what ended, then takes what may leave now. The caller
    /// has already decided the fates of what ended.
    pub(in crate::client) fn turn(
        &self,
        finished: &mut Vec<Finished>,
        cuts: &mut Vec<SequencedBatch>,
        paused: bool,
        now: Instant,
    ) {
        let mut state = self.lock();
        let settled = !finished.is_empty();
        for finished in finished.drain(..) {
            state.finish(finished, now);
        }
        while !paused && let Some(cut) = state.cut_next(&self.bounds, now) {
            cuts.push(cut);
        }
        state.sleeping = !paused && state.has_window();
        let mut woken = self.make_room(&mut state, now);
        if settled {
            woken.extend(self.wake_flushers(&mut state));
        }
        drop(state);
        woken.wake();
    }

    /// Takes frames that wait, for their checksums to be made with those of frames that were cut. Between a turn and the next one alone.
    pub(in crate::client) fn lend(&self, detached: &mut DetachedFrames, cuts: &[SequencedBatch]) {
        if cuts.iter().any(|cut| cut.batch.frame.len() >= CLIENT_OWN_FRAME_BYTES) {
            detached.lend(&mut self.lock(), cuts, checksum::lanes());
        }
    }

    /// Takes them back.
    pub(in crate::client) fn take_back(&self, detached: &mut DetachedFrames, now: Instant) {
        if detached.lent.is_empty() {
            return;
        }
        let mut state = self.lock();
        let mut woken = Woken::default();
        if detached.give_back(&mut state) {
            woken = self.make_room(&mut state, now);
        }
        drop(state);
        woken.wake();
    }

    /// Wakes the threads that flush, and returns the tasks that do.
    fn wake_flushers(&self, state: &mut Batches) -> Woken {
        // A notification costs a system call even when nobody waits.
        if state.flushing > 0 {
            self.settled.notify_all();
        }
        state.settling.take()
    }

    /// Wakes the threads that wait for room if there is some, and returns the tasks that do.
    fn make_room(&self, state: &mut Batches, now: Instant) -> Woken {
        let roomy = |state: &Batches| {
            state.queued_bytes <= self.bounds.buffer_bytes / 2 && !state.is_late(2, now)
        };
        if !state.full || !roomy(state) {
            return Woken::default();
        }
        state.full = false;
        self.blocked.store(false, Ordering::Relaxed);
        self.room.notify_all();
        state.entering.take()
    }

    /// Removes batches that have waited since before `cutoff`. The caller decides their fates, then
    /// tells [`Self::settle`].
    pub(in crate::client) fn expire(&self, cutoff: Instant) -> Vec<Batch> {
        let mut state = self.lock();
        let mut expired = Vec::new();
        while state.queue.front().is_some_and(|batch| batch.created < cutoff) {
            if let Some(batch) = state.remove(0) {
                state.forget_uncounted(&batch.name);
                expired.push(batch);
            }
        }
        let woken = self.make_room(&mut state, Instant::now());
        drop(state);
        woken.wake();
        expired
    }

    /// Books batches that never left.
    pub(in crate::client) fn settle(&self, batches: &[Batch], error: &SendError) {
        let mut state = self.lock();
        for batch in batches {
            state.settle(batch, Err(error.clone()));
        }
        let woken = self.wake_flushers(&mut state);
        drop(state);
        woken.wake();
    }

    /// Waits until all earlier messages have their answers; the first error since the last call.
    pub(in crate::client) fn flush(&self) -> Result<(), SendError> {
        let mut state = self.lock();
        if !state.unsettled.is_empty() && !here::may_wait() {
            return Err(SendError::InCallback);
        }
        let last = state.last_number;
        state.flushing += 1;
        let mut state = self
            .settled
            .wait_while(state, |state| state.unsettled.front().is_some_and(|&n| n <= last))
            .unwrap_or_else(PoisonError::into_inner);
        state.flushing -= 1;
        state.first_error.take().map_or(Ok(()), Err)
    }

    /// Whether nothing more comes in.
    pub(in crate::client) fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Rejects further messages; those that wait still leave.
    pub(in crate::client) fn refuse(&self) {
        self.refusing(self.lock()).wake();
    }

    fn refusing(&self, mut state: MutexGuard<'_, Batches>) -> Woken {
        state.stopped = true;
        self.room.notify_all();
        state.entering.take()
    }

    /// Whether nothing waits and nothing is in flight.
    pub(in crate::client) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.queue.is_empty() && state.pace.frames() == 0
    }

    /// The end: nothing more comes in. Returns what never left; the caller decides its fate, then tells
    /// [`Self::end`].
    pub(in crate::client) fn close(&self) -> Vec<Batch> {
        let mut state = self.lock();
        let unsent = std::mem::take(&mut state.queue).into();
        self.refusing(state).wake();
        unsent
    }

    /// Books what never left. Nobody waits any more.
    pub(in crate::client) fn end(&self, unsent: &[Batch]) {
        let mut state = self.lock();
        if unsent.iter().any(Batch::is_unattended) {
            state.first_error.get_or_insert(SendError::Stopped);
        }
        state.unsettled.clear();
        self.settled.notify_all();
        let woken = state.settling.take();
        drop(state);
        woken.wake();
    }
}
