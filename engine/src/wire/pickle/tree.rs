//! Keeps all that the machine meets, and unfolds it into values.

use super::error::PickleError;
use super::item::{Container, Item, Kind};
use super::machine::{Role, Sink};
use super::scan::utf8;
use super::value::{Object, Value};
use crate::limits::{PICKLE_DEPTH_MAX, PICKLE_NODES_MAX, PICKLE_SHARED_BYTES_MAX};

/// What was put where, in order.
pub(super) struct Parts<'a> {
    list: Vec<Part<'a>>,
}

#[derive(Clone, Copy)]
struct Part<'a> {
    owner: u32,
    role: Role,
    item: Item<'a>,
}

impl<'a> Parts<'a> {
    pub(super) fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// The keys and values of a dict, in order.
    pub(super) fn pairs(&self, dict: Container) -> impl Iterator<Item = (Item<'a>, Item<'a>)> {
        let mut items = self.list.iter().filter(move |part| part.owner == dict.id);
        std::iter::from_fn(move || Some((items.next()?.item, items.next()?.item)))
    }

    /// Unfolds an item. `pickle_bytes` is the length of the pickle.
    ///
    /// # Errors
    /// Those that [`super::payload_value`] lists for the tree.
    pub(super) fn unfold(&self, item: Item<'a>, pickle_bytes: usize) -> Result<Value, PickleError> {
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
