//! The threads of a client. One leads: it is the I/O thread, which does the client's turns, and between them calls the
//! callbacks whose messages came in, so that a message needs no other thread. When calls take long, or one is about to wait
//! for the server, another thread takes the lead, so that reading never waits for callbacks. [`watchdog`] sees
//! when that is; without such calls there is no other thread.
//!
//! This is the pattern *leader/followers* (Schmidt, O'Ryan, Kircher, Pyarali and Buschmann, 2000), with a lead that is
//! passed on only when it has to be: passing it on costs more than a call.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::here::{self, Backup};
use super::watchdog::{self, Steps};
use super::worker::Workers;
use crate::client::connection::requester::Requester;
use crate::client::receive::Inbox;

/// How long a thread that nobody needs stays.
const SPARE_FOR: Duration = Duration::from_secs(1);

struct State {
    /// While nobody leads. None either once the client has ended.
    requester: Option<Box<Requester>>,
    /// The lead is to be taken by another thread than those that call.
    is_urgent: bool,
    /// Subscriptions whose callbacks are to be called.
    ready: VecDeque<Arc<Inbox>>,
    calling: usize,
    standing_by: usize,
    is_watched: bool,
    /// The system had no thread for the lead, which was said.
    lacks_threads: bool,
    ended: bool,
}

/// A client's threads.
pub(in crate::client) struct Threads {
    state: Mutex<State>,
    steps: Arc<Steps>,
    /// For those that stand by.
    needed: Condvar,
    /// For those that wait until calls or turns are over.
    over: Condvar,
    /// Calls at the same time.
    calls_max: usize,
    /// No callback is called any more.
    no_calls: Arc<AtomicBool>,
    workers: Workers,
}

type Guard<'a> = MutexGuard<'a, State>;

impl Threads {
    /// The threads that do the turns of this requester, none yet.
    pub(in crate::client) fn new(
        requester: Requester,
        calls_max: usize,
        no_calls: Arc<AtomicBool>,
    ) -> Self {
        let state = State {
            requester: Some(Box::new(requester)),
            is_urgent: false,
            ready: VecDeque::new(),
            calling: 0,
            standing_by: 0,
            is_watched: false,
            lacks_threads: false,
            ended: false,
        };
        let steps = Arc::new(Steps::new());
        let (needed, over) = Default::default();
        let workers = Workers::new("mezzenger-client");
        Self { state: Mutex::new(state), steps, needed, over, calls_max, no_calls, workers }
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn lock(&self) -> Guard<'_> {
        // Callbacks and turns run without the lock, and nothing else panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the thread that leads.
    ///
    /// # Errors
    /// When the system has no thread.
    pub(in crate::client) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let threads = Arc::clone(self);
        self.workers.spawn(move || threads.run())
    }

    /// A thread's body.
    fn run(self: &Arc<Self>) {
        let mut state = self.lock();
        while !state.ended {
            if !state.is_urgent
                && state.calling < self.calls_max
                && let Some(inbox) = state.ready.pop_front()
            {
                state = self.call(state, inbox);
            } else if let Some(requester) = state.requester.take() {
                state = self.lead(state, requester);
            } else {
                match self.stand_by(state) {
                    Some(needed) => state = needed,
                    None => return,
                }
            }
        }
    }

    /// Does turns until callbacks are to be called, or the client ends.
    fn lead<'a>(&'a self, mut state: Guard<'a>, requester: Box<Requester>) -> Guard<'a> {
        state.is_urgent = false;
        self.steps.lead();
        let may_call = state.calling < self.calls_max;
        let is_urged = may_call && !state.ready.is_empty();
        drop(state);
        let mut lead = LeaderGuard { threads: self, requester: Some(requester), is_over: true };
        if let Some(requester) = &mut lead.requester {
            lead.is_over = !requester.run_until_called(is_urged);
        }
        drop(lead);
        self.lock()
    }

    /// Calls a subscription's callback.
    fn call<'a>(self: &'a Arc<Self>, mut state: Guard<'a>, inbox: Arc<Inbox>) -> Guard<'a> {
        state.calling += 1;
        if !std::mem::replace(&mut state.is_watched, true) {
            let threads: Weak<Self> = Arc::downgrade(self);
            if let Err(error) = watchdog::watch(&self.steps, threads) {
                state.is_watched = false;
                tracing::warn!(
                    "the system has no thread to watch callbacks ({error}): while one takes long, nothing is sent or received"
                );
            }
        }
        drop(state);
        let backup: Arc<dyn Backup> = Arc::<Self>::clone(self);
        let in_call = here::begin_call(self.address(), inbox.address(), backup);
        let more = inbox.call();
        drop(in_call);
        let mut state = self.lock();
        state.calling -= 1;
        if more {
            state.ready.push_back(inbox);
        }
        if self.no_calls.load(Ordering::Relaxed) {
            self.over.notify_all();
        }
        state
    }

    /// Waits until this thread is needed; `None` when it is not any more.
    fn stand_by<'a>(&'a self, mut state: Guard<'a>) -> Option<Guard<'a>> {
        state.standing_by += 1;
        let mut is_over = false;
        while !(is_over || state.ended || state.is_urgent) {
            (state, is_over) = self.wait(&self.needed, state, SPARE_FOR);
        }
        state.standing_by -= 1;
        // One whose time is over may have been counted on in this moment.
        (state.ended || state.is_urgent).then_some(state)
    }

    fn wait<'a>(&self, condvar: &Condvar, state: Guard<'a>, time: Duration) -> (Guard<'a>, bool) {
        let woken = condvar.wait_timeout(state, time);
        let (state, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
        (state, timeout.timed_out())
    }

    /// Waits until no callback runs but the one that this is called in, so long at most. None is called any more.
    pub(in crate::client) fn end_calls(&self, bound: Duration) {
        self.no_calls.store(true, Ordering::Relaxed);
        let end = Instant::now().checked_add(bound);
        let own = usize::from(here::is_in_call_of_client(self.address()));
        self.wait_until(end, |state| state.calling <= own || state.ended);
    }

    /// Waits until the client's last turn is over, and its threads have ended, so long at most.
    pub(in crate::client) fn end(&self, bound: Duration) {
        if !here::may_wait() {
            return;
        }
        let end = Instant::now().checked_add(bound);
        self.wait_until(end, |state| state.ended);
        if !here::is_in_call_of_client(self.address()) {
            self.workers.join(end);
        }
    }

    fn wait_until(&self, end: Option<Instant>, is_so: impl Fn(&State) -> bool) {
        let mut state = self.lock();
        while !is_so(&state) {
            let left =
                end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return;
            }
            state = self.wait(&self.over, state, left).0;
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.steps.look();
    }
}

impl Backup for Threads {
    fn take_over(self: Arc<Self>) -> bool {
        let mut state = self.lock();
        // Another one leads, or is about to.
        if state.requester.is_none() || state.is_urgent {
            return true;
        }
        state.is_urgent = true;
        if state.standing_by > 0 {
            self.needed.notify_one();
            return true;
        }
        drop(state);
        let started = self.start();
        let mut state = self.lock();
        let was_said = std::mem::replace(&mut state.lacks_threads, started.is_err());
        let Err(error) = started else { return true };
        state.is_urgent = false;
        drop(state);
        // It is tried again all the time.
        if !was_said {
            tracing::warn!(
                "the system has no thread for callbacks: {error}: while one takes long, nothing is sent or received"
            );
        }
        false
    }
}

/// The lead, given back at the end, also of a turn that panicked: then the client has ended.
struct LeaderGuard<'a> {
    threads: &'a Threads,
    requester: Option<Box<Requester>>,
    is_over: bool,
}

impl Drop for LeaderGuard<'_> {
    fn drop(&mut self) {
        let Self { threads, requester, is_over } = self;
        let Some(mut requester) = requester.take() else { return };
        if *is_over {
            // What was on its way fails, before anybody hears that all is over.
            drop(requester);
            let mut state = threads.lock();
            state.ended = true;
            state.ready.clear();
            threads.needed.notify_all();
            threads.over.notify_all();
            return;
        }
        let mut state = threads.lock();
        state.ready.extend(requester.take_called());
        state.requester = Some(requester);
        threads.steps.call();
    }
}
