//! A peer that speaks ZMTP by hand, so that tests can do what no library would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use mezzenger::wire::confirm;

use super::wait::PATIENCE;

pub(crate) const MORE: u8 = 1;
pub(crate) const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// What ZeroMQ peers say first: a signature, version 3.0, the mechanism NULL.
pub(crate) fn greeting() -> Vec<u8> {
    let mut greeting = vec![0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3, 0];
    greeting.extend(b"NULL");
    greeting.resize(64, 0);
    greeting
}

/// What a socket of this kind (`SUB`, `DEALER`, `REQ`) says next.
pub(crate) fn ready(kind: &str) -> Vec<u8> {
    ready_with(&[("Socket-Type", kind.as_bytes())])
}

/// A READY with these properties.
pub(crate) fn ready_with(properties: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in properties {
        body.push(name.len() as u8);
        body.extend(name.as_bytes());
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(*value);
    }
    command("READY", &body)
}

/// A command with what it holds.
pub(crate) fn command(name: &str, body: &[u8]) -> Vec<u8> {
    with_head(COMMAND, &[&[name.len() as u8], name.as_bytes(), body].concat())
}

/// One part of a message.
pub(crate) fn part(body: &[u8], more: bool) -> Vec<u8> {
    with_head(if more { MORE } else { 0 }, body)
}

/// A request: the empty delimiter, and a body.
pub(crate) fn request(body: &[u8]) -> Vec<u8> {
    [part(b"", true), part(body, false)].concat()
}

/// A subscription to all frames that begin so.
pub(crate) fn subscription(prefix: &[u8]) -> Vec<u8> {
    part(&[b"\x01", prefix].concat(), false)
}

/// The end of a subscription.
pub(crate) fn cancellation(prefix: &[u8]) -> Vec<u8> {
    part(&[b"\0", prefix].concat(), false)
}

/// The beginning of a part that would have this many bytes.
pub(crate) fn announce(bytes: u64) -> Vec<u8> {
    [&[LONG][..], &bytes.to_be_bytes()].concat()
}

fn with_head(flags: u8, body: &[u8]) -> Vec<u8> {
    match u8::try_from(body.len()) {
        Ok(len) => [&[flags, len][..], body].concat(),
        Err(_) => [&[flags | LONG][..], &(body.len() as u64).to_be_bytes(), body].concat(),
    }
}

/// A connection.
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    /// Connects as a socket of this kind, and hears the server out.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr, kind: &str) -> Self {
        match Self::try_connect(address, kind) {
            Some(raw) => raw,
            None => panic!("{address} hung up"),
        }
    }

    /// As [`Self::connect`], `None` when the server hangs up.
    pub(crate) fn try_connect(address: SocketAddr, kind: &str) -> Option<Self> {
        Self::try_connect_with(address, &ready(kind))
    }

    /// Connects, and says nothing.
    pub(crate) fn silent(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Ok(Self { stream })
    }

    /// Connects, says this READY, and hears the server out; `None` when it hangs up.
    pub(crate) fn try_connect_with(address: SocketAddr, ready: &[u8]) -> Option<Self> {
        let mut raw = Self::silent(address).ok()?;
        raw.stream.write_all(&[&greeting()[..], ready].concat()).ok()?;
        raw.stream.read_exact(&mut [0; 64]).ok()?;
        let (flags, _) = raw.hear_part()?;
        assert_eq!(flags & COMMAND, COMMAND, "no READY");
        Some(raw)
    }

    /// Says something; the server may hang up meanwhile.
    pub(crate) fn try_say(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Says something.
    #[track_caller]
    pub(crate) fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The last part of the next message; `None` at the end.
    pub(crate) fn hear(&mut self) -> Option<Vec<u8>> {
        loop {
            let (flags, body) = self.hear_part()?;
            if flags & (COMMAND | MORE) == 0 {
                return Some(body);
            }
        }
    }

    /// The next frame's flags and body; `None` at the end.
    pub(crate) fn hear_part(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).ok()?;
        let [flags, len] = head;
        let len = if flags & LONG == 0 {
            u64::from(len)
        } else {
            let mut rest = [0; 8];
            rest[0] = len;
            self.stream.read_exact(&mut rest[1..]).ok()?;
            u64::from_be_bytes(rest)
        };
        let mut body = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut body).ok()?;
        Some((flags, body))
    }

    /// Waits until all that was subscribed to before is live. Messages that come meanwhile are dropped.
    #[track_caller]
    pub(crate) fn confirm(&mut self) {
        let topic = confirm::topic(fastrand::u128(..));
        self.say(&subscription(&topic));
        while self.hear().expect("the server hung up") != topic {}
        self.say(&cancellation(&topic));
    }

    /// Waits until the server hangs up; what it says before is dropped.
    #[track_caller]
    pub(crate) fn wait_for_the_end(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the server did not hang up: {error}"),
            }
        }
    }
}
