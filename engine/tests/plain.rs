//! Users with passwords (PLAIN): the library's own clients, and libzmq on both sides.

mod strangers;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use mezzenger::access::{Access, AccessError, PasswordHash, Permissions};
use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::record::Record;
use mezzenger::wire::reply::{self, Reply};
use mezzenger::wire::{checksum, hello};
use mezzenger::{Client, ClientBuilder, ConnectError, Encoding, MessageId, SendError, Server};

use self::strangers::{LONG, exchange, greeting};

const LONG_MS: i32 = 30_000;

/// The hash of `secret`, made once: it takes its time.
fn hash() -> PasswordHash {
    static HASH: OnceLock<PasswordHash> = OnceLock::new();
    HASH.get_or_init(|| PasswordHash::of("secret")).clone()
}

fn access() -> Access {
    let shop = Permissions::none().publish("orders.>").subscribe("orders.*");
    Access::new().user("shop", hash(), shop)
}

fn server(access: Access) -> Server {
    Server::builder().pub_port(0).recv_port(0).access(access).start().unwrap()
}

fn options(server: &Server) -> ClientBuilder {
    let builder = Client::builder().port(server.recv_addr().port());
    builder.send_timeout(LONG / 6).connection_retries(2)
}

#[track_caller]
fn refusal(builder: ClientBuilder) -> String {
    match builder.connect() {
        Err(error @ ConnectError::Security { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_says_the_password_of_a_user_may_do_what_is_said_of_him() {
    let server = server(access());
    let client = options(&server).plain("shop", "secret").connect().unwrap();
    let mut orders = client.subscription("orders.new").unwrap();
    client.message("orders.new", "tea").ack().send().unwrap();
    let order = orders.recv_timeout(LONG).unwrap();
    assert_eq!(order.text(), Some("tea"));
    order.ack();
    let error = client.message("prices", "").send().unwrap_err();
    let SendError::NotAllowed { text } = &error else { panic!("{error:?}") };
    let expected =
        "not allowed: publish to 'prices'; user 'shop' may publish to the pattern 'orders.>'";
    assert_eq!(text, expected);
}

#[test]
fn others_are_refused_and_nobody_learns_what_was_wrong() {
    let server = server(access());
    let begun = Instant::now();
    let mut texts = BTreeSet::new();
    for (user, password) in [("shop", "guess"), ("shop", ""), ("nobody", "secret"), ("", "")] {
        let text = refusal(options(&server).plain(user, password));
        texts.insert(text.replace(&format!("'{user}'"), "NAME"));
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(begun.elapsed() < LONG, "a further attempt would end the same way");
    assert!(refusal(options(&server)).contains("asks for a user's name and password"));
    // Who has a password says it to no server that does not ask for it.
    let open = Server::builder().pub_port(0).recv_port(0).start().unwrap();
    assert!(refusal(options(&open).plain("shop", "secret")).contains("has no users"));
    options(&server).plain("shop", "secret").connect().unwrap().ping().unwrap();
}

#[test]
fn an_unknown_user_takes_as_long_as_a_wrong_password() {
    let server = server(access());
    let mut took = [Duration::MAX; 2];
    // The shortest of several, as others may use the processor.
    for _ in 0..4 {
        for (user, least) in ["shop", "nobody"].iter().zip(&mut took) {
            let begun = Instant::now();
            refusal(options(&server).plain(*user, "guess"));
            *least = (*least).min(begun.elapsed());
        }
    }
    let [known, unknown] = took.map(|time| time.as_secs_f64());
    assert!(unknown > known * 0.6 && unknown < known * 1.7, "{took:?}");
}

#[test]
fn a_flood_of_logins_keeps_nobody_waiting_who_is_there() {
    let server = server(access());
    let good = options(&server).plain("shop", "secret").connect().unwrap();
    let mut said = greeting(b"PLAIN");
    said.extend(b"\x04\x12\x05HELLO\x04shop\x06guess!");
    let mut open = Vec::new();
    for address in [server.recv_addr(), server.pub_addr()].into_iter().cycle().take(400) {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(&said).unwrap();
        open.push(stream);
        if open.len() % 50 == 0 {
            let begun = Instant::now();
            good.message("orders.new", "").send().unwrap();
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
    }
    // Each is told that it is wrong, or is closed because there are too many.
    let (mut told, mut closed) = (0, 0);
    for mut stream in open {
        stream.set_read_timeout(Some(LONG)).unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        match heard.windows(5).any(|part| part == b"ERROR") {
            true => told += 1,
            false => closed += 1,
        }
    }
    assert!((1..=40).contains(&told) && closed > 300, "{told} {closed}");
    good.ping().unwrap();
}

#[test]
fn a_changed_password_ends_connections_and_the_new_one_opens_others() {
    let server = server(access());
    let old = options(&server).plain("shop", "secret").connect().unwrap();
    let shop = Permissions::none().publish("orders.>").subscribe("orders.*");
    let changed = Access::new().user("shop", PasswordHash::of("other"), shop);
    server.access_handle().set_access(changed).unwrap();
    assert!(refusal(options(&server).plain("shop", "secret")).contains("does not accept"));
    options(&server).plain("shop", "other").connect().unwrap().ping().unwrap();
    assert!(old.message("orders.new", "").send().is_err());
    // A server that asks for nothing does not begin to ask.
    let open = Server::builder().pub_port(0).recv_port(0).access(Access::new()).start().unwrap();
    assert_eq!(open.access_handle().set_access(access()), Err(AccessError::NoUsers));
}

fn hello(user: &str, password: &str) -> Vec<u8> {
    let body = [
        &b"\x05HELLO"[..],
        &[user.len() as u8],
        user.as_bytes(),
        &[password.len() as u8],
        password.as_bytes(),
    ]
    .concat();
    [&[4, body.len() as u8], &body[..]].concat()
}

const INITIATE: &[u8] = b"\x04\x1f\x08INITIATE\x0bSocket-Type\0\0\0\x06DEALER";

#[test]
fn a_login_that_is_not_finished_ends_when_the_users_change() {
    let server = server(access());
    let mut begun = TcpStream::connect(server.recv_addr()).unwrap();
    begun.set_read_timeout(Some(LONG)).unwrap();
    begun.write_all(&[greeting(b"PLAIN"), hello("shop", "secret")].concat()).unwrap();
    let mut greeted = [0; 64];
    begun.read_exact(&mut greeted).unwrap();
    let mut welcome = [0; 10];
    begun.read_exact(&mut welcome).unwrap();
    assert_eq!(&welcome, b"\x04\x08\x07WELCOME");
    let changed = Access::new().user("shop", PasswordHash::of("other"), Permissions::none());
    server.access_handle().set_access(changed).unwrap();
    // Not before the change counts.
    assert!(refusal(options(&server).plain("shop", "secret")).contains("does not accept"));
    let _ = begun.write_all(INITIATE);
    let mut told = Vec::new();
    let _ = begun.read_to_end(&mut told);
    assert_eq!(told, b"");
}

#[test]
fn nothing_but_a_right_login_opens_a_connection() {
    let server = server(access());
    let ready = b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER";
    let (plain, request) = (greeting(b"PLAIN"), &b"\x01\0\0\x06ping|x"[..]);
    for address in [server.recv_addr(), server.pub_addr()] {
        for mechanism in [&b"NULL"[..], b"CURVE", b"PLAINX", b""] {
            let told = exchange(address, &[&greeting(mechanism)[..], ready, request].concat());
            assert!(told.len() <= 64, "{told:?}");
        }
        let told = exchange(address, b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x05\0\0");
        assert!(told.len() <= 11, "{told:?}");
        let right = hello("shop", "secret");
        let wrong = hello("shop", "guess");
        let cut = &right[..right.len() - 1];
        for said in [
            &[&ready[..], request].concat()[..],
            &[INITIATE, request].concat(),
            &[&wrong[..], INITIATE, request].concat(),
            &[&wrong[..], &right, INITIATE, request].concat(),
            &[&right[..], &right, request].concat(),
            &[&right[..], &ready[..], request].concat(),
            &[&right[..], request].concat(),
            &[cut, INITIATE, request].concat(),
            b"\x04\x07\x05HELLO\xff",
            b"\x04\x06\x05HELLO",
        ] {
            let told = exchange(address, &[&plain[..], said].concat());
            assert!(!told.windows(6).any(|part| part == b"\x05READY"), "{told:?}");
            assert!(!told.windows(2).any(|part| part == b"OK"), "{told:?}");
        }
    }
}

fn socket(context: &zmq::Context, kind: zmq::SocketType) -> zmq::Socket {
    let socket = context.socket(kind).unwrap();
    socket.set_linger(0).unwrap();
    socket.set_rcvtimeo(LONG_MS).unwrap();
    socket
}

#[test]
fn libzmq_says_a_password_on_both_ports() {
    let server = server(access());
    let context = zmq::Context::new();
    let connect = |kind, address: SocketAddr, password| {
        let socket = socket(&context, kind);
        socket.set_plain_username(Some("shop")).unwrap();
        socket.set_plain_password(Some(password)).unwrap();
        socket.connect(&format!("tcp://{address}")).unwrap();
        socket
    };
    let subscriber = connect(zmq::SUB, server.pub_addr(), "secret");
    subscriber.set_subscribe(b"").unwrap();
    let confirmed = mezzenger::wire::confirm::topic(7);
    subscriber.set_subscribe(&confirmed).unwrap();
    assert_eq!(subscriber.recv_bytes(0).unwrap(), confirmed);

    let requester = connect(zmq::REQ, server.recv_addr(), "secret");
    requester.send(v2_prefix("ping"), 0).unwrap();
    assert_eq!(requester.recv_bytes(0).unwrap(), b"OK");
    // An original client is refused by an empty frame, and what it may not get does not come.
    let publisher = options(&server).plain("shop", "secret").connect().unwrap();
    publisher.message("orders.new.paid", "not for him").send().unwrap();
    publisher.message("orders.new", "for him").send().unwrap();
    let got = subscriber.recv_bytes(0).unwrap();
    assert!(got.starts_with(b"orders.new|") || got.starts_with(b"\x01orders.new|"), "{got:?}");
    requester.send(&b"prices|(dp0\nS'payload'\np1\nS'x'\np2\ns."[..], 0).unwrap();
    assert_eq!(requester.recv_bytes(0).unwrap(), b"");

    let stranger = connect(zmq::REQ, server.recv_addr(), "guess");
    stranger.set_rcvtimeo(700).unwrap();
    stranger.send(v2_prefix("ping"), 0).unwrap();
    assert_eq!(stranger.recv_bytes(0), Err(zmq::Error::EAGAIN));
}

/// Answers libzmq's questions who may connect, as [ZAP](https://rfc.zeromq.org/spec/27/) has it; ends with the context.
fn authenticate(handler: &zmq::Socket) {
    while let Ok(asked) = handler.recv_multipart(0) {
        let is_right = asked[6..] == [b"shop".to_vec(), b"secret".to_vec()];
        let status: [&[u8]; 2] = if is_right { [b"200", b"OK"] } else { [b"400", b"no"] };
        let [code, text] = status;
        if handler.send_multipart([b"1.0", &asked[1][..], code, text, b"", b""], 0).is_err() {
            return;
        }
    }
}

#[test]
fn the_client_says_its_password_to_libzmqs_server() {
    let behind = Server::builder().pub_port(0).recv_port(0).start().unwrap();
    let context = zmq::Context::new();
    let handler = context.socket(zmq::REP).unwrap();
    handler.bind("inproc://zeromq.zap.01").unwrap();
    std::thread::spawn(move || authenticate(&handler));
    let front = socket(&context, zmq::ROUTER);
    front.set_plain_server(true).unwrap();
    front.set_zap_domain("global").unwrap();
    front.set_rcvtimeo(-1).unwrap();
    front.bind("tcp://127.0.0.1:*").unwrap();
    let endpoint = front.get_last_endpoint().unwrap().unwrap();
    let port: u16 = endpoint.rsplit_once(':').unwrap().1.parse().unwrap();
    let back = socket(&context, zmq::DEALER);
    back.set_rcvtimeo(-1).unwrap();
    back.connect(&format!("tcp://{}", behind.recv_addr())).unwrap();
    std::thread::spawn(move || {
        let _ = zmq::proxy(&front, &back);
    });
    let options = || Client::builder().port(port).send_timeout(LONG / 6).connection_retries(2);
    let client = options().plain("shop", "secret").connect().unwrap();
    client.message("orders.new", "tea").ack().send().unwrap();
    client.ping().unwrap();
    let error = options().plain("shop", "guess").connect().unwrap_err();
    assert!(matches!(error, ConnectError::Security { .. }), "{error}");
}

#[test]
fn a_publishers_id_is_of_the_user_who_used_it_first() {
    let everything = Permissions::all();
    let access =
        Access::new().user("alice", hash(), everything.clone()).user("bob", hash(), everything);
    let server = server(access);
    let context = zmq::Context::new();
    let connect = |user| {
        let socket = socket(&context, zmq::REQ);
        socket.set_plain_username(Some(user)).unwrap();
        socket.set_plain_password(Some("secret")).unwrap();
        socket.connect(&format!("tcp://{}", server.recv_addr())).unwrap();
        socket
    };
    let ask = |socket: &zmq::Socket, request: Vec<u8>| {
        socket.send(request, 0).unwrap();
        socket.recv_bytes(0).unwrap()
    };
    let secret = b"0123456789abcdef";
    let hello = |socket: &zmq::Socket| ask(socket, hello::request(secret));
    let is_taken = |answer: &[u8]| hello::read_answer(answer).is_some();
    let (alice, bob) = (connect("alice"), connect("bob"));
    assert!(is_taken(&hello(&alice)));
    // Whoever knows her secret is not her.
    let refused = hello(&bob);
    assert_eq!(refused[..3], [1, 8, 0], "{}", String::from_utf8_lossy(&refused));
    // She may be on another connection already.
    assert!(is_taken(&hello(&connect("alice"))));
    // It stays hers when she is gone, as she has published.
    let mut frame = v2_prefix("orders.new");
    Record {
        id: MessageId { publisher: hello::publisher(secret), sequence: 1 },
        ordinal: 1,
        timestamp_ns: 5,
        checksum: checksum::native("orders.new", b"tea", 5),
        ack: false,
        has_properties: false,
        encoding: Encoding::Text,
        payload: b"tea",
    }
    .append_to(&mut frame)
    .unwrap();
    let answer = ask(&alice, frame);
    assert!(matches!(reply::read(&answer), Some(Reply::Ok { .. })), "{answer:?}");
    drop(alice);
    let inspector = server.inspector();
    let end = Instant::now() + LONG;
    loop {
        let (told, hears) = std::sync::mpsc::channel();
        inspector.connections(0, 9, move |page| told.send(page.items.len()).unwrap()).unwrap();
        if hears.recv_timeout(LONG).unwrap() == 1 {
            break;
        }
        assert!(Instant::now() < end, "her connections should have ended");
    }
    assert!(!is_taken(&hello(&bob)));
}
