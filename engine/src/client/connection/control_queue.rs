//! The small requests beside the messages: acknowledgements, pings and questions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::client::error::SendError;
use crate::client::process::Process;
use crate::client::publish::receipt::SharedOutcome;
use crate::client::report::{Reporter, add};
use crate::client::run::here;
use crate::client::waiting::oneshot::{Receiver, Sender, oneshot};
use crate::limits::{CLIENT_ACK_FRAMES_MAX, CLIENT_ACKS_PER_FRAME, CLIENT_ACKS_WAITING_MAX};
use crate::net::waker::Waker;
use crate::wire::id::MessageId;

/// A request whose answer is read by whoever asks.
#[derive(Debug)]
pub(super) struct Question {
    pub(in crate::client) request: Bytes,
    pub(in crate::client) answer: Sender<Result<Bytes, SendError>>,
}

#[derive(Debug, Default)]
struct State {
    acks: VecDeque<MessageId>,
    acks_dropped: usize,
    pings: Vec<Arc<SharedOutcome>>,
    questions: Vec<Question>,
    /// No acknowledgement is in flight, so the next one must wake the I/O thread.
    idle: bool,
    closed: bool,
}

/// What waits to be sent. Any thread adds; the I/O thread takes.
pub(in crate::client) struct ControlQueue {
    waker: Waker,
    reporter: Arc<Reporter>,
    process: Process,
    state: Mutex<State>,
}

/// What the I/O thread took.
#[derive(Debug, Default)]
pub(in crate::client) struct Drained {
    /// Messages to acknowledge, in frames of up to `CLIENT_ACKS_PER_FRAME`.
    pub(in crate::client) acks: Vec<MessageId>,
    /// Acknowledgements dropped since the last time.
    pub(in crate::client) acks_dropped: usize,
    pub(in crate::client) pings: Vec<Arc<SharedOutcome>>,
    pub(super) questions: Vec<Question>,
}

impl ControlQueue {
    pub(in crate::client) fn new(waker: Waker, reporter: Arc<Reporter>, process: Process) -> Self {
        Self { waker, reporter, process, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acknowledges a message soon. Never waits: at the bound the acknowledgement is dropped, and the
    /// server delivers again.
    pub(in crate::client) fn acknowledge(&self, id: MessageId) {
        let mut state = self.lock();
        if state.closed {
            // Counted only: nobody is left to tell, and a reader may have many.
            add(&self.reporter.acks_dropped, 1);
            return;
        }
        if state.acks.len() >= CLIENT_ACKS_WAITING_MAX {
            state.acks_dropped += 1;
            return;
        }
        state.acks.push_back(id);
        if std::mem::take(&mut state.idle) || state.acks.len().is_multiple_of(CLIENT_ACKS_PER_FRAME)
        {
            self.waker.wake();
        }
    }

    /// Pings the server soon.
    pub(in crate::client) fn ping(&self) -> Arc<SharedOutcome> {
        let outcome = Arc::<SharedOutcome>::default();
        if !self.process.is_this() {
            outcome.decide(Err(SendError::Forked));
            return outcome;
        }
        let mut state = self.lock();
        if state.closed {
            outcome.decide(Err(SendError::Stopped));
        } else {
            state.pings.push(Arc::clone(&outcome));
            self.waker.wake();
        }
        outcome
    }

    /// Asks the server soon. When the client stops before, the sender of the answer goes.
    fn ask(&self, request: Bytes) -> Receiver<Result<Bytes, SendError>> {
        let (answer, answered) = oneshot();
        if !self.process.is_this() {
            answer.send(Err(SendError::Forked));
            return answered;
        }
        let mut state = self.lock();
        if !state.closed {
            state.questions.push(Question { request, answer });
            self.waker.wake();
        }
        answered
    }

    /// Asks the server, and waits for what it says.
    pub(in crate::client) async fn answer_to(&self, request: Bytes) -> Result<Bytes, SendError> {
        if !here::may_wait() {
            return Err(SendError::InCallback);
        }
        // Whoever does not answer drops the other end.
        self.ask(request).await.unwrap_or(Err(SendError::Stopped))
    }

    /// Takes pings and questions, and the acknowledgements that may leave while this many frames of them are in flight.
    pub(in crate::client) fn take(&self, ack_frames: usize) -> Drained {
        let mut state = self.lock();
        let mut taken = Drained {
            acks_dropped: std::mem::take(&mut state.acks_dropped),
            pings: std::mem::take(&mut state.pings),
            questions: std::mem::take(&mut state.questions),
            acks: Vec::new(),
        };
        let room = CLIENT_ACK_FRAMES_MAX.saturating_sub(ack_frames) * CLIENT_ACKS_PER_FRAME;
        let waiting = state.acks.len();
        // What does not fill a frame gathers while one is on its way.
        let part = if ack_frames == 0 { 0 } else { waiting % CLIENT_ACKS_PER_FRAME };
        taken.acks = state.acks.drain(..room.min(waiting - part)).collect();
        state.idle = ack_frames == 0 && taken.acks.is_empty();
        taken
    }

    /// Whether nothing waits.
    pub(in crate::client) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.acks.is_empty() && state.pings.is_empty() && state.questions.is_empty()
    }

    /// The end: what waits is dropped, and nothing more comes in. Returns how many acknowledgements were
    /// dropped and not told.
    pub(in crate::client) fn close(&self) -> usize {
        let mut state = self.lock();
        state.closed = true;
        let dropped =
            std::mem::take(&mut state.acks).len() + std::mem::take(&mut state.acks_dropped);
        for ping in state.pings.drain(..) {
            ping.decide(Err(SendError::Stopped));
        }
        // Whoever waits hears that there is no answer.
        state.questions.clear();
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::net::wait::{Pause, wait};
    use crate::net::waker;
    use crate::net::waker::WakeReceiver;

    fn acknowledge(control_queue: &ControlQueue, count: usize) {
        for sequence in 0..count as u64 {
            control_queue.acknowledge(MessageId { publisher: 1, sequence });
        }
    }

    fn is_woken(wakes: &WakeReceiver) -> bool {
        wait(&Pause { connection: None, time: Some(Duration::ZERO) }, wakes).unwrap().waker
    }

    #[test]
    fn one_acknowledgement_leaves_at_once_and_more_gather_until_they_fill_a_frame() {
        let (waker, _wakes) = waker::pair().unwrap();
        let control_queue = ControlQueue::new(waker, Arc::default(), Process::this());
        acknowledge(&control_queue, 1);
        assert_eq!(control_queue.take(0).acks.len(), 1);
        acknowledge(&control_queue, CLIENT_ACKS_PER_FRAME - 1);
        assert_eq!(control_queue.take(1).acks.len(), 0);
        acknowledge(&control_queue, 2);
        assert_eq!(control_queue.take(1).acks.len(), CLIENT_ACKS_PER_FRAME);
        assert_eq!(control_queue.take(2).acks.len(), 0);
        assert_eq!(control_queue.take(0).acks.len(), 1);
    }

    #[test]
    fn a_full_frame_of_acknowledgements_wakes_the_request_thread() {
        let (waker, wakes) = waker::pair().unwrap();
        let control_queue = ControlQueue::new(waker, Arc::default(), Process::this());
        acknowledge(&control_queue, CLIENT_ACKS_PER_FRAME - 1);
        assert!(!is_woken(&wakes), "one is on its way, and its answer will wake");
        acknowledge(&control_queue, 1);
        assert!(is_woken(&wakes));
    }

    #[test]
    fn no_more_frames_are_under_way_than_the_bound() {
        let (waker, _wakes) = waker::pair().unwrap();
        let control_queue = ControlQueue::new(waker, Arc::default(), Process::this());
        acknowledge(&control_queue, (CLIENT_ACK_FRAMES_MAX + 2) * CLIENT_ACKS_PER_FRAME);
        assert_eq!(
            control_queue.take(1).acks.len(),
            (CLIENT_ACK_FRAMES_MAX - 1) * CLIENT_ACKS_PER_FRAME
        );
        assert_eq!(control_queue.take(CLIENT_ACK_FRAMES_MAX).acks.len(), 0);
    }

    #[test]
    fn acknowledgements_beyond_the_bound_are_dropped_and_told() {
        let (waker, _wakes) = waker::pair().unwrap();
        let control_queue = ControlQueue::new(waker, Arc::default(), Process::this());
        acknowledge(&control_queue, CLIENT_ACKS_WAITING_MAX + 3);
        assert_eq!(control_queue.take(CLIENT_ACK_FRAMES_MAX).acks_dropped, 3);
        assert_eq!(control_queue.take(CLIENT_ACK_FRAMES_MAX).acks_dropped, 0);
        assert_eq!(control_queue.close(), CLIENT_ACKS_WAITING_MAX);
    }
}
