//! The original-format client: `tests/python/v1_client.py`, driven by JSON lines.
//!
//! Its Python environment is made on first use under the build directory, with the packages that
//! `tests/python/requirements.txt` pins.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use mezzenger::curve::{KeyPair, PublicKey};
use serde_json::{Value, json};

use super::binaries;
use super::process::Process;
use super::server::Server;
use super::wait::PATIENCE;

/// A reply that is the two bytes `OK`.
pub(crate) const OK: &[u8] = b"OK";

/// A running original-format client.
pub(crate) struct Python {
    pub(crate) process: Process,
}

/// What a client published, and how it was answered.
#[derive(Debug)]
pub(crate) struct Published {
    /// The frame that left.
    pub(crate) frame: Vec<u8>,
    /// The message's checksum, 32 hexadecimal digits.
    pub(crate) checksum: String,
    /// Python's `repr` of the payload.
    pub(crate) payload: String,
    /// The frames of the reply; `None` when none came.
    pub(crate) reply: Option<Vec<Vec<u8>>>,
}

impl Published {
    /// Checks that the reply is exactly one frame, `OK`.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.reply.as_deref(), Some(&[OK.to_vec()][..]));
        self
    }
}

/// A message as a client received it.
#[derive(Debug)]
pub(crate) struct Received {
    /// The frame that arrived.
    pub(crate) frame: Vec<u8>,
    /// The dict's keys, sorted.
    pub(crate) keys: Vec<String>,
    /// The dict's fields; the payload as Python's `repr`.
    pub(crate) name: String,
    pub(crate) payload: String,
    /// The payload's Python type.
    pub(crate) payload_type: String,
    pub(crate) ack: i64,
    pub(crate) timestamp: f64,
    pub(crate) checksum: String,
    /// What the checksum would be by the original's formula.
    pub(crate) expected_checksum: String,
}

impl Python {
    /// A client of this server.
    pub(crate) fn connect(server: &Server) -> Self {
        Self::start(server, &[])
    }

    /// A client that speaks CURVE, with these keys and to the server of this one.
    pub(crate) fn connect_with_keys(server: &Server, own: &KeyPair, server_key: PublicKey) -> Self {
        let (public, secret) = (own.public().to_string(), own.secret().to_z85());
        Self::start(server, &[&server_key.to_string(), &public, &secret])
    }

    fn start(server: &Server, keys: &[&str]) -> Self {
        let mut command = script("v1_client.py");
        command
            .arg(server.recv_addr.ip().to_string())
            .arg(server.recv_addr.port().to_string())
            .arg(server.pub_addr.port().to_string())
            .args(keys)
            .stdin(Stdio::piped());
        Self { process: Process::start(&mut command) }
    }

    #[track_caller]
    fn call(&mut self, command: &Value) -> Value {
        let stdin = self.process.stdin().as_mut().unwrap();
        writeln!(stdin, "{command}").unwrap();
        let Some(line) = self.process.line_within(PATIENCE * 2) else {
            panic!("the Python client ended at {command}:\n{}", self.process.stderr())
        };
        serde_json::from_str(&line).unwrap()
    }

    /// Publishes the value of a Python expression.
    #[track_caller]
    pub(crate) fn publish(
        &mut self,
        name: &str,
        payload: &str,
        ack: i32,
        protocol: u8,
    ) -> Published {
        let command = json!({
            "op": "publish", "name": name, "payload": payload, "ack": ack, "protocol": protocol,
        });
        let answer = self.call(&command);
        Published {
            frame: from_hex(&answer["frame"]),
            checksum: text(&answer["checksum"]),
            payload: text(&answer["payload"]),
            reply: reply(&answer),
        }
    }

    /// Sends any bytes as one request, and returns the reply's frames.
    #[track_caller]
    pub(crate) fn request(&mut self, frame: &[u8]) -> Option<Vec<Vec<u8>>> {
        reply(&self.call(&json!({ "op": "request", "frame": to_hex(frame) })))
    }

    /// As [`Self::request`], for a reply that must come in this time.
    #[track_caller]
    pub(crate) fn try_request(&mut self, frame: &[u8], time: Duration) -> Option<Vec<Vec<u8>>> {
        let time_ms = u64::try_from(time.as_millis()).unwrap();
        let command = json!({ "op": "request", "frame": to_hex(frame), "timeout_ms": time_ms });
        reply(&self.call(&command))
    }

    /// Acknowledges the message with this checksum.
    #[track_caller]
    pub(crate) fn ack(&mut self, checksum: &str) {
        let answer = self.call(&json!({ "op": "ack", "checksum": checksum }));
        assert_eq!(reply(&answer), Some(vec![OK.to_vec()]));
    }

    /// Pings, and returns the reply's frames.
    #[track_caller]
    pub(crate) fn ping(&mut self) -> Option<Vec<Vec<u8>>> {
        reply(&self.call(&json!({ "op": "ping" })))
    }

    /// Subscribes to a name, and waits until the subscription is live.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, name: &str) {
        self.call(&json!({ "op": "subscribe", "name": name, "settle": true }));
    }

    /// The next message of a subscribed name.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Received {
        match self.try_receive(PATIENCE).0 {
            Some(received) => received,
            None => panic!("no message within {PATIENCE:?}"),
        }
    }

    /// The next message of a subscribed name, if one comes in time, and how many messages of other
    /// names were dropped so far.
    #[track_caller]
    pub(crate) fn try_receive(&mut self, time: Duration) -> (Option<Received>, u64) {
        let time_ms = u64::try_from(time.as_millis()).unwrap();
        let answer = self.call(&json!({ "op": "receive", "timeout_ms": time_ms }));
        let dropped = answer["dropped"].as_u64().unwrap();
        let message = &answer["message"];
        if message.is_null() {
            return (None, dropped);
        }
        let keys = message["keys"].as_array().unwrap();
        let received = Received {
            frame: from_hex(&message["frame"]),
            keys: keys.iter().map(text).collect(),
            name: text(&message["name"]),
            payload: text(&message["payload"]),
            payload_type: text(&message["type"]),
            ack: message["ack"].as_i64().unwrap(),
            timestamp: message["timestamp"].as_f64().unwrap(),
            checksum: text(&message["checksum"]),
            expected_checksum: text(&message["expected_checksum"]),
        };
        (Some(received), dropped)
    }
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[track_caller]
fn reply(answer: &Value) -> Option<Vec<Vec<u8>>> {
    Some(answer["reply"].as_array()?.iter().map(from_hex).collect())
}

#[track_caller]
fn from_hex(value: &Value) -> Vec<u8> {
    let (pairs, rest) = value.as_str().unwrap().as_bytes().as_chunks::<2>();
    assert!(rest.is_empty());
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    pairs.iter().map(|&[high, low]| digit(high) << 4 | digit(low)).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A program of `tests/python`.
pub(crate) fn script(name: &str) -> Command {
    let mut command = Command::new(environment().join("bin/python"));
    command.arg(binaries::workspace().join("tests/python").join(name));
    command
}

/// The directory of the Python environment, made on first use and kept for later runs.
pub(crate) fn environment() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let directory = binaries::target_dir().join("python-environment");
        let requirements = binaries::workspace().join("tests/python/requirements.txt");
        make_environment(&directory, &requirements);
        directory
    })
}

/// A program of `tests/python` that is about HTTP, and has what that needs.
pub(crate) fn http_script(name: &str) -> Command {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    let environment = MADE.get_or_init(|| {
        let directory = binaries::target_dir().join("python-http-environment");
        let requirements = binaries::workspace().join("tests/python/http-requirements.txt");
        make_environment(&directory, &requirements);
        directory
    });
    let mut command = Command::new(environment.join("bin/python"));
    command.arg(binaries::workspace().join("tests/python").join(name));
    command
}

fn make_environment(directory: &Path, requirements: &Path) {
    // Another test run may be at it: the lock ends with the file's handle, however this one ends.
    let lock = File::create(directory.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let wanted = fs::read_to_string(requirements).unwrap();
    let marker = directory.join("made-from.txt");
    if fs::read_to_string(&marker).is_ok_and(|made_from| made_from == wanted) {
        return;
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(directory));
    run(Command::new(directory.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(requirements));
    // Last, so that an environment that was not finished is made again.
    fs::write(marker, wanted).unwrap();
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; the tests need python3 with its venv module")
    });
    assert!(
        output.status.success(),
        "{command:?} failed; the tests need python3 with its venv module, and the network once:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
