//! The page of the real server in a real browser: what it shows is what the API tells, whatever names hold, on small and on
//! large screens, and when the server is gone.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mezzenger::Filter;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::client_names::slow;
use crate::harness::http::{self, get, get_json};
use crate::harness::process::Process;
use crate::harness::{Native, PATIENCE, Server, axe, eventually, python, skipped};
use crate::interference::EndsWith;

const SCRIPT: &str =
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">";

/// A browser, if there is one.
struct Browser(Process);

impl Browser {
    fn start(what: &str) -> Option<Self> {
        let is_there = |program: &str| std::path::Path::new("/usr/bin").join(program).exists();
        if !(is_there("chromium") && is_there("chromedriver")) {
            skipped(what, "there is no browser (Debian's chromium and chromium-driver)");
            return None;
        }
        let mut command = python::http_script("page.py");
        Some(Self(Process::start(command.stdin(Stdio::piped()))))
    }

    /// Has something done.
    #[track_caller]
    fn ask(&mut self, operation: &Value) -> Value {
        let stdin = self.0.stdin().as_mut().unwrap();
        writeln!(stdin, "{operation}").unwrap();
        let Some(line) = self.0.line_within(PATIENCE * 2) else {
            panic!("the browser ended at {operation}:\n{}", self.0.stderr())
        };
        serde_json::from_str(&line).unwrap()
    }

    #[track_caller]
    fn wait(&mut self, condition: &str) {
        self.ask(&json!(["wait", condition]));
    }

    #[track_caller]
    fn open(&mut self, at: std::net::SocketAddr) {
        self.ask(&json!(["open", format!("http://{at}/")]));
    }

    #[track_caller]
    fn look(&mut self) -> Value {
        self.ask(&json!(["look"]))
    }
}

/// A server with something of everything.
fn busy() -> (Server, std::net::SocketAddr) {
    let server = Server::start(&["--http", "127.0.0.1:0"]);
    let at = http::address(&server);
    let client = server.client();
    client.groups().durable("packers", Filter::name("orders")).create().unwrap();
    for _ in 0..4 {
        client.message("orders", "tea").ack().send().unwrap();
    }
    client.message(SCRIPT, "milk").ack().send().unwrap();
    let mut jobs = client.subscription_to(Filter::name("orders")).group("packers").open().unwrap();
    for _ in 0..3 {
        jobs.recv_timeout(PATIENCE).unwrap().reject(SCRIPT);
    }
    drop(jobs);
    client.stop();
    eventually("the dead letters", || {
        let status = get_json(at, "/api/v1/status");
        let is_calm = status["dead_letters"]["count"] == 3 && status["groups"]["members"] == 0;
        is_calm.then_some(())
    });
    (server, at)
}

const LIVE: &str = "document.getElementById('state').dataset.state === 'live' && document.querySelectorAll('#dead tbody tr').length > 0";

#[test]
fn the_page_shows_what_the_api_tells() {
    let Some(mut browser) = Browser::start("the page") else { return };
    let (_server, at) = busy();
    browser.open(at);
    browser.wait(LIVE);
    let shown = browser.look();
    let status = get_json(at, "/api/v1/status");
    let tile = |id: &str| shown["tiles"][format!("tile-{id}")].as_str().unwrap().to_owned();
    assert!(tile("accepted").ends_with("| 5 since the start"), "{shown}");
    assert_eq!(status["messages"]["accepted"], 5);
    assert!(tile("pending").starts_with("5 | oldest "), "{shown}");
    assert_eq!(status["pending"]["messages"], 5);
    assert!(tile("dead").starts_with("3 | 3 made"), "{shown}");
    assert_eq!(tile("sync"), "no journal | messages do not outlive the server");
    let attention = shown["attention"].as_str().unwrap();
    assert!(attention.contains("packers has no members, and 1 message waits"), "{shown}");
    assert!(attention.contains("3 dead letters wait"), "{shown}");
    assert_eq!(shown["state"], "Ready, 1 warning");
    let groups = get_json(at, "/api/v1/groups");
    let group = &groups["items"][0];
    assert_eq!(shown["groups"][0][0], group["name"]);
    assert_eq!(shown["groups"][0][4], group["waiting"].to_string());
    let names: Vec<_> = shown["names"].as_array().unwrap().iter().map(|row| &row[0]).collect();
    assert_eq!(names, [&json!("orders"), &json!(SCRIPT)]);
    assert_eq!(shown["dead"][0][2], format!("rejected: {SCRIPT}"));
    assert_eq!(shown["slow"], json!([]));
    let connections = get_json(at, "/api/v1/connections");
    assert_eq!(
        shown["connections"].as_array().unwrap().len(),
        connections["items"].as_array().unwrap().len()
    );
    // The names ran nowhere, and the browser refused nothing of the page.
    browser.wait("document.title === 'Mezzenger'");
    assert_eq!(browser.ask(&json!(["log"])), json!([]));
    let document = get(at, "/");
    let policy = document.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'nonce-"), "{policy}");
    assert!(!policy.contains(concat!("un", "safe")), "{policy}");
    for outside in ["http://", "https://", "//cdn"] {
        let found = document.body.replace("http://www.w3.org/2000/svg", "");
        assert!(!found.contains(outside), "{outside}");
    }
}

#[test]
fn dead_letters_are_replayed_and_purged_by_the_keyboard() {
    let Some(mut browser) = Browser::start("the page's buttons") else { return };
    let (_server, at) = busy();
    browser.open(at);
    browser.wait(LIVE);
    let reached = browser.ask(&json!(["tab", 12]));
    let reached: Vec<_> =
        reached.as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(reached[0], "Skip to the figures", "{reached:?}");
    assert!(reached.contains(&"Waiting"), "{reached:?}");
    browser.ask(&json!(["click", "Replay the dead letter"]));
    browser.wait("document.querySelectorAll('#dead tbody tr').length === 2");
    assert_eq!(get_json(at, "/api/v1/groups")["items"][0]["waiting"], 2);
    browser.ask(&json!(["click", "Purge the dead letter"]));
    browser.wait("document.getElementById('confirm').open");
    browser.ask(&json!(["click", "Cancel"]));
    assert_eq!(get_json(at, "/api/v1/status")["dead_letters"]["count"], 2);
    browser.ask(&json!(["click", "Purge the dead letter"]));
    browser.wait("document.getElementById('confirm').open");
    browser.ask(&json!(["click", "Purge it"]));
    browser.wait("document.querySelectorAll('#dead tbody tr').length === 1");
    assert_eq!(get_json(at, "/api/v1/status")["dead_letters"]["count"], 1);
    assert!(browser.look()["said"].as_str().unwrap().starts_with("Purged"));
}

/// The heads of columns of which something is to be seen.
const SHOWN_HEADS: &str = "[...document.querySelectorAll('thead th')].filter((it) => { \
    const box = it.getBoundingClientRect(); \
    return box.width * box.height > 1 && box.right > 0 && box.left < innerWidth; }).length";

/// The addresses that take more than a line.
const BROKEN_ADDRESSES: &str = "[...document.querySelectorAll('#connections tbody th')].filter((it) => { \
    const text = document.createRange(); \
    text.selectNodeContents(it); \
    return text.getClientRects().length > 1; }).length";

#[test]
fn it_fits_small_screens_and_the_dark() {
    let Some(mut browser) = Browser::start("the page's widths") else { return };
    let (server, at) = busy();
    let client = server.client();
    client.ping().unwrap();
    browser.open(at);
    browser.wait(LIVE);
    browser.wait("document.querySelectorAll('#connections tbody tr').length > 0");
    let directory = std::env::var("MEZZENGER_SCREENSHOTS").ok();
    let mut grounds = Vec::new();
    for width in [360, 768, 1280] {
        for scheme in ["light", "dark"] {
            let file = directory.as_ref().map(|it| format!("{it}/page-{width}-{scheme}.png"));
            let found = browser.ask(&json!(["size", width, scheme, file]));
            assert!(found[0].as_u64() <= found[1].as_u64(), "{width} {scheme}: {found}");
            assert_eq!(found[1], width, "{found}");
            // A head that is hidden is nowhere on the screen, whatever it holds.
            let heads = if width == 360 { "=== 0" } else { "> 20" };
            browser.wait(&format!("{SHOWN_HEADS} {heads}"));
            browser.wait(&format!("{BROKEN_ADDRESSES} === 0"));
            grounds.push(found[2].clone());
        }
    }
    assert_ne!(grounds[0], grounds[1]);
}

/// Expects the verdict to say why there are no figures, and to claim nothing from before.
#[track_caller]
fn expect_nothing_good(browser: &mut Browser, why: &str) {
    browser.wait(&format!(
        "document.querySelector('#attention li').textContent.startsWith('Error: {why}. Everything below is from ')"
    ));
    let good = "document.querySelectorAll('#attention [data-level=good]').length";
    browser.wait(&format!("{good} === 0"));
    let attention = browser.look()["attention"].as_str().unwrap().to_owned();
    assert!(!attention.contains("Nothing"), "{attention}");
}

#[test]
fn without_a_server_it_claims_nothing_that_was_good_before() {
    let Some(mut browser) = Browser::start("the page's verdict") else { return };
    let server = Server::start(&["--http", "127.0.0.1:0"]);
    browser.open(http::address(&server));
    browser.wait("document.querySelector('#attention [data-level=good]') !== null");
    assert!(browser.look()["attention"].as_str().unwrap().starts_with("Nothing: "));
    server.terminate();
    expect_nothing_good(&mut browser, "the server cannot be reached");
}

#[test]
fn it_says_when_the_server_is_gone_and_goes_on_when_it_is_back() {
    let Some(mut browser) = Browser::start("the page without a server") else { return };
    let (server, at) = busy();
    browser.open(at);
    browser.wait(LIVE);
    // A server whose thread hangs keeps its connections.
    server.process.signal(Signal::STOP);
    browser.wait("document.getElementById('state').dataset.state === 'gone'");
    let state = browser.look()["state"].as_str().unwrap().to_owned();
    assert!(
        state.starts_with("No figures since ") && state.ends_with("the server is silent"),
        "{state}"
    );
    expect_nothing_good(&mut browser, "the server is silent");
    server.process.signal(Signal::CONT);
    browser.wait(LIVE);
    browser.wait("!document.getElementById('attention').textContent.includes('Everything below')");
    server.terminate();
    browser.wait("document.getElementById('state').dataset.state === 'gone'");
    browser.wait("document.body.dataset.stale === 'true'");
    expect_nothing_good(&mut browser, "the server cannot be reached");
    let _again = Server::start(&["--http", &at.to_string()]);
    browser.wait("document.getElementById('state').dataset.state === 'live'");
    browser
        .wait("document.getElementById('tile-accepted').textContent.includes('0 since the start')");
}

#[test]
fn it_asks_for_the_token_and_shows_nothing_without() {
    let Some(mut browser) = Browser::start("the page's token") else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "a-token-of-the-test\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    let server = Server::start(&["--http", "127.0.0.1:0", "--http-token-file", file]);
    browser.open(http::address(&server));
    browser.ask(&json!(["enter", "token", "a-wrong-one-of-the-test"]));
    browser.wait("document.getElementById('state').textContent === 'The server wants its token.'");
    assert_eq!(browser.look()["tiles"], json!({}));
    browser.ask(&json!(["clear", "token"]));
    browser.ask(&json!(["enter", "token", "a-token-of-the-test"]));
    browser.wait("document.getElementById('state').dataset.state === 'live'");
}

/// The number at the beginning of a text, without the commas.
#[track_caller]
fn number(text: &str) -> u64 {
    let digits = text.split(' ').next().unwrap().replace(',', "");
    digits.parse().unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn while_messages_flow_the_page_shows_what_the_api_tells() {
    let Some(mut browser) = Browser::start("the page under load") else { return };
    let (server, at) = busy();
    let client = server.client();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Few enough that the page shows every digit, for longer than a slow browser takes.
            for n in 0..90_000 {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                client.publish("flow", "hello").unwrap();
                if n % 10 == 0 {
                    client.flush().unwrap();
                    std::thread::park_timeout(Duration::from_millis(10));
                }
            }
        });
        let over = EndsWith(&is_over);
        browser.open(at);
        browser.wait(LIVE);
        let accepted = || get_json(at, "/api/v1/status")["messages"]["accepted"].as_u64().unwrap();
        for _ in 0..3 {
            let before = accepted();
            browser.wait(&format!(
                "Number(document.querySelector('#tile-accepted .note').textContent.split(' ')[0].replaceAll(',', '')) >= {before}"
            ));
            let shown = browser.look();
            let after = accepted();
            let tile = shown["tiles"]["tile-accepted"].as_str().unwrap();
            let seen = number(tile.split_once(" | ").unwrap().1);
            assert!((before..=after).contains(&seen), "{before} <= {seen} <= {after}");
            let names = shown["names"].as_array().unwrap();
            assert!(names.iter().any(|row| row[0] == "flow"), "{shown}");
            let all: u64 = names.iter().map(|row| number(row[2].as_str().unwrap())).sum();
            assert!((before..=after).contains(&all), "{before} <= {all} <= {after}");
        }
        browser.wait("document.querySelector('#tile-accepted .value').textContent !== '0/s'");
        assert_eq!(browser.ask(&json!(["log"])), json!([]));
        drop(over);
    });
}

#[test]
fn it_breaks_no_rule_of_accessibility() {
    let Some(script) = axe::script() else { return };
    let Some(mut browser) = Browser::start("the page's accessibility") else { return };
    let (server, at) = busy();
    let _slow = slow(&server, "</td><b>slow");
    let mut publisher = Native::connect(&server);
    for _ in 0..2 {
        let frame = publisher.frame("greet", &[7; 1000], false);
        publisher.socket.send_multipart([b"", &frame[..]], 0).unwrap();
    }
    browser.open(at);
    browser.wait(LIVE);
    browser.wait("document.querySelectorAll('#slow tbody tr').length === 1");
    assert_eq!(browser.look()["slow"][0][1], "</td><b>slow");
    let check = |browser: &mut Browser, what: &str| {
        for width in [360, 1280] {
            for scheme in ["light", "dark"] {
                browser.ask(&json!(["size", width, scheme, null]));
                let broken = browser.ask(&json!(["axe", script]));
                assert!(broken == json!([]), "{what}, {width}, {scheme}: {broken:#}");
            }
        }
    };
    check(&mut browser, "live");
    browser.ask(&json!(["click", "Purge the dead letter"]));
    browser.wait("document.getElementById('confirm').open");
    check(&mut browser, "a question");
    browser.ask(&json!(["click", "Cancel"]));
    server.terminate();
    browser.wait("document.body.dataset.stale === 'true'");
    check(&mut browser, "without a server");
}
