//! Messages as people and programs read them.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use mezzenger::{Encoding, Message, PayloadError, Value, is_hidden};
use serde_json::{Map, json};

/// Prints a line and sees it off.
pub(crate) fn line(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text)?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// The payload: text as it is, bytes with escapes, a v1 value as its text or as JSON. On a terminal, hidden characters
/// are escaped. Texts and bytes are as they are if `raw`.
pub(crate) fn text(message: &Message, raw: bool) -> Cow<'_, [u8]> {
    let text = payload_text(message.encoding(), message.payload(), raw, || message.value());
    if raw || !io::stdout().is_terminal() { text } else { without_controls(&text).into() }
}

/// Prints a value as a line of JSON.
pub(crate) fn json_line(value: &serde_json::Value) -> io::Result<()> {
    line(json_text(value).as_bytes())
}

/// JSON without [hidden](is_hidden) characters: it may escape those above 0x7e, too, which it need not, and which do as they
/// say on a terminal. Outside of texts it has none.
pub(crate) fn json_text(value: &serde_json::Value) -> String {
    let text = value.to_string();
    if !text.contains(is_high_hidden) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if is_high_hidden(char) {
            for unit in char.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(char);
        }
    }
    out
}

fn is_high_hidden(char: char) -> bool {
    char > '~' && is_hidden(char)
}

/// A text of somebody else's within a line: [hidden](is_hidden) characters are escaped.
pub(crate) fn on_terminal(text: &str) -> String {
    let text = String::from_utf8_lossy(&without_controls(text.as_bytes())).into_owned();
    text.replace('\n', "\\n").replace('\t', "\\t")
}

/// A text whose [hidden](is_hidden) characters are escaped, but for tabs and line feeds; what is no UTF-8 is escaped, too.
fn without_controls(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '\t' | '\n' => out.push(char as u8),
                char if is_hidden(char) => {
                    out.extend(char.escape_unicode().to_string().as_bytes());
                }
                char => out.extend(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        out.extend(chunk.invalid().escape_ascii());
    }
    out
}

/// How a message came here.
#[derive(Clone, Copy, Default)]
pub(crate) struct Delivered {
    /// Whether it was sent before.
    pub(crate) again: bool,
    /// Whether it is the last one of its name, which came as such.
    pub(crate) retained: bool,
    /// How often its group got it; 0 outside of groups.
    pub(crate) attempt: u16,
}

/// The whole message.
pub(crate) fn json(message: &Message, delivered: Delivered) -> serde_json::Value {
    let Delivered { again, retained, attempt } = delivered;
    json!({
        "name": message.name(),
        "payload": payload_json(message.encoding(), message.payload(), || message.value()),
        "encoding": encoding(message.encoding()),
        "ack": message.requires_ack(),
        "timestamp": humantime::format_rfc3339_nanos(message.timestamp()).to_string(),
        "checksum": hex(&message.checksum()),
        "id": message.id().to_string(),
        "content_type": message.content_type(),
        "type": message.payload_type().map(|it| it.name),
        "headers": headers(message),
        "redelivered": again,
        "retained": retained,
        "attempt": attempt,
    })
}

/// A list of pairs, because a key may be repeated.
pub(crate) fn headers(message: &Message) -> serde_json::Value {
    message.headers().map(|(key, value)| json!([key, value])).collect()
}

/// How it is called.
pub(crate) fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Bytes => "bytes",
        Encoding::Text => "text",
        Encoding::Archive => "archive",
        Encoding::Pickle => "pickle",
    }
}

/// `value` reads a pickle.
fn payload_text(
    encoding: Encoding,
    payload: &[u8],
    raw: bool,
    value: impl FnOnce() -> Result<Value, PayloadError>,
) -> Cow<'_, [u8]> {
    match encoding {
        Encoding::Text => Cow::Borrowed(payload),
        Encoding::Bytes | Encoding::Archive if raw => Cow::Borrowed(payload),
        Encoding::Bytes | Encoding::Archive => Cow::Owned(escaped(payload)),
        Encoding::Pickle => Cow::Owned(match value() {
            Ok(Value::Text(text)) => text.into_bytes(),
            Ok(Value::Bytes(bytes)) if raw => bytes,
            Ok(Value::Bytes(bytes)) => escaped(&bytes),
            Ok(value) => json_text(&value_json(&value)).into_bytes(),
            Err(_) => escaped(payload),
        }),
    }
}

/// `value` reads a pickle.
fn payload_json(
    encoding: Encoding,
    payload: &[u8],
    value: impl FnOnce() -> Result<Value, PayloadError>,
) -> serde_json::Value {
    match encoding {
        Encoding::Text => match std::str::from_utf8(payload) {
            Ok(text) => text.into(),
            Err(error) => unreadable(payload, &error.to_string()),
        },
        Encoding::Bytes | Encoding::Archive => base64(payload).into(),
        Encoding::Pickle => match value() {
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

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

/// `1 message`, `2 messages`: a number, and its unit, whose plural ends in s.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_pickle() -> Result<Value, PayloadError> {
        Err(PayloadError::NotAPickle { encoding: Encoding::Bytes })
    }

    /// Expects a payload to be shown as this text and this JSON.
    #[track_caller]
    fn check(encoding: Encoding, payload: &[u8], text: &str, json: serde_json::Value) {
        assert_eq!(
            String::from_utf8_lossy(&payload_text(encoding, payload, false, no_pickle)),
            text
        );
        assert_eq!(payload_json(encoding, payload, no_pickle), json);
    }

    /// The same of a value that an original client pickled.
    #[track_caller]
    fn check_value(value: &Value, text: &str, json: serde_json::Value) {
        let read = || Ok(value.clone());
        assert_eq!(
            String::from_utf8_lossy(&payload_text(Encoding::Pickle, b"", false, read)),
            text
        );
        assert_eq!(payload_json(Encoding::Pickle, b"", read), json);
    }

    #[test]
    fn control_characters_do_nothing_to_a_terminal() {
        let shown = on_terminal("grüße\n\u{1b}[2J\u{9b}1m\u{7f}");
        assert_eq!(shown, "grüße\\n\\u{1b}[2J\\u{9b}1m\\u{7f}");
        assert_eq!(without_controls(b"a\xffb\n"), b"a\\xffb\n");
    }

    #[test]
    fn nothing_turns_a_line_around_or_hides_in_it() {
        let text = "a\u{202e}b\u{200b}c\u{2028}d\u{feff}e\u{e0041} e\u{301}";
        let shown = "a\\u{202e}b\\u{200b}c\\u{2028}d\\u{feff}e\\u{e0041} e\u{301}";
        assert_eq!(on_terminal(text), shown);
        let json = json_text(&json!(text));
        assert!(!json.contains(is_hidden), "{json}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), json!(text));
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
        let text = |text: &str| Value::Text(text.to_owned());
        check_value(&text("hi"), "hi", json!("hi"));
        check_value(&Value::Int(7), "7", json!(7));
        check_value(&Value::List(vec![Value::Int(7)]), "[7]", json!([7]));
        check_value(&Value::None, "null", json!(null));
        let object = Value::Dict(vec![(text("a"), Value::Int(1))]);
        check_value(&object, "{\"a\":1}", json!({ "a": 1 }));
        let pairs = Value::Dict(vec![(Value::Int(1), Value::Int(2))]);
        check_value(&pairs, "{\"dict\":[[1,2]]}", json!({ "dict": [[1, 2]] }));
    }

    #[test]
    fn one_is_no_plural() {
        let texts = [0, 1, 2].map(|number| counted(number, "dead letter"));
        assert_eq!(texts, ["0 dead letters", "1 dead letter", "2 dead letters"]);
    }

    #[test]
    fn an_unreadable_pickle_is_shown_as_its_bytes() {
        assert_eq!(payload_text(Encoding::Pickle, b"?\n", false, no_pickle).as_ref(), b"?\\n");
        let json = payload_json(Encoding::Pickle, b"?\n", no_pickle);
        assert_eq!(json["base64"], "Pwo=");
        assert!(json["error"].is_string());
    }
}
