//! The bare forwarder: the same frames between the same clients through the least code, to hold a
//! server against.
//!
//! It checks nothing, keeps nothing and knows no acknowledgement. Each request is published as it is
//! and answered OK; a subscription that asks for it is confirmed. Queues have the server's bounds. When
//! one is full the loop waits until there is room, so nothing is lost.

use std::io::{self, Write};
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mezzenger::limits::{
    REPLY_QUEUE, REQUESTER_QUEUE, REQUESTS_PER_TURN_MAX, SUBSCRIBER_QUEUE_FRAMES,
};
use mezzenger::transport::{
    Context, Part, Ready, Received, Socket, SocketOptions, TransportError, poll,
};
use mezzenger::wire::{confirm, frame, name, reply};
use mezzenger_report::ready;

use crate::args::ForwardArgs;
use crate::child::ServerCounts;
use crate::count::Count;

/// Parts of a client's request: routing id, request id, an empty one, the body.
const PARTS: usize = 4;

/// While a subscriber's queue is full there is nothing to poll for, as in the server.
const FULL_PAUSE: Duration = Duration::from_millis(1);

/// Why the forwarder ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// A socket failed.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Nobody reads stdout, or there is no thread.
    #[error("the forwarder could not start: {0}")]
    System(#[from] io::Error),
}

/// Runs the forwarder of a run, until stdin ends.
pub(crate) fn forward(args: ForwardArgs) -> Result<(), ForwardError> {
    let context = Context::new(1)?;
    let requests = context.router(SocketOptions {
        receive_hwm: Some(REQUESTER_QUEUE),
        send_hwm: Some(REPLY_QUEUE),
        ..SocketOptions::default()
    })?;
    let publisher = context.xpub(SocketOptions {
        send_hwm: Some(SUBSCRIBER_QUEUE_FRAMES),
        ..SocketOptions::default()
    })?;
    let pub_addr = publisher.bind(&format!("tcp://127.0.0.1:{}", args.pub_port))?;
    let recv_addr = requests.bind(&format!("tcp://127.0.0.1:{}", args.recv_port))?;
    let bare = |endpoint: &str| endpoint.trim_start_matches("tcp://").to_owned();
    writeln!(io::stdout(), "{}", ready::line(bare(&pub_addr), bare(&recv_addr)))?;
    let frames = Arc::new(Count::default());
    let counted = Arc::clone(&frames);
    // The loop waits where stdin is not seen: the end of stdin ends the process.
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        let answered = answer(&counted);
        process::exit(i32::from(answered.is_err()));
    })?;
    Forwarder { requests, publisher, frames, count: 0 }.run()?;
    Ok(())
}

/// Answers each line with the counters.
fn answer(frames: &Count) -> io::Result<()> {
    for line in io::stdin().lines() {
        line?;
        let counts = ServerCounts { frames_published: frames.get(), ..ServerCounts::default() };
        writeln!(io::stdout(), "{}", serde_json::to_string(&counts)?)?;
    }
    Ok(())
}

struct Forwarder {
    requests: Socket,
    publisher: Socket,
    frames: Arc<Count>,
    count: u64,
}

impl Forwarder {
    fn run(&mut self) -> Result<(), TransportError> {
        let (ack, ping) = (frame::v2_prefix(name::ACK), frame::v2_prefix(name::PING));
        loop {
            poll(&[&self.requests, &self.publisher], &[], &mut [Ready::default(); 2], None)?;
            self.confirm()?;
            for _ in 0..REQUESTS_PER_TURN_MAX {
                let Some([mut to, mut id, mut empty, mut body]) = self.receive()? else { break };
                if !body.as_slice().starts_with(&ack) && !body.as_slice().starts_with(&ping) {
                    self.publish(&mut body)?;
                    self.count += 1;
                    self.frames.set(self.count);
                }
                for part in [&mut to, &mut id, &mut empty] {
                    self.requests.send(part, true)?;
                }
                self.requests.send(&mut Part::copy_of(reply::OK), false)?;
            }
        }
    }

    /// Reads subscriptions, and confirms those that ask for it.
    fn confirm(&mut self) -> Result<(), TransportError> {
        let mut part = Part::empty();
        while self.publisher.receive(&mut part)? == Received::Part {
            if let [1, topic @ ..] = part.as_slice()
                && confirm::is_topic(topic)
            {
                self.publish(&mut Part::copy_of(topic))?;
            }
        }
        Ok(())
    }

    /// Reads one request, if one is there.
    fn receive(&mut self) -> Result<Option<[Part; PARTS]>, TransportError> {
        let mut parts: [Part; PARTS] = Default::default();
        // libzmq has all parts of a message when it hands over the first.
        for part in &mut parts {
            if self.requests.receive(part)? == Received::Nothing {
                return Ok(None);
            }
        }
        Ok(Some(parts))
    }

    /// Publishes a frame, as soon as every subscriber's queue has room for it.
    fn publish(&mut self, part: &mut Part) -> Result<(), TransportError> {
        while !self.publisher.send(part, false)? {
            poll(&[&self.publisher], &[], &mut [Ready::default()], Some(FULL_PAUSE))?;
        }
        Ok(())
    }
}
