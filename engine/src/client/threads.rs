//! The threads of a client. One leads: it is the I/O thread, which does the client's turns, and between them calls the callbacks whose messages
//! came in, so that a message needs no other thread. Another one stands by: when calls take longer than
//! [`CALL_TIME_MAX`], it takes the lead, so that reading never waits for callbacks.
//!
//! This is the pattern *leader/followers* (Schmidt, O'Ryan, Kircher, Pyarali and Buschmann, 2000), with a lead that is
//! passed on only when it has to be: passing it on costs more than a call.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::here::{self, Backup};
use super::receive::Inbox;
use super::requester::Requester;
use super::worker::Workers;

/// How long the calls of one turn may take before another thread takes the lead.
const CALL_TIME_MAX: Duration = Duration::from_millis(10);

/// How long a thread that nobody needs stays.
const SPARE_FOR: Duration = Duration::from_secs(1);

struct State {
    /// Nobody leads. None either once the client has ended.
    requester: Option<Box<Requester>>,
    /// Since when nobody leads.
    free_since: Instant,
    /// How often the lead became free.
    freed: u64,
    /// A callback waits for the server: the lead is to be taken at once.
    is_urgent: bool,
    /// Subscriptions whose callbacks are to be called.
    ready: VecDeque<Arc<Inbox>>,
    /// Threads, those in calls, and those that stand by or are about to.
    threads: usize,
    calling: usize,
    standing_by: usize,
    /// One of those looks at the clock.
    is_watched: bool,
    ended: bool,
}

/// A client's threads.
pub(super) struct Threads {
    state: Mutex<State>,
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
    pub(super) fn new(requester: Requester, calls_max: usize, no_calls: Arc<AtomicBool>) -> Self {
        let state = State {
            requester: Some(Box::new(requester)),
            free_since: Instant::now(),
            freed: 0,
            is_urgent: false,
            ready: VecDeque::new(),
            threads: 0,
            calling: 0,
            standing_by: 0,
            is_watched: false,
            ended: false,
        };
        let (needed, over) = Default::default();
        let workers = Workers::new("mezzenger-client");
        Self { state: Mutex::new(state), needed, over, calls_max, no_calls, workers }
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
    pub(super) fn start(self: &Arc<Self>) -> std::io::Result<()> {
        let threads = Arc::clone(self);
        self.lock().threads += 1;
        self.workers.spawn(move || threads.run(false))
    }

    /// A thread's body. `stands_by`: whether it begins with that.
    fn run(self: &Arc<Self>, stands_by: bool) {
        let mut state = self.lock();
        if stands_by {
            match self.stand_by(state) {
                Some(needed) => state = needed,
                None => return,
            }
        }
        while !state.ended {
            let is_due = state.requester.is_some() && self.is_due(&state);
            if !is_due
                && state.calling < self.calls_max
                && let Some(inbox) = state.ready.pop_front()
            {
                state = self.call(state, inbox);
            } else if let Some(requester) = state.requester.take() {
                state = self.lead(state, requester);
            } else {
                state.standing_by += 1;
                match self.stand_by(state) {
                    Some(needed) => state = needed,
                    None => return,
                }
            }
        }
        state.threads -= 1;
    }

    /// Whether the lead has been free for too long.
    fn is_due(&self, state: &State) -> bool {
        state.is_urgent || state.free_since.elapsed() >= CALL_TIME_MAX
    }

    /// Does turns until callbacks are to be called, or the client ends.
    fn lead<'a>(&'a self, mut state: Guard<'a>, requester: Box<Requester>) -> Guard<'a> {
        state.is_urgent = false;
        let may_call = state.calling < self.calls_max;
        let is_urged = may_call && !state.ready.is_empty();
        drop(state);
        let mut lead = Lead { threads: self, requester: Some(requester), is_over: true };
        if let Some(requester) = &mut lead.requester {
            lead.is_over = !requester.run_until_called(is_urged);
        }
        drop(lead);
        self.lock()
    }

    /// Calls a subscription's callback.
    fn call<'a>(self: &'a Arc<Self>, mut state: Guard<'a>, inbox: Arc<Inbox>) -> Guard<'a> {
        state.calling += 1;
        let has_backup = self.watch(&mut state);
        drop(state);
        let backup = has_backup.then(|| Arc::clone(self) as Arc<dyn Backup>);
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

    /// Sees to it that somebody takes the lead if the call that begins takes long; whether somebody can.
    fn watch(self: &Arc<Self>, state: &mut State) -> bool {
        if state.standing_by == 0 && state.threads == state.calling {
            let threads = Arc::clone(self);
            if let Err(error) = self.workers.spawn(move || threads.run(true)) {
                tracing::warn!(
                    "the system has no thread for callbacks ({error}): until it has, nothing is sent or received while \
                     one runs"
                );
                return false;
            }
            state.threads += 1;
            state.standing_by += 1;
        } else if state.standing_by > 0 && !state.is_watched {
            self.needed.notify_one();
        }
        true
    }

    /// Waits until this thread is needed; `None` when it is not any more. It was counted among those that stand by.
    fn stand_by<'a>(&'a self, mut state: Guard<'a>) -> Option<Guard<'a>> {
        let (mut seen, mut watches, mut is_spare) = (state.freed, false, false);
        loop {
            if state.ended || (state.requester.is_some() && self.is_due(&state)) {
                state.is_watched &= !watches;
                state.standing_by -= 1;
                return Some(state);
            }
            let is_busy = state.requester.is_some() || state.freed != seen;
            if is_busy && (watches || !state.is_watched) {
                (seen, watches, state.is_watched) = (state.freed, true, true);
                let time = CALL_TIME_MAX.saturating_sub(match &state.requester {
                    Some(_) => state.free_since.elapsed(),
                    None => Duration::ZERO,
                });
                // A thread that is due a moment late is no loss, one that turns in a loop is.
                let time = time.max(Duration::from_millis(1));
                state = self.wait(&self.needed, state, time).0;
                continue;
            }
            state.is_watched &= !watches;
            watches = false;
            if state.standing_by == 1 {
                is_spare = false;
                state = self.needed.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else if std::mem::replace(&mut is_spare, true) {
                state.standing_by -= 1;
                state.threads -= 1;
                return None;
            } else {
                let (next, is_over) = self.wait(&self.needed, state, SPARE_FOR);
                state = next;
                is_spare = is_over;
            }
        }
    }

    fn wait<'a>(&self, condvar: &Condvar, state: Guard<'a>, time: Duration) -> (Guard<'a>, bool) {
        let woken = condvar.wait_timeout(state, time);
        let (state, timeout) = woken.unwrap_or_else(PoisonError::into_inner);
        (state, timeout.timed_out())
    }

    /// Waits until no callback runs but the one that this is called in, so long at most. None is called any more.
    pub(super) fn end_calls(&self, bound: Duration) {
        self.no_calls.store(true, Ordering::Relaxed);
        let end = Instant::now().checked_add(bound);
        let own = usize::from(here::is_in_call_of_client(self.address()));
        self.wait_until(end, |state| state.calling <= own || state.ended);
    }

    /// Waits until the client's last turn is over, and its threads have ended, so long at most.
    pub(super) fn end(&self, bound: Duration) {
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

impl Backup for Threads {
    fn take_over(&self) {
        let mut state = self.lock();
        if state.requester.is_some() {
            state.is_urgent = true;
            self.needed.notify_all();
        }
    }
}

/// The lead, given back at the end, also of a turn that panicked: then the client has ended.
struct Lead<'a> {
    threads: &'a Threads,
    requester: Option<Box<Requester>>,
    is_over: bool,
}

impl Drop for Lead<'_> {
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
        state.free_since = Instant::now();
        state.freed += 1;
    }
}
