//! Carries effects out, in order, and stops when a subscriber's queue is full.
//!
//! While it is stopped the broker reads no requests, so that publishers are held back and nobody loses
//! anything. A subscriber that does not read at all is disconnected after the grace; one that reads,
//! but too slowly, after ten times that.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::effect::{Dialect, Effect, Reply};
use super::held_back::HeldBack;
use super::ingress::{self, Envelope};
use super::log_rate::LogRate;
use crate::metrics::Counters;
use crate::transport::part::Outstanding;
use crate::transport::peers::{self, Watch};
use crate::transport::{Part, Socket, TransportError};
use crate::wire::reply::{OK, refusal};

/// How many graces a subscriber gets that reads, but too slowly for everybody else.
const SLOW_GRACES: u32 = 10;

/// Subscribers that a log line names.
const NAMED_MAX: usize = 3;

/// What an egress is told.
pub(super) struct Terms {
    pub(super) publisher_address: SocketAddr,
    /// How long a subscriber that does not read is waited for.
    pub(super) grace: Duration,
    /// Bytes handed to libzmq and not sent yet, beyond which nothing is published.
    pub(super) unsent_bytes_max: usize,
}

pub(super) struct Egress {
    publisher: Socket,
    terms: Terms,
    outstanding: Outstanding,
    counters: Arc<Counters>,
    /// The frame that a full queue refused.
    held: Option<(Part, usize)>,
    stall: Option<Stall>,
    held_back: HeldBack,
    refusal_log: LogRate,
}

/// A time in which nothing could be published.
struct Stall {
    since: Instant,
    /// Up to when it is counted.
    counted: Instant,
    /// Taken halfway through a grace, to be compared with at its end: most stalls are over long before.
    watch: Option<Watch>,
    next_look: Instant,
}

impl Egress {
    pub(super) fn new(
        publisher: Socket,
        terms: Terms,
        outstanding: Outstanding,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            publisher,
            terms,
            outstanding,
            counters,
            held: None,
            stall: None,
            held_back: HeldBack::default(),
            refusal_log: LogRate::new(Duration::from_secs(1)),
        }
    }

    /// The publishing socket, on which subscriptions arrive.
    pub(super) fn publisher(&mut self) -> &mut Socket {
        &mut self.publisher
    }

    pub(super) fn publisher_ref(&self) -> &Socket {
        &self.publisher
    }

    /// Whether publishing stopped at a full queue.
    pub(super) fn is_stopped(&self) -> bool {
        self.held.is_some()
    }

    /// Carries out effects until none is left or a queue is full.
    pub(super) fn flush(
        &mut self,
        queue: &mut VecDeque<Effect<Envelope>>,
        requests: &mut Socket,
        now: Instant,
    ) -> Result<(), TransportError> {
        if let Some((part, bytes)) = self.held.take()
            && !self.publish(part, bytes)?
        {
            self.stalled(now);
            return Ok(());
        }
        while let Some(effect) = queue.pop_front() {
            match effect {
                Effect::Publish(frame) => {
                    let (part, bytes) = self.part(frame);
                    if !self.publish(part, bytes)? {
                        self.counters.held_back.add(1);
                        self.stalled(now);
                        return Ok(());
                    }
                }
                Effect::Reply(mut to, reply) => {
                    let body = self.reply_part(reply, now);
                    ingress::reply(requests, &mut to, body)?;
                }
            }
        }
        if let Some(stall) = self.stall.take() {
            self.count_held_back(now.duration_since(stall.counted), now);
        }
        Ok(())
    }

    /// From now on a subscriber whose queue is full misses what is published: the end is near, and
    /// nobody waits for it any more.
    pub(super) fn wait_no_longer(&mut self) -> Result<(), TransportError> {
        self.terms.unsent_bytes_max = usize::MAX;
        self.publisher.drop_when_full()
    }

    fn part(&self, frame: Bytes) -> (Part, usize) {
        let bytes = frame.len();
        (Part::share_counted(frame, &self.outstanding), bytes)
    }

    /// Publishes a frame, or holds it and returns false.
    fn publish(&mut self, mut part: Part, bytes: usize) -> Result<bool, TransportError> {
        // The held frame itself is counted already.
        let others = self.outstanding.bytes().saturating_sub(bytes);
        if others < self.terms.unsent_bytes_max && self.publisher.send(&mut part, false)? {
            self.counters.frames_published.add(1);
            return Ok(true);
        }
        self.held = Some((part, bytes));
        Ok(false)
    }

    /// Nothing could be published now. Finds out who is to blame, in time.
    fn stalled(&mut self, now: Instant) {
        let first_look = now + self.terms.grace / 2;
        let stall = self.stall.get_or_insert(Stall {
            since: now,
            counted: now,
            watch: None,
            next_look: first_look,
        });
        let time = now.duration_since(std::mem::replace(&mut stall.counted, now));
        let due = now >= stall.next_look;
        self.count_held_back(time, now);
        if due && let Err(error) = self.look_for_stalled(now) {
            // Out of descriptors, or no /proc: the stall lasts until the next look, or the subscriber's
            // own end.
            tracing::warn!("cannot look for the subscriber that does not read: {error}");
        }
    }

    /// Counts a time in which nothing could be published, and tells when it becomes much.
    fn count_held_back(&mut self, time: Duration, now: Instant) {
        self.counters.held_back_us.add(time.as_micros() as u64);
        let Some((held, period)) = self.held_back.add(time, now) else { return };
        let behind: Vec<_> = peers::most_unsent(self.terms.publisher_address, NAMED_MAX)
            .unwrap_or_default()
            .iter()
            .map(|(peer, bytes)| format!("{peer} ({bytes} bytes unsent)"))
            .collect();
        tracing::warn!(
            "subscribers do not keep up: publishers were held back for {held:?} of the last {period:?}; \
             furthest behind now: {}",
            if behind.is_empty() { "nobody".to_owned() } else { behind.join(", ") },
        );
    }

    fn look_for_stalled(&mut self, now: Instant) -> io::Result<()> {
        let grace = self.terms.grace;
        let Some(stall) = &mut self.stall else { return Ok(()) };
        stall.next_look = now + grace / 2;
        let Some(watch) = stall.watch.take() else {
            stall.watch = Some(Watch::start(self.terms.publisher_address)?);
            return Ok(());
        };
        let stalled = now.duration_since(stall.since);
        let gone = watch.disconnect(stalled >= grace * SLOW_GRACES)?;
        for peer in &gone {
            tracing::warn!(
                subscriber = %peer,
                "disconnected a subscriber that did not read for {stalled:?}; it lost what was queued for it",
            );
        }
        self.counters.slow_subscribers.add(gone.len() as u64);
        Ok(())
    }

    fn reply_part(&mut self, reply: Reply, now: Instant) -> Part {
        match reply {
            Reply::Ok => Part::copy_of(OK),
            Reply::Refused(why, dialect) => {
                if let Some(unlogged) = self.refusal_log.admit(now) {
                    tracing::warn!(refused_unlogged = unlogged, "refused a request: {why}");
                }
                match dialect {
                    Dialect::V1 => Part::empty(),
                    Dialect::V2 => Part::copy_of(&refusal(why.code(), &why.to_string())),
                }
            }
        }
    }
}
