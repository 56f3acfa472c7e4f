//! Members come and go, say what they like, and letters are replayed and purged, in any order and across restarts:
//! nothing is lost, nothing stays behind, and the journal says what the core has.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::dead_letters::NO;
use super::expiry::{at_start, record_with};
use super::groups::{GROUP, ORDERS, ROOMY, verdict};
use super::native::subscribe;
use super::*;
use crate::journal::LetterEnd;
use crate::message::DeadLetter;
use crate::wire::control::{Backoff, Group, Kind, Verdict};
use crate::wire::letter::{self, LetterSelection, Request};
use crate::wire::properties::Properties;

const ATTEMPTS_MAX: u16 = 3;
const GROUPS: [&str; 2] = ["one", "two"];
const ASKER: u32 = 20;

#[derive(Clone, Debug)]
enum Step {
    Join(u32, usize),
    Leave(u32),
    Publish(usize),
    /// A message that expires in so many milliseconds.
    PublishUntil(u64),
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
    let member = 3..6_u32;
    prop_oneof![
        3 => (member.clone(), 0..2_usize).prop_map(|(member, group)| Step::Join(member, group)),
        1 => member.clone().prop_map(Step::Leave),
        3 => (1..4_usize).prop_map(Step::Publish),
        3 => (0..4000_u64).prop_map(Step::PublishUntil),
        8 => (member, 0..5_usize, 0..9_usize).prop_map(|(member, says, which)| {
            Step::Say(member, says, which)
        }),
        1 => (1..30_u64).prop_map(Step::Acknowledge),
        2 => (0..3000_u64).prop_map(Step::Pass),
        1 => (0..2_usize).prop_map(Step::Replay),
        1 => (0..2_usize).prop_map(Step::Purge),
        1 => Just(Step::Restart),
    ]
}

/// What the journal would give back.
#[derive(Default)]
struct Stored {
    live: BTreeMap<u64, Message>,
    /// Whether a message is done but for its letters, and these.
    letters: BTreeMap<u64, (bool, BTreeMap<String, DeadLetter>)>,
}

impl Stored {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Append(message) => {
                self.live.entry(message.id.sequence).or_insert(message);
            }
            Op::Settle(id) => {
                self.live.remove(&id.sequence);
                self.letters.remove(&id.sequence);
            }
            Op::Letter(letter) => {
                assert!(self.live.contains_key(&letter.id.sequence), "a letter of nothing");
                let (is_done, letters) = self.letters.entry(letter.id.sequence).or_default();
                *is_done |= letter.is_done;
                letters.insert(letter.group.to_string(), letter);
            }
            Op::Group(_) | Op::EndGroup(_) | Op::Jobs { .. } => panic!("no group is durable"),
            Op::EndLetter { id, group, end } => {
                let sequence = id.sequence;
                let Some((is_done, letters)) = self.letters.get_mut(&sequence) else {
                    panic!("no letter of {sequence}");
                };
                assert!(letters.remove(&*group).is_some(), "no letter of {group}");
                let is_last = letters.is_empty();
                assert_eq!(
                    end == LetterEnd::Done,
                    is_last && *is_done && end != LetterEnd::Replayed
                );
                *is_done &= end != LetterEnd::Replayed;
                if is_last {
                    self.letters.remove(&sequence);
                }
                if end == LetterEnd::Done {
                    self.live.remove(&sequence);
                }
            }
            Op::Retain { .. } | Op::Unretain(_) | Op::Key(_) => panic!("nobody asked for that"),
        }
    }
}

struct World {
    bench: Bench,
    stored: Stored,
    published: u64,
    has: BTreeMap<u32, BTreeSet<u64>>,
    /// When messages expire that were not replayed.
    until_ms: BTreeMap<u64, u64>,
}

impl World {
    fn new() -> Self {
        let bench = at_start(Bench::limited(true, Limits { messages: 1000, bytes: 1 << 20 }));
        let (stored, published, has, until_ms) = Default::default();
        Self { bench, stored, published, has, until_ms }
    }

    /// All is stored that was handed over.
    fn store(&mut self) {
        while let Some((group, ops)) = self.bench.core.take_group() {
            ops.into_iter().for_each(|op| self.stored.apply(op));
            self.bench.store(group);
        }
    }

    fn request(&mut self, from: u32, body: impl Into<Bytes>) {
        self.bench.request(from, body);
        self.store();
    }

    fn request_letters(&mut self, request: &Request<'_>) {
        self.bench.core.prove(ASKER.into(), 77);
        self.request(ASKER, letter::request(request));
    }

    /// Members get what there is for them.
    fn settle_down(&mut self) {
        self.store();
        let now_ms = self.bench.core.unix_ms();
        for (connection, _, attempt, sequences) in self.bench.given() {
            assert!((1..=ATTEMPTS_MAX).contains(&attempt), "attempt {attempt}");
            for sequence in &sequences {
                let until_ms = self.until_ms.get(sequence).copied().unwrap_or(u64::MAX);
                assert!(now_ms < until_ms, "{sequence} was given at {now_ms}");
            }
            self.has.entry(connection as u32).or_default().extend(sequences);
        }
        self.store();
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Join(member, group) => {
                let backoff = Backoff::new(&[0, 100]).unwrap();
                let name = GROUPS[group];
                // The second one keeps what expires.
                let (attempts_max, keeps_expired) = (ATTEMPTS_MAX, group == 1);
                let group = Group { name, attempts_max, backoff, keeps_expired, ..GROUP };
                // Whoever is a member already is told so.
                self.request(member, subscribe(1, Kind::Group(group), ORDERS, ROOMY));
            }
            Step::Leave(member) => {
                self.bench.core.disconnected(member.into());
                self.has.remove(&member);
            }
            Step::Publish(count) => {
                let first = self.published + 1;
                self.published += count as u64;
                self.request(99, frame("orders", first, true, &vec!["x"; count]));
            }
            Step::PublishUntil(ms) => {
                self.published += 1;
                let until_ms = self.bench.core.unix_ms() + ms;
                self.until_ms.insert(self.published, until_ms);
                let expires_ms = Some(until_ms);
                let properties = Properties { expires_ms, ..Properties::default() };
                let record = record_with("orders", self.published, true, &properties);
                self.request(99, [&v2_prefix("orders")[..], &record].concat());
            }
            Step::Say(member, says, which) => {
                let Some(has) = self.has.get_mut(&member) else { return };
                let Some(&sequence) = has.iter().nth(which % has.len().max(1)) else { return };
                has.remove(&sequence);
                let says = match says {
                    0 => Verdict::Ack,
                    1 => NO,
                    2 => Verdict::Nak { delay_ms: 0 },
                    3 => Verdict::Nak { delay_ms: 500 },
                    _ => Verdict::Extend,
                };
                // Its time may be over.
                self.request(member, verdict(1, says, &[sequence]));
            }
            Step::Acknowledge(sequence) => self.request(40, ack::frame(&[id(sequence)])),
            Step::Pass(ms) => _ = self.bench.pass_on_both(Duration::from_millis(ms)),
            Step::Replay(group) => {
                let which = LetterSelection::Range { from: 0, to: 0, name: "" };
                let before = self.letters_of(group);
                self.request_letters(&Request::Replay { group: GROUPS[group], which });
                let after = self.letters_of(group);
                for sequence in before.difference(&after) {
                    self.until_ms.remove(sequence);
                }
            }
            Step::Purge(group) => {
                let which = LetterSelection::Range { from: 0, to: 0, name: "orders" };
                self.request_letters(&Request::Purge { group: GROUPS[group], which });
            }
            Step::Restart => self.restart(),
        }
        self.settle_down();
        self.check();
    }

    fn letters_of(&self, group: usize) -> BTreeSet<u64> {
        let letters = &self.bench.core.letters;
        let numbers = letters.from(GROUPS[group], 0, usize::MAX);
        numbers.into_iter().map(|n| letters.get(n).unwrap().id.sequence).collect()
    }

    fn restart(&mut self) {
        self.store();
        let (now, unix_ns) = (self.bench.now, self.bench.core.unix_ns);
        self.bench = Self::new().bench;
        self.bench.now = now;
        self.bench.core.set_clock(now, unix_ns);
        self.has.clear();
        for message in self.stored.live.values() {
            self.bench.core.restore(message.clone());
        }
        for (is_done, letters) in self.stored.letters.values() {
            for letter in letters.values() {
                let letter = DeadLetter { is_done: *is_done, ..letter.clone() };
                self.bench.core.restore_letter(letter);
            }
        }
    }

    /// The journal says what the core has.
    fn check(&self) {
        let core = &self.bench.core;
        let kept = (1..=self.published).filter(|n| core.backlog.view().contains(&id(*n)));
        assert!(kept.eq(self.stored.live.keys().copied()), "messages");
        let mut letters = BTreeMap::<u64, (bool, BTreeSet<&str>)>::new();
        for number in core.letters.from("", 0, usize::MAX) {
            let letter = core.letters.get(number).unwrap();
            let of = letters.entry(letter.id.sequence).or_default();
            of.0 = core.backlog.is_dead(letter.id);
            of.1.insert(&letter.group);
        }
        let stored = self.stored.letters.iter().map(|(sequence, (is_done, letters))| {
            (*sequence, (*is_done, letters.keys().map(String::as_str).collect()))
        });
        assert_eq!(letters, stored.collect());
        let dead = (1..=self.published).filter(|n| core.backlog.is_dead(id(*n)));
        assert!(dead.into_iter().all(|n| letters.contains_key(&n)), "dead without a letter");
    }

    /// All members leave, letters are purged, and somebody acknowledges what is left: then nothing is.
    fn finish(mut self) {
        for member in 3..6 {
            self.step(&Step::Leave(member));
        }
        for group in 0..2 {
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
        assert!(self.stored.live.is_empty() && self.stored.letters.is_empty());
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_and_nothing_stays_whatever_members_say(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        world.finish();
    }
}
