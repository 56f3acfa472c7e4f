//! The core in any order of events, against a naive broker that does the same slowly.
//!
//! After each event both must have published the same messages, given the same answers, handed the
//! same to the journal, and keep the same messages; and their counters must agree.

mod harness;
mod reference;
mod resends;

use proptest::prelude::*;

use super::catalog::NAMES;
use super::*;
use harness::Run;

/// What subscribers of both formats ask for: one name, or all that begins so.
const PREFIXES: [&[u8]; 8] = [b"a|", b"\x01a|", b"ab|", b"\x01ab|", b"b|", b"a", b"\x01a", b"\x01"];

/// Subscribers, each with one connection at a time.
const SUBSCRIBERS: usize = 3;

/// Ticks of the wheel, so that what is due at a time is due then and not a moment later.
const TICK: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
enum Step {
    /// A publisher sends a frame that begins so many messages before its newest: what it had sent
    /// before comes again, perhaps cut anew, with new messages behind it.
    Native {
        publisher: usize,
        back: usize,
        name: usize,
        acks: Vec<bool>,
        large: bool,
    },
    /// A publisher's frame is lost, and it goes on.
    Skipped {
        publisher: usize,
        name: usize,
        ack: bool,
    },
    /// A v1 publisher sends a message, or one again.
    Original {
        back: usize,
        name: usize,
        ack: bool,
    },
    /// A subscriber acknowledges some of the latest messages.
    Ack {
        back: Vec<usize>,
        v1: bool,
    },
    /// A subscriber's connection asks for a prefix, or takes it back.
    Subscribe(usize, usize),
    Cancel(usize, usize),
    /// A subscriber's connection ends, and another one takes its place.
    Leave(usize),
    /// It does not keep up, or does so again.
    Behind(usize, bool),
    /// So many ticks pass.
    Pass(u32),
    /// The journal is given what there is for it.
    Submit,
    /// It has stored so many groups more.
    Store(usize),
    FailJournal,
    ForgetPublishers,
    Drain,
    /// The server is killed; this much of what was on its way to the disk has reached it.
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let acks = || prop::collection::vec(any::<bool>(), 1..5);
    let back = || prop_oneof![2 => Just(0), 1 => 0..8_usize];
    prop_oneof![
        16 => (0..2_usize, back(), 0..3_usize, acks(), prop::bool::weighted(0.1)).prop_map(
            |(publisher, back, name, acks, large)| Step::Native { publisher, back, name, acks, large }
        ),
        2 => (0..2_usize, 0..3_usize, any::<bool>())
            .prop_map(|(publisher, name, ack)| Step::Skipped { publisher, name, ack }),
        6 => (back(), 0..3_usize, any::<bool>())
            .prop_map(|(back, name, ack)| Step::Original { back, name, ack }),
        12 => (prop::collection::vec(0..12_usize, 1..6), any::<bool>())
            .prop_map(|(back, v1)| Step::Ack { back, v1 }),
        6 => (0..SUBSCRIBERS, 0..PREFIXES.len()).prop_map(|(who, at)| Step::Subscribe(who, at)),
        5 => (0..SUBSCRIBERS, 0..PREFIXES.len()).prop_map(|(who, at)| Step::Cancel(who, at)),
        1 => (0..SUBSCRIBERS).prop_map(Step::Leave),
        2 => (0..SUBSCRIBERS, any::<bool>()).prop_map(|(who, is)| Step::Behind(who, is)),
        6 => prop_oneof![0..3_u32, Just(50), Just(100), Just(101)].prop_map(Step::Pass),
        1 => prop_oneof![Just(6000), Just(6100)].prop_map(Step::Pass),
        6 => Just(Step::Submit),
        8 => (1..3_usize).prop_map(Step::Store),
        1 => Just(Step::ForgetPublishers),
        1 => prop_oneof![4 => (0..6_usize).prop_map(Step::Restart), 1 => Just(Step::Drain)],
        1 => prop_oneof![Just(Step::FailJournal), (0..6_usize).prop_map(Step::Restart)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn the_core_does_what_a_naive_broker_does(
        durable: bool,
        messages_max in prop_oneof![2 => Just(1000_usize), 1 => 1..8_usize],
        bytes_max in prop_oneof![2 => Just(1 << 20), 1 => 400..9000_usize],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut run = Run::new(durable, Limits { messages: messages_max, bytes: bytes_max });
        for step in &steps {
            run.step(step);
        }
        run.finish();
    }
}

/// More by hand: `MODEL_CASES=100000`.
fn cases() -> u32 {
    std::env::var("MODEL_CASES").map_or(400, |cases| cases.parse().unwrap())
}
