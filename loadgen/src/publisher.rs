//! One publisher: an end and a thread that sends numbered messages, flat out or on schedule.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::clock::Clock;
use crate::header::Header;
use crate::proc;
use crate::subscriber::histogram;
use crate::target::{Finished, PublishError, PublisherEnd};
use crate::window::Window;

/// Flat out, the latency of every so many messages is measured: reading the clock for each would cost
/// a noticeable part of what sending costs.
const SAMPLE_EVERY: u64 = 64;

/// Messages of this size and more are all measured: they are slow enough.
const SAMPLE_ALL_BYTES: usize = 4096;

/// How long after the end a publisher on schedule goes on with what was due before it.
const LATE_NS_MAX: u64 = 1_000_000_000;

/// What all publishers of a run have in common.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) run: u32,
    pub(crate) names: usize,
    pub(crate) size: usize,
    pub(crate) ack: bool,
    pub(crate) publishers: u16,
    /// Messages a second, all publishers together; flat out without.
    pub(crate) rate: Option<f64>,
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

/// What one publisher did.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Messages handed to the client, by name.
    pub(crate) by_name: Vec<u64>,
    /// Messages that the server refused or did not answer.
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
    /// The name whose turn it is.
    name: usize,
    /// Messages that the window has room for.
    room: u64,
    delay: Histogram<u64>,
}

impl Publisher {
    pub(crate) fn new(end: PublisherEnd, plan: Arc<Plan>, index: u16) -> Self {
        let payload = (0..plan.size).map(|at| at as u8).collect();
        let by_name = vec![0; plan.names];
        // Publishers start at different names, so that they do not all fill the same one.
        let name = usize::from(index) % plan.names;
        Self { end, plan, index, payload, by_name, count: 0, name, room: 0, delay: histogram() }
    }

    /// Sends until the time is over, then waits until every message is answered.
    pub(crate) fn run(mut self) -> Sent {
        let sending = match self.plan.rate {
            None => self.flat_out(),
            Some(rate) => self.on_schedule(rate),
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
        let sample_every = if plan.size < SAMPLE_ALL_BYTES { SAMPLE_EVERY } else { 1 };
        while !plan.stop.load(Ordering::Relaxed) && self.has_room() {
            let sampled = self.count.is_multiple_of(sample_every);
            let now_ns = if sampled { plan.clock.now_ns() } else { 0 };
            let measured_ns = if now_ns >= plan.measure_from_ns { now_ns } else { 0 };
            self.send(measured_ns, measured_ns)?;
        }
        Ok(())
    }

    fn on_schedule(&mut self, rate: f64) -> Result<(), PublishError> {
        proc::sleep_precisely();
        let plan = Arc::clone(&self.plan);
        loop {
            let due_ns = plan.begin_ns + due_ns(self.count, self.index, plan.publishers, rate);
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
        let name = self.name;
        let header = Header {
            run: self.plan.run,
            publisher: self.index,
            name: name as u16,
            sequence: self.by_name[name] + 1,
            due_ns,
            sent_ns,
        };
        header.write(&mut self.payload);
        self.end.publish(name, &self.payload, self.plan.ack)?;
        self.by_name[name] += 1;
        self.count += 1;
        self.room = self.room.saturating_sub(1);
        self.name = if name + 1 == self.by_name.len() { 0 } else { name + 1 };
        Ok(())
    }
}

/// When the message with index `count` of a publisher is due, after the first of all: the publishers
/// take turns.
fn due_ns(count: u64, publisher: u16, publishers: u16, rate: f64) -> u64 {
    let turn = count as f64 * f64::from(publishers) + f64::from(publisher);
    (turn / rate * 1e9) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_take_turns_on_schedule() {
        let due = |count, publisher| due_ns(count, publisher, 2, 1000.0);
        assert_eq!(
            [due(0, 0), due(0, 1), due(1, 0), due(1, 1)],
            [0, 1_000_000, 2_000_000, 3_000_000]
        );
        assert_eq!(due(3600 * 500, 0), 3_600_000_000_000, "an hour later, still exact");
    }
}
