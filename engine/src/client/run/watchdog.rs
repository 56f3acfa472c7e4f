//! A watchdog: one thread that keeps the clients of a process from waiting for slow callbacks, while there are clients
//! with callbacks.
//!
//! It looks at each client every [`PERIOD`]. A client whose thread calls callbacks, and has done nothing else since the
//! last look, is woken. A look costs a load for each client; a client that begins to call costs a store and a load.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use super::here::Backup;
use crate::client::process::Process;

/// Time between two looks: callbacks that take longer than this, and twice this at most, are noticed.
const PERIOD: Duration = Duration::from_millis(10);

/// Looks at clients that do nothing, after which it sleeps until one begins to call.
const IDLE_LOOKS_MAX: u32 = 100;

/// What a client's threads do.
pub(super) struct Steps {
    /// Odd while they call callbacks and none leads. Each change is a step.
    count: AtomicU64,
    watchdog: &'static Watchdog,
}

impl Steps {
    /// Of a client that begins: none leads yet.
    pub(in crate::client) fn new() -> Self {
        Self { count: AtomicU64::new(1), watchdog: Watchdog::here() }
    }

    /// From now on none leads.
    pub(in crate::client) fn call(&self) {
        // Both in one order with what the watchdog does before it sleeps: it sees the step, or this sees that it sleeps.
        self.count.fetch_add(1, Ordering::SeqCst);
        self.look();
    }

    /// From now on one leads.
    pub(super) fn lead(&self) {
        self.count.fetch_add(1, Ordering::Release);
    }

    /// Wakes the watchdog if it sleeps.
    pub(in crate::client) fn look(&self) {
        self.watchdog.look();
    }
}

/// The watchdog of one process.
struct Watchdog {
    process: OnceLock<Process>,
    is_asleep: AtomicBool,
    watched: Mutex<Watched>,
    /// That of a child which was forked from the process. It has not the thread of this one, and may have been forked while
    /// that held the lock.
    next: OnceLock<Box<Self>>,
}

static FIRST: Watchdog = Watchdog::new();

struct Client {
    steps: Arc<Steps>,
    seen: u64,
    backup: Weak<dyn Backup>,
}

struct Watched {
    clients: Vec<Client>,
    /// While it runs.
    thread: Option<Thread>,
}

impl Watchdog {
    const fn new() -> Self {
        Self {
            process: OnceLock::new(),
            is_asleep: AtomicBool::new(false),
            watched: Mutex::new(Watched { clients: Vec::new(), thread: None }),
            next: OnceLock::new(),
        }
    }

    /// That of this process.
    fn here() -> &'static Self {
        let this = Process::this();
        let mut watchdog = &FIRST;
        while *watchdog.process.get_or_init(|| this) != this {
            watchdog = watchdog.next.get_or_init(|| Box::new(Self::new()));
        }
        watchdog
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // Nothing in here panics half-way.
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes it if it sleeps.
    fn look(&self) {
        if self.is_asleep.load(Ordering::SeqCst) && self.is_asleep.swap(false, Ordering::SeqCst) {
            self.lock().thread.iter().for_each(Thread::unpark);
        }
    }

    fn run(&self) {
        let mut idle = 0;
        loop {
            let mut late = Vec::new();
            let mut is_idle = true;
            {
                let mut watched = self.lock();
                watched.clients.retain_mut(|Client { steps, seen, backup }| {
                    let now = steps.count.load(Ordering::SeqCst);
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
            } else if self.is_asleep.swap(true, Ordering::SeqCst) {
                thread::park();
                idle = 0;
            }
            // Otherwise one more look, at what began before it could be seen that this sleeps.
        }
    }
}

/// Keeps the watchdog of this process from everything.
#[cfg(all(test, not(loom)))]
pub(in crate::client) fn lock_here() -> impl Drop {
    Watchdog::here().lock()
}

/// Watches a client until it is gone.
///
/// # Errors
/// When the system has no thread for that.
pub(super) fn watch(steps: &Arc<Steps>, backup: Weak<dyn Backup>) -> std::io::Result<()> {
    let watchdog = steps.watchdog;
    let mut watched = watchdog.lock();
    if watched.thread.is_none() {
        let builder = thread::Builder::new().name("mezzenger-watch".to_owned());
        watched.thread = Some(builder.spawn(|| watchdog.run())?.thread().clone());
    }
    watched.clients.push(Client { steps: Arc::clone(steps), seen: 0, backup });
    drop(watched);
    // It may have looked, and begun to sleep, since the client began to call.
    watchdog.look();
    Ok(())
}
