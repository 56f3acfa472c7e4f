//! Each rule of the scanner has its case.

use super::*;
use crate::wire::pickle::samples::{changed, doubling, message, nested_lists};
use proptest::prelude::*;
use std::time::{Duration, Instant};

#[test]
fn the_five_fields_are_read() {
    let pickle = message(b"U\x05hello");
    let fields = scan(&pickle).unwrap();
    assert!(matches!(fields.name, Cow::Borrowed("greet")));
    assert_eq!(fields.payload, Payload::Text("hello".into()));
    assert!(fields.ack);
    assert_eq!(fields.timestamp, 1_763_866_000.25);
    assert_eq!(fields.timestamp_ns, 1_763_866_000_250_000_000);
    assert_eq!(fields.checksum, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    assert_eq!(fields.acknowledged(), None);
}

#[track_caller]
fn check_payload(opcodes: &[u8], expected: Payload<'_>) {
    assert_eq!(scan(&message(opcodes)).map(|fields| fields.payload), Ok(expected));
}

#[test]
fn payloads_are_classified() {
    let bytes = |bytes: &'static [u8]| Payload::Bytes(bytes.into());
    check_payload(b"N", Payload::None);
    check_payload(b"\x88", Payload::Bool(true));
    check_payload(b"I01\n", Payload::Bool(true));
    check_payload(b"I1\n", Payload::Int(1));
    check_payload(b"L5L\n", Payload::Int(5));
    check_payload(b"M\x01\x02", Payload::Int(513));
    check_payload(b"J\xfe\xff\xff\xff", Payload::Int(-2));
    check_payload(b"\x8a\x09\0\0\0\0\0\0\0\0\x01", Payload::BigInt((1_u128 << 64).to_string()));
    check_payload(b"\x8b\x02\0\0\0\0\x01", Payload::Int(256));
    check_payload(b"F1.5\n", Payload::Float(1.5));
    check_payload(b"S'it\\'s\\n'\n", Payload::Text("it's\n".into()));
    check_payload(b"S'\\xff'\n", bytes(b"\xff"));
    check_payload(b"U\x01\xff", bytes(b"\xff"));
    check_payload(b"Vgr\\u00fc\xdf\n", Payload::Text("grüß".into()));
    check_payload(b"X\x02\0\0\0\xc3\xbc", Payload::Text("ü".into()));
    check_payload(b"X\x03\0\0\0\xed\xa0\x80", Payload::Other);
    check_payload(b"C\x02\0\xff", bytes(b"\0\xff"));
    check_payload(b"\x96\x01\0\0\0\0\0\0\0\xff", bytes(b"\xff"));
    check_payload(b"c__builtin__\nbytes\n)R", bytes(b""));
    check_payload(b"c_codecs\nencode\nX\x02\0\0\0\xc3\xbfX\x06\0\0\0latin1\x86R", bytes(b"\xff"));
    check_payload(b"c_codecs\nencode\n(V\xff\np1\nVlatin1\np2\ntp3\nRp4\n", bytes(b"\xff"));
    check_payload(b"cbuiltins\nbytearray\nC\x01\xff\x85R", bytes(b"\xff"));
    check_payload(b"(lp0\nI1\naI2\na", Payload::Other);
    check_payload(b"]q\x01h\x01a", Payload::Other);
}

#[test]
fn classes_may_stand_in_the_payload_and_are_passed_over() {
    for opcodes in [
        &b"c__main__\nPoint\n)\x81}U\x01xK\x01sb"[..],
        b"ccopy_reg\n_reconstructor\n(c__main__\nPoint\nc__builtin__\nobject\nNtR(dS'x'\nI1\nsb",
        b"(i__main__\nOld\n(dS'x'\nI1\nsb",
        b"(c__main__\nOld\nK\x01o",
        b"ccollections\nOrderedDict\n)R(K\x01K\x02u",
        b"c__main__\nPoint\n)}\x92",
        b"cos\nsystem\nU\x04true\x85R",
        b"X\x01\0\0\0mX\x01\0\0\0n\x93",
        b"Psome id\n",
        b"K\x01Q",
        b"\x82\x01",
        b"\x84\x01\0\0\0",
    ] {
        check_payload(opcodes, Payload::Other);
    }
}

#[track_caller]
fn check_error(pickle: &[u8], expected: PickleError) {
    assert_eq!(scan(pickle), Err(expected));
    assert!(!expected.to_string().is_empty());
}

#[test]
fn what_is_not_one_whole_pickle_is_refused() {
    let whole = message(b"U\x05hello");
    for end in 0..whole.len() {
        check_error(&whole[..end], PickleError::Truncated);
    }
    check_error(&[&whole[..], b"x"].concat(), PickleError::TrailingBytes { bytes: 1 });
    check_error(b"\xffhello", PickleError::Opcode { opcode: 0xff, at: 0 });
    check_error(b"\x80\x06N.", PickleError::Protocol { version: 6, at: 0 });
    check_error(b"N\x80\x02.", PickleError::Protocol { version: 2, at: 1 });
    check_error(b"\x80\x05\x97.", PickleError::OutOfBand { at: 2 });
    check_error(b"\x80\x05N\x98.", PickleError::OutOfBand { at: 3 });
    check_error(b"NN.", PickleError::Stack { opcode: b'.', at: 2 });
    check_error(b"(N.", PickleError::Stack { opcode: b'.', at: 2 });
    check_error(b".", PickleError::Stack { opcode: b'.', at: 0 });
}

#[test]
fn malformed_operands_are_refused() {
    for opcodes in [
        &b"I 1\n"[..],
        b"I010\n",
        b"L1_0L\n",
        b"F1.5x\n",
        b"Sabc\n",
        b"V\\u12\n",
        b"X\x01\0\0\0\xff",
        b"T\xff\xff\xff\xff",
        b"\x8b\xff\xff\xff\xff",
        b"g-1\n",
        b"c\nname\n",
        b"(i\xc3\xbc\nname\n",
        b"P\xff\n",
        b"\x82\0",
    ] {
        let error = scan(&message(opcodes)).unwrap_err();
        assert!(matches!(error, PickleError::Operand { .. }), "{opcodes:?}: {error:?}");
    }
}

#[test]
fn opcodes_on_the_wrong_objects_are_refused() {
    for opcodes in [
        &b"Na"[..],
        b"K\x01K\x02s",
        b"}K\x01K\x02a",
        b"](K\x01u",
        b"}(K\x01u",
        b"](K\x01\x90",
        b"NNR",
        b"c__main__\nf\nNR",
        b"N)R",
        b"N)\x81",
        b"c__main__\nf\n)N\x92",
        b"]}b",
        b"K\x01K\x02\x93",
        b"000000",
        b"(Noc_codecs\n",
        b"(q\x01",
        b"c_codecs\nencode\nX\x02\0\0\0\xc4\x80U\x06latin1\x86R",
    ] {
        let error = scan(&message(opcodes)).unwrap_err();
        assert!(matches!(error, PickleError::Stack { .. }), "{opcodes:?}: {error:?}");
    }
}

#[test]
fn frames_are_checked() {
    let body = &message(b"U\x05hello")[2..];
    let framed = |lengths: &[u64]| {
        let frame = |length: &u64| [&[0x95], &length.to_le_bytes()[..]].concat();
        let frames: Vec<u8> = lengths.iter().flat_map(frame).collect();
        [b"\x80\x04", &frames[..], body].concat()
    };
    let length = body.len() as u64;
    assert!(scan(&framed(&[length])).is_ok());
    assert!(scan(&framed(&[0, length])).is_ok());
    for broken in [&[length + 1][..], &[u64::MAX], &[12, 3], &[4]] {
        let error = scan(&framed(broken)).unwrap_err();
        assert!(matches!(error, PickleError::Frame { .. }), "{broken:?}: {error:?}");
    }
}

#[test]
fn the_memo_is_bounded_and_checked() {
    check_payload(b"K\x07r\xff\0\0\0\x30j\xff\0\0\0", Payload::Int(7));
    check_error(&message(b"h\x09"), PickleError::Memo { index: 9 });
    let at = message(b"").iter().position(|&b| b == b'K').unwrap() - b"U\x03ack".len() + 1;
    check_error(&message(b"Nr\xff\xff\xff\xff"), PickleError::MemoIndex { at });
    check_error(&message(b"Np1000000\n"), PickleError::MemoIndex { at });
}

#[test]
fn each_field_is_checked() {
    let found = |key, expected, found| PickleError::WrongType { key, expected, found };
    check_error(b"]q\x00.", PickleError::NotADict { found: "a list" });
    check_error(b"c__main__\nf\n)R.", PickleError::NotADict { found: "an object of a class" });
    for key in Key::ALL {
        let length = key.as_str().len() as u8;
        let old = [&[b'U', length], key.as_str().as_bytes()].concat();
        let new = [&[b'U', length], &b"?????????"[..usize::from(length)]].concat();
        check_error(&changed(&old, &new), PickleError::MissingKey { key });
    }
    let ack = |opcodes: &[u8]| scan(&changed(b"K\x01", opcodes)).map(|fields| fields.ack);
    assert_eq!(ack(b"K\0"), Ok(false));
    assert_eq!(ack(b"J\xff\xff\xff\xff"), Ok(false));
    assert_eq!(ack(b"I01\n"), Ok(true));
    assert_eq!(ack(b"\x89"), Ok(false));
    assert_eq!(ack(&[&b"\x8a\xff"[..], &[0x7f; 255]].concat()), Ok(true));
    assert_eq!(ack(&[&b"\x8a\xff"[..], &[0x80; 255]].concat()), Ok(false));
    assert_eq!(ack(b"L18446744073709551616L\n"), Ok(true));
    assert_eq!(ack(b"G\0\0\0\0\0\0\0\0"), Err(found(Key::Ack, "an integer", "a float")));
    check_error(&changed(b"U\x05greet", b"N"), found(Key::Name, "a text", "None"));
    check_error(&changed(b"U\x05greet", b"C\x05greet"), found(Key::Name, "a text", "bytes"));
    check_error(&changed(b"U\x05greet", b"U\x01\xff"), found(Key::Name, "a text", "a byte string"));
    check_error(
        &changed(b"U\x05greet", b"c__builtin__\nstr\nU\x05greet\x85R"),
        found(Key::Name, "a text", "an object of a class"),
    );
    check_error(&changed(b"U 000102", b"U 00010x"), PickleError::BadChecksum);
}

#[test]
fn timestamps_are_seconds_in_range() {
    let old = [b"G", &1_763_866_000.25_f64.to_be_bytes()[..]].concat();
    let read = |opcodes: &[u8]| {
        scan(&changed(&old, opcodes)).map(|fields| (fields.timestamp, fields.timestamp_ns))
    };
    assert_eq!(read(b"F0\n"), Ok((0.0, 0)));
    assert_eq!(read(b"F0.999999999999\n"), Ok((0.999_999_999_999, 1_000_000_000)));
    assert_eq!(read(b"F1763866000.123456\n").map(|t| t.1), Ok(1_763_866_000_123_456_001));
    assert!(read(b"F18446744073\n").is_ok());
    for bad in [&b"F-1\n"[..], b"Fnan\n", b"Finf\n", b"F18446744073.8\n", b"F1e300\n"] {
        assert_eq!(read(bad), Err(PickleError::BadTimestamp));
    }
    assert!(matches!(read(b"K\x01"), Err(PickleError::WrongType { key: Key::Timestamp, .. })));
}

#[test]
fn the_last_of_a_keys_values_counts() {
    let twice = changed(b"u.", b"uU\x03ackK\0s.");
    assert_eq!(scan(&twice).map(|fields| fields.ack), Ok(false));
    let unicode = changed(b"u.", b"uV\\u0061ck\nK\0s.");
    assert_eq!(scan(&unicode).map(|fields| fields.ack), Ok(false));
    let bytes_key = changed(b"u.", b"uC\x03ackK\0s.");
    assert_eq!(scan(&bytes_key).map(|fields| fields.ack), Ok(true));
    let in_another = changed(b"u.", b"u}U\x03ackK\0s0.");
    assert_eq!(scan(&in_another).map(|fields| fields.ack), Ok(true));
}

#[test]
fn keys_that_python_could_not_hash_or_compare_as_data_are_refused() {
    for key in [&b"]"[..], b"}", b"\x8f", b"]\x85", b"\x96\0\0\0\0\0\0\0\0"] {
        let pickle = changed(b"u.", &[b"u", key, b"Ns."].concat());
        let error = scan(&pickle).unwrap_err();
        assert!(matches!(error, PickleError::Unhashable { .. }), "{key:?}: {error:?}");
    }
    assert!(matches!(scan(&message(b"\x8f(]\x90")), Err(PickleError::Unhashable { .. })));
    assert!(scan(&changed(b"u.", b"uK\x01K\x02\x86Ns.")).is_ok());
    check_error(&changed(b"u.", b"uc__builtin__\nstr\nU\x03ack\x85RK\0s."), PickleError::ObjectKey);
    // In the payload such keys are nobody's business.
    check_payload(b"}c__main__\nPoint\n)\x81Ns", Payload::Other);
}

#[test]
fn an_acknowledgement_names_a_checksum() {
    let ack = [&b"U\x03ack"[..], b"U\x07payload"].concat();
    let pickle = changed(b"U\x05greetU\x07payload", &ack);
    let at = pickle.windows(7).position(|window| window == b"U\x05hello").unwrap();
    let sum = b"U\x200f0e0d0c0b0a09080706050403020100";
    let pickle = [&pickle[..at], sum, &pickle[at + 7..]].concat();
    let acknowledged = scan(&pickle).unwrap().acknowledged();
    assert_eq!(acknowledged, Some([15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]));
}

#[track_caller]
fn check_fast(pickle: &[u8], expected: PickleError) {
    let start = Instant::now();
    check_error(pickle, expected);
    assert!(start.elapsed() < Duration::from_secs(5), "took {:?}", start.elapsed());
}

#[test]
fn bombs_are_refused_fast() {
    check_fast(&message(&nested_lists(600_000)[..900_000]), PickleError::TooDeep);
    check_fast(&message(&nested_lists(1_000_000)), PickleError::TooManyOpcodes);
    check_fast(&message(&[&b")"[..], &[0x85; 1_000_000]].concat()), PickleError::TooDeep);
    check_fast(&message(&vec![b'('; 1_000_000]), PickleError::TooDeep);
    check_fast(&message(&[b'N'; 1_000_000]), PickleError::TooManyOpcodes);
    // One text, encoded again and again.
    let text = "ÿ".repeat(1 << 20);
    let length = (text.len() as u32).to_le_bytes();
    let again = b"h\x00h\x01h\x02\x86R0".repeat(20_000);
    let begin = b"c_codecs\nencode\nq\x00";
    let texts = [&b"X"[..], &length, text.as_bytes(), b"q\x01U\x06latin1q\x02(000"].concat();
    check_fast(&message(&[begin, &texts[..], &again, b"N"].concat()), PickleError::EncodedAgain);
    check_fast(&message(b"X\xff\xff\xff\xffhello"), PickleError::Truncated);
    check_fast(&message(b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffhello"), PickleError::Truncated);
    check_payload(&nested_lists(999), Payload::Other);
    // What is shared is counted as often as it would be written out, and not unfolded for that.
    check_fast(&message(&doubling(200)), PickleError::TooManyNodes);
    check_payload(&doubling(15), Payload::Other);
    check_payload(b"]q\x00(h\x00h\x00e", Payload::Other);
    // The same with the outer list filled before the inner ones.
    let mut backwards = b"(".to_vec();
    backwards.extend((0..60).flat_map(|level| [b']', b'q', level]));
    backwards.push(b't');
    let fill = |level: u8| [b'h', level, b'(', b'h', level + 1, b'h', level + 1, b'e', b'0'];
    backwards.extend([b'q', 60, b'0']);
    backwards.extend((0..59).flat_map(fill));
    backwards.extend([b'h', 60]);
    check_fast(&message(&backwards), PickleError::TooManyNodes);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = scan(&bytes);
        let _ = scan(&message(&bytes));
    }
}
