//! Says in JSON what was read from a pickle, as `tests/golden/describe.py` says it of Python's values.

use mezzenger::wire::checksum::to_hex;
use mezzenger::wire::pickle::{Payload, V1Fields, Value};
use serde_json::{Value as Json, json};

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digits).collect()
}

fn float(number: f64) -> String {
    hex(&number.to_be_bytes())
}

pub(crate) fn fields(fields: &V1Fields<'_>) -> Json {
    let payload = match &fields.payload {
        Payload::Text(text) => json!({ "text": text }),
        Payload::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
        Payload::Int(int) => json!({ "int": int.to_string() }),
        Payload::BigInt(digits) => json!({ "int": digits }),
        Payload::Float(number) => json!({ "float": float(*number) }),
        Payload::Bool(value) => json!(value),
        Payload::None => Json::Null,
        _ => json!({ "other": true }),
    };
    json!({
        "name": fields.name,
        "payload": payload,
        "ack": fields.ack,
        "timestamp": float(fields.timestamp),
        "timestamp_ns": fields.timestamp_ns.to_string(),
        "checksum": to_hex(fields.checksum),
    })
}

/// The value, in which `object` says what stands for an object of a class.
pub(crate) fn value(of: &Value, object: &dyn Fn(&Value) -> Json) -> Json {
    let list = |values: &[Value]| -> Vec<Json> {
        values.iter().map(|inner| value(inner, object)).collect()
    };
    let sorted = |values: &[Value]| {
        let mut list = list(values);
        list.sort_by_key(python_json);
        list
    };
    match of {
        Value::None => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Int(int) => json!({ "int": int.to_string() }),
        Value::BigInt(digits) => json!({ "int": digits }),
        Value::Float(number) => json!({ "float": float(*number) }),
        Value::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
        Value::Text(text) => json!({ "text": text }),
        Value::List(values) => json!({ "list": list(values) }),
        Value::Tuple(values) => json!({ "tuple": list(values) }),
        Value::Set(values) => json!({ "set": sorted(values) }),
        Value::FrozenSet(values) => json!({ "frozenset": sorted(values) }),
        Value::Dict(pairs) => {
            let pair = |(k, v): &(Value, Value)| json!([value(k, object), value(v, object)]);
            json!({ "dict": pairs.iter().map(pair).collect::<Vec<_>>() })
        }
        other => object(other),
    }
}

/// JSON in ASCII with Python's spacing, to sort by as Python does.
fn python_json(json: &Json) -> String {
    let text: Vec<u16> = json.to_string().encode_utf16().collect();
    let escape = |unit: u16| match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    text.into_iter().map(escape).collect()
}
