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

use super::effect::{Dialect, Effect, Refusal, Reply};
use super::ingress::{self, Envelope};
use crate::limits::EGRESS_BYTES_MAX;
use crate::metrics::Counters;
use crate::transport::part::Outstanding;
use crate::transport::peers::Watch;
use crate::transport::{Part, Socket, TransportError};
use crate::wire::reply::{OK, refusal};

/// How many graces a subscriber gets that reads, but too slowly for everybody else.
const SLOW_GRACES: u32 = 10;

pub(super) struct Egress {
    publisher: Socket,
    publisher_address: SocketAddr,
    grace: Duration,
    outstanding: Outstanding,
    counters: Arc<Counters>,
    /// The frame that a full queue refused.
    held: Option<(Part, usize)>,
    stall: Option<Stall>,
    refusals: RefusalLog,
}

/// A time in which nothing could be published.
struct Stall {
    since: Instant,
    /// Taken halfway through a grace, to be compared with at its end: most stalls are over long before.
    watch: Option<Watch>,
    next_look: Instant,
}

impl Egress {
    pub(super) fn new(
        publisher: Socket,
        publisher_address: SocketAddr,
        grace: Duration,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            publisher,
            publisher_address,
            grace,
            outstanding: Outstanding::default(),
            counters,
            held: None,
            stall: None,
            refusals: RefusalLog::default(),
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
        self.stall = None;
        Ok(())
    }

    fn part(&self, frame: Bytes) -> (Part, usize) {
        let bytes = frame.len();
        (Part::share_counted(frame, &self.outstanding), bytes)
    }

    /// Publishes a frame, or holds it and returns false.
    fn publish(&mut self, mut part: Part, bytes: usize) -> Result<bool, TransportError> {
        // The held frame itself is counted already.
        let others = self.outstanding.bytes().saturating_sub(bytes);
        if others < EGRESS_BYTES_MAX && self.publisher.send(&mut part, false)? {
            self.counters.frames_published.add(1);
            return Ok(true);
        }
        self.held = Some((part, bytes));
        Ok(false)
    }

    /// Nothing could be published now. Finds out who is to blame, in time.
    fn stalled(&mut self, now: Instant) {
        if let Err(error) = self.look_for_stalled(now) {
            // Out of descriptors, or no /proc: the stall lasts until the next look, or the subscriber's
            // own end.
            tracing::warn!("cannot look for the subscriber that does not read: {error}");
        }
    }

    fn look_for_stalled(&mut self, now: Instant) -> io::Result<()> {
        let grace = self.grace;
        let stall = self.stall.get_or_insert_with(|| Stall {
            since: now,
            watch: None,
            next_look: now + grace / 2,
        });
        if now < stall.next_look {
            return Ok(());
        }
        stall.next_look = now + grace / 2;
        let Some(watch) = stall.watch.take() else {
            stall.watch = Some(Watch::start(self.publisher_address)?);
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
                self.refusals.log(&why, now);
                match dialect {
                    Dialect::V1 => Part::empty(),
                    Dialect::V2 => Part::copy_of(&refusal(why.code(), &why.to_string())),
                }
            }
        }
    }
}

/// Logs refusals, at most one a second, so that a flood of bad requests is no flood of lines.
#[derive(Debug, Default)]
struct RefusalLog {
    last: Option<Instant>,
    unlogged: u64,
}

impl RefusalLog {
    const PAUSE: Duration = Duration::from_secs(1);

    fn log(&mut self, why: &Refusal, now: Instant) {
        if self.last.is_some_and(|last| now.duration_since(last) < Self::PAUSE) {
            self.unlogged += 1;
            return;
        }
        tracing::warn!(refused_unlogged = self.unlogged, "refused a request: {why}");
        self.last = Some(now);
        self.unlogged = 0;
    }
}
