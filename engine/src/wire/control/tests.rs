use super::*;

const SUBSCRIPTION: Subscribe<'_> = Subscribe {
    number: 0x0102,
    kind: Kind::Broadcast,
    overflow: Overflow::Hold,
    filter: Filter::Pattern("a.>"),
    credit: 0x0304,
    with_last: false,
};

#[track_caller]
fn check(control: Control<'_>, bytes: &[u8]) {
    assert_eq!(request(&control), bytes);
    assert_eq!(read(bytes), Ok(control));
    assert_eq!(read(&[bytes, b"more"].concat()), Ok(control));
    for end in 0..bytes.len() {
        assert!(matches!(read(&bytes[..end]), Err(ControlError::Short { .. })), "{end}");
    }
}

#[test]
fn requests_are_as_the_format_says_and_come_back() {
    let secret = *b"0123456789abcdef";
    let unnamed = b"\x02\x010123456789abcdef";
    assert_eq!(read(unnamed), Ok(Control::Hello(Hello { secret, name: "" })));
    let named = Control::Hello(Hello { secret, name: "n" });
    assert_eq!(request(&named), [&unnamed[..], b"\x01n"].concat());
    assert_eq!(read(&[&unnamed[..], b"\x01n"].concat()), Ok(named));
    let short = ControlError::Short { what: "a hello", expected: 20, bytes: 19 };
    assert_eq!(read(&[&unnamed[..], b"\x01"].concat()), Err(short));
    let error = ControlError::ClientName(ClientNameError::Control('\n'));
    assert_eq!(read(&[&unnamed[..], b"\x01\n"].concat()), Err(error));
    check(
        Control::Subscribe(SUBSCRIPTION),
        b"\x02\x02\x02\x01\0\0\x01\x01\x02\x04\x03\0\0\0\0\0\0\x03a.>",
    );
    check(
        Control::Subscribe(Subscribe { with_last: true, ..SUBSCRIPTION }),
        b"\x02\x02\x02\x01\0\0\x01\x81\x02\x04\x03\0\0\0\0\0\0\x03a.>",
    );
    check(Control::Unsubscribe(0x0102), b"\x02\x03\x02\x01\0\0");
    check(
        Control::Credit { number: 0x0102, bytes: 0x0304 },
        b"\x02\x04\x02\x01\0\0\x04\x03\0\0\0\0\0\0",
    );
}

#[test]
fn one_for_a_group_is_as_the_format_says_and_comes_back() {
    let backoff = Backoff::new(&[9]).unwrap();
    let group = Group { ack_wait_ms: 0x0506, attempts_max: 3, backoff, ..Group::named("g") };
    let control = Control::Subscribe(Subscribe { kind: Kind::Group(group), ..SUBSCRIPTION });
    let bytes = request(&control);
    let head = b"\x02\x02\x02\x01\0\0\x02\x01\x02\x04\x03\0\0\0\0\0\0\x03a.>";
    let of_group = b"\x01g\x06\x05\0\0\0\0\0\0\x03\0\x01\x09\0\0\0\0";
    assert_eq!(bytes, [&head[..], of_group].concat());
    assert_eq!(read(&bytes), Ok(control));
    // It may end before its flags, and nowhere else.
    let expected = bytes.len() - 1;
    assert_eq!(read(&bytes[..expected]), Ok(control));
    let short = ControlError::Short { what: "a subscribe", expected, bytes: expected - 1 };
    assert_eq!(read(&bytes[..expected - 1]), Err(short));
}

#[test]
fn a_verdict_is_as_the_format_says_and_comes_back() {
    let ids = &[7; 32];
    for (verdict, bytes) in [
        (Verdict::Ack, b"\x02\x05\x02\x01\0\0\0\0\0\0\0"),
        (Verdict::Nak { delay_ms: 0x0304 }, b"\x02\x05\x02\x01\0\0\x01\x04\x03\0\0"),
        (Verdict::Extend, b"\x02\x05\x02\x01\0\0\x02\0\0\0\0"),
    ] {
        let control = Control::Settle { number: 0x0102, verdict, ids };
        let bytes = [&bytes[..], ids].concat();
        assert_eq!(request(&control), bytes);
        assert_eq!(read(&bytes), Ok(control));
        for end in 0..11 {
            assert!(matches!(read(&bytes[..end]), Err(ControlError::Short { .. })), "{end}");
        }
    }
    assert_eq!(read(b"\x02\x05\x02\x01\0\0\x04\0\0\0\0"), Err(ControlError::Verdict(4)));
    let verdict = Verdict::Reject { reason: "no" };
    let control = Control::Settle { number: 0x0102, verdict, ids };
    let bytes = [&b"\x02\x05\x02\x01\0\0\x03\0\0\0\0\x02no"[..], ids].concat();
    assert_eq!(request(&control), bytes);
    assert_eq!(read(&bytes), Ok(control));
    for end in 0..14 {
        assert!(matches!(read(&bytes[..end]), Err(ControlError::Short { .. })), "{end}");
    }
    let no_text = b"\x02\x05\x02\x01\0\0\x03\0\0\0\0\x01\xff";
    assert_eq!(read(no_text), Err(ControlError::Reason));
}

#[test]
fn each_rule_has_its_error() {
    assert_eq!(read(b"\x02\xff"), Err(ControlError::Kind(255)));
    assert_eq!(read(b"\x02\x0c\x01|"), Err(ControlError::GroupName(NameError::Separator)));
    assert!(matches!(read(b"\x02\x0b"), Err(ControlError::Short { expected: 3, .. })));
    let mut bytes = request(&Control::Subscribe(SUBSCRIPTION));
    bytes[6] = 9;
    assert_eq!(read(&bytes), Err(ControlError::SubscriptionKind(9)));
    bytes[6..8].copy_from_slice(&[1, 7]);
    assert_eq!(read(&bytes), Err(ControlError::Overflow(7)));
    bytes[7..9].copy_from_slice(&[0, 7]);
    assert_eq!(read(&bytes), Err(FilterError::Kind(7).into()));
    let group = |name| {
        let kind = Kind::Group(Group::named(name));
        request(&Control::Subscribe(Subscribe { kind, ..SUBSCRIPTION }))
    };
    assert_eq!(read(&group("a|b")), Err(ControlError::GroupName(NameError::Separator)));
    let mut bytes = group("g");
    let count = bytes.len() - 2;
    bytes[count] = 17;
    assert_eq!(read(&bytes), Err(ControlError::Backoff(17)));
    // Those about dead letters, by their kind: all other rules are tested where they are read.
    assert_eq!(read(b"\x02\x08\x01g\x09"), Err(ControlError::Letters(9)));
    assert_eq!(read(b"\x02\x06\x01|"), Err(ControlError::GroupName(NameError::Separator)));
    assert!(matches!(read(b"\x02\x06"), Err(ControlError::Short { expected: 3, .. })));
}

#[test]
fn what_a_request_is_about_is_told_without_reading_it() {
    let begins_and_needs = |body: &[u8]| (begins(body), needs(body));
    let subscribe = request(&Control::Subscribe(SUBSCRIPTION));
    assert_eq!(begins_and_needs(&subscribe), (Some(SUBSCRIPTION.number), None));
    assert_eq!(begins_and_needs(&subscribe[..5]), (None, None));
    let ids = &[1; 16];
    for control in [
        Control::Unsubscribe(7),
        Control::Credit { number: 7, bytes: 1 },
        Control::Settle { number: 7, verdict: Verdict::Ack, ids },
    ] {
        let body = request(&control);
        assert_eq!(begins_and_needs(&body), (None, Some(7)));
        assert!(frees(&body) && !may_take_long(&body));
    }
    assert!(!may_take_long(&subscribe) && !may_take_long(b"\x02") && !may_take_long(b"\x01\x0f"));
    for kind in 6..=15 {
        assert!(may_take_long(&[CONTROL, kind]));
        assert_eq!(begins_and_needs(&[CONTROL, kind, 7, 0, 0, 0]), (None, None));
    }
}
