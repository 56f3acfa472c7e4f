//! Keeps all that the machine meets, and unfolds it into values.

use super::error::{Key, PickleError};
use super::item::{Container, Item, Kind};
use super::machine::{self, Role, Sink};
use super::scan::{KeyMatch, match_key, root_dict, utf8};
use super::value::{Object, Value};
use crate::limits::{PICKLE_DEPTH_MAX, PICKLE_NODES_MAX, PICKLE_SHARED_BYTES_MAX};

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

/// What was put where, in order.
struct Parts<'a> {
    list: Vec<Part<'a>>,
}

#[derive(Clone, Copy)]
struct Part<'a> {
    owner: u32,
    role: Role,
    item: Item<'a>,
}

impl<'a> Parts<'a> {
    fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// The keys and values of a dict, in order.
    fn pairs(&self, dict: Container) -> impl Iterator<Item = (Item<'a>, Item<'a>)> {
        let mut items = self.list.iter().filter(move |part| part.owner == dict.id);
        std::iter::from_fn(move || Some((items.next()?.item, items.next()?.item)))
    }

    /// Unfolds an item. `pickle_bytes` is the length of the pickle.
    ///
    /// # Errors
    /// Those that [`payload_value`] lists for the tree.
    fn unfold(&self, item: Item<'a>, pickle_bytes: usize) -> Result<Value, PickleError> {
        let (starts, order) = self.by_owner();
        let mut tree = Unfolding {
            nodes_left: PICKLE_NODES_MAX,
            bytes_left: pickle_bytes + PICKLE_SHARED_BYTES_MAX,
            is_open: vec![false; starts.len()],
        };
        let mut open: Vec<Branch> = Vec::new();
        let mut next = item;
        loop {
            // Go down to the first value that is complete.
            let mut value = match next {
                Item::Container(container) => {
                    tree.enter(container, open.len())?;
                    let range = match starts.get(container.id as usize..=container.id as usize + 1)
                    {
                        Some(&[start, end]) => start..end,
                        _ => 0..0,
                    };
                    let values = Vec::with_capacity(range.len());
                    open.push(Branch { container, range, values });
                    None
                }
                scalar => Some(tree.scalar(scalar)?),
            };
            // Go up until another child is wanted.
            next = loop {
                let Some(branch) = open.last_mut() else {
                    return value.ok_or(PickleError::Recursive);
                };
                branch.values.extend(value.take());
                match order.get(branch.range.start + branch.values.len()) {
                    Some(&part) if branch.values.len() < branch.range.len() => {
                        break self.list[part as usize].item;
                    }
                    _ => {
                        let roles = order[branch.range.clone()]
                            .iter()
                            .map(|&part| self.list[part as usize].role);
                        let values = std::mem::take(&mut branch.values);
                        value = Some(assemble(branch.container.kind, roles, values)?);
                        tree.leave(branch.container);
                        open.pop();
                    }
                }
            };
        }
    }

    /// The parts' numbers sorted by owner, and where each owner's start; the last start is the end.
    fn by_owner(&self) -> (Vec<usize>, Vec<u32>) {
        let owners = self.list.iter().map(|part| part.owner as usize + 1).max().unwrap_or(0);
        let mut starts = vec![0; owners + 1];
        for part in &self.list {
            starts[part.owner as usize + 1] += 1;
        }
        for owner in 0..owners {
            starts[owner + 1] += starts[owner];
        }
        let mut at = starts.clone();
        let mut order = vec![0; self.list.len()];
        for (number, part) in self.list.iter().enumerate() {
            let at = &mut at[part.owner as usize];
            order[*at] = number as u32;
            *at += 1;
        }
        (starts, order)
    }
}

impl<'a> Sink<'a> for Parts<'a> {
    fn put(&mut self, owner: Container, role: Role, items: &[Item<'a>]) {
        self.list.extend(items.iter().map(|&item| Part { owner: owner.id, role, item }));
    }
}

/// A container that is being unfolded.
struct Branch {
    container: Container,
    /// Its parts, as a range of the order.
    range: std::ops::Range<usize>,
    /// Those that are complete.
    values: Vec<Value>,
}

struct Unfolding {
    nodes_left: usize,
    bytes_left: usize,
    /// Of each container with parts, whether it is being unfolded.
    is_open: Vec<bool>,
}

impl Unfolding {
    fn count(&mut self) -> Result<(), PickleError> {
        self.nodes_left = self.nodes_left.checked_sub(1).ok_or(PickleError::TooManyNodes)?;
        Ok(())
    }

    fn enter(&mut self, container: Container, depth: usize) -> Result<(), PickleError> {
        self.count()?;
        if let Some(is_open) = self.is_open.get_mut(container.id as usize)
            && std::mem::replace(is_open, true)
        {
            return Err(PickleError::Recursive);
        }
        if depth >= PICKLE_DEPTH_MAX { Err(PickleError::TooDeep) } else { Ok(()) }
    }

    fn leave(&mut self, container: Container) {
        if let Some(is_open) = self.is_open.get_mut(container.id as usize) {
            *is_open = false;
        }
    }

    fn take_bytes(&mut self, bytes: usize) -> Result<(), PickleError> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(PickleError::TooManyBytes)?;
        Ok(())
    }

    fn scalar(&mut self, item: Item<'_>) -> Result<Value, PickleError> {
        self.count()?;
        Ok(match item {
            Item::None => Value::None,
            Item::Bool(value) => Value::Bool(value),
            Item::Int(value) => Value::Int(value),
            Item::Float(value) => Value::Float(value),
            Item::Long(value) => {
                let digits = value.to_decimal().ok_or(PickleError::IntegerTooLong)?;
                self.take_bytes(digits.len())?;
                Value::BigInt(digits)
            }
            Item::Text(text) => {
                self.take_bytes(text.raw_bytes())?;
                Value::Text(text.to_str().ok_or(PickleError::LoneSurrogate)?.into_owned())
            }
            Item::Str(octets) => {
                self.take_bytes(octets.raw_bytes())?;
                match utf8(octets) {
                    Ok(text) => Value::Text(text.into_owned()),
                    Err(bytes) => Value::Bytes(bytes.into_owned()),
                }
            }
            Item::Bytes(octets) | Item::ByteArray(octets) => {
                self.take_bytes(octets.raw_bytes())?;
                Value::Bytes(octets.to_bytes().into_owned())
            }
            // Containers are entered instead.
            Item::Container(_) => return Err(PickleError::Recursive),
        })
    }
}

/// Makes the value of a container whose parts are complete.
fn assemble(
    kind: Kind,
    roles: impl Iterator<Item = Role>,
    values: Vec<Value>,
) -> Result<Value, PickleError> {
    Ok(match kind {
        Kind::List => Value::List(values),
        Kind::Tuple => Value::Tuple(values),
        Kind::Dict => Value::Dict(pairs(values)),
        Kind::Set => Value::Set(members(roles, values)),
        Kind::FrozenSet => Value::FrozenSet(members(roles, values)),
        Kind::Foreign => return Err(PickleError::Foreign),
        Kind::Global(_) => {
            let mut path = values.into_iter();
            match (path.next(), path.next()) {
                (Some(Value::Text(module)), Some(Value::Text(name))) => {
                    Value::Global { path: format!("{module}.{name}").into() }
                }
                _ => return Err(PickleError::Foreign),
            }
        }
        Kind::Object => Value::Object(Box::new(object(roles, values))),
    })
}

fn pairs(values: Vec<Value>) -> Vec<(Value, Value)> {
    let mut values = values.into_iter();
    std::iter::from_fn(|| Some((values.next()?, values.next()?))).collect()
}

/// The members of a set, which may have been made of a list.
fn members(roles: impl Iterator<Item = Role>, values: Vec<Value>) -> Vec<Value> {
    let mut members = Vec::with_capacity(values.len());
    for (role, value) in roles.zip(values) {
        match (role, value) {
            (Role::Arguments, Value::List(list)) => members.extend(list),
            (_, value) => members.push(value),
        }
    }
    members
}

fn object(roles: impl Iterator<Item = Role>, values: Vec<Value>) -> Object {
    let mut object = Object {
        class: Value::None,
        args: Vec::new(),
        kwargs: Vec::new(),
        state: Vec::new(),
        items: Vec::new(),
        entries: Vec::new(),
    };
    let mut entries = Vec::new();
    for (role, value) in roles.zip(values) {
        match (role, value) {
            (Role::Callable, value) => object.class = value,
            (Role::Arguments, Value::Tuple(args)) => object.args = args,
            (Role::Keywords, Value::Dict(kwargs)) => object.kwargs = kwargs,
            (Role::Pairs, value) => entries.push(value),
            (Role::State, value) => object.state.push(value),
            (Role::Elements, value) => object.items.push(value),
            (_, value) => object.args.push(value),
        }
    }
    object.entries = pairs(entries);
    object
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
