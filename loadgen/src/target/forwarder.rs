//! The bare forwarder over libzmq: the same frames between the same clients through the least code that
//! libzmq allows. Built with the feature `libzmq` alone: it compiles C++.
//!
//! It checks nothing, keeps nothing and knows no acknowledgement. Each request of a client is published as it is
//! and answered OK, and a message of libzmq's own sockets is published without an answer; a SUB socket's subscription that asks for it is confirmed, and a client's gets what it names. The crate
//! `zmq` cannot tell an XPUB to wait for room, so queues have no bound and nothing is dropped; the run bounds what is in
//! flight, which is why credit changes nothing.

use std::sync::Arc;

use mezzenger::curve::read_key_pair;
use zmq::{Context, DONTWAIT, POLLIN, Socket, SocketType};

use super::native::{self, Request, Subscribe};
use crate::args::ForwardArgs;
use crate::child::ServerCounts;
use crate::count::Count;
use crate::serve;

/// Requests that may wait for one publisher: libzmq's default.
const REQUESTS_MAX: i32 = 1000;

/// How libzmq writes that a queue has no bound.
const NO_BOUND: i32 = 0;

/// Requests handled before subscriptions are looked at again.
const REQUESTS_PER_TURN: usize = 256;

/// A subscription that asks to be confirmed is the byte of a subscription, this one and 16 others.
pub(super) const CONFIRM: u8 = 2;
const CONFIRM_BYTES: usize = 18;

/// Runs the forwarder of a run, until stdin ends.
pub(crate) fn forward(args: ForwardArgs) -> Result<(), Box<dyn std::error::Error>> {
    let context = Context::new();
    let requests = context.socket(SocketType::ROUTER)?;
    requests.set_rcvhwm(REQUESTS_MAX)?;
    requests.set_sndhwm(NO_BOUND)?;
    // It says which clients are gone.
    requests.set_router_mandatory(true)?;
    let publisher = context.socket(SocketType::XPUB)?;
    publisher.set_sndhwm(NO_BOUND)?;
    if let Some(secret) = args.keys.curve_secret {
        let own = read_key_pair(secret)?;
        for socket in [&requests, &publisher] {
            socket.set_curve_server(true)?;
            socket.set_curve_secretkey(own.secret().as_bytes())?;
        }
    }
    let pub_addr = bind(&publisher, args.ports.pub_port)?;
    let recv_addr = bind(&requests, args.ports.recv_port)?;
    let frames = Arc::new(Count::default());
    let counted = Arc::clone(&frames);
    serve::attend(pub_addr, recv_addr, move || ServerCounts {
        frames_published: counted.get(),
        ..ServerCounts::default()
    })?;
    Ok(Forwarder { requests, publisher, frames, subscriptions: Vec::new() }.run()?)
}

/// Binds to a port of 127.0.0.1; returns the address without its scheme.
fn bind(socket: &Socket, port: u16) -> Result<String, zmq::Error> {
    socket.bind(&format!("tcp://127.0.0.1:{port}"))?;
    let endpoint = socket.get_last_endpoint()?.map_err(|_| zmq::Error::EINVAL)?;
    Ok(endpoint.trim_start_matches("tcp://").to_owned())
}

struct Forwarder {
    requests: Socket,
    publisher: Socket,
    frames: Arc<Count>,
    subscriptions: Vec<Subscription>,
}

/// A client's subscription, with its routing id.
type Subscription = (Vec<u8>, Subscribe);

impl Forwarder {
    fn run(mut self) -> Result<(), zmq::Error> {
        loop {
            let items =
                &mut [self.requests.as_poll_item(POLLIN), self.publisher.as_poll_item(POLLIN)];
            zmq::poll(items, -1)?;
            self.confirm()?;
            for _ in 0..REQUESTS_PER_TURN {
                let (to, id, empty, body) = match self.receive()? {
                    None => break,
                    Some(Received::Frame(frame)) => {
                        self.send(frame)?;
                        continue;
                    }
                    Some(Received::Request([to, id, empty, body])) => (to, id, empty, body),
                };
                let mut answer = native::ok(0);
                match native::read(&body) {
                    Request::Hello => answer = native::hello(u64::MAX),
                    Request::Refused => answer = native::REFUSAL.to_vec(),
                    Request::Publish => answer = native::ok(self.publish(body)?),
                    Request::Subscribe(wanted) => self.subscriptions.push((to.to_vec(), wanted)),
                    Request::Unsubscribe(number) => {
                        let ends = |of: &Subscription| of.0[..] == to[..] && of.1.number == number;
                        self.subscriptions.retain(|of| !ends(of));
                    }
                    Request::Ping | Request::Credit { .. } => {}
                }
                // A client that is gone needs no answer.
                is_sent(self.requests.send_multipart([&to[..], &id, &empty, &answer], 0))?;
            }
        }
    }

    /// Sends a frame to whoever wants it, and counts the clients' subscriptions that do; SUB sockets are not known here.
    /// The crate cannot share a frame between two sockets, nor between two messages.
    fn publish(&mut self, frame: zmq::Message) -> Result<u32, zmq::Error> {
        let (mut count, mut outcome) = (0, Ok(()));
        let requests = &self.requests;
        self.subscriptions.retain(|(to, wanted)| {
            if outcome.is_err() || !frame.starts_with(&wanted.topic) {
                return true;
            }
            let parts = [&to[..], b"", &wanted.lead(), &frame[..]];
            let sent = is_sent(requests.send_multipart(parts, 0));
            let is_there = !matches!(sent, Ok(false));
            count += u32::from(is_there);
            outcome = sent.map(|_| ());
            is_there
        });
        outcome?;
        self.send(frame)?;
        Ok(count)
    }

    /// Sends a frame to the SUB sockets that want it.
    fn send(&self, frame: zmq::Message) -> Result<(), zmq::Error> {
        self.publisher.send(frame, 0)?;
        self.frames.set(self.frames.get() + 1);
        Ok(())
    }

    /// Reads subscriptions, and confirms those that ask for it.
    fn confirm(&self) -> Result<(), zmq::Error> {
        while let Some(message) = taken(self.publisher.recv_msg(DONTWAIT))? {
            if message.len() == CONFIRM_BYTES && message[..2] == [1, CONFIRM] {
                self.publisher.send(&message[1..], 0)?;
            }
        }
        Ok(())
    }

    /// Reads one message, if one is there.
    fn receive(&self) -> Result<Option<Received>, zmq::Error> {
        // libzmq has all parts of a message when it hands over the first.
        let part = || taken(self.requests.recv_msg(DONTWAIT));
        let Some(to) = part()? else { return Ok(None) };
        let Some(id) = part()? else { return Ok(None) };
        if !id.get_more() {
            return Ok(Some(Received::Frame(id)));
        }
        let Some(empty) = part()? else { return Ok(None) };
        let Some(body) = part()? else { return Ok(None) };
        Ok(Some(Received::Request([to, id, empty, body])))
    }
}

/// What came in.
enum Received {
    /// A message of libzmq's own sockets: what stands behind the routing id.
    Frame(zmq::Message),
    /// A client's request: routing id, request id, an empty part, the body.
    Request([zmq::Message; 4]),
}

/// Whether the client that a message is for is there.
fn is_sent(sent: Result<(), zmq::Error>) -> Result<bool, zmq::Error> {
    match sent {
        Ok(()) => Ok(true),
        Err(zmq::Error::EHOSTUNREACH) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Nothing there is no error.
fn taken(received: Result<zmq::Message, zmq::Error>) -> Result<Option<zmq::Message>, zmq::Error> {
    match received {
        Ok(message) => Ok(Some(message)),
        Err(zmq::Error::EAGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}
