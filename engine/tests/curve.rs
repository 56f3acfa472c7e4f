//! Connections that are authenticated and encrypted with CURVE, through the public API alone.

mod strangers;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use mezzenger::curve::{AuthorizedKeys, KeyPair};
use mezzenger::{Client, ClientBuilder, ConnectError, ConnectionEvent, Filter, SendError, Server};
use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};

use self::strangers::{LONG, exchange, greeting};

/// A server that accepts these clients, and its keys.
fn server(authorized: AuthorizedKeys) -> (Server, KeyPair) {
    let keys = KeyPair::generate();
    let builder = Server::builder().pub_port(0).recv_port(0).curve(keys.clone(), authorized);
    (builder.start().unwrap(), keys)
}

fn options(server: &Server) -> ClientBuilder {
    let builder = Client::builder().port(server.recv_addr().port());
    builder.send_timeout(Duration::from_secs(5)).connection_retries(2)
}

#[track_caller]
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::yield_now();
    }
}

#[test]
fn many_messages_and_large_ones_pass_both_ways() {
    let (alice, bob) = (KeyPair::generate(), KeyPair::generate());
    let (server, keys) = server([alice.public(), bob.public()].into_iter().collect());
    let connect = |own| options(&server).curve(own, keys.public()).connect().unwrap();
    let (alice, bob) = (connect(alice), connect(bob));
    let mut numbers = bob.subscription("numbers").unwrap();
    const COUNT: u64 = 20_000;
    for n in 1..=COUNT {
        alice.publish("numbers", n.to_le_bytes()).unwrap();
    }
    alice.flush().unwrap();
    for n in 1..=COUNT {
        let got = numbers.recv_timeout(LONG).unwrap();
        assert_eq!(got.payload(), n.to_le_bytes());
    }
    let mut jobs = bob.subscription_to(Filter::pattern("large.*")).group("g").open().unwrap();
    for bytes in [0, 1, 100_000, 3_000_000, 20_000_000] {
        let payload: Vec<u8> = (0..bytes).map(|n| (n % 251) as u8).collect();
        alice.message("large.one", &payload).ack().send().unwrap();
        let job = jobs.recv_timeout(LONG).unwrap();
        assert!(job.payload() == payload, "{bytes} bytes");
        job.ack();
    }
    let requests = bob.subscription("ask").unwrap();
    let answering = std::thread::spawn(move || {
        for request in requests.into_iter().take(1) {
            request.reply("answer").unwrap();
        }
    });
    assert_eq!(alice.message("ask", "").request(LONG).unwrap().text(), Some("answer"));
    answering.join().unwrap();
}

#[test]
fn a_subscriber_that_lets_much_wait_gets_it_all_in_order() {
    let (server, keys) = server(AuthorizedKeys::any());
    let connect = || options(&server).curve(KeyPair::generate(), keys.public()).connect().unwrap();
    let (publisher, subscriber) = (connect(), connect());
    let mut sink = subscriber.subscription_to(Filter::name("a")).credit(1 << 20).open().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..600_u64 {
                publisher.publish("a", [&n.to_le_bytes()[..], &vec![7; 50_000]].concat()).unwrap();
            }
            publisher.flush().unwrap();
        });
        for n in 0..600_u64 {
            assert_eq!(sink.recv_timeout(LONG).unwrap().payload()[..8], n.to_le_bytes());
        }
    });
}

#[test]
fn a_message_over_the_limit_is_refused_with_keys_as_without() {
    let keys = KeyPair::generate();
    let builder = || Server::builder().pub_port(0).recv_port(0).max_message_bytes(100_000);
    let encrypted = builder().curve(keys.clone(), AuthorizedKeys::any()).start().unwrap();
    let open = builder().start().unwrap();
    let options = [options(&encrypted).curve(KeyPair::generate(), keys.public()), options(&open)];
    let refusals = options.map(|options| {
        let (event, events) = channel();
        let report = move |happened: &ConnectionEvent| {
            let _ = event.send(happened.clone());
        };
        let client = options.on_connection(report).connect().unwrap();
        let error = client.message("a", vec![7; 200_000]).send().unwrap_err();
        client.message("a", vec![7; 90_000]).send().unwrap();
        assert_eq!(events.try_iter().count(), 1, "it is on the connection that it had");
        assert!(matches!(error, SendError::TooLargeForServer { .. }), "{error}");
        error.to_string()
    });
    assert_eq!(refusals[0], refusals[1]);
}

#[test]
fn who_has_not_the_right_keys_is_refused_and_told_why() {
    let alice = KeyPair::generate();
    let (server, keys) = server([alice.public()].into_iter().collect());
    let refusal = |builder: ClientBuilder| {
        let begun = Instant::now();
        let error = builder.connect().unwrap_err();
        (error, begun.elapsed())
    };
    let stranger = KeyPair::generate();
    let (error, took) = refusal(options(&server).curve(stranger.clone(), keys.public()));
    assert!(matches!(error, ConnectError::Security { .. }), "{error}");
    assert!(error.to_string().contains(&stranger.public().to_string()), "{error}");
    assert!(took < Duration::from_secs(4), "a further attempt would end the same way");

    let (error, _) = refusal(options(&server));
    assert!(matches!(error, ConnectError::Security { .. }), "{error}");
    assert!(error.to_string().contains("asks for keys"), "{error}");

    let wrong = KeyPair::generate().public();
    let short = options(&server).send_timeout(Duration::from_millis(300));
    let (error, _) = refusal(short.curve(alice.clone(), wrong));
    assert!(error.to_string().contains(&format!("is {wrong} its public key?")), "{error}");

    let open = Server::builder().pub_port(0).recv_port(0).start().unwrap();
    let (error, _) = refusal(options(&open).curve(alice.clone(), keys.public()));
    assert!(matches!(error, ConnectError::Security { .. }), "{error}");
    assert!(error.to_string().contains("the server has no keys"), "{error}");

    options(&server).curve(alice, keys.public()).connect().unwrap().ping().unwrap();
}

#[test]
fn a_key_that_is_taken_away_ends_its_connections_within_a_second() {
    let (alice, bob) = (KeyPair::generate(), KeyPair::generate());
    let (server, keys) = server([alice.public(), bob.public()].into_iter().collect());
    let ends = || {
        let (sender, ended) = channel();
        let on_end = move |event: &ConnectionEvent| {
            if let ConnectionEvent::Disconnected { .. } = event {
                let _ = sender.send(Instant::now());
            }
        };
        (on_end, ended)
    };
    let ((on_end, ended), (on_kept, kept_ended)) = (ends(), ends());
    let options = || options(&server);
    let removed = options().curve(alice.clone(), keys.public()).on_connection(on_end);
    let kept = options().curve(bob.clone(), keys.public()).on_connection(on_kept);
    let (removed, kept) = (removed.connect().unwrap(), kept.connect().unwrap());
    let connections = server.metrics().connections;
    let changed = Instant::now();
    server.set_authorized_keys([bob.public()].into_iter().collect());
    let at = ended.recv_timeout(LONG).unwrap();
    assert!(at - changed < Duration::from_secs(1), "{:?}", at - changed);
    kept.ping().unwrap();
    assert!(kept_ended.try_recv().is_err(), "the other connection goes on");
    wait_for("the end at the server", || server.metrics().connections < connections);
    let error = options().curve(alice.clone(), keys.public()).connect().unwrap_err();
    assert!(matches!(error, ConnectError::Security { .. }), "{error}");
    // It comes back once its key is accepted again.
    server.keys_handle().set_authorized_keys(AuthorizedKeys::any());
    wait_for("a new connection", || removed.ping().is_ok());
    kept.ping().unwrap();
}

#[test]
fn handshakes_that_are_not_finished_hold_nobody_up() {
    let (server, keys) = server(AuthorizedKeys::any());
    let good = options(&server).curve(KeyPair::generate(), keys.public()).connect().unwrap();
    // A HELLO that does not open costs the server as much as one that does.
    let mut hello = greeting(b"CURVE");
    hello.extend([4, 200]);
    hello.extend(b"\x05HELLO\x01\0");
    hello.extend([9; 192]);
    for (at, address) in
        [server.recv_addr(), server.pub_addr()].into_iter().cycle().take(2000).enumerate()
    {
        let cut = [hello.len(), 64, 10, 100, hello.len() - 1][at % 5];
        exchange(address, &hello[..cut]);
        if at % 100 == 0 {
            let begun = Instant::now();
            good.ping().unwrap();
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
    }
    // As many stay open, and wait.
    let mut open = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(server.recv_addr()).unwrap();
        stream.write_all(&hello[..150]).unwrap();
        open.push(stream);
    }
    good.message("a", "still served").ack().send().unwrap();
    options(&server).curve(KeyPair::generate(), keys.public()).connect().unwrap();
    drop(open);
    wait_for("the end of the others", || server.metrics().connections == 1);
}

#[test]
fn other_mechanisms_and_versions_are_closed_on_both_ports() {
    let (server, _) = server(AuthorizedKeys::any());
    let ready = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER";
    for address in [server.recv_addr(), server.pub_addr()] {
        for mechanism in [&b"NULL"[..], b"PLAIN", b"CURVEX", b""] {
            let told = exchange(address, &[&greeting(mechanism)[..], ready].concat());
            // Nothing but the greeting, if that.
            assert!(told.len() <= 64 && !told.windows(5).any(|it| it == b"READY"), "{told:?}");
        }
        let told = exchange(address, b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05\0\0");
        assert!(told.len() <= 11, "{told:?}");
        let told = exchange(address, &[&greeting(b"CURVE")[..], ready].concat());
        assert!(!told.windows(5).any(|it| it == b"READY"), "{told:?}");
    }
}

#[tokio::test]
async fn futures_have_keys_too() {
    let alice = KeyPair::generate();
    let (server, keys) = server([alice.public()].into_iter().collect());
    let client = options(&server).curve(alice, keys.public()).connect_async().await.unwrap();
    let mut greetings = client.subscription("greet").await.unwrap();
    for bytes in [3, 3_000_000] {
        client.message("greet", vec![7; bytes]).ack().send().await.unwrap();
        assert_eq!(greetings.recv().await.unwrap().payload().len(), bytes);
    }
    let stranger = options(&server).curve(KeyPair::generate(), keys.public());
    let error = stranger.connect_async().await.unwrap_err();
    assert!(matches!(error, ConnectError::Security { .. }), "{error}");
    client.close().await.unwrap();
}

const MIB: usize = 1024 * 1024;

#[test]
fn a_large_message_is_encrypted_for_some_subscribers_at_a_time_and_others_are_served_meanwhile() {
    const SUBSCRIBERS: usize = 16;
    let (keys, bound) = (KeyPair::generate(), 64 * MIB);
    let builder = Server::builder().pub_port(0).recv_port(0).max_unsent_bytes(bound);
    let server = builder.curve(keys.clone(), AuthorizedKeys::any()).start().unwrap();
    let connect = || options(&server).curve(KeyPair::generate(), keys.public()).connect().unwrap();
    let (got, gets) = channel();
    let subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|_| {
            let (client, got) = (connect(), got.clone());
            client
                .subscribe("large", move |payload: &[u8], _| got.send(payload.len()).unwrap())
                .unwrap();
            client
        })
        .collect();
    let (publisher, bystander) = (connect(), connect());
    let sent = publisher.publish("large", vec![7; 8 * MIB]).unwrap();
    let (mut unsent, mut served, mut left) = (0, 0, SUBSCRIBERS);
    let end = Instant::now() + LONG;
    while left > 0 {
        assert!(Instant::now() < end, "{left} did not get it");
        unsent = unsent.max(server.metrics().unsent_bytes);
        bystander.ping().unwrap();
        served += 1;
        left -= gets.try_iter().inspect(|&bytes| assert_eq!(bytes, 8 * MIB)).count();
    }
    sent.wait().unwrap();
    // Half of the bound is for what is encrypted; then there is the message itself.
    let most = (bound / 2 + 9 * MIB) as u64;
    assert!((9 * MIB as u64..most).contains(&unsent), "{unsent} of at most {most} bytes");
    assert!(served > 1, "{served}");
    drop(subscribers);
}

/// The system holds little of what the other end says, so that this is taken in small pieces.
fn connect_with_little_room(to: SocketAddr) -> OwnedFd {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 256 * 1024).unwrap();
    connect(&socket, &to).unwrap();
    socket
}

/// Passes on what a client and this server say to each other, what the server says by 8 MB a second at most.
fn narrow(server: SocketAddr) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::from(connect_with_little_room(server));
        let (mut said, mut heard) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        std::thread::spawn(move || std::io::copy(&mut said, &mut heard));
        let (_never, pause) = channel::<()>();
        let mut buffer = vec![0; 80_000];
        while let Ok(bytes @ 1..) = server.read(&mut buffer) {
            let _ = pause.recv_timeout(Duration::from_millis(10));
            if client.write_all(&buffer[..bytes]).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
    });
    port
}

#[test]
fn who_takes_a_large_message_too_slowly_gives_its_room_to_those_that_wait() {
    let keys = KeyPair::generate();
    let builder = Server::builder().pub_port(0).recv_port(0).max_unsent_bytes(200 * MIB);
    let builder = builder.stall_grace(Duration::from_millis(400));
    let server = builder.curve(keys.clone(), AuthorizedKeys::any()).start().unwrap();
    let options = || options(&server).curve(KeyPair::generate(), keys.public());
    let (lost, losses) = channel();
    let slow =
        options().port(narrow(server.recv_addr())).on_connection(move |event: &ConnectionEvent| {
            if let ConnectionEvent::Disconnected { .. } = event {
                let _ = lost.send(());
            }
        });
    let slow = slow.connect().unwrap();
    let slow_subscription = slow.subscription("to the slow one").unwrap();
    let [publisher, other, good] = [(); 3].map(|()| options().connect().unwrap());
    let mut subscription = good.subscription("to the other").unwrap();
    // It takes 8 s for it.
    let message = || vec![7; 60 * MIB];
    publisher.publish("to the slow one", message()).unwrap();
    wait_for("the encryption for the slow one", || {
        server.metrics().unsent_bytes > 2 * 60 * MIB as u64
    });
    other.publish("to the other", message()).unwrap();
    assert_eq!(subscription.recv_timeout(LONG).unwrap().payload().len(), 60 * MIB);
    losses.recv_timeout(LONG).unwrap();
    drop(slow_subscription);
}
