//! What the server's end promises: bytes in, events and bytes out.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use proptest::prelude::*;

use super::*;
use crate::limits::{ENVELOPE_BYTES_MAX, ENVELOPE_FRAMES_MAX};
use crate::net::socket::ByteStream;
use crate::zmtp::handshake::{GREETING, ready};
use crate::zmtp::inbox::Room;

/// Of a request's body.
const BODY_MAX: usize = 5000;

struct Pieces(VecDeque<Vec<u8>>);

impl ByteStream for Pieces {
    fn read(&mut self, room: Room<'_>) -> io::Result<usize> {
        let piece = self.0.front_mut().ok_or(io::ErrorKind::WouldBlock)?;
        let taken = room.bytes().min(piece.len());
        let found: Vec<u8> = piece.drain(..taken).collect();
        room.put(&found);
        if piece.is_empty() {
            self.0.pop_front();
        }
        Ok(taken)
    }

    fn write(&mut self, _: &[IoSlice<'_>]) -> io::Result<usize> {
        unreachable!("nobody writes")
    }
}

/// A connection's server end.
struct End {
    session: Session,
    inbox: Inbox,
    scratch: Vec<u8>,
    out: Vec<u8>,
}

impl End {
    fn new(port: Port) -> Self {
        let session = Session::new(port, BODY_MAX, &ServerMechanism::Nothing);
        Self { session, inbox: Inbox::default(), scratch: Vec::new(), out: Vec::new() }
    }

    /// One whose handshake is over, with a ZMTP 3.0 peer.
    fn open(port: Port) -> Self {
        let mut end = Self::new(port);
        let peer: &[u8] = if port == Port::Requests { b"DEALER" } else { b"SUB" };
        let events = end.feed(&[&GREETING[..], &ready(peer)].concat()).unwrap();
        assert_eq!(events, ["Opened"]);
        end.out.clear();
        end
    }

    /// What happens on these bytes, as text; what the peer is told is appended to `out`.
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<String>, CloseReason> {
        let (events, error) = self.feed_until(bytes);
        error.map_or(Ok(events), Err)
    }

    fn feed_until(&mut self, bytes: &[u8]) -> (Vec<String>, Option<CloseReason>) {
        let mut stream = Pieces(VecDeque::from([bytes.to_vec()]));
        let mut events = Vec::new();
        loop {
            match self.session.advance(&mut self.inbox, &mut self.out) {
                Ok(Some(event)) => events.push(format!("{event:?}")),
                Ok(None) if bytes.is_empty() || stream.0.is_empty() => return (events, None),
                Ok(None) => {
                    _ = self.inbox.fill(|room| stream.read(room), &mut self.scratch).unwrap();
                }
                Err(reason) => return (events, Some(reason)),
            }
        }
    }

    /// What the peer is told on these bytes.
    fn told(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.out.clear();
        self.feed(bytes).unwrap();
        std::mem::take(&mut self.out)
    }
}

#[track_caller]
fn check_closed(mut end: End, bytes: &[u8], why: &str) -> Vec<u8> {
    end.out.clear();
    let reason = end.feed(bytes).unwrap_err();
    assert!(reason.to_string().contains(why), "{reason}");
    end.out
}

fn frame(body: &[u8], more: bool) -> Vec<u8> {
    let mut frame = Vec::new();
    Head::message(body.len(), more).append_to(&mut frame);
    frame.extend(body);
    frame
}

fn command(name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    command::append(name, &[content], &mut out);
    out
}

/// A READY command with these properties.
fn ready_with(properties: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (name, value) in properties {
        list.push(name.len() as u8);
        list.extend(*name);
        list.extend((value.len() as u32).to_be_bytes());
        list.extend(*value);
    }
    command(b"READY", &list)
}

fn greeting_v2(socket_type: u8) -> Vec<u8> {
    [&GREETING[..10], &[1, socket_type]].concat()
}

#[test]
fn a_peer_of_3_x_is_told_one_step_after_the_other() {
    for minor in [0, 1] {
        let mut greeting = GREETING;
        greeting[11] = minor;
        let mut end = End::new(Port::Requests);
        // Before it says anything, no more than its version shall decide over.
        assert_eq!(end.told(&[]), greeting::FIRST);
        for (at, &byte) in greeting.iter().enumerate() {
            let told = end.told(&[byte]);
            match at {
                10 => assert_eq!(told, greeting::REST_V3),
                63 => assert_eq!(told, *b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06ROUTER"),
                _ => assert_eq!(told, b"", "at {at}"),
            }
            assert!(!end.session.is_open());
        }
        assert_eq!(end.feed(&ready(b"REQ")).unwrap(), ["Opened"]);
        assert!(end.session.is_open() && end.out.is_empty());
    }
}

#[test]
fn a_peer_of_2_0_is_told_a_socket_type_and_an_empty_identity() {
    for (port, peers, own) in [(Port::Requests, &[3, 5, 6][..], 6), (Port::Publishing, &[2, 10], 9)]
    {
        for &peer in peers {
            let mut end = End::new(port);
            let first = end.told(&[]);
            assert_eq!(first, greeting::FIRST);
            for (at, byte) in greeting_v2(peer).into_iter().enumerate() {
                let told = end.told(&[byte]);
                let expected: &[u8] = if at == 10 { &[own, 0, 0] } else { &[] };
                assert_eq!(told, expected, "at {at}");
            }
            assert_eq!(end.feed(&frame(b"its identity", false)).unwrap(), ["Opened"]);
        }
        let end = End::new(port);
        let told = check_closed(end, &greeting_v2(own + 1 - own % 2 * 2), "of ZMTP 2.0");
        assert!(!told.windows(5).any(|part| part == b"ERROR"), "it has no commands");
    }
    let v2 = || {
        let mut end = End::new(Port::Publishing);
        end.feed(&[&greeting_v2(2)[..], &[0, 0]].concat()).unwrap();
        end
    };
    assert_eq!(v2().feed(&frame(b"\x01a", false)).unwrap(), [r#"Subscribe(b"a")"#]);
    check_closed(v2(), &command(b"PING", b"\0\0"), "ZMTP 2.0 has no commands");
    let greeted = || {
        let mut end = End::new(Port::Requests);
        end.feed(&greeting_v2(5)).unwrap();
        end
    };
    check_closed(greeted(), &frame(&[1; 256], false), "handshake is too long");
    check_closed(greeted(), &frame(b"id", true), "no single frame");
    check_closed(greeted(), &command(b"READY", b""), "no single frame");
}

#[test]
fn what_is_no_greeting_is_closed_with_its_name() {
    for (bytes, name) in [
        (&b"GET / HTTP/1.1\r\n"[..], "looks like HTTP"),
        (b"\x16\x03\x01", "looks like TLS"),
        (b"\x01\0", "ZMTP 1.0"),
    ] {
        let told = check_closed(End::new(Port::Requests), bytes, name);
        assert!(told.len() <= greeting::FIRST.len());
    }
    let mut curve = GREETING;
    curve[12..17].copy_from_slice(b"CURVE");
    check_closed(End::new(Port::Requests), &curve, "other than NULL");
}

#[test]
fn properties_are_read_as_libzmq_reads_them() {
    let greeted = |port| {
        let mut end = End::new(port);
        end.feed(&GREETING).unwrap();
        end
    };
    let opens = |port, ready: &[u8]| {
        assert_eq!(greeted(port).feed(ready).unwrap(), ["Opened"], "{ready:?}");
    };
    for peer in [&b"REQ"[..], b"DEALER", b"ROUTER"] {
        opens(Port::Requests, &ready(peer));
    }
    for peer in [&b"SUB"[..], b"XSUB"] {
        opens(Port::Publishing, &ready(peer));
    }
    opens(Port::Requests, &ready_with(&[(b"sOCKET-tYPE", b"DEALER"), (b"IDENTITY", b"me")]));
    opens(Port::Requests, &ready_with(&[]));
    opens(Port::Requests, &ready_with(&[(b"Resource", b"/x"), (b"X-Mine", &[7; 300])]));
    opens(Port::Requests, &ready_with(&[(b"Identity", &[7; 255])]));
    let closed = |ready: &[u8], why| check_closed(greeted(Port::Requests), ready, why);
    for name in [&b"Identity"[..], b"identity"] {
        closed(&ready_with(&[(name, &[7; 256])]), "identity is longer than 255 bytes");
    }
}

#[test]
fn a_wrong_socket_is_told_an_error_and_nothing_else_is() {
    let greeted = |port| {
        let mut end = End::new(port);
        end.feed(&GREETING).unwrap();
        end
    };
    let error = *b"\x04\x1a\x05ERROR\x13Invalid socket type";
    for (port, peer) in [
        (Port::Requests, &b"SUB"[..]),
        (Port::Requests, b"PUB"),
        (Port::Requests, b"dealer"),
        (Port::Publishing, b"REQ"),
        (Port::Publishing, b"XPUB"),
    ] {
        let lowered = ready_with(&[(b"socket-type", peer)]);
        let why = String::from_utf8_lossy(peer).into_owned();
        for ready in [ready(peer), lowered] {
            assert_eq!(check_closed(greeted(port), &ready, &why), error);
        }
    }
    let closed = |bytes: &[u8], why| {
        assert_eq!(check_closed(greeted(Port::Requests), bytes, why), b"");
    };
    closed(&frame(b"hello", false), "a message before READY");
    closed(&command(b"ERROR", b"\x02no"), "it sent an ERROR");
    closed(&command(b"PING", b"\0\0"), "it did not say READY");
    closed(&command(b"READY", b"\x0bSocket-Type\0\0\0\x07DEALER"), "overruns its command");
    closed(&ready_with(&[(b"X", &[0; 5000])]), "handshake is too long");
}

#[test]
fn subscriptions_come_as_messages_and_as_commands() {
    let check = |bytes: &[u8], events: &[&str]| {
        assert_eq!(End::open(Port::Publishing).feed(bytes).unwrap(), events, "{bytes:?}");
    };
    check(&frame(b"\x01greet", false), &[r#"Subscribe(b"greet")"#]);
    check(&frame(b"\x00greet", false), &[r#"Cancel(b"greet")"#]);
    check(&frame(b"\x01", false), &[r#"Subscribe(b"")"#]);
    check(&command(b"SUBSCRIBE", b"greet"), &[r#"Subscribe(b"greet")"#]);
    check(&command(b"CANCEL", b""), &[r#"Cancel(b"")"#]);
    // What else a peer sends to an XPUB means nothing here.
    check(&frame(b"", false), &[]);
    check(&frame(b"\x02other", false), &[]);
    let parts = [frame(b"\x01part", true), frame(b"\x01part", false), frame(b"\x01whole", false)];
    check(&parts.concat(), &[r#"Subscribe(b"whole")"#]);
    let longest = [&b"\x01"[..], &[b'x'; SUBSCRIPTION_BYTES_MAX]].concat();
    assert_eq!(End::open(Port::Publishing).feed(&frame(&longest, false)).unwrap().len(), 1);
    let long = [&longest[..], b"x"].concat();
    for bytes in [frame(&long, false), command(b"SUBSCRIBE", &long[1..])] {
        check_closed(End::open(Port::Publishing), &bytes, "a subscription is too long");
    }
    check_closed(End::open(Port::Publishing), &command(b"CANCEL", &[0; 5000]), "too long");
    check_closed(End::open(Port::Publishing), &frame(&[1; 5000], false), "too long");
    // On the port for requests they are commands like any unknown one.
    assert!(End::open(Port::Requests).feed(&command(b"SUBSCRIBE", b"a")).unwrap().is_empty());
}

#[test]
fn a_ping_is_answered_with_its_context_and_sets_the_silence_that_is_borne() {
    for port in [Port::Requests, Port::Publishing] {
        let mut end = End::open(port);
        assert_eq!(end.told(&command(b"PING", b"\x01\x02context")), command(b"PONG", b"context"));
        assert_eq!(end.session.ttl_ds(), 0x102);
        assert_eq!(end.told(&command(b"PING", b"\xff\xff")), command(b"PONG", b""));
        assert_eq!(end.session.ttl_ds(), u16::MAX);
        let long = [&[0, 0][..], &[7; 40]].concat();
        assert_eq!(end.told(&command(b"PING", &long)), command(b"PONG", &[7; 16]));
        assert_eq!(end.session.ttl_ds(), 0);
        assert_eq!(end.told(&command(b"PONG", b"context")), b"");
        assert_eq!(end.told(&command(b"HELLO", b"whatever")), b"");
        assert_eq!(end.told(&command(b"READY", b"again")), b"");
        for short in [&b""[..], b"\0"] {
            let told =
                check_closed(End::open(port), &command(b"PING", short), "overruns its frame");
            assert_eq!(told, b"");
        }
        let longest = vec![0; COMMAND_BYTES_MAX - 6];
        assert_eq!(End::open(port).feed(&command(b"HELLO", &longest)).unwrap().len(), 0);
        let long = [&longest[..], &[0]].concat();
        check_closed(End::open(port), &command(b"HELLO", &long), "a command is too long");
        check_closed(End::open(port), &[12, 3, 0, 0, 0], "");
    }
}

#[test]
fn a_command_between_the_frames_of_a_request_does_not_disturb_it() {
    let mut end = End::open(Port::Requests);
    let bytes = [frame(b"", true), command(b"PING", b"\0\0"), frame(b"body", false)].concat();
    let events = end.feed(&bytes).unwrap();
    assert_eq!(events, [r#"Request(Envelope([1, 0]), b"body")"#]);
    assert_eq!(end.out, command(b"PONG", b""));
}

/// The only event of a request with these frames before its body.
fn request(envelope: &[&[u8]], bodies: &[&[u8]]) -> Event {
    let frames = [envelope, bodies].concat();
    let last = frames.len() - 1;
    let bytes: Vec<u8> =
        frames.iter().enumerate().flat_map(|(at, body)| frame(body, at < last)).collect();
    let mut end = End::open(Port::Requests);
    let mut stream = Pieces(VecDeque::from([bytes]));
    loop {
        if let Some(event) = end.session.advance(&mut end.inbox, &mut end.out).unwrap() {
            assert!(!end.session.is_within_request());
            return event;
        }
        end.inbox.fill(|room| stream.read(room), &mut end.scratch).unwrap();
    }
}

#[test]
fn the_envelope_of_a_request_is_kept_as_it_stands_on_the_wire() {
    let parts: [&[u8]; 6] = [b"1", b"\x00\x01\x02\x03", &[7; 300], b"4", b"5", b"6"];
    for count in 0..=parts.len() {
        let envelope = [&parts[..count], &[b""]].concat();
        let Event::Request(kept, body) = request(&envelope, &[b"body"]) else { panic!() };
        assert_eq!(body, "body");
        let wire: Vec<u8> = envelope.iter().flat_map(|part| frame(part, true)).collect();
        assert_eq!(kept.as_bytes(), wire);
        let mut reply = Vec::new();
        kept.append_reply(b"OK", &mut reply);
        assert_eq!(reply, [&wire[..], b"\0\x02OK"].concat());
    }
    // A body may be empty, too.
    assert!(matches!(request(&[b""], &[b""]), Event::Request(_, body) if body.is_empty()));
}

#[test]
fn a_request_whose_frames_are_not_in_order_is_told_so() {
    let check = |envelope: &[&[u8]], bodies: &[&[u8]], why: &str| match request(envelope, bodies) {
        Event::Malformed(reply, told) => {
            assert_eq!(told, why);
            assert!(reply.as_bytes().ends_with(&[1, 0]), "{reply:?}");
            assert!(reply.as_bytes().len() <= ENVELOPE_BYTES_MAX + 9 * ENVELOPE_FRAMES_MAX);
        }
        other => panic!("{other:?}"),
    };
    check(&[b"no delimiter"], &[], "no empty frame");
    check(&[b"1", b"2"], &[], "no empty frame");
    check(&[b""], &[], "nothing behind the empty one");
    check(&[b""], &[b"body", b"and more"], "more than one frame behind the empty one");
    let too_many = "too many frames, or bytes, before the empty one";
    check(&[b"1", b"2", b"3", b"4", b"5", b"6", b"7", b""], &[b"body"], too_many);
    let long = [7; ENVELOPE_BYTES_MAX / 2];
    check(&[&long, &long, b"x", b""], &[b"body"], too_many);
    check(&[&[7; ENVELOPE_BYTES_MAX + 1], b""], &[b"body"], too_many);
    // The bytes of its head count.
    let most = [7; ENVELOPE_BYTES_MAX - 9];
    assert!(matches!(request(&[&most, b""], &[b"body"]), Event::Request(..)));
}

#[test]
fn a_malformed_request_is_answered_behind_its_whole_envelope_or_behind_an_empty_frame_alone() {
    let check = |frames: &[&[u8]], expected: &[u8]| match request(frames, &[]) {
        Event::Malformed(reply, _) => assert_eq!(reply.as_bytes(), expected, "{frames:?}"),
        other => panic!("{other:?}"),
    };
    check(&[b"id", b""], b"\x01\x02id\x01\0");
    // Bytes that look like an empty frame are none.
    check(&[b"\x01\0"], &[1, 0]);
    check(&[b"id", b"ends in\x01\0"], &[1, 0]);
    // A frame that is left out leaves no envelope that its sender knows.
    let long = [7; ENVELOPE_BYTES_MAX / 2];
    check(&[&long, &long, b"", b"body"], &[1, 0]);
    check(&[b"id", &[7; ENVELOPE_BYTES_MAX + 1], b"", b"body"], &[1, 0]);
}

#[test]
fn a_body_over_the_limit_is_told_with_its_size_and_first_byte_before_it_is_there() {
    let Event::Request(_, body) = request(&[b"id", b""], &[&[1; BODY_MAX]]) else { panic!() };
    assert_eq!(body.len(), BODY_MAX);
    let mut end = End::open(Port::Requests);
    let over = frame(&[&b"\x01"[..], &[9; BODY_MAX]].concat(), false);
    let (now, later) = over.split_at(10);
    let events = end.feed(&[&frame(b"id", true)[..], &frame(b"", true), now].concat()).unwrap();
    let envelope = "Envelope([1, 2, 105, 100, 1, 0])";
    assert_eq!(events, [format!("TooLarge {{ envelope: {envelope}, bytes: 5001, first: 1 }}")]);
    // What is left of it is dropped, and the next request is read.
    let next = [later, &frame(b"", true), &frame(b"next", false)].concat();
    assert_eq!(end.feed(&next).unwrap(), [r#"Request(Envelope([1, 0]), b"next")"#]);
}

#[test]
fn frames_without_an_end_close_the_connection() {
    for first in [&b"x"[..], b""] {
        let most = frame(first, true).repeat(FRAMES_PER_REQUEST_MAX);
        let mut end = End::open(Port::Requests);
        assert!(end.feed(&most).unwrap().is_empty());
        assert!(end.session.is_within_request());
        check_closed(end, &frame(b"x", true), "too many frames");
        let mut end = End::open(Port::Requests);
        end.feed(&most[..most.len() - frame(first, true).len()]).unwrap();
        let events = end.feed(&frame(b"last", false)).unwrap();
        assert!(events[0].starts_with("Malformed"), "{events:?}");
    }
}

/// A part of what a peer sends.
fn part() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..20),
        2 => Just(Vec::new()),
        2 => (0..2_u8, prop::collection::vec(any::<u8>(), 0..5))
            .prop_map(|(what, topic)| [&[what], &topic[..]].concat()),
        1 => (200..6000_usize).prop_map(|bytes| vec![1; bytes]),
    ];
    let names =
        prop_oneof![Just("PING"), Just("PONG"), Just("SUBSCRIBE"), Just("X"), Just("ERROR")];
    prop_oneof![
        8 => (body, any::<bool>()).prop_map(|(body, more)| frame(&body, more)),
        3 => (names, prop::collection::vec(any::<u8>(), 0..30))
            .prop_map(|(name, content)| command(name.as_bytes(), &content)),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ]
}

fn handshake() -> impl Strategy<Value = Vec<u8>> {
    let ready = |peer: &[u8]| [&GREETING[..], &ready(peer)].concat();
    prop_oneof![
        4 => Just(ready(b"DEALER")),
        4 => Just(ready(b"SUB")),
        2 => Just([&greeting_v2(5)[..], &[0, 0]].concat()),
        2 => Just([&greeting_v2(2)[..], &[0, 2, 7, 7]].concat()),
        1 => Just(Vec::new()),
        2 => (Just(ready(b"REQ")), 0..80_usize, any::<u8>()).prop_map(|(mut all, at, byte)| {
            all[at] = byte;
            all
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn bytes_mean_the_same_however_they_are_cut(
        publishing: bool,
        handshake in handshake(),
        parts in prop::collection::vec(part(), 0..12),
        cuts in prop::collection::vec(prop_oneof![1..6_usize, 1..300_usize], 1..20),
    ) {
        let port = if publishing { Port::Publishing } else { Port::Requests };
        let script = [handshake, parts.concat()].concat();
        let run = |pieces: &[&[u8]]| {
            let mut end = End::new(port);
            let mut all = end.feed(&[]).unwrap();
            let mut closed = None;
            for piece in pieces {
                let (events, reason) = end.feed_until(piece);
                all.extend(events);
                if let Some(reason) = reason {
                    closed = Some(match reason {
                        // Who it is may be told only by more than the first byte.
                        CloseReason::Greeting(_) => "no greeting".to_owned(),
                        other => other.to_string(),
                    });
                    break;
                }
            }
            (all, closed, end.out)
        };
        let mut pieces: Vec<&[u8]> = Vec::new();
        let mut rest = &script[..];
        for &cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let piece;
            (piece, rest) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
        }
        prop_assert_eq!(run(&pieces), run(&[&script]));
    }
}
