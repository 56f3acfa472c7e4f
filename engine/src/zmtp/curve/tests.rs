//! What both ends promise each other, and refuse.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::client::{self, ClientHandshake};
use super::keys::{AuthorizedKeys, ClientKeys, KeyPair, PublicKey, ServerKeys};
use super::server::{self, Initiated, ServerHandshake};
use super::traffic::{OVERHEAD_BYTES, Opener};
use super::*;
use crate::random::random_bytes;
use crate::zmtp::command;
use crate::zmtp::frame::Head;

/// What both ends say of themselves.
const CLIENT: &[u8] = b"\x0bSocket-Type\0\0\0\x06DEALER";
const SERVER: &[u8] = b"\x0bSocket-Type\0\0\0\x06ROUTER";

fn keys() -> (Arc<ClientKeys>, Arc<ServerKeys>) {
    let (client, server) = (KeyPair::generate(), KeyPair::generate());
    let authorized = [client.public()].into_iter().collect();
    let client = ClientKeys { own: client, server: server.public() };
    (Arc::new(client), Arc::new(ServerKeys { own: server, authorized }))
}

/// The body of the one command that these bytes are.
fn body(frame: &[u8]) -> &[u8] {
    let (head, head_bytes) = Head::read(frame).unwrap().unwrap();
    assert!(head.command && !head.more);
    assert_eq!(frame.len() as u64, head_bytes as u64 + head.body_bytes);
    &frame[head_bytes..]
}

fn hello(keys: &Arc<ClientKeys>) -> (ClientHandshake, Vec<u8>) {
    let mut out = Vec::new();
    let handshake = ClientHandshake::begin(Arc::clone(keys), &mut out);
    (handshake, body(&out).to_vec())
}

/// A server's end that takes this HELLO, and its WELCOME.
fn welcome(keys: &Arc<ServerKeys>, hello: &[u8]) -> (ServerHandshake, Vec<u8>) {
    let (mut handshake, mut out) = (ServerHandshake::new(Arc::clone(keys)), Vec::new());
    assert!(matches!(handshake.advance(hello, &mut out), Ok(server::Step::Welcomed)));
    (handshake, body(&out).to_vec())
}

fn initiate(handshake: &mut ClientHandshake, welcome: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(matches!(handshake.advance(welcome, CLIENT, &mut out), Ok(client::Step::Sent)));
    body(&out).to_vec()
}

fn initiated(handshake: &mut ServerHandshake, initiate: &[u8]) -> Initiated {
    match handshake.advance(initiate, &mut Vec::new()).unwrap() {
        server::Step::Initiated(initiated) => initiated,
        server::Step::Welcomed => panic!("not yet"),
    }
}

#[track_caller]
fn refused(mut handshake: ServerHandshake, body: &[u8]) -> CurveError {
    let mut out = Vec::new();
    let error = handshake.advance(body, &mut out).unwrap_err();
    assert!(out.is_empty(), "it is told nothing");
    let next = handshake.advance(body, &mut out).unwrap_err();
    assert_eq!(next, CurveError::Command("MESSAGE"), "nothing leads on from there");
    error
}

/// The keys of both ends of a connection: the client's, the server's.
fn traffic() -> (Traffic, Traffic) {
    let (client_keys, server_keys) = keys();
    let (mut client, first) = hello(&client_keys);
    let (mut server, second) = welcome(&server_keys, &first);
    let initiated = initiated(&mut server, &initiate(&mut client, &second));
    assert_eq!(initiated.client, client_keys.own.public());
    assert_eq!(initiated.properties, CLIENT);
    let mut out = Vec::new();
    let server = initiated.ready(SERVER, &mut out);
    match client.advance(body(&out), CLIENT, &mut Vec::new()).unwrap() {
        client::Step::Ready(properties, client) => {
            assert_eq!(properties, SERVER);
            (client, server)
        }
        step => panic!("{step:?}"),
    }
}

fn frame(head: Head, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    head.append_to(&mut frame);
    frame.extend_from_slice(body);
    frame
}

/// The bodies of the frames that these bytes are.
fn bodies(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut bodies) = (bytes, Vec::new());
    while let Some((head, head_bytes)) = Head::read(rest).unwrap() {
        assert!(!head.more && !head.command, "as libzmq sends them");
        let (body, after) = rest[head_bytes..].split_at(head.body_bytes as usize);
        bodies.push(body);
        rest = after;
    }
    assert!(rest.is_empty());
    bodies
}

#[test]
fn commands_have_the_sizes_of_the_specification() {
    let (client_keys, server_keys) = keys();
    let (mut client, first) = hello(&client_keys);
    assert_eq!((first.len(), &first[..8]), (200, &b"\x05HELLO\x01\0"[..]));
    let (_, second) = welcome(&server_keys, &first);
    assert_eq!((second.len(), &second[..8]), (168, &b"\x07WELCOME"[..]));
    let third = initiate(&mut client, &second);
    assert_eq!((third.len(), &third[..9]), (257 + CLIENT.len(), &b"\x08INITIATE"[..]));
}

#[test]
fn a_change_of_any_byte_of_the_handshake_ends_it() {
    let (client_keys, server_keys) = keys();
    let flip = |bytes: &[u8], at: usize| {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1 << (at % 8);
        changed
    };
    /// The last bit of the short-term key, of which X25519 makes nothing.
    const UNUSED: usize = 80 + 31;
    for at in 0..200 {
        let (mut client, first) = hello(&client_keys);
        let mut handshake = ServerHandshake::new(Arc::clone(&server_keys));
        let mut second = Vec::new();
        let taken = handshake.advance(&flip(&first, at), &mut second).is_ok();
        let is_free = (8..80).contains(&at) || at == UNUSED;
        assert_eq!(taken, is_free, "byte {at} of HELLO, whose padding is free");
        if at == UNUSED {
            let third = initiate(&mut client, body(&second));
            assert_eq!(refused(handshake, &third), CurveError::Vouch);
        }
    }
    for at in 0..168 {
        let (mut client, first) = hello(&client_keys);
        let (_, second) = welcome(&server_keys, &first);
        let mut out = Vec::new();
        client.advance(&flip(&second, at), CLIENT, &mut out).unwrap_err();
        assert!(out.is_empty(), "byte {at} of WELCOME");
    }
    for at in 0..257 + CLIENT.len() {
        let (mut client, first) = hello(&client_keys);
        let (server, second) = welcome(&server_keys, &first);
        let third = initiate(&mut client, &second);
        let error = refused(server, &flip(&third, at));
        match at {
            0..9 => assert_eq!(error, CurveError::Command("INITIATE")),
            9..105 => assert_eq!(error, CurveError::Cookie),
            _ => assert_eq!(error, CurveError::Box("INITIATE")),
        }
    }
    let ready_bytes = 6 + 8 + 16 + SERVER.len();
    for at in 0..ready_bytes {
        let (mut client, first) = hello(&client_keys);
        let (mut server, second) = welcome(&server_keys, &first);
        let third = initiate(&mut client, &second);
        let mut out = Vec::new();
        initiated(&mut server, &third).ready(SERVER, &mut out);
        let fourth = body(&out);
        assert_eq!(fourth.len(), ready_bytes);
        client.advance(&flip(fourth, at), CLIENT, &mut Vec::new()).unwrap_err();
    }
}

#[test]
fn commands_that_are_cut_short_or_go_on_are_refused() {
    let (client_keys, server_keys) = keys();
    let (mut client, first) = hello(&client_keys);
    let longer = |bytes: &[u8]| [bytes, &[0]].concat();
    for end in 0..first.len() {
        refused(ServerHandshake::new(Arc::clone(&server_keys)), &first[..end]);
    }
    refused(ServerHandshake::new(Arc::clone(&server_keys)), &longer(&first));
    let (_, second) = welcome(&server_keys, &first);
    for end in 0..second.len() {
        let (mut other, _) = hello(&client_keys);
        other.advance(&second[..end], CLIENT, &mut Vec::new()).unwrap_err();
    }
    let third = initiate(&mut client, &second);
    for end in (0..third.len()).step_by(7) {
        let (server, _) = welcome(&server_keys, &first);
        refused(server, &third[..end]);
    }
    let (mut client, first) = hello(&client_keys);
    let (server, second) = welcome(&server_keys, &first);
    refused(server, &longer(&initiate(&mut client, &second)));
}

#[test]
fn a_recorded_handshake_opens_no_other_connection() {
    let (client_keys, server_keys) = keys();
    let (mut client, first) = hello(&client_keys);
    let (mut server, second) = welcome(&server_keys, &first);
    let third = initiate(&mut client, &second);
    // The HELLO is taken, which shows nothing; what follows it is not.
    let (other, other_second) = welcome(&server_keys, &first);
    assert_ne!(second, other_second);
    assert_eq!(refused(other, &third), CurveError::Cookie);
    // Nor is a WELCOME of another connection.
    let (mut late, _) = hello(&client_keys);
    let error = late.advance(&second, CLIENT, &mut Vec::new()).unwrap_err();
    assert_eq!(error, CurveError::Box("WELCOME"));
    initiated(&mut server, &third);
    let again = server.advance(&third, &mut Vec::new()).unwrap_err();
    assert_eq!(again, CurveError::Command("MESSAGE"));
}

#[test]
fn commands_have_their_order() {
    let (client_keys, server_keys) = keys();
    let (mut client, first) = hello(&client_keys);
    let (server, second) = welcome(&server_keys, &first);
    assert_eq!(refused(server, &first), CurveError::Command("INITIATE"));
    let third = initiate(&mut client, &second);
    let server = ServerHandshake::new(server_keys);
    assert_eq!(refused(server, &third), CurveError::Command("HELLO"));
    let error = client.advance(&second, CLIENT, &mut Vec::new()).unwrap_err();
    assert_eq!(error, CurveError::Command("READY"));
}

#[test]
fn another_server_can_neither_open_a_hello_nor_answer_it() {
    let (client_keys, _) = keys();
    let (_, other) = keys();
    let (mut client, first) = hello(&client_keys);
    assert_eq!(refused(ServerHandshake::new(Arc::clone(&other)), &first), CurveError::Hello);
    // It does as if it had opened the HELLO.
    let theirs = PublicKey::from_bytes(*first[80..].first_chunk().unwrap());
    let nonce = random_bytes();
    let mut sealed = Vec::new();
    let content = [0; KEY_BYTES + COOKIE_BYTES];
    other.own.secret().agree(&theirs).append_box(
        &random(b"WELCOME-", &nonce),
        &[&content],
        &mut sealed,
    );
    let second = [&b"\x07WELCOME"[..], &nonce, &sealed].concat();
    assert_eq!(second.len(), 168);
    let error = client.advance(&second, CLIENT, &mut Vec::new()).unwrap_err();
    assert_eq!(error, CurveError::Box("WELCOME"));
}

#[test]
fn only_authorized_keys_are_accepted_and_any_if_it_is_said() {
    let (client_keys, server_keys) = keys();
    let with = |authorized| {
        let (mut client, first) = hello(&client_keys);
        let keys = Arc::new(ServerKeys { own: server_keys.own.clone(), authorized });
        let (server, second) = welcome(&keys, &first);
        (server, initiate(&mut client, &second))
    };
    for authorized in [vec![], vec![KeyPair::generate().public()], vec![server_keys.own.public()]] {
        let (server, third) = with(authorized.into_iter().collect());
        let (mut server, key) = (server, client_keys.own.public());
        let error = server.advance(&third, &mut Vec::new()).unwrap_err();
        assert_eq!((error, server.refused()), (CurveError::NotAuthorized, Some(key)));
    }
    let (mut server, third) = with(AuthorizedKeys::any());
    assert_eq!(initiated(&mut server, &third).client, client_keys.own.public());
}

/// A client's command that vouches with this key for these two, and says that it is `client`'s.
fn forged(
    client: PublicKey,
    with: &KeyPair,
    short: PublicKey,
    server: PublicKey,
) -> Result<PublicKey, CurveError> {
    let (_, server_keys) = keys();
    let keys = ServerKeys { authorized: AuthorizedKeys::any(), own: server_keys.own.clone() };
    let server_key = keys.own.public();
    let mine = KeyPair::generate();
    let own_or =
        |key: PublicKey, own| if key == PublicKey::from_bytes([0; 32]) { own } else { key };
    let first = mine.secret().agree(&server_key);
    let mut sealed = Vec::new();
    first.append_box(&counted(b"CurveZMQHELLO---", 1), &[&HELLO_CONTENT], &mut sealed);
    let mut hello = Vec::new();
    let fields =
        [&HELLO_HEAD[..], mine.public().as_bytes(), &1_u64.to_be_bytes(), &sealed].concat();
    command::append(b"HELLO", &[&fields], &mut hello);
    let (mut handshake, second) = welcome(&Arc::new(keys), body(&hello));
    let nonce = second[8..].first_chunk().unwrap();
    let content = first.open_box(&random(b"WELCOME-", nonce), &second[24..]).unwrap();
    let (theirs, cookie) = content.split_first_chunk().unwrap();
    let theirs = PublicKey::from_bytes(*theirs);
    let nonce = random_bytes();
    let mut vouch = nonce.to_vec();
    with.secret().agree(&theirs).append_box(
        &random(b"VOUCH---", &nonce),
        &[own_or(short, mine.public()).as_bytes(), own_or(server, server_key).as_bytes()],
        &mut vouch,
    );
    let mut sealed = Vec::new();
    mine.secret().agree(&theirs).append_box(
        &counted(b"CurveZMQINITIATE", 2),
        &[client.as_bytes(), &vouch, CLIENT],
        &mut sealed,
    );
    let third = [&b"\x08INITIATE"[..], cookie, &2_u64.to_be_bytes(), &sealed].concat();
    match handshake.advance(&third, &mut Vec::new()) {
        Ok(server::Step::Initiated(initiated)) => Ok(initiated.client),
        Ok(step) => panic!("{step:?}"),
        Err(error) => Err(error),
    }
}

#[test]
fn a_vouch_is_for_this_connection_and_this_server_by_the_client_that_it_names() {
    let (own, right) = (PublicKey::from_bytes([0; 32]), KeyPair::generate());
    let other = KeyPair::generate();
    // As the client does it, which shows that the rest is in order.
    assert_eq!(forged(right.public(), &right, own, own), Ok(right.public()));
    assert_eq!(forged(right.public(), &right, other.public(), own), Err(CurveError::Vouch));
    assert_eq!(forged(right.public(), &right, own, other.public()), Err(CurveError::Vouch));
    assert_eq!(forged(right.public(), &other, own, own), Err(CurveError::Box("vouch")));
}

#[test]
fn the_server_says_why_it_refuses() {
    let (client_keys, _) = keys();
    let refusal = |reason: &str| {
        let mut out = Vec::new();
        command::append_error(reason, &mut out);
        hello(&client_keys).0.advance(body(&out), CLIENT, &mut Vec::new()).unwrap()
    };
    let key = client_keys.own.public();
    assert!(matches!(refusal("400"), client::Step::NotAuthorized(it) if it == key));
    assert!(matches!(refusal("Bad day"), client::Step::Refused(it) if it == "Bad day"));
    assert!(matches!(refusal(""), client::Step::Refused(it) if it.is_empty()));
}

#[test]
fn nonces_rise_and_nothing_opens_twice() {
    let (mut client, mut server) = traffic();
    let mut out = Vec::new();
    for body in [b"one", b"two", b"six"] {
        client.sealer.push(&frame(Head::message(3, false), body), &mut out);
    }
    let sent = bodies(&out);
    let count = |body: &[u8]| u64::from_be_bytes(*body[8..].first_chunk().unwrap());
    assert_eq!(sent.iter().map(|body| count(body)).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(&server.opener.open(sent[0]).unwrap().1[..], b"one");
    assert_eq!(server.opener.open(sent[0]), Err(CurveError::Nonce), "repeated");
    // One that was kept back is missed by nobody here: what carries it is TCP.
    assert_eq!(&server.opener.open(sent[2]).unwrap().1[..], b"six");
    assert_eq!(server.opener.open(sent[1]), Err(CurveError::Nonce), "falling");
    // The numbers of the handshake are used up, too.
    for count in [0, 1, 2] {
        let mut early = sent[2].to_vec();
        early[8..16].copy_from_slice(&u64::to_be_bytes(count));
        assert_eq!(server.opener.open(&early), Err(CurveError::Nonce));
    }
    // A number that was not the frame's own.
    let mut later = sent[2].to_vec();
    later[8..16].copy_from_slice(&u64::MAX.to_be_bytes());
    assert_eq!(server.opener.open(&later), Err(CurveError::Box("MESSAGE")));
    // Which says nothing of the numbers to come.
    let mut out = Vec::new();
    client.sealer.push(&frame(Head::message(3, false), b"ten"), &mut out);
    server.opener.open(bodies(&out)[0]).unwrap();
}

#[test]
fn what_one_end_sent_does_not_open_there_nor_at_another_connection() {
    let ((mut client, mut server), (_, mut elsewhere)) = (traffic(), traffic());
    let mut out = Vec::new();
    client.sealer.push(&frame(Head::message(4, false), b"mine"), &mut out);
    let sent = bodies(&out)[0];
    for opener in [&mut client.opener, &mut elsewhere.opener] {
        assert_eq!(opener.open(sent), Err(CurveError::Box("MESSAGE")));
    }
    for at in 0..sent.len() {
        let mut changed = sent.to_vec();
        changed[at] ^= 1 << (at % 8);
        server.opener.open(&changed).unwrap_err();
    }
    for end in 0..sent.len() {
        server.opener.open(&sent[..end]).unwrap_err();
    }
    server.opener.open(sent).unwrap();
}

#[test]
fn flags_travel_within_and_others_are_refused() {
    let key = KeyPair::generate().secret().agree(&KeyPair::generate().public());
    for flags in 0..=255 {
        let mut sealed = Vec::new();
        key.append_box(&counted(b"CurveZMQMESSAGES", 7), &[&[flags], b"x"], &mut sealed);
        let sent = [&b"\x07MESSAGE"[..], &7_u64.to_be_bytes(), &sealed].concat();
        let opened = Opener::new(key.clone(), b"CurveZMQMESSAGES", 1).open(&sent);
        match (flags, opened) {
            (0, Ok((Head { more: false, command: false, .. }, _)))
            | (1, Ok((Head { more: true, command: false, .. }, _)))
            | (2, Ok((Head { more: false, command: true, .. }, _))) => {}
            (3.., Err(error)) => assert_eq!(error, CurveError::Command("MESSAGE")),
            (flags, opened) => panic!("{flags}: {opened:?}"),
        }
    }
}

proptest! {
    #[test]
    fn frames_of_every_kind_arrive_in_pieces_of_any_size(
        frames in prop::collection::vec((0..3_u8, 0..700_usize), 1..20),
        piece in 1..900_usize,
    ) {
        let (mut client, mut server) = traffic();
        let (mut plain, mut wanted) = (Vec::new(), Vec::new());
        for (n, (kind, bytes)) in frames.into_iter().enumerate() {
            let head = Head { more: kind == 1, command: kind == 2, body_bytes: bytes as u64 };
            let body = vec![n as u8; bytes];
            plain.extend(frame(head, &body));
            wanted.push((head, Bytes::from(body)));
        }
        for (from, to) in [(&mut client.sealer, &mut server.opener), (&mut server.sealer, &mut client.opener)] {
            let mut out = Vec::new();
            for piece in plain.chunks(piece) {
                from.push(piece, &mut out);
            }
            prop_assert!(from.is_between_frames());
            let mut arrived = Vec::new();
            for body in bodies(&out) {
                arrived.push(to.open(body).unwrap());
            }
            prop_assert_eq!(&arrived, &wanted);
            for (sealed, (_, body)) in bodies(&out).iter().zip(&wanted) {
                prop_assert_eq!(sealed.len(), body.len() + OVERHEAD_BYTES);
            }
        }
    }

    #[test]
    fn bytes_of_any_kind_end_it_and_never_the_program(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        name in prop::sample::select(vec![&b""[..], b"\x05HELLO\x01\0", b"\x08INITIATE", b"\x07WELCOME", b"\x05READY", b"\x07MESSAGE", b"\x05ERROR"]),
    ) {
        let bytes = [name, &bytes].concat();
        let (client_keys, server_keys) = keys();
        let mut server = ServerHandshake::new(Arc::clone(&server_keys));
        prop_assert!(server.advance(&bytes, &mut Vec::new()).is_err());
        let (mut client, first) = hello(&client_keys);
        let (mut server, second) = welcome(&server_keys, &first);
        prop_assert!(server.advance(&bytes, &mut Vec::new()).is_err());
        let told = client.advance(&bytes, CLIENT, &mut Vec::new());
        prop_assert!(matches!(told, Err(_) | Ok(client::Step::Refused(_) | client::Step::NotAuthorized(_))));
        let (mut client, _) = hello(&client_keys);
        let _ = client.advance(&second, CLIENT, &mut Vec::new());
        let told = client.advance(&bytes, CLIENT, &mut Vec::new());
        prop_assert!(matches!(told, Err(_) | Ok(client::Step::Refused(_) | client::Step::NotAuthorized(_))));
        let (mut client, _) = traffic();
        prop_assert!(client.opener.open(&bytes).is_err());
    }
}
