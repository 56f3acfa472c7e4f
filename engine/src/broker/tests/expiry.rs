//! Messages whose time is over: nobody gets them, and they are kept no longer.

use super::dead_letters::{NO, join_for};
use super::groups::{ORDERS, ROOMY, WAIT, join, verdict};
use super::native::{grant, subscribe};
use super::*;
use crate::limits::{CLOCK_LOOKED_AT, EXPIRED_PER_TURN_MAX};
use crate::message::Format;
use crate::wire::control::{self, Control, Kind, Verdict};
use crate::wire::letter::{self, LetterSelection, Request};
use crate::wire::properties::Properties;

/// When the tests begin, in milliseconds since the Unix epoch.
pub(super) const START_MS: u64 = 1_763_866_001_000;
const SHORT: Duration = Duration::from_millis(500);

/// Properties of a message that expires so long after [`START_MS`].
fn until(time: Duration) -> Properties<'static> {
    Properties { expires_ms: Some(START_MS + time.as_millis() as u64), ..Properties::default() }
}

/// A record with properties, if there are some.
pub(super) fn record_with(
    name: &str,
    sequence: u64,
    ack: bool,
    properties: &Properties<'_>,
) -> Vec<u8> {
    let mut payload = b"x".to_vec();
    let has_properties = !properties.is_empty();
    if has_properties {
        properties.append_to(&mut payload).unwrap();
    }
    let mut out = Vec::new();
    let record = Record {
        id: id(sequence),
        ordinal: if properties.is_counted() { sequence } else { 0 },
        timestamp_ns: TIMESTAMP_NS,
        checksum: checksum::native(name, &payload, TIMESTAMP_NS),
        ack,
        has_properties,
        encoding: Encoding::Text,
        payload: &payload,
    };
    record.append_to(&mut out).unwrap();
    out
}

/// A frame of one message for `orders`.
fn order(sequence: u64, ack: bool, time: Duration) -> Bytes {
    [&v2_prefix("orders")[..], &record_with("orders", sequence, ack, &until(time))].concat().into()
}

pub(super) fn at_start(mut bench: Bench) -> Bench {
    bench.core.set_clock(bench.now, START_MS * 1_000_000);
    bench
}

impl Bench {
    /// Lets time pass on both clocks.
    pub(super) fn pass_on_both(&mut self, time: Duration) -> &mut Self {
        let unix_ns = self.core.unix_ns + time.as_nanos() as u64;
        self.core.set_clock(self.now + time, unix_ns);
        self.pass(time)
    }

    /// What was published since, frame by frame.
    pub(super) fn got(&mut self) -> Vec<Vec<u64>> {
        self.published().iter().map(|frame| sequences(frame)).collect()
    }

    #[track_caller]
    fn check_expired(&mut self, expired: u64) {
        let counters = &self.core.counters;
        assert_eq!((counters.expired.get(), counters.settled.get()), (expired, 0));
        assert!(self.core.backlog.is_empty() && self.core.groups.has_no_jobs());
    }
}

#[test]
fn a_message_is_sent_again_until_its_time_is_over_and_then_no_more() {
    let mut bench = at_start(Bench::durable());
    bench.subscribe(b"\x01orders|").request(4, order(1, true, INTERVAL * 2));
    bench.store(1);
    assert_eq!(bench.got(), [[1]]);
    bench.pass_on_both(INTERVAL + SHORT);
    assert_eq!(bench.got(), [[1]]);
    bench.pass_on_both(INTERVAL - SHORT - Duration::from_millis(1));
    bench.core.take_group();
    assert!(bench.core.backlog.view().contains(&id(1)));
    bench.pass_on_both(Duration::from_millis(1));
    bench.check_expired(1);
    assert_eq!(bench.core.take_group().unwrap().1, [Op::Settle(id(1))]);
    assert!(bench.pass_on_both(INTERVAL * 3).got().is_empty());
    assert_eq!(bench.core.next_due(), None);
    // Who sends it again is answered as before.
    bench.request(4, order(1, true, INTERVAL * 2));
    assert_eq!(bench.effects(), (vec![], vec![(4, Reply::Ok)]));
    bench.check_expired(1);
}

#[test]
fn who_comes_late_gets_what_still_counts() {
    let comers: [fn(&mut Bench); 3] = [
        |bench| _ = bench.subscribe(b"\x01orders|"),
        |bench| _ = bench.ask(3, subscribe(1, Kind::Broadcast, ORDERS, ROOMY)),
        |bench| _ = bench.ask(3, join(1, ROOMY)),
    ];
    for come in comers {
        let mut bench = at_start(Bench::new());
        bench.request(4, order(1, true, SHORT)).request(4, order(2, true, SHORT * 3)).effects();
        // Also when the sweep did not come to it yet: it has its time later in the turn.
        let now_ns = bench.core.unix_ns + SHORT.as_nanos() as u64;
        bench.core.set_clock(bench.now, now_ns);
        come(&mut bench);
        bench.core.turn(bench.now);
        bench.pass(Duration::ZERO).pass(Duration::ZERO);
        assert_eq!(bench.got(), [[2]]);
        assert_eq!(bench.core.counters.expired.get(), 1);
    }
}

#[test]
fn one_that_expired_before_it_came_is_taken_and_given_to_nobody() {
    let mut bench = at_start(Bench::new());
    bench.subscribe(b"orders|").ask(3, join(1, ROOMY));
    bench.ask(5, subscribe(1, Kind::Observer, ORDERS, ROOMY));
    for (sequence, ack) in [(1, false), (2, true)] {
        bench.request(4, order(sequence, ack, Duration::ZERO));
        assert_eq!(bench.effects(), (vec![], vec![(4, Reply::Ok)]));
        bench.check_expired(sequence);
    }
    // Those beside it are given to all.
    let records = [
        record_with("orders", 3, false, &until(Duration::ZERO)),
        record_with("orders", 4, false, &Properties::default()),
        record_with("orders", 5, true, &until(Duration::ZERO)),
        record_with("orders", 6, true, &until(SHORT)),
    ];
    bench.request(4, [v2_prefix("orders"), records.concat()].concat());
    bench.pass(Duration::ZERO);
    let published = bench.published();
    let (v1, native): (Vec<_>, Vec<_>) = published.iter().partition(|frame| frame[0] == b'o');
    assert_eq!(v1.len(), 2);
    let mut native: Vec<_> = native.iter().map(|frame| sequences(frame)).collect();
    native.sort();
    assert_eq!(native, [vec![4], vec![4, 6], vec![6]]);
    assert_eq!(bench.core.counters.expired.get(), 4);
    assert_eq!(bench.core.backlog.view().len(), 1);
}

#[test]
fn what_expires_while_it_waits_for_the_journal_is_answered_and_given_to_nobody() {
    let mut bench = at_start(Bench::durable());
    bench.subscribe(b"\x01orders|").ask(3, join(1, ROOMY));
    bench.request(4, order(1, true, SHORT)).request(4, order(2, false, SHORT));
    bench.pass_on_both(SHORT);
    let (group, ops) = bench.core.take_group().unwrap();
    assert!(matches!(&ops[..], [Op::Append(_), Op::Settle(_)]), "{ops:?}");
    bench.store(group);
    assert_eq!(
        bench.pass(Duration::ZERO).effects(),
        (vec![], vec![(4, Reply::Ok), (4, Reply::Ok)])
    );
    bench.check_expired(2);
}

#[test]
fn the_jobs_of_all_groups_are_over_wherever_they_are() {
    let mut bench = at_start(Bench::new());
    let other = control::Group { name: "h", ..super::groups::GROUP };
    // One member has room for one message, and a second group has nobody with credit.
    let narrow = control::Group { in_flight_max: 1, ..super::groups::GROUP };
    bench.ask(3, subscribe(1, Kind::Group(narrow), ORDERS, ROOMY));
    bench.ask(5, subscribe(1, Kind::Group(other), ORDERS, 0));
    bench.request(4, order(1, true, SHORT)).request(4, order(2, true, SHORT));
    bench.orders(3, true, 1);
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    bench.pass_on_both(SHORT);
    // The place of the one under way is free again.
    assert_eq!(bench.given(), [(3, 1, 1, vec![3])]);
    assert_eq!(bench.core.counters.expired.get(), 2);
    assert_eq!(bench.core.backlog.view().len(), 1);
    // It is too late for an acknowledgement.
    bench.core.request(3, verdict(1, Verdict::Ack, &[1]).into(), bench.now);
    let replies = bench.replies();
    let [(3, Reply::Refused(why, _))] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(why.code(), ErrorCode::Subscription);
    bench.ask(5, grant(1, ROOMY)).ask(3, verdict(1, Verdict::Ack, &[3]));
    assert_eq!(bench.given(), [(5, 1, 1, vec![3])]);
    bench.ask(5, verdict(1, Verdict::Ack, &[3])).pass_on_both(WAIT * 2);
    assert!(bench.core.backlog.is_empty() && bench.core.groups.has_no_jobs());
}

#[test]
fn what_waits_for_credit_expires_and_leaves_no_memory_behind() {
    let mut bench = at_start(Bench::with(false, 10_000));
    bench.ask(3, join(1, 0)).ask(5, subscribe(1, Kind::Broadcast, ORDERS, 0));
    // One that never expires stands first.
    bench.orders(1, true, 1);
    for n in 0..3000 {
        bench.request(4, order(2 + n, true, Duration::from_millis(1 + n)));
    }
    bench.effects();
    assert_eq!(bench.core.groups.ready(0), 3001);
    bench.pass_on_both(Duration::from_secs(3));
    assert_eq!(bench.core.backlog.view().len(), 1);
    let ready = bench.core.groups.ready(0);
    assert!(ready <= 2, "{ready}");
    bench.ask(3, grant(1, ROOMY)).ask(5, grant(1, ROOMY));
    assert_eq!(bench.given(), [(5, 1, 0, vec![1]), (3, 1, 1, vec![1])]);
    assert_eq!(bench.core.counters.expired.get(), 3000);
}

#[test]
fn after_a_restart_it_counts_as_long_as_before() {
    let mut bench = at_start(Bench::durable());
    let restored = |sequence, time| Message {
        id: id(sequence),
        name: "orders".into(),
        format: Format::V2,
        body: order(sequence, true, time).slice(v2_prefix("orders").len()..),
    };
    bench.core.restore(restored(1, Duration::ZERO));
    bench.core.restore(restored(2, SHORT));
    bench.core.restore(restored(3, SHORT * 3));
    bench.subscribe(b"\x01orders|");
    bench.pass(Duration::ZERO);
    assert_eq!(bench.got(), [[2, 3]]);
    assert_eq!(bench.core.take_group().unwrap().1, [Op::Settle(id(1))]);
    bench.pass_on_both(INTERVAL + SHORT);
    assert!(bench.got().is_empty());
    bench.check_expired(3);
}

#[test]
fn a_dead_letter_is_kept_and_does_not_expire_when_it_is_replayed() {
    let mut bench = at_start(Bench::durable());
    bench.ask(3, join_for(1, 3)).request(4, order(1, true, SHORT));
    bench.store(1);
    bench.given();
    bench.core.request(3, verdict(1, NO, &[1]).into(), bench.now);
    bench.pass_on_both(SHORT * 2);
    assert_eq!((bench.letters().len(), bench.core.counters.expired.get()), (1, 0));
    bench.core.take_group();
    bench.core.prove(3, 5);
    let which = LetterSelection::Range { from: 0, to: 0, name: "" };
    bench.core.request(
        3,
        letter::request(&Request::Replay { group: "g", which }).into(),
        bench.now,
    );
    assert_eq!(bench.given(), [(3, 1, 1, vec![1])]);
    assert_eq!((bench.letters(), bench.core.counters.expired.get()), (vec![], 0));
    let ops = bench.core.take_group().unwrap().1;
    assert!(matches!(&ops[..], [Op::EndLetter { .. }]), "{ops:?}");
}

#[test]
fn a_job_of_one_group_and_a_dead_letter_of_another() {
    let mut bench = at_start(Bench::new());
    let other = control::Group { name: "h", ..super::groups::GROUP };
    bench.ask(3, join_for(1, 3)).ask(5, subscribe(1, Kind::Group(other), ORDERS, 0));
    bench.request(4, order(1, true, SHORT)).given();
    bench.core.request(3, verdict(1, NO, &[1]).into(), bench.now);
    bench.pass_on_both(SHORT);
    assert_eq!((bench.letters().len(), bench.core.counters.expired.get()), (1, 1));
    assert!(bench.core.backlog.is_dead(id(1)) && bench.core.groups.has_no_jobs());
    bench.ask(3, control::request(&Control::Unsubscribe(1))).ask(5, grant(1, ROOMY));
    assert!(bench.given().is_empty());
}

#[test]
fn a_turn_gives_up_a_bounded_number_and_nobody_gets_the_rest() {
    // Each is looked at with its group.
    let per_turn = EXPIRED_PER_TURN_MAX / 2;
    let count = per_turn + 10;
    let mut bench = at_start(Bench::limited(false, Limits { messages: 2 * count, bytes: 1 << 30 }));
    bench.ask(5, subscribe(1, Kind::Broadcast, ORDERS, 0)).ask(3, join(1, 0));
    let message = |sequence| record_with("orders", sequence, true, &until(SHORT));
    for n in (1..=count as u64).step_by(100) {
        let records: Vec<u8> = (n..(n + 100).min(count as u64 + 1)).flat_map(message).collect();
        bench.request(4, [v2_prefix("orders"), records].concat());
    }
    bench.effects();
    let now_ns = bench.core.unix_ns + SHORT.as_nanos() as u64;
    bench.core.set_clock(bench.now, now_ns);
    assert!(bench.core.turn(bench.now));
    assert_eq!(bench.core.counters.expired.get(), per_turn as u64);
    bench.ask(3, grant(1, ROOMY)).ask(5, grant(1, ROOMY)).subscribe(b"\x01orders|");
    bench.core.serve(bench.now);
    bench.core.resend_due(bench.now);
    assert!(bench.got().is_empty());
    bench.pass(Duration::ZERO).check_expired(count as u64);
}

#[test]
fn the_clock_is_looked_at_while_something_may_expire_and_may_be_set() {
    let mut bench = at_start(Bench::new());
    assert_eq!(bench.core.next_due(), None);
    bench.request(4, order(1, true, SHORT));
    assert_eq!(bench.core.next_due(), Some(SHORT));
    bench.request(4, order(2, true, SHORT * 10)).request(2, ack::frame(&[id(1)]));
    assert_eq!(bench.core.next_due(), Some(CLOCK_LOOKED_AT));
    // Back, which keeps it longer, and ahead.
    bench.core.set_clock(bench.now, START_MS * 500_000);
    bench.pass(SHORT * 20);
    assert_eq!(bench.core.backlog.view().len(), 1);
    bench.core.set_clock(bench.now, START_MS * 2_000_000);
    bench.pass(Duration::ZERO);
    assert_eq!((bench.core.backlog.view().len(), bench.core.counters.expired.get()), (0, 1));
}
