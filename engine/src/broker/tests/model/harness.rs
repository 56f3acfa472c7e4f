//! Both brokers side by side.

use std::collections::{BTreeMap, BTreeSet};

use super::super::catalog::Catalog;
use super::reference::{Answer, Entry, Reference, Sent};
use super::*;
use crate::broker::publishers::Publishers;
use crate::message::{Format, Message};

pub(super) struct Run {
    durable: bool,
    limits: Limits,
    bench: Bench,
    reference: Reference,
    catalog: Catalog,
    /// The messages of each native publisher, by sequence from 1.
    natives: [Vec<usize>; 2],
    originals: Vec<usize>,
    requests: u32,
    /// The connection of each subscriber. No number comes again.
    connections: [ConnectionId; SUBSCRIBERS],
    /// The messages with ack=1 of each request.
    asked: BTreeMap<u32, Vec<usize>>,
    /// Those that were answered OK and not acknowledged: none of them may go.
    promised: BTreeSet<usize>,
}

impl Run {
    pub(super) fn new(durable: bool, limits: Limits) -> Self {
        Self {
            durable,
            limits,
            bench: Bench::limited(durable, limits),
            reference: Reference::new(durable, limits),
            catalog: Catalog::default(),
            natives: [Vec::new(), Vec::new()],
            originals: Vec::new(),
            requests: 0,
            connections: std::array::from_fn(|at| at as u64),
            asked: BTreeMap::new(),
            promised: BTreeSet::new(),
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        let resends = matches!(step, Step::Pass(_));
        match *step {
            Step::Native { publisher, back, name, ref acks, large } => {
                let numbers = self.frame(publisher, back, name, acks, large);
                let from = self.request(&numbers);
                let body = self.catalog.request(&numbers);
                self.bench.request(from, body);
                self.reference.native(&self.catalog, from, &numbers, self.bench.now);
            }
            Step::Skipped { publisher, name, ack } => {
                self.make_native(publisher, NAMES[name], ack, false);
            }
            Step::Original { back, name, ack } => {
                let at = self.originals.len().wrapping_sub(back);
                if at >= self.originals.len() {
                    self.originals.push(self.catalog.original(NAMES[name], ack, 0));
                }
                let number = self.originals[at.min(self.originals.len() - 1)];
                let from = self.request(&[number]);
                self.bench.request(from, self.catalog.request(&[number]));
                self.reference.original(&self.catalog, from, number, self.bench.now);
            }
            Step::Ack { ref back, v1 } => self.acknowledge(back, v1),
            Step::Subscribe(who, at) => {
                self.bench.subscribe_as(self.connections[who], PREFIXES[at]);
                let now = self.bench.now;
                self.reference.subscribe(&self.catalog, self.connections[who], PREFIXES[at], now);
            }
            Step::Cancel(who, at) => {
                self.bench.core.cancelled(self.connections[who], PREFIXES[at]);
                self.reference.cancel(self.connections[who], PREFIXES[at]);
            }
            Step::Leave(who) => {
                self.bench.core.disconnected(self.connections[who]);
                self.reference.leave(self.connections[who]);
                self.connections[who] += SUBSCRIBERS as u64;
            }
            Step::Behind(who, true) => {
                self.bench.core.subscribers.set_behind(self.connections[who], true);
                self.reference.falls_behind(self.connections[who]);
            }
            Step::Behind(who, false) => {
                self.bench.core.keeps_up(self.connections[who]);
                self.reference.keeps_up(self.connections[who]);
            }
            Step::Pass(ticks) => {
                self.bench.pass(TICK * ticks);
                self.reference.resend(&self.catalog, self.bench.now);
            }
            Step::Submit => self.submit(),
            Step::Store(groups) => {
                if self.bench.core.stores() {
                    let stored = self.reference.store(&self.catalog, groups);
                    self.bench.store(stored);
                }
            }
            Step::FailJournal => {
                if self.bench.core.stores() {
                    self.bench.core.journal_failed("disk gone", false);
                    self.reference.fail_journal(&self.catalog);
                }
            }
            Step::ForgetPublishers => {
                self.bench.core.publishers = Publishers::default();
                self.reference.forget_publishers();
            }
            Step::Drain => {
                self.bench.core.drain();
                self.reference.drain();
            }
            Step::Restart(entries) => self.restart(entries),
        }
        self.compare(resends);
    }

    fn make_native(&mut self, publisher: usize, name: &'static str, ack: bool, large: bool) {
        let sequence = self.natives[publisher].len() as u64 + 1;
        let id = MessageId { publisher: publisher as u64 + 5, sequence };
        let bytes = if large { 3000 } else { 0 };
        self.natives[publisher].push(self.catalog.native(id, sequence, name, ack, bytes));
    }

    /// The messages of a native frame, all of the name of the first.
    fn frame(
        &mut self,
        publisher: usize,
        back: usize,
        name: usize,
        acks: &[bool],
        large: bool,
    ) -> Vec<usize> {
        let first = self.natives[publisher].len().saturating_sub(back);
        let known = self.natives[publisher].get(first);
        let name = known.map_or(NAMES[name], |&number| self.catalog.get(number).name);
        for (at, &ack) in (first..).zip(acks) {
            if at == self.natives[publisher].len() {
                self.make_native(publisher, name, ack, large);
            }
        }
        let frame = self.natives[publisher][first..].iter().take(acks.len()).copied();
        frame.take_while(|&number| self.catalog.get(number).name == name).collect()
    }

    fn request(&mut self, numbers: &[usize]) -> u32 {
        self.requests += 1;
        let kept = numbers.iter().copied().filter(|&number| self.catalog.get(number).ack);
        self.asked.insert(self.requests, kept.collect());
        self.requests
    }

    fn acknowledge(&mut self, back: &[usize], v1: bool) {
        let newest = self.catalog.len();
        let numbers: Vec<usize> = back.iter().filter_map(|&n| newest.checked_sub(n + 1)).collect();
        let from = self.request(&[]);
        match numbers[..] {
            [number, ..] if v1 => {
                self.bench.request(from, self.catalog.ack_v1(number));
                self.reference.acknowledge_v1(&self.catalog, from, number);
            }
            _ => {
                let unknown = id(999);
                let known = numbers.iter().map(|&number| self.catalog.get(number).id);
                let ids: Vec<MessageId> = known.chain([unknown]).collect();
                self.bench.request(from, ack::frame(&ids));
                self.reference.acknowledge(from, &numbers);
            }
        }
        let done = |number: &usize| numbers.contains(number) && !self.reference.is_held(*number);
        self.promised.retain(|number| !done(number));
        for asked in self.asked.values_mut() {
            asked.retain(|number| !done(number));
        }
    }

    fn submit(&mut self) {
        let submitted = self.bench.core.take_group().map(|(group, ops)| {
            let entry = |op: &Op| match op {
                Op::Append(message) => {
                    let number = self.catalog.number(message.id).unwrap();
                    let made = self.catalog.get(number);
                    assert_eq!((&*message.name, &message.body), (made.name, &made.body));
                    Entry::Append(number)
                }
                Op::Settle(id) => Entry::Settle(self.catalog.number(*id).unwrap()),
                _ => panic!("there are no groups"),
            };
            (group, ops.iter().map(entry).collect())
        });
        assert_eq!(submitted, self.reference.submit());
    }

    fn restart(&mut self, entries: usize) {
        let log = self.reference.restart(entries);
        self.bench = Bench::limited(self.durable, self.limits);
        let core = &mut self.bench.core;
        let mut live = Vec::new();
        for entry in log {
            match entry {
                Entry::Append(number) => {
                    let MessageId { publisher, sequence } = self.catalog.get(number).id;
                    if self.catalog.get(number).format == Format::V2 {
                        core.restore_seen(publisher, sequence, sequence);
                    }
                    live.push(number);
                }
                Entry::Settle(number) => live.retain(|&other| other != number),
            }
        }
        for number in live {
            let made = self.catalog.get(number);
            let (id, name, format) = (made.id, made.name.into(), made.format);
            core.restore(Message { id, name, format, body: made.body.clone() });
        }
        self.asked.clear();
        if !self.durable {
            self.promised.clear();
        }
    }

    fn compare(&mut self, resends: bool) {
        let (deliveries, replies) = self.bench.deliveries();
        let mut published: Vec<Sent> = Vec::new();
        for Delivery { frame, to, droppable, .. } in deliveries {
            let (format, numbers) = self.catalog.read(&frame).unwrap();
            for number in numbers {
                assert!(!(droppable && self.catalog.get(number).ack), "{number} may be lost");
                published.push((format, number, to.clone()));
            }
        }
        let mut expected = std::mem::take(&mut self.reference.frames);
        if resends {
            // In which order names are sent again is nobody's business.
            let by_number = |(format, number, _): &Sent| (*number, *format as u8);
            published.sort_by_key(by_number);
            expected.sort_by_key(by_number);
        }
        assert_eq!(published, expected);

        let answers: Vec<(u32, Answer)> = replies
            .iter()
            .map(|(from, reply)| match reply {
                Reply::Ok => (*from, Answer::Ok),
                Reply::Refused(why, _) => (*from, Answer::Refused(why.code())),
                Reply::Hello(..) | Reply::Answer(_) => {
                    panic!("nobody asked for that")
                }
            })
            .collect();
        assert_eq!(answers, std::mem::take(&mut self.reference.answers));
        assert_eq!(self.bench.core.counters.snapshot(), self.reference.counts);

        let held = self.reference.held();
        let view = self.bench.core.backlog.view();
        assert!(held.iter().all(|&number| view.contains(&self.catalog.get(number).id)));
        let bytes: usize = held.iter().map(|&number| self.catalog.get(number).body.len()).sum();
        assert_eq!((view.len(), view.bytes()), (held.len(), bytes));

        // What had been acknowledged when it came again stays acknowledged.
        if let Some(asked) = self.asked.get_mut(&self.requests) {
            asked.retain(|number| held.contains(number));
        }
        for (from, answer) in answers {
            let asked = self.asked.remove(&from).unwrap();
            if answer == Answer::Ok {
                self.promised.extend(asked);
            }
        }
        assert!(self.promised.iter().all(|number| held.contains(number)), "a promise is broken");
    }

    /// Somebody subscribes and stays: gets all that was promised, acknowledges it, and nothing is left.
    pub(super) fn finish(mut self) {
        self.step(&Step::Submit);
        self.step(&Step::Store(usize::MAX));
        for who in 0..SUBSCRIBERS {
            self.step(&Step::Behind(who, false));
        }
        for prefix in [5, 7, 4] {
            self.step(&Step::Subscribe(0, prefix));
        }
        self.bench.pass(INTERVAL + TICK);
        self.reference.resend(&self.catalog, self.bench.now);
        let mut got = BTreeSet::new();
        for frame in self.bench.published() {
            got.extend(self.catalog.read(&frame).unwrap().1);
        }
        assert!(self.promised.is_subset(&got), "{:?} of {got:?}", self.promised);
        self.reference.frames.clear();
        let newest = self.catalog.len();
        let held = self.reference.held();
        let back: Vec<usize> = held.into_iter().map(|number| newest - 1 - number).collect();
        self.step(&Step::Ack { back, v1: false });
        assert!(self.bench.core.backlog.is_empty());
        for who in 0..SUBSCRIBERS {
            self.step(&Step::Leave(who));
        }
        self.step(&Step::Pass(6200));
        assert_eq!(self.bench.core.subscribers.len(), 0);
        assert_eq!(self.bench.core.next_due(), None);
    }
}
