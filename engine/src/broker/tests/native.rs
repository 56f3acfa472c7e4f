//! Subscriptions on connections for requests: who gets what, and what becomes of it without credit.

use super::*;
use crate::limits::{
    CREDIT_BYTES_MAX, OVERDRAFT_BYTES_MAX, OWED_MESSAGES_MAX_EACH, PATTERNS_MAX_ALL,
    WIDE_SUBSCRIPTIONS_MAX_EACH,
};
use crate::wire::control::{self, Control, Kind, Overflow, Subscribe};
use crate::wire::filter::Filter;

const ROOMY: u64 = 1 << 20;

pub(super) fn subscribe(number: u32, kind: Kind<'_>, filter: Filter<'_>, credit: u64) -> Vec<u8> {
    let overflow = Overflow::Drop;
    control::request(&Control::Subscribe(Subscribe {
        number,
        kind,
        overflow,
        filter,
        credit,
        with_last: false,
    }))
}

pub(super) fn grant(number: u32, bytes: u64) -> Vec<u8> {
    control::request(&Control::Credit { number, bytes })
}

impl Bench {
    /// A control request that is taken.
    #[track_caller]
    pub(super) fn ask(&mut self, from: u32, body: Vec<u8>) -> &mut Self {
        self.core.request(from, body.into(), self.now);
        assert!(self.core.out.queue.pop_back().is_some_and(|effect| {
            matches!(effect, Effect::Reply(to, Reply::Ok | Reply::Answer(_)) if to == from)
        }));
        self
    }

    /// Whom native subscriptions' frames were for: the connection, the number, whether again, and the sequences.
    #[track_caller]
    fn direct(&mut self) -> Vec<(ConnectionId, u32, bool, Vec<u64>)> {
        let mut out = Vec::new();
        for Delivery { frame, direct, .. } in self.deliveries().0 {
            for Direct { connection, delivery, .. } in direct {
                out.push((connection, delivery.number, delivery.again, sequences(&frame)));
            }
        }
        out
    }
}

#[test]
fn each_filter_gets_its_names_as_they_arrived_and_an_end_is_an_end() {
    let filters = [Filter::Name("a.b"), Filter::Prefix("a."), Filter::Pattern("*.b")];
    for (filter, names) in
        filters.into_iter().zip([&["a.b"][..], &["a.b", "a.c", "a.b.c"], &["a.b", "x.b"]])
    {
        for kind in [Kind::Observer, Kind::Broadcast] {
            let mut bench = Bench::new();
            bench.ask(3, subscribe(7, kind, filter, ROOMY));
            for name in ["a.b", "a.c", "a.b.c", "x.b", "b"] {
                let sequence = bench.core.counters.requests.get();
                let sent = frame(name, sequence, false, &["x"]);
                bench.request(4, sent.clone());
                let (deliveries, _) = bench.deliveries();
                let got: Vec<_> = deliveries.iter().flat_map(|it| &it.direct).collect();
                let delivery =
                    control::Delivery { number: 7, again: false, retained: false, attempt: 0 };
                let looks_on = kind == Kind::Observer;
                let expected = Direct { connection: 3, delivery, is_overdrawn: false, looks_on };
                let is_wanted = names.contains(&name);
                assert_eq!(
                    got,
                    if is_wanted { vec![&expected] } else { vec![] },
                    "{filter:?} {name}"
                );
                if is_wanted {
                    assert_eq!(deliveries[0].frame.as_ptr(), sent.as_ptr(), "copied");
                }
            }
            bench.ask(3, control::request(&Control::Unsubscribe(7)));
            bench.request(4, frame("a.b", 100, false, &["x"]));
            assert!(bench.direct().is_empty());
        }
    }
}

#[test]
fn a_frame_is_shared_by_both_ports_and_the_answer_counts_both() {
    let mut bench = Bench::new();
    bench.subscribe_as(1, b"\x01greet|");
    bench.ask(3, subscribe(1, Kind::Broadcast, Filter::Name("greet"), ROOMY));
    bench.ask(3, subscribe(2, Kind::Broadcast, Filter::Prefix(""), ROOMY));
    bench.request(4, frame("greet", 1, false, &["x"]));
    let (deliveries, _) = bench.deliveries();
    assert_eq!(deliveries.len(), 1);
    assert_eq!((deliveries[0].to.len(), deliveries[0].direct.len()), (1, 2));
}

#[test]
fn an_original_message_arrives_in_the_native_format() {
    let mut bench = Bench::new();
    bench.ask(3, subscribe(1, Kind::Broadcast, Filter::Name("greet"), ROOMY));
    let (sent, sum) = frame_v1("greet", "hello", true);
    bench.request(4, sent);
    let (deliveries, _) = bench.deliveries();
    assert_eq!(deliveries.len(), 1);
    let id = MessageId::from_v1_checksum(sum);
    assert_eq!(sequences(&deliveries[0].frame), [id.sequence]);
    bench.request(3, ack::frame(&[id]));
    assert!(bench.core.backlog.is_empty());
}

#[test]
fn an_observer_is_asked_for_no_acknowledgement_and_gets_nothing_again() {
    let mut bench = Bench::new();
    bench.ask(3, subscribe(1, Kind::Observer, Filter::Prefix(""), ROOMY));
    bench.request(4, frame("greet", 1, true, &["x"]));
    assert_eq!(bench.direct(), [(3, 1, false, vec![1])]);
    assert!(bench.pass(INTERVAL * 3).direct().is_empty());
    assert_eq!(bench.core.next_due(), None, "it waits for one who takes part");
    bench.ask(5, subscribe(1, Kind::Broadcast, Filter::Pattern("*"), ROOMY));
    assert_eq!(bench.pass(Duration::ZERO).direct(), [(5, 1, true, vec![1])]);
}

#[test]
fn who_takes_part_gets_a_message_again_until_it_is_acknowledged() {
    let mut bench = Bench::new();
    bench.ask(3, subscribe(1, Kind::Broadcast, Filter::Name("greet"), ROOMY));
    bench.request(4, frame("greet", 1, true, &["x"]));
    assert_eq!(bench.direct(), [(3, 1, false, vec![1])]);
    for _ in 0..3 {
        let again = bench.pass(INTERVAL + Duration::from_millis(200)).direct();
        assert_eq!(again, [(3, 1, true, vec![1])]);
    }
    bench.request(3, ack::frame(&[id(1)]));
    bench.effects();
    assert!(bench.pass(INTERVAL * 3).direct().is_empty());
}

#[test]
fn what_only_one_was_sent_goes_to_others_when_it_ends_or_is_gone() {
    for is_gone in [false, true] {
        let mut bench = Bench::new();
        bench.ask(3, subscribe(1, Kind::Broadcast, Filter::Name("greet"), ROOMY));
        bench.request(4, frame("greet", 1, true, &["x"]));
        bench.effects();
        bench.now += Duration::from_secs(1);
        bench.ask(5, subscribe(1, Kind::Broadcast, Filter::Name("greet"), ROOMY));
        if is_gone {
            bench.core.disconnected(3);
        } else {
            bench.ask(3, control::request(&Control::Unsubscribe(1)));
        }
        assert_eq!(bench.pass(Duration::from_millis(300)).direct(), [(5, 1, true, vec![1])]);
    }
}

#[test]
fn without_credit_what_must_be_acknowledged_waits_in_its_order_and_the_rest_is_lost() {
    let mut bench = Bench::new();
    let one = frame("greet", 1, true, &["x"]).len() as u64;
    bench.ask(3, subscribe(1, Kind::Broadcast, Filter::Name("greet"), one));
    bench.ask(5, subscribe(1, Kind::Observer, Filter::Name("greet"), one));
    for sequence in 1..=4 {
        bench.request(4, frame("greet", sequence, sequence != 3, &["x"]));
    }
    assert_eq!(bench.direct(), [(3, 1, false, vec![1]), (5, 1, false, vec![1])]);
    assert_eq!(bench.core.counters.messages_dropped.get(), 1 + 3);
    assert_eq!([3, 5].map(|id| bench.core.subscribers.lost_of(id)), [1, 3]);
    assert!(bench.pass(INTERVAL - Duration::from_secs(1)).direct().is_empty());
    bench.ask(3, grant(1, one));
    // Credit for one; a delivery may take more than there is.
    assert_eq!(bench.pass(Duration::ZERO).direct(), [(3, 1, false, vec![2, 4])]);
    bench.ask(3, grant(1, ROOMY));
    assert!(bench.pass(Duration::ZERO).direct().is_empty());
    // The first one's interval is over. That of the others began with their delivery.
    assert_eq!(bench.pass(Duration::from_secs(2)).direct(), [(3, 1, true, vec![1])]);
    assert_eq!(bench.pass(Duration::from_millis(8500)).direct(), [(3, 1, true, vec![2, 4])]);
}

#[test]
fn what_waited_for_credit_says_truly_whether_it_was_sent_before() {
    let greet = Filter::Name("greet");
    let mut bench = Bench::new();
    for from in [3, 5] {
        bench.ask(from, subscribe(1, Kind::Broadcast, greet, 0));
    }
    bench.request(4, frame("greet", 1, true, &["x"])).effects();
    // One that gets the second one at once, and the first one after an interval.
    bench.ask(6, subscribe(1, Kind::Broadcast, greet, ROOMY));
    bench.request(4, frame("greet", 2, true, &["x"]));
    assert_eq!(bench.direct(), [(6, 1, false, vec![2])]);
    bench.ask(3, grant(1, ROOMY));
    assert_eq!(
        bench.pass(Duration::ZERO).direct(),
        [(3, 1, false, vec![1]), (3, 1, true, vec![2])]
    );
    bench.ask(5, grant(1, ROOMY));
    assert_eq!(bench.pass(Duration::ZERO).direct(), [(5, 1, true, vec![1, 2])]);

    let others: [fn(&mut Bench); 4] = [
        |bench| _ = bench.subscribe_as(7, b"\x01greet|"),
        |bench| _ = bench.subscribe_as(7, b"greet|"),
        |bench| _ = bench.ask(7, subscribe(1, Kind::Observer, Filter::Prefix(""), ROOMY)),
        |bench| _ = bench.ask(7, subscribe(1, Kind::Broadcast, Filter::Pattern("*"), ROOMY)),
    ];
    for (other, comes_later) in others.into_iter().flat_map(|it| [(it, false), (it, true)]) {
        let mut bench = Bench::new();
        bench.ask(3, subscribe(1, Kind::Broadcast, greet, 0));
        if !comes_later {
            other(&mut bench);
        }
        bench.request(4, frame("greet", 1, true, &["x"]));
        if comes_later {
            other(&mut bench);
            bench.pass(INTERVAL + Duration::from_millis(200));
        }
        let was_sent = !bench.published().is_empty();
        bench.ask(3, grant(1, ROOMY));
        assert_eq!(bench.pass(Duration::ZERO).direct(), [(3, 1, was_sent, vec![1])]);
    }
}

#[test]
fn a_pattern_wakes_no_message_that_it_does_not_fit() {
    for kind in [Kind::Broadcast, Kind::Group(super::groups::GROUP)] {
        let mut bench = Bench::new();
        for (name, sequence) in [("a.1.b", 1), ("a.1.c", 2), ("a.2.b", 3)] {
            bench.request(4, frame(name, sequence, true, &["x"]));
        }
        bench.effects();
        bench.ask(3, subscribe(1, kind, Filter::Pattern("a.*.c"), 0));
        while bench.core.turn(bench.now) {}
        let mut due = 0;
        while bench.core.backlog.next_waiting(u64::MAX, |_, _| false).is_some() {
            due += 1;
        }
        assert_eq!(due, 1);
    }
}

#[test]
fn what_waits_for_credit_is_not_overtaken_by_what_must_be_acknowledged_too() {
    let mut bench = Bench::new();
    bench.ask(3, subscribe(1, Kind::Broadcast, Filter::Prefix(""), 0));
    for (name, sequence) in [("a", 1), ("b", 2), ("b", 3), ("a", 4)] {
        bench.request(4, frame(name, sequence, true, &["x"]));
    }
    bench.request(6, ack::frame(&[id(2)]));
    bench.effects();
    bench.ask(3, grant(1, ROOMY));
    bench.request(4, frame("a", 5, true, &["x"]));
    let got = bench.pass(Duration::ZERO).direct();
    assert_eq!(got, [[1].to_vec(), [3].into(), [4, 5].into()].map(|of| (3, 1, false, of)));
}

#[test]
fn without_credit_nothing_is_sent_again_and_the_next_grant_brings_it() {
    let mut bench = Bench::new();
    let sent = frame("greet", 1, true, &["x"]);
    bench.ask(3, subscribe(1, Kind::Broadcast, Filter::Name("greet"), 1));
    bench.request(4, sent);
    assert_eq!(bench.direct().len(), 1);
    assert!(bench.pass(INTERVAL * 2).direct().is_empty());
    bench.ask(3, grant(1, ROOMY));
    assert_eq!(bench.pass(INTERVAL * 2).direct(), [(3, 1, true, vec![1])]);
}

#[test]
fn messages_that_wait_for_credit_are_bounded_and_the_rest_comes_after_an_interval() {
    let mut bench = Bench::limited(false, Limits { messages: usize::MAX, bytes: usize::MAX });
    bench.ask(3, subscribe(1, Kind::Broadcast, Filter::Name("n"), 0));
    let count = OWED_MESSAGES_MAX_EACH as u64 + 10;
    for sequence in 1..=count {
        bench.request(4, frame("n", sequence, true, &[""]));
    }
    bench.effects();
    bench.ask(3, grant(1, CREDIT_BYTES_MAX));
    let got: Vec<u64> =
        bench.pass(Duration::ZERO).direct().into_iter().flat_map(|it| it.3).collect();
    assert!(got.into_iter().eq(1..=count - 10));
    let mut rest = Vec::new();
    for _ in 0..200 {
        let again = bench.pass(Duration::from_millis(100)).direct();
        rest.extend(again.into_iter().flat_map(|it| it.3));
    }
    rest.sort_unstable();
    assert!((count - 9..=count).all(|sequence| rest.binary_search(&sequence).is_ok()));
}

impl Bench {
    #[track_caller]
    pub(super) fn check_control_refused(&mut self, body: Vec<u8>, code: ErrorCode, says: &str) {
        self.request(3, body);
        match &self.replies()[..] {
            [(3, Reply::Refused(why, Dialect::V2))] => {
                assert_eq!(why.code(), code);
                assert!(why.to_string().contains(says), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn what_cannot_be_is_refused_with_its_rule_and_the_connection_lives_on() {
    let mut bench = Bench::new();
    let name = Filter::Name("greet");
    bench.ask(3, subscribe(1, Kind::Broadcast, name, 10));
    let refused = ErrorCode::Subscription;
    bench.check_control_refused(
        subscribe(1, Kind::Observer, name, 1),
        refused,
        "subscription 1 already",
    );
    bench.check_control_refused(grant(2, 1), refused, "no subscription 2");
    bench.check_control_refused(
        control::request(&Control::Unsubscribe(2)),
        refused,
        "no subscription 2",
    );
    let over = CREDIT_BYTES_MAX - 9;
    bench.check_control_refused(grant(1, over), refused, &(CREDIT_BYTES_MAX + 1).to_string());
    bench.check_control_refused(grant(1, u64::MAX), refused, &CREDIT_BYTES_MAX.to_string());
    let body = subscribe(9, Kind::Observer, Filter::Pattern("a..b"), 1);
    bench.check_control_refused(body, ErrorCode::Malformed, "token 2");
    bench.check_control_refused(vec![2, 99], ErrorCode::Malformed, "99");
    bench.check_control_refused(vec![2], ErrorCode::Malformed, "2 bytes");
    bench.request(4, frame("greet", 1, false, &["x"]));
    assert_eq!(bench.direct(), [(3, 1, false, vec![1])]);
}

#[test]
fn patterns_are_bounded() {
    let mut bench = Bench::new();
    let connections = PATTERNS_MAX_ALL.div_ceil(WIDE_SUBSCRIPTIONS_MAX_EACH) as u32;
    let all = (10..10 + connections)
        .flat_map(|from| (0..WIDE_SUBSCRIPTIONS_MAX_EACH as u32).map(move |n| (from, n)));
    for (from, number) in all.take(PATTERNS_MAX_ALL) {
        let pattern = format!("a.*.{number}");
        bench.ask(from, subscribe(number, Kind::Observer, Filter::Pattern(&pattern), 0));
    }
    let body = subscribe(u32::MAX, Kind::Observer, Filter::Pattern("b.*"), 0);
    bench.check_control_refused(body, ErrorCode::Subscription, &PATTERNS_MAX_ALL.to_string());
    for from in 10..10 + connections {
        bench.core.disconnected(from.into());
    }
    while bench.core.turn(bench.now) {}
    assert_eq!(bench.core.subscribers.len(), 0);
    bench.ask(3, subscribe(1, Kind::Observer, Filter::Pattern("b.*"), 0));
}

#[test]
fn a_connection_may_subscribe_to_the_same_again_a_bounded_number_of_times() {
    let max = WIDE_SUBSCRIPTIONS_MAX_EACH as u32;
    for (filter, one_more) in [
        (Filter::Name("a.b"), true),
        (Filter::Prefix("a."), false),
        (Filter::Pattern("a.*"), false),
    ] {
        let mut bench = Bench::new();
        let all = max + u32::from(one_more);
        for number in 0..all {
            bench.ask(3, subscribe(number, Kind::Observer, filter, ROOMY));
        }
        let further = subscribe(all, Kind::Observer, filter, ROOMY);
        bench.check_control_refused(further.clone(), ErrorCode::Subscription, &max.to_string());
        bench.request(5, frame("a.b", 1, false, &["x"]));
        assert_eq!(bench.direct().len(), all as usize);
        bench.ask(3, control::request(&Control::Unsubscribe(0)));
        bench.ask(3, further);
    }
}

#[test]
fn one_connection_has_a_bounded_number_of_subscriptions_that_one_message_fits() {
    let mut bench = Bench::new();
    let max = WIDE_SUBSCRIPTIONS_MAX_EACH as u32;
    let text = |number: u32| format!("a.{number}.");
    for number in 0..max {
        match number % 2 {
            0 => bench.ask(3, subscribe(number, Kind::Observer, Filter::Prefix(&text(number)), 0)),
            _ => {
                let pattern = text(number) + "*";
                bench.ask(3, subscribe(number, Kind::Observer, Filter::Pattern(&pattern), 0))
            }
        };
    }
    for (number, filter) in [(max, Filter::Prefix("b")), (max + 1, Filter::Pattern("b.*"))] {
        let body = subscribe(number, Kind::Broadcast, filter, 0);
        bench.check_control_refused(body, ErrorCode::Subscription, &max.to_string());
        bench.ask(4, subscribe(number, Kind::Broadcast, filter, 0));
    }
    bench.ask(3, subscribe(max, Kind::Broadcast, Filter::Name("b"), 0));
    for (ended, filter) in [(0, Filter::Pattern("b.*")), (1, Filter::Prefix("b"))] {
        bench.ask(3, control::request(&Control::Unsubscribe(ended)));
        bench.ask(3, subscribe(ended, Kind::Broadcast, filter, 0));
    }
    let body = subscribe(max + 1, Kind::Broadcast, Filter::Prefix("c"), 0);
    bench.check_control_refused(body, ErrorCode::Subscription, &max.to_string());
}

#[test]
fn credit_that_is_granted_again_and_again_is_looked_at_once() {
    let mut bench = Bench::new();
    bench.ask(3, subscribe(1, Kind::Broadcast, Filter::Name("n"), 0));
    bench.request(4, frame("n", 1, true, &["x"]));
    bench.effects();
    for _ in 0..100 {
        bench.ask(3, grant(1, 10));
    }
    assert_eq!(bench.core.owing.len(), 1);
    assert_eq!(bench.pass(Duration::ZERO).direct(), [(3, 1, false, vec![1])]);
    bench.request(4, frame("n", 2, true, &["x"]));
    assert!(bench.core.owing.is_empty());
}

fn holding(number: u32, credit: u64) -> Vec<u8> {
    let (kind, filter) = (Kind::Broadcast, Filter::Name("greet"));
    control::request(&Control::Subscribe(Subscribe {
        number,
        kind,
        overflow: Overflow::Hold,
        filter,
        credit,
        with_last: false,
    }))
}

impl Bench {
    /// Grants credit, or ends a subscription; what the connection's publishers are told of it.
    #[track_caller]
    fn told(&mut self, from: u32, body: Vec<u8>) -> Option<bool> {
        self.request(from, body);
        let mut told = None;
        for effect in self.core.out.queue.drain(..) {
            match effect {
                Effect::Granted { connection, is_clear } => {
                    assert_eq!(connection, u64::from(from));
                    assert_eq!(told.replace(is_clear), None);
                }
                Effect::Reply(_, reply) => assert_eq!(reply, Reply::Ok),
                _ => {}
            }
        }
        told
    }
}

#[test]
fn one_that_holds_publishers_up_gets_everything_and_says_when_it_has_credit_again() {
    let mut bench = Bench::new();
    let bytes = frame("greet", 1, false, &["x"]).len() as u64;
    bench.ask(3, holding(1, bytes)).ask(3, holding(2, bytes));
    for (sequence, ack, overdrawn) in [(1, false, false), (2, true, true), (3, false, true)] {
        bench.request(4, frame("greet", sequence, ack, &["x"]));
        let (deliveries, _) = bench.deliveries();
        let got: Vec<_> = deliveries[0].direct.iter().map(|it| it.is_overdrawn).collect();
        assert_eq!(got, [overdrawn; 2], "{sequence}");
    }
    assert_eq!(bench.core.counters.messages_dropped.get(), 0);
    assert_eq!(bench.told(3, grant(1, 1)), Some(false), "it still lacks some");
    assert_eq!(bench.told(3, grant(1, bytes * 3)), Some(false), "the other one lacks some");
    assert_eq!(bench.told(3, grant(1, bytes)), None);
    assert_eq!(bench.told(3, control::request(&Control::Unsubscribe(2))), Some(true));
    bench.request(4, frame("greet", 4, false, &["x"]));
    assert_eq!(bench.direct(), [(3, 1, false, vec![4])]);
}

#[test]
fn what_one_gets_without_credit_is_bounded() {
    let mut bench = Bench::new();
    bench.ask(3, holding(1, 1));
    let text = "x".repeat(1 << 19);
    let mut got = 0;
    for sequence in 1..100 {
        bench.request(4, frame("greet", sequence, false, &[&text]));
        got += bench.direct().len() * text.len();
    }
    let bound = OVERDRAFT_BYTES_MAX as usize + 2 * text.len() + 1024;
    assert!((OVERDRAFT_BYTES_MAX as usize..bound).contains(&got), "{got}");
    assert_eq!(bench.core.counters.messages_dropped.get() as usize, 99 - got / text.len());
}
