//! Sees to it that no client waits for its callbacks: one thread for all clients of the process, while there are some
//! with callbacks.
//!
//! It looks at each client every [`PERIOD`]. A client whose thread calls callbacks, and has done nothing else since the
//! last look, is told. A look costs a load for each client; a client that begins to call costs a store and a load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use super::here::Backup;
use super::process::Process;

/// Time between two looks: callbacks that take longer than this, and twice this at most, are noticed.
const PERIOD: Duration = Duration::from_millis(10);

/// Looks at clients that do nothing, after which it sleeps until one begins to call.
const IDLE_LOOKS_MAX: u32 = 100;

/// What a client's threads do: odd while they call callbacks and none leads. Each change is a step.
#[derive(Debug)]
pub(super) struct Steps(AtomicU64);

impl Steps {
    /// Of a client that begins: none leads yet.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(1))
    }

    /// From now on none leads.
    pub(super) fn call(&self) {
        // Both in one order with what the watchdog does before it sleeps: it sees the step, or this sees that it sleeps.
        self.0.fetch_add(1, Ordering::SeqCst);
        look();
    }

    /// From now on one leads.
    pub(super) fn lead(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }
}

/// Wakes the watchdog if it sleeps.
pub(super) fn look() {
    if IS_ASLEEP.load(Ordering::SeqCst) && IS_ASLEEP.swap(false, Ordering::SeqCst) {
        lock().thread.iter().for_each(Thread::unpark);
    }
}

static IS_ASLEEP: AtomicBool = AtomicBool::new(false);

static WATCHED: Mutex<Watched> = Mutex::new(NOBODY);

const NOBODY: Watched = Watched { process: None, clients: Vec::new(), thread: None };

struct Client {
    steps: Arc<Steps>,
    seen: u64,
    backup: Weak<dyn Backup>,
}

struct Watched {
    /// Of which process the rest is: a child of a fork has not the thread.
    process: Option<Process>,
    clients: Vec<Client>,
    /// While it runs.
    thread: Option<Thread>,
}

fn lock() -> MutexGuard<'static, Watched> {
    // Nothing in here panics half-way.
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Watches a client until it is gone.
///
/// # Errors
/// When the system has no thread for that.
pub(super) fn watch(steps: &Arc<Steps>, backup: Weak<dyn Backup>) -> std::io::Result<()> {
    let mut watched = lock();
    let process = Some(Process::this());
    if watched.process != process {
        *watched = Watched { process, ..NOBODY };
    }
    if watched.thread.is_none() {
        let builder = thread::Builder::new().name("mezzenger-watch".to_owned());
        watched.thread = Some(builder.spawn(run)?.thread().clone());
    }
    watched.clients.push(Client { steps: Arc::clone(steps), seen: 0, backup });
    drop(watched);
    // It may have looked, and begun to sleep, since the client began to call.
    look();
    Ok(())
}

fn run() {
    let mut idle = 0;
    loop {
        let mut late = Vec::new();
        let mut is_idle = true;
        {
            let mut watched = lock();
            watched.clients.retain_mut(|Client { steps, seen, backup }| {
                let now = steps.0.load(Ordering::SeqCst);
                let is_calling = now % 2 == 1;
                if is_calling && now == *seen {
                    late.extend(backup.upgrade());
                }
                is_idle &= now == *seen && !is_calling;
                *seen = now;
                backup.strong_count() > 0
            });
            if watched.clients.is_empty() {
                watched.thread = None;
                return;
            }
        }
        for client in late {
            client.take_over();
        }
        idle = if is_idle { idle + 1 } else { 0 };
        if idle < IDLE_LOOKS_MAX {
            thread::park_timeout(PERIOD);
        } else if IS_ASLEEP.swap(true, Ordering::SeqCst) {
            thread::park();
            idle = 0;
        }
        // Otherwise one more look, at what began before it could be seen that this sleeps.
    }
}
