//! The check of `wire::pickle`.

use mezzenger::Value;
use mezzenger::wire::checksum;
use mezzenger::wire::pickle::{
    Key, Payload, PickleError, Plain, V1Fields, checksum_matches, dict_value, payload_value, scan,
    write,
};

/// Reads any bytes as the dict of a v1 message, for the broker (five fields) and for the client (a tree).
/// Both read the same or refuse it for the same reason; and what is written from these bytes is read back.
///
/// # Panics
/// When the two readers, or the writer and a reader, differ.
pub fn pickle(data: &[u8]) {
    let (fields, payload, dict) = (scan(data), payload_value(data), dict_value(data));
    let found = [
        fields.as_ref().err().copied().filter(is_structural),
        payload.as_ref().err().copied().filter(is_structural),
        dict.as_ref().err().copied().filter(is_structural),
    ];
    assert!(found.iter().all(|error| *error == found[0]), "{found:?}");
    if let Ok(dict) = &dict {
        compare_payload(dict, payload.as_ref().map_err(|error| *error));
    }
    if let Ok(fields) = &fields {
        let _ = checksum_matches(fields);
        assert!(fields.timestamp.is_finite() && fields.timestamp >= 0.0);
        if let Ok(payload) = &payload {
            assert_scalar(&fields.payload, payload);
        }
        if let Ok(dict) = &dict {
            compare_fields(fields, dict);
        }
    }
    written(data);
}

/// Whether an error is of the pickle as such, whoever reads it and whatever it holds.
fn is_structural(error: &PickleError) -> bool {
    !matches!(
        error,
        PickleError::ObjectKey
            | PickleError::MissingKey { .. }
            | PickleError::WrongType { .. }
            | PickleError::BadChecksum
            | PickleError::BadTimestamp
            // A tree unfolds what the scan only counts.
            | PickleError::TooDeep
            | PickleError::TooManyNodes
            | PickleError::TooManyBytes
            | PickleError::Recursive
            | PickleError::LoneSurrogate
            | PickleError::IntegerTooLong
            | PickleError::Foreign
    )
}

/// Equal, and NaN is equal to NaN.
fn same(a: &Value, b: &Value) -> bool {
    a == b || format!("{a:?}") == format!("{b:?}")
}

fn compare_payload(dict: &Value, payload: Result<&Value, PickleError>) {
    let Value::Dict(pairs) = dict else { panic!("a message that is no dict: {dict:?}") };
    match payload {
        Ok(payload) => assert!(dict.get("payload").is_some_and(|found| same(found, payload))),
        Err(PickleError::MissingKey { key: Key::Payload }) => {
            assert!(dict.get("payload").is_none());
        }
        Err(PickleError::ObjectKey) => {
            let is_object = |key: &Value| matches!(key, Value::Object(_) | Value::Global { .. });
            assert!(pairs.iter().any(|(key, _)| is_object(key)));
        }
        Err(error) => panic!("the dict is read and its payload is not: {error}"),
    }
}

fn compare_fields(fields: &V1Fields<'_>, dict: &Value) {
    let get = |key: Key| dict.get(key.as_str()).unwrap_or(&Value::None);
    assert_eq!(get(Key::Name).as_text(), Some(&*fields.name));
    let hex = get(Key::Checksum).as_text().unwrap_or_default();
    assert_eq!(checksum::from_hex(hex.as_bytes()), Some(fields.checksum));
    assert_eq!(get(Key::Timestamp), &Value::Float(fields.timestamp));
    let ack = match get(Key::Ack) {
        Value::Int(ack) => *ack > 0,
        Value::Bool(ack) => *ack,
        Value::BigInt(digits) => !digits.starts_with('-'),
        other => panic!("an ack that is {other:?}"),
    };
    assert_eq!(fields.ack, ack);
}

fn assert_scalar(scanned: &Payload<'_>, payload: &Value) {
    let scanned = match scanned {
        Payload::Text(text) => Value::Text(text.to_string()),
        Payload::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
        Payload::Int(value) => Value::Int(*value),
        Payload::BigInt(digits) => Value::BigInt(digits.clone()),
        Payload::Float(value) => Value::Float(*value),
        Payload::Bool(value) => Value::Bool(*value),
        Payload::None => Value::None,
        _ => {
            let is_scalar = matches!(
                payload,
                Value::None
                    | Value::Bool(_)
                    | Value::Int(_)
                    | Value::BigInt(_)
                    | Value::Float(_)
                    | Value::Bytes(_)
                    | Value::Text(_)
            );
            return assert!(!is_scalar, "the scan passed over {payload:?}");
        }
    };
    assert!(same(&scanned, payload), "{scanned:?} {payload:?}");
}

/// Writes a message made of these bytes, and reads it.
fn written(data: &[u8]) {
    let Some((head, payload)) = data.split_first_chunk::<10>() else { return };
    let timestamp_ns = head.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let (name, payload) = payload.split_at(payload.len().min(head[8].into()));
    let (name, ack) = (String::from_utf8_lossy(name), head[9] & 1 == 1);
    let check = |plain: Plain<'_>, expected: Payload<'_>| {
        let (pickle, checksum) = write(&name, plain, ack, timestamp_ns);
        let fields = scan(&pickle).expect("what was written is read");
        assert_eq!((&fields.name, fields.ack, fields.checksum), (&name, ack, checksum));
        assert_eq!(fields.payload, expected);
        assert_eq!(checksum_matches(&fields), Some(true));
    };
    check(Plain::Bytes(payload), Payload::Bytes(payload.into()));
    if let Ok(text) = std::str::from_utf8(payload) {
        check(Plain::Text(text), Payload::Text(text.into()));
    }
}
