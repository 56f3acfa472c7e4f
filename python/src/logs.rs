//! The library's log, in a queue that a Python thread takes from. No thread of the library waits for Python's logging.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Lines that wait; further ones are counted.
const LINES_MAX: usize = 4096;

/// How often a thread that logs tries to get the queue, before its line counts as dropped: in the child of a fork another
/// thread may have it forever.
const TRIES_MAX: u32 = 100;

/// Python's number of a level, and the text.
type Line = (u8, String);

struct Queue {
    lines: VecDeque<Line>,
    dropped: u64,
    is_stopped: bool,
}

static QUEUE: Mutex<Queue> =
    Mutex::new(Queue { lines: VecDeque::new(), dropped: 0, is_stopped: false });
static CHANGED: Condvar = Condvar::new();

/// The lowest level that is taken, as Python numbers it.
static LEVEL: AtomicU8 = AtomicU8::new(20);

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG => 10,
        Level::TRACE => 5,
    }
}

struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mezzenger")
            && number(*metadata.level()) >= LEVEL.load(Ordering::Relaxed)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        for _ in 0..TRIES_MAX {
            match QUEUE.try_lock() {
                Ok(queue) => return push(queue, (number(*event.metadata().level()), text.0)),
                Err(TryLockError::Poisoned(queue)) => {
                    return push(queue.into_inner(), (number(*event.metadata().level()), text.0));
                }
                Err(TryLockError::WouldBlock) => thread::yield_now(),
            }
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn push(mut queue: MutexGuard<'_, Queue>, line: Line) {
    if queue.lines.len() == LINES_MAX {
        queue.dropped += 1;
        return;
    }
    queue.lines.push_back(line);
    CHANGED.notify_all();
}

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // A String takes all.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

/// From which level on lines are taken, as Python numbers it. The first call begins to take any.
#[pyfunction]
pub(crate) fn set_log_level(level: u8) {
    static BEGIN: Once = Once::new();
    BEGIN.call_once(|| {
        // Another one is there if a program of this package runs in this process, which logs for itself.
        let _ = tracing::subscriber::set_global_default(Lines);
    });
    if LEVEL.swap(level, Ordering::Relaxed) != level {
        tracing::callsite::rebuild_interest_cache();
    }
}

/// Waits for lines, a second at most: their levels and texts, and how many were dropped. None once it was stopped.
#[pyfunction]
pub(crate) fn next_logs(py: Python<'_>) -> Option<(Vec<Line>, u64)> {
    py.detach(|| {
        let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.lines.is_empty() && !queue.is_stopped {
            let woken = CHANGED.wait_timeout(queue, Duration::from_secs(1));
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        let dropped = std::mem::take(&mut queue.dropped);
        if queue.lines.is_empty() && dropped == 0 && queue.is_stopped {
            return None;
        }
        Some((queue.lines.drain(..).collect(), dropped))
    })
}

/// Ends the thread that takes lines, once it has taken all.
#[pyfunction]
pub(crate) fn stop_logs() {
    if let Ok(mut queue) = QUEUE.try_lock() {
        queue.is_stopped = true;
    }
    CHANGED.notify_all();
}
