//! The bare forwarder over libzmq: the same frames between the same clients through the least code that
//! libzmq allows. Built with the feature `libzmq` alone: it compiles C++.
//!
//! It checks nothing, keeps nothing and knows no acknowledgement. Each request is published as it is
//! and answered OK; a subscription that asks for it is confirmed. The crate `zmq` cannot tell an XPUB to
//! wait for room, so queues have no bound and nothing is dropped; the run bounds what is in flight.

use std::sync::Arc;

use zmq::{Context, DONTWAIT, POLLIN, SNDMORE, Socket, SocketType};

use super::hello;
use crate::args::PortArgs;
use crate::child::ServerCounts;
use crate::count::Count;
use crate::serve;

/// Requests and answers that may wait for one publisher.
const REQUESTS_MAX: i32 = 64;
const ANSWERS_MAX: i32 = 16_384;

/// How libzmq writes that a queue has no bound.
const NO_BOUND: i32 = 0;

/// Requests handled before subscriptions are looked at again.
const REQUESTS_PER_TURN: usize = 256;

/// Parts of a client's request: routing id, request id, an empty one, the body.
const PARTS: usize = 4;

/// What the body of a client's ping begins with.
const PING: &[u8] = b"\x01ping|";
/// A subscription that asks to be confirmed is the byte of a subscription, this one and 16 others.
const CONFIRM: u8 = 2;
const CONFIRM_BYTES: usize = 18;

/// Runs the forwarder of a run, until stdin ends.
pub(crate) fn forward(args: PortArgs) -> Result<(), Box<dyn std::error::Error>> {
    let context = Context::new();
    let requests = context.socket(SocketType::ROUTER)?;
    requests.set_rcvhwm(REQUESTS_MAX)?;
    requests.set_sndhwm(ANSWERS_MAX)?;
    let publisher = context.socket(SocketType::XPUB)?;
    publisher.set_sndhwm(NO_BOUND)?;
    let pub_addr = bind(&publisher, args.pub_port)?;
    let recv_addr = bind(&requests, args.recv_port)?;
    let frames = Arc::new(Count::default());
    let counted = Arc::clone(&frames);
    serve::attend(pub_addr, recv_addr, move || ServerCounts {
        frames_published: counted.get(),
        ..ServerCounts::default()
    })?;
    Ok(Forwarder { requests, publisher, frames }.run()?)
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
}

impl Forwarder {
    fn run(&self) -> Result<(), zmq::Error> {
        loop {
            let items =
                &mut [self.requests.as_poll_item(POLLIN), self.publisher.as_poll_item(POLLIN)];
            zmq::poll(items, -1)?;
            self.confirm()?;
            for _ in 0..REQUESTS_PER_TURN {
                let Some([to, id, empty, body]) = self.receive()? else { break };
                let answer = if body.starts_with(hello::HELLO) {
                    hello::answer(u64::MAX)
                } else {
                    if !body.starts_with(PING) {
                        self.publisher.send(body, 0)?;
                        self.frames.set(self.frames.get() + 1);
                    }
                    b"OK".to_vec()
                };
                for part in [to, id, empty] {
                    self.requests.send(part, SNDMORE)?;
                }
                self.requests.send(answer, 0)?;
            }
        }
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

    /// Reads one request, if one is there.
    fn receive(&self) -> Result<Option<[zmq::Message; PARTS]>, zmq::Error> {
        let mut parts = [(); PARTS].map(|()| zmq::Message::new());
        // libzmq has all parts of a message when it hands over the first.
        for part in &mut parts {
            match taken(self.requests.recv_msg(DONTWAIT))? {
                Some(received) => *part = received,
                None => return Ok(None),
            }
        }
        Ok(Some(parts))
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
