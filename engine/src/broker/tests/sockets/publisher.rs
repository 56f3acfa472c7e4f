//! A publisher of either format, which sends again what was not answered, and sometimes what is no request.

use std::collections::VecDeque;
use std::time::Duration;

use super::asker::{Asker, Said, What};
use super::broken::Broken;
use super::conditions::{FRAME_MESSAGES_MAX, HEALTHY, NAMES, WORK};
use super::wire::Version;
use super::world::{Client, World};
use crate::message::Format;
use crate::wire::hello;
use crate::wire::id::MessageId;
use crate::wire::name;
use crate::wire::pickle;
use crate::wire::record::{Encoding, Record};
use crate::wire::reply::ErrorCode;

use super::super::{TIMESTAMP_NS, checksum, v2_prefix};

/// Requests on their way, of a client whose socket allows several.
const WINDOW: usize = 6;

/// Bytes of a request over what the server keeps of one, whatever it is told.
const OVERSIZE_BYTES: usize = 1_100_000;

/// What it publishes under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Topics {
    Any,
    /// The name of those who have no trouble; it has none, either.
    Healthy,
    /// The name of what a group works on; all is to be acknowledged.
    Work,
}

struct Unanswered {
    request: usize,
    numbers: Vec<usize>,
    is_under_way: bool,
    again_at: Duration,
}

pub(super) struct Publisher {
    me: usize,
    topics: Topics,
    is_healthy: bool,
    format: Format,
    secret: hello::Secret,
    id: u64,
    asker: Asker,
    /// Messages still to make.
    left: usize,
    sequence: u64,
    ordinals: [u64; NAMES.len() + 1],
    requests: usize,
    unanswered: VecDeque<Unanswered>,
    /// The silence that it allows itself, in tenths of a second.
    ttl_ds: u16,
}

impl Publisher {
    pub(super) fn new(me: usize, topics: Topics, world: &mut World) -> Self {
        let is_healthy = topics == Topics::Healthy;
        let conditions = &world.conditions;
        let random = &mut world.random;
        let original = random.u32(0..1000) < conditions.originals && topics == Topics::Any;
        let socket = if random.u32(0..3) == 0 { "REQ" } else { "DEALER" };
        // The type of REQ is not among those of 2.0 that are played here.
        let versions = [Version::V30, Version::V31, Version::V20];
        let version = versions[random.usize(0..if socket == "REQ" { 2 } else { 3 })];
        let mut secret = [0; hello::SECRET_BYTES];
        secret.fill_with(|| random.u8(..));
        Self {
            me,
            topics,
            is_healthy,
            format: if original { Format::V1 } else { Format::V2 },
            secret,
            id: hello::publisher(&secret),
            asker: Asker::new(me, socket, version, is_healthy),
            left: conditions.messages,
            sequence: 0,
            ordinals: [0; NAMES.len() + 1],
            requests: 0,
            unanswered: VecDeque::new(),
            ttl_ds: [0, 0, 25, 60][random.usize(0..4)],
        }
    }

    fn connect(&mut self, world: &mut World) {
        self.asker.connect(world);
        if self.format == Format::V2 {
            self.asker.ask(What::Hello, &hello::request(&self.secret), world);
        }
        for unanswered in &mut self.unanswered {
            (unanswered.is_under_way, unanswered.again_at) = (false, Duration::ZERO);
        }
    }

    fn send_waiting(&mut self, world: &mut World) {
        let line = match (self.format, self.asker.link) {
            (Format::V1, Some(link)) => (self.me, link),
            _ => (self.me, 0),
        };
        for unanswered in &mut self.unanswered {
            if !self.asker.can_ask() {
                break;
            }
            if unanswered.is_under_way || unanswered.again_at > world.now {
                continue;
            }
            unanswered.is_under_way = true;
            let moment = world.moment();
            for &number in &unanswered.numbers {
                if world.ledger.tale(number).sent.is_some() {
                    world.tell("message sent to the server again");
                }
                world.ledger.sent(number, line, moment);
            }
            let body = world.ledger.catalog.request(&unanswered.numbers);
            let kept = world.ledger.catalog.get(unanswered.numbers[0]).ack;
            let what = What::Publish(unanswered.request, kept, self.format == Format::V1);
            self.asker.ask(what, &body, world);
        }
    }

    fn make(&mut self, world: &mut World) {
        let World { conditions, random, ledger, .. } = world;
        let (at, name) = match self.topics {
            Topics::Any => {
                let at = random.usize(0..NAMES.len());
                (at, NAMES[at])
            }
            Topics::Healthy => (NAMES.len(), HEALTHY),
            Topics::Work => (NAMES.len(), WORK),
        };
        // All of a request are kept, or none: otherwise a refusal would change their order.
        let ack = random.u32(0..3) == 0 || self.topics == Topics::Work;
        let most = if self.format == Format::V1 { 1 } else { FRAME_MESSAGES_MAX };
        let many = random.usize(1..=most).min(self.left);
        self.left -= many;
        let mut numbers = Vec::new();
        for _ in 0..many {
            let large = random.u32(0..1000) < conditions.large;
            let bytes = if large { random.usize(0..conditions.large_bytes) } else { 0 };
            numbers.push(if self.format == Format::V1 {
                ledger.catalog.original(name, ack, bytes)
            } else {
                self.sequence += 1;
                self.ordinals[at] += 1;
                let id = MessageId { publisher: self.id, sequence: self.sequence };
                ledger.catalog.native(id, self.ordinals[at], name, ack, bytes)
            });
        }
        self.requests += 1;
        let (request, again_at) = (self.requests, Duration::ZERO);
        self.unanswered.push_back(Unanswered { request, numbers, is_under_way: false, again_at });
    }

    /// Something that is no request, or not one of its own.
    fn ask_wrong(&mut self, world: &mut World) {
        let max = world.conditions.config.max_message_bytes;
        let code = |code| (self.format == Format::V2).then_some(code);
        let record = |publisher, payload: &[u8], ack, sum| {
            let mut body = v2_prefix("a");
            let id = MessageId { publisher, sequence: 1 << 40 };
            let (ordinal, timestamp_ns, encoding) = (1, TIMESTAMP_NS, Encoding::Bytes);
            let record = Record {
                id,
                ordinal,
                timestamp_ns,
                checksum: sum,
                ack,
                has_properties: false,
                encoding,
                payload,
            };
            record.append_to(&mut body).unwrap();
            body
        };
        let sum = |payload: &[u8]| checksum::native("a", payload, TIMESTAMP_NS);
        let (body, code) = match (self.format, world.random.u32(0..12)) {
            (_, 0) if self.asker.is_dealer() => return self.asker.ask_without_order(world),
            (_, 1) if max < OVERSIZE_BYTES => {
                let mut body =
                    vec![if self.format == Format::V1 { b'a' } else { 1 }; OVERSIZE_BYTES];
                body[OVERSIZE_BYTES - 1] = world.random.u8(..);
                (body, code(ErrorCode::TooLarge))
            }
            (Format::V1, 2..4) if max < OVERSIZE_BYTES => {
                let text = "x".repeat(max);
                let (dict, _) = pickle::write("a", pickle::Plain::Text(&text), false, TIMESTAMP_NS);
                ([b"a|", &dict[..]].concat(), None)
            }
            (Format::V1, 4..8) => (b"a|no pickle".to_vec(), None),
            (Format::V1, _) => (b"no separator".to_vec(), None),
            (Format::V2, 2) if max < OVERSIZE_BYTES => {
                let payload = vec![7; max];
                (record(self.id, &payload, false, sum(&payload)), code(ErrorCode::TooLarge))
            }
            (Format::V2, 3..5) => (b"\x05a|".to_vec(), code(ErrorCode::UnsupportedVersion)),
            (Format::V2, 5..7) => {
                let body = record(self.id ^ 1, b"not mine", false, sum(b"not mine"));
                (body, code(ErrorCode::NotYours))
            }
            (Format::V2, 7..9) => {
                (record(self.id, b"changed", true, [9; 16]), code(ErrorCode::ChecksumMismatch))
            }
            (Format::V2, _) => (b"\x01a|no record".to_vec(), code(ErrorCode::Malformed)),
        };
        world.tell("request that is none");
        self.asker.ask(What::Wrong(code), &body, world);
    }

    /// The body of a request that is answered and goes no further.
    fn ping_body(&self) -> Vec<u8> {
        match self.format {
            Format::V1 => format!("{}|", name::PING).into(),
            Format::V2 => format!("\x01{}|", name::PING).into(),
        }
    }

    fn answered(&mut self, what: What, said: Said, world: &mut World) -> Result<(), Broken> {
        let What::Publish(request, ..) = what else { return Ok(()) };
        let Some(at) = self.unanswered.iter().position(|other| other.request == request) else {
            return Ok(());
        };
        let moment = world.moment();
        if said == Said::Ok {
            let Some(unanswered) = self.unanswered.remove(at) else { return Ok(()) };
            for number in unanswered.numbers {
                if !world.is_stored(number) {
                    return Err(Broken::OkBeforeStored(number));
                }
                let now = world.now;
                let tale = world.ledger.tale(number);
                (tale.ok, tale.ok_at) = (Some(moment), now);
            }
        } else {
            world.tell("request refused");
            let pause = Duration::from_millis(world.random.u64(20..200));
            let unanswered = &mut self.unanswered[at];
            (unanswered.is_under_way, unanswered.again_at) = (false, world.now + pause);
        }
        Ok(())
    }
}

impl Client for Publisher {
    fn wake(&mut self, world: &mut World) -> Result<(), Broken> {
        self.asker.check_patience(world)?;
        if self.asker.link.is_none() {
            self.connect(world);
        }
        let ends = world.random.u32(0..1000) < world.conditions.ends && !self.is_healthy;
        if ends && let Some(link) = self.asker.link {
            world.tell("a publisher ended its connection");
            if world.random.bool() {
                world.end(link);
            } else {
                world.leave(link);
                self.lost(link, world);
            }
            world.wake_in_us(self.me, 1000..300_000);
            return Ok(());
        }
        self.send_waiting(world);
        let window = if self.asker.is_dealer() { WINDOW } else { 1 };
        if self.left > 0 && self.unanswered.len() < window {
            self.make(world);
            self.send_waiting(world);
        }
        if self.asker.can_ask() && (self.left > 0 || self.is_healthy) {
            let pings = match world.random.u32(0..400) {
                0 if self.asker.is_dealer() => 600,
                1..60 => 1,
                60..100 if !self.is_healthy => {
                    self.ask_wrong(world);
                    0
                }
                _ => 0,
            };
            for _ in 0..pings {
                self.asker.ask(What::Ping, &self.ping_body(), world);
            }
        }
        if self.ttl_ds > 0 && self.asker.link.is_some() {
            self.asker.ping(self.ttl_ds, world);
        }
        let mut pause = world.conditions.pause_ms.clone();
        if self.is_healthy || self.left == 0 {
            pause = 50..300;
        }
        world.wake_in_us(self.me, pause.start * 1000 + 1..pause.end * 1000 + 2);
        Ok(())
    }

    fn hear(&mut self, link: usize, bytes: &[u8], world: &mut World) -> Result<(), Broken> {
        if self.asker.link != Some(link) {
            return Ok(());
        }
        for (what, said) in self.asker.hear(bytes, world)? {
            self.answered(what, said, world)?;
        }
        if self.unanswered.iter().any(|unanswered| !unanswered.is_under_way) {
            world.wake_in_us(self.me, 1..1000);
        }
        Ok(())
    }

    fn lost(&mut self, link: usize, world: &mut World) {
        if self.asker.link != Some(link) || world.is_draining {
            return;
        }
        self.asker.lost();
        if self.format == Format::V1 {
            // One that is not kept has nothing by which it could be recognised, and so it is sent once.
            let catalog = &world.ledger.catalog;
            self.unanswered
                .retain(|other| !other.is_under_way || catalog.get(other.numbers[0]).ack);
        }
        world.wake_in_us(self.me, 1000..200_000);
    }

    fn is_done(&self, _world: &World) -> bool {
        self.left == 0 && self.unanswered.is_empty() && (self.is_healthy || self.asker.is_done())
    }

    fn check_end(&self, world: &World) -> Result<(), Broken> {
        let is_good = self.is_healthy || world.was_calm_before;
        if world.is_draining && is_good { self.asker.check_drained(world) } else { Ok(()) }
    }
}
