//! Messages that are retained: the last one of each name is given to whoever subscribes with the last values.

use super::expiry::{START_MS, at_start, record_with};
use super::groups::{GROUP, ROOMY};
use super::native::grant;
use super::*;
use crate::limits::{RETAINED_LISTED_MAX, RETAINED_LOOKS_PER_TURN_MAX};
use crate::message::Format;
use crate::wire::control::{self, Control, Kind, Overflow, Subscribe};
use crate::wire::filter::Filter;
use crate::wire::properties::Properties;
use crate::wire::retained::{self, Request};

const SHORT: Duration = Duration::from_millis(500);
const RETAIN: Properties<'static> = Properties {
    reply_to: None,
    correlation: None,
    content_type: None,
    headers: Vec::new(),
    expires_ms: None,
    deliver_at_ms: None,
    retain: true,
    key: None,
    payload_type: None,
};

fn value(name: &str, sequence: u64, ack: bool) -> Bytes {
    [&v2_prefix(name)[..], &record_with(name, sequence, ack, &RETAIN)].concat().into()
}

fn with_last(number: u32, filter: Filter<'_>, credit: u64) -> Vec<u8> {
    let (kind, overflow) = (Kind::Observer, Overflow::Drop);
    control::request(&Control::Subscribe(Subscribe {
        number,
        kind,
        overflow,
        filter,
        credit,
        with_last: true,
    }))
}

fn clear(name: &str) -> Vec<u8> {
    retained::request(&Request::Clear(name))
}

impl Bench {
    /// What subscriptions got since: the number, whether it was retained, the name and the sequences.
    fn values(&mut self) -> Vec<(u32, bool, String, Vec<u64>)> {
        self.pass(Duration::ZERO);
        let mut out = Vec::new();
        for super::Delivery { frame, direct, .. } in self.deliveries().0 {
            let Ok(Frame::V2 { name, .. }) = Frame::parse(&frame) else { panic!("{frame:?}") };
            for Direct { delivery, .. } in direct {
                assert_eq!(delivery.again, delivery.retained);
                out.push((delivery.number, delivery.retained, name.to_owned(), sequences(&frame)));
            }
        }
        out
    }

    fn names(&mut self, filter: Filter<'_>, after: &str, limit: u16) -> (u64, Vec<String>, String) {
        self.core.prove(9, 5);
        let list = retained::request(&Request::List { filter, after, limit });
        self.core.request(9, list.into(), self.now);
        let replies = self.replies();
        let [(9, Reply::Answer(answer))] = &replies[..] else { panic!("{replies:?}") };
        let (listed, mut rest) = retained::read_listed(answer).unwrap();
        let mut names = Vec::new();
        while !rest.is_empty() {
            let (entry, behind) = retained::read_entry(rest).unwrap();
            assert_eq!(entry.published_ns, TIMESTAMP_NS);
            names.push(entry.name.to_owned());
            rest = behind;
        }
        (listed.total, names, listed.next.to_owned())
    }
}

fn got(number: u32, retained: bool, name: &str, sequence: u64) -> (u32, bool, String, Vec<u64>) {
    (number, retained, name.to_owned(), vec![sequence])
}

#[test]
fn who_subscribes_with_the_last_values_gets_those_that_fit_and_nobody_else_does() {
    let mut bench = Bench::new();
    for (sequence, name) in (1..).zip(["a.1", "a.2", "b", "a.1"]) {
        bench.request(4, value(name, sequence, false));
    }
    bench.effects();
    bench.ask(3, with_last(1, Filter::Name("a.1"), ROOMY));
    bench.ask(3, with_last(2, Filter::Pattern("a.*"), ROOMY));
    bench.ask(5, with_last(3, Filter::Prefix(""), ROOMY));
    bench.ask(5, with_last(4, Filter::Name("c"), ROOMY));
    bench.ask(6, super::native::subscribe(5, Kind::Broadcast, Filter::Name("b"), ROOMY));
    let mut values = bench.values();
    values.sort();
    let expected = [
        got(1, true, "a.1", 4),
        got(2, true, "a.1", 4),
        got(2, true, "a.2", 2),
        got(3, true, "a.1", 4),
        got(3, true, "a.2", 2),
        got(3, true, "b", 3),
    ];
    assert_eq!(values, expected);
    assert!(bench.pass(INTERVAL).values().is_empty(), "once");
    // What is published now is not marked.
    bench.request(4, value("a.2", 9, false));
    let mut values = bench.values();
    values.sort();
    assert_eq!(values, [got(2, false, "a.2", 9), got(3, false, "a.2", 9)]);
}

#[test]
fn each_value_comes_before_what_is_published_under_its_name_and_as_far_as_credit_goes() {
    let mut bench = Bench::new();
    for (sequence, name) in (1..).zip(["a", "b", "c"]) {
        bench.request(4, value(name, sequence, false));
    }
    bench.effects();
    bench.ask(3, with_last(1, Filter::Prefix(""), ROOMY));
    bench.request(4, frame("b", 4, false, &["x"]));
    bench.request(4, frame("b", 5, false, &["x"]));
    let values = bench.values();
    let expected = [
        got(1, true, "b", 2),
        got(1, false, "b", 4),
        got(1, false, "b", 5),
        got(1, true, "a", 1),
        got(1, true, "c", 3),
    ];
    assert_eq!(values, expected);
    // Credit for one frame.
    bench.ask(5, with_last(2, Filter::Prefix(""), 1));
    assert_eq!(bench.values(), [got(2, true, "a", 1)]);
    assert!(bench.pass(INTERVAL).values().is_empty());
    assert_eq!(bench.core.next_due(), None, "it would spin");
    bench.ask(5, grant(2, 100));
    assert_eq!(bench.values(), [got(2, true, "b", 2)]);
    bench
        .ask(5, control::request(&Control::Unsubscribe(2)))
        .ask(5, with_last(2, Filter::Name("c"), 1));
    assert_eq!(bench.values(), [got(2, true, "c", 3)]);
    bench.ask(6, with_last(3, Filter::Prefix(""), 0));
    bench.core.disconnected(6);
    assert!(bench.values().is_empty());
}

#[test]
fn a_value_is_stored_before_it_is_answered_and_given_whether_it_asks_for_acknowledgement_or_not() {
    for ack in [false, true] {
        let mut bench = Bench::durable();
        bench.request(4, value("a", 1, ack));
        assert_eq!(bench.effects(), (vec![], vec![]));
        let (group, ops) = bench.core.take_group().unwrap();
        let is_retained = |op: &Op| matches!(op, Op::Retain { message, replaces: false } if message.id == id(1) && message.name == "a");
        assert_eq!((ops.len(), ops.iter().any(is_retained)), (1 + usize::from(ack), true));
        // Who comes meanwhile gets it when it is published.
        bench.ask(3, with_last(1, Filter::Name("a"), ROOMY));
        assert!(bench.values().is_empty());
        bench.store(group);
        assert_eq!(bench.values(), [got(1, false, "a", 1)]);
        bench.ask(5, with_last(2, Filter::Name("a"), ROOMY));
        assert_eq!(bench.values(), [got(2, true, "a", 1)]);
        // A journal that fails refuses it.
        bench.request(4, value("a", 2, ack)).core.take_group();
        bench.core.journal_failed("disk gone", false);
        assert!(matches!(
            &bench.replies()[..],
            [(4, Reply::Refused(Refusal::JournalFailed(_), _))]
        ));
        bench.check_refused(value("a", 3, ack), ErrorCode::JournalFailed, Dialect::V2);
        bench.ask(6, with_last(3, Filter::Name("a"), ROOMY));
        assert!(bench.values().is_empty());
    }
}

#[test]
fn one_that_is_cleared_is_given_to_nobody_and_the_answer_waits_for_the_journal() {
    let mut bench = Bench::durable();
    bench.core.restore_retained(Message {
        id: id(1),
        name: "a".into(),
        format: Format::V2,
        body: value("a", 1, false).slice(v2_prefix("a").len()..),
    });
    bench.ask(3, with_last(1, Filter::Name("a"), ROOMY));
    assert_eq!(bench.values(), [got(1, true, "a", 1)]);
    bench.core.prove(9, 5);
    bench.core.request(9, clear("a").into(), bench.now);
    assert_eq!(bench.replies(), []);
    let (group, ops) = bench.core.take_group().unwrap();
    assert_eq!(ops, [Op::Unretain("a".into())]);
    bench.store(group);
    assert_eq!(bench.replies(), [(9, Reply::Ok)]);
    bench.ask(5, with_last(2, Filter::Name("a"), ROOMY));
    assert!(bench.values().is_empty());
    // One that is not there is cleared, too.
    bench.core.request(9, clear("a").into(), bench.now);
    assert_eq!((bench.replies(), bench.core.take_group()), (vec![(9, Reply::Ok)], None));
}

#[test]
fn a_list_has_a_bounded_page_and_says_where_to_go_on() {
    let mut bench = Bench::new();
    // Who did not say hello is refused.
    bench.check_refused(clear("0002.x"), ErrorCode::Malformed, Dialect::V2);
    let count = RETAINED_LISTED_MAX as u64 + 10;
    for sequence in 1..=count {
        bench.request(4, value(&format!("{:04}.x", sequence), sequence, false));
    }
    bench.effects();
    let (total, first, next) = bench.names(Filter::Prefix(""), "", 0);
    assert_eq!((total, first.len(), &*next), (count, RETAINED_LISTED_MAX, "0256.x"));
    let (_, second, next) = bench.names(Filter::Prefix(""), &next, 0);
    assert_eq!((second.len(), &*next), (10, ""));
    let (_, names, next) = bench.names(Filter::Pattern("*.x"), "0003.x", 2);
    assert_eq!((names, &*next), (vec!["0004.x".to_owned(), "0005.x".to_owned()], "0005.x"));
    assert_eq!(bench.names(Filter::Name("0002.x"), "", 9).1, ["0002.x"]);
}

impl Bench {
    fn many(&mut self, count: u64) {
        for sequence in 1..=count {
            self.request(4, value(&format!("{sequence:06}"), sequence, false));
        }
        self.effects();
    }
}

#[test]
fn a_turn_looks_at_a_bounded_number_and_all_come_in_the_end() {
    let count = RETAINED_LOOKS_PER_TURN_MAX as u64 + 10;
    let mut bench = Bench::new();
    bench.many(count);
    bench.ask(3, with_last(1, Filter::Pattern("*.x"), ROOMY));
    bench.ask(5, with_last(2, Filter::Prefix(""), 1 << 30));
    let mut turns = 0;
    while bench.core.serve(bench.now) {
        turns += 1;
    }
    assert!((2..6).contains(&turns), "{turns}");
    let frames = bench.published();
    assert_eq!(frames.len() as u64, count);
    assert!(frames.is_sorted());
}

#[test]
fn the_limit_refuses_and_names_itself_and_groups_and_delays_are_refused() {
    let mut bench = at_start(Bench::new());
    let large = vec![b'x'; 1 << 19];
    let mut sequence = 0;
    let refused = loop {
        sequence += 1;
        let mut payload = large.clone();
        RETAIN.append_to(&mut payload).unwrap();
        let name = format!("n{sequence}");
        let mut out = v2_prefix(&name);
        let record = Record {
            id: id(sequence),
            ordinal: sequence,
            timestamp_ns: TIMESTAMP_NS,
            checksum: checksum::native(&name, &payload, TIMESTAMP_NS),
            ack: false,
            has_properties: true,
            encoding: Encoding::Text,
            payload: &payload,
        };
        record.append_to(&mut out).unwrap();
        bench.request(4, out);
        match &bench.replies()[..] {
            [(4, Reply::Ok)] => assert!(sequence < 600),
            [(4, Reply::Refused(why, _))] => break why.clone(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused.code(), ErrorCode::PendingFull);
    assert!(refused.to_string().contains("of 268435456 bytes"), "{refused}");
    // It replaces what is there.
    bench.request(4, value("n1", sequence, false));
    assert_eq!(bench.replies(), [(4, Reply::Ok)]);
    let both = Properties { deliver_at_ms: Some(START_MS + 1), ..RETAIN };
    let both = [&v2_prefix("a")[..], &record_with("a", sequence + 1, true, &both)].concat();
    bench.check_refused(both, ErrorCode::Malformed, Dialect::V2);
    let group = control::request(&Control::Subscribe(Subscribe {
        number: 1,
        kind: Kind::Group(GROUP),
        overflow: Overflow::Drop,
        filter: Filter::Name("a"),
        credit: 1,
        with_last: true,
    }));
    bench.check_refused(group, ErrorCode::Malformed, Dialect::V2);
}

#[test]
fn one_that_expires_is_given_no_longer_and_forgotten() {
    let mut bench = at_start(Bench::durable());
    let until = |at| Properties { expires_ms: Some(START_MS + at), ..RETAIN };
    for (sequence, at) in [(1, 500), (2, 2000), (3, 0)] {
        let name = ["a", "b", "c"][sequence as usize - 1];
        let record = record_with(name, sequence, false, &until(at));
        bench.request(4, [v2_prefix(name), record].concat());
    }
    assert_eq!(bench.core.retained.len(), 2);
    let (group, _) = bench.core.take_group().unwrap();
    bench.store(group);
    // Also before a turn comes to forget it.
    let start_ns = bench.core.unix_ns;
    bench.core.set_clock(bench.now, start_ns + SHORT.as_nanos() as u64);
    bench.ask(7, with_last(7, Filter::Prefix(""), ROOMY));
    bench.core.serve(bench.now);
    let (frames, _) = bench.deliveries();
    assert_eq!(frames.iter().map(|it| sequences(&it.frame)).collect::<Vec<_>>(), [[2]]);
    bench.core.disconnected(7);
    bench.core.set_clock(bench.now, start_ns);
    assert_eq!(bench.core.next_due(), Some(SHORT));
    bench.pass_on_both(SHORT);
    bench.ask(3, with_last(1, Filter::Prefix(""), ROOMY));
    bench.effects();
    assert_eq!(bench.core.retained.len(), 1);
    assert_eq!(bench.core.take_group().unwrap().1, [Op::Unretain("a".into())]);
}

/// A value that is not copied because it is small.
fn large_value(name: &str, sequence: u64) -> Bytes {
    let mut payload = vec![b'x'; 100_000];
    RETAIN.append_to(&mut payload).unwrap();
    let mut out = v2_prefix(name);
    let record = Record {
        id: id(sequence),
        ordinal: sequence,
        timestamp_ns: TIMESTAMP_NS,
        checksum: checksum::native(name, &payload, TIMESTAMP_NS),
        ack: false,
        has_properties: true,
        encoding: Encoding::Text,
        payload: &payload,
    };
    record.append_to(&mut out).unwrap();
    out.into()
}

#[test]
fn however_many_get_a_value_it_is_held_once() {
    let mut bench = Bench::new();
    let large = large_value("a", 1);
    bench.request(4, large.clone()).effects();
    for number in 1..=3 {
        bench.ask(3, with_last(number, Filter::Prefix(""), 1));
    }
    bench.request(4, frame("a", 2, false, &["x"]));
    let (deliveries, _) = bench.deliveries();
    // One frame for all of them, and nobody has credit for what is published.
    assert_eq!(deliveries.len(), 1);
    assert_eq!((deliveries[0].direct.len(), deliveries[0].to.len()), (3, 0));
    assert_eq!(deliveries[0].frame.as_ptr(), large.as_ptr(), "copied");
    // Also in their turn.
    for number in 4..=5 {
        bench.ask(3, with_last(number, Filter::Prefix(""), 1));
    }
    bench.pass(Duration::ZERO);
    let frames = bench.published();
    assert_eq!(frames.len(), 2);
    assert!(frames.iter().all(|frame| frame.as_ptr() == large.as_ptr()), "copied");
}

#[test]
fn a_value_for_which_there_is_no_credit_comes_when_there_is_some() {
    let mut bench = Bench::new();
    bench.request(4, value("a", 1, false)).effects();
    bench.ask(3, with_last(1, Filter::Name("a"), 0));
    bench.request(4, frame("a", 2, false, &["x"]));
    assert!(bench.values().is_empty());
    bench.ask(3, grant(1, ROOMY));
    assert_eq!(bench.values(), [got(1, true, "a", 1)]);
    assert!(bench.pass(INTERVAL).values().is_empty(), "once");
    // Who gets without credit what is published gets the value before it, too.
    let overflow = Overflow::Hold;
    let filter = Filter::Name("a");
    let (kind, with_last) = (Kind::Observer, true);
    let wanted = Subscribe { number: 2, kind, overflow, filter, credit: 0, with_last };
    bench.ask(5, control::request(&Control::Subscribe(wanted)));
    bench.request(4, frame("a", 3, false, &["x"]));
    let (deliveries, _) = bench.deliveries();
    let direct: Vec<_> = deliveries.iter().flat_map(|it| &it.direct).collect();
    let of_two: Vec<_> = direct.iter().filter(|direct| direct.delivery.number == 2).collect();
    assert!(of_two.iter().all(|direct| direct.is_overdrawn), "publishers wait");
    let marks: Vec<_> =
        of_two.iter().map(|direct| (direct.delivery.again, direct.delivery.retained)).collect();
    assert_eq!(marks, [(true, true), (false, false)]);
    bench.ask(5, grant(2, ROOMY));
    assert!(bench.values().is_empty(), "once");
}

#[test]
fn who_may_be_given_values_is_due_and_who_is_gone_is_forgotten() {
    let mut bench = Bench::new();
    bench.request(4, value("a", 1, false)).effects();
    bench.ask(3, with_last(1, Filter::Prefix(""), ROOMY));
    assert_eq!(bench.core.next_due(), Some(Duration::ZERO));
    bench.ask(5, with_last(2, Filter::Prefix(""), 0));
    bench.core.disconnected(3);
    bench.core.disconnected(5);
    assert!(bench.values().is_empty());
    assert!(bench.core.givings.is_empty());
    assert_eq!(bench.core.next_due(), None);
    // Whoever comes in its place asked for nothing.
    bench.ask(6, super::native::subscribe(3, Kind::Observer, Filter::Prefix(""), ROOMY));
    assert!(bench.values().is_empty());
}
