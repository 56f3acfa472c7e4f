//! A client's connection for requests: what it asked, and whether the answers are answers.

use std::collections::VecDeque;
use std::time::Duration;

use super::broken::Broken;
use super::conditions::Conditions;
use super::wire::{self, End, Version};
use super::world::World;
use crate::wire::hello;
use crate::wire::reply::{self, ErrorCode, Reply};
use crate::zmtp::session::Port;

/// What a request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Hello,
    Ping,
    /// The publisher's number of it, whether one message of it is kept, and whether it speaks v1.
    Publish(usize, bool, bool),
    Ack(Vec<usize>),
    /// A subscription, or credit for it.
    Control,
    /// A member's verdict on a message, and whether it acknowledges it.
    Settle(usize, bool),
    /// Something that is refused, and with which code; v1 is told none.
    Wrong(Option<ErrorCode>),
}

impl What {
    /// Whether others that came behind it may be answered before.
    fn may_wait_for_journal(&self) -> bool {
        matches!(self, Self::Publish(..) | Self::Ack(_) | Self::Settle(..))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Ok,
    Hello,
    Refused(Option<ErrorCode>),
}

#[derive(Debug)]
struct Awaited {
    envelope: Vec<Vec<u8>>,
    what: What,
    since: Duration,
    /// Bytes of the connection up to its end.
    end: u64,
}

/// A connection for requests, made anew when it is lost.
#[derive(Debug)]
pub(super) struct Asker {
    client: usize,
    socket: &'static str,
    version: Version,
    is_healthy: bool,
    publishes: bool,
    pub(super) link: Option<usize>,
    end: Option<End>,
    awaited: VecDeque<Awaited>,
    frames: Vec<Vec<u8>>,
    /// What came and is no answer, each in its frames.
    deliveries: Vec<Vec<Vec<u8>>>,
    pongs: VecDeque<Vec<u8>>,
    asked: u32,
}

impl Asker {
    pub(super) fn new(
        client: usize,
        socket: &'static str,
        version: Version,
        is_healthy: bool,
    ) -> Self {
        let (awaited, frames, deliveries, pongs) = Default::default();
        Self {
            client,
            socket,
            version,
            is_healthy,
            publishes: false,
            link: None,
            end: None,
            awaited,
            frames,
            deliveries,
            pongs,
            asked: 0,
        }
    }

    pub(super) fn connect(&mut self, world: &mut World) {
        let link = world.connect(self.client, Port::Requests, self.is_healthy);
        let (end, said) = End::new(self.version, self.socket, &mut world.random);
        world.send(link, said);
        (self.link, self.end) = (Some(link), Some(end));
    }

    /// The connection is lost.
    pub(super) fn lost(&mut self) {
        (self.link, self.end) = (None, None);
        self.awaited.clear();
        self.frames.clear();
        self.deliveries.clear();
        self.pongs.clear();
    }

    pub(super) fn can_ask(&self) -> bool {
        self.link.is_some() && (self.socket == "DEALER" || self.awaited.is_empty())
    }

    pub(super) fn is_done(&self) -> bool {
        self.awaited.is_empty() && self.pongs.is_empty()
    }

    pub(super) fn is_dealer(&self) -> bool {
        self.socket == "DEALER"
    }

    fn say(&mut self, bytes: Vec<u8>, world: &mut World) -> u64 {
        let (Some(link), Some(end)) = (self.link, &mut self.end) else { return 0 };
        let bytes = end.say(bytes);
        world.send(link, bytes);
        end.total
    }

    pub(super) fn ask(&mut self, what: What, body: &[u8], world: &mut World) {
        let random = &mut world.random;
        let frames = if self.is_dealer() { random.usize(0..3) } else { 0 };
        let mut envelope: Vec<Vec<u8>> = (0..frames)
            .map(|_| {
                let most = [20, 20, 20, 400][random.usize(0..4)];
                (0..random.usize(1..most)).map(|_| random.u8(..)).collect()
            })
            .collect();
        if self.is_dealer() && world.has_journal() {
            // Answers may come in another order than requests.
            self.asked += 1;
            envelope.push(self.asked.to_le_bytes().to_vec());
        }
        let mut bytes = Vec::new();
        for frame in &envelope {
            wire::append(1, frame, &mut bytes);
        }
        wire::append(1, b"", &mut bytes);
        wire::append(0, body, &mut bytes);
        self.asked(envelope, what, bytes, world);
    }

    fn asked(&mut self, envelope: Vec<Vec<u8>>, what: What, bytes: Vec<u8>, world: &mut World) {
        let end = self.say(bytes, world);
        self.publishes |= matches!(what, What::Publish(..));
        self.awaited.push_back(Awaited { envelope, what, since: world.now, end });
    }

    /// Frames that are no request: without an empty one, or with too many behind it.
    pub(super) fn ask_without_order(&mut self, world: &mut World) {
        let (mut bytes, mut envelope) = (Vec::new(), Vec::new());
        if world.random.bool() {
            wire::append(0, b"a body alone", &mut bytes);
        } else {
            envelope.push(b"who".to_vec());
            for frame in [&b"who"[..], b"", b"a body"] {
                wire::append(1, frame, &mut bytes);
            }
            wire::append(0, b"another", &mut bytes);
        }
        self.asked(envelope, What::Wrong(None), bytes, world);
    }

    /// Asks for a sign of life; the silence that it allows itself, in tenths of a second.
    pub(super) fn ping(&mut self, ttl_ds: u16, world: &mut World) {
        if self.version == Version::V20 {
            return;
        }
        let context: Vec<u8> =
            (0..world.random.usize(0..20)).map(|_| world.random.u8(..)).collect();
        let ping = wire::command("PING", &[&ttl_ds.to_be_bytes()[..], &context].concat());
        self.pongs.push_back(context[..context.len().min(16)].to_vec());
        self.say(ping, world);
    }

    /// Takes bytes, and returns what was answered.
    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        world: &mut World,
    ) -> Result<Vec<(What, Said)>, Broken> {
        let (Some(link), Some(end)) = (self.link, &mut self.end) else { return Ok(Vec::new()) };
        let mut out = Vec::new();
        let frames = end.hear(bytes, &mut out).map_err(Broken::Corrupt)?;
        world.send(link, out);
        let mut answers = Vec::new();
        for frame in frames {
            if frame.command {
                let expected =
                    self.pongs.pop_front().map(|context| wire::command("PONG", &context));
                if expected.is_none_or(|pong| pong[2..] != frame.body) {
                    return Err(Broken::Corrupt(format!("a command {:?}", frame.body)));
                }
                continue;
            }
            self.frames.push(frame.body);
            if frame.more {
                continue;
            }
            // An answer with three frames repeats one of the envelope, which is not empty.
            if self.frames.len() == 3 && self.frames[0].is_empty() {
                self.deliveries.push(std::mem::take(&mut self.frames));
            } else {
                answers.push(self.answer(world)?);
            }
        }
        Ok(answers)
    }

    /// What was delivered with what was heard.
    pub(super) fn take_deliveries(&mut self) -> Vec<Vec<Vec<u8>>> {
        std::mem::take(&mut self.deliveries)
    }

    fn answer(&mut self, world: &mut World) -> Result<(What, Said), Broken> {
        let frames = std::mem::take(&mut self.frames);
        let Some((body, before)) = frames.split_last() else {
            return Err(Broken::WrongAnswer("no frames".into()));
        };
        let (delimiter, repeated) = before.split_last().unwrap_or((body, before));
        let at = self.awaited.iter().position(|awaited| awaited.envelope == repeated);
        // Only what waits for the journal may be overtaken.
        let mut overtaken = self.awaited.range(..at.unwrap_or(0));
        let is_in_order =
            overtaken.all(|awaited| world.has_journal() && awaited.what.may_wait_for_journal());
        let found = at.filter(|_| delimiter.is_empty() && is_in_order);
        let Some(Awaited { what, since, .. }) = found.and_then(|at| self.awaited.remove(at)) else {
            let first = self.awaited.front();
            return Err(Broken::WrongAnswer(format!(
                "{frames:?}, and what is awaited is {first:?}"
            )));
        };
        let max = world.conditions.config.max_message_bytes as u64;
        let said = match (reply::read(body), hello::read_answer(body)) {
            (Some(Reply::Ok { .. }), _) => Said::Ok,
            (Some(Reply::Refused { code, .. }), _) => Said::Refused(code),
            (None, Some(answer)) if answer.max_message_bytes == max => Said::Hello,
            (None, None) if body.is_empty() => Said::Refused(None),
            _ => return Err(Broken::WrongAnswer(format!("{body:?} to {what:?}"))),
        };
        self.check_late(since, &what, world)?;
        if !is_right(&what, said, world) {
            return Err(Broken::WrongAnswer(format!("{said:?} to {what:?}")));
        }
        Ok((what, said))
    }

    fn check_late(&self, since: Duration, what: &What, world: &World) -> Result<(), Broken> {
        // One that publishes waits with all that it asks, and so does everybody when twice as much is queued as may be.
        // What waited for native subscribers is delivered many at a time, and small limits are soon passed by it.
        let Conditions { natives, members, is_tight, .. } = world.conditions;
        let may_wait = world.is_draining || (is_tight && (self.publishes || natives + members > 0));
        if self.is_healthy && !may_wait && world.now > since + super::PATIENCE {
            return Err(Broken::Late(format!("{what:?}")));
        }
        Ok(())
    }

    /// Whether somebody who has no trouble waits too long.
    pub(super) fn check_patience(&self, world: &World) -> Result<(), Broken> {
        let oldest = self.awaited.front();
        oldest.map_or(Ok(()), |awaited| self.check_late(awaited.since, &awaited.what, world))
    }

    /// The server has ended: what it had of requests when it was told to, it has answered.
    pub(super) fn check_drained(&self, world: &World) -> Result<(), Broken> {
        let Some(link) = self.link.map(|link| &world.links[link]) else { return Ok(()) };
        let mut awaited = self.awaited.iter();
        match awaited.find(|awaited| awaited.end <= link.arrived_before_drain) {
            Some(Awaited { what, .. }) if link.cause.is_none() => {
                Err(Broken::WrongAnswer(format!("none to {what:?}, from before the end")))
            }
            _ => Ok(()),
        }
    }
}

fn is_right(what: &What, said: Said, world: &World) -> bool {
    let ends = world.is_draining;
    match (what, said) {
        (What::Hello, Said::Hello) => true,
        (What::Ping | What::Publish(..) | What::Ack(_), Said::Ok) => true,
        (What::Control | What::Settle(..), Said::Ok) => true,
        // The message's time was over, and another member has it.
        (What::Settle(..), Said::Refused(Some(ErrorCode::Subscription))) => true,
        (What::Publish(_, kept, v1), Said::Refused(code)) => {
            let limited = *kept && world.conditions.is_limited;
            match code {
                None => *v1 && (limited || ends),
                Some(ErrorCode::PendingFull) => !v1 && limited,
                Some(ErrorCode::ShuttingDown) => !v1 && ends,
                Some(_) => false,
            }
        }
        (What::Wrong(expected), Said::Refused(code)) => {
            code == *expected || (ends && code == Some(ErrorCode::ShuttingDown))
        }
        _ => false,
    }
}
