//! Hands the messages of a received frame to those who want them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::errands::Errands;
use super::message::Message;
use super::missed::{Gap, Place, Runs, Tracker};
use super::queue::{Delivery, Joint, settle};
use super::report::{Failure, Missed, Reporter, add, add_alone};
use super::routes::{Callback, Receiver, Routes};
use super::verify::mismatches;
use crate::wire::frame::split_v2;
use crate::wire::record::{Record, RecordError, Records};

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
        let Self { routes, tracker, errands, reporter, .. } = self;
        let Some((name, records)) = split_v2(frame) else {
            reporter.failure(&Failure::BadFrame { bytes: frame.len() });
            return Delivered::Done;
        };
        let mut queues = Vec::new();
        let mut callbacks = Vec::new();
        for receiver in routes.of(name) {
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
        let wrong: Arc<[usize]> =
            if self.verify { mismatches(name, &records).into() } else { Arc::default() };
        report(reporter, name, &records, &wrong);
        let mut watch = Watch { runs: tracker.runs(name), reporter, name, frame };
        // With a queue, all must know how many share a message before the first of them has it.
        let mut joint = None;
        let is_seen = !queues.is_empty();
        if is_seen {
            let (mut count, mut any_ack) = (0, false);
            for record in records.clone().map_while(|item| watch.see(item)) {
                count += 1;
                any_ack |= record.ack;
            }
            joint = (any_ack && receivers > 1).then(|| Arc::new(Joint::new(count, receivers)));
        }
        for queue in queues {
            let (frame, wrong, joint) = (frame.clone(), Arc::clone(&wrong), joint.clone());
            queue.push(Delivery { frame, name_bytes: name.len(), wrong, joint });
        }
        if callbacks.is_empty() {
            return Delivered::Done;
        }
        let mut message = None;
        for (at, item) in records.enumerate() {
            let seen = if is_seen { item.ok().map(|(_, record)| record) } else { watch.see(item) };
            let Some(record) = seen else { break };
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
            let mut successes = 0;
            // Each is called, whatever the others return.
            for callback in &mut callbacks {
                successes += usize::from(call(callback, record.payload, message, reporter));
            }
            if record.ack {
                match &joint {
                    Some(joint) => {
                        for _ in 0..successes {
                            settle(Some(joint), at, record.id, errands);
                        }
                    }
                    None if successes == callbacks.len() => errands.acknowledge(record.id),
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

/// Notes what is received of one frame.
struct Watch<'a> {
    runs: Runs<'a>,
    reporter: &'a Reporter,
    name: &'a str,
    frame: &'a Bytes,
}

impl Watch<'_> {
    /// Notes a record; `None` for what is none, behind which nothing can be read.
    // Inlined, so that the record is not moved.
    #[inline(always)]
    fn see<'r>(&mut self, item: Result<(&[u8], Record<'r>), RecordError>) -> Option<Record<'r>> {
        let Ok((_, record)) = item else {
            self.reporter.failure(&Failure::BadFrame { bytes: self.frame.len() });
            return None;
        };
        add_alone(&self.reporter.received, 1);
        let Record { id, ordinal, .. } = record;
        match self.runs.see(id.publisher, Place { sequence: id.sequence, ordinal }) {
            Gap::Missing(0) => {}
            Gap::Missing(messages) => {
                let name = self.name.to_owned();
                self.reporter.missed(&Missed { name, publisher: id.publisher, messages });
            }
            Gap::Implausible => add(&self.reporter.implausible, 1),
        }
        Some(record)
    }
}

/// Calls a callback; whether it succeeded. A failure is reported and goes no further.
#[inline]
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
