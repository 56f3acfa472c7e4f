//! One connection: what it sends, what waits for it, and whether it keeps up.

use std::net::SocketAddr;
use std::time::Duration;

use super::check::Check;
use super::frames::{FrameId, Frames};
use super::output::{Lead, Output};
use super::subscribers::ConnectionId;
use crate::limits::{
    HANDSHAKE_TIME_MAX, PARTIAL_BYTES_MIN, PARTIAL_CHECKED, SOJOURN_INTERVAL, SOJOURN_TARGET,
    SUBSCRIBER_OWN_BYTES_MAX,
};
use crate::retry::Token;
use crate::zmtp::inbox::Inbox;
use crate::zmtp::session::{Port, Session};

/// A connection.
#[derive(Debug)]
pub(super) struct Peer<S> {
    pub(super) id: ConnectionId,
    pub(super) stream: S,
    pub(super) address: SocketAddr,
    pub(super) inbox: Inbox,
    pub(super) session: Session,
    pub(super) output: Output,
    /// The system may have more to read.
    pub(super) is_readable: bool,
    /// The peer sends no more: what there is has an end.
    pub(super) has_ended: bool,
    /// It stands in the list of those that are read next.
    pub(super) is_listed: bool,
    /// It stands in the list of those that are written to next.
    pub(super) is_dirty: bool,
    /// It is closed once what it is told has left.
    pub(super) is_closing: bool,
    /// It was answered a hello, so it knows the answers that came with it.
    pub(super) said_hello: bool,
    /// When something last came in, and when something last left, or began to wait.
    pub(super) heard: Duration,
    pub(super) progressed: Duration,
    accepted: Duration,
    /// Bytes that came in.
    pub(super) read_bytes: u64,
    /// Since when a frame or a request is not whole, when that is looked at next, and how many bytes had
    /// come in before.
    partial: Option<Partial>,
    /// Bytes of unfinished frames that are booked for it.
    pub(super) booked_bytes: usize,
    /// Bytes of answers that are booked for it.
    pub(super) booked_reply_bytes: usize,
    /// How long what it sent takes.
    pub(super) read_time: super::reading::ReadTime,
    /// A subscriber that does not keep up with what this one publishes.
    pub(super) is_held: bool,
    /// Its request is being checked, or waits for that.
    pub(super) is_checked: bool,
    /// The request that waits.
    pub(super) whole: Option<Box<Check>>,
    /// Publishers that wait for this subscriber.
    pub(super) holds: Vec<ConnectionId>,
    above_since: Option<Duration>,
    /// It does not keep up.
    pub(super) behind_since: Option<Duration>,
    /// Since when a subscription of it has got more than it had credit for, and granted nothing.
    overdrawn_since: Option<Duration>,
    /// It did not grant anything for too long: nobody waits for it until it has dealt with what it got.
    is_given_up: bool,
    /// When its deadlines are looked at.
    pub(super) check: Option<(Token, Duration)>,
}

#[derive(Clone, Copy, Debug)]
struct Partial {
    since: Duration,
    check_at: Duration,
    bytes_before: u64,
}

/// Why a connection is closed for what it did not do in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Late {
    Handshake,
    Partial,
    Silent,
    /// It has not taken what waits for it since then.
    Stalled(Duration),
    /// It has granted no credit since then, and publishers wait for that.
    Overdrawn(Duration),
}

impl<S> Peer<S> {
    pub(super) fn new(
        id: ConnectionId,
        stream: S,
        address: SocketAddr,
        session: Session,
        now: Duration,
    ) -> Self {
        Self {
            id,
            stream,
            address,
            inbox: Inbox::default(),
            session,
            output: Output::default(),
            is_readable: true,
            has_ended: false,
            is_listed: false,
            is_dirty: false,
            is_closing: false,
            said_hello: false,
            heard: now,
            progressed: now,
            accepted: now,
            read_bytes: 0,
            partial: None,
            booked_bytes: 0,
            booked_reply_bytes: 0,
            read_time: Default::default(),
            is_held: false,
            is_checked: false,
            whole: None,
            holds: Vec::new(),
            above_since: None,
            behind_since: None,
            overdrawn_since: None,
            is_given_up: false,
            check: None,
        }
    }

    /// Queues a frame, of which the caller made a reference for this queue, and what goes ahead of it.
    pub(super) fn push(&mut self, frame: FrameId, lead: Lead, frames: &Frames, now: Duration) {
        if self.output.is_empty() {
            self.progressed = now;
        }
        self.output.push(frame, lead, frames);
    }

    /// Whether it does not take what others published. A requester that does not take its answers holds nobody up.
    pub(super) fn takes_nothing(&self) -> bool {
        self.output.is_blocked() && (self.is_subscriber() || self.output.frame_bytes() > 0)
    }

    /// Puts it among those that are written to next.
    pub(super) fn mark_dirty(&mut self, dirty: &mut Vec<ConnectionId>) {
        if !std::mem::replace(&mut self.is_dirty, true) {
            dirty.push(self.id);
        }
    }

    pub(super) fn is_subscriber(&self) -> bool {
        self.session.port() == Port::Publishing
    }

    /// Whether it may be read: answers that it does not take stop that, and so do a slow subscriber and a
    /// request that is being checked. One that takes nothing may still cancel, as long as it asks for few answers.
    pub(super) fn may_be_read(&self) -> bool {
        let is_listening = !self.output.is_blocked()
            || (self.is_subscriber() && self.output.own_bytes() <= SUBSCRIBER_OWN_BYTES_MAX);
        !self.is_held && !self.is_checked && !self.is_closing && is_listening
    }

    /// Bytes of requests that are not whole, or wait to be checked.
    pub(super) fn held_bytes(&self) -> usize {
        self.inbox.held_bytes() + self.whole.as_ref().map_or(0, |check| check.request.len())
    }

    /// Since when a frame or a request is not whole.
    pub(super) fn partial_since(&self) -> Option<Duration> {
        self.partial.map(|partial| partial.since)
    }

    /// Notes whether what came in ends within a frame or a request.
    pub(super) fn note_partial(&mut self, now: Duration) {
        let within = self.session.is_open()
            && (self.inbox.is_within_frame() || self.session.is_within_request());
        if !within {
            self.partial = None;
        } else if self.partial.is_none() {
            let (check_at, bytes_before) = (now + PARTIAL_CHECKED, self.read_bytes);
            self.partial = Some(Partial { since: now, check_at, bytes_before });
        }
    }

    /// A frame came to an end: the next one has its own time.
    pub(super) fn end_partial(&mut self) {
        self.partial = None;
    }

    /// When something is to be checked next. `grace`: how long a subscriber may take nothing.
    pub(super) fn deadline(&self, grace: Duration) -> Option<Duration> {
        let handshake = (!self.session.is_open()).then(|| self.accepted + HANDSHAKE_TIME_MAX);
        let partial = self.partial.map(|partial| partial.check_at);
        let stalled = self.takes_nothing().then(|| self.progressed + grace);
        let overdrawn = self.credit_deadline(grace);
        [handshake, partial, self.silence_ends(), stalled, overdrawn].into_iter().flatten().min()
    }

    fn silence_ends(&self) -> Option<Duration> {
        match self.session.ttl_ds() {
            0 => None,
            ttl_ds => Some(self.heard + Duration::from_millis(100) * u32::from(ttl_ds)),
        }
    }

    /// What it did not do in time. `may_read`: whether the server reads what it sends.
    pub(super) fn late(&mut self, now: Duration, grace: Duration, may_read: bool) -> Option<Late> {
        if !self.session.is_open() && now >= self.accepted + HANDSHAKE_TIME_MAX {
            return Some(Late::Handshake);
        }
        let reading = may_read && self.may_be_read();
        if let Some(partial) = &mut self.partial
            && now >= partial.check_at
        {
            if reading && self.read_bytes < partial.bytes_before + PARTIAL_BYTES_MIN {
                return Some(Late::Partial);
            }
            partial.check_at = now + PARTIAL_CHECKED;
            partial.bytes_before = self.read_bytes;
        }
        // Who is not read is not heard.
        if self.silence_ends().is_some_and(|end| now >= end) {
            if reading {
                return Some(Late::Silent);
            }
            self.heard = now;
        }
        if self.takes_nothing() && now >= self.progressed + grace {
            return Some(Late::Stalled(self.progressed));
        }
        if self.credit_deadline(grace).is_some_and(|end| now >= end) {
            return self.overdrawn_since.map(Late::Overdrawn);
        }
        None
    }

    fn credit_deadline(&self, grace: Duration) -> Option<Duration> {
        self.overdrawn_since.filter(|_| !self.is_given_up).map(|since| since + grace)
    }

    /// It got more than it had credit for; whether publishers are to wait for it.
    pub(super) fn overdraw(&mut self, now: Duration) -> bool {
        self.overdrawn_since.get_or_insert(now);
        !self.is_given_up
    }

    /// It granted credit. `is_clear`: none of its subscriptions is overdrawn any more.
    pub(super) fn granted(&mut self, is_clear: bool, now: Duration) {
        if is_clear {
            self.overdrawn_since = None;
            self.is_given_up = false;
        } else {
            self.overdrawn_since = Some(now);
        }
    }

    /// Nobody waits for its credit any more, until it has some.
    pub(super) fn give_up_holding(&mut self) {
        self.is_given_up = true;
    }

    /// Whether publishers may go on, as far as its credit goes.
    pub(super) fn has_credit(&self) -> bool {
        self.overdrawn_since.is_none() || self.is_given_up
    }

    /// Looks whether it keeps up; whether that changed.
    ///
    /// A burst waits for a moment, and that is what queues are for. What counts is a queue that stands: one
    /// whose oldest frame is older than the target each time one looks, for an interval (the idea of CoDel,
    /// [RFC 8289](https://www.rfc-editor.org/rfc/rfc8289)).
    pub(super) fn judge(&mut self, frames: &Frames, bytes_max: usize, now: Duration) -> bool {
        let was_behind = self.behind_since.is_some();
        let waited =
            self.output.oldest(frames).map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let bytes = self.output.frame_bytes();
        if waited < SOJOURN_TARGET && bytes <= bytes_max / 2 {
            self.above_since = None;
            self.behind_since = None;
        } else {
            let above_since = *self.above_since.get_or_insert(now);
            if now.saturating_sub(above_since) >= SOJOURN_INTERVAL || bytes > bytes_max {
                self.behind_since.get_or_insert(now);
            }
        }
        was_behind != self.behind_since.is_some()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{self, IoSlice};
    use std::net::Ipv4Addr;

    use bytes::Bytes;

    use super::*;
    use crate::net::socket::ByteStream;
    use crate::zmtp::command;
    use crate::zmtp::handshake::{GREETING, ready};
    use crate::zmtp::inbox::Room;

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
        Peer::new(id, (), address, Session::new(port, 1000), now)
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
        peer.push(id, Lead::default(), frames, now);
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
        assert_eq!(peer.late(late + GRACE, GRACE, true), Some(Late::Stalled(late)));
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
        assert_eq!(silent.late(S + HANDSHAKE_TIME_MAX, GRACE, true), Some(Late::Handshake));
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
        assert_eq!(slow.late(check, GRACE, true), Some(Late::Partial));
        let mut fast = begin();
        fast.read_bytes += PARTIAL_BYTES_MIN;
        assert_eq!(fast.late(check, GRACE, true), None);
        assert_eq!(fast.deadline(GRACE), Some(check + PARTIAL_CHECKED));
        assert_eq!(fast.late(check + PARTIAL_CHECKED, GRACE, true), Some(Late::Partial));
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
        assert_eq!(peer.late(S * 3, GRACE, true), Some(Late::Silent));
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
        assert_eq!(peer.late(S + GRACE, GRACE, true), Some(Late::Stalled(S)));
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
}
