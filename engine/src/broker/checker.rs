//! The thread that checks what takes long.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use super::carry::carry;
use super::check::{Carried, Check, Verdict};
use super::effect::Refusal;
use super::subscribers::ConnectionId;
use crate::limits::{CHECKING_BYTES_MAX, CHECKING_MAX};
use crate::message::Message;
use crate::net::waker::Waker;

/// Something to be done.
pub(super) enum Job {
    Check(Check),
    Carry(Message),
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Check(check) => check.request.len(),
            Self::Carry(message) => message.bytes(),
        }
    }

    /// Whether it may take longer than a turn.
    fn is_long(&self) -> bool {
        match self {
            Self::Check(check) => check.is_long(),
            Self::Carry(_) => true,
        }
    }
}

/// What came of it.
pub(super) enum Outcome {
    Checked { number: u64, verdict: Verdict },
    Carried(Message, Option<Carried>),
}

/// Takes jobs, and hands out what came of them, those of the thread in the same order.
#[derive(Default)]
pub(crate) struct Checker {
    /// Wakes whoever waits for verdicts; without, there is no thread.
    waker: Option<Waker>,
    thread: Option<Thread>,
    /// What was done at once.
    done: VecDeque<Done>,
    count: usize,
    bytes: usize,
    /// How many of them take long.
    long: usize,
    /// Connections whose request waits until there is room for it.
    pub(super) waiting: VecDeque<ConnectionId>,
}

/// The thread ends when this is dropped, after the job that it is at.
struct Thread {
    jobs: Sender<Job>,
    outcomes: Receiver<Done>,
}

struct Done {
    bytes: usize,
    is_long: bool,
    outcome: Outcome,
}

impl Checker {
    /// Works on a thread of its own, which begins with the first job.
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waker: Some(waker), ..Self::default() }
    }

    /// Whether a request of so many bytes that takes long may be handed over.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.count == 0 || (self.count < CHECKING_MAX && self.bytes + bytes <= CHECKING_BYTES_MAX)
    }

    /// Whether [`Self::next`] has something.
    pub(super) fn is_ready(&self) -> bool {
        let on_thread = self.thread.as_ref().is_some_and(|thread| !thread.outcomes.is_empty());
        on_thread || !self.done.is_empty()
    }

    /// Whether nothing is to come.
    pub(super) fn is_idle(&self) -> bool {
        self.count == 0
    }

    /// Hands a job over. One that takes no longer than any request may is done here rather than behind those
    /// that take long.
    pub(super) fn begin(&mut self, job: Job) {
        self.count += 1;
        self.bytes += job.bytes();
        self.long += usize::from(job.is_long());
        let here = !job.is_long() && (self.long > 0 || !self.has_room(0));
        let left = match self.thread() {
            _ if here => Some(job),
            // Full or gone are its exceptions: then it is done here.
            Some(thread) => thread.jobs.try_send(job).err().map(TrySendError::into_inner),
            None => Some(job),
        };
        if let Some(job) = left {
            self.done.push_back(run(job));
            if let Some(waker) = &self.waker {
                waker.wake();
            }
        }
    }

    /// What came of the next job, if that is there.
    pub(super) fn next(&mut self) -> Option<Outcome> {
        let on_thread = self.thread.as_ref().and_then(|thread| thread.outcomes.try_recv().ok());
        let Done { bytes, is_long, outcome } = on_thread.or_else(|| self.done.pop_front())?;
        self.count -= 1;
        self.bytes -= bytes;
        self.long -= usize::from(is_long);
        Some(outcome)
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
    let (jobs, to_do) = bounded::<Job>(2 * CHECKING_MAX);
    let (done, outcomes) = bounded(2 * CHECKING_MAX);
    std::thread::Builder::new().name("mezzenger-verify".into()).spawn(move || {
        for job in to_do {
            if done.send(run(job)).is_err() {
                break;
            }
            waker.wake();
        }
    })?;
    Ok(Thread { jobs, outcomes })
}

/// A panic, which is a defect of this program, refuses the request that caused it, and no others.
fn run(job: Job) -> Done {
    let (bytes, is_long) = (job.bytes(), job.is_long());
    let outcome = match job {
        Job::Check(check) => {
            let number = check.number;
            let verdict = unwind(|| check.run()).unwrap_or_else(|| {
                Err(Refusal::Rule("the server failed to check this request: please report it"))
            });
            Outcome::Checked { number, verdict }
        }
        Job::Carry(message) => {
            let carried = unwind(|| carry(&message)).flatten();
            Outcome::Carried(message, carried)
        }
    };
    Done { bytes, is_long, outcome }
}

fn unwind<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work))
        .inspect_err(|_| {
            tracing::error!(
                "what the server does with a large request panicked: please report this with what it printed"
            );
        })
        .ok()
}
