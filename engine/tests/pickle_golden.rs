//! The pickles that real Pythons wrote (`tests/golden/make_v1.py`) are read as what they are.

mod json;

use std::path::PathBuf;

use mezzenger::wire::pickle::{
    PickleError, Value, checksum_matches, dict_value, payload_value, scan,
};
use serde_json::{Value as Json, json};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/v1").join(name)
}

/// Each entry of a manifest with each of its pickles.
fn goldens(python: &str) -> Vec<(Json, Vec<u8>)> {
    let manifest = std::fs::read(golden(&format!("{python}.json"))).unwrap();
    let entries: Vec<Json> = serde_json::from_slice(&manifest).unwrap();
    let mut goldens = Vec::new();
    for entry in entries {
        for stored in entry["pickles"].as_array().unwrap() {
            let pickle = match stored.as_str() {
                Some(file) => std::fs::read(golden(file)).unwrap(),
                None => {
                    let run = vec![
                        stored[1].as_u64().unwrap() as u8;
                        stored[2].as_u64().unwrap() as usize
                    ];
                    let part = |index: usize| json::unhex(stored[index].as_str().unwrap());
                    [part(0), run, part(3)].concat()
                }
            };
            goldens.push((entry.clone(), pickle));
        }
    }
    goldens
}

/// An object of a class, whichever way the protocol has it made.
fn instance(value: &Value) -> Json {
    let Value::Object(object) = value else { return json!(null) };
    let class = match (&object.class, object.args.as_slice()) {
        (Value::Global { path }, [class, ..]) if path.ends_with("._reconstructor") => class,
        (class, _) => class,
    };
    let Value::Global { path } = class else { return json!(null) };
    let state: Vec<Json> = object.state.iter().map(|state| json::value(state, &instance)).collect();
    json!({ "object": { "path": path, "state": state } })
}

fn check(python: &str, pickles: usize) {
    let goldens = goldens(python);
    assert_eq!(goldens.len(), pickles);
    for (entry, pickle) in goldens {
        let case = &entry["case"];
        let fields = scan(&pickle).unwrap_or_else(|error| panic!("{case}: {error}"));
        let mut read = json::fields(&fields);
        let value = match payload_value(&pickle) {
            Ok(Value::Text(text)) if text.len() > 10_000 => json!({ "length": text.len() }),
            Ok(value) => json::value(&value, &instance),
            Err(PickleError::Recursive) => json!({ "error": "recursive" }),
            Err(error) => panic!("{case}: {error}"),
        };
        if value["length"].is_number() {
            read["payload"] = value.clone();
        }
        assert_eq!(read, entry["fields"], "{case}");
        assert_eq!(value, entry["value"], "{case}");
        assert_eq!(json!(checksum_matches(&fields)), entry["verified"], "{case}");
    }
}

#[test]
fn pickles_of_python_3_are_read() {
    check("python3", 26 * 6);
}

#[test]
fn pickles_of_python_2_are_read() {
    check("python2", 26 * 3);
}

#[test]
fn damaged_pickles_never_panic() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut accepted = 0;
    for (_, mut pickle) in [goldens("python2"), goldens("python3")].concat() {
        if pickle.len() > 2000 {
            continue;
        }
        for end in 0..pickle.len() {
            assert!(scan(&pickle[..end]).is_err(), "a pickle cut short");
        }
        for _ in 0..200 {
            let at = random.usize(..pickle.len());
            let old = std::mem::replace(&mut pickle[at], random.u8(..));
            accepted += usize::from(scan(&pickle).is_ok());
            let _ = dict_value(&pickle);
            if random.bool() {
                pickle[at] = old;
            }
        }
    }
    assert!(accepted > 0);
}
