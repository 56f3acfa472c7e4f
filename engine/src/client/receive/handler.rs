//! A callback for the messages of a subscription.

use std::any::Any;
use std::collections::{HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::delivery::{Delivery, Lease, Settler};
use super::inbox::{Frame, GRANT_INTERVAL, Handle, Inbox};
use crate::client::receive::message::Message;
use crate::client::receive::outcome::Verdict;
use crate::client::report::{Failure, Reporter};
use crate::limits::{CLIENT_COPIES_KNOWN_MAX, CLIENT_FRAMES_PER_TURN};
use crate::wire::id::MessageId;
use crate::wire::record::{Record, Records};

/// What becomes of a message, or why its callback failed.
type Judged = Result<Verdict, String>;
type OfMessages = dyn FnMut(&[u8], &Message) -> Judged + Send;
type OfDeliveries = dyn FnMut(&Delivery) -> Judged + Send;

/// A callback, which returns what becomes of a message, or why it failed.
pub(in crate::client) enum Callback {
    /// It is called with payloads and messages.
    Messages(Box<OfMessages>),
    /// It is called with deliveries. When it failed, a group gets the message again after this delay; zero: as the group says.
    Deliveries { callback: Box<OfDeliveries>, retry_delay: Duration },
}

/// Calls after which the clock is looked at, as long as they are quick.
const CALLS_UNWATCHED_MAX: u32 = 256;

/// What a callback is called with.
pub(super) struct Handler {
    state: Mutex<State>,
    settler: Settler,
    reporter: Arc<Reporter>,
    /// No callback of the client is called any more.
    no_calls: Arc<AtomicBool>,
    /// This one is not called any more. Set under the lock of `is_running`.
    has_ended: AtomicBool,
    is_running: Mutex<bool>,
    over: Condvar,
}

struct State {
    /// `None` once it has ended.
    callback: Option<Callback>,
    copies: Copies,
    pace: Pace,
}

/// Messages that were acknowledged so late that the server may have sent copies of them.
#[derive(Default)]
struct Copies {
    ids: HashSet<MessageId>,
    in_order: VecDeque<MessageId>,
}

impl Copies {
    fn expect(&mut self, id: MessageId) {
        if !self.ids.insert(id) {
            return;
        }
        self.in_order.push_back(id);
        if self.in_order.len() > CLIENT_COPIES_KNOWN_MAX
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

/// Looks at the clock, the more often the longer calls take.
struct Pace {
    every: u32,
    calls: u32,
    looked_at: Instant,
}

impl Pace {
    /// A call is over; the time, if it was looked at.
    fn called(&mut self) -> Option<Instant> {
        self.calls += 1;
        if self.calls < self.every {
            return None;
        }
        let now = Instant::now();
        let took = now.duration_since(self.looked_at);
        self.every = match took < Duration::from_millis(1) {
            true => (self.every * 2).min(CALLS_UNWATCHED_MAX),
            false => 1,
        };
        (self.calls, self.looked_at) = (0, now);
        Some(now)
    }
}

impl Handler {
    pub(super) fn new(
        callback: Callback,
        settler: Settler,
        reporter: Arc<Reporter>,
        no_calls: Arc<AtomicBool>,
    ) -> Self {
        let pace = Pace { every: 1, calls: 0, looked_at: Instant::now() };
        let state = State { callback: Some(callback), copies: Copies::default(), pace };
        let (has_ended, is_running, over) = Default::default();
        let state = Mutex::new(state);
        Self { state, settler, reporter, no_calls, has_ended, is_running, over }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What may panic in it is caught.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, bool> {
        // A flag is replaced as a whole.
        self.is_running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_over(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed) || self.no_calls.load(Ordering::Relaxed)
    }

    fn call_some(&self, inbox: &Arc<Inbox>) -> bool {
        let mut state = self.state();
        let State { callback: Some(callback), copies, pace } = &mut *state else { return false };
        pace.looked_at = Instant::now();
        for _ in 0..CLIENT_FRAMES_PER_TURN {
            if self.is_over() {
                return false;
            }
            let Some(frame) = inbox.next_called() else { return false };
            self.call_for(&frame, inbox, callback, copies, pace);
        }
        true
    }

    fn call_for(
        &self,
        frame: &Frame,
        inbox: &Arc<Inbox>,
        callback: &mut Callback,
        copies: &mut Copies,
        pace: &mut Pace,
    ) {
        let Settler { control_queue, commands, .. } = &self.settler;
        let grant = |bytes| {
            if let Some((bytes, connection)) = inbox.release(bytes) {
                commands.grant(inbox.number, bytes, connection);
            }
        };
        let rest = frame.bytes.get(frame.name_bytes + 2..).unwrap_or_default();
        let (mut held, mut done) = (frame.bytes.len(), 0);
        let mut granted_at = pace.looked_at;
        let (mut message, mut lease) = (None::<Message>, None::<Arc<Lease>>);
        for (at, item) in Records::new(rest).enumerate() {
            // What is no record was reported when it came.
            let Ok((whole, record)) = item else { break };
            if self.is_over() {
                break;
            }
            done += whole.len();
            if frame.wrong.binary_search(&at).is_ok() {
                continue;
            }
            if frame.again && copies.ids.contains(&record.id) {
                control_queue.acknowledge(record.id);
                continue;
            }
            let is_done = match callback {
                Callback::Messages(callback) => {
                    let message = match &mut message {
                        Some(message) => {
                            message.move_to(&record);
                            message
                        }
                        None => message.insert(message_of(frame, &record)),
                    };
                    let verdict =
                        call(message, &self.reporter, || callback(message.payload(), message));
                    let is_done = record.ack && verdict == Some(Verdict::Ack);
                    if is_done {
                        control_queue.acknowledge(record.id);
                    }
                    is_done
                }
                Callback::Deliveries { callback, retry_delay } => {
                    // Other members have what an earlier connection brought.
                    if !inbox.is_current(frame) {
                        break;
                    }
                    // The frame's credit is granted here.
                    let lease = lease.get_or_insert_with(|| {
                        let (inbox, settler) = (Arc::clone(inbox), self.settler.clone());
                        Arc::new(Lease { inbox, settler, bytes: 0, connection: frame.connection })
                    });
                    let (before, lease) = ((frame.again, frame.retained), Arc::clone(lease));
                    let message = message_of(frame, &record);
                    let delivery = Delivery::new(message, before, frame.attempt, lease);
                    let verdict = call(&delivery, &self.reporter, || callback(&delivery));
                    let is_done = record.ack && verdict == Some(Verdict::Ack);
                    // Of one whose callback has stopped the client nothing is said: it is delivered again.
                    if !self.no_calls.load(Ordering::Relaxed) {
                        let failed = Verdict::Nak(*retry_delay);
                        delivery.settle(verdict.unwrap_or(failed));
                    }
                    is_done && !inbox.settings.is_group()
                }
            };
            if is_done && Instant::now() >= frame.copies_from {
                copies.expect(record.id);
            }
            if let Some(now) = pace.called()
                && now.duration_since(granted_at) >= GRANT_INTERVAL
            {
                granted_at = now;
                held -= done;
                grant(std::mem::take(&mut done));
            }
        }
        grant(held);
    }

    /// Drops the callback, under no lock: what it captured is foreign code, which may panic and use the client.
    fn discard(&self) {
        let callback = self.state().callback.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(callback)));
    }
}

impl Handle for Handler {
    fn call(&self, inbox: &Arc<Inbox>) -> bool {
        {
            let mut is_running = self.running();
            if self.is_over() {
                return false;
            }
            *is_running = true;
        }
        let more = self.call_some(inbox);
        let mut is_running = self.running();
        *is_running = false;
        if self.has_ended.load(Ordering::Relaxed) {
            self.over.notify_all();
            drop(is_running);
            self.discard();
        }
        more && !self.is_over()
    }

    fn end(&self) {
        let is_running = self.running();
        self.has_ended.store(true, Ordering::Relaxed);
        if !*is_running {
            drop(is_running);
            self.discard();
        }
    }

    fn wait_for_end(&self, end: Option<Instant>) -> bool {
        let mut is_running = self.running();
        while *is_running {
            let left =
                end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            let woken = self.over.wait_timeout(is_running, left);
            is_running = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

fn message_of(frame: &Frame, record: &Record<'_>) -> Message {
    Message::new(frame.bytes.clone(), frame.name_bytes, record)
}

/// Calls a callback; `None` when it failed, which is reported and goes no further.
#[inline]
fn call(
    message: &Message,
    reporter: &Reporter,
    callback: impl FnOnce() -> Judged,
) -> Option<Verdict> {
    let reason = match catch_unwind(AssertUnwindSafe(callback)) {
        Ok(Ok(verdict)) => return Some(verdict),
        Ok(Err(reason)) => reason,
        Err(panic) => format!("it panicked: {}", panic_text(&*panic)),
    };
    report(message, reason, reporter);
    None
}

/// Reports that a callback failed.
pub(super) fn report(message: &Message, reason: String, reporter: &Reporter) {
    let name = message.name().to_owned();
    reporter.failure(&Failure::Callback { name, id: message.id(), reason });
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no text",
    }
}
