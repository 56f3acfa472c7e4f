//! What strangers, browsers and slow clients can do to the HTTP listener, and what they cannot.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::http::{self, connect, get, post, request, try_get};
use crate::harness::server::command;
use crate::harness::{Server, eventually};
use crate::stalled_subscriber::subscriber;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

fn start(args: &[&str]) -> (Server, SocketAddr) {
    let server = Server::start(&[&["--http", "127.0.0.1:0"], args].concat());
    let at = http::address(&server);
    (server, at)
}

fn token_file(directory: &tempfile::TempDir, mode: u32) -> String {
    let file = directory.path().join("token");
    std::fs::write(&file, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn without_the_flag_nobody_listens() {
    let server = Server::start::<&str>(&[]);
    let log = server.terminate();
    assert!(!log.contains("http://"), "{log}");
}

#[test]
fn an_address_that_others_reach_needs_a_token_or_consent() {
    let refused =
        Server::run(command().args(["--pub-port", "0", "--recv-port", "0", "--http", "0.0.0.0:0"]));
    let Err(refused) = refused else { panic!("it started") };
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--http-token-file"), "{refused:?}");
    let directory = tempfile::tempdir().unwrap();
    let file = token_file(&directory, 0o644);
    let refused = Server::run(command().args([
        "--pub-port",
        "0",
        "--recv-port",
        "0",
        "--http",
        "0.0.0.0:0",
        "--http-token-file",
        &file,
    ]));
    let Err(refused) = refused else { panic!("others can read the token") };
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("chmod 600"), "{refused:?}");
    let server = Server::start(&["--http", "0.0.0.0:0", "--insecure"]);
    let at = (std::net::Ipv4Addr::LOCALHOST, http::address(&server).port()).into();
    let named = [("Host", "broker.example:7280")];
    assert_eq!(request(at, "GET", "/api/v1/status", &named, "").status, 200);
    let changed = post(at, "/api/v1/dead/purge", &json!({ "group": "packers", "all": true }));
    assert_eq!(changed.status, 403, "{changed:?}");
}

#[test]
fn with_a_token_nobody_else_is_told_anything() {
    let directory = tempfile::tempdir().unwrap();
    let (server, at) = start(&["--http-token-file", &token_file(&directory, 0o600)]);
    for path in ["/metrics", "/api/v1/status", "/api/v1/connections", "/api/v1/events", "/nothing"]
    {
        let answer = get(at, path);
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, "Bearer realm=\"mezzenger\""),
            "{path}"
        );
        let wrong = [("Authorization", "Bearer 0123456789abcdef0123456789abcdee")];
        assert_eq!(request(at, "GET", path, &wrong, "").status, 401, "{path}");
    }
    let right = [("Authorization", format!("Bearer {TOKEN}"))];
    let right: Vec<_> = right.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(request(at, "GET", "/metrics", &right, "").status, 200);
    // Who shows a wrong one is logged; no token is what the page has at first.
    let wrong = [("Authorization", "Bearer guess-guess-guess")];
    for _ in 0..60 {
        assert_eq!(request(at, "GET", "/metrics", &wrong, "").status, 401);
    }
    let line = server.log_line("an HTTP request with a wrong token");
    assert!(line.contains(" audit") && line.contains("peer=127.0.0.1:"), "{line}");
    let line = server.log_line(
        "not logged, because there were too many: HTTP requests with a wrong token, from 127.0.0.1",
    );
    assert!(line.contains("count="), "{line}");
    // Probes have no token, and the page asks for it.
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(get(at, path).status, 200, "{path}");
    }
}

#[test]
fn a_loopback_listener_is_no_other_names_listener() {
    let (_server, at) = start(&[]);
    for host in ["evil.example", "evil.example:7280", ""] {
        for path in ["/api/v1/status", "/metrics", "/", "/readyz"] {
            let answer = request(at, "GET", path, &[("Host", host)], "");
            assert_eq!(answer.status, 421, "{host} {path}: {answer:?}");
        }
    }
    assert_eq!(request(at, "GET", "/api/v1/status", &[("Host", "localhost:1")], "").status, 200);
}

#[test]
fn a_page_of_another_origin_can_neither_read_nor_change() {
    let (_server, at) = start(&[]);
    let answer = request(at, "GET", "/api/v1/status", &[("Origin", "http://evil.example")], "");
    assert!(
        !answer.headers.iter().any(|(name, _)| name.starts_with("access-control")),
        "{answer:?}"
    );
    assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
    let body = json!({ "group": "packers", "all": true }).to_string();
    let kind = ("Content-Type", "application/json");
    for headers in [
        &[kind][..],
        &[("X-Mezzenger", "1"), ("Content-Type", "text/plain")],
        &[("X-Mezzenger", "1"), kind, ("Origin", "http://evil.example")],
        &[("X-Mezzenger", "1"), kind, ("Sec-Fetch-Site", "cross-site")],
    ] {
        let answer = request(at, "POST", "/api/v1/dead/purge", headers, &body);
        assert!([403, 415].contains(&answer.status), "{headers:?}: {answer:?}");
    }
    // What a browser asks before it sends such a header.
    assert!(
        request(at, "OPTIONS", "/api/v1/dead/purge", &[("Origin", "http://evil.example")], "")
            .status
            >= 400
    );
}

#[test]
fn requests_are_bounded() {
    let (_server, at) = start(&[]);
    let long = "x".repeat(32 * 1024);
    assert!(request(at, "GET", &format!("/{long}"), &[], "").status >= 400);
    assert!(request(at, "GET", "/healthz", &[("X-Long", &long)], "").status >= 400);
    let body = json!({ "group": "x".repeat(128 * 1024), "all": true });
    assert_eq!(post(at, "/api/v1/dead/purge", &body).status, 413);
    for query in ["limit=0", "limit=257", "limit=x", "form=1", "from=x"] {
        assert_eq!(get(at, &format!("/api/v1/connections?{query}")).status, 400, "{query}");
    }
    let mut stream = connect(at);
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").unwrap();
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told);
    assert_eq!(get(at, "/healthz").status, 200);
}

/// Clients that send a byte now and then, or nothing, keep their places for a bounded time, and the broker is not
/// bothered at all.
#[test]
fn slow_clients_are_let_go_and_others_are_served() {
    let (server, at) = start(&[]);
    let mut slow: Vec<_> = (0..300).map(|_| connect(at)).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ").unwrap();
    }
    let client = server.client();
    client.message("orders", "tea").ack().send().unwrap();
    // All places are taken.
    let asked = Instant::now();
    assert_eq!(get(at, "/healthz").status, 200);
    assert!(asked.elapsed() < PROBE_TIME_MAX, "{:?}", asked.elapsed());
    for stream in &mut slow {
        let mut told = Vec::new();
        let _ = stream.read_to_end(&mut told);
        assert!(!String::from_utf8_lossy(&told).contains("200 OK"));
    }
}

/// Far less than a place that somebody keeps would take to become free.
const PROBE_TIME_MAX: Duration = Duration::from_secs(5);

/// Whoever comes again and again as often as he can keeps no probe waiting.
#[test]
fn probes_are_answered_while_somebody_takes_all_places_again_and_again() {
    let (_server, at) = start(&[]);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let mut slow: Vec<_> = (0..20).map(|_| connect(at)).collect();
                    for stream in &mut slow {
                        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n");
                    }
                    for stream in &mut slow {
                        // Until it loses its place, or for a while.
                        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
                        let _ = stream.read(&mut [0; 16]);
                    }
                }
            });
        }
        let mut probed = Vec::new();
        for _ in 0..20 {
            let asked = Instant::now();
            // One that loses its place comes again, as probes do.
            while try_get(at, "/healthz").is_none_or(|it| it.status != 200)
                && asked.elapsed() < PROBE_TIME_MAX
            {}
            probed.push(asked.elapsed());
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(probed.iter().all(|time| *time < PROBE_TIME_MAX), "{probed:?}");
    });
}

#[test]
fn listeners_are_bounded_and_their_places_are_given_back() {
    let (_server, at) = start(&[]);
    let listen = || {
        let mut stream = connect(at);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut told = [0; 12];
        stream.read_exact(&mut told).unwrap();
        (String::from_utf8_lossy(&told[9..]).into_owned(), stream)
    };
    let listeners: Vec<_> = (0..16).map(|_| listen()).collect();
    assert!(listeners.iter().all(|(status, _)| status == "200"));
    assert_eq!(listen().0, "503");
    drop(listeners);
    eventually("a place", || (listen().0 == "200").then_some(()));
}

#[test]
fn a_server_that_ends_is_not_ready_and_one_that_runs_is() {
    let (server, at) = start(&["--drain-timeout", "60s"]);
    assert_eq!((get(at, "/readyz").status, get(at, "/healthz").status), (200, 200));
    // What it does not read keeps the server, until it is disconnected for that.
    let _stalled = subscriber(server.pub_addr, b"\x01flood|");
    let publisher = server.client();
    std::thread::spawn(move || {
        // The end of the server ends it.
        while publisher.publish("flood", [7; 64 * 1024]).is_ok() {}
    });
    eventually("a publisher that waits for the subscriber", || {
        let status = http::get_json(at, "/api/v1/status");
        (status["connections"]["held_publishers"] == 1).then_some(())
    });
    server.process.signal(Signal::TERM);
    let answer = eventually("the drain", || try_get(at, "/readyz").filter(|it| it.status != 200));
    assert_eq!((answer.status, &answer.json()["ready"]), (503, &json!(false)));
    assert_eq!(answer.json()["reason"], "the server is draining");
}
