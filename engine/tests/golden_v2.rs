//! The native format against golden files that `tests/golden/make_v2.py` wrote from the document alone.

use std::path::PathBuf;

use mezzenger::wire::ack;
use mezzenger::wire::checksum::{self, native};
use mezzenger::wire::frame::{split_v2, v2_prefix};
use mezzenger::wire::record::Record;
use mezzenger::{Encoding, MessageId};
use serde_json::Value;

fn read(file: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/v2");
    std::fs::read(folder.join(file)).unwrap()
}

fn manifest() -> Value {
    serde_json::from_slice(&read("manifest.json")).unwrap()
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn expected<'a>(fields: &Value, payload: &'a [u8]) -> Record<'a> {
    let number = |key: &str| fields[key].as_u64().unwrap();
    Record {
        id: MessageId { publisher: number("publisher"), sequence: number("sequence") },
        ordinal: number("ordinal"),
        timestamp_ns: number("timestamp_ns"),
        checksum: checksum::from_hex(fields["checksum"].as_str().unwrap().as_bytes()).unwrap(),
        ack: fields["ack"].as_bool().unwrap(),
        has_properties: false,
        encoding: match fields["encoding"].as_str().unwrap() {
            "bytes" => Encoding::Bytes,
            "text" => Encoding::Text,
            "archive" => Encoding::Archive,
            "pickle" => Encoding::Pickle,
            other => panic!("{other}"),
        },
        payload,
    }
}

#[test]
fn every_golden_frame_is_read_and_written_to_the_byte() {
    let manifest = manifest();
    for (file, content) in manifest["frames"].as_object().unwrap() {
        let golden = read(&format!("{file}.bin"));
        let name = content["name"].as_str().unwrap();
        let (read_name, mut records) = split_v2(&golden).unwrap();
        assert_eq!(read_name, name, "{file}");
        let mut written = v2_prefix(name);
        for fields in content["records"].as_array().unwrap() {
            let payload = bytes(&fields["payload"]);
            let expected = expected(fields, &payload);
            let (_, record) = records.next().unwrap().unwrap();
            assert_eq!(record, expected, "{file}");
            assert_eq!(record.checksum, native(name, &payload, record.timestamp_ns), "{file}");
            record.append_to(&mut written).unwrap();
        }
        assert!(records.next().is_none(), "{file}");
        assert_eq!(written, golden, "{file}");
    }
}

#[test]
fn golden_acknowledgements_are_read_and_written_to_the_byte() {
    let manifest = manifest();
    for (file, ids) in manifest["acks"].as_object().unwrap() {
        let golden = read(&format!("{file}.bin"));
        let ids = ids.as_array().unwrap().iter();
        let ids: Vec<_> = ids
            .map(|id| MessageId {
                publisher: id[0].as_u64().unwrap(),
                sequence: id[1].as_u64().unwrap(),
            })
            .collect();
        assert_eq!(ack::frame(&ids), golden, "{file}");
        assert!(ack::ids(&golden[5..]).unwrap().eq(ids), "{file}");
    }
}
