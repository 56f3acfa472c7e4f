//! A connection is named by what its client calls itself, wherever an operator reads of it.

use mezzenger::wire::control::{self, Control, Kind, Overflow, Subscribe};
use mezzenger::wire::filter::Filter;
use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::reply::{self, ErrorCode, Reply};
use mezzenger::wire::{hello, name};
use serde_json::Value;

use crate::harness::http::{self, get, get_json};
use crate::harness::raw::{ready_with, request, subscription};
use crate::harness::{Native, Raw, Server, eventually};

/// What would break out of a line, a label or a page that does not escape.
const HOSTILE: &str = "</td><b>\"x\" \\ subscriber=1.2.3.4";

const SECRET: hello::Secret = [5; 16];

/// A connection whose client has this name, that holds up who publishes under `greet` and grants no credit.
#[track_caller]
pub(crate) fn slow(server: &Server, name: &str) -> Raw {
    let mut slow = Raw::connect(server.recv_addr, "DEALER");
    slow.say(&request(&hello::named_request(&SECRET, name)));
    assert!(hello::read_answer(&slow.hear().unwrap()).is_some());
    let subscribe = Control::Subscribe(Subscribe {
        number: 1,
        kind: Kind::Observer,
        overflow: Overflow::Hold,
        filter: Filter::Name("greet"),
        credit: 1,
        with_last: false,
    });
    slow.say(&request(&control::request(&subscribe)));
    assert_eq!(slow.hear().unwrap()[..2], *b"OK");
    slow
}

/// The connections that the API tells of.
fn connections(at: std::net::SocketAddr) -> Vec<Value> {
    get_json(at, "/api/v1/connections")["items"].as_array().unwrap().clone()
}

#[test]
fn a_slow_subscriber_is_named_in_the_log_the_api_and_the_metrics() {
    let args = ["--http", "127.0.0.1:0", "--log-format", "json"];
    let server = Server::start(&args);
    let at = http::address(&server);
    let slow = slow(&server, HOSTILE);
    let address = slow.stream.local_addr().unwrap().to_string();
    let mut publisher = Native::connect(&server);
    for _ in 0..2 {
        let frame = publisher.frame("greet", &[7; 1000], false);
        publisher.socket.send_multipart([b"", &frame[..]], 0).unwrap();
    }
    for told in ["does not keep up", "granted no credit"] {
        let line: Value = serde_json::from_str(&server.log_line(told)).unwrap();
        let fields = (&line["client"], &line["subscriber"]);
        assert_eq!(fields, (&HOSTILE.into(), &address.clone().into()), "{line}");
    }
    let connections = connections(at);
    let found = connections.iter().find(|it| it["address"] == address).unwrap();
    assert_eq!(found["client"], HOSTILE);
    let escaped = HOSTILE.replace('\\', "\\\\").replace('"', "\\\"");
    let label = format!("client=\"{escaped}\"");
    eventually("the slow subscriber", || {
        let metrics = get(at, "/metrics").body;
        metrics
            .lines()
            .any(|line| {
                line.starts_with("mezzenger_slow_subscriber_age_seconds{") && line.contains(&label)
            })
            .then_some(())
    });
}

#[test]
fn in_a_line_of_text_a_name_is_one_word() {
    let server = Server::start::<&str>(&[]);
    let _slow = slow(&server, HOSTILE);
    let mut publisher = Native::connect(&server);
    for _ in 0..2 {
        let frame = publisher.frame("greet", &[7; 1000], false);
        publisher.socket.send_multipart([b"", &frame[..]], 0).unwrap();
    }
    let line = server.log_line("does not keep up");
    assert!(line.contains(&format!("client={HOSTILE:?}")), "{line}");
}

#[test]
fn a_name_that_breaks_a_rule_is_refused_and_the_connection_lives_on() {
    let server = Server::start(&["--http", "127.0.0.1:0"]);
    let at = http::address(&server);
    let mut raw = Raw::connect(server.recv_addr, "DEALER");
    let hello = hello::request(&SECRET);
    let long = "n".repeat(65);
    for (name, why) in [
        (&b"a\x1b[2J"[..], "the control character \\u{1b}"),
        (b"a\nb", "the control character \\n"),
        (b"\xff", "UTF-8"),
        (long.as_bytes(), "65 bytes, and at most 64"),
    ] {
        raw.say(&request(&[&hello[..], &[name.len() as u8], name].concat()));
        let answer = raw.hear().unwrap();
        let Some(Reply::Refused { code, text }) = reply::read(&answer) else {
            panic!("{answer:?}");
        };
        assert_eq!(code, Some(ErrorCode::Malformed));
        assert!(text.contains(why), "{text}");
    }
    // Without a name, as clients that know of none.
    raw.say(&request(&hello));
    assert!(hello::read_answer(&raw.hear().unwrap()).is_some());
    raw.say(&request(&v2_prefix(name::PING)));
    assert_eq!(raw.hear().unwrap()[..2], *b"OK");
    assert!(connections(at).iter().all(|it| it["client"].is_null()));
    let log = server.terminate();
    assert!(!log.contains('\x1b'), "{log}");
}

#[test]
fn a_zeromq_socket_is_called_by_its_identity_if_that_is_a_name() {
    let server = Server::start(&["--http", "127.0.0.1:0"]);
    let at = http::address(&server);
    let connect = |identity: &[u8]| {
        let ready = ready_with(&[("Socket-Type", b"SUB"), ("Identity", identity)]);
        let mut raw = Raw::try_connect_with(server.pub_addr, &ready).unwrap();
        raw.say(&subscription(b"greet|"));
        raw.confirm();
        raw
    };
    let raws =
        [connect(b"thermometer"), connect(b"\0\x01\x02"), connect(b"a\x1b[2Jb"), connect(b"")];
    let connections = connections(at);
    let names = raws.each_ref().map(|raw| {
        let address = raw.stream.local_addr().unwrap().to_string();
        let found = connections.iter().find(|it| it["address"] == address);
        found.unwrap()["client"].as_str().map(str::to_owned)
    });
    assert_eq!(names, [Some("thermometer".to_owned()), None, None, None]);
}

#[test]
fn a_client_is_called_by_its_program_unless_it_says_otherwise() {
    let server = Server::start(&["--http", "127.0.0.1:0"]);
    let at = http::address(&server);
    let named = |name| server.client_options().client_name(name).connect().unwrap();
    let (_one, _other) = (named("invoices"), named(&format!("\x1b{}", "n".repeat(70))));
    let _default = server.client();
    let program = std::env::current_exe().unwrap();
    let program = program.file_name().unwrap().to_str().unwrap().to_owned();
    let connections = connections(at);
    let mut names: Vec<_> = connections.iter().filter_map(|it| it["client"].as_str()).collect();
    names.sort_unstable();
    let mut expected = ["invoices", &program[..], &"n".repeat(64)];
    expected.sort_unstable();
    assert_eq!(names, expected);
}
