//! Writes the first inputs of each corpus: the golden files of both formats, what the engine itself
//! writes, and a few that are nearly right.
//!
//! `cargo run -p mezzenger-fuzz-checks --example seeds`

mod said;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use mezzenger::MessageId;
use mezzenger::journal::record::RECORDS_OFFSET;
use mezzenger::journal::storage::memory::MemoryStorage;
use mezzenger::journal::{JobState, Journal, JournalOptions, LetterEnd, LiveSet, Op, open};
use mezzenger::message::{DeadLetter, DurableGroup, Format, Message, MessageKey};
use mezzenger::wire::checksum::native;
use mezzenger::wire::control::Backoff;
use mezzenger::wire::frame::{Frame, v1_prefix, v2_prefix};
use mezzenger::wire::letter::Cause;
use mezzenger::wire::pickle::{Plain, write};
use mezzenger::wire::record::{Encoding, Record};
use mezzenger::wire::reply::{ErrorCode, refusal, taken};
use mezzenger::wire::{ack, confirm, hello};
use said::{controls, said, with};

/// A golden file beyond this is left out: large inputs make a fuzzer slow.
const BYTES_MAX: u64 = 1024;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    from_golden_v1()?;
    from_golden_v2()?;
    small_frames()?;
    journals()?;
    connections()?;
    servers()?;
    sessions()?;
    Ok(())
}

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn seed(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let folder = fuzz().join("corpus").join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(name), bytes)
}

/// The small golden files of a version, by name.
fn golden(version: &str, ending: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(fuzz().join("../tests/golden").join(version))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(ending) && entry.metadata()?.len() <= BYTES_MAX {
            found.push((name, fs::read(entry.path())?));
        }
    }
    found.sort();
    Ok(found)
}

fn from_golden_v1() -> Outcome {
    // The oldest protocol, the original's, and the newest; those between have the same opcodes.
    for protocol in [".python2.0.pickle", ".python2.2.pickle", ".python3.5.pickle"] {
        for (name, pickle) in golden("v1", protocol)? {
            seed("pickle", &name, &pickle)?;
        }
    }
    let (dict, _) = write("greet", Plain::Text("hello"), true, 1_763_866_000_250_000_000);
    seed("frame", "v1", &[v1_prefix("greet"), dict.clone()].concat())?;
    seed("pickle", "written", &dict)?;
    seed("frame", "empty_name", b"|x")?;
    seed("frame", "control_character", "gr\u{85}et|".as_bytes())?;
    seed("frame", "newer_version", b"\x03greet|")?;
    seed("frame", "longest_name", &[&[b'n'; 255][..], b"|"].concat())?;
    seed("frame", "too_long_name", &[&[b'n'; 256][..], b"|"].concat())?;
    Ok(())
}

fn from_golden_v2() -> Outcome {
    for (name, frame) in golden("v2", ".bin")? {
        seed("frame", &name, &frame)?;
        if let Ok(Frame::V2 { name: of, body }) = Frame::parse(&frame) {
            seed(if of == "ack" { "small_frames" } else { "record" }, &name, body)?;
        }
    }
    Ok(())
}

fn small_frames() -> Outcome {
    seed("small_frames", "ok", b"OK")?;
    seed("small_frames", "ok_connections", &taken(3, 2))?;
    seed("small_frames", "refusal", &refusal(ErrorCode::PendingFull, "too many"))?;
    seed("small_frames", "unknown_code", b"\x01\xff\xffnew")?;
    seed("small_frames", "topic", &confirm::topic(7))?;
    let ids = [1, 2].map(|sequence| MessageId { publisher: 1, sequence });
    seed("small_frames", "two_ids", &ack::frame(&ids)[5..])?;
    seed("small_frames", "half_an_id", &ack::frame(&ids)[5..29])?;
    Ok(())
}

/// Says that every message is needed.
struct All;

impl LiveSet for All {
    fn is_live(&self, _: &MessageId) -> bool {
        true
    }
}

fn message(n: u64) -> Message {
    let id = match n % 3 {
        0 => MessageId::from_v1_checksum([n as u8; 16]),
        publisher => MessageId { publisher, sequence: n },
    };
    let format = if id.is_v1() { Format::V1 } else { Format::V2 };
    let body = Bytes::from(vec![n as u8; 5 * n as usize]);
    Message { id, name: format!("name/{}", n % 2).into(), format, body }
}

/// What a file holds behind its header.
fn records(storage: &MemoryStorage, path: &Path) -> Vec<u8> {
    let file = storage.read(path).unwrap_or_default();
    file.get(RECORDS_OFFSET as usize..).unwrap_or_default().to_vec()
}

fn submit(journal: &Journal, ops: Vec<Op>) -> Outcome {
    let ticket = journal.submit(ops)?;
    while journal.durable() < ticket && journal.failure().is_none() {
        std::thread::yield_now();
    }
    Ok(())
}

fn journals() -> Outcome {
    let path = Path::new("/journal");
    let storage = MemoryStorage::new();
    let (_, opened) = open(JournalOptions::new(path), Arc::new(storage.clone()))?;
    let journal = opened.start(Arc::new(All), Box::new(|_| {}))?;
    for n in 0..4 {
        submit(&journal, vec![Op::Append(message(2 * n)), Op::Append(message(2 * n + 1))])?;
        submit(&journal, vec![Op::Settle(message(n).id)])?;
    }
    let letter = |n, group: &str, is_done| {
        let cause = if n % 2 == 0 { Cause::Rejected("why".into()) } else { Cause::UsedUp };
        let (group, filter) = (group.into(), "name/".into());
        let id = message(n).id;
        let (filter_kind, attempts, died_ns) = (1, 3, 1_763_866_000_250_000_000);
        DeadLetter { id, group, filter_kind, filter, cause, attempts, died_ns, is_done }
    };
    let end = |n, group: &str, end| Op::EndLetter { id: message(n).id, group: group.into(), end };
    submit(&journal, vec![Op::Letter(letter(4, "a", false)), Op::Letter(letter(4, "b", true))])?;
    submit(&journal, vec![Op::Letter(letter(5, "a", true)), Op::Letter(letter(6, "a", true))])?;
    submit(&journal, vec![end(4, "a", LetterEnd::Purged), end(5, "a", LetterEnd::Replayed)])?;
    submit(&journal, vec![end(6, "a", LetterEnd::Done)])?;
    let group = |number, name: &str| {
        let (name, filter) = (name.into(), "name/".into());
        let (filter_kind, ack_wait_ms, in_flight_max, attempts_max) = (1, 30_000, 0, 5);
        let backoff = Backoff::new(&[10, 1000]).unwrap_or(Backoff::NONE);
        Op::Group(DurableGroup {
            number,
            name,
            filter_kind,
            filter,
            ack_wait_ms,
            in_flight_max,
            attempts_max,
            backoff,
            keeps_expired: false,
        })
    };
    let jobs = |group, state, n: &[u64]| {
        let ids = n.iter().map(|n| message(*n).id).collect();
        Op::Jobs { group, state, ids }
    };
    submit(&journal, vec![group(1, "a"), Op::Append(message(8)), group(2, "b")])?;
    submit(&journal, vec![Op::Append(message(9)), jobs(1, JobState::Done, &[8, 9])])?;
    submit(&journal, vec![jobs(2, JobState::Open, &[8]), Op::EndGroup(1), group(3, "a")])?;
    let retain = |n, replaces| Op::Retain { message: message(n), replaces };
    let key = |key: &str, at_ms| {
        let (name, key) = ("name/0".into(), key.into());
        Op::Key(MessageKey { name, key, at_ms, until_ms: at_ms + 100 })
    };
    submit(&journal, vec![retain(1, false), retain(2, false), retain(4, true), key("k", 5)])?;
    submit(&journal, vec![Op::Unretain("name/1".into()), key("l", 50), key("k", 120)])?;
    let crashed = records(&storage, path);
    journal.close()?;
    let closed = records(&storage, path);
    let file = storage.read(path).unwrap_or_default();

    // A record that lies in the middle of what was synced, and one at the torn end.
    let spoilt = |mut records: Vec<u8>, header: usize, how: u8| {
        records[header + 7] = how;
        records
    };
    let cut = &crashed[..crashed.len() - 10];
    for (name, choice, records) in [
        ("empty", 0, &[][..]),
        ("crashed", 0, &crashed),
        ("closed", 0, &closed),
        ("cut", 0, cut),
        ("bad_header", 0, &spoilt(closed.clone(), 32, 1)),
        ("bad_body", 0, &spoilt(closed.clone(), 32, 2)),
        ("larger_than_the_window", 8, &spoilt(closed.clone(), 32, 1 << 2)),
        ("first_header_damaged", 1, &closed),
        ("second_header_damaged", 2, &closed),
        ("both_headers_damaged", 3, &closed),
        ("newer", 4, &closed),
        ("version_1", 16, &closed),
    ] {
        seed("journal", name, &[&[choice], records].concat())?;
    }
    seed("journal", "as_it_is", &[&[128], &file[..]].concat())?;
    seed("journal", "as_it_is_cut_in_the_header", &[&[128], &file[..100]].concat())?;
    seed("journal", "as_it_is_something_else", b"\x80some text")?;
    Ok(())
}

fn connections() -> Outcome {
    let mut greeting = [0; 64];
    greeting[..16].copy_from_slice(b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL");
    let raw = |ready: &[u8]| [&[0, 9], &greeting[..], &[4, ready.len() as u8], ready].concat();
    seed("connection", "router", &raw(b"\x05READY\x0bSocket-Type\0\0\0\x06ROUTER"))?;
    seed(
        "connection",
        "two_properties",
        &raw(b"\x05READY\x08Identity\0\0\0\0\x0bSocket-Type\0\0\0\x06ROUTER"),
    )?;
    seed("connection", "swapped", &raw(b"\x05READY\x0bSocket-Type\0\0\0\x04XPUB"))?;
    seed("connection", "refused", &raw(b"\x05ERROR\x09Not today"))?;
    seed("connection", "not_zmtp", b"\0\0HTTP/1.1 400 Bad Request\r\n")?;
    seed("connection", "reply", b"\x02\0\x01\x08idididid\x01\0\0\x02OK")?;
    seed("connection", "five_parts", b"\x03\x01\x01\x01a\x01\x01b\x01\x01c\x01\x01d\0\x01e")?;
    seed("connection", "ping", b"\x03\x05\x04\x0a\x04PING\0\0abc\0\x02ok")?;
    let long = [&[2, 0, 0, 0, 0, 0, 0, 1, 44][..], &[7; 300], &[0, 2], b"ok"].concat();
    seed("connection", "long", &[&[3, 3], &long[..]].concat())?;
    seed("connection", "too_large", b"\x03\0\0\x02ok\x02\0\0\0\0\0\x10\0\0")?;
    seed("connection", "no_such_flags", b"\x03\x01\0\x02ok\x09\0")?;
    seed("connection", "cut_off", b"\x03\x01\0\x02ok\0\x09half")?;
    Ok(())
}

const TURN: &[u8] = &[0, 0, 0];

fn step(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind][..], &(bytes.len() as u16).to_le_bytes(), bytes].concat()
}

fn subscribe(topic: &[u8]) -> Vec<u8> {
    step(1, topic)
}

fn request(body: &[u8]) -> Vec<u8> {
    step(4, body)
}

fn servers() -> Outcome {
    let (dict, checksum) = write("greet", Plain::Text("hello"), true, 1_763_866_000_250_000_000);
    let v1 = [v1_prefix("greet"), dict].concat();
    let payload = Plain::Text(&mezzenger::wire::checksum::to_hex(checksum));
    let v1_ack = [v1_prefix("ack"), write("ack", payload, false, 0).0].concat();
    let v2 = |sequence, ack| {
        let (name, payload, timestamp_ns) = ("greet", &b"hello"[..], 1_763_866_000_000_000_000);
        let record = Record {
            id: MessageId { publisher: 7, sequence },
            ordinal: sequence,
            timestamp_ns,
            checksum: native(name, payload, timestamp_ns),
            ack,
            has_properties: false,
            encoding: Encoding::Text,
            payload,
        };
        let mut frame = v2_prefix(name);
        record.append_to(&mut frame).map(|()| frame)
    };
    let (first, second) = (v2(1, true)?, v2(2, true)?);
    let both = [&first[..], &second[v2_prefix("greet").len()..]].concat();
    let v2_ack = ack::frame(&[MessageId { publisher: 7, sequence: 1 }]);
    let everything = subscribe(b"");
    let turn = TURN.to_vec();
    for (name, choice, steps) in [
        ("v1_and_v2", 1, vec![&everything, &request(&v1), &request(&first), &turn]),
        ("unheard", 1, vec![&request(&v1), &request(&first), &turn, &everything]),
        (
            "acknowledged",
            3,
            vec![&request(&v1), &request(&first), &turn, &request(&v1_ack), &request(&v2_ack)],
        ),
        (
            "sent_again",
            3,
            vec![
                &request(&first),
                &turn,
                &request(&both),
                &request(&first),
                &request(&v1),
                &request(&v1),
            ],
        ),
        (
            "not_kept",
            0,
            vec![
                &everything,
                &request(&v2(1, false)?),
                &step(2, b""),
                &turn,
                &request(&v2(2, false)?),
            ],
        ),
        (
            "confirmed",
            0,
            vec![&subscribe(b"greet|"), &subscribe(&confirm::topic(7)), &turn, &request(b"ping|")],
        ),
        (
            "no_requests",
            0,
            vec![&step(3, b"\xff\xff"), &step(3, b""), &step(3, b"a\xffb\xff\xff\x01ping|"), &turn],
        ),
        (
            "refused",
            2,
            vec![
                &request(b""),
                &request(b"\x07x|"),
                &request(b"greet|x"),
                &request(b"\x01greet|"),
                &turn,
            ],
        ),
    ] {
        let script = steps.into_iter().map(|step| &step[..]).collect::<Vec<_>>().concat();
        seed("server", name, &[&[choice][..], &script].concat())?;
    }
    let mut published = Vec::new();
    for (sequence, (name, properties)) in (10..).zip(said()) {
        let frame = with(sequence, true, &properties)?;
        seed("record", name, &frame[v2_prefix("greet").len()..])?;
        published.extend(request(&frame));
    }
    seed("server", "with_properties", &[&[3], &everything[..], &published, TURN].concat())?;
    for (name, requests) in controls() {
        let mut script = request(&hello::request(b"a seed's secret!"));
        for body in requests {
            script.extend([&request(&body)[..], &published, TURN].concat());
        }
        seed("server", name, &[&[3], &script[..]].concat())?;
    }
    Ok(())
}

/// A frame with this first byte: 0 for a message, 1 for a part of one, 4 for a command.
fn zmtp(flags: u8, body: &[u8]) -> Vec<u8> {
    match u8::try_from(body.len()) {
        Ok(length) => [&[flags, length], body].concat(),
        Err(_) => [&[flags | 2][..], &(body.len() as u64).to_be_bytes(), body].concat(),
    }
}

/// What a peer of this minor version of ZMTP 3 says first.
fn greeting_v3(minor: u8, mechanism: &[u8]) -> Vec<u8> {
    let mut greeting = vec![0; 64];
    greeting[0] = 0xff;
    greeting[9..12].copy_from_slice(&[0x7f, 3, minor]);
    greeting[12..12 + mechanism.len()].copy_from_slice(mechanism);
    greeting
}

fn ready(properties: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = b"\x05READY".to_vec();
    for (name, value) in properties {
        body.push(name.len() as u8);
        body.extend(name.as_bytes());
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(*value);
    }
    zmtp(4, &body)
}

/// What strangers say who begin with their greeting.
fn greetings() -> io::Result<()> {
    let v2 = |socket: u8| [b"\xff\0\0\0\0\0\0\0\x01\x7f\x01", &[socket, 0, 0][..]].concat();
    let subscribe = zmtp(0, b"\x01");
    let request = [zmtp(1, b""), zmtp(0, b"ping|")].concat();
    let talk = [&subscribe[..], &request].concat();
    let null = |minor| greeting_v3(minor, b"NULL");
    let socket = |name: &'static str| ready(&[("Socket-Type", name.as_bytes())]);
    for (name, parts) in [
        ("v1_0", vec![b"\x01\0\x06\x01\x01\0\x06ping|".to_vec()]),
        ("v2_0_dealer", vec![v2(5), request]),
        ("v2_0_sub", vec![v2(2), subscribe]),
        ("v2_0_no_socket", vec![v2(0xee)]),
        ("v3_0", vec![null(0), socket("DEALER"), talk.clone()]),
        ("v3_1", vec![null(1), socket("SUB"), talk.clone()]),
        ("v3_9", vec![null(9), socket("REQ"), talk.clone()]),
        ("curve", vec![greeting_v3(1, b"CURVE"), zmtp(4, &[0; 200])]),
        ("mechanism_not_padded", vec![greeting_v3(1, b"NULLNULLNULLNULLNULL")]),
        ("greeting_cut_off", vec![null(1)[..11].to_vec()]),
        (
            "ready_of_three",
            vec![
                null(1),
                ready(&[("Identity", b"me"), ("RESOURCE", b"x"), ("socket-type", b"ROUTER")]),
                talk.clone(),
            ],
        ),
        ("ready_empty", vec![null(1), ready(&[]), talk.clone()]),
        ("ready_wrong_socket", vec![null(1), socket("PULL"), talk.clone()]),
        ("ready_beyond_its_end", vec![null(1), zmtp(4, b"\x05READY\x01x\xff\xff\xff\xff")]),
        ("ready_too_long", vec![null(1), ready(&[("X", &[0; 5000])])]),
        ("ready_as_message", vec![null(1), zmtp(0, &socket("SUB")[2..]), talk.clone()]),
        ("ready_twice", vec![null(1), socket("SUB"), socket("SUB"), talk.clone()]),
        ("no_ready", vec![null(1), talk]),
        ("http", vec![b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()]),
        ("tls", vec![b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec()]),
        ("resp", vec![b"*1\r\n$4\r\nPING\r\n".to_vec()]),
    ] {
        // One byte to four at a time, read and gone at the end; all at once, and neither.
        seed("session", name, &[&[6, 1][..], &parts.concat()].concat())?;
        seed("session", &format!("{name}_at_once"), &[&[0, 0][..], &parts.concat()].concat())?;
    }
    Ok(())
}

fn sessions() -> Outcome {
    greetings()?;
    let huge = |flags: u8, bytes: u64| [&[flags][..], &bytes.to_be_bytes(), b"and a bit"].concat();
    let ping = |ttl: u16, context: &[u8]| {
        zmtp(4, &[b"\x04PING", &ttl.to_be_bytes()[..], context].concat())
    };
    let (dict, _) = write("good", Plain::Text("bad"), true, 1_763_866_000_250_000_000);
    let v1 = [v1_prefix("good"), dict].concat();
    for (name, stream) in [
        ("subscriptions", [zmtp(0, b"\x01"), zmtp(0, b"\x01a"), zmtp(0, b"\0a")].concat()),
        (
            "subscription_commands",
            [zmtp(4, b"\x09SUBSCRIBE"), zmtp(4, b"\x06CANCEL"), zmtp(4, b"\x06CANCELx")].concat(),
        ),
        ("subscription_too_long", zmtp(0, &[1; 2000])),
        ("subscription_of_parts", [zmtp(1, b"\x01a"), zmtp(1, b"b"), zmtp(0, b"c")].concat()),
        ("neither_subscription", zmtp(0, b"\x07what")),
        ("confirmation", zmtp(0, &[&[1], &confirm::topic(7)[..]].concat())),
        ("ping", [ping(0, b""), ping(30, b"0123456789abcdef"), ping(0xffff, b"x")].concat()),
        ("ping_too_long", ping(1, &[7; 17])),
        ("ping_too_short", zmtp(4, b"\x04PING\0")),
        ("pong", zmtp(4, b"\x04PONGabc")),
        ("unknown_command", [zmtp(4, b"\x05OTHER"), zmtp(4, b""), zmtp(4, b"\xffx")].concat()),
        ("error", zmtp(4, b"\x05ERROR\x03why")),
        ("command_of_parts", zmtp(5, b"\x04PING\0\0")),
        ("command_too_long", zmtp(4, &[&b"\x05OTHER"[..], &[0; 3000]].concat())),
        ("request", [zmtp(1, b""), zmtp(0, &v1)].concat()),
        ("request_of_req", [zmtp(1, b"id"), zmtp(1, b""), zmtp(0, b"ping|")].concat()),
        ("request_begun", [zmtp(1, b"id"), zmtp(1, b"")].concat()),
        ("request_of_many_parts", zmtp(1, b"x").repeat(100)),
        (
            "request_too_large",
            [zmtp(1, b""), zmtp(0, &[1; 5000]), zmtp(1, b""), zmtp(0, b"x")].concat(),
        ),
        ("one_gibibyte", [zmtp(1, b""), huge(2, 1 << 30)].concat()),
        ("largest_length", huge(2, u64::MAX)),
        ("larger_than_signed", huge(3, 1 << 63)),
        ("huge_command", huge(6, 1 << 40)),
        ("no_such_flags", b"\xf8\x02ab".to_vec()),
        ("hello", [zmtp(1, b""), zmtp(0, &mezzenger::wire::hello::request(&[7; 16]))].concat()),
    ] {
        seed("session", name, &[&[7, 2][..], &stream].concat())?;
        seed("session", &format!("{name}_at_once"), &[&[1, 0][..], &stream].concat())?;
    }
    Ok(())
}
