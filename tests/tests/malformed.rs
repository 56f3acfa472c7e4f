//! Every kind of request that is none is answered with an error, and the server goes on.

use std::time::{Duration, Instant};

use mezzenger::MessageId;
use mezzenger::wire::frame::v2_prefix;
use mezzenger::wire::hello;
use mezzenger::wire::record::{Encoding, LENGTH_BYTES, Record};
use mezzenger::wire::reply::ErrorCode;

use crate::harness::native::{assert_ok, assert_refused};
use crate::harness::pickles::{Dict, float, int, none, text};
use crate::harness::{Native, NativeSubscriber, PATIENCE, Python, Server};

/// An original client gives its request up after this long, so an answer must be there before.
const ORIGINAL_TIMEOUT: Duration = Duration::from_secs(2);

/// Sends requests of the original format and checks that each is answered with an empty frame, soon.
#[track_caller]
fn check_v1(requests: &[(&str, Vec<u8>)]) {
    let server = Server::start::<&str>(&[]);
    let mut publisher = Native::connect(&server);
    for (what, request) in requests {
        let start = Instant::now();
        let reply = publisher.request(request);
        let took = start.elapsed();
        assert!(reply.is_empty(), "{what}: {:?}", String::from_utf8_lossy(&reply));
        assert!(took < ORIGINAL_TIMEOUT, "{what} took {took:?}");
    }
    assert_serves(&server, &mut publisher);
}

/// The secret of whoever sends what is malformed.
const SECRET: hello::Secret = [7; 16];

/// Sends native requests and checks that each is answered with this error, and a text.
#[track_caller]
fn check_v2(code: ErrorCode, requests: &[(&str, Vec<u8>)]) {
    let server = Server::start::<&str>(&[]);
    let mut publisher = Native::with(&server, SECRET);
    for (what, request) in requests {
        let reply = publisher.request(request);
        match mezzenger::wire::reply::read(&reply) {
            Some(mezzenger::wire::reply::Reply::Refused { code: Some(found), text })
                if found == code =>
            {
                assert!(text.len() > 10, "{what}: {text:?} says nothing");
            }
            other => panic!("{what}: expected {code:?}, got {other:?}"),
        }
    }
    assert_serves(&server, &mut publisher);
}

/// Checks that messages still get through.
#[track_caller]
fn assert_serves(server: &Server, publisher: &mut Native) {
    let mut subscriber = NativeSubscriber::new(server, "afterwards");
    let id = publisher.publish("afterwards", b"still here", true);
    assert_eq!(subscriber.next().id, id);
    publisher.ack(&[id]);
}

fn good() -> Dict {
    Dict::message("greet", text("hello"))
}

#[test]
fn a_good_request_of_the_hand_written_kind_is_taken() {
    // Without this, the tests below would prove nothing.
    let server = Server::start::<&str>(&[]);
    let client = Native::connect(&server);
    assert_ok(&client.request(&good().frame("greet")));
}

#[test]
fn what_is_no_frame() {
    check_v1(&[
        ("empty", Vec::new()),
        ("no separator", b"greet".to_vec()),
        ("a long frame without separator", vec![b'x'; 100_000]),
        ("empty name", good().frame("")),
        ("a name of 256 bytes", good().frame(&"a".repeat(256))),
        ("a control character", good().frame("a\nb")),
        ("a C1 control character", good().frame("a\u{85}b")),
        ("not UTF-8", [b"gr\xfc\xdf|", &good().pickle()[..]].concat()),
    ]);
}

#[test]
fn what_is_no_pickle() {
    let frame = |pickle: &[u8]| [b"greet|", pickle].concat();
    check_v1(&[
        ("nothing", frame(b"")),
        ("text", frame(b"hello")),
        ("zeros", frame(&[0; 100])),
        ("ones", frame(&[0xff; 100])),
        ("only the end", frame(b".")),
        ("only a protocol", frame(b"\x80\x02")),
        ("a protocol of the future", frame(b"\x80\x09}.")),
        ("bytes behind the end", [&good().frame("greet")[..], b"more"].concat()),
        ("an opcode that pops too much", frame(b"\x80\x020.")),
        ("a lying length", frame(b"\x80\x02X\xff\xff\xff\x7fhello.")),
        ("a negative length", frame(b"\x80\x02T\xff\xff\xff\xffhello.")),
        ("a memo entry that was never made", frame(b"\x80\x02h\x07.")),
        ("a huge memo index", frame(b"\x80\x02]r\xff\xff\xff\xff.")),
        ("a number without end", frame(&[&b"I"[..], &[b'9'; 100_000]].concat())),
    ]);
}

#[test]
fn every_beginning_of_a_pickle() {
    let whole = good().frame("greet");
    let cuts: Vec<_> = (0..whole.len()).map(|len| ("a beginning", whole[..len].to_vec())).collect();
    check_v1(&cuts);
}

#[test]
fn what_is_not_the_dict() {
    let frame = |pickle: &[u8]| [b"greet|", pickle].concat();
    let mut requests = vec![
        ("a list", frame(b"\x80\x02].")),
        ("a text", frame(b"\x80\x02X\x02\0\0\0hi.")),
        ("None", frame(b"N.")),
        ("an empty dict", frame(b"\x80\x02}.")),
        ("another name", good().frame("other")),
        ("a name that only begins the same", good().frame("gree")),
        ("name: a number", good().with("name", int(1)).frame("greet")),
        ("name: None", good().with("name", none()).frame("greet")),
        ("name: a list", good().with("name", b"]".to_vec()).frame("greet")),
        ("ack: text", good().with("ack", text("1")).frame("greet")),
        ("ack: None", good().with("ack", none()).frame("greet")),
        ("timestamp: text", good().with("timestamp", text("now")).frame("greet")),
        ("timestamp: None", good().with("timestamp", none()).frame("greet")),
        ("timestamp: not a number", good().with("timestamp", float(f64::NAN)).frame("greet")),
        ("timestamp: infinite", good().with("timestamp", float(f64::INFINITY)).frame("greet")),
        ("checksum: a number", good().with("checksum", int(7)).frame("greet")),
        ("checksum: empty", good().with("checksum", text("")).frame("greet")),
        ("checksum: 31 digits", good().with("checksum", text(&"a".repeat(31))).frame("greet")),
        ("checksum: 33 digits", good().with("checksum", text(&"a".repeat(33))).frame("greet")),
        ("checksum: no digits", good().with("checksum", text(&"g".repeat(32))).frame("greet")),
    ];
    for key in ["name", "payload", "ack", "timestamp", "checksum"] {
        requests.push((key, good().without(key).frame("greet")));
    }
    check_v1(&requests);
}

#[test]
fn a_checksum_that_does_not_match_is_refused_for_what_is_kept() {
    check_v1(&[("a wrong checksum", good().with("ack", int(1)).frame("greet"))]);
}

#[test]
fn nesting_without_end() {
    const DEEP: usize = 1_000_000;
    let frame = |pickle: &[u8]| [b"greet|", pickle].concat();
    let lists = [&vec![b']'; DEEP][..], &vec![b'a'; DEEP - 1]].concat();
    let tuples = [&b"N"[..], &vec![0x85; DEEP]].concat();
    let dicts = [&b"}"[..], &b"K\x01}".repeat(DEEP - 1), &vec![b's'; DEEP - 1]].concat();
    check_v1(&[
        ("lists as the message", frame(&[b"\x80\x02", &lists[..], b"."].concat())),
        ("marks", frame(&vec![b'('; DEEP])),
        ("lists as the payload", good().with("payload", lists).frame("greet")),
        ("tuples as the payload", good().with("payload", tuples).frame("greet")),
        ("dicts as the payload", good().with("payload", dicts).frame("greet")),
    ]);
}

/// A list of ten of the one before, and so on: a kilobyte that unfolds to 10^levels texts.
fn bomb(levels: u8) -> Vec<u8> {
    let mut payload = [&b"("[..], &text("lol"), b"q\x00"].concat();
    for level in 1..=levels {
        payload.extend([b']', b'q', level, b'(']);
        payload.extend([b'h', level - 1].repeat(10));
        payload.push(b'e');
    }
    // One value is left: a tuple of all of them.
    payload.push(b't');
    payload
}

#[test]
fn expanding_without_end() {
    let server = Server::start::<&str>(&[]);
    let mut publisher = Native::connect(&server);
    for ack in [1, 0] {
        let request = Dict::message("greet", bomb(60)).with("ack", int(ack)).frame("greet");
        let start = Instant::now();
        let reply = publisher.request(&request);
        assert!(start.elapsed() < ORIGINAL_TIMEOUT);
        assert_eq!(reply, b"", "a bomb was taken");
    }
    let memory = server.process.memory_max_bytes();
    assert!(memory < 100 << 20, "{} MiB", memory >> 20);
    assert_serves(&server, &mut publisher);
}

#[test]
fn a_pickle_that_executes_is_refused_where_a_field_should_be() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("executed");
    let command = format!("touch {}", file.display());
    // os.system(command), by GLOBAL and REDUCE, as pickles of every protocol can say it.
    let execute = [b"cos\nsystem\n", &text(&command)[..], b"\x85R"].concat();
    let instance = format!("(S'{command}'\nios\nsystem\n").into_bytes();
    let frame = |pickle: &[u8]| [b"greet|", pickle].concat();
    check_v1(&[
        ("the message", frame(&[b"\x80\x02", &execute[..], b"."].concat())),
        ("the message, by INST", frame(&[&instance[..], b"."].concat())),
        ("the name", good().with("name", execute.clone()).frame("greet")),
        ("ack", good().with("ack", execute.clone()).frame("greet")),
        ("the timestamp", good().with("timestamp", execute.clone()).frame("greet")),
        ("the checksum", good().with("checksum", execute.clone()).frame("greet")),
    ]);
    assert!(!file.exists());
}

#[test]
fn a_payload_that_would_execute_is_carried_as_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("executed");
    let command = format!("touch {}", file.display());
    let execute = [b"cos\nsystem\n", &text(&command)[..], b"\x85R"].concat();
    let server = Server::start::<&str>(&[]);
    let client = server.client();
    let mut subscription = client.subscription("greet").unwrap();
    let requester = Native::connect(&server);
    let request = Dict::message("greet", execute).frame("greet");
    assert_ok(&requester.request(&request));
    let message = subscription.recv_timeout(PATIENCE).unwrap();
    assert!(request.ends_with(message.payload()));
    server.terminate();
    assert!(!file.exists());
}

#[test]
fn acknowledgements_that_are_none() {
    let ack = |payload: Vec<u8>| Dict::message("ack", payload).frame("ack");
    check_v1(&[
        ("no pickle", b"ack|".to_vec()),
        ("a number", ack(int(1))),
        ("too short", ack(text("0011"))),
        ("no digits", ack(text(&"x".repeat(32)))),
        ("None", ack(none())),
    ]);
    check_v2(
        ErrorCode::Malformed,
        &[
            ("no id", b"\x01ack|".to_vec()),
            ("half an id", b"\x01ack|12345678".to_vec()),
            ("an id and a half", [b"\x01ack|", &[1; 24][..]].concat()),
        ],
    );
}

#[test]
fn versions_that_are_not_known() {
    let requests: Vec<_> = (0..0x20)
        .filter(|&version| version != 1 && version != 2)
        .map(|version| ("a version", [&[version], &b"greet|body"[..]].concat()))
        .collect();
    check_v2(ErrorCode::UnsupportedVersion, &requests);
}

#[test]
fn properties_that_are_none() {
    let with = |properties: &[u8]| {
        let length = u32::try_from(properties.len()).unwrap().to_le_bytes();
        let payload = [b"hello", properties, &length].concat();
        let timestamp_ns = 1_763_866_000_250_000_000;
        let record = Record {
            id: MessageId { publisher: hello::publisher(&SECRET), sequence: 9 },
            ordinal: 1,
            timestamp_ns,
            checksum: mezzenger::wire::checksum::native("greet", &payload, timestamp_ns),
            ack: true,
            has_properties: true,
            encoding: Encoding::Bytes,
            payload: &payload,
        };
        let mut frame = v2_prefix("greet");
        record.append_to(&mut frame).unwrap();
        frame
    };
    check_v2(
        ErrorCode::Malformed,
        &[
            ("cut short", with(b"\x04\x09\0\0\0\x01\0k")),
            ("no text", with(b"\x03\x01\0\0\0\xff")),
            ("a name for answers that is none", with(b"\x01\x03\0\0\0a|b")),
            ("a correlation of seven bytes", with(b"\x02\x07\0\0\0abcdefg")),
            ("too much", with(&[b"\x04\0\x01\x01\0\0\0", &[b'x'; 0x100fe][..]].concat())),
            // Flags say that properties are there, and they overrun the payload.
            ("overrunning", changed(|archive| archive[FIELDS + 48] = 3)),
        ],
    );
    let server = Server::start::<&str>(&[]);
    let publisher = Native::with(&server, SECRET);
    assert_ok(&publisher.request(&with(b"\x03\x03\0\0\0a/b\x63\x01\0\0\0?")));
}

/// The frame of one record, kept, with something changed in its archive.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let (payload, timestamp_ns) = (b"hello", 1_763_866_000_250_000_000);
    let record = Record {
        id: MessageId { publisher: hello::publisher(&SECRET), sequence: 9 },
        ordinal: 1,
        timestamp_ns,
        checksum: mezzenger::wire::checksum::native("greet", payload, timestamp_ns),
        ack: true,
        has_properties: false,
        encoding: Encoding::Bytes,
        payload,
    };
    let mut bytes = Vec::new();
    record.append_to(&mut bytes).unwrap();
    let mut archive = bytes.split_off(LENGTH_BYTES);
    change(&mut archive);
    let length = u32::try_from(archive.len()).unwrap();
    [&v2_prefix("greet")[..], &length.to_le_bytes(), &archive].concat()
}

/// Where the fields stand behind the payload of `changed`, as in wire-format.md.
const FIELDS: usize = 5;

#[test]
fn native_frames_that_are_none() {
    let whole = changed(|_| {});
    let prefix = v2_prefix("greet");
    let mut requests = vec![
        ("only a version", b"\x01".to_vec()),
        ("no separator", b"\x01greet".to_vec()),
        ("an empty name", b"\x01|".to_vec()),
        ("a control character", b"\x01a\tb|".to_vec()),
        ("not UTF-8", b"\x01\xff\xff|".to_vec()),
        ("a name of 256 bytes", v2_prefix(&"a".repeat(256))),
        ("no record", prefix.clone()),
        ("a length of nothing", [&prefix[..], &[0; 4]].concat()),
        ("a length beyond the frame", [&prefix[..], &[0xff; 4], &[0; 100]].concat()),
        ("a record and half a length", [&whole[..], &[1, 2]].concat()),
        ("a record and an empty one", [&whole[..], &[0; 4]].concat()),
        ("zeros", [&prefix[..], &58_u32.to_le_bytes(), &[0; 58]].concat()),
        ("ones", [&prefix[..], &58_u32.to_le_bytes(), &[0xff; 58]].concat()),
        ("shorter than its fields", [&prefix[..], &57_u32.to_le_bytes(), &[0; 57]].concat()),
        ("an unknown flag", changed(|a| a[FIELDS + 48] = 4)),
        ("an unknown encoding", changed(|a| a[FIELDS + 49] = 9)),
        ("the server's own encoding", changed(|a| a[FIELDS + 49] = Encoding::Pickle as u8)),
        ("a payload elsewhere", changed(|a| a[FIELDS + 50] ^= 1)),
        ("a payload far away", changed(|a| a[FIELDS + 53] = 0x7f)),
        ("a payload that is longer", changed(|a| a[FIELDS + 54] += 1)),
        ("a payload that is shorter", changed(|a| a[FIELDS + 54] -= 1)),
        ("bytes before the payload", changed(|a| a.insert(0, 0))),
        ("no publisher", changed(|a| a[FIELDS..FIELDS + 8].fill(0))),
        ("an id of the original kind", changed(|a| a[FIELDS + 7] |= 0x80)),
        ("no sequence", changed(|a| a[FIELDS + 8..FIELDS + 16].fill(0))),
    ];
    let body = &whole[prefix.len()..];
    requests.push(("the same number twice", [&whole[..], body].concat()));
    let gap = changed(|a| a[FIELDS + 8] = 11);
    requests.push(("a gap in the numbers", [&whole[..], &gap[prefix.len()..]].concat()));
    let other = changed(|a| {
        a[FIELDS] ^= 1;
        a[FIELDS + 8] = 10;
    });
    requests.push(("two publishers", [&whole[..], &other[prefix.len()..]].concat()));
    for len in 1..whole.len() {
        requests.push(("a beginning", whole[..len].to_vec()));
    }
    check_v2(ErrorCode::Malformed, &requests);
}

#[test]
fn native_checksums_that_do_not_match() {
    check_v2(
        ErrorCode::ChecksumMismatch,
        &[
            ("another payload", changed(|a| a[0] = b'H')),
            ("another time", changed(|a| a[FIELDS + 24] ^= 1)),
            ("another checksum", changed(|a| a[FIELDS + 32] ^= 1)),
        ],
    );
}

#[test]
fn one_bad_record_refuses_its_whole_frame() {
    let server = Server::start::<&str>(&[]);
    let mut publisher = Native::connect(&server);
    let mut subscriber = NativeSubscriber::new(&server, "greet");
    let mut frame = publisher.frame_of("greet", &[b"one", b"two"], true);
    let last = frame.len() - 1;
    frame[last] ^= 1;
    assert_refused(&publisher.request(&frame), ErrorCode::Malformed);
    // Its numbers were not used up: the same frame without the damage is new.
    frame[last] ^= 1;
    assert_ok(&publisher.request(&frame));
    assert_eq!(subscriber.next().payload, b"one");
    assert_eq!(subscriber.next().payload, b"two");
}

#[test]
fn refusals_are_logged_but_not_one_line_each() {
    let server = Server::start::<&str>(&[]);
    let requester = Native::connect(&server);
    let start = Instant::now();
    for _ in 0..3000 {
        requester.send(b"no frame");
    }
    for _ in 0..3000 {
        assert_eq!(requester.reply(), b"");
    }
    let seconds = start.elapsed().as_secs() as usize;
    let log = server.terminate();
    let lines = log.lines().filter(|line| line.contains("rejected a request")).count();
    assert!((1..=seconds + 2).contains(&lines), "{lines} lines in {seconds} s:\n{log}");
}

#[test]
fn an_original_client_sees_an_empty_frame_and_goes_on() {
    let server = Server::start::<&str>(&[]);
    let mut client = Python::connect(&server);
    assert_eq!(client.request(b"greet|no pickle"), Some(vec![Vec::new()]));
    client.publish("greet", "'hello'", 1, 2).ok();
}
