//! Reads what a client said on the wire, for the table of facts in `docs/interop.md`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::capture::{Capture, Said};
use super::library::{Library, REQUEST, SUBSCRIBER};
use super::message::ping;
use crate::harness::raw::{greeting, ready};
use crate::harness::{Server, eventually};

const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// One side of a connection, cut into what it is made of.
struct Side {
    /// The revision byte behind the signature; 3 and more is the major version.
    revision: u8,
    minor: u8,
    mechanism: String,
    as_server: u8,
    /// Flags and body of each whole frame behind the greeting.
    frames: Vec<(u8, Vec<u8>)>,
}

/// Cuts what one side said to the other; `None` while a greeting is not whole.
fn cut(bytes: &[u8], other: &[u8]) -> Option<Side> {
    let revision = *bytes.get(10)?;
    // The lower of both revisions is spoken.
    let (minor, mechanism, as_server, rest) = if revision.min(*other.get(10)?) >= 3 {
        let greeting = bytes.get(..64)?;
        let mechanism = greeting[12..32].split(|&byte| byte == 0).next().unwrap();
        let mechanism = String::from_utf8_lossy(mechanism).into_owned();
        (greeting[11], mechanism, greeting[32], &bytes[64..])
    } else {
        // ZMTP 2.0: the socket's type, then the identity as a frame.
        (0, "none".to_owned(), 0, bytes.get(12..)?)
    };
    Some(Side { revision, minor, mechanism, as_server, frames: frames(rest) })
}

fn frames(mut rest: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [flags, behind @ ..] = rest {
        let length = if flags & LONG == 0 { 1 } else { 8 };
        let Some((length, behind)) = behind.split_at_checked(length) else { break };
        let length = length.iter().fold(0_u64, |all, &byte| all << 8 | u64::from(byte));
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((body, behind)) = behind.split_at_checked(length) else { break };
        frames.push((*flags, body.to_vec()));
        rest = behind;
    }
    frames
}

impl Side {
    fn version(&self) -> String {
        let major = if self.revision >= 3 { self.revision } else { 2 };
        format!("{major}.{}", self.minor)
    }

    /// The bodies of commands of this name, behind the name.
    fn commands<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let start = [&[name.len() as u8], name.as_bytes()].concat();
        let commands = self.frames.iter().filter(|(flags, _)| flags & COMMAND != 0);
        commands.filter_map(move |(_, body)| body.strip_prefix(&start[..]))
    }

    /// The properties of READY: names, with the value of `Socket-Type` and the length of others.
    fn properties(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut rest = self.commands("READY").next().unwrap_or_default();
        while let [length, behind @ ..] = rest {
            let (name, behind) = behind.split_at(usize::from(*length));
            let (length, behind) = behind.split_at(4);
            let length = u32::from_be_bytes(length.try_into().unwrap());
            let (value, behind) = behind.split_at(usize::try_from(length).unwrap());
            let name = String::from_utf8_lossy(name);
            let is_type = name.eq_ignore_ascii_case("socket-type");
            let shown = if is_type {
                String::from_utf8_lossy(value).into_owned()
            } else {
                format!("{length} bytes")
            };
            found.push(format!("{name}={shown}"));
            rest = behind;
        }
        found
    }

    /// How subscriptions to this prefix, or the ends of them, are said.
    fn subscription(&self, prefix: &str, command: &str, first: u8) -> Option<String> {
        if self.commands(command).any(|body| body == prefix.as_bytes()) {
            return Some(format!("{command} command"));
        }
        let message = [&[first], prefix.as_bytes()].concat();
        let is_it = |(flags, body): &(u8, Vec<u8>)| flags & COMMAND == 0 && *body == message;
        self.frames.iter().any(is_it).then(|| format!("message {first:02x}"))
    }

    /// The first PING: behind its name stand the time to live in tenths of a second and the context.
    fn ping(&self) -> Option<String> {
        let body = self.commands("PING").next()?;
        let (ttl, context) = body.split_first_chunk()?;
        let ttl = u16::from_be_bytes(*ttl);
        Some(format!("TTL field {ttl}, context {} bytes", context.len()))
    }
}

/// The PONGs that the server answered with, at most as many as the client asked for.
pub(super) fn answered_pings(said: &Said) -> usize {
    let client = cut(&said.client, &said.server);
    let (Some(client), Some(server)) = (client, cut(&said.server, &said.client)) else { return 0 };
    client.commands("PING").count().min(server.commands("PONG").count())
}

/// A server that says no more than each stage of a handshake needs, so that it can be seen what the
/// client says before it hears the next. Returns what it said in each stage.
fn stages(library: &Library, kind: &str, minor: u8) -> Vec<Vec<u8>> {
    /// Long enough for a client to say what it has to.
    const QUIET: Duration = Duration::from_secs(1);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    // A library that returns only when it is connected gets its answer later.
    let mut client = library.start();
    let mut words = format!("open {SUBSCRIBER} {kind} {endpoint}");
    if !library.lacks.contains(&"heartbeat") {
        words.push_str(" heartbeat=200");
    }
    client.say(&words);
    if kind == "SUB" {
        client.say(&format!("subscribe {SUBSCRIBER} greet"));
    }
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(QUIET)).unwrap();
    let mut greeting = greeting();
    greeting[11] = minor;
    let ready = ready(if kind == "SUB" { "XPUB" } else { "ROUTER" });
    let mut stages = Vec::new();
    for say in [&[][..], &greeting[..10], &greeting[10..11], &greeting[11..], &ready] {
        // A client that hung up says nothing more.
        let _ = stream.write_all(say);
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        let until = Instant::now() + QUIET;
        while Instant::now() < until
            && let Ok(n @ 1..) = stream.read(&mut buffer)
        {
            heard.extend_from_slice(&buffer[..n]);
        }
        stages.push(heard);
    }
    stages
}

/// What a library's client says on the wire.
pub(super) fn facts(library: &Library) -> Value {
    let server = Server::start::<&str>(&[]);
    let requests = Capture::of(server.recv_addr);
    let messages = Capture::of(server.pub_addr);
    let mut client = library.start();
    let beats = !library.lacks.contains(&"heartbeat");
    let options: &[&str] = if beats { &["heartbeat=200"] } else { &[] };
    client.open(REQUEST, "REQ", &requests.endpoint(), options);
    client.open(SUBSCRIBER, "SUB", &messages.endpoint(), options);
    client.request_ok(&ping());
    client.subscribe("greet");
    client.unsubscribe("greet");
    if beats {
        eventually("PINGs", || {
            let captures = [&requests, &messages];
            captures.iter().all(|c| answered_pings(&c.only_connection()) > 0).then_some(())
        });
    }
    let said = requests.only_connection();
    let req = cut(&said.client, &said.server).unwrap();
    let server = cut(&said.server, &said.client).unwrap();
    let said = messages.only_connection();
    let sub = cut(&said.client, &said.server).unwrap();
    // To a server of ZMTP 3.0, where subscriptions are messages by the letter.
    let old: Vec<_> = stages(library, "SUB", 0).concat();
    let old = cut(&old, &greeting()).unwrap();
    let stages = stages(library, "REQ", 1);
    json!({
        "version": req.version(),
        "towards": server.version(),
        "stages": stages.iter().map(Vec::len).collect::<Vec<_>>(),
        "mechanism": req.mechanism,
        "as_server": req.as_server,
        "req": req.properties(),
        "sub": sub.properties(),
        "subscribe": sub.subscription("greet", "SUBSCRIBE", 1),
        "cancel": sub.subscription("greet", "CANCEL", 0),
        "ping_req": req.ping(),
        "ping_sub": sub.ping(),
        "subscribe_3_0": old.subscription("greet", "SUBSCRIBE", 1),
        "ping_3_0": old.ping(),
    })
}
