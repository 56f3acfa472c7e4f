//! `mezzenger status`, `connections`, `names`, `pending`: what the server's API tells, at a shell.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use mezzenger::Filter;
use serde_json::Value;

use crate::client_names::slow;
use crate::harness::http::{self, get_json};
use crate::harness::process::Process;
use crate::harness::{Native, PATIENCE, Server, binaries, eventually};

/// The command, free of what variables say.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binaries::path("mezzenger"));
    command.args(args);
    for name in ["SERVER", "PORT", "CURVE_KEY", "SERVER_KEY", "HTTP", "HTTP_TOKEN_FILE"] {
        command.env_remove(format!("MEZZENGER_{name}"));
    }
    command
}

fn run(at: SocketAddr, args: &[&str]) -> Output {
    command(args).args(["--http", &at.to_string()]).stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn run_ok(at: SocketAddr, args: &[&str]) -> String {
    succeeded(&run(at, args))
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command complains of, that has to fail.
#[track_caller]
fn failure(output: &Output) -> String {
    complaint(output, 1)
}

/// What a command complains of, that cannot be carried out as it is given.
#[track_caller]
fn usage_error(output: &Output) -> String {
    complaint(output, 2)
}

#[track_caller]
fn complaint(output: &Output, code: i32) -> String {
    assert_eq!((output.status.code(), output.stdout.len()), (Some(code), 0), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Each line as JSON.
fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn start(args: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start(&[&["--http", "127.0.0.1:0"], args].concat());
    let at = http::address(&server);
    (server, at)
}

#[test]
fn the_status_is_that_of_the_api() {
    let directory = tempfile::tempdir().unwrap();
    let journal = directory.path().join("journal");
    let (server, at) = start(&["--persist-file", journal.to_str().unwrap()]);
    let client = server.client();
    for _ in 0..3 {
        client.message("greet", "hello").ack().send().unwrap();
    }
    let text = run_ok(at, &["status"]);
    for expected in
        ["ready, up ", "3 accepted", "pending      3 of ", "connections  1 open", "journal      /"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let told = objects(&run_ok(at, &["status", "--json"]));
    let api = get_json(at, "/api/v1/status");
    assert_eq!(told.len(), 1);
    for part in ["messages", "groups", "dead_letters", "connections"] {
        assert_eq!(told[0][part], api[part]);
    }
}

#[test]
fn connections_are_listed_with_the_slow_ones_first() {
    let (server, at) = start(&[]);
    let _before = server.client_options().client_name("invoices").connect().unwrap();
    let _slow = slow(&server, "thermometer");
    let _behind = server.client_options().client_name("").connect().unwrap();
    let mut publisher = Native::connect(&server);
    for _ in 0..2 {
        let frame = publisher.frame("greet", &[7; 1000], false);
        publisher.socket.send_multipart([b"", &frame[..]], 0).unwrap();
    }
    server.log_line("does not keep up");
    let text = run_ok(at, &["connections"]);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].contains("CLIENT") && lines[0].contains("STATE"), "{text}");
    assert!(lines[1].contains("thermometer") && lines[1].contains("no credit for"), "{text}");
    assert!(text.contains("invoices"), "{text}");
    assert_eq!(lines.len(), 5, "{text}");
    // Also when there are more than are shown.
    let text = run_ok(at, &["connections", "--limit", "1"]);
    assert!(text.lines().count() == 2 && text.contains("thermometer"), "{text}");
    let of = |args: &[&str]| objects(&run_ok(at, &[&["connections", "--json"], args].concat()));
    assert_eq!(of(&[]).len(), 4);
    assert_eq!(of(&["--limit", "2"]).len(), 2);
    let slow = of(&["--slow"]);
    assert_eq!(slow.len(), 1, "{slow:?}");
    assert_eq!((&slow[0]["client"], &slow[0]["held"]), (&"thermometer".into(), &false.into()));
}

#[test]
fn what_a_connection_lost_is_listed_behind_the_slow_ones() {
    let (server, at) = start(&[]);
    let _quiet = server.client_options().client_name("invoices").connect().unwrap();
    let subscriber = server.client_options().client_name("dashboard").connect().unwrap();
    let prices = subscriber.subscription_to(Filter::name("prices"));
    let _prices = prices.lossy().credit(1000).open().unwrap();
    let publisher = server.client();
    for _ in 0..20 {
        publisher.message("prices", vec![7; 500]).send().unwrap();
    }
    let lost = get_json(at, "/api/v1/status")["messages"]["dropped"].as_u64().unwrap();
    assert!(lost > 0);
    let text = run_ok(at, &["connections"]);
    let line = text.lines().nth(1).unwrap();
    assert!(line.contains("dashboard") && line.contains(&format!(" {lost} ")), "{text}");
    let all = objects(&run_ok(at, &["connections", "--json"]));
    for it in all {
        let dropped = if it["client"] == "dashboard" { lost } else { 0 };
        assert_eq!(it["dropped"], dropped, "{it}");
    }
}

#[test]
fn a_connection_is_closed_once_that_is_confirmed() {
    let (server, at) = start(&[]);
    let raw = slow(&server, "thermometer");
    let address = raw.stream.local_addr().unwrap().to_string();
    let all = get_json(at, "/api/v1/connections");
    let found = all["items"].as_array().unwrap().iter().find(|it| it["address"] == address);
    let id = found.unwrap()["id"].as_str().unwrap().to_owned();
    let close = ["connections", "close", &id];
    let refused = failure(&run(at, &close));
    assert!(refused.contains("--yes"), "{refused}");
    assert_eq!(get_json(at, "/api/v1/connections")["items"].as_array().unwrap().len(), 1);
    assert_eq!(run_ok(at, &[&close[..], &["--yes"]].concat()), format!("closed connection {id}\n"));
    let mut raw = raw;
    raw.wait_for_the_end();
    let gone = failure(&run(at, &[&close[..], &["--yes"]].concat()));
    assert!(gone.contains("there is no such connection"), "{gone}");
    let gone = failure(&run(at, &close));
    assert!(gone.contains(&format!("there is no connection {id}")), "{gone}");
}

#[test]
fn names_and_pending_messages_are_listed() {
    let (server, at) = start(&[]);
    let client = server.client();
    let mut jobs = client.subscription_to(Filter::name("orders")).group("packers").open().unwrap();
    for n in 0..300 {
        client.message(&format!("name.{n:03}"), "x").ack().send().unwrap();
    }
    client.message("orders", "hello").ack().send().unwrap();
    let job = jobs.recv_timeout(PATIENCE).unwrap();
    for what in ["names", "pending"] {
        let text = run_ok(at, &[what]);
        assert_eq!(text.lines().count(), 302, "a head, and all of them, part after part");
        let json = run_ok(at, &[what, "--json", "--limit", "290"]);
        assert_eq!(objects(&json).len(), 290);
        let json = objects(&run_ok(at, &[what, "--json"]));
        assert!(json.iter().any(|it| it["name"] == "name.299"), "{what}");
    }
    let text = run_ok(at, &["pending"]);
    let line = text.lines().find(|line| line.contains("orders")).unwrap();
    assert!(
        line.starts_with(&job.id().to_string()) && line.ends_with("group    packers"),
        "{line}"
    );
}

/// Puts what a terminal would obey into each text of an answer.
fn spoil(value: &mut Value) {
    match value {
        Value::String(text) => text.push_str("\u{1b}[2J\u{9b}1m"),
        Value::Array(values) => values.iter_mut().for_each(spoil),
        Value::Object(fields) => {
            // Where to go on is asked for again.
            fields.iter_mut().filter(|(key, _)| *key != "next").for_each(|(_, it)| spoil(it));
        }
        _ => {}
    }
}

#[test]
fn whatever_the_server_says_does_nothing_to_a_terminal() {
    let (server, at) = start(&[]);
    let client = server.client();
    client.message("greet", "hello").ack().send().unwrap();
    client.groups().durable("packers", Filter::name("orders")).create().unwrap();
    // One that says the same, and worse.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let hostile = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let lines: Vec<_> = stream
                .by_ref()
                .lines()
                .map(Result::unwrap)
                .take_while(|line| !line.is_empty())
                .collect();
            let path = lines[0].split(' ').nth(1).unwrap();
            let mut body = get_json(at, path);
            spoil(&mut body);
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.get_mut().write_all((head + &body).as_bytes()).unwrap();
        }
    });
    for args in [&["status"][..], &["names"], &["pending"], &["connections"], &["top"]] {
        let json = [args, &["--json"]].concat();
        for args in [args, &json] {
            if args == ["top", "--json"] {
                continue;
            }
            let text = run_ok(hostile, args);
            assert!(text.contains("[2J"), "{args:?}: {text}");
            assert!(!text.contains(|it: char| it.is_control() && it != '\n'), "{args:?}: {text}");
        }
    }
}

#[test]
fn without_a_server_the_error_says_what_to_do() {
    // A port that was free a moment ago, and one whose owner speaks something else.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for args in [&["status"][..], &["names"], &["pending"], &["connections"], &["top"]] {
        let text = failure(&run(free, args));
        let url = format!("http://{free}");
        assert!(text.contains(&url) && text.contains("start it with --http"), "{text}");
    }
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = other.local_addr().unwrap();
    let answers = std::thread::spawn(move || {
        let mut stream = other.accept().unwrap().0;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello").unwrap();
        // Until the command has read it.
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    });
    let text = failure(&run(at, &["status"]));
    assert!(text.contains("no server of this version"), "{text}");
    answers.join().unwrap();
    // What is no address is said at once.
    for url in ["https://127.0.0.1:7280", "http://", "http://a/b"] {
        let text = failure(&command(&["status", "--http", url]).output().unwrap());
        assert!(text.contains("is no address"), "{text}");
    }
}

fn token_file(directory: &Path, token: &str) -> String {
    let path = directory.join(token);
    std::fs::write(&path, format!("{token}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_token_and_an_address_may_stand_in_variables() {
    let directory = tempfile::tempdir().unwrap();
    let right = token_file(directory.path(), "right-token-of-the-server");
    let wrong = token_file(directory.path(), "wrong-token-of-the-server");
    let (_server, at) = start(&["--http-token-file", &right]);
    let text = failure(&run(at, &["status"]));
    assert!(text.contains("asks for a token") && text.contains("--http-token-file"), "{text}");
    let text = failure(&run(at, &["status", "--http-token-file", &wrong]));
    assert!(text.contains("does not accept this token"), "{text}");
    run_ok(at, &["connections", "--http-token-file", &right]);
    // As the server's own variables have them.
    let mut command = command(&["status"]);
    command.env("MEZZENGER_HTTP", at.to_string()).env("MEZZENGER_HTTP_TOKEN_FILE", &right);
    assert!(succeeded(&command.output().unwrap()).contains("ready"));
}

#[test]
fn variables_name_the_server_to_all_commands() {
    let (server, at) = start(&[]);
    let mut ping = command(&["ping"]);
    ping.env("MEZZENGER_SERVER", server.recv_addr.to_string());
    assert!(succeeded(&ping.output().unwrap()).starts_with(&server.recv_addr.to_string()));
    let mut ping = command(&["ping", "--server", "127.0.0.1"]);
    ping.env("MEZZENGER_SERVER", "host.invalid");
    ping.env("MEZZENGER_PORT", server.recv_addr.port().to_string());
    succeeded(&ping.output().unwrap());
    // What asks over HTTP would ask another server than the variable names, unless it is said which.
    let mut status = command(&["status"]);
    status.env("MEZZENGER_SERVER", "10.0.0.1");
    let text = usage_error(&status.output().unwrap());
    assert!(text.contains("MEZZENGER_SERVER is set") && text.contains("--http"), "{text}");
    status.env("MEZZENGER_HTTP", at.to_string());
    succeeded(&status.output().unwrap());
}

#[test]
fn variables_give_a_clients_keys() {
    let folder = tempfile::tempdir().unwrap();
    let of = |name: &str| folder.path().join(name);
    for name in ["server", "client"] {
        succeeded(&command(&["keygen", of(name).to_str().unwrap()]).output().unwrap());
    }
    let clients = of("clients");
    fs::create_dir(&clients).unwrap();
    fs::copy(of("client.key"), clients.join("client.key")).unwrap();
    let [secret, clients] =
        [of("server.key_secret"), clients].map(|path| path.display().to_string());
    let server = Server::start(&["--curve-secret", &secret, "--authorized-keys", &clients]);
    let mut ping = command(&["ping", "--server", &server.recv_addr.to_string()]);
    failure(&ping.output().unwrap());
    ping.env("MEZZENGER_CURVE_KEY", of("client.key_secret"));
    let text = usage_error(&ping.output().unwrap());
    assert!(text.contains("--server-key"), "{text}");
    ping.env("MEZZENGER_SERVER_KEY", of("server.key"));
    succeeded(&ping.output().unwrap());
}

#[test]
fn clients_of_the_command_line_are_called_by_their_command() {
    let (server, at) = start(&[]);
    let port = server.recv_addr.port().to_string();
    let _subscriber = Process::start(&mut command(&["sub", "greet", "--port", &port]));
    eventually("mezzenger sub", || {
        let all = get_json(at, "/api/v1/connections");
        let mut all = all["items"].as_array().unwrap().iter();
        all.any(|it| it["client"] == "mezzenger sub").then_some(())
    });
}
