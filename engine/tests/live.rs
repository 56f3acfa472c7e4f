//! Settings that change while a server runs, and its signs of life.

use std::time::Duration;

use mezzenger::{Client, ClientBuilder, Config, ConfigError, SendError, Server};

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(30);

/// A server with this configuration on free ports, and how to reach it.
fn start(change: impl FnOnce(&mut Config)) -> (Server, Config, ClientBuilder) {
    let mut config = Config { pub_port: 0, recv_port: 0, ..Config::default() };
    change(&mut config);
    let server = Server::start(&config).unwrap();
    let client = Client::builder().port(server.recv_addr().port());
    (server, config, client)
}

/// Changes settings, and waits until they count.
#[track_caller]
fn change(server: &Server, config: &mut Config, change: impl FnOnce(&mut Config)) {
    change(config);
    let control = server.control_handle();
    control.reconfigure(config).unwrap();
    assert!(control.is_alive(LONG));
}

#[test]
fn another_limit_on_what_waits_counts_at_once_and_takes_nothing_away() {
    let (server, mut config, client) = start(|config| config.max_pending_messages = 2);
    let client = client.connect().unwrap();
    let send = || client.message("jobs", "tea").ack().send();
    for _ in 0..2 {
        send().unwrap();
    }
    assert!(matches!(send().unwrap_err(), SendError::PendingFull { .. }));
    change(&server, &mut config, |config| config.max_pending_messages = 3);
    send().unwrap();
    change(&server, &mut config, |config| config.max_pending_messages = 1);
    assert!(matches!(send().unwrap_err(), SendError::PendingFull { .. }));
    assert_eq!(server.metrics().pending_messages, 3);
    change(&server, &mut config, |config| config.max_pending_messages = 100);
    change(&server, &mut config, |config| config.max_pending_bytes = 10);
    assert!(matches!(send().unwrap_err(), SendError::PendingFull { .. }));
}

#[test]
fn what_is_delivered_from_now_on_comes_again_after_the_new_interval() {
    let (server, mut config, client) = start(|config| config.retry_interval = LONG * 100);
    let client = client.connect().unwrap();
    change(&server, &mut config, |config| config.retry_interval = Duration::from_millis(20));
    let mut jobs = client.subscription("jobs").unwrap();
    client.message("jobs", "tea").ack().send().unwrap();
    let times = [(); 2].map(|()| jobs.recv_timeout(LONG).unwrap().text().map(str::to_owned));
    assert_eq!(times, [Some("tea".to_owned()), Some("tea".to_owned())]);
}

#[test]
fn a_connection_that_is_open_may_send_larger_messages_too() {
    let (server, mut config, client) = start(|config| config.max_message_bytes = 2 << 20);
    let payload = vec![7; 3 << 20];
    let early = client.clone().connect().unwrap();
    assert!(matches!(
        early.message("large", &payload).send().unwrap_err(),
        SendError::TooLargeForServer { .. }
    ));
    change(&server, &mut config, |config| config.max_message_bytes = 4 << 20);
    client.connect().unwrap().message("large", &payload).send().unwrap();
}

#[test]
fn another_number_of_connections_counts_for_the_next_one() {
    let (server, mut config, client) = start(|config| config.max_connections = 1);
    let first = client.clone().connect().unwrap();
    client.clone().connect().unwrap_err();
    change(&server, &mut config, |config| config.max_connections = 2);
    let second = client.clone().connect().unwrap();
    change(&server, &mut config, |config| config.max_connections = 1);
    client.connect().unwrap_err();
    for client in [first, second] {
        client.ping().unwrap();
    }
}

#[test]
fn settings_that_cannot_be_used_change_nothing() {
    let (server, mut config, client) = start(|config| config.max_pending_messages = 1);
    let client = client.connect().unwrap();
    config.max_pending_messages = 5;
    config.retry_interval = Duration::ZERO;
    let control = server.control_handle();
    assert!(matches!(control.reconfigure(&config).unwrap_err(), ConfigError::Duration { .. }));
    client.message("jobs", "tea").ack().send().unwrap();
    client.message("jobs", "tea").ack().send().unwrap_err();
}

#[test]
fn a_server_is_alive_while_it_runs() {
    let (server, _, _) = start(|_| ());
    let control = server.control_handle();
    for _ in 0..3 {
        assert!(control.is_alive(LONG));
    }
    server.shutdown().unwrap();
    assert!(!control.is_alive(Duration::from_millis(50)));
}
