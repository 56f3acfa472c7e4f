//! Scripts: some that are interesting, and any.

use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::name;
use proptest::prelude::*;
use proptest::sample::Index;

use super::play::Script;
use super::walk::{COMMAND, LONG, MORE, Port};
use crate::harness::raw::{
    cancellation, command, greeting, part, ready, ready_with, request, subscription,
};

pub(super) fn ping_body() -> Vec<u8> {
    v2_prefix(name::PING)
}

/// A frame whose length stands in eight bytes though one would do.
pub(super) fn long(flags: u8, body: &[u8]) -> Vec<u8> {
    [&[flags | LONG][..], &(body.len() as u64).to_be_bytes(), body].concat()
}

/// The greeting of a version, with this mechanism.
pub(super) fn greeting_of(major: u8, minor: u8, mechanism: &[u8]) -> Vec<u8> {
    let mut greeting = greeting();
    (greeting[10], greeting[11]) = (major, minor);
    greeting[12..32].fill(0);
    greeting[12..12 + mechanism.len()].copy_from_slice(mechanism);
    greeting
}

/// The greeting of a ZMTP 2.0 socket, and its identity.
pub(super) fn handshake_v2(socket_type: u8, identity: &[u8]) -> Vec<u8> {
    [b"\xff\0\0\0\0\0\0\0\x01\x7f\x01", &[socket_type][..], &part(identity, false)].concat()
}

/// The handshake of the usual peer.
pub(super) fn handshake(port: Port) -> Vec<u8> {
    let peer = if port == Port::Requests { "DEALER" } else { "SUB" };
    [greeting(), ready(peer)].concat()
}

/// Scripts that show what peers of all kinds do.
pub(super) fn corpus() -> Vec<Script> {
    use Port::{Publishing, Requests};
    let ping = &ping_body()[..];
    let behind = |port, frames: &[Vec<u8>]| (port, [handshake(port), frames.concat()].concat());
    let ready_to = |port, ready: Vec<u8>, then: Vec<u8>| (port, [greeting(), ready, then].concat());
    let topic = |name: &str| v2_prefix(name);
    [
        // REQ, and DEALERs that keep something in the envelope.
        behind(Requests, &[request(ping), part(b"7", true), request(b"no frame"), request(b"")]),
        behind(Requests, &[part(&[7; 300], true), part(b"", true), long(0, ping)]),
        // No delimiter, nothing behind it, too much behind it.
        behind(
            Requests,
            &[part(ping, false), part(b"", false), part(b"a", true), part(b"", false)],
        ),
        behind(Requests, &[part(b"\x01\0", false), part(b"ends in\x01\0", false), request(ping)]),
        behind(Requests, &[part(b"", true), part(ping, true), part(ping, false)]),
        behind(Requests, &[part(b"x", true).repeat(7), request(ping), request(ping)]),
        behind(Requests, &[part(&[1; 1500], true).repeat(2), request(ping), request(ping)]),
        // Commands before, between and within requests.
        behind(
            Requests,
            &[
                command("PING", b"\0\0"),
                part(b"", true),
                command("PING", b"\0\0sixteen bytes ok"),
                part(ping, false),
                command("PING", b"\xff\xffmore than sixteen bytes"),
                command("PONG", b"what"),
                command("HELLO", b""),
                command("ERROR", b"\x02no"),
                ready("SUB"),
                long(COMMAND, b"\x04PING\0\0long"),
            ],
        ),
        behind(
            Publishing,
            &[
                subscription(&topic("aa")),
                subscription(&topic("aa")),
                command("SUBSCRIBE", &topic("b")),
                cancellation(&topic("aa")),
                command("CANCEL", &topic("unknown")),
                subscription(&topic("ab")),
                command("CANCEL", &topic("ab")),
                command("PING", b"\0\0hello"),
            ],
        ),
        behind(Publishing, &[command("SUBSCRIBE", b""), subscription(b"\x01a"), cancellation(b"")]),
        behind(
            Publishing,
            &[subscription(b"a"), command("SUBSCRIBE", b"aa|"), subscription(b"zz")],
        ),
        // What an XSUB may send upstream, which means nothing here.
        behind(
            Publishing,
            &[part(b"upstream", false), part(b"", false), part(b"", true), part(b"\x02", false)],
        ),
        // Other peers.
        ready_to(
            Requests,
            ready_with(&[("socket-TYPE", b"REQ"), ("IDENTITY", b"me")]),
            request(ping),
        ),
        ready_to(
            Requests,
            ready_with(&[("Socket-Type", b"ROUTER"), ("Identity", b"")]),
            request(ping),
        ),
        ready_to(Publishing, ready_with(&[("X-Any", &[7; 300])]), subscription(&topic("b"))),
        (Requests, [greeting_of(3, 1, b"NULL"), ready("DEALER"), request(ping)].concat()),
        (Publishing, [greeting_of(4, 0, b"NULL"), ready("XSUB"), subscription(b"")].concat()),
        (Requests, [handshake_v2(5, b"me"), request(ping), part(ping, false)].concat()),
        (
            Publishing,
            [handshake_v2(2, b""), subscription(&topic("ab")), cancellation(b"")].concat(),
        ),
        // No peers.
        (Requests, greeting_of(3, 0, b"PLAIN")),
        (Requests, greeting_of(3, 1, b"CURVE")),
        (Requests, greeting_of(3, 1, b"NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01")),
        ready_to(Requests, command("ERROR", b"\x02no"), request(ping)),
        ready_to(Publishing, command("PING", b"\0\0"), ready("SUB")),
        ready_to(Requests, part(b"hello", false), ready("REQ")),
        ready_to(Requests, command("READY", b"\x0bSocket-Type\0\0\0\x07DEALER"), Vec::new()),
        ready_to(Requests, command("READY", b"\x0bSocket-Type\0\0\0\x06DEALER\x01"), Vec::new()),
    ]
    .into_iter()
    .map(|(port, bytes)| Script { port, bytes, cuts: Vec::new() })
    .collect()
}

/// A script of a few frames behind a handshake, most of them in order. One in four has a byte changed, one in
/// four ends early.
pub(super) fn any_script(port: Port) -> impl Strategy<Value = Script> {
    let step = match port {
        Port::Requests => any_request_step().boxed(),
        Port::Publishing => any_subscriber_step().boxed(),
    };
    let steps = prop::collection::vec(step, 0..8);
    let change = prop::option::weighted(0.25, (any::<Index>(), 1_u8..));
    let end = prop::option::weighted(0.25, any::<Index>());
    let cuts = prop::collection::vec(any::<Index>(), 0..3);
    (any_handshake(port), steps, change, end, cuts).prop_map(
        move |(handshake, steps, change, end, cuts)| {
            let mut bytes = [handshake, steps.concat()].concat();
            if let Some((at, change)) = change
                && !bytes.is_empty()
            {
                let at = at.index(bytes.len());
                bytes[at] ^= change;
            }
            if let Some(end) = end {
                bytes.truncate(end.index(bytes.len() + 1));
            }
            let cuts = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            Script { port, bytes, cuts }
        },
    )
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=most)
}

fn any_handshake(port: Port) -> impl Strategy<Value = Vec<u8>> {
    let (peers, peers_v2) = match port {
        Port::Requests => (["REQ", "DEALER", "ROUTER"], [3, 5, 6]),
        Port::Publishing => (["SUB", "XSUB", "SUB"], [2, 10, 2]),
    };
    let greeting = prop_oneof![
        12 => (prop_oneof![8 => Just(3_u8), 1 => 3_u8..], 0..3_u8)
            .prop_map(|(major, minor)| greeting_of(major, minor, b"NULL")),
        // Bytes that nobody looks at.
        2 => (bytes(8), bytes(32)).prop_map(|(length, filler)| {
            let mut greeting = greeting_of(3, 1, b"NULL");
            greeting[1..=length.len()].copy_from_slice(&length);
            greeting[32..32 + filler.len()].copy_from_slice(&filler);
            greeting
        }),
        1 => prop::sample::select(vec!["PLAIN", "CURVE", "NULLX", "GSSAPI", ""])
            .prop_map(|mechanism| greeting_of(3, 0, mechanism.as_bytes())),
    ];
    let peer = prop::sample::select(peers.to_vec());
    let other = (prop::sample::select(vec!["Resource", "X-Mine", "", "identity"]), bytes(300));
    let first = prop_oneof![
        8 => peer.clone().prop_map(ready),
        3 => (peer.clone(), bytes(255)).prop_map(|(peer, identity)| {
            ready_with(&[("Socket-Type", peer.as_bytes()), ("Identity", &identity)])
        }),
        2 => (prop::sample::select(vec!["Socket-Type", "socket-type", "SOCKET-TYPE"]), peer, other)
            .prop_map(|(name, peer, (other, value))| {
                ready_with(&[(other, &value), (name, peer.as_bytes())])
            }),
        1 => Just(ready_with(&[])),
        1 => prop::sample::select(vec!["PUB", "REP", "sub", "XPUB", ""]).prop_map(ready),
        1 => bytes(12).prop_map(|list| command("READY", &list)),
        1 => any_command(),
    ];
    prop_oneof![
        16 => (greeting, first).prop_map(|(greeting, first)| [greeting, first].concat()),
        3 => (prop::sample::select(peers_v2.to_vec()), bytes(255))
            .prop_map(|(peer, identity)| handshake_v2(peer, &identity)),
        1 => bytes(80),
        1 => (0..4_u8, bytes(60)).prop_map(|(revision, rest)| {
            [b"\xff\0\0\0\0\0\0\0\x01\x7f", &[revision][..], &rest].concat()
        }),
    ]
}

fn any_command() -> impl Strategy<Value = Vec<u8>> {
    let ttl = prop::sample::select(vec![0_u16, 600, 0x258, u16::MAX]);
    prop_oneof![
        6 => (ttl, bytes(40)).prop_map(|(ttl, context)| {
            command("PING", &[&ttl.to_be_bytes(), &context[..]].concat())
        }),
        1 => bytes(1).prop_map(|body| command("PING", &body)),
        2 => (prop::sample::select(vec!["PONG", "HELLO", "ERROR", "READY", "JOIN", ""]), bytes(20))
            .prop_map(|(name, body)| command(name, &body)),
        1 => bytes(300).prop_map(|body| long(COMMAND, &body)),
    ]
}

fn any_request_step() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        4 => Just(ping_body()),
        1 => Just(b"ping|".to_vec()),
        1 => Just(Vec::new()),
        1 => Just(b"no frame".to_vec()),
        1 => bytes(300).prop_map(|rest| [b"\x03", &rest[..]].concat()),
    ];
    let envelope = prop_oneof![
        6 => prop::collection::vec(bytes(12), 0..3),
        1 => prop::collection::vec(bytes(3), 0..10),
        1 => prop::collection::vec(bytes(800), 0..5),
    ];
    let more = |parts: &[Vec<u8>]| parts.iter().flat_map(|frame| part(frame, true)).collect();
    prop_oneof![
        8 => (envelope, body.clone()).prop_map(move |(envelope, body)| {
            let envelope: Vec<u8> = more(&envelope);
            [envelope, request(&body)].concat()
        }),
        4 => any_command(),
        2 => (body, any::<bool>(), any::<bool>()).prop_map(|(body, is_long, more)| {
            if is_long { long(if more { MORE } else { 0 }, &body) } else { part(&body, more) }
        }),
        1 => any_flags(),
    ]
}

fn any_subscriber_step() -> impl Strategy<Value = Vec<u8>> {
    let topic = prop_oneof![
        8 => prop::sample::select(vec!["a", "aa", "aa|", "ab|", "b", "b|", "", "c|"])
            .prop_map(|name| [b"\x01", name.as_bytes()].concat()),
        3 => prop::sample::select(vec!["", "a", "aa|", "b", "zz"]).prop_map(Vec::from),
        1 => bytes(300),
    ];
    prop_oneof![
        8 => (topic.clone(), 0..3_u8).prop_map(|(topic, what)| {
            part(&[&[u8::from(what > 0)], &topic[..]].concat(), false)
        }),
        6 => (topic, 0..3_u8).prop_map(|(topic, what)| {
            command(if what > 0 { "SUBSCRIBE" } else { "CANCEL" }, &topic)
        }),
        4 => any_command(),
        2 => (2_u8.., bytes(20), any::<bool>(), any::<bool>()).prop_map(|(first, body, more, is_long)| {
            let body = [&[first], &body[..]].concat();
            if is_long { long(0, &body) } else { part(&body, more) }
        }),
        1 => any_flags(),
    ]
}

/// A short frame with flags that may have no meaning.
fn any_flags() -> impl Strategy<Value = Vec<u8>> {
    let flags =
        prop_oneof![Just(0_u8), Just(MORE), Just(COMMAND), Just(MORE | COMMAND), any::<u8>()];
    (flags, any_command()).prop_map(|(flags, command)| [&[flags & !LONG], &command[1..]].concat())
}
