//! The server's end of a connection, with CURVE.

use std::sync::Arc;

use super::super::{CloseReason, Event, GreetingError, Port, Session};
use super::*;
use crate::zmtp::curve::Traffic;
use crate::zmtp::curve::client::{self, ClientHandshake};
use crate::zmtp::curve::keys::{AuthorizedKeys, ClientKeys, KeyPair};
use crate::zmtp::frame::Head;
use crate::zmtp::greeting::{FIRST, REST_V3_CURVE};
use crate::zmtp::handshake::{GREETING, GREETING_CURVE, properties, ready};
use crate::zmtp::inbox::Room;

const BODY_MAX: usize = 5000;

/// Both ends of a connection.
struct Pair {
    session: Session,
    inbox: Inbox,
    /// What the client is told.
    out: Vec<u8>,
    client: KeyPair,
    keys: Arc<ClientKeys>,
}

impl Pair {
    fn new(port: Port) -> Self {
        let client = KeyPair::generate();
        let authorized = [client.public()].into_iter().collect();
        Self::of(port, client, authorized)
    }

    fn of(port: Port, client: KeyPair, authorized: AuthorizedKeys) -> Self {
        let own = KeyPair::generate();
        let keys = Arc::new(ClientKeys { own: client.clone(), server: own.public() });
        let session = Session::new(
            port,
            BODY_MAX,
            &ServerMechanism::Keys(Arc::new(ServerKeys { own, authorized })),
        );
        Self { session, inbox: Inbox::default(), out: Vec::new(), client, keys }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, CloseReason> {
        let (mut events, mut rest, mut scratch) = (Vec::new(), bytes, Vec::new());
        loop {
            match self.session.advance(&mut self.inbox, &mut self.out)? {
                Some(event) => events.push(event),
                None if rest.is_empty() => return Ok(events),
                None => {
                    let read = |room: Room<'_>| {
                        let (now, later) = rest.split_at(rest.len().min(room.bytes()));
                        rest = later;
                        Ok(room.put(now))
                    };
                    self.inbox.fill(read, &mut scratch).unwrap();
                }
            }
        }
    }

    /// The frames that the client was told, and was not asked for yet.
    fn told(&mut self) -> Vec<(Head, Vec<u8>)> {
        let out = std::mem::take(&mut self.out);
        let (mut rest, mut frames) = (&out[..], Vec::new());
        while let Some((head, head_bytes)) = Head::read(rest).unwrap() {
            let (body, after) = rest[head_bytes..].split_at(head.body_bytes as usize);
            frames.push((head, body.to_vec()));
            rest = after;
        }
        frames
    }

    /// The handshake, up to the client's last word.
    fn initiate(&mut self, socket: &[u8]) -> (ClientHandshake, Result<Vec<Event>, CloseReason>) {
        assert!(self.feed(&GREETING_CURVE).unwrap().is_empty());
        assert_eq!(std::mem::take(&mut self.out), [&FIRST[..], &REST_V3_CURVE].concat());
        let mut out = Vec::new();
        let mut handshake = ClientHandshake::begin(Arc::clone(&self.keys), &mut out);
        assert!(self.feed(&out).unwrap().is_empty());
        let [(_, welcome)] = &self.told()[..] else { panic!() };
        out.clear();
        let step = handshake.advance(welcome, &properties(socket), &mut out).unwrap();
        assert!(matches!(step, client::Step::Sent));
        let result = self.feed(&out);
        (handshake, result)
    }

    /// The whole handshake.
    fn open(port: Port, socket: &[u8]) -> (Self, Traffic) {
        let mut pair = Self::new(port);
        let (mut handshake, result) = pair.initiate(socket);
        assert!(matches!(result.unwrap()[..], [Event::Opened]));
        assert_eq!(pair.session.client_key(), Some(pair.client.public()));
        let [(_, ready)] = &pair.told()[..] else { panic!() };
        match handshake.advance(ready, b"", &mut Vec::new()).unwrap() {
            client::Step::Ready(list, traffic) => {
                assert_eq!(list, properties(port.socket_type().as_bytes()));
                (pair, traffic)
            }
            step => panic!("{step:?}"),
        }
    }
}

fn sealed(traffic: &mut Traffic, head: Head, body: &[u8]) -> Vec<u8> {
    let (mut frame, mut out) = (Vec::new(), Vec::new());
    head.append_to(&mut frame);
    frame.extend_from_slice(body);
    traffic.sealer.push(&frame, &mut out);
    out
}

fn command(name: &[u8], content: &[u8]) -> Vec<u8> {
    [&[name.len() as u8], name, content].concat()
}

#[test]
fn requests_and_what_they_are_answered_are_sealed() {
    let (mut pair, mut traffic) = Pair::open(Port::Requests, b"DEALER");
    let mut bytes = sealed(&mut traffic, Head::message(0, true), b"");
    bytes.extend(sealed(&mut traffic, Head::message(7, false), b"request"));
    let events = pair.feed(&bytes).unwrap();
    let [Event::Request(_, body)] = &events[..] else { panic!("{events:?}") };
    assert_eq!(&body[..], b"request");
    let mut sealer = pair.session.take_sealer().unwrap();
    assert!(pair.session.take_sealer().is_none());
    let mut out = Vec::new();
    sealer.push(b"\0\x06answer", &mut out);
    let (head, body) = traffic.opener.open(&out[2..]).unwrap();
    assert_eq!((head, &body[..]), (Head::message(6, false), &b"answer"[..]));
}

#[test]
fn subscriptions_and_pings_travel_within_messages() {
    let (mut pair, mut traffic) = Pair::open(Port::Publishing, b"SUB");
    let mut bytes = Vec::new();
    for (name, content) in
        [(&b"SUBSCRIBE"[..], &b"greet"[..]), (b"PING", b"\0\0ctx"), (b"CANCEL", b"greet")]
    {
        let body = command(name, content);
        bytes.extend(sealed(&mut traffic, Head::command(body.len()), &body));
    }
    bytes.extend(sealed(&mut traffic, Head::message(2, false), b"\x01x"));
    let events = pair.feed(&bytes).unwrap();
    let [Event::Subscribe(one), Event::Cancel(same), Event::Subscribe(x)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((&one[..], &same[..], &x[..]), (&b"greet"[..], &b"greet"[..], &b"x"[..]));
    // Whoever sends seals it.
    assert_eq!(pair.told(), [(Head::command(8), command(b"PONG", b"ctx"))]);
}

#[track_caller]
fn check_closed(pair: &mut Pair, bytes: &[u8], why: &str) {
    let reason = pair.feed(bytes).unwrap_err();
    assert!(reason.to_string().contains(why), "{reason}");
    assert!(!reason.is_told(), "{reason}");
}

#[test]
fn what_is_not_sealed_ends_an_open_connection() {
    let open = || Pair::open(Port::Requests, b"DEALER");
    check_closed(&mut open().0, b"\x01\0\0\x07request", "MESSAGE");
    check_closed(&mut open().0, b"\x04\x08\x04PING\0\0x", "MESSAGE");
    check_closed(&mut open().0, &ready(b"DEALER"), "MESSAGE");
    let (mut pair, mut traffic) = open();
    let bytes = sealed(&mut traffic, Head::message(0, true), b"");
    pair.feed(&bytes).unwrap();
    check_closed(&mut pair, &bytes, "does not rise");
}

#[test]
fn a_sealed_frame_has_the_limit_of_its_content() {
    let (mut pair, mut traffic) = Pair::open(Port::Requests, b"DEALER");
    let mut bytes = sealed(&mut traffic, Head::message(0, true), b"");
    bytes.extend(sealed(&mut traffic, Head::message(BODY_MAX, false), &[7; BODY_MAX]));
    let events = pair.feed(&bytes).unwrap();
    assert!(matches!(&events[..], [Event::Request(_, body)] if body.len() == BODY_MAX));
    let mut bytes = sealed(&mut traffic, Head::message(0, true), b"");
    bytes.extend(sealed(&mut traffic, Head::message(BODY_MAX + 1, false), &[7; BODY_MAX + 1]));
    check_closed(&mut pair, &bytes, "over the limit");
}

#[test]
fn who_has_no_keys_is_told_by_the_greeting_and_closed() {
    let mut plain = GREETING;
    plain[12..17].copy_from_slice(b"PLAIN");
    for greeting in [GREETING, plain] {
        let mut pair = Pair::new(Port::Requests);
        let bytes = [&greeting[..], &ready(b"DEALER")].concat();
        let reason = pair.feed(&bytes).unwrap_err();
        assert!(matches!(reason, CloseReason::Greeting(GreetingError::NotCurve)), "{reason}");
        assert!(reason.is_told());
        assert_eq!(pair.out, [&FIRST[..], &REST_V3_CURVE].concat());
    }
    let mut pair = Pair::new(Port::Publishing);
    check_closed(&mut pair, &[&GREETING[..10], &[1, 2, 0, 0]].concat(), "ZMTP 2.0");
}

#[test]
fn nothing_but_the_handshake_comes_before_its_end() {
    let greeted = || {
        let mut pair = Pair::new(Port::Requests);
        pair.feed(&GREETING_CURVE).unwrap();
        pair.out.clear();
        pair
    };
    check_closed(&mut greeted(), &ready(b"DEALER"), "HELLO");
    check_closed(&mut greeted(), b"\x01\0\0\x07request", "message within");
    let long = [&b"\x06"[..], &5000_u64.to_be_bytes(), b"\x05"].concat();
    check_closed(&mut greeted(), &long, "handshake is too long");
}

#[test]
fn a_wrong_socket_and_a_wrong_key_are_told() {
    let mut pair = Pair::new(Port::Requests);
    let (_, result) = pair.initiate(b"SUB");
    let reason = result.unwrap_err();
    assert!(matches!(reason, CloseReason::WrongSocket { .. }) && reason.is_told(), "{reason}");
    assert_eq!(pair.told()[0].1, command(b"ERROR", b"\x13Invalid socket type"));

    let stranger = KeyPair::generate();
    let mut pair = Pair::of(Port::Requests, stranger.clone(), [].into_iter().collect());
    let (_, result) = pair.initiate(b"DEALER");
    let reason = result.unwrap_err();
    assert!(reason.is_told() && reason.to_string().contains(&stranger.public().to_string()));
    assert_eq!(pair.told()[0].1, command(b"ERROR", b"\x03400"));
    assert_eq!(pair.session.client_key(), None);
}
