//! Answers that nobody takes.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::broker::checker::Checker;
use crate::broker::run::{Broker, CoreState};
use crate::config::Config;
use crate::net::listen::SystemNetwork;
use crate::net::waker;
use crate::wire::name;
use crate::zmtp::frame::Head;
use crate::zmtp::handshake::{GREETING, ready};
use crate::zmtp::session::Port;

/// Bytes of what the answer to one of these repeats.
const ENVELOPE_BYTES: usize = 1500;

fn ping() -> Vec<u8> {
    let mut out = Vec::new();
    let body = v2_prefix(name::PING);
    for (part, more) in [(&[7; ENVELOPE_BYTES][..], true), (&[], true), (&body, false)] {
        Head::message(part.len(), more).append_to(&mut out);
        out.extend_from_slice(part);
    }
    out
}

pub(super) struct Server {
    pub(super) broker: Broker<SystemNetwork>,
    _waker: waker::Waker,
}

impl Server {
    pub(super) fn new(reply_bytes_max: usize) -> Self {
        let (waker, wake) = waker::pair().unwrap();
        let config = Config::default();
        let core = CoreState::new(&config, Arc::new(Counters::default()));
        let network = SystemNetwork::new(None, wake).unwrap();
        let (checker, stop) = (Checker::default(), Arc::<AtomicBool>::default());
        let mut broker = Broker::new(core, &config, network, checker, None, stop);
        assert_eq!(broker.settings.reply_bytes_max, crate::limits::REPLY_BYTES_MAX);
        broker.settings.reply_bytes_max = reply_bytes_max;
        Self { broker, _waker: waker }
    }

    fn turn(&mut self) {
        self.broker.turn(Some(Duration::ZERO)).unwrap();
    }

    /// A client that said what it is.
    pub(super) fn connect(&mut self) -> UnixStream {
        let (near, far) = UnixStream::pair().unwrap();
        for end in [&near, &far] {
            end.set_nonblocking(true).unwrap();
        }
        self.broker.network().give(near, Port::Requests);
        (&far).write_all(&[&GREETING[..], &ready(b"DEALER")].concat()).unwrap();
        self.turn();
        far
    }

    /// Lets a client ask as long as the server listens, which is not for ever.
    fn flood(&mut self, client: &UnixStream) {
        let pings = ping().repeat(100);
        let mut left = &pings[..];
        let mut stuck = 0;
        while stuck < 3 {
            match (&*client).write(left) {
                Ok(bytes) => {
                    left = if bytes == left.len() { &pings } else { &left[bytes..] };
                    stuck = 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => stuck += 1,
                Err(_) => return,
            }
            self.turn();
        }
    }
}

/// Whether the server ended it. What was sent before that is read.
fn is_closed(client: &UnixStream) -> bool {
    let mut room = vec![0; 1 << 20];
    loop {
        match (&*client).read(&mut room) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn answers_of_all_together_are_bounded_and_who_lets_most_wait_is_closed() {
    let max = 512 * 1024;
    let mut server = Server::new(max);
    let taker = server.connect();
    // It asks little, and takes nothing either.
    let modest = server.connect();
    let all: Vec<UnixStream> = (0..8).map(|_| server.connect()).collect();
    for client in &all {
        server.flood(client);
        assert!(server.broker.reply_bytes <= max, "{}", server.broker.reply_bytes);
        (&modest).write_all(&ping()).unwrap();
    }
    let closed = all.iter().filter(|client| is_closed(client)).count();
    assert!((1..8).contains(&closed), "{closed} of 8");
    assert!(!is_closed(&modest));
    (&taker).write_all(&ping()).unwrap();
    server.turn();
    let mut answer = vec![0; ENVELOPE_BYTES];
    (&taker).read_exact(&mut answer).unwrap();
    // Once all is taken or gone, nothing is booked.
    drop(all);
    for _ in 0..4 {
        server.turn();
    }
    assert_eq!(server.broker.reply_bytes, 0);
}

#[test]
fn below_the_bound_who_takes_nothing_is_only_read_no_more() {
    let mut server = Server::new(crate::limits::REPLY_BYTES_MAX);
    let client = server.connect();
    server.flood(&client);
    assert!(server.broker.reply_bytes > 0);
    assert!(!is_closed(&client));
}
