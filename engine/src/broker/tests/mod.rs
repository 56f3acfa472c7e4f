//! The core's promises, each event and effect in the open: no socket, no file, no clock.

mod answers;
mod carried;
mod catalog;
mod checks;
mod dead_letters;
mod delays;
mod delivery;
mod disk;
mod durable;
mod durable_journal;
mod durable_model;
mod expired_letters;
mod expiry;
mod formats;
mod groups;
mod held_events;
mod jobs;
mod journal;
mod keys;
mod letter_model;
mod letter_requests;
mod many_groups;
mod model;
mod native;
mod refusals;
mod repeats;
mod retained;
mod seeds;
mod simulation;
mod sockets;
mod stored;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::backlog::Backlog;
use super::check::Check;
use super::core::{Asker, Core, Rules};
use super::effect::{Effect, Reply};
use super::refusal::{Dialect, Refusal};
use super::subscribers::{ConnectionId, Direct};
use crate::config::Verify;
use crate::journal::Op;
use crate::message::Message;
use crate::metrics::Counters;
use crate::pending::Limits;
use crate::wire::frame::{Frame, FrameError, v2_prefix};
use crate::wire::id::MessageId;
use crate::wire::record::{Encoding, Record, Records};
use crate::wire::reply::ErrorCode;
use crate::wire::{ack, checksum, pickle};

const INTERVAL: Duration = Duration::from_secs(10);
const TIMESTAMP_NS: u64 = 1_763_866_000_120_000_000;

/// The connection of a subscriber, where one is enough.
const SUBSCRIBER: ConnectionId = 1;

/// A frame that was published.
struct Delivery {
    frame: Bytes,
    to: Vec<ConnectionId>,
    direct: Vec<Direct>,
    droppable: bool,
}

impl Asker for u32 {
    fn connection(&self) -> ConnectionId {
        (*self).into()
    }
}

/// Lets a connection prove that it is the publisher of a request.
fn prove_publisher<E>(core: &mut Core<E>, connection: ConnectionId, request: &[u8]) {
    if let Ok(Frame::V2 { body, .. }) = Frame::parse(request)
        && let Some(Ok((_, record))) = Records::new(body).next()
    {
        core.prove(connection, record.id.publisher);
    }
}

/// A core whose requesters are numbered, and what came out of it.
struct Bench {
    core: Core<u32>,
    now: Duration,
    /// What it wants checked.
    checks: Vec<Check>,
    /// What it wants carried over.
    carries: Vec<Message>,
}

impl Bench {
    fn new() -> Self {
        Self::with(false, 100)
    }

    fn durable() -> Self {
        Self::with(true, 100)
    }

    fn with(durable: bool, max_pending: usize) -> Self {
        Self::limited(durable, Limits { messages: max_pending, bytes: 1 << 20 })
    }

    fn limited(durable: bool, limits: Limits) -> Self {
        let rules = Rules {
            verify: Verify::Stored,
            max_message_bytes: 1 << 20,
            retry_interval: INTERVAL,
            idempotency_window: INTERVAL,
            durable,
        };
        let backlog = Backlog::new(limits, INTERVAL);
        let core = Core::new(rules, backlog, Arc::new(Counters::default()));
        Self { core, now: Duration::ZERO, checks: Vec::new(), carries: Vec::new() }
    }

    fn subscribe(&mut self, prefix: &[u8]) -> &mut Self {
        self.subscribe_as(SUBSCRIBER, prefix)
    }

    fn subscribe_as(&mut self, connection: ConnectionId, prefix: &[u8]) -> &mut Self {
        self.core.subscribed(connection, prefix, self.now).unwrap();
        self
    }

    /// A request of somebody who proved to be its publisher.
    fn request(&mut self, from: u32, body: impl Into<Bytes>) -> &mut Self {
        let body = body.into();
        prove_publisher(&mut self.core, from.into(), &body);
        self.core.request(from, body, self.now);
        self
    }

    /// Lets time pass, goes on with what takes turns, and sends again what is due.
    fn pass(&mut self, time: Duration) -> &mut Self {
        self.now += time;
        while self.core.turn(self.now) | self.core.serve(self.now) {}
        self.core.resend_due(self.now);
        self
    }

    /// Does the checks that are wanted, the last first if so said.
    fn check(&mut self, backwards: bool) -> &mut Self {
        let (published, replies) = self.effects();
        assert!(published.is_empty() && replies.is_empty(), "before any verdict");
        let mut checks = std::mem::take(&mut self.checks);
        assert!(!checks.is_empty(), "nothing to check");
        if backwards {
            checks.reverse();
        }
        for check in checks {
            self.core.checked(check.number, check.run(), self.now);
        }
        self
    }

    /// Everything up to this journal group is stored, and all who waited for that are answered.
    fn store(&mut self, group: u64) {
        self.core.durable(group);
        while self.core.release_stored() {}
    }

    fn published(&mut self) -> Vec<Bytes> {
        self.effects().0
    }

    fn replies(&mut self) -> Vec<(u32, Reply)> {
        self.effects().1
    }

    fn effects(&mut self) -> (Vec<Bytes>, Vec<(u32, Reply)>) {
        let (deliveries, replies) = self.deliveries();
        (deliveries.into_iter().map(|delivery| delivery.frame).collect(), replies)
    }

    fn deliveries(&mut self) -> (Vec<Delivery>, Vec<(u32, Reply)>) {
        let (mut deliveries, mut replies) = (Vec::new(), Vec::new());
        for effect in self.core.out.queue.drain(..) {
            match effect {
                Effect::Publish { frame, to, direct, droppable } => {
                    assert!(!(to.is_empty() && direct.is_empty()), "a frame for nobody");
                    deliveries.push(Delivery { frame, to: to.to_vec(), direct, droppable });
                }
                Effect::Deferred { to } => assert!(!to.is_empty(), "for nobody"),
                Effect::Granted { .. } => {}
                Effect::Reply(to, reply) => replies.push((to, reply)),
                Effect::Check(_, check) => self.checks.push(check),
                Effect::Carry(message) => self.carries.push(message),
            }
        }
        (deliveries, replies)
    }

    /// Who got each frame that was published.
    fn receivers(&mut self) -> Vec<Vec<ConnectionId>> {
        self.deliveries().0.into_iter().map(|delivery| delivery.to).collect()
    }

    #[track_caller]
    fn check_refused(&mut self, body: impl Into<Bytes>, expected: ErrorCode, dialect: Dialect) {
        self.request(9, body);
        let (frames, replies) = self.effects();
        assert_eq!(frames, Vec::<Bytes>::new());
        match &replies[..] {
            [(9, Reply::Refused(why, spoken))] => {
                assert_eq!((why.code(), *spoken), (expected, dialect), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}

fn id(sequence: u64) -> MessageId {
    MessageId { publisher: 5, sequence }
}

fn record(name: &str, sequence: u64, ack: bool, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let record = Record {
        id: id(sequence),
        ordinal: sequence,
        timestamp_ns: TIMESTAMP_NS,
        checksum: checksum::native(name, payload, TIMESTAMP_NS),
        ack,
        has_properties: false,
        encoding: Encoding::Text,
        payload,
    };
    record.append_to(&mut out).unwrap();
    out
}

/// A native frame of text messages under `name`, numbered from `first`.
fn frame(name: &str, first: u64, ack: bool, payloads: &[&str]) -> Bytes {
    let mut out = v2_prefix(name);
    for (payload, sequence) in payloads.iter().zip(first..) {
        out.extend(record(name, sequence, ack, payload.as_bytes()));
    }
    out.into()
}

/// A v1 frame of a text message.
fn frame_v1(name: &str, payload: &str, ack: bool) -> (Bytes, [u8; 16]) {
    let (dict, sum) = pickle::write(name, pickle::Plain::Text(payload), ack, TIMESTAMP_NS);
    ([name.as_bytes(), b"|", &dict].concat().into(), sum)
}

fn sequences(frame: &[u8]) -> Vec<u64> {
    let Ok(Frame::V2 { body, .. }) = Frame::parse(frame) else { panic!("{frame:?}") };
    Records::new(body).map(|item| item.unwrap().1.id.sequence).collect()
}
