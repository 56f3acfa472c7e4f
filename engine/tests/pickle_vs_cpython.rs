//! What is read from random and from damaged pickles is what CPython reads; what is written loads
//! there. Needs a `python3` of 3.8 or newer; checks what is written with `python2.7` too, where there
//! is one.

mod json;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mezzenger::wire::pickle::{PickleError, Plain, Value, payload_value, scan, write};
use serde_json::{Value as Json, json};

/// Runs the script with some input and returns what it printed, or `None` if there is no such Python.
fn script(python: &str, args: &[&str], input: Vec<u8>) -> Option<(bool, String)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/random_v1.py");
    // A version manager's stand-in is on the PATH even for a Python that is not installed.
    let version = Command::new(python).arg("--version").stderr(Stdio::null()).output();
    if !version.is_ok_and(|version| version.status.success()) {
        return None;
    }
    let mut child = Command::new(python)
        .env("PYTHONHASHSEED", "0")
        .arg("-B")
        .arg(path)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().ok();
    Some((output.status.success(), String::from_utf8(output.stdout).unwrap()))
}

fn python3(args: &[&str], input: Vec<u8>) -> (bool, String) {
    script("python3", args, input).expect("this test needs a python3 on the PATH")
}

fn lines(objects: &[Json]) -> Vec<u8> {
    objects.iter().flat_map(|object| format!("{object}\n").into_bytes()).collect()
}

fn opaque(_: &Value) -> Json {
    json!({ "object": true })
}

fn check(seed: u64, count: usize) {
    let args = ["make", "--seed", &seed.to_string(), "--count", &count.to_string()];
    let (_, made) = python3(&args, Vec::new());
    let (mut whole, mut accepted) = (0, Vec::new());
    for line in made.lines() {
        let made: Json = serde_json::from_str(line).unwrap();
        let pickle = json::unhex(made["pickle"].as_str().unwrap());
        let read = scan(&pickle).map(|fields| json::fields(&fields));
        if made["fields"].is_object() {
            whole += 1;
            assert_eq!(read.as_ref(), Ok(&made["fields"]), "{made}");
            match payload_value(&pickle) {
                Ok(value) => assert_eq!(json::value(&value, &opaque), made["value"], "{made}"),
                Err(error) => assert_eq!(error, PickleError::TooManyNodes, "{made}"),
            }
        }
        let _ = payload_value(&pickle);
        if let Ok(read) = read {
            accepted.push(json!({ "pickle": made["pickle"], "fields": read }));
        }
    }
    assert_eq!(whole, count);
    assert!(accepted.len() > count + count / 2, "mutations that are accepted: {}", accepted.len());
    println!("{} of {} were accepted", accepted.len(), 11 * count);
    let (agrees, differences) = python3(&["judge"], lines(&accepted));
    assert!(agrees, "{differences}");
}

#[test]
fn what_is_read_is_what_cpython_reads() {
    let seed = std::env::var("PICKLE_SEED").map_or(1, |seed| seed.parse().unwrap());
    let count = std::env::var("PICKLE_COUNT").map_or(500, |count| count.parse().unwrap());
    check(seed, count);
}

/// What a fuzzer made up lies far from what any pickler writes.
#[test]
fn what_a_fuzzer_found_is_read_as_cpython_reads_it() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/pickle");
    let corpus = std::env::var_os("PICKLE_CORPUS").unwrap_or(corpus.into());
    let mut accepted = Vec::new();
    for entry in std::fs::read_dir(corpus).unwrap() {
        let pickle = std::fs::read(entry.unwrap().path()).unwrap();
        if let Ok(fields) = scan(&pickle) {
            let fields = json::fields(&fields);
            accepted.push(json!({ "pickle": json::hex(&pickle), "fields": fields }));
        }
    }
    assert!(!accepted.is_empty());
    println!("{} were accepted", accepted.len());
    let (agrees, differences) = python3(&["judge"], lines(&accepted));
    assert!(agrees, "{differences}");
}

#[test]
fn what_is_written_loads_in_both_pythons() {
    let long = "long ".repeat(100);
    let every_byte: Vec<u8> = (0..=255).collect();
    let mut written = Vec::new();
    for name in ["greet", "grüße", &long[..255]] {
        for payload in [
            Plain::Text(""),
            Plain::Text("hello"),
            Plain::Text(&long),
            Plain::Text("it's \"€\" 😀 \n\0\\"),
            Plain::Bytes(b""),
            Plain::Bytes(&every_byte),
        ] {
            for timestamp_ns in [0, 1_763_866_000_129_999_999, 1_763_866_001_000_000_000, u64::MAX]
            {
                let (pickle, _) = write(name, payload, timestamp_ns % 2 == 0, timestamp_ns);
                let fields = json::fields(&scan(&pickle).unwrap());
                written.push(json!({ "pickle": json::hex(&pickle), "fields": fields }));
            }
        }
    }
    let (loads, differences) = python3(&["load"], lines(&written));
    assert!(loads, "{differences}");
    if let Some((loads, differences)) = script("python2.7", &["load"], lines(&written)) {
        assert!(loads, "{differences}");
    }
}
