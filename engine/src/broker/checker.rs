//! The thread that checks what takes long.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use super::check::{Check, Verdict};
use super::effect::Refusal;
use super::subscribers::ConnectionId;
use crate::limits::{CHECKING_BYTES_MAX, CHECKING_MAX};
use crate::net::waker::Waker;

/// Takes checks, and hands out their verdicts in the same order.
#[derive(Default)]
pub(crate) struct Checker {
    /// Wakes whoever waits for verdicts; without, there is no thread.
    waker: Option<Waker>,
    thread: Option<Thread>,
    /// Verdicts of checks that were done at once.
    done: VecDeque<Done>,
    count: usize,
    bytes: usize,
    /// How many of them take long.
    long: usize,
    /// Connections whose request waits until there is room for it.
    pub(super) waiting: VecDeque<ConnectionId>,
}

/// The thread ends when this is dropped, after the check that it is at.
struct Thread {
    checks: Sender<Check>,
    verdicts: Receiver<Done>,
}

struct Done {
    number: u64,
    bytes: usize,
    is_long: bool,
    verdict: Verdict,
}

impl Checker {
    /// Checks on a thread of its own, which begins with the first check.
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waker: Some(waker), ..Self::default() }
    }

    /// Whether a request of so many bytes that takes long may be handed over.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.count == 0 || (self.count < CHECKING_MAX && self.bytes + bytes <= CHECKING_BYTES_MAX)
    }

    /// Whether [`Self::next`] has one.
    pub(super) fn has_verdict(&self) -> bool {
        let on_thread = self.thread.as_ref().is_some_and(|thread| !thread.verdicts.is_empty());
        on_thread || !self.done.is_empty()
    }

    /// Whether no verdict is to come.
    pub(super) fn is_idle(&self) -> bool {
        self.count == 0
    }

    /// Hands a check over. One that takes no longer than any request may is done here rather than behind those
    /// that take long.
    pub(super) fn begin(&mut self, check: Check) {
        self.count += 1;
        self.bytes += check.request.len();
        self.long += usize::from(check.is_long());
        let here = !check.is_long() && (self.long > 0 || !self.has_room(0));
        let left = match self.thread() {
            _ if here => Some(check),
            // Full or gone are its exceptions: then it is done here.
            Some(thread) => thread.checks.try_send(check).err().map(TrySendError::into_inner),
            None => Some(check),
        };
        if let Some(check) = left {
            self.done.push_back(run(check));
            if let Some(waker) = &self.waker {
                waker.wake();
            }
        }
    }

    /// The next verdict, if it is there, and the number of its check.
    pub(super) fn next(&mut self) -> Option<(u64, Verdict)> {
        let on_thread = self.thread.as_ref().and_then(|thread| thread.verdicts.try_recv().ok());
        let done = on_thread.or_else(|| self.done.pop_front())?;
        self.count -= 1;
        self.bytes -= done.bytes;
        self.long -= usize::from(done.is_long);
        Some((done.number, done.verdict))
    }

    fn thread(&mut self) -> Option<&Thread> {
        if self.thread.is_none() {
            let waker = self.waker.clone()?;
            self.thread = start(waker)
                .inspect_err(|error| {
                    tracing::error!(
                        "the system refused a thread ({error}): a large request is checked while all others wait"
                    );
                })
                .ok();
        }
        self.thread.as_ref()
    }
}

fn start(waker: Waker) -> std::io::Result<Thread> {
    // Room for all that may be under way, and for those that are checked a second time.
    let (checks, to_check) = bounded::<Check>(2 * CHECKING_MAX);
    let (found, verdicts) = bounded(2 * CHECKING_MAX);
    std::thread::Builder::new().name("mezzenger-verify".into()).spawn(move || {
        for check in to_check {
            if found.send(run(check)).is_err() {
                break;
            }
            waker.wake();
        }
    })?;
    Ok(Thread { checks, verdicts })
}

/// A panic, which is a defect of this program, refuses the request that caused it, and no others.
fn run(check: Check) -> Done {
    let (number, bytes, is_long) = (check.number, check.request.len(), check.is_long());
    let verdict = catch_unwind(AssertUnwindSafe(|| check.run())).unwrap_or_else(|_| {
        tracing::error!("the check of a request panicked: please report this with what it printed");
        Err(Refusal::Rule("the server failed to check this request: please report it"))
    });
    Done { number, bytes, is_long, verdict }
}
