//! `mezzenger dead`, and the address of the server.

use std::process::Command;

use mezzenger::Filter;

use crate::broker::{Broker, DEADLINE, check_ok};

#[test]
fn the_letters_of_a_group_that_never_was_are_no_empty_list() {
    let broker = Broker::start();
    let unknown = broker.run(&["dead", "list", "g"]);
    assert_eq!((unknown.status.code(), &*unknown.stdout), (Some(1), &b""[..]));
    let stderr = String::from_utf8_lossy(&unknown.stderr);
    assert!(stderr.contains("there is no group 'g'"), "{stderr}");
    // All groups, and a group without letters.
    assert_eq!(check_ok(&broker.run(&["dead", "list"])), "");
    check_ok(&broker.run(&["group", "create", "jobs", "g"]));
    assert_eq!(check_ok(&broker.run(&["dead", "list", "g"])), "");
    // Letters outlive their group.
    let client = broker.client();
    let mut jobs = client.subscription_to(Filter::name("jobs")).group("g").open().expect("a group");
    client.message("jobs", "x").ack().send().expect("the server takes it");
    jobs.recv_timeout(DEADLINE).expect("a job").reject("no");
    while client.dead_letters("g").count() != Ok(1) {
        std::thread::yield_now();
    }
    drop(jobs);
    while client.groups().get("g").expect("an answer").is_some_and(|it| it.members > 0) {
        std::thread::yield_now();
    }
    check_ok(&broker.run(&["group", "delete", "g"]));
    assert_eq!(check_ok(&broker.run(&["dead", "list", "g"])).lines().count(), 1);
    assert_eq!(check_ok(&broker.run(&["dead", "list", "g", "--limit", "0"])), "");
}

#[test]
fn the_port_of_an_address_counts_instead_of_the_option() {
    let broker = Broker::start();
    let port = broker.server.recv_addr().port();
    for address in [format!("127.0.0.1:{port}"), format!("mezzenger://127.0.0.1:{port}")] {
        let output = Command::new(env!("CARGO_BIN_EXE_mezzenger"))
            .args(["ping", "--server", &address, "--port", "9"])
            .output()
            .expect("mezzenger starts");
        assert!(check_ok(&output).starts_with(&format!("{address} answered in ")), "{output:?}");
    }
    let output = broker.run(&["ping", "--server", "127.0.0.1:99999"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("has port 99999: give one of 1 to 65535"), "{stderr}");
}
