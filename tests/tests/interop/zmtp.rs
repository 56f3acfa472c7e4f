//! Reads what a client said on the wire, for the table of facts in `engine/docs/interop.md`.

use serde_json::{Value, json};

use super::capture::{Capture, Said};
use super::library::{Library, REQUEST, SUBSCRIBER};
use super::message::ping;
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

/// Cuts what one side said; `None` while its greeting is not whole.
fn cut(bytes: &[u8]) -> Option<Side> {
    let revision = *bytes.get(10)?;
    let (minor, mechanism, as_server, rest) = if revision >= 3 {
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
}

/// The PONGs that the server answered with, at most as many as the client asked for.
pub(super) fn answered_pings(said: &Said) -> usize {
    let (Some(client), Some(server)) = (cut(&said.client), cut(&said.server)) else { return 0 };
    client.commands("PING").count().min(server.commands("PONG").count())
}

/// What a library's client says on the wire.
pub(super) fn facts(library: &Library) -> Value {
    let server = Server::start::<&str>(&[]);
    let requests = Capture::of(server.recv_addr);
    let messages = Capture::of(server.pub_addr);
    let mut client = library.start();
    let options: &[&str] =
        if library.lacks.contains(&"heartbeat") { &[] } else { &["heartbeat=200"] };
    client.open(REQUEST, "REQ", &requests.endpoint(), options);
    client.open(SUBSCRIBER, "SUB", &messages.endpoint(), options);
    client.request_ok(&ping());
    client.subscribe("greet");
    client.unsubscribe("greet");
    if !options.is_empty() {
        eventually("PINGs", || {
            let captures = [&requests, &messages];
            captures.iter().all(|c| answered_pings(&c.only_connection()) > 0).then_some(())
        });
    }
    let said = requests.only_connection();
    let first_bytes = said.client_first.len();
    let req = cut(&said.client).unwrap();
    let server = cut(&said.server).unwrap();
    let sub = cut(&messages.only_connection().client).unwrap();
    let ping_of = |side: &Side| {
        // Behind the name: the time to live in tenths of a second, then the context.
        side.commands("PING").next().map_or_else(
            || "none".to_owned(),
            |body| {
                let ttl = u16::from_be_bytes([body[0], body[1]]);
                format!("TTL {ttl} (tenths of a second), context {} bytes", body.len() - 2)
            },
        )
    };
    json!({
        "version": req.version(),
        "towards": server.version(),
        "first_bytes": first_bytes,
        "mechanism": req.mechanism,
        "as_server": req.as_server,
        "req": req.properties(),
        "sub": sub.properties(),
        "subscribe": sub.subscription("greet", "SUBSCRIBE", 1).unwrap_or_default(),
        "cancel": sub.subscription("greet", "CANCEL", 0).unwrap_or_default(),
        "ping_req": ping_of(&req),
        "ping_sub": ping_of(&sub),
    })
}
