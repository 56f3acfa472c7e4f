//! The log says who administered what, whatever else there is to log, and how many lines it left out.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use mezzenger::access::PasswordHash;
use mezzenger::{Client, Filter};
use serde_json::json;

use crate::harness::http::{self, get_json, post};
use crate::harness::{Server, eventually};

/// An administrator, and a client that may do nothing.
fn start(more: &[&str]) -> (Server, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.toml");
    let text = format!(
        "[[client]]\nuser = 'admin'\npassword = '{}'\npublish = ['>']\nsubscribe = ['>']\ngroups = ['>']\nadminister = true\n\
         [[client]]\nuser = 'nobody'\npassword = '{}'\n",
        PasswordHash::of("admin"),
        PasswordHash::of("nobody"),
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    (Server::start(&[&["--access", path.to_str().unwrap()], more].concat()), directory)
}

fn connect(server: &Server, user: &str) -> Client {
    server.client_options().plain(user, user).connect().unwrap()
}

fn count(server: &Server, text: &str) -> usize {
    server.process.stderr().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn an_action_is_logged_although_others_come_right_before_it() {
    let (server, _directory) = start(&[]);
    let admin = connect(&server, "admin");
    let retained = admin.retained();
    for n in 0..20 {
        retained.clear(&format!("a.{n}")).unwrap();
    }
    // There is no such group, which changes nothing about who asked.
    let _ = admin.dead_letters("payers").purge_all();
    let line = server.log_line("user 'admin' asks to purge dead letters of group 'payers'");
    assert!(line.contains(" audit") && line.contains("peer=127.0.0.1:"), "{line}");
    assert_eq!(count(&server, "user 'admin' asks to clear the retained message of"), 20);
}

#[test]
fn what_one_client_asks_for_hides_nothing_of_another_and_is_counted_at_last() {
    const ACTIONS: usize = 10;
    let (server, _directory) = start(&[]);
    let (admin, nobody) = (connect(&server, "admin"), connect(&server, "nobody"));
    let is_over = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let mut asked = 0;
            while asked < 2000 || !is_over.load(Ordering::Relaxed) {
                nobody.retained().clear("x").unwrap_err();
                asked += 1;
            }
            asked
        });
        for n in 0..ACTIONS {
            let name = format!("g{n}");
            let groups = admin.groups();
            groups.durable(&name, Filter::pattern("pay.>")).create().unwrap();
            groups.delete(&name).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        flood.join().unwrap()
    });
    drop((admin, nobody));
    assert_eq!(count(&server, "user 'admin' asks to create group"), ACTIONS);
    assert_eq!(count(&server, "user 'admin' asks to delete group"), ACTIONS);
    // Nothing follows, and all that was left out is told.
    let told = |text: &str, what: &str| {
        let log = server.process.stderr();
        let counts = log.lines().filter(|line| line.contains("not logged") && line.contains(what));
        let counts = counts.map(|line| {
            let count = line.split_once("count=").unwrap().1;
            count.split(' ').next().unwrap().parse::<usize>().unwrap()
        });
        count(&server, text) + counts.sum::<usize>()
    };
    let asks = "user 'nobody' asks to clear";
    eventually("a count of the requests", || {
        (told(asks, "requests of user 'nobody' to clear") == asked).then_some(())
    });
    eventually("a count of the refusals", || {
        (told("rejected: not allowed: clear", "requests that are not allowed") == asked)
            .then_some(())
    });
    assert!(count(&server, asks) < asked, "nothing was left out");
}

#[test]
fn a_warning_about_a_limit_names_the_user() {
    let (server, _directory) = start(&["--max-pending-messages", "1"]);
    let admin = connect(&server, "admin");
    admin.message("a", "tea").ack().send().unwrap();
    admin.message("a", "tea").ack().send().unwrap_err();
    let line = server.log_line("rejected a request: ");
    assert!(line.contains("user=\"admin\""), "{line}");
}

#[test]
fn what_is_changed_over_http_is_logged_with_who_asked() {
    let (server, _directory) = start(&["--http", "127.0.0.1:0"]);
    let at = http::address(&server);
    let _admin = connect(&server, "admin");
    let found = get_json(at, "/api/v1/connections");
    let connection = &found["items"][0];
    let all = json!({ "group": "g\u{202e}", "all": true });
    post(at, "/api/v1/dead/purge", &all);
    post(at, "/api/v1/dead/replay", &json!({ "group": "g", "all": true }));
    let id = connection["id"].as_str().unwrap();
    assert_eq!(post(at, &format!("/api/v1/connections/{id}/close"), &json!({})).status, 200);
    for what in [
        r"purge all dead letters of group 'g\u{202e}'",
        "replay all dead letters of group 'g'",
        &format!("close connection {id}"),
    ] {
        let line = server.log_line(&format!("an HTTP client asks to {what}"));
        assert!(line.contains(" audit") && line.contains("peer=127.0.0.1:"), "{line}");
    }
}
