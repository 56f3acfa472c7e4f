//! A subscriber whose program sometimes fails, and which acknowledges what it worked on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::super::catalog::Made;
use super::asker::{Asker, Said, What};
use super::broken::Broken;
use super::conditions::{HEALTHY, NAMES};
use super::ledger::{Line, Tale};
use super::wire::{self, End, Version};
use super::world::{Client, World};
use crate::config::SlowSubscriber;
use crate::message::Format;
use crate::wire::{ack, confirm};
use crate::zmtp::session::Port;

use super::super::v2_prefix;
use crate::wire::frame::v1_prefix;

/// A subscription of the connection at hand. Moments are numbered.
#[derive(Debug)]
struct Interest {
    prefix: Vec<u8>,
    /// The server has it.
    confirmed: Option<u64>,
    cancelled: Option<u64>,
    /// The server knows that it was cancelled.
    ended: Option<u64>,
}

pub(super) struct Subscriber {
    me: usize,
    is_healthy: bool,
    /// Whether it stays, and cancels nothing.
    is_loyal: bool,
    format: Format,
    version: Version,
    names: Vec<&'static str>,
    pub(super) link: Option<usize>,
    end: Option<End>,
    interests: Vec<Interest>,
    /// Topics that the server is to send back, and the moment when each was sent.
    confirms: VecDeque<(Vec<u8>, usize, u64)>,
    pongs: usize,
    /// What came by the connection at hand, and how far each line has come.
    got: BTreeSet<usize>,
    lines: BTreeMap<Line, usize>,
    /// What came by any, of what is sent once, and from which server: one that was killed knows nothing of it.
    got_once: BTreeSet<(u32, usize)>,
    acker: Asker,
    to_acknowledge: VecDeque<usize>,
}

fn prefix_of(made: &Made, format: Format) -> Vec<u8> {
    if format == Format::V1 { v1_prefix(made.name) } else { v2_prefix(made.name) }
}

impl Subscriber {
    pub(super) fn new(me: usize, index: usize, is_healthy: bool, world: &mut World) -> Self {
        let random = &mut world.random;
        let original = random.u32(0..1000) < world.conditions.originals;
        let version = [Version::V20, Version::V30, Version::V31][random.usize(0..3)];
        let mut names = if is_healthy { vec![HEALTHY] } else { NAMES.to_vec() };
        let is_loyal = index == 0;
        names.retain(|_| is_loyal || random.bool());
        let socket = if random.bool() { "REQ" } else { "DEALER" };
        let acker_version = [Version::V30, Version::V31][random.usize(0..2)];
        Self {
            me,
            is_healthy,
            is_loyal,
            format: if original { Format::V1 } else { Format::V2 },
            version,
            names,
            link: None,
            end: None,
            interests: Vec::new(),
            confirms: VecDeque::new(),
            pongs: 0,
            got: BTreeSet::new(),
            lines: BTreeMap::new(),
            got_once: BTreeSet::new(),
            acker: Asker::new(me, socket, acker_version, is_healthy),
            to_acknowledge: VecDeque::new(),
        }
    }

    fn connect(&mut self, world: &mut World) {
        let link = world.connect(self.me, Port::Publishing, self.is_healthy);
        let policy = world.conditions.config.slow_subscriber;
        if policy == SlowSubscriber::Disconnect && !self.is_healthy {
            world.may_close(link, "the policy is to disconnect");
        }
        let (end, said) = End::new(self.version, "SUB", &mut world.random);
        (self.link, self.end) = (Some(link), Some(end));
        world.send(link, said);
        if world.random.u32(0..20) == 0 {
            // Many that nobody publishes under, so that to end them takes turns.
            for n in 0..5000 {
                self.subscribe_bytes(1, format!("\x01none{n}|").into_bytes(), world);
            }
        }
        for name in self.names.clone() {
            self.subscribe(name, world);
        }
        self.confirm(world);
    }

    fn say(&mut self, bytes: Vec<u8>, world: &mut World) {
        if let (Some(link), Some(end)) = (self.link, &mut self.end) {
            let bytes = end.say(bytes);
            world.send(link, bytes);
        }
    }

    /// Subscribes (1), or cancels (0), in one of the ways that there are.
    fn subscribe_bytes(&mut self, what: u8, topic: Vec<u8>, world: &mut World) {
        let mut bytes = Vec::new();
        if self.version != Version::V20 && world.random.bool() {
            bytes = wire::command(if what == 1 { "SUBSCRIBE" } else { "CANCEL" }, &topic);
        } else {
            wire::append(0, &[&[what], &topic[..]].concat(), &mut bytes);
        }
        self.say(bytes, world);
    }

    fn subscribe(&mut self, name: &str, world: &mut World) {
        let mut prefix = match self.format {
            Format::V1 => name.as_bytes().to_vec(),
            Format::V2 => v2_prefix(name),
        };
        if self.format == Format::V2 && world.random.u32(0..4) == 0 {
            // Other names begin with it, too.
            prefix.pop();
        }
        self.subscribe_bytes(1, prefix.clone(), world);
        self.interests.push(Interest { prefix, confirmed: None, cancelled: None, ended: None });
    }

    fn cancel(&mut self, world: &mut World) {
        let active: Vec<usize> = (0..self.interests.len())
            .filter(|&at| self.interests[at].cancelled.is_none())
            .collect();
        let Some(&at) = active.get(world.random.usize(0..active.len().max(1))) else { return };
        let prefix = self.interests[at].prefix.clone();
        let moment = world.moment();
        world.tell("subscription cancelled");
        // One cancellation ends it, however often it was asked for.
        for interest in self.interests.iter_mut().filter(|other| other.prefix == prefix) {
            interest.cancelled.get_or_insert(moment);
        }
        self.subscribe_bytes(0, prefix, world);
        self.confirm(world);
    }

    fn confirm(&mut self, world: &mut World) {
        let topic = confirm::topic(world.random.u128(..)).to_vec();
        let moment = world.moment();
        self.confirms.push_back((topic.clone(), self.interests.len(), moment));
        self.subscribe_bytes(1, topic.clone(), world);
        self.subscribe_bytes(0, topic, world);
    }

    fn confirmed(&mut self, topic: &[u8], world: &mut World) -> Result<(), Broken> {
        let Some((expected, count, sent)) = self.confirms.pop_front() else {
            return Err(Broken::Corrupt("a confirmation that nobody asked for".into()));
        };
        if topic != expected {
            return Err(Broken::Corrupt(format!("a confirmation {topic:?}, not {expected:?}")));
        }
        let moment = world.moment();
        for interest in &mut self.interests[..count] {
            interest.confirmed.get_or_insert(moment);
            if interest.cancelled.is_some_and(|cancelled| cancelled < sent) {
                interest.ended.get_or_insert(moment);
            }
        }
        Ok(())
    }

    /// Whether it must have been given a message, once its publisher was told OK.
    fn must_get(&self, made: &Made, tale: Tale, world: &World) -> bool {
        let Some(sent) = tale.sent else { return false };
        let frame = prefix_of(made, self.format);
        let wants = self.interests.iter().any(|interest| {
            let in_time = match (interest.cancelled, tale.ok) {
                (None, _) => true,
                // What is carried over to the original format comes later.
                (Some(cancelled), Some(ok)) => self.format == Format::V2 && ok < cancelled,
                (Some(_), None) => false,
            };
            in_time
                && frame.starts_with(&interest.prefix)
                && interest.confirmed.is_some_and(|confirmed| confirmed < sent)
        });
        wants && (made.ack || world.counters.frames_dropped.get() == 0)
    }

    fn receive(&mut self, number: usize, world: &mut World) -> Result<(), Broken> {
        let tale = *world.ledger.tale(number);
        let made = world.ledger.catalog.get(number);
        let (is_kept, frame) = (made.ack, prefix_of(made, self.format));
        let is_wanted = self.interests.iter().any(|interest| {
            frame.starts_with(&interest.prefix)
                && (interest.ended.is_none() || interest.ended > tale.sent)
        });
        if !is_wanted {
            return Err(Broken::Unwanted(number));
        }
        if !world.is_stored(number) {
            return Err(Broken::PublishedBeforeStored(number));
        }
        self.got.insert(number);
        if let Some((line, place)) = tale.place {
            let life = self.link.map_or(0, |link| world.links[link].life);
            if !self.got_once.insert((life, number)) {
                return Err(Broken::Twice(number));
            }
            let reached = self.lines.insert(line, place).unwrap_or(0);
            if reached >= place {
                return Err(Broken::Overtook(number));
            }
            for &between in &world.ledger.line(line, reached)[..place - reached - 1] {
                let tale = world.ledger.told(between);
                if self.must_get(world.ledger.catalog.get(between), tale, world) {
                    return Err(Broken::Missed(between));
                }
            }
        }
        let fails = world.random.u32(0..1000) < world.conditions.failing && !self.is_healthy;
        if is_kept && !fails && !self.to_acknowledge.contains(&number) {
            self.to_acknowledge.push_back(number);
            world.wake_in_us(self.me, 100..5000);
        }
        Ok(())
    }

    fn acknowledge(&mut self, world: &mut World) {
        if self.to_acknowledge.is_empty() {
            return;
        }
        if self.acker.link.is_none() {
            self.acker.connect(world);
        }
        while !self.to_acknowledge.is_empty() && self.acker.can_ask() {
            let catalog = &world.ledger.catalog;
            let (numbers, body) = if self.format == Format::V1 {
                let Some(number) = self.to_acknowledge.pop_front() else { return };
                (vec![number], catalog.ack_v1(number))
            } else {
                let numbers: Vec<usize> = self.to_acknowledge.drain(..).collect();
                let ids: Vec<_> = numbers.iter().map(|&number| catalog.get(number).id).collect();
                (numbers, ack::frame(&ids).into())
            };
            for &number in &numbers {
                world.ledger.tale(number).acknowledged = true;
            }
            self.acker.ask(What::Ack(numbers), &body, world);
        }
    }

    /// The first message that it must have been given, and was not, of those that were answered before.
    fn missing(&self, before: Duration, world: &World) -> Option<usize> {
        let mut tales = world.ledger.tales();
        let missed = tales.find(|&(number, tale)| {
            let made = world.ledger.catalog.get(number);
            let is_due = tale.ok.is_some() && tale.ok_at < before && !self.got.contains(&number);
            is_due && self.must_get(made, tale, world)
        });
        missed.map(|(number, _)| number)
    }
}

impl Client for Subscriber {
    fn wake(&mut self, world: &mut World) -> Result<(), Broken> {
        if self.link.is_none() {
            self.connect(world);
        }
        self.acker.check_patience(world)?;
        let before = world.now.saturating_sub(super::PATIENCE);
        if self.is_healthy
            && !world.conditions.is_tight
            && !world.is_draining
            && let Some(number) = self.missing(before, world)
        {
            return Err(Broken::Late(format!("message {number} to a subscriber")));
        }
        if let Some(link) = self.link
            && !self.is_healthy
            && world.random.u32(0..1000) < world.conditions.ends
        {
            world.tell("a subscriber ended its connection");
            world.leave(link);
            self.lost(link, world);
        }
        if !self.is_loyal && self.end.is_some() && !world.is_calm {
            match world.random.u32(0..30) {
                0 => self.cancel(world),
                1 => {
                    let name = NAMES[world.random.usize(0..NAMES.len())];
                    self.subscribe(name, world);
                    self.confirm(world);
                }
                2 if self.version != Version::V20 => {
                    self.pongs += 1;
                    self.say(wire::command("PING", b"\0\0subscriber"), world);
                }
                _ => {}
            }
        }
        self.acknowledge(world);
        if self.is_healthy && self.acker.can_ask() {
            // On a connection that does not publish: nothing may hold it up.
            self.acker.ask(What::Ping, b"\x01ping|", world);
        }
        world.wake_in_us(self.me, 20_000..150_000);
        Ok(())
    }

    fn hear(&mut self, link: usize, bytes: &[u8], world: &mut World) -> Result<(), Broken> {
        if self.acker.link == Some(link) {
            for (_, said) in self.acker.hear(bytes, world)? {
                debug_assert_eq!(said, Said::Ok);
                world.tell("acknowledgement answered");
            }
            return Ok(());
        }
        let Some(end) = self.end.as_mut().filter(|_| self.link == Some(link)) else {
            return Ok(());
        };
        let mut out = Vec::new();
        let frames = end.hear(bytes, &mut out).map_err(Broken::Corrupt)?;
        world.send(link, out);
        for frame in frames {
            if frame.more {
                return Err(Broken::Corrupt("a message of several frames".into()));
            }
            if frame.command {
                if self.pongs == 0 || frame.body != b"\x04PONGsubscriber" {
                    return Err(Broken::Corrupt(format!("a command {:?}", frame.body)));
                }
                self.pongs -= 1;
            } else if confirm::is_topic(&frame.body) {
                self.confirmed(&frame.body, world)?;
            } else {
                let frame = Bytes::from(frame.body);
                let (format, numbers) =
                    world.ledger.catalog.read(&frame).map_err(Broken::Corrupt)?;
                if format != self.format {
                    return Err(Broken::Corrupt("a frame of the other format".into()));
                }
                numbers.into_iter().try_for_each(|number| self.receive(number, world))?;
            }
        }
        Ok(())
    }

    fn lost(&mut self, link: usize, world: &mut World) {
        if world.is_draining {
            return;
        }
        if self.acker.link == Some(link) {
            // What was not answered comes again.
            self.acker.lost();
        } else if self.link == Some(link) {
            (self.link, self.end, self.pongs) = (None, None, 0);
            self.interests.clear();
            self.confirms.clear();
            self.got.clear();
            self.lines.clear();
            world.wake_in_us(self.me, 1000..200_000);
        }
    }

    fn is_done(&self, world: &World) -> bool {
        self.to_acknowledge.is_empty()
            && (self.is_healthy || self.acker.is_done())
            && self.link.is_some_and(|link| !world.links[link].is_closed)
            && self.confirms.is_empty()
            && self.missing(Duration::MAX, world).is_none()
    }

    fn check_end(&self, world: &World) -> Result<(), Broken> {
        let stood = self.link.is_some_and(|link| world.links[link].cause.is_none());
        let is_good = self.is_healthy || world.was_calm_before;
        if !world.is_draining || !stood || !is_good {
            return Ok(());
        }
        match self.missing(Duration::MAX, world) {
            Some(number) => Err(Broken::Missed(number)),
            None => self.acker.check_drained(world),
        }
    }
}
