//! A library's program, driven by commands on its standard input.

use std::fs;
use std::io::Write;
use std::panic::panic_any;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::message::{Message, ping};
use crate::harness::process::Process;
use crate::harness::{PATIENCE, binaries};

/// The name of the socket for requests, in the program.
pub(super) const REQUEST: &str = "request";
/// The name of the socket for subscriptions, in the program.
pub(super) const SUBSCRIBER: &str = "subscriber";
/// What the names of messages begin with that only tell whether a subscription is live.
const PROBE: &str = "probe-";

/// A library that clients are written with.
pub(super) struct Library {
    /// The name of its directory in `tests/interop` or under the build directory.
    pub(super) name: &'static str,
    /// Its name as people know it.
    pub(super) title: &'static str,
    /// Steps that need what it does not have.
    pub(super) lacks: &'static [&'static str],
    /// Whether its sockets for requests connect again by themselves.
    pub(super) requests_reconnect: bool,
}

/// The panic of a step that needs what a library does not have.
pub(super) struct Lacks(pub(super) String);

impl Library {
    pub(super) fn new(name: &'static str, title: &'static str) -> Self {
        Self { name, title, lacks: &[], requests_reconnect: true }
    }

    pub(super) fn lacks(mut self, steps: &'static [&'static str]) -> Self {
        self.lacks = steps;
        self
    }

    pub(super) fn requests_do_not_reconnect(mut self) -> Self {
        self.requests_reconnect = false;
        self
    }

    /// The program and its arguments, or why there is none.
    pub(super) fn program(&self) -> Result<Vec<String>, String> {
        let made = binaries::target_dir().join("interop").join(self.name);
        match fs::read_to_string(made.join("command")) {
            Ok(words) => Ok(words.lines().map(str::to_owned).collect()),
            Err(_) => Err(fs::read_to_string(made.join("skipped")).map_or_else(
                |_| "tests/interop/run did not make it".to_owned(),
                |why| why.trim().replace('\n', " "),
            )),
        }
    }

    /// What the program says of its library.
    #[track_caller]
    pub(super) fn version(&self) -> String {
        self.start().ask("version")["detail"].as_str().unwrap().to_owned()
    }

    /// Starts the program.
    #[track_caller]
    pub(super) fn start(&self) -> Client {
        let words = self.program().unwrap();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped());
        let directory = tempfile::tempdir().unwrap();
        Client { process: Process::start(&mut command), directory, probes: 0 }
    }
}

/// A running program.
pub(super) struct Client {
    process: Process,
    directory: TempDir,
    probes: u32,
}

impl Client {
    /// Gives a command, and returns the answer to it.
    #[track_caller]
    pub(super) fn ask(&mut self, command: &str) -> Value {
        match self.try_ask(command) {
            Ok(answer) => answer,
            Err(why) => panic!("{command}: {why}"),
        }
    }

    /// Gives a command whose answer nobody waits for.
    #[track_caller]
    pub(super) fn say(&mut self, command: &str) {
        writeln!(self.process.stdin().as_mut().unwrap(), "{command}").unwrap();
    }

    #[track_caller]
    fn try_ask(&mut self, command: &str) -> Result<Value, String> {
        self.say(command);
        let Some(line) = self.process.line_within(2 * PATIENCE) else {
            panic!("the client ended at {command}:\n{}", self.process.stderr())
        };
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        let detail = answer["detail"].as_str().unwrap_or_default().to_owned();
        match (&answer["ok"], &answer["unsupported"]) {
            (Value::Bool(true), _) => Ok(answer),
            (_, Value::Bool(true)) => panic_any(Lacks(detail)),
            _ => Err(detail),
        }
    }

    /// Connects a socket: REQ, DEALER or SUB.
    #[track_caller]
    pub(super) fn open(&mut self, name: &str, kind: &str, endpoint: &str, options: &[&str]) {
        let words = [&["open", name, kind, endpoint], options].concat();
        self.ask(&words.join(" "));
    }

    /// Closes a socket.
    #[track_caller]
    pub(super) fn close(&mut self, name: &str) {
        self.ask(&format!("close {name}"));
    }

    /// Sends a message of these frames.
    #[track_caller]
    pub(super) fn send(&mut self, name: &str, frames: &[&[u8]]) {
        let mut command = format!("send {name}");
        for (number, frame) in frames.iter().enumerate() {
            let path = self.path(&format!("sent-{number}"));
            fs::write(&path, frame).unwrap();
            command = format!("{command} {}", path.to_str().unwrap());
        }
        self.ask(&command);
    }

    /// The frames of the next message, if one comes in time.
    #[track_caller]
    pub(super) fn receive_within(&mut self, name: &str, time: Duration) -> Option<Vec<Vec<u8>>> {
        let directory = self.directory.path().to_str().unwrap();
        let command = format!("receive {name} {} {directory}", time.as_millis());
        let frames = self.ask(&command)["frames"].as_u64().unwrap();
        let read = |number: u64| fs::read(self.path(&number.to_string())).unwrap();
        (frames > 0).then(|| (0..frames).map(read).collect())
    }

    /// The frames of the next message.
    #[track_caller]
    pub(super) fn receive(&mut self, name: &str) -> Vec<Vec<u8>> {
        match self.receive_within(name, PATIENCE) {
            Some(frames) => frames,
            None => panic!("{name}: nothing came within {PATIENCE:?}"),
        }
    }

    /// Sends a request, and returns the frames of its reply.
    #[track_caller]
    pub(super) fn request(&mut self, frame: &[u8]) -> Vec<Vec<u8>> {
        self.send(REQUEST, &[frame]);
        self.receive(REQUEST)
    }

    /// Sends a request, and checks that the reply is exactly one frame, `OK`.
    #[track_caller]
    pub(super) fn request_ok(&mut self, frame: &[u8]) {
        assert_eq!(self.request(frame), [b"OK"]);
    }

    /// Subscribes, and returns when the subscription is live.
    #[track_caller]
    pub(super) fn subscribe(&mut self, prefix: &str) {
        self.ask(&format!("subscribe {SUBSCRIBER} {prefix}"));
        self.settle();
    }

    /// Ends a subscription, and returns when the server knows.
    #[track_caller]
    pub(super) fn unsubscribe(&mut self, prefix: &str) {
        self.ask(&format!("unsubscribe {SUBSCRIBER} {prefix}"));
        self.settle();
    }

    /// Waits until the server has all subscriptions made so far, and none that was ended. They travel in
    /// order on one connection, so that earlier ones are live when a later one is heard.
    #[track_caller]
    fn settle(&mut self) {
        self.probes += 1;
        let name = format!("{PROBE}{}", self.probes);
        let probe = Message::once(&name, "").frame;
        self.ask(&format!("subscribe {SUBSCRIBER} {name}"));
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.request_ok(&probe);
            let soon = Duration::from_millis(50);
            if let Some(frames) = self.receive_within(SUBSCRIBER, soon)
                && frames == [&probe[..]]
            {
                break;
            }
            assert!(Instant::now() < deadline, "no subscription was live within {PATIENCE:?}");
        }
        self.ask(&format!("unsubscribe {SUBSCRIBER} {name}"));
    }

    /// The next message, which has one frame.
    #[track_caller]
    pub(super) fn next(&mut self) -> Vec<u8> {
        loop {
            let frames = self.receive(SUBSCRIBER);
            assert_eq!(frames.len(), 1, "a published message has one frame");
            if !frames[0].starts_with(PROBE.as_bytes()) {
                return frames.into_iter().next().unwrap();
            }
        }
    }

    /// Checks that this message is the next.
    #[track_caller]
    pub(super) fn expect(&mut self, message: &Message) {
        let next = self.next();
        // Not `assert_eq`, which would print payloads of megabytes.
        assert!(
            next == message.frame,
            "another message came: {}",
            next[..next.len().min(200)].escape_ascii()
        );
    }

    /// Receives until this message comes.
    #[track_caller]
    pub(super) fn expect_at_last(&mut self, message: &Message) {
        let deadline = Instant::now() + PATIENCE;
        while self.next() != message.frame {
            assert!(Instant::now() < deadline, "the message did not come within {PATIENCE:?}");
        }
    }

    /// A socket for requests that works after the server was away. A library whose sockets do not
    /// connect again needs a new one, as its programs do.
    #[track_caller]
    pub(super) fn requests_again(&mut self, library: &Library, endpoint: &str) {
        if library.requests_reconnect {
            return;
        }
        // The old one says so when it sends, or when it receives.
        let tried = self.try_ask(&format!("send {REQUEST} {}", self.write_ping())).and_then(|_| {
            let directory = self.directory.path().to_str().unwrap().to_owned();
            self.try_ask(&format!("receive {REQUEST} 1000 {directory}"))
        });
        let answered = tried.is_ok_and(|answer| answer["frames"] != 0);
        assert!(!answered, "the socket for requests is said not to connect again, and did");
        self.close(REQUEST);
        self.open(REQUEST, "REQ", endpoint, &[]);
    }

    fn write_ping(&self) -> String {
        let path = self.path("ping");
        fs::write(&path, ping()).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }
}
