//! Threads that check large requests.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};

use super::check::{Check, Verdict};
use super::refusal::Refusal;
use super::subscribers::ConnectionId;
use super::transcode::Transcoded;
use super::transcode_queue::transcode_message;
use crate::limits::{CHECKED_BESIDE_BYTES_MAX, CHECKING_BYTES_MAX, CHECKING_MAX};
use crate::message::Message;
use crate::net::waker::Waker;

/// How long after the system denied a thread it is asked again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

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

    /// The bytes of a check that takes long.
    fn long_check_bytes(&self) -> Option<usize> {
        match self {
            Self::Check(check) if check.is_long() => Some(check.request.len()),
            _ => None,
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
    Carried(Message, Option<Transcoded>),
}

/// Takes jobs, and hands out what came of them: of those of a thread in the same order, and of those that were
/// done here, too.
#[derive(Default)]
pub(crate) struct Checker {
    /// Wakes whoever waits for verdicts; without, there is no thread.
    waker: Option<Waker>,
    /// For jobs of up to [`CHECKED_BESIDE_BYTES_MAX`], and for larger ones, which are not to keep the others waiting for
    /// seconds.
    lanes: [Lane; 2],
    /// What was done at once.
    done: VecDeque<Done>,
    /// Whose turn it is to be heard.
    turn: usize,
    count: usize,
    /// When the system denied a thread.
    refused: Option<Instant>,
}

#[derive(Default)]
struct Lane {
    thread: Option<Thread>,
    /// How many jobs it has, and how many of them take long.
    count: usize,
    long: usize,
    /// Number and bytes of the checks that do.
    long_checks: (usize, usize),
    /// Connections whose request waits until there is room for it.
    waiting: VecDeque<ConnectionId>,
}

impl Lane {
    /// Whether a request of this many bytes that takes long may be handed over.
    fn has_room(&self, bytes: usize) -> bool {
        let (count, others_bytes) = self.long_checks;
        count == 0 || (count < CHECKING_MAX && others_bytes + bytes <= CHECKING_BYTES_MAX)
    }
}

/// The thread ends when this is dropped, after the job that it is at.
struct Thread {
    jobs: Sender<Job>,
    outcomes: Receiver<Done>,
}

struct Done {
    lane: usize,
    is_long: bool,
    long_check_bytes: Option<usize>,
    outcome: Outcome,
}

fn lane(bytes: usize) -> usize {
    usize::from(bytes > CHECKED_BESIDE_BYTES_MAX)
}

impl Checker {
    /// Works on threads of its own, which begin with their first jobs.
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waker: Some(waker), ..Self::default() }
    }

    /// What wakes whoever waits for verdicts; without, there is no thread.
    pub(super) fn waker(&self) -> Option<Waker> {
        self.waker.clone()
    }

    /// Whether a connection's request of this many bytes that takes long may be handed over now. Otherwise it has to wait
    /// for [`Self::next_waiting`].
    pub(super) fn may_begin(&mut self, id: ConnectionId, bytes: usize) -> bool {
        let lane = &mut self.lanes[lane(bytes)];
        let may = lane.waiting.is_empty() && lane.has_room(bytes);
        if !may {
            lane.waiting.push_back(id);
        }
        may
    }

    /// The next connection whose request, of as many bytes as this says, may be handed over now.
    pub(super) fn next_waiting(
        &mut self,
        mut bytes: impl FnMut(ConnectionId) -> usize,
    ) -> Option<ConnectionId> {
        self.lanes.iter_mut().find_map(|lane| {
            let &id = lane.waiting.front()?;
            if lane.has_room(bytes(id)) { lane.waiting.pop_front() } else { None }
        })
    }

    /// Those that wait, who wait no longer.
    pub(super) fn take_waiting(&mut self) -> Vec<ConnectionId> {
        self.lanes.iter_mut().flat_map(|lane| std::mem::take(&mut lane.waiting)).collect()
    }

    /// Whether [`Self::next`] has something.
    pub(super) fn is_ready(&self) -> bool {
        let has_outcome = |thread: &Thread| !thread.outcomes.is_empty();
        !self.done.is_empty()
            || self.lanes.iter().any(|lane| lane.thread.as_ref().is_some_and(has_outcome))
    }

    /// Whether nothing is to come.
    pub(super) fn is_idle(&self) -> bool {
        self.count == 0
    }

    /// Hands a job over. One that takes no longer than any request may is done here rather than behind those
    /// that take long.
    pub(super) fn begin(&mut self, job: Job) {
        let number = lane(job.bytes());
        self.count += 1;
        let lane = &mut self.lanes[number];
        lane.count += 1;
        lane.long += usize::from(job.is_long());
        if let Some(bytes) = job.long_check_bytes() {
            lane.long_checks.0 += 1;
            lane.long_checks.1 += bytes;
        }
        let here = !job.is_long() && (lane.long > 0 || lane.count > CHECKING_MAX);
        let left = match self.thread(number) {
            _ if here => Some(job),
            // Full or gone are its exceptions: then it is done here.
            Some(thread) => thread.jobs.try_send(job).err().map(TrySendError::into_inner),
            None => Some(job),
        };
        if let Some(job) = left {
            self.done.push_back(run(job));
        }
    }

    /// What came of the next job, if that is there.
    pub(super) fn next(&mut self) -> Option<Outcome> {
        let sources = self.lanes.len() + 1;
        // By turns: none of them can keep the others' waiting.
        let Done { lane, is_long, long_check_bytes, outcome } = (0..sources).find_map(|_| {
            self.turn = (self.turn + 1) % sources;
            match self.lanes.get(self.turn) {
                Some(lane) => lane.thread.as_ref()?.outcomes.try_recv().ok(),
                None => self.done.pop_front(),
            }
        })?;
        self.count -= 1;
        let lane = &mut self.lanes[lane];
        lane.count -= 1;
        lane.long -= usize::from(is_long);
        if let Some(bytes) = long_check_bytes {
            lane.long_checks.0 -= 1;
            lane.long_checks.1 -= bytes;
        }
        Some(outcome)
    }

    fn thread(&mut self, number: usize) -> Option<&Thread> {
        let lane = &mut self.lanes[number];
        if lane.thread.is_none() && self.refused.is_none_or(|at| at.elapsed() >= TRY_AGAIN) {
            let waker = self.waker.clone()?;
            match start(waker) {
                Ok(thread) => lane.thread = Some(thread),
                Err(error) => {
                    self.refused = Some(Instant::now());
                    tracing::error!(
                        "the system denied a thread ({error}): large requests are checked while all others wait; \
                         raise the limit on threads"
                    );
                }
            }
        }
        lane.thread.as_ref()
    }
}

fn start(waker: Waker) -> std::io::Result<Thread> {
    // Room for all that may be under way, long and short ones, and for those that are checked a second time.
    let (jobs, to_do) = bounded::<Job>(4 * CHECKING_MAX);
    let (done, outcomes) = bounded(4 * CHECKING_MAX);
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

/// A panic, which is a defect of this program, rejects the request that caused it, and no others.
fn run(job: Job) -> Done {
    let lane = lane(job.bytes());
    let (is_long, long_check_bytes) = (job.is_long(), job.long_check_bytes());
    let outcome = match job {
        Job::Check(check) => {
            let number = check.number;
            let verdict = unwind(|| check.run()).unwrap_or_else(|| {
                Err(Refusal::Rule("the server failed to check this request: please report it"))
            });
            Outcome::Checked { number, verdict }
        }
        Job::Carry(message) => {
            let carried = unwind(|| transcode_message(&message)).flatten();
            Outcome::Carried(message, carried)
        }
    };
    Done { lane, is_long, long_check_bytes, outcome }
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
