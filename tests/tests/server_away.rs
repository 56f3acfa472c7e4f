//! Clients outlive a server that is away longer than all their timeouts, and cost next to nothing
//! meanwhile.
//!
//! The clients are the publishers and subscribers of the crash torture: processes of their own, whose
//! processor time and memory are nobody else's, and who tell of every message what became of it.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loadgen::report::process::usage;
use mezzenger_torture::content::Key;
use mezzenger_torture::ledger::Ledger;
use mezzenger_torture::ports;
use mezzenger_torture::report::Report;
use rustix::process::Signal;

use crate::harness::process::Process;
use crate::harness::{Server, binaries, eventually};

/// How long a client waits for an answer, and how often. Together, its patience: 600 ms.
const SHORT: [&str; 2] = ["--send-timeout=200ms", "--tries=3"];

/// Far beyond any test.
const LONG: [&str; 2] = ["--send-timeout=1s", "--tries=60"];

/// What the messages of the only publisher carry.
const PUBLISHER: u32 = 1;

/// A server that goes and comes back on the same ports, and its two clients.
struct Scene {
    directory: tempfile::TempDir,
    ports: [u16; 2],
    address: String,
    server: Option<Server>,
    publisher: Process,
    subscriber: Process,
    told: Told,
}

/// What the clients told so far.
#[derive(Default)]
struct Told {
    ledger: Ledger,
    sent: u64,
    ok: u64,
    refused: u64,
}

impl Told {
    fn take(&mut self, lines: Vec<String>) {
        let key = |number| Key { publisher: PUBLISHER, number };
        for line in lines {
            match line.parse().unwrap() {
                Report::Sent(number) => {
                    self.ledger.sent(key(number));
                    self.sent += 1;
                }
                Report::Ok(number) => {
                    self.ledger.ok(key(number), 1);
                    self.ok += 1;
                }
                Report::Refused { number, .. } => {
                    self.ledger.refused(key(number));
                    self.refused += 1;
                }
                Report::Delivered { key, .. } => self.ledger.delivered(key),
                Report::Damaged(bytes) => panic!("{bytes} damaged bytes were delivered"),
                Report::Acknowledged(_) => {}
                other => panic!("there are no jobs here: {other:?}"),
            }
        }
    }
}

/// A server on these ports.
fn serve(address: &str, ports: [u16; 2], journal: &Path) -> Server {
    let mut command = crate::harness::server::command();
    command.args(["--bind", address]);
    command.args(["--pub-port", &ports[0].to_string(), "--recv-port", &ports[1].to_string()]);
    command.args(["--retry-interval", "500ms", "--persist-file"]).arg(journal);
    Server::started(&mut command)
}

/// Starts a client. `wrapped` turns the command into another that runs it.
fn client(
    arguments: &[&str],
    options: [&str; 2],
    host: &str,
    port: u16,
    wrapped: &dyn Fn(Command) -> Command,
) -> Process {
    let mut command = Command::new(binaries::path("mezzenger-torture"));
    command.args(arguments).args(options).args(["--names=1", "--address", host]);
    command.arg(format!("--port={port}"));
    // Its end ends the client.
    Process::start(wrapped(command).stdin(Stdio::piped()))
}

impl Scene {
    /// Both clients started, the publisher with so many messages unanswered at most.
    fn start(window: u32, options: [&str; 2]) -> Self {
        Self::start_at("127.0.0.1", "127.0.0.1", window, options, &|command| command)
    }

    /// The server at an address, which the clients know by a host name.
    fn start_at(
        address: &str,
        host: &str,
        window: u32,
        options: [&str; 2],
        wrapped: &dyn Fn(Command) -> Command,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ports = ports::pair(&mut fastrand::Rng::new());
        let server = Some(serve(address, ports, &directory.path().join("journal")));
        let publish =
            ["publish", &format!("--publisher={PUBLISHER}"), &format!("--window={window}")];
        let publisher = client(&publish, options, host, ports[1], wrapped);
        let subscriber = client(&["subscribe", "--subscriber=0"], options, host, ports[1], wrapped);
        let (address, told) = (address.to_owned(), Told::default());
        Self { directory, ports, address, server, publisher, subscriber, told }
    }

    /// Waits until messages are answered and delivered.
    #[track_caller]
    fn flows(mut self) -> Self {
        self.until("messages flow", |told| told.ok >= 100 && told.ledger.deliveries() >= 100);
        self
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("it is there")
    }

    fn kill_server(&mut self) {
        self.server.take().expect("it is there").process.kill();
        self.until("what was told by then", |_| true);
    }

    fn start_server(&mut self) {
        let journal = self.directory.path().join("journal");
        self.server = Some(serve(&self.address, self.ports, &journal));
    }

    /// Takes in what the clients tell until a condition holds.
    #[track_caller]
    fn until(&mut self, what: &str, is_so: impl Fn(&Told) -> bool) {
        eventually(what, || {
            self.told.take(self.publisher.lines_so_far());
            self.told.take(self.subscriber.lines_so_far());
            is_so(&self.told).then_some(())
        });
    }

    /// Waits until this many further messages are answered OK.
    #[track_caller]
    fn flows_again(&mut self, messages: u64) {
        let ok = self.told.ok + messages;
        self.until("messages flow again", |told| told.ok >= ok);
    }

    /// Ends the clients. All that was answered OK must be delivered.
    #[track_caller]
    fn finish(mut self) {
        *self.publisher.stdin() = None;
        assert_eq!(self.publisher.wait().code(), Some(0), "{}", self.publisher.stderr());
        self.until("all that was answered OK is delivered", |told| told.ledger.owed() == 0);
        *self.subscriber.stdin() = None;
        assert_eq!(self.subscriber.wait().code(), Some(0), "{}", self.subscriber.stderr());
        self.until("the last lines", |_| true);
        let account = self.told.ledger.account();
        assert_eq!((account.forged, account.unanswered, account.owed), (0, 0, 0), "{account:?}");
        self.server.take().expect("it is there").terminate();
    }

    /// Processor time that both clients have used, in seconds.
    fn cpu_s(&self) -> [f64; 2] {
        [&self.publisher, &self.subscriber].map(|client| usage(client.id()).unwrap().cpu_s)
    }
}

/// Messages that the publisher may have unanswered while the server is away.
const WINDOW: u32 = 4;

#[track_caller]
fn check(leave: impl FnOnce(&mut Scene), come_back: impl FnOnce(&mut Scene)) {
    let mut scene = Scene::start(WINDOW, SHORT).flows();
    leave(&mut scene);
    let (left, cpu_s) = (Instant::now(), scene.cpu_s());
    // Six times all that the client sets: more than 3 s.
    let refused = scene.told.refused + 6 * u64::from(WINDOW);
    scene.until("the publisher gives up again and again", |told| told.refused >= refused);
    let away_s = left.elapsed().as_secs_f64();
    assert!(away_s > 2.0, "it gave {refused} messages up within {away_s} s");
    for (who, (before, after)) in
        ["publisher", "subscriber"].iter().zip(cpu_s.into_iter().zip(scene.cpu_s()))
    {
        let used_s = after - before;
        assert!(used_s < away_s / 10.0, "the {who} used {used_s} s in {away_s} s of waiting");
    }
    come_back(&mut scene);
    scene.flows_again(100);
    scene.finish();
}

#[test]
fn clients_outlive_a_killed_server_and_lose_nothing_that_was_answered() {
    check(Scene::kill_server, Scene::start_server);
}

#[test]
fn clients_outlive_a_server_that_stands_still() {
    let signal = |signal| move |scene: &mut Scene| scene.server().process.signal(signal);
    check(signal(Signal::STOP), signal(Signal::CONT));
}

/// Attempts of a client that are watched.
const ATTEMPTS: usize = 8;

/// The least time from the first of them to the last: the pause between them doubles from 50 ms to 1 s,
/// and half of it is the least.
const ATTEMPTS_TIME_MIN: Duration = Duration::from_millis(1500);

#[test]
fn clients_that_find_nobody_try_less_and_less_often() {
    let mut scene = Scene::start(WINDOW, SHORT).flows();
    scene.kill_server();
    // In the server's place, so that attempts are seen: connections are closed at once.
    let decoy = TcpListener::bind((Ipv4Addr::LOCALHOST, scene.ports[1])).unwrap();
    decoy.set_nonblocking(true).unwrap();
    // Of so many attempts, one of the two clients made as many as are watched.
    let mut attempts = Vec::new();
    eventually("attempts", || {
        if decoy.accept().is_ok() {
            attempts.push(Instant::now());
        }
        (attempts.len() >= 2 * ATTEMPTS).then_some(())
    });
    let took = attempts[2 * ATTEMPTS - 1] - attempts[0];
    assert!(took >= ATTEMPTS_TIME_MIN, "{took:?}");
    drop(decoy);
    scene.start_server();
    scene.flows_again(100);
    scene.finish();
}

/// Messages that are given up while the server is away, of 4 KiB on average: 80 MB.
const GIVEN_UP: u64 = 20_000;

/// What the publisher may take in all. Its client holds twice 4 MiB by default; the rest is for the program,
/// for what it remembers of its messages, and for what an allocator makes of all that.
const PUBLISHER_BYTES_MAX: usize = 40 * 1024 * 1024;

#[test]
fn what_a_client_holds_while_the_server_is_away_is_bounded() {
    // Nothing but the client holds this publisher back.
    let mut scene = Scene::start(u32::MAX, ["--send-timeout=250ms", "--tries=2"]);
    scene.until("the publisher has begun", |told| told.sent > 0);
    scene.kill_server();
    scene.until("the publisher gives up", |told| told.refused >= GIVEN_UP);
    let bytes = scene.publisher.memory_max_bytes();
    assert!(bytes <= PUBLISHER_BYTES_MAX, "{bytes} bytes");
    *scene.publisher.stdin() = None;
    assert_eq!(scene.publisher.wait().code(), Some(0), "{}", scene.publisher.stderr());
}

/// A host name that nobody has.
const HOST: &str = "broker.test";

/// Gives this file to a program, and to it alone, as `/etc/hosts`.
fn with_hosts(hosts: &Path, command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--map-root-user", "--mount", "sh", "-c"]);
    wrapped.arg(r#"mount --bind "$0" /etc/hosts && exec "$@""#).arg(hosts);
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped
}

#[test]
fn a_name_is_asked_for_its_address_at_each_reconnection() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    let has_address =
        |address: &str| std::fs::write(&hosts, format!("{address} {HOST}\n")).unwrap();
    has_address("127.0.0.1");
    let mut probe = Command::new("getent");
    let probe = with_hosts(&hosts, probe.args(["hosts", HOST])).output();
    if !probe.as_ref().is_ok_and(|output| output.status.success()) {
        // Past the test harness, which shows nothing of tests that pass.
        let why =
            "NOT TESTED: that a name is resolved anew: this system lets nobody mount an /etc/hosts";
        writeln!(io::stderr(), "{why}: {probe:?}").unwrap();
        return;
    }
    let wrapped = |command| with_hosts(&hosts, &command);
    let mut scene = Scene::start_at("127.0.0.1", HOST, 32, LONG, &wrapped).flows();
    scene.kill_server();
    has_address("127.0.0.2");
    scene.address = "127.0.0.2".to_owned();
    scene.start_server();
    scene.flows_again(100);
    assert_eq!(scene.told.refused, 0);
    scene.finish();
}
