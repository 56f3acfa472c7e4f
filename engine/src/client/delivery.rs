//! Hands the messages of a received frame to those who want them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::errands::Errands;
use super::message::Message;
use super::missed::{Gap, Place, Tracker};
use super::queue::{Delivery, Joint, settle};
use super::report::{Failure, Missed, Reporter, add};
use super::routes::{Callback, Receiver, Routes};
use super::verify::mismatches;
use crate::wire::frame::split_v2;
use crate::wire::record::{Record, Records};

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// It was delivered, or nobody wanted it.
    Done,
    /// A queue has no room: nothing was delivered; try again later.
    NoRoom,
}

/// The receivers, and what is noted about what they receive.
pub(super) struct Deliverer {
    pub(super) routes: Routes,
    tracker: Tracker,
    errands: Arc<Errands>,
    reporter: Arc<Reporter>,
    verify: bool,
    stopping: Arc<AtomicBool>,
}

impl Deliverer {
    pub(super) fn new(
        errands: Arc<Errands>,
        reporter: Arc<Reporter>,
        verify: bool,
        stopping: Arc<AtomicBool>,
    ) -> Self {
        let (routes, tracker) = Default::default();
        Self { routes, tracker, errands, reporter, verify, stopping }
    }

    /// Forgets what is known of names that nobody subscribes to any more.
    pub(super) fn forget_unsubscribed(&mut self) {
        self.tracker.retain(|name| self.routes.has(name));
    }

    /// Delivers a frame to all who want it.
    pub(super) fn deliver(&mut self, frame: &Bytes) -> Delivered {
        let Some((name, records)) = split_v2(frame) else {
            self.reporter.failure(&Failure::BadFrame { bytes: frame.len() });
            return Delivered::Done;
        };
        let mut queues = Vec::new();
        let mut callbacks = Vec::new();
        for receiver in self.routes.of(name) {
            match receiver {
                Receiver::Queue(queue) => queues.push(queue),
                Receiver::Callback(callback) => callbacks.push(callback),
            }
        }
        let receivers = queues.len() + callbacks.len();
        if receivers == 0 {
            return Delivered::Done;
        }
        if !queues.iter().all(|queue| queue.has_room()) {
            return Delivered::NoRoom;
        }
        let seen = look_for_gaps(&mut self.tracker, &self.reporter, name, records.clone());
        add(&self.reporter.received, seen.records as u64);
        if !seen.whole {
            self.reporter.failure(&Failure::BadFrame { bytes: frame.len() });
        }
        let joint = (seen.any_ack && receivers > 1 && !queues.is_empty())
            .then(|| Arc::new(Joint::new(seen.records, receivers)));
        let wrong: Arc<[usize]> =
            if self.verify { mismatches(name, &records).into() } else { Arc::default() };
        for queue in queues {
            let (frame, wrong, joint) = (frame.clone(), Arc::clone(&wrong), joint.clone());
            queue.push(Delivery { frame, name_bytes: name.len(), wrong, joint });
        }
        report(&self.reporter, name, &records, &wrong);
        if callbacks.is_empty() {
            return Delivered::Done;
        }
        let mut message = None;
        for (at, (_, record)) in records.flatten().enumerate() {
            if self.stopping.load(Ordering::Relaxed) {
                break;
            }
            let message = match &mut message {
                Some(message) => {
                    Message::move_to(message, &record);
                    message
                }
                None => message.insert(Message::new(frame.clone(), name.len(), &record)),
            };
            if wrong.binary_search(&at).is_ok() {
                continue;
            }
            let reporter = &self.reporter;
            let succeeded =
                |callback: &mut &mut Callback| call(callback, record.payload, message, reporter);
            // Each is called, whatever the others return.
            let successes = callbacks.iter_mut().map(succeeded).filter(|&ok| ok).count();
            if record.ack {
                match &joint {
                    Some(joint) => {
                        for _ in 0..successes {
                            settle(Some(joint), at, record.id, &self.errands);
                        }
                    }
                    None if successes == callbacks.len() => self.errands.acknowledge(record.id),
                    None => {}
                }
            }
        }
        Delivered::Done
    }
}

fn report(reporter: &Reporter, name: &str, records: &Records<'_>, wrong: &[usize]) {
    for &at in wrong {
        if let Some(Ok((_, Record { id, .. }))) = records.clone().nth(at) {
            reporter.failure(&Failure::Checksum { name: name.to_owned(), id });
        }
    }
}

/// What one walk over a frame's records found.
#[derive(Default)]
struct Seen {
    records: usize,
    any_ack: bool,
    whole: bool,
}

fn look_for_gaps(
    tracker: &mut Tracker,
    reporter: &Reporter,
    name: &str,
    records: Records<'_>,
) -> Seen {
    let mut runs = tracker.runs(name);
    let mut seen = Seen { whole: true, ..Seen::default() };
    for item in records {
        let Ok((_, Record { id, ordinal, ack, .. })) = item else {
            seen.whole = false;
            break;
        };
        seen.records += 1;
        seen.any_ack |= ack;
        match runs.see(id.publisher, Place { sequence: id.sequence, ordinal }) {
            Gap::Missing(0) => {}
            Gap::Missing(messages) => {
                let name = name.to_owned();
                reporter.missed(&Missed { name, publisher: id.publisher, messages });
            }
            Gap::Implausible => add(&reporter.implausible, 1),
        }
    }
    seen
}

/// Calls a callback; whether it succeeded. A failure is reported and goes no further.
fn call(callback: &mut Callback, payload: &[u8], message: &Message, reporter: &Reporter) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(|| callback(payload, message)));
    let reason = match outcome {
        Ok(None) => return true,
        Ok(Some(reason)) => reason,
        Err(panic) => format!("it panicked: {}", panic_text(&*panic)),
    };
    let name = message.name().to_owned();
    reporter.failure(&Failure::Callback { name, id: message.id(), reason });
    false
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (_, Some(text)) => text,
        _ => "no text",
    }
}
