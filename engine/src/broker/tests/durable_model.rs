//! Durable groups are created and deleted, members come and go and say what they like, letters are replayed and purged,
//! in any order and across restarts: each group has the messages that it is not done with, and no others.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::dead_letters::NO;
use super::durable::{ASKER, create, delete};
use super::groups::{GROUP, ORDERS, ROOMY, verdict};
use super::native::subscribe;
use super::stored::Stored;
use super::*;
use crate::wire::control::{Group, Kind, Verdict};
use crate::wire::letter::{self, LetterSelection, Request};

/// The last one is never durable.
const GROUPS: [&str; 3] = ["one", "two", "passing"];
const DURABLE: usize = 2;

#[derive(Clone, Debug)]
enum Step {
    Create(usize),
    Delete(usize),
    Join(u32, usize),
    Leave(u32),
    Publish(usize),
    /// A member says something of one of the messages that it has.
    Say(u32, usize, usize),
    /// Somebody who has nothing to say acknowledges a message.
    Acknowledge(u64),
    Pass(u64),
    Replay(usize),
    Purge(usize),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let member = 3..7_u32;
    prop_oneof![
        2 => (0..DURABLE).prop_map(Step::Create),
        1 => (0..DURABLE).prop_map(Step::Delete),
        3 => (member.clone(), 0..GROUPS.len()).prop_map(|(member, group)| Step::Join(member, group)),
        2 => member.clone().prop_map(Step::Leave),
        4 => (1..4_usize).prop_map(Step::Publish),
        8 => (member, 0..4_usize, 0..9_usize).prop_map(|(member, says, which)| {
            Step::Say(member, says, which)
        }),
        1 => (1..30_u64).prop_map(Step::Acknowledge),
        1 => (0..3000_u64).prop_map(Step::Pass),
        1 => (0..GROUPS.len()).prop_map(Step::Replay),
        1 => (0..GROUPS.len()).prop_map(Step::Purge),
        2 => Just(Step::Restart),
    ]
}

/// What a durable group is to have.
#[derive(Default)]
struct Share {
    given: BTreeSet<u64>,
    done: BTreeSet<u64>,
}

struct World {
    bench: Bench,
    stored: Stored,
    published: u64,
    has: BTreeMap<u32, (usize, BTreeSet<u64>)>,
    shares: BTreeMap<usize, Share>,
}

impl World {
    fn new() -> Self {
        let bench = Bench::limited(true, Limits { messages: 1000, bytes: 1 << 20 });
        let (stored, published, has, shares) = Default::default();
        Self { bench, stored, published, has, shares }
    }

    /// All is stored that was handed over.
    fn store(&mut self) {
        while let Some((group, ops)) = self.bench.core.take_group() {
            ops.into_iter().for_each(|op| self.stored.apply(op));
            self.bench.store(group);
        }
    }

    /// A request, and whether it is taken.
    fn request(&mut self, from: u32, body: impl Into<Bytes>) -> bool {
        self.bench.request(from, body);
        while self.bench.core.turn(self.bench.now) {}
        self.store();
        let queue = &self.bench.core.out.queue;
        let refused =
            |it: &Effect<u32>| matches!(it, Effect::Reply(to, Reply::Refused(..)) if *to == from);
        !queue.iter().any(refused)
    }

    fn request_as_asker(&mut self, body: Vec<u8>) -> bool {
        self.bench.core.prove(ASKER.into(), 77);
        self.request(ASKER, body)
    }

    /// Members get what there is for them.
    fn settle_down(&mut self) {
        self.store();
        for (connection, _, _, sequences) in self.bench.given() {
            if let Some((_, has)) = self.has.get_mut(&(connection as u32)) {
                has.extend(sequences);
            }
        }
        self.store();
    }

    /// The messages of a group's dead letters.
    fn letters(&self, group: usize) -> BTreeSet<u64> {
        let letters = &self.bench.core.letters;
        let numbers = letters.from(GROUPS[group], 0, usize::MAX).into_iter();
        numbers.map(|number| letters.get(number).unwrap().id.sequence).collect()
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Create(group) => {
                let terms = Group { name: GROUPS[group], attempts_max: 3, ..GROUP };
                if self.request_as_asker(create(ORDERS, terms)) {
                    self.shares.entry(group).or_default();
                }
            }
            Step::Delete(group) => {
                let is_there = self.shares.contains_key(&group);
                let has_members = self.has.values().any(|(of, _)| *of == group);
                let is_deleted = self.request_as_asker(delete(GROUPS[group]));
                assert_eq!(is_deleted, is_there && !has_members);
                if is_deleted {
                    self.shares.remove(&group);
                }
            }
            Step::Join(member, group) => {
                let terms = match self.shares.contains_key(&group) {
                    true => Group::named(GROUPS[group]),
                    false => Group { name: GROUPS[group], attempts_max: 3, ..GROUP },
                };
                // Whoever is a member already is told so.
                if self.request(member, subscribe(1, Kind::Group(terms), ORDERS, ROOMY)) {
                    self.has.insert(member, (group, BTreeSet::new()));
                }
            }
            Step::Leave(member) => {
                self.bench.core.disconnected(member.into());
                self.has.remove(&member);
            }
            Step::Publish(count) => {
                let first = self.published + 1;
                self.published += count as u64;
                self.request(99, frame("orders", first, true, &vec!["x"; count]));
                for share in self.shares.values_mut() {
                    share.given.extend(first..=self.published);
                }
            }
            Step::Say(member, says, which) => {
                let Some((group, has)) = self.has.get_mut(&member) else { return };
                let Some(&sequence) = has.iter().nth(which % has.len().max(1)) else { return };
                has.remove(&sequence);
                let (group, says) = (
                    *group,
                    [
                        Verdict::Ack,
                        NO,
                        Verdict::Nak { delay_ms: 0 },
                        Verdict::Nak { delay_ms: 500 },
                    ][says],
                );
                // Its time may be over.
                let is_taken = self.request(member, verdict(1, says, &[sequence]));
                if let (Some(share), true, Verdict::Ack) =
                    (self.shares.get_mut(&group), is_taken, says)
                {
                    assert!(share.done.insert(sequence), "it is done twice");
                }
            }
            Step::Acknowledge(sequence) => {
                self.request(40, ack::frame(&[id(sequence)]));
            }
            Step::Pass(ms) => _ = self.bench.pass(Duration::from_millis(ms)),
            Step::Replay(group) => {
                let letters = self.letters(group);
                let which = LetterSelection::Range { from: 0, to: 0, name: "" };
                let request = Request::Replay { group: GROUPS[group], which };
                if self.request_as_asker(letter::request(&request))
                    && let Some(share) = self.shares.get_mut(&group)
                {
                    share.done.retain(|sequence| !letters.contains(sequence));
                    share.given.extend(letters);
                }
            }
            Step::Purge(group) => {
                let letters = self.letters(group);
                let which = LetterSelection::Range { from: 0, to: 0, name: "orders" };
                let request = Request::Purge { group: GROUPS[group], which };
                self.request_as_asker(letter::request(&request));
                if let Some(share) = self.shares.get_mut(&group) {
                    share.done.extend(letters.into_iter().filter(|it| share.given.contains(it)));
                }
            }
            Step::Restart => self.restart(),
        }
        self.settle_down();
        self.check();
    }

    fn restart(&mut self) {
        self.store();
        let now = self.bench.now;
        self.bench = Self::new().bench;
        self.bench.now = now;
        self.has.clear();
        self.stored.restore(&mut self.bench.core);
    }

    /// Each group has what it is to have, and the journal says what the core has.
    fn check(&self) {
        let core = &self.bench.core;
        for (group, share) in &self.shares {
            let letters = self.letters(*group);
            let left: BTreeSet<u64> = share.given.difference(&share.done).copied().collect();
            let expected: BTreeSet<u64> = left.difference(&letters).copied().collect();
            let jobs = core.groups.jobs_of(GROUPS[*group]);
            let jobs: BTreeSet<u64> = jobs.into_iter().map(|id| id.sequence).collect();
            assert_eq!(jobs, expected, "{}", GROUPS[*group]);
        }
        let kept = (1..=self.published).filter(|n| core.backlog.view().contains(&id(*n)));
        let stored: BTreeSet<u64> = self.stored.live().map(|message| message.id.sequence).collect();
        assert!(kept.eq(stored), "messages");
        let open = self.shares.values().flat_map(|share| share.given.difference(&share.done));
        assert!(open.into_iter().all(|n| core.backlog.view().contains(&id(*n))), "lost");
        let mut shown = core.groups.from("", usize::MAX, |_| true);
        shown.retain(|group| group.is_durable);
        assert!(shown.iter().map(|group| &*group.name).eq(self.shares.keys().map(|n| GROUPS[*n])));
        for group in shown {
            let jobs = core.groups.jobs_of(&group.name).len();
            assert_eq!(group.waiting + group.in_flight, jobs);
        }
    }

    /// All members leave, groups are deleted, letters are purged, and somebody acknowledges what is left: then nothing is.
    fn finish(mut self) {
        for member in 3..7 {
            self.step(&Step::Leave(member));
        }
        for group in 0..DURABLE {
            self.step(&Step::Delete(group));
        }
        for group in 0..GROUPS.len() {
            self.step(&Step::Purge(group));
        }
        assert!(self.bench.core.letters.is_empty());
        let all: Vec<MessageId> = (1..=self.published).map(id).collect();
        if !all.is_empty() {
            self.request(40, ack::frame(&all));
        }
        self.settle_down();
        self.check();
        let core = &self.bench.core;
        assert!(core.backlog.is_empty() && core.groups.is_empty());
        assert!(self.stored.is_empty());
    }
}

proptest! {
    #[test]
    fn each_group_has_what_it_is_not_done_with_whatever_happens(
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.finish();
    }
}
