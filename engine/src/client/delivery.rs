//! Hands the messages of a received frame to the callbacks that want them.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::errands::Errands;
use super::message::Message;
use super::missed::Tracker;
use super::report::{Failure, Reporter, add};
use super::routes::{Callback, Routes};
use super::verify;
use crate::wire::frame::split_v2;

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
    pub(super) fn deliver(&mut self, frame: &Bytes) {
        let Self { routes, tracker, errands, reporter, .. } = self;
        let Some((name, records)) = split_v2(frame) else {
            reporter.failure(&Failure::BadFrame { bytes: frame.len() });
            return;
        };
        let mut callbacks: Vec<_> = routes.of(name).collect();
        if callbacks.is_empty() {
            return;
        }
        let wrong =
            if self.verify { verify::reported(name, &records, reporter) } else { Vec::new() };
        let mut runs = tracker.runs(name);
        let mut message = None;
        let mut received = 0;
        for (at, item) in records.enumerate() {
            let Ok((_, record)) = item else {
                reporter.failure(&Failure::BadFrame { bytes: frame.len() });
                break;
            };
            received += 1;
            reporter.gap(name, record.id.publisher, runs.see_record(&record));
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
                successes += usize::from(call(callback, message, reporter));
            }
            if record.ack && successes == callbacks.len() {
                errands.acknowledge(record.id);
            }
        }
        add(&reporter.received, received);
    }
}

/// Calls a callback; whether it succeeded. A failure is reported and goes no further.
#[inline]
fn call(callback: &mut Callback, message: &Message, reporter: &Reporter) -> bool {
    let outcome = catch_unwind(AssertUnwindSafe(|| callback(message.payload(), message)));
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
