//! The values in a v1 message, as a tree of plain data.

use super::error::{Key, PickleError};
use super::item::Item;
use super::machine;
use super::scan::{KeyMatch, match_key, root_dict};
use super::tree::Parts;

/// A Python value, as data. A part that Python shares between several places stands in each.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `None`.
    None,
    /// A bool.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// Any other integer: its decimal digits, after a `-` if it is negative.
    BigInt(String),
    /// A float.
    Float(f64),
    /// Bytes or a bytearray, or a `str` of Python 2 that is not UTF-8.
    Bytes(Vec<u8>),
    /// A text, or a `str` of Python 2 that is UTF-8.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A set, in the order it was written in.
    Set(Vec<Value>),
    /// A frozenset, in the order it was written in.
    FrozenSet(Vec<Value>),
    /// A dict, in the order it was written in. If a key was set twice it stands twice, and the last
    /// counts.
    Dict(Vec<(Value, Value)>),
    /// A class or function: its module, a point, and its name.
    Global {
        /// `collections.OrderedDict`, for instance.
        path: Box<str>,
    },
    /// An instance of a class.
    Object(Box<Object>),
}

/// An instance of a class as the pickle describes it: what would be called with what, and what would
/// then be put into it. Nothing was called.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The class or function: a [`Value::Global`], or an object if it is itself made by a call.
    pub class: Value,
    /// The arguments it would be called with.
    pub args: Vec<Value>,
    /// The keyword arguments.
    pub kwargs: Vec<(Value, Value)>,
    /// The state it would be given: for most classes one dict of its attributes.
    pub state: Vec<Value>,
    /// What would be appended to it or added, if it is a kind of list or set.
    pub items: Vec<Value>,
    /// The entries that would be set in it, if it is a kind of dict.
    pub entries: Vec<(Value, Value)>,
}

impl Value {
    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What a dict has under a text key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(pairs) => {
                let mut pairs = pairs.iter().rev();
                pairs.find(|(k, _)| k.as_text() == Some(key)).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

/// The payload of a v1 message.
///
/// # Errors
/// A [`PickleError`] for bytes that CPython would not load and for what is no dict with a payload;
/// and, as a tree cannot show everything: [`PickleError::Recursive`] for an object that contains
/// itself, [`PickleError::LoneSurrogate`], [`PickleError::IntegerTooLong`], [`PickleError::Foreign`];
/// [`PickleError::TooDeep`], [`PickleError::TooManyNodes`] and [`PickleError::TooManyBytes`] beyond the
/// bounds in [`crate::limits`].
pub fn payload_value(pickle: &[u8]) -> Result<Value, PickleError> {
    let (root, parts) = machine::run(pickle, Parts::new())?;
    let mut payload: Option<Item<'_>> = None;
    for (key, value) in parts.pairs(root_dict(root)?) {
        match match_key(&key) {
            KeyMatch::One(Key::Payload) => payload = Some(value),
            KeyMatch::Unknown => return Err(PickleError::ObjectKey),
            _ => {}
        }
    }
    let payload = payload.ok_or(PickleError::MissingKey { key: Key::Payload })?;
    parts.unfold(payload, pickle.len())
}

/// The whole dict of a v1 message, with any keys beyond the five.
///
/// # Errors
/// Those of [`payload_value`]; the five keys need not be there.
pub fn dict_value(pickle: &[u8]) -> Result<Value, PickleError> {
    let (root, parts) = machine::run(pickle, Parts::new())?;
    root_dict(root)?;
    parts.unfold(root, pickle.len())
}

#[cfg(test)]
mod tests {
    use super::super::samples::{doubling, message, nested_lists};
    use super::*;
    use crate::limits::PICKLE_DEPTH_MAX;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn global(path: &str) -> Value {
        Value::Global { path: path.into() }
    }

    #[track_caller]
    fn check(opcodes: &[u8], expected: Value) {
        assert_eq!(payload_value(&message(opcodes)), Ok(expected));
    }

    #[test]
    fn plain_data_becomes_a_tree() {
        check(b"N", Value::None);
        check(b"\x8a\x09\0\0\0\0\0\0\0\0\x01", Value::BigInt((1_u128 << 64).to_string()));
        check(b"S'\\xff'\n", Value::Bytes(vec![0xff]));
        check(b"](K\x01\x88e", Value::List(vec![Value::Int(1), Value::Bool(true)]));
        check(b"(K\x01(lt", Value::Tuple(vec![Value::Int(1), Value::List(vec![])]));
        check(b"\x8f(K\x01\x90", Value::Set(vec![Value::Int(1)]));
        check(b"(K\x01\x91", Value::FrozenSet(vec![Value::Int(1)]));
        check(b"c__builtin__\nset\n](K\x01e\x85R", Value::Set(vec![Value::Int(1)]));
        check(b"cbuiltins\nfrozenset\n]\x85R", Value::FrozenSet(vec![]));
        check(
            b"}(U\x01aK\x01U\x01bNu",
            Value::Dict(vec![(text("a"), Value::Int(1)), (text("b"), Value::None)]),
        );
        // Shared, and filled after it was shared.
        let one = Value::List(vec![Value::Int(1)]);
        check(b"]q\x05h\x05\x860h\x05K\x01ah\x05\x860h\x05", one.clone());
        check(b"]q\x05h\x05\x86q\x060h\x05K\x01a0h\x06", Value::Tuple(vec![one.clone(), one]));
    }

    #[test]
    fn objects_are_described() {
        let object = |class, args, state| Object {
            class,
            args,
            kwargs: vec![],
            state,
            items: vec![],
            entries: vec![],
        };
        let state = Value::Dict(vec![(text("x"), Value::Int(1))]);
        let expected = object(global("__main__.Point"), vec![], vec![state]);
        check(b"c__main__\nPoint\n)\x81}U\x01xK\x01sb", Value::Object(Box::new(expected.clone())));
        check(b"(i__main__\nPoint\n(dS'x'\nI1\nsb", Value::Object(Box::new(expected.clone())));
        check(b"(c__main__\nPoint\no}U\x01xK\x01sb", Value::Object(Box::new(expected)));
        let mut dict = object(global("collections.OrderedDict"), vec![Value::Int(7)], vec![]);
        dict.entries = vec![(Value::Int(1), Value::Int(2))];
        dict.items = vec![Value::None];
        dict.kwargs = vec![(text("k"), Value::None)];
        check(
            b"ccollections\nOrderedDict\nK\x07\x85}U\x01kNs\x92(K\x01K\x02uNa",
            Value::Object(Box::new(dict)),
        );
    }

    #[test]
    fn a_dict_is_searched_from_its_end() {
        let value = dict_value(&message(b"}(U\x01aK\x01U\x01aK\x02u")).unwrap();
        let payload = value.get("payload").unwrap();
        assert_eq!(payload.get("a"), Some(&Value::Int(2)));
        assert_eq!(payload.get("b"), None);
        assert_eq!(value.get("name").and_then(Value::as_text), Some("greet"));
    }

    #[track_caller]
    fn check_error(pickle: &[u8], expected: PickleError) {
        let start = Instant::now();
        assert_eq!(payload_value(pickle), Err(expected));
        assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
    }

    #[test]
    fn what_a_tree_cannot_show_is_refused() {
        check_error(&message(b"]q\x05h\x05a"), PickleError::Recursive);
        check_error(&message(b"X\x03\0\0\0\xed\xa0\x80"), PickleError::LoneSurrogate);
        let long = [&b"\x8b\xd0\x07\0\0"[..], &[1; 2000]].concat();
        check_error(&message(&long), PickleError::IntegerTooLong);
        check_error(&message(b"Pid\n"), PickleError::Foreign);
        check_error(b"}.", PickleError::MissingKey { key: Key::Payload });
        check_error(b"].", PickleError::NotADict { found: "a list" });
    }

    #[test]
    fn bombs_are_refused_fast() {
        check_error(&message(&doubling(30)), PickleError::TooManyNodes);
        check_error(&message(&doubling(200)), PickleError::TooManyNodes);
        let mut texts = b"]X\0\0\x10\0".to_vec();
        texts.extend(vec![b'a'; 1 << 20]);
        texts.extend(b"q\x00a(");
        texts.extend(b"h\x00".repeat(17));
        texts.push(b'e');
        check_error(&message(&texts), PickleError::TooManyBytes);
        // Nested by way of the memo, unseen while the pickle is read.
        let mut nested = b"]q\x000".to_vec();
        for level in 0..1200_u16 {
            nested.extend(b"]r");
            nested.extend(u32::from(level + 1).to_le_bytes());
            nested.extend([b'j']);
            nested.extend(u32::from(level).to_le_bytes());
            nested.extend(b"a0");
        }
        nested.extend([b'j']);
        nested.extend(1200_u32.to_le_bytes());
        check_error(&message(&nested), PickleError::TooDeep);
    }

    #[test]
    fn the_deepest_tree_is_dropped_cloned_and_shown_within_a_small_stack() {
        let pickle = message(&nested_lists(PICKLE_DEPTH_MAX - 1));
        let value = payload_value(&pickle).unwrap();
        let shown = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
            let copy = value.clone();
            assert_eq!(copy, value);
            format!("{copy:?}").len()
        });
        assert!(shown.unwrap().join().unwrap() > PICKLE_DEPTH_MAX);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = dict_value(&message(&bytes));
        }
    }
}
