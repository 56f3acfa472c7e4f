//! What was promised for each message, and whether it is kept. It watches what goes into the core and
//! what comes out of it, and knows nothing of how the core works.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::catalog::Catalog;
use super::super::seeds::Tally;
use super::super::{Bytes, Core, Op};
use super::broken::Broken;
use super::conditions::Conditions;
use super::story::{Cause, Story};
use super::world::{Address, Answer};
use crate::limits::{PARKED_BYTES_MAX, PARKED_REQUESTS_MAX};
use crate::message::Format;
use crate::metrics::Metrics;
use crate::pending::Limits;
use crate::wire::reply::ErrorCode;

/// A request without an answer.
#[derive(Default)]
struct Open {
    numbers: Vec<usize>,
    /// Those that were not taken before, or were acknowledged since.
    new: Vec<usize>,
    /// The request that took each of those before, and the formats in which it was wanted then.
    before: Vec<(Option<u64>, [bool; 2])>,
    bytes: usize,
    /// It waits for the journal, and the core has counted what it brought.
    waits: bool,
}

pub(super) struct Ledger {
    pub(super) catalog: Catalog,
    durable: bool,
    limits: Limits,
    stories: Vec<Story>,
    open: BTreeMap<u64, Open>,
    open_bytes: usize,
    requests: u64,
    held: usize,
    held_bytes: usize,
    /// The last new message of each publisher and name: its request and sequence.
    last: HashMap<(u64, &'static str), (u64, u64)>,
    counts: Metrics,
    journal_failed: bool,
    draining: bool,
    /// How often what happened, so that it can be seen that it did.
    pub(super) tally: Tally,
}

fn index(format: Format) -> usize {
    usize::from(format == Format::V2)
}

impl Ledger {
    pub(super) fn new(conditions: &Conditions) -> Self {
        Self {
            catalog: Catalog::default(),
            durable: conditions.durable,
            limits: conditions.limits,
            stories: Vec::new(),
            open: BTreeMap::new(),
            open_bytes: 0,
            requests: 0,
            held: 0,
            held_bytes: 0,
            last: HashMap::new(),
            counts: Metrics::default(),
            journal_failed: false,
            draining: false,
            tally: Tally::default(),
        }
    }

    pub(super) fn tell(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub(super) fn story(&mut self, number: usize) -> &mut Story {
        if self.stories.len() <= number {
            self.stories.resize(number + 1, Story::default());
        }
        &mut self.stories[number]
    }

    fn hold(&mut self, number: usize, held: bool) {
        let bytes = self.catalog.get(number).body.len();
        let story = self.story(number);
        let before = std::mem::replace(&mut story.held, held);
        if held && !before {
            self.held += 1;
            self.held_bytes += bytes;
        } else if before && !held {
            self.held -= 1;
            self.held_bytes -= bytes;
        }
    }

    /// The core is given a request. `wanted`: the formats in which somebody subscribed to its name.
    /// Returns the request's number.
    pub(super) fn publishes(&mut self, numbers: &[usize], bytes: usize, wanted: [bool; 2]) -> u64 {
        self.counts.requests += 1;
        self.requests += 1;
        let request = self.requests;
        let (mut new, mut before) = (Vec::new(), Vec::new());
        for &number in numbers {
            let (format, ack) = (self.catalog.get(number).format, self.catalog.get(number).ack);
            let story = self.story(number);
            // A v1 message is known only as long as it is kept.
            let known = match format {
                Format::V2 => story.taken.is_some(),
                Format::V1 => story.held,
            };
            if known {
                continue;
            }
            before.push((story.taken, story.wanted));
            (story.taken, story.times) = (Some(request), story.times + 1);
            (story.wanted, story.shown) = (wanted, [false; 2]);
            // What was promised of it before was kept.
            (story.stored, story.promised) = (false, false);
            self.hold(number, ack);
            new.push(number);
        }
        self.open_bytes += bytes;
        let open = Open { numbers: numbers.to_vec(), new, before, bytes, waits: false };
        self.open.insert(request, open);
        request
    }

    /// The core has been given a request that publishes, and all that it said to it has been heard.
    pub(super) fn has_been_heard(&mut self, request: u64) -> Result<(), Broken> {
        let Some(open) = self.open.get_mut(&request) else { return Ok(()) };
        open.waits = true;
        let new = open.new.clone();
        self.counts.accepted += new.len() as u64;
        self.counts.duplicates += (open.numbers.len() - new.len()) as u64;
        self.check_limits(&new)
    }

    fn check_limits(&self, new: &[usize]) -> Result<(), Broken> {
        let over = self.held > self.limits.messages || self.held_bytes > self.limits.bytes;
        match new.iter().find(|&&number| self.catalog.get(number).ack) {
            Some(&number) if over => Err(Broken::OverLimit(number)),
            _ => Ok(()),
        }
    }

    /// The core is given an acknowledgement; `v1`: by the checksum that v1 subscribers saw.
    pub(super) fn acknowledges(&mut self, numbers: &[usize], v1: bool) -> u64 {
        self.counts.requests += 1;
        self.requests += 1;
        for &number in numbers {
            let format = self.catalog.get(number).format;
            let story = self.story(number);
            let found = !v1 || format == Format::V1 || story.shown[index(Format::V1)];
            if story.held && found {
                story.settled += 1;
                self.counts.settled += 1;
                self.hold(number, false);
            }
        }
        self.open.insert(self.requests, Open::default());
        self.requests
    }

    /// The core published a frame. Returns what it holds.
    pub(super) fn published(
        &mut self,
        frame: &Bytes,
        droppable: bool,
        cause: Cause,
    ) -> Result<(), Broken> {
        let (format, numbers) = self.catalog.read(frame).map_err(Broken::Forged)?;
        for number in numbers {
            let made = self.catalog.get(number);
            let (ack, own, id, name) = (made.ack, made.format == format, made.id, made.name);
            let must_be_stored = ack && self.durable && !self.journal_failed;
            let story = self.story(number);
            let Some(request) = story.taken else {
                return Err(Broken::Forged(format!("message {number} was not taken")));
            };
            // A v1 message that is taken again while an acknowledgement of the first is under way
            // is acknowledged early.
            if ack && !story.held && !(id.is_v1() && story.settled > 0 && cause == Cause::Taken) {
                return Err(Broken::PublishedAfterAck(number));
            }
            if ack && droppable {
                return Err(Broken::Droppable(number));
            }
            if must_be_stored && !story.stored {
                return Err(Broken::PublishedBeforeStored(number));
            }
            story.shown[index(format)] = true;
            if cause == Cause::Again {
                self.tell("message sent again");
                if !ack {
                    return Err(Broken::SecondMessage(number));
                }
                continue;
            }
            story.new[index(format)] += 1;
            if story.new[index(format)] > story.times {
                return Err(Broken::SecondMessage(number));
            }
            if own && id.is_native() {
                let place = (request, id.sequence);
                let last = self.last.entry((id.publisher, name)).or_default();
                if *last >= place {
                    return Err(Broken::Overtook(number));
                }
                *last = place;
            }
        }
        Ok(())
    }

    /// The core answered a request. `wanted`: the formats in which somebody wants a name now.
    pub(super) fn answered(
        &mut self,
        request: u64,
        answer: Answer,
        wanted: impl Fn(&str) -> [bool; 2],
    ) -> Result<(), Broken> {
        let Some(open) = self.open.remove(&request) else {
            return Err(Broken::Miscounted(format!("request {request} was answered twice")));
        };
        self.open_bytes -= open.bytes;
        let code = match answer {
            Answer::Ok => return self.answered_ok(request, &open, wanted),
            Answer::Refused(code) => code,
        };
        self.counts.refused += 1;
        for (&number, &(taken, wanted)) in open.new.iter().zip(&open.before) {
            self.hold(number, false);
            let story = self.story(number);
            (story.taken, story.wanted, story.times) = (taken, wanted, story.times - 1);
        }
        let kept = open.new.iter().filter(|&&number| self.catalog.get(number).ack);
        let (mut messages, mut bytes) = (self.held, self.held_bytes);
        for &number in kept {
            (messages, bytes) = (messages + 1, bytes + self.catalog.get(number).body.len());
        }
        let caused = match code {
            ErrorCode::PendingFull => {
                self.tell("request refused: pending full");
                self.counts.duplicates += (open.numbers.len() - open.new.len()) as u64;
                messages > self.limits.messages || bytes > self.limits.bytes
            }
            ErrorCode::JournalFailed => {
                self.tell("request refused: journal failed");
                self.journal_failed
            }
            ErrorCode::ShuttingDown => {
                self.tell("request refused: server ending");
                self.draining
            }
            _ => false,
        };
        if caused { Ok(()) } else { Err(Broken::Refused(code)) }
    }

    fn answered_ok(
        &mut self,
        request: u64,
        open: &Open,
        wanted: impl Fn(&str) -> [bool; 2],
    ) -> Result<(), Broken> {
        if !open.numbers.is_empty() {
            self.tell(match open.new.len() {
                0 => "request repeated whole",
                new if new < open.numbers.len() => "request repeated in part",
                _ => "request taken",
            });
        }
        if !open.waits {
            self.counts.accepted += open.new.len() as u64;
            self.counts.duplicates += (open.numbers.len() - open.new.len()) as u64;
            self.check_limits(&open.new)?;
        }
        let durable = self.durable;
        for &number in &open.numbers {
            let ack = self.catalog.get(number).ack;
            let story = self.story(number);
            if ack {
                if !(story.held || story.settled > 0) {
                    return Err(Broken::Lost(number));
                }
                // One of v1 that was acknowledged may have been taken again since this request came.
                let is_later = story.taken > Some(request);
                if durable && story.held && !story.stored && !is_later {
                    return Err(Broken::OkBeforeStored(number));
                }
                story.promised |= !is_later;
            }
        }
        for &number in &open.new {
            let wanted = wanted(self.catalog.get(number).name);
            let story = self.story(number);
            let is_last = story.taken == Some(request);
            // Whoever came or went while the request waited for the journal gets it otherwise, or not.
            let is_missing =
                |format: usize| wanted[format] && story.wanted[format] && !story.shown[format];
            if is_last && (0..2).any(is_missing) {
                return Err(Broken::OkUnpublished(number));
            }
        }
        Ok(())
    }

    /// The journal has stored this.
    pub(super) fn stored(&mut self, op: &Op) {
        if let Op::Append(message) = op
            && let Some(number) = self.catalog.number(message.id)
        {
            self.story(number).stored = true;
        }
    }

    pub(super) fn journal_fails(&mut self) {
        self.journal_failed = true;
    }

    pub(super) fn drains(&mut self) {
        self.draining = true;
    }

    /// The server starts anew from what the journal holds: all messages that it ever held, and those that
    /// were not settled. `clean`: the last one ended by itself, and had stored everything.
    pub(super) fn restarts(
        &mut self,
        seen: &HashSet<usize>,
        live: &HashSet<usize>,
        clean: bool,
    ) -> Result<(), Broken> {
        for number in 0..self.stories.len() {
            let is_live = live.contains(&number);
            let story = &mut self.stories[number];
            if self.durable && story.promised && story.held && !is_live {
                return Err(Broken::Lost(number));
            }
            if is_live && clean && !story.held && !self.journal_failed {
                return Err(Broken::PublishedAfterAck(number));
            }
            story.promised &= self.durable || !story.held;
            story.taken = seen.contains(&number).then_some(0);
            (story.shown, story.stored) = ([false; 2], is_live);
            story.times = u32::from(story.taken.is_some());
            story.new = [story.times; 2];
            self.hold(number, is_live);
        }
        if !live.is_empty() {
            self.tell("server started with messages from the journal");
        }
        if !self.open.is_empty() {
            self.tell("server ended with requests unanswered");
        }
        self.open.clear();
        self.open_bytes = 0;
        self.last.clear();
        self.counts = Metrics { recovered: live.len() as u64, ..Metrics::default() };
        (self.journal_failed, self.draining) = (false, false);
        Ok(())
    }

    /// Compares what the core keeps and counts with what happened.
    pub(super) fn check(&self, core: &Core<Address>) -> Result<(), Broken> {
        let view = core.backlog.view();
        let (kept, expected) = ((view.len(), view.bytes()), (self.held, self.held_bytes));
        if kept != expected {
            return Err(Broken::Keeps(format!("{kept:?}, expected {expected:?}")));
        }
        // The last request may go beyond.
        let largest = self.open.values().map(|open| open.bytes).max().unwrap_or(0);
        if core.parked.len() > PARKED_REQUESTS_MAX || self.open_bytes > PARKED_BYTES_MAX + largest {
            return Err(Broken::TooManyParked);
        }
        let counts = Metrics { resent: self.counts.resent, ..core.counters.snapshot() };
        if self.open.is_empty() && counts != self.counts {
            return Err(Broken::Miscounted(format!(
                "counts {counts:?}, expected {:?}",
                self.counts
            )));
        }
        Ok(())
    }

    /// All is calm: everything that was promised has been delivered and acknowledged.
    pub(super) fn check_end(&self) -> Result<(), Broken> {
        for (number, story) in self.stories.iter().enumerate() {
            if story.promised && (story.held || story.settled == 0 || !story.done) {
                return Err(Broken::Lost(number));
            }
        }
        Ok(())
    }
}
