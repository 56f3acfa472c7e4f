//! One publisher: an end and a thread that sends numbered messages, flat out or on schedule.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::Clock;
use crate::content::{Content, Place};
use crate::count::Count;
use crate::header::Header;
use crate::measured::{Measured, histogram};
use crate::proc;
use crate::schedule::Schedule;
use crate::target::{Finished, PublishError, PublisherEnd};
use crate::window::Window;

/// Flat out, the latency of every N-th message is measured: reading the clock for each would cost
/// a noticeable part of what sending costs.
const SAMPLE_EVERY: u64 = 64;

/// Messages of this size and more, and requests, are all measured: they are slow enough.
const SAMPLE_ALL_BYTES: usize = 4096;

/// How long after the end a publisher on schedule goes on with what was due before it.
const LATE_NS_MAX: u64 = 1_000_000_000;

/// What all publishers of a run have in common.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) run: u32,
    pub(crate) names: usize,
    pub(crate) content: Content,
    pub(crate) publishers: u16,
    /// When messages are due; flat out without.
    pub(crate) schedule: Option<Schedule>,
    /// Messages to send in all, instead of for a time.
    pub(crate) count: Option<u64>,
    /// What each publisher has begun to hand over, a count for each name.
    pub(crate) begun: Vec<Vec<Count>>,
    /// What is measured to the answers, where messages are requests, or to the end of connections.
    pub(crate) round_trips: Option<Mutex<Measured>>,
    /// Bounds what subscribers have not received yet.
    pub(crate) window: Option<Window>,
    pub(crate) clock: Clock,
    /// When the first message is due.
    pub(crate) begin_ns: u64,
    /// Messages due before are sent and verified, but not measured.
    pub(crate) measure_from_ns: u64,
    /// Messages due later are not sent.
    pub(crate) end_ns: u64,
    /// Set when the time is over, for those without a schedule.
    pub(crate) stop: AtomicBool,
}

impl Plan {
    /// Messages that this publisher sends at most.
    fn quota(&self, publisher: u16) -> u64 {
        let share = |count| {
            let publishers = u64::from(self.publishers);
            count / publishers + u64::from(u64::from(publisher) < count % publishers)
        };
        self.count.map_or(u64::MAX, share)
    }

    /// What was measured to the answers so far, where messages are requests.
    pub(crate) fn round_trips(&self) -> Option<Measured> {
        let measured = self.round_trips.as_ref()?;
        Some(measured.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The last sequence that each publisher may have handed over under each name. What comes later is
    /// handed over after this call.
    pub(crate) fn handed_over(&self) -> Vec<Vec<u64>> {
        self.begun.iter().map(|by_name| by_name.iter().map(Count::get).collect()).collect()
    }
}

/// What one publisher did.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Messages handed to the client, by name.
    pub(crate) by_name: Vec<u64>,
    /// Messages that the server rejected or did not answer.
    pub(crate) refused: u64,
    /// The first failure.
    pub(crate) failure: Option<PublishError>,
    /// How late messages were handed over, in nanoseconds; only with a schedule.
    pub(crate) delay: Histogram<u64>,
}

impl Sent {
    /// Messages handed to the client.
    pub(crate) fn sent(&self) -> u64 {
        self.by_name.iter().sum()
    }

    /// Messages that the server took.
    pub(crate) fn taken(&self) -> u64 {
        self.sent().saturating_sub(self.refused)
    }
}

/// A publisher at work.
pub(crate) struct Publisher {
    end: PublisherEnd,
    plan: Arc<Plan>,
    index: u16,
    payload: Vec<u8>,
    /// Messages sent under each name.
    by_name: Vec<u64>,
    /// Messages sent.
    count: u64,
    /// Messages to send at most.
    quota: u64,
    /// The name whose turn it is.
    name: usize,
    /// Messages that the window has room for.
    room: u64,
    delay: Histogram<u64>,
}

impl Publisher {
    pub(crate) fn new(end: PublisherEnd, plan: Arc<Plan>, index: u16) -> Self {
        let payload = (0..plan.content.size.max).map(|at| at as u8).collect();
        let by_name = vec![0; plan.names];
        let quota = plan.quota(index);
        // Publishers start at different names, so that they do not all fill the same one.
        let name = usize::from(index) % plan.names;
        let (count, room, delay) = (0, 0, histogram());
        Self { end, plan, index, payload, by_name, count, quota, name, room, delay }
    }

    /// Sends until the time is over, then waits until every message is answered.
    pub(crate) fn run(mut self) -> Sent {
        let sending = match self.plan.schedule {
            None => self.flat_out(),
            Some(schedule) => self.on_schedule(schedule),
        };
        let Finished { refused, failure } = self.end.finish();
        Sent {
            by_name: self.by_name,
            refused,
            failure: sending.err().or(failure),
            delay: self.delay,
        }
    }

    fn flat_out(&mut self) -> Result<(), PublishError> {
        let plan = Arc::clone(&self.plan);
        let is_slow = plan.content.size.max >= SAMPLE_ALL_BYTES || plan.round_trips.is_some();
        let sample_every = if is_slow { 1 } else { SAMPLE_EVERY };
        while !plan.stop.load(Ordering::Relaxed) && self.count < self.quota && self.has_room() {
            let sampled = self.count.is_multiple_of(sample_every);
            let now_ns = if sampled { plan.clock.now_ns() } else { 0 };
            let measured_ns = if now_ns >= plan.measure_from_ns { now_ns } else { 0 };
            self.send(measured_ns, measured_ns)?;
        }
        Ok(())
    }

    fn on_schedule(&mut self, schedule: Schedule) -> Result<(), PublishError> {
        proc::sleep_precisely();
        let plan = Arc::clone(&self.plan);
        loop {
            if self.count == self.quota {
                return Ok(());
            }
            let due_ns = plan.begin_ns + schedule.due_ns(self.count, self.index);
            let now_ns = plan.clock.now_ns();
            if due_ns >= plan.end_ns || now_ns > plan.end_ns.saturating_add(LATE_NS_MAX) {
                // The run takes publishers that end early for failed ones, and ends with them.
                thread::sleep(Duration::from_nanos(plan.end_ns.saturating_sub(now_ns)));
                return Ok(());
            }
            if now_ns < due_ns {
                thread::sleep(Duration::from_nanos(due_ns - now_ns));
            } else if self.room == 0 && plan.window.is_some() {
                if !self.has_room() {
                    return Ok(());
                }
            } else if due_ns < plan.measure_from_ns {
                self.send(0, 0)?;
            } else {
                self.delay.saturating_record(now_ns - due_ns);
                self.send(due_ns, now_ns)?;
            }
        }
    }

    /// Waits until the window has room for a message; false when the run is over first.
    #[inline]
    fn has_room(&mut self) -> bool {
        if self.room > 0 {
            return true;
        }
        let Some(window) = &self.plan.window else { return true };
        let plan = &self.plan;
        let is_over = || {
            plan.stop.load(Ordering::Relaxed)
                || plan.clock.now_ns() > plan.end_ns.saturating_add(LATE_NS_MAX)
        };
        self.room = window.take(is_over).unwrap_or(0);
        self.room > 0
    }

    fn send(&mut self, due_ns: u64, sent_ns: u64) -> Result<(), PublishError> {
        let (at, publisher, name) = (self.name, self.index, self.name as u16);
        let sequence = self.by_name[at] + 1;
        let Plan { run, content, begun, round_trips, clock, .. } = &*self.plan;
        let mut header = Header { run: *run, publisher, name, sequence, due_ns, sent_ns };
        if round_trips.is_some() {
            // Its subscriber is only half of the way.
            (header.due_ns, header.sent_ns) = (0, 0);
        }
        header.write(&mut self.payload);
        let place = Place { publisher, name, sequence };
        begun[usize::from(publisher)][at].set(sequence);
        let payload = &self.payload[..content.size(place)];
        self.end.publish(at, payload, content.ack(place))?;
        if let Some(measured) = round_trips.as_ref().filter(|_| due_ns != 0) {
            let now_ns = clock.now_ns();
            let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
            measured.latency.saturating_record(now_ns.saturating_sub(due_ns));
            measured.service.saturating_record(now_ns.saturating_sub(sent_ns));
        }
        self.by_name[at] = sequence;
        self.count += 1;
        self.room = self.room.saturating_sub(1);
        self.name = if at + 1 == self.by_name.len() { 0 } else { at + 1 };
        Ok(())
    }
}
