//! Messages as people and programs read them.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mezzenger::wire::checksum;
use mezzenger::wire::pickle::{self, Value};
use mezzenger::{Encoding, Message};
use serde_json::{Map, json};

/// Prints a line and sees it off.
pub(crate) fn line(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text)?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// The payload: text as it is, bytes with escapes, a v1 value as its text or as JSON.
pub(crate) fn text(message: &Message) -> Cow<'_, [u8]> {
    payload_text(message.encoding(), message.payload())
}

/// The whole message.
pub(crate) fn json(message: &Message) -> serde_json::Value {
    json!({
        "name": message.name(),
        "payload": payload_json(message.encoding(), message.payload()),
        "encoding": encoding(message.encoding()),
        "ack": message.ack(),
        "timestamp": humantime::format_rfc3339_nanos(message.timestamp()).to_string(),
        "checksum": checksum::to_hex(message.checksum()),
        "id": message.id().to_string(),
    })
}

fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Bytes => "bytes",
        Encoding::Text => "text",
        Encoding::Archive => "archive",
        Encoding::Pickle => "pickle",
    }
}

fn payload_text(encoding: Encoding, payload: &[u8]) -> Cow<'_, [u8]> {
    match encoding {
        Encoding::Text => Cow::Borrowed(payload),
        Encoding::Bytes | Encoding::Archive => Cow::Owned(escaped(payload)),
        Encoding::Pickle => Cow::Owned(match pickle::payload_value(payload) {
            Ok(Value::Text(text)) => text.into_bytes(),
            Ok(Value::Bytes(bytes)) => escaped(&bytes),
            Ok(value) => value_json(&value).to_string().into_bytes(),
            Err(_) => escaped(payload),
        }),
    }
}

fn payload_json(encoding: Encoding, payload: &[u8]) -> serde_json::Value {
    match encoding {
        Encoding::Text => match std::str::from_utf8(payload) {
            Ok(text) => text.into(),
            Err(error) => unreadable(payload, &error.to_string()),
        },
        Encoding::Bytes | Encoding::Archive => base64(payload).into(),
        Encoding::Pickle => match pickle::payload_value(payload) {
            Ok(value) => value_json(&value),
            Err(error) => unreadable(payload, &error.to_string()),
        },
    }
}

/// A payload that is not what it says: its bytes, and why.
fn unreadable(payload: &[u8], error: &str) -> serde_json::Value {
    json!({ "base64": base64(payload), "error": error })
}

fn escaped(bytes: &[u8]) -> Vec<u8> {
    bytes.escape_ascii().collect()
}

fn base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// A Python value. What JSON has no form for becomes an object with one key that says what it is.
fn value_json(value: &Value) -> serde_json::Value {
    let list = |values: &[Value]| values.iter().map(value_json).collect::<Vec<_>>();
    match value {
        Value::None => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        Value::BigInt(digits) => json!({ "int": digits }),
        Value::Float(value) if value.is_finite() => (*value).into(),
        Value::Float(value) => json!({ "float": value.to_string() }),
        Value::Bytes(bytes) => json!({ "bytes": base64(bytes) }),
        Value::Text(text) => text.as_str().into(),
        Value::List(values) | Value::Tuple(values) => list(values).into(),
        Value::Set(values) | Value::FrozenSet(values) => json!({ "set": list(values) }),
        Value::Dict(pairs) => dict_json(pairs),
        Value::Global { path } => json!({ "global": path }),
        Value::Object(object) => json!({ "object": {
            "class": value_json(&object.class),
            "args": list(&object.args),
            "kwargs": dict_json(&object.kwargs),
            "state": list(&object.state),
            "items": list(&object.items),
            "entries": dict_json(&object.entries),
        } }),
        // A kind of value that later releases know.
        other => json!({ "value": format!("{other:?}") }),
    }
}

/// An object if all keys are texts, else a list of pairs.
fn dict_json(pairs: &[(Value, Value)]) -> serde_json::Value {
    let object =
        pairs.iter().map(|(key, value)| Some((key.as_text()?.to_owned(), value_json(value))));
    match object.collect::<Option<Map<_, _>>>() {
        Some(object) => object.into(),
        None => {
            let pair = |(key, value): &(Value, Value)| json!([value_json(key), value_json(value)]);
            json!({ "dict": pairs.iter().map(pair).collect::<Vec<_>>() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expects a payload to be shown as this text and this JSON.
    #[track_caller]
    fn check(encoding: Encoding, payload: &[u8], text: &str, json: serde_json::Value) {
        assert_eq!(String::from_utf8_lossy(&payload_text(encoding, payload)), text);
        assert_eq!(payload_json(encoding, payload), json);
    }

    /// What an original client sends, with this pickled payload.
    fn pickled(payload: &[u8]) -> Vec<u8> {
        let mut pickle = b"\x80\x02}(X\x04\0\0\0nameX\x01\0\0\0aX\x07\0\0\0payload".to_vec();
        pickle.extend_from_slice(payload);
        pickle.extend_from_slice(b"u.");
        pickle
    }

    #[test]
    fn text_is_shown_as_it_is() {
        check(Encoding::Text, "grüße\n".as_bytes(), "grüße\n", json!("grüße\n"));
    }

    #[test]
    fn bytes_are_shown_without_loss() {
        check(Encoding::Bytes, b"a\\\n\xff", "a\\\\\\n\\xff", json!("YVwK/w=="));
        check(Encoding::Archive, b"\0", "\\x00", json!("AA=="));
        check(Encoding::Bytes, b"", "", json!(""));
    }

    #[test]
    fn a_pickle_is_shown_as_its_value() {
        check(Encoding::Pickle, &pickled(b"X\x02\0\0\0hi"), "hi", json!("hi"));
        check(Encoding::Pickle, &pickled(b"K\x07"), "7", json!(7));
        check(Encoding::Pickle, &pickled(b"]K\x07a"), "[7]", json!([7]));
        check(Encoding::Pickle, &pickled(b"N"), "null", json!(null));
        let object = json!({ "a": 1 });
        check(Encoding::Pickle, &pickled(b"}X\x01\0\0\0aK\x01s"), "{\"a\":1}", object);
        let pairs = json!({ "dict": [[1, 2]] });
        check(Encoding::Pickle, &pickled(b"}K\x01K\x02s"), "{\"dict\":[[1,2]]}", pairs);
    }

    #[test]
    fn an_unreadable_pickle_is_shown_as_its_bytes() {
        assert_eq!(payload_text(Encoding::Pickle, b"?\n").as_ref(), b"?\\n");
        let json = payload_json(Encoding::Pickle, b"?\n");
        assert_eq!(json["base64"], "Pwo=");
        assert!(json["error"].is_string());
    }
}
