//! The machine's part for classes: placeholders for what they would make.

use super::error::PickleError;
use super::item::{Container, Global, Item, Kind};
use super::machine::{Machine, Role, Sink, deeper};
use super::opcode as op;
use super::text::{Octets, Text};

impl<'a, S: Sink<'a>> Machine<'a, S> {
    /// The two lines, module and name, that follow a GLOBAL or INST.
    pub(super) fn path_lines(&mut self) -> Result<[Text<'a>; 2], PickleError> {
        let lines = [self.input.line()?, self.input.line()?];
        // Python 3 reads an INST as ASCII and a GLOBAL as UTF-8.
        let read = |line: &'a [u8]| match std::str::from_utf8(line) {
            Ok("") => Err(self.malformed()),
            Ok(text) if text.is_ascii() || self.opcode == op::GLOBAL => Ok(Text::Plain(text)),
            _ => Err(self.malformed()),
        };
        Ok([read(lines[0])?, read(lines[1])?])
    }

    /// A placeholder for a class or function.
    pub(super) fn global(&mut self, path: [Text<'a>; 2]) -> Item<'a> {
        let known = match path {
            [Text::Plain(module), Text::Plain(name)] => Global::named(module, name),
            _ => Global::Other,
        };
        let global = self.container(Kind::Global(known), 1, true);
        self.sink.put(global, Role::Path, &path.map(Item::Text));
        Item::Container(global)
    }

    /// What a persistent id or extension code stands for.
    pub(super) fn push_foreign(&mut self, depth: u16) -> Result<(), PickleError> {
        let foreign = self.container(Kind::Foreign, depth.max(1), true);
        self.stack.push(Item::Container(foreign));
        Ok(())
    }

    /// An instance of a class whose arguments lie on the stack from `arguments` on; it replaces what
    /// lies from `start` on.
    pub(super) fn push_instance(
        &mut self,
        start: usize,
        class: Item<'a>,
        arguments: usize,
    ) -> Result<(), PickleError> {
        let depth = self.depth(start, class.depth())?;
        let object = self.container(Kind::Object, depth, true);
        self.sink.put(object, Role::Callable, &[class]);
        self.sink.put(object, Role::Argument, self.stack.from(arguments));
        self.stack.replace(start, Item::Container(object));
        Ok(())
    }

    /// A placeholder for what a class makes of a tuple of arguments, and perhaps a dict of keywords.
    pub(super) fn object(
        &mut self,
        class: Item<'a>,
        arguments: Item<'a>,
        keywords: Option<Item<'a>>,
    ) -> Result<Item<'a>, PickleError> {
        let is = |item: Item<'a>, wanted: fn(Kind) -> bool| matches!(item, Item::Container(container) if wanted(container.kind));
        if !is(class, Kind::is_callable)
            || !is(arguments, |kind| kind == Kind::Tuple)
            || !keywords.is_none_or(|keywords| is(keywords, |kind| kind == Kind::Dict))
        {
            return Err(self.misused());
        }
        let inner = keywords.map_or(0, |keywords| keywords.depth());
        let depth = deeper(inner.max(class.depth()).max(arguments.depth()))?;
        let object = self.container(Kind::Object, depth, true);
        self.sink.put(object, Role::Callable, &[class]);
        self.sink.put(object, Role::Arguments, &[arguments]);
        if let Some(keywords) = keywords {
            self.sink.put(object, Role::Keywords, &[keywords]);
        }
        Ok(Item::Container(object))
    }

    /// What calling `callable` would return: plain data where picklers write calls for it (and the
    /// arguments are those that they write), otherwise a placeholder.
    pub(super) fn reduce(
        &mut self,
        callable: Item<'a>,
        arguments: Item<'a>,
    ) -> Result<Item<'a>, PickleError> {
        if let Item::Container(Container { kind: Kind::Global(global), .. }) = callable
            && global != Global::Other
            && let Item::Container(Container { kind: Kind::Tuple, id, .. }) = arguments
            && let Some((last, items, count)) = self.last_tuple
            && last == id
        {
            match (global, &items[..count]) {
                (Global::Bytes, []) => return Ok(Item::Bytes(Octets::Raw(b""))),
                (Global::ByteArray, []) => return Ok(Item::ByteArray(Octets::Raw(b""))),
                (Global::ByteArray, [Item::Bytes(bytes)]) => return Ok(Item::ByteArray(*bytes)),
                (Global::ByteArray, [Item::Text(text), encoding]) if is_latin1(encoding) => {
                    return self.encode(*text).map(Item::ByteArray);
                }
                (Global::CodecsEncode, [Item::Text(text), encoding]) if is_latin1(encoding) => {
                    return self.encode(*text).map(Item::Bytes);
                }
                (Global::Set | Global::FrozenSet, [list]) => {
                    if let Item::Container(Container { kind: Kind::List, depth, .. }) = *list {
                        let frozen = global == Global::FrozenSet;
                        let kind = if frozen { Kind::FrozenSet } else { Kind::Set };
                        let set = self.container(kind, deeper(depth)?, frozen);
                        self.sink.put(set, Role::Arguments, &[*list]);
                        return Ok(Item::Container(set));
                    }
                }
                _ => {}
            }
        }
        self.object(callable, arguments, None)
    }

    /// Encodes a text as Latin-1, which looks at all of it. A pickler does so once for each text that it wrote,
    /// but a pickle could ask for it again and again: all together may be no more than the pickle.
    fn encode(&mut self, text: Text<'a>) -> Result<Octets<'a>, PickleError> {
        let left = self.encodable_bytes.checked_sub(text.raw_bytes());
        self.encodable_bytes = left.ok_or(PickleError::EncodedAgain)?;
        text.to_latin1().ok_or_else(|| self.misused())
    }
}

/// Whether an argument names the encoding that picklers name.
fn is_latin1(encoding: &Item<'_>) -> bool {
    match encoding {
        Item::Text(Text::Plain(name)) => matches!(*name, "latin1" | "latin-1"),
        Item::Str(Octets::Raw(name)) => matches!(*name, b"latin1" | b"latin-1"),
        _ => false,
    }
}
