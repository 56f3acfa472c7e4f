//! CURVE between the real programs, and with libzmq: pyzmq's wheel has it, the crate `zmq` has not.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use mezzenger::curve::{KeyPair, PublicKey, read_key_pair, read_public_key, write_key_pair};
use mezzenger::{Client, ConnectError};
use rustix::fs::{CWD, mkfifoat};
use tempfile::TempDir;

use crate::harness::process::Process;
use crate::harness::python::script;
use crate::harness::server::command;
use crate::harness::{PATIENCE, Python, Server, binaries, eventually};

/// A server's keys, and a directory with those of its clients.
pub(crate) struct Keys {
    directory: TempDir,
    server: KeyPair,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let (directory, server) = (tempfile::tempdir().unwrap(), KeyPair::generate());
        fs::create_dir(directory.path().join("clients")).unwrap();
        write_key_pair(directory.path().join("server"), &server).unwrap();
        Self { directory, server }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A new client that is accepted from now on.
    pub(crate) fn client(&self, name: &str) -> KeyPair {
        let pair = KeyPair::generate();
        write_key_pair(self.path("clients").join(name), &pair).unwrap();
        pair
    }

    fn start(&self, authorized: &str) -> Server {
        let secret = self.path("server.key_secret");
        let secret = secret.to_str().unwrap();
        Server::start(&["--curve-secret", secret, "--authorized-keys", authorized])
    }

    /// A server that accepts the clients of the directory.
    pub(crate) fn server(&self) -> Server {
        self.start(self.path("clients").to_str().unwrap())
    }

    pub(crate) fn connect(&self, server: &Server, own: &KeyPair) -> Result<Client, ConnectError> {
        let options = server.client_options().send_timeout(PATIENCE / 5).connection_retries(1);
        options.curve(own.clone(), self.server.public()).connect()
    }
}

#[test]
fn libzmq_has_no_curve_where_it_is_a_crate() {
    // If it ever has, these tests need Python no longer.
    assert_eq!(zmq::has("curve"), Some(false));
}

#[test]
fn libzmq_publishes_and_subscribes_with_keys() {
    let keys = Keys::new();
    let (alice, bob) = (keys.client("alice"), keys.client("bob"));
    let server = keys.server();
    let mut python = Python::connect_with_keys(&server, &alice, keys.server.public());
    python.subscribe("greet");
    for n in 0..300 {
        python.publish("greet", &format!("'hello {n}'"), 1, 4).ok();
        let received = python.receive();
        assert_eq!(received.payload, format!("'hello {n}'"));
        python.ack(&received.checksum);
    }
    python.publish("greet", "b'x' * 3_000_000", 0, 4).ok();
    assert_eq!(python.receive().payload.len(), 3_000_003);
    // Longer than its heartbeats allow the server to be silent, if these were not answered.
    python.ping().unwrap();
    let client = keys.connect(&server, &bob).unwrap();
    let mut greetings = client.subscription("greet").unwrap();
    python.publish("greet", "'to all'", 0, 4).ok();
    greetings.recv_timeout(PATIENCE).unwrap();
    assert_eq!(python.receive().payload, "'to all'");
    client.publish("greet", "from the library").unwrap().wait().unwrap();
    assert_eq!(python.receive().payload, "'from the library'");
}

#[test]
fn libzmq_with_other_keys_or_none_gets_nothing() {
    let keys = Keys::new();
    let alice = keys.client("alice");
    let server = keys.server();
    let (stranger, other) = (KeyPair::generate(), KeyPair::generate().public());
    let refused = |mut python: Python| {
        assert_eq!(python.try_request(b"ping|x", Duration::from_millis(700)), None);
    };
    refused(Python::connect_with_keys(&server, &stranger, keys.server.public()));
    server.log_line(&format!("its key {} is not among the authorized ones", stranger.public()));
    refused(Python::connect_with_keys(&server, &alice, other));
    refused(Python::connect(&server));
    let mut good = Python::connect_with_keys(&server, &alice, keys.server.public());
    good.ping().unwrap();
}

#[test]
fn the_client_speaks_curve_with_libzmqs_server() {
    let behind = Server::start::<&str>(&[]);
    let mut command = script("curve_proxy.py");
    command.arg(behind.recv_endpoint()).stdin(Stdio::piped());
    let proxy = Process::start(&mut command);
    let line = proxy.line_within(PATIENCE).unwrap();
    let (port, key) = line.split_once(' ').unwrap();
    let (port, key) = (port.parse().unwrap(), key.parse::<PublicKey>().unwrap());
    let options = || Client::builder().port(port).send_timeout(PATIENCE / 5).connection_retries(1);
    let client = options().curve(KeyPair::generate(), key).connect().unwrap();
    client.ping().unwrap();
    for n in 0..200 {
        client.publish("greet", format!("{n}")).unwrap();
    }
    client.message("greet", vec![7; 3_000_000]).ack().send().unwrap();
    client.flush().unwrap();
    let subscriber = behind.client();
    let mut got = subscriber.subscription("greet").unwrap();
    assert_eq!(got.recv_timeout(PATIENCE).unwrap().payload(), vec![7; 3_000_000]);
    let soon = || options().send_timeout(Duration::from_millis(500));
    soon().connect().unwrap_err();
    soon().curve(KeyPair::generate(), KeyPair::generate().public()).connect().unwrap_err();
}

#[test]
fn files_are_those_of_zmq_auth() {
    let directory = tempfile::tempdir().unwrap();
    let pair = KeyPair::generate();
    let [_, secret] = write_key_pair(directory.path().join("ours"), &pair).unwrap();
    let output = script("auth_files.py")
        .args([directory.path(), Path::new("theirs"), &secret])
        .output()
        .unwrap();
    let read = String::from_utf8(output.stdout).unwrap();
    let ours = format!("{} {}\n", pair.public(), *pair.secret().to_z85());
    assert_eq!(read, ours, "{}", String::from_utf8_lossy(&output.stderr));
    let public = read_public_key(directory.path().join("theirs.key")).unwrap();
    let theirs = directory.path().join("theirs.key_secret");
    // zmq.auth leaves the mode to the umask.
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(read_key_pair(theirs).unwrap().public(), public);
}

#[test]
fn a_changed_directory_counts_within_seconds() {
    let keys = Keys::new();
    let alice = keys.client("alice");
    let server = keys.server();
    let client = keys.connect(&server, &alice).unwrap();
    let bob = KeyPair::generate();
    assert!(matches!(keys.connect(&server, &bob), Err(ConnectError::Security { .. })));
    // Another key in a file of the same name and size.
    write_key_pair(keys.path("bob"), &bob).unwrap();
    fs::rename(keys.path("bob.key"), keys.path("clients").join("alice.key")).unwrap();
    let changed = Instant::now();
    let line = server.log_line("the authorized keys changed ended=1");
    let (gained, lost) = (bob.public(), alice.public());
    assert!(line.contains(&format!("added=\"{gained}\" removed=\"{lost}\"")), "{line}");
    assert!(changed.elapsed() < Duration::from_secs(4), "{:?}", changed.elapsed());
    assert!(matches!(keys.connect(&server, &alice), Err(ConnectError::Security { .. })));
    keys.connect(&server, &bob).unwrap();
    drop(client);
    // A file that cannot be used is told, and changes nothing about the others.
    let clients = keys.path("clients");
    fs::write(clients.join("broken.key"), "no key").unwrap();
    mkfifoat(CWD, clients.join("pipe.key"), 0o600.into()).unwrap();
    server.log_line("broken.key has no public-key");
    server.log_line("pipe.key is no regular file");
    keys.connect(&server, &bob).unwrap();
    let carol = keys.client("carol");
    eventually("a new key counts", || keys.connect(&server, &carol).ok());
    fs::remove_file(clients.join("alice.key")).unwrap();
    eventually("a key that was taken away", || keys.connect(&server, &bob).err());
    assert_eq!(server.process.stderr().matches("broken.key").count(), 1);
    // A directory that others may write says nothing of whose keys are authorized.
    fs::set_permissions(&clients, fs::Permissions::from_mode(0o777)).unwrap();
    keys.client("dave");
    let line = server.log_line("the authorized keys stay as they are, because");
    assert!(line.contains(&format!("chmod go-w {}", clients.display())), "{line}");
    keys.connect(&server, &carol).unwrap();
    // One that is not there any more authorizes nobody, and one that comes back does.
    fs::set_permissions(&clients, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&clients, keys.path("gone")).unwrap();
    server.log_line("the authorized keys count no longer, because");
    eventually("a key of a directory that is gone", || keys.connect(&server, &carol).err());
    fs::rename(keys.path("gone"), &clients).unwrap();
    eventually("a key of a directory that is back", || keys.connect(&server, &carol).ok());
}

#[test]
fn any_key_is_accepted_if_that_is_said() {
    let keys = Keys::new();
    let server = keys.start("*");
    keys.connect(&server, &KeyPair::generate()).unwrap().ping().unwrap();
    assert!(matches!(server.client_options().connect(), Err(ConnectError::Security { .. })));
}

#[test]
fn other_machines_may_reach_a_server_with_keys() {
    let keys = Keys::new();
    let secret = keys.path("server.key_secret");
    let with = |more: &[&str]| {
        let mut command = command();
        command.args(["--bind", "0.0.0.0", "--pub-port", "0", "--recv-port", "0"]).args(more);
        Server::run(&mut command)
    };
    let refused = with(&[]).err().unwrap();
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("--curve-secret"), "{}", refused.stderr);
    let secret = secret.to_str().unwrap();
    let refused = with(&["--curve-secret", secret]).err().unwrap();
    assert!(refused.stderr.contains("--authorized-keys"), "{}", refused.stderr);
    let clients = keys.path("clients");
    let given = ["--curve-secret", secret, "--authorized-keys", clients.to_str().unwrap()];
    drop(with(&given).unwrap());
    fs::set_permissions(secret, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = with(&given).err().unwrap();
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains(&format!("chmod 600 {secret}")), "{}", refused.stderr);
}

fn mezzenger(address: SocketAddr, args: &[&str]) -> Output {
    let mut command = Command::new(binaries::path("mezzenger"));
    command.args(["--server", "127.0.0.1", "--port", &address.port().to_string()]);
    command.args(["--timeout", "10s"]).args(args).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_command_line_makes_keys_and_uses_them() {
    let keys = Keys::new();
    let server = keys.server();
    let name = keys.path("clients").join("me");
    let name = name.to_str().unwrap();
    let made = mezzenger(server.recv_addr, &["keygen", name]);
    let key = String::from_utf8(made.stdout).unwrap();
    let public = read_public_key(format!("{name}.key")).unwrap();
    assert_eq!(key.trim(), public.to_string(), "{}", String::from_utf8_lossy(&made.stderr));
    assert_eq!(mezzenger(server.recv_addr, &["keygen", name]).status.code(), Some(1));

    let own = format!("{name}.key_secret");
    let (file, text) = (keys.path("server.key"), keys.server.public().to_string());
    for server_key in [file.to_str().unwrap(), &text] {
        // Until the server has looked at the directory again.
        eventually("an answer", || {
            let args = ["ping", "--curve-key", &own, "--server-key", server_key];
            let output = mezzenger(server.recv_addr, &args);
            output.status.success().then_some(())
        });
    }
    let sent = ["pub", "greet", "hello", "--ack", "--curve-key", &own, "--server-key", &text];
    assert!(mezzenger(server.recv_addr, &sent).status.success());
    let output = mezzenger(server.recv_addr, &["ping"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("asks for keys"), "{stderr}");
    let output = mezzenger(server.recv_addr, &["ping", "--curve-key", &own]);
    assert_eq!(output.status.code(), Some(2), "one key without the other");
}
