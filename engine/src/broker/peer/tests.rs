use std::io::{self, IoSlice};
use std::net::Ipv4Addr;

use bytes::Bytes;

use super::*;
use crate::net::socket::ByteStream;
use crate::zmtp::command;
use crate::zmtp::handshake::{GREETING, ready};
use crate::zmtp::inbox::Room;
use crate::zmtp::session::ServerMechanism;

const MS: Duration = Duration::from_millis(1);
const S: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_secs(3);
const BYTES_MAX: usize = 100_000;

/// A stream that has these bytes to read, and takes so many.
struct Stream<'a>(&'a [u8], usize);

impl ByteStream for Stream<'_> {
    fn read(&mut self, room: Room<'_>) -> io::Result<usize> {
        Ok(room.put(std::mem::take(&mut self.0)))
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let offered: usize = slices.iter().map(|slice| slice.len()).sum();
        let taken = offered.min(self.1);
        self.1 -= taken;
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }
}

pub(in super::super) fn peer(id: ConnectionId, port: Port, now: Duration) -> Peer<()> {
    let address = (Ipv4Addr::new(127, 0, 0, 1), id as u16).into();
    Peer::new(id, (), address, Session::new(port, 1000, &ServerMechanism::Nothing), now)
}

fn hear(peer: &mut Peer<()>, bytes: &[u8], now: Duration) {
    let mut stream = Stream(bytes, 0);
    peer.inbox.fill(|room| stream.read(room), &mut Vec::new()).unwrap();
    (peer.heard, peer.read_bytes) = (now, peer.read_bytes + bytes.len() as u64);
    while peer.session.advance(&mut peer.inbox, peer.output.own()).unwrap().is_some() {
        peer.end_partial();
    }
    peer.note_partial(now);
}

/// One whose handshake is over, and which has taken what it was told.
pub(in super::super) fn open(id: ConnectionId, port: Port, now: Duration) -> Peer<()> {
    let mut peer = peer(id, port, now);
    let socket: &[u8] = if port == Port::Requests { b"REQ" } else { b"SUB" };
    hear(&mut peer, &[&GREETING[..], &ready(socket)].concat(), now);
    assert!(peer.session.is_open());
    take(&mut peer, &mut Frames::default(), usize::MAX);
    peer
}

fn ping(peer: &mut Peer<()>, ttl_ds: u16, now: Duration) {
    let mut bytes = Vec::new();
    command::append(b"PING", &[&ttl_ds.to_be_bytes()], &mut bytes);
    hear(peer, &bytes, now);
}

/// Takes so many bytes of what waits.
fn take(peer: &mut Peer<()>, frames: &mut Frames, bytes: usize) {
    peer.output.unblock();
    peer.output.write(&mut Stream(&[], bytes), frames).unwrap();
}

fn queue(peer: &mut Peer<()>, frames: &mut Frames, bytes: usize, now: Duration) {
    let id = frames.add(Bytes::from(vec![0; bytes]), 1, false, now);
    peer.push(id, FramePrefix::default(), frames, now);
}

#[test]
fn the_time_to_take_something_runs_from_when_it_began_to_wait() {
    let (mut peer, mut frames) = (open(1, Port::Publishing, S), Frames::default());
    let late = S + GRACE * 2;
    queue(&mut peer, &mut frames, 1000, late);
    take(&mut peer, &mut frames, 0);
    assert!(peer.output.is_blocked());
    assert_eq!(peer.late(late + GRACE - MS, GRACE, true), None);
    // What comes behind it gives it no more time.
    queue(&mut peer, &mut frames, 1000, late + GRACE - MS);
    assert_eq!(peer.late(late + GRACE, GRACE, true), Some(Timeout::Stalled(late)));
}

#[test]
fn a_burst_that_leaves_in_time_is_no_standing_queue() {
    let (mut peer, mut frames) = (open(1, Port::Publishing, S), Frames::default());
    for burst in 0..50 {
        let now = S + SOJOURN_TARGET * burst;
        for _ in 0..20 {
            queue(&mut peer, &mut frames, 1000, now);
            assert!(!peer.judge(&frames, BYTES_MAX, now));
        }
        assert!(!peer.judge(&frames, BYTES_MAX, now + SOJOURN_TARGET - MS));
        take(&mut peer, &mut frames, usize::MAX);
    }
    assert_eq!(peer.behind_since, None);
}

#[test]
fn an_old_queue_that_shrinks_in_time_is_no_standing_queue() {
    let (mut peer, mut frames) = (open(1, Port::Publishing, S), Frames::default());
    queue(&mut peer, &mut frames, 1000, S);
    let late = S + SOJOURN_TARGET;
    assert!(!peer.judge(&frames, BYTES_MAX, late), "it only begins to stand");
    queue(&mut peer, &mut frames, 1000, late);
    take(&mut peer, &mut frames, 1500);
    // The oldest is young now: what stands from here on has its own interval.
    assert!(!peer.judge(&frames, BYTES_MAX, late + SOJOURN_INTERVAL - MS));
    assert!(!peer.judge(&frames, BYTES_MAX, late + SOJOURN_INTERVAL));
    assert_eq!(peer.behind_since, None);
}

#[test]
fn a_queue_that_stands_for_an_interval_is_behind_until_it_is_short_and_young() {
    let (mut peer, mut frames) = (open(1, Port::Publishing, S), Frames::default());
    queue(&mut peer, &mut frames, BYTES_MAX / 2, S);
    queue(&mut peer, &mut frames, BYTES_MAX / 4, S);
    let stands = S + SOJOURN_TARGET;
    assert!(!peer.judge(&frames, BYTES_MAX, stands));
    assert!(!peer.judge(&frames, BYTES_MAX, stands + SOJOURN_INTERVAL - MS));
    let behind = stands + SOJOURN_INTERVAL;
    assert!(peer.judge(&frames, BYTES_MAX, behind));
    assert_eq!(peer.behind_since, Some(behind));
    assert!(!peer.judge(&frames, BYTES_MAX, behind + S), "nothing changed");
    assert_eq!(peer.behind_since, Some(behind));
    // Short, but what is left is old.
    take(&mut peer, &mut frames, BYTES_MAX / 2 + 9);
    assert!(!peer.judge(&frames, BYTES_MAX, behind + S));
    // Young, but long.
    take(&mut peer, &mut frames, usize::MAX);
    queue(&mut peer, &mut frames, BYTES_MAX / 2 + 1, behind + S);
    assert!(!peer.judge(&frames, BYTES_MAX, behind + S));
    take(&mut peer, &mut frames, usize::MAX);
    assert!(peer.judge(&frames, BYTES_MAX, behind + S));
    assert_eq!(peer.behind_since, None);
}

#[test]
fn too_many_bytes_are_behind_at_once() {
    let (mut peer, mut frames) = (open(1, Port::Publishing, S), Frames::default());
    queue(&mut peer, &mut frames, BYTES_MAX - 9, S);
    assert!(!peer.judge(&frames, BYTES_MAX, S));
    queue(&mut peer, &mut frames, 1, S);
    assert!(peer.judge(&frames, BYTES_MAX, S));
}

#[test]
fn a_handshake_has_its_time() {
    let mut silent = peer(1, Port::Requests, S);
    assert_eq!(silent.deadline(GRACE), Some(S + HANDSHAKE_TIME_MAX));
    hear(&mut silent, &GREETING[..30], S * 9);
    assert_eq!(silent.late(S + HANDSHAKE_TIME_MAX - MS, GRACE, true), None);
    assert_eq!(silent.late(S + HANDSHAKE_TIME_MAX, GRACE, true), Some(Timeout::Handshake));
    let mut opened = open(1, Port::Requests, S);
    assert_eq!(opened.deadline(GRACE), None);
    assert_eq!(opened.late(S * 1000, GRACE, true), None);
}

#[test]
fn a_request_that_is_not_whole_must_come_in_fast_enough_while_it_is_read() {
    let begin = || {
        let mut peer = open(1, Port::Requests, S);
        hear(&mut peer, &[1, 0, 0, 200, 7], S);
        assert_eq!(peer.partial_since(), Some(S));
        peer
    };
    let check = S + PARTIAL_CHECKED;
    let mut slow = begin();
    assert_eq!(slow.deadline(GRACE), Some(check));
    slow.read_bytes += PARTIAL_BYTES_MIN - 1;
    assert_eq!(slow.late(check - MS, GRACE, true), None);
    assert_eq!(slow.late(check, GRACE, true), Some(Timeout::Partial));
    let mut fast = begin();
    fast.read_bytes += PARTIAL_BYTES_MIN;
    assert_eq!(fast.late(check, GRACE, true), None);
    assert_eq!(fast.deadline(GRACE), Some(check + PARTIAL_CHECKED));
    assert_eq!(fast.late(check + PARTIAL_CHECKED, GRACE, true), Some(Timeout::Partial));
    // Whoever is not read cannot be slow.
    let mut held = begin();
    held.is_held = true;
    assert_eq!(held.late(check, GRACE, true), None);
    assert_eq!(begin().late(check, GRACE, false), None);
    // Once it is whole nothing is waited for.
    let mut whole = begin();
    hear(&mut whole, &[7; 199], S * 2);
    assert_eq!((whole.partial_since(), whole.deadline(GRACE)), (None, None));
    // A request whose frames are whole, and which has more of them.
    let mut within = open(1, Port::Requests, S);
    hear(&mut within, &[1, 0], S);
    assert_eq!(within.deadline(GRACE), Some(check));
}

#[test]
fn a_peer_that_announced_it_is_given_up_when_it_is_silent() {
    let mut peer = open(1, Port::Publishing, S);
    ping(&mut peer, 20, S);
    assert_eq!(peer.deadline(GRACE), Some(S * 3));
    assert_eq!(peer.late(S * 3 - MS, GRACE, true), None);
    assert_eq!(peer.late(S * 3, GRACE, true), Some(Timeout::Silent));
    // Any traffic will do.
    hear(&mut peer, &[0, 2, 1, b'a'], S * 2);
    assert_eq!(peer.late(S * 3, GRACE, true), None);
    // Who is not read is not heard, and gets its time again.
    assert_eq!(peer.late(S * 5, GRACE, false), None);
    assert_eq!(peer.deadline(GRACE), Some(S * 7));
    ping(&mut peer, 0, S * 6);
    assert_eq!(peer.deadline(GRACE), None);
}

#[test]
fn a_subscriber_that_takes_nothing_has_a_grace() {
    let (mut peer, mut frames) = (open(1, Port::Publishing, S), Frames::default());
    queue(&mut peer, &mut frames, 1000, S);
    assert_eq!(peer.deadline(GRACE), None);
    take(&mut peer, &mut frames, 10);
    assert!(peer.output.is_blocked());
    assert_eq!(peer.deadline(GRACE), Some(S + GRACE));
    assert_eq!(peer.late(S + GRACE - MS, GRACE, true), None);
    assert_eq!(peer.late(S + GRACE, GRACE, true), Some(Timeout::Stalled(S)));
    peer.progressed = S * 2;
    assert_eq!(peer.late(S + GRACE, GRACE, true), None);
    // A publisher that does not take its answers is not read, and holds nobody up.
    let mut publisher = open(2, Port::Requests, S);
    publisher.output.own().extend([0; 100]);
    take(&mut publisher, &mut frames, 10);
    assert!(!publisher.may_be_read());
    assert_eq!(publisher.deadline(GRACE), None);
}

#[test]
fn a_subscriber_that_takes_nothing_is_read_until_too_many_answers_wait() {
    let mut peer = open(1, Port::Publishing, S);
    ping(&mut peer, 0, S);
    take(&mut peer, &mut Frames::default(), 1);
    assert!(peer.output.is_blocked() && peer.may_be_read(), "it may cancel");
    let mut pings = 1;
    while peer.may_be_read() {
        ping(&mut peer, 0, S);
        pings += 1;
        assert!(pings < 100_000, "no bound");
    }
    take(&mut peer, &mut Frames::default(), usize::MAX);
    assert!(peer.may_be_read());
}
