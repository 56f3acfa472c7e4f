//! The opcode machine: one pass over a pickle that moves placeholders and makes nothing.

use super::error::PickleError;
use super::item::{Container, Item, Kind};
use super::memo::Memo;
use super::reader::Reader;
use super::stack::Stack;
use super::{literal, opcode as op};
use crate::limits::{PICKLE_DEPTH_MAX, PICKLE_MEMO_ENTRIES_MAX, PICKLE_OPCODES_MAX};

/// What items are to the container they are put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Elements, in order.
    Elements,
    /// A key and its value, and so on.
    Pairs,
    /// Module and name of a global.
    Path,
    /// The callable that makes an object.
    Callable,
    /// A tuple of arguments, or the list that a set is made of.
    Arguments,
    /// The arguments themselves.
    Argument,
    /// A dict of keyword arguments.
    Keywords,
    /// What an object's state is set to.
    State,
}

/// Who wants to know what the containers hold.
pub(super) trait Sink<'a> {
    /// Some items were put into a container. With [`Role::Pairs`] they are even in number.
    fn put(&mut self, owner: Container, role: Role, items: &[Item<'a>]);
}

/// Runs a whole pickle and returns what it would load, and the sink.
pub(super) fn run<'a, S: Sink<'a>>(
    pickle: &'a [u8],
    sink: S,
) -> Result<(Item<'a>, S), PickleError> {
    let mut machine = Machine {
        input: Reader::new(pickle),
        stack: Stack::new(),
        memo: Memo::new(),
        sink,
        containers: 0,
        last_tuple: None,
        encodable_bytes: pickle.len(),
        opcode: 0,
        at: 0,
    };
    for _ in 0..PICKLE_OPCODES_MAX {
        machine.at = machine.input.at();
        machine.opcode = machine.input.opcode()?;
        if machine.opcode == op::STOP {
            return machine.stop();
        }
        match literal::read(machine.opcode, &mut machine.input)? {
            Some(item) => machine.stack.push(item),
            None => machine.step()?,
        }
    }
    Err(PickleError::TooManyOpcodes)
}

pub(super) struct Machine<'a, S> {
    pub(super) input: Reader<'a>,
    pub(super) stack: Stack<'a>,
    memo: Memo<'a>,
    pub(super) sink: S,
    /// How many containers there are.
    containers: u32,
    /// The tuple made last and its items, if they are two or fewer: arguments, most likely.
    pub(super) last_tuple: Option<(u32, [Item<'a>; 2], usize)>,
    /// Bytes of text that may still be encoded as Latin-1.
    pub(super) encodable_bytes: usize,
    pub(super) opcode: u8,
    /// Where `opcode` stands.
    at: usize,
}

impl<'a, S: Sink<'a>> Machine<'a, S> {
    fn stop(mut self) -> Result<(Item<'a>, S), PickleError> {
        let result = self.pop()?;
        if self.stack.len() != 0 || self.stack.marks() != 0 {
            return Err(self.misused());
        }
        match self.input.remaining() {
            0 => Ok((result, self.sink)),
            bytes => Err(PickleError::TrailingBytes { bytes }),
        }
    }

    fn step(&mut self) -> Result<(), PickleError> {
        match self.opcode {
            op::MARK => {
                if self.stack.marks() == PICKLE_DEPTH_MAX {
                    return Err(PickleError::TooDeep);
                }
                self.stack.mark();
            }
            op::BINPUT => {
                let index = self.input.byte()?.into();
                self.put(index)?;
            }
            op::LONG_BINPUT => {
                let index = u32::from_le_bytes(self.input.array()?) as usize;
                self.put(index)?;
            }
            op::PUT => {
                let index = self.memo_line()?;
                self.put(index)?;
            }
            op::MEMOIZE => self.put(self.memo.len())?,
            op::BINGET => {
                let index = self.input.byte()?.into();
                self.stack.push(self.memo.get(index)?);
            }
            op::LONG_BINGET => {
                let index = u32::from_le_bytes(self.input.array()?) as usize;
                self.stack.push(self.memo.get(index)?);
            }
            op::GET => {
                let index = self.memo_line()?;
                self.stack.push(self.memo.get(index)?);
            }
            op::EMPTY_DICT => self.make(Kind::Dict, Some(0))?,
            op::EMPTY_LIST => self.make(Kind::List, Some(0))?,
            op::EMPTY_TUPLE => self.make(Kind::Tuple, Some(0))?,
            op::EMPTY_SET => self.make(Kind::Set, Some(0))?,
            op::TUPLE1 => self.make(Kind::Tuple, Some(1))?,
            op::TUPLE2 => self.make(Kind::Tuple, Some(2))?,
            op::TUPLE3 => self.make(Kind::Tuple, Some(3))?,
            op::TUPLE => self.make(Kind::Tuple, None)?,
            op::LIST => self.make(Kind::List, None)?,
            op::DICT => self.make(Kind::Dict, None)?,
            op::FROZENSET => self.make(Kind::FrozenSet, None)?,
            op::SETITEM => self.fill(Kind::Dict, Some(2))?,
            op::SETITEMS => self.fill(Kind::Dict, None)?,
            op::APPEND => self.fill(Kind::List, Some(1))?,
            op::APPENDS => self.fill(Kind::List, None)?,
            op::ADDITEMS => self.fill(Kind::Set, None)?,
            op::POP if self.stack.is_at_mark() => {
                self.stack.pop_mark();
            }
            op::POP => {
                self.pop()?;
            }
            op::POP_MARK => {
                let start = self.start(None)?;
                self.stack.truncate(start);
            }
            op::DUP => {
                let top = self.stack.top().ok_or_else(|| self.misused())?;
                self.stack.push(top);
            }
            op::FRAME => self.input.enter_frame()?,
            op::PROTO => {
                let version = self.input.byte()?;
                if version > 5 || self.at != 0 {
                    return Err(PickleError::Protocol { version, at: self.at });
                }
            }
            op::NEXT_BUFFER | op::READONLY_BUFFER => {
                return Err(PickleError::OutOfBand { at: self.at });
            }
            _ => self.step_object()?,
        }
        Ok(())
    }

    /// The opcodes that would look up, make or change objects of classes.
    fn step_object(&mut self) -> Result<(), PickleError> {
        match self.opcode {
            op::GLOBAL => {
                let path = self.path_lines()?;
                let global = self.global(path);
                self.stack.push(global);
                Ok(())
            }
            op::STACK_GLOBAL => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Item::Text(module), Item::Text(name)) = (module, name) else {
                    return Err(self.misused());
                };
                let global = self.global([module, name]);
                self.stack.push(global);
                Ok(())
            }
            op::REDUCE => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                let item = self.reduce(callable, arguments)?;
                self.stack.push(item);
                Ok(())
            }
            op::NEWOBJ | op::NEWOBJ_EX => {
                let keywords = if self.opcode == op::NEWOBJ { None } else { Some(self.pop()?) };
                let (arguments, class) = (self.pop()?, self.pop()?);
                let object = self.object(class, arguments, keywords)?;
                self.stack.push(object);
                Ok(())
            }
            op::INST => {
                let start = self.start(None)?;
                let path = self.path_lines()?;
                let class = self.global(path);
                self.push_instance(start, class, start)
            }
            op::OBJ => {
                let start = self.start(None)?;
                match self.stack.from(start).first() {
                    Some(&class @ Item::Container(Container { kind, .. }))
                        if kind.is_callable() =>
                    {
                        self.push_instance(start, class, start + 1)
                    }
                    _ => Err(self.misused()),
                }
            }
            op::BUILD => {
                let start = self.start(Some(1))?;
                match self.stack.below(start) {
                    Some(Item::Container(object)) if object.kind.is_object() => {
                        self.add(object, Role::State, start)
                    }
                    _ => Err(self.misused()),
                }
            }
            op::PERSID => match self.input.line()? {
                line if line.is_ascii() => self.push_foreign(0),
                _ => Err(self.malformed()),
            },
            op::BINPERSID => {
                let id = self.pop()?;
                self.push_foreign(id.depth())
            }
            op::EXT1 | op::EXT2 | op::EXT4 => {
                let code = match self.opcode {
                    op::EXT1 => self.input.byte()?.into(),
                    op::EXT2 => u16::from_le_bytes(self.input.array()?).into(),
                    _ => i32::from_le_bytes(self.input.array()?),
                };
                if code <= 0 { Err(self.malformed()) } else { self.push_foreign(0) }
            }
            opcode => Err(PickleError::Opcode { opcode, at: self.at }),
        }
    }

    /// The opcode finds the wrong things on the stack.
    pub(super) fn misused(&self) -> PickleError {
        PickleError::Stack { opcode: self.opcode, at: self.at }
    }

    pub(super) fn malformed(&self) -> PickleError {
        PickleError::Operand { opcode: self.opcode, at: self.at }
    }

    #[inline]
    fn pop(&mut self) -> Result<Item<'a>, PickleError> {
        self.stack.pop().ok_or_else(|| self.misused())
    }

    /// Where the items start that the opcode works on: this many, or all above the mark.
    #[inline]
    fn start(&mut self, count: Option<usize>) -> Result<usize, PickleError> {
        let start = match count {
            Some(count) => self.stack.last(count),
            None => self.stack.pop_mark(),
        };
        start.ok_or_else(|| self.misused())
    }

    #[inline]
    fn put(&mut self, index: usize) -> Result<(), PickleError> {
        if index >= PICKLE_MEMO_ENTRIES_MAX {
            return Err(PickleError::MemoIndex { at: self.at });
        }
        let top = self.stack.top().ok_or_else(|| self.misused())?;
        self.memo.put(index, top);
        Ok(())
    }

    fn memo_line(&mut self) -> Result<usize, PickleError> {
        let line = self.input.line()?;
        let digits = std::str::from_utf8(line).ok().filter(|_| line.iter().all(u8::is_ascii_digit));
        digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| self.malformed())
    }

    /// How deep a container of the items from `start` on is, and of something `inner` deep.
    #[inline]
    pub(super) fn depth(&self, start: usize, inner: u16) -> Result<u16, PickleError> {
        let items = self.stack.from(start).iter();
        let depth = items.fold(inner, |deepest, item| deepest.max(item.depth()));
        deeper(depth)
    }

    #[inline]
    pub(super) fn container(&mut self, kind: Kind, depth: u16, hashable: bool) -> Container {
        let id = self.containers;
        self.containers += 1;
        Container { kind, id, depth, hashable }
    }

    /// Makes a container of the last `count` items, or of those above the mark.
    #[inline]
    fn make(&mut self, kind: Kind, count: Option<usize>) -> Result<(), PickleError> {
        let start = self.start(count)?;
        let depth = self.depth(start, 0)?;
        let items = self.stack.from(start);
        let hashable = match kind {
            Kind::Tuple => items.iter().all(Item::is_hashable),
            kind => kind == Kind::FrozenSet,
        };
        let made = self.container(kind, depth, hashable);
        let items = self.stack.from(start);
        if kind == Kind::Tuple && items.len() <= 2 {
            let mut last = [Item::None; 2];
            last[..items.len()].copy_from_slice(items);
            self.last_tuple = Some((made.id, last, items.len()));
        }
        self.tell(made, if kind == Kind::Dict { Role::Pairs } else { Role::Elements }, start)?;
        self.stack.replace(start, Item::Container(made));
        Ok(())
    }

    /// Puts the last `count` items, or those above the mark, into the container below them.
    #[inline]
    fn fill(&mut self, kind: Kind, count: Option<usize>) -> Result<(), PickleError> {
        let start = self.start(count)?;
        match self.stack.below(start) {
            Some(Item::Container(owner)) if owner.kind == kind || owner.kind.is_object() => self
                .add(owner, if kind == Kind::Dict { Role::Pairs } else { Role::Elements }, start),
            _ => Err(self.misused()),
        }
    }

    /// Puts the items from `start` on into the container below them.
    #[inline]
    fn add(&mut self, mut owner: Container, role: Role, start: usize) -> Result<(), PickleError> {
        self.tell(owner, role, start)?;
        owner.depth = owner.depth.max(self.depth(start, 0)?);
        // The container's slot is replaced too, for its depth.
        self.stack.replace(start - 1, Item::Container(owner));
        Ok(())
    }

    /// Checks the items from `start` on, and tells the sink of them.
    #[inline]
    fn tell(&mut self, owner: Container, role: Role, start: usize) -> Result<(), PickleError> {
        let items = self.stack.from(start);
        let hashable = match (role, owner.kind) {
            (Role::Pairs, _) if !items.len().is_multiple_of(2) => return Err(self.misused()),
            (Role::Pairs, _) => items.iter().step_by(2).all(Item::is_hashable),
            (_, Kind::Set | Kind::FrozenSet) => items.iter().all(Item::is_hashable),
            _ => true,
        };
        if !hashable {
            return Err(PickleError::Unhashable { at: self.at });
        }
        self.sink.put(owner, role, items);
        Ok(())
    }
}

/// The depth of a container of something `inner` deep.
#[inline]
pub(super) fn deeper(inner: u16) -> Result<u16, PickleError> {
    if usize::from(inner) < PICKLE_DEPTH_MAX { Ok(inner + 1) } else { Err(PickleError::TooDeep) }
}
