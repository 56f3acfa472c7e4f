//! What lies on the machine's stack: a scalar, borrowed from the pickle, or a placeholder.

use super::number::{BigInteger, Integer};
use super::text::{Octets, Text};

#[derive(Clone, Copy, Debug)]
pub(super) enum Item<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer outside of `i64`.
    Long(BigInteger<'a>),
    Float(f64),
    Text(Text<'a>),
    /// Python 2's `str`, which is bytes there and text in Python 3.
    Str(Octets<'a>),
    Bytes(Octets<'a>),
    ByteArray(Octets<'a>),
    Container(Container),
}

/// A placeholder for an object that has parts. The sink was told the parts, by `id`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container {
    pub(super) kind: Kind,
    /// Counts the containers of a pickle from 0.
    pub(super) id: u32,
    /// How deeply its parts were nested when it was last seen on top of the stack, itself included.
    /// An entry that the memo took before the parts came knows less.
    pub(super) depth: u16,
    pub(super) hashable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    List,
    Tuple,
    Dict,
    Set,
    FrozenSet,
    /// A class or function, by name.
    Global(Global),
    /// What calling a class or function would return.
    Object,
    /// What a persistent id or an extension code stands for.
    Foreign,
}

/// The functions that picklers write in place of plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `_codecs.encode`, which protocols 0 to 2 of Python 3 write for `bytes`.
    CodecsEncode,
    /// `bytes`, which they write when it is empty.
    Bytes,
    /// `bytearray`, for protocols 0 to 4.
    ByteArray,
    /// `set`, for protocols 0 to 3.
    Set,
    /// `frozenset`, for protocols 0 to 3.
    FrozenSet,
    /// Anything else.
    Other,
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Self {
        match (module, name) {
            ("_codecs", "encode") => Self::CodecsEncode,
            ("__builtin__" | "builtins", "bytes") => Self::Bytes,
            ("__builtin__" | "builtins", "bytearray") => Self::ByteArray,
            ("__builtin__" | "builtins", "set") => Self::Set,
            ("__builtin__" | "builtins", "frozenset") => Self::FrozenSet,
            _ => Self::Other,
        }
    }
}

impl Kind {
    /// Whether it could be a class or function, so that an opcode may call it.
    pub(super) fn is_callable(self) -> bool {
        matches!(self, Self::Global(_)) || self.is_object()
    }

    /// Whether nothing is known of it, so that it may have parts of any kind.
    pub(super) fn is_object(self) -> bool {
        matches!(self, Self::Object | Self::Foreign)
    }
}

impl<'a> From<Integer<'a>> for Item<'a> {
    fn from(integer: Integer<'a>) -> Self {
        match integer {
            Integer::Int(int) => Self::Int(int),
            Integer::Long(long) => Self::Long(long),
        }
    }
}

impl Item<'_> {
    pub(super) fn depth(&self) -> u16 {
        match self {
            Self::Container(container) => container.depth,
            _ => 0,
        }
    }

    pub(super) fn is_hashable(&self) -> bool {
        match self {
            Self::Container(container) => container.hashable,
            Self::ByteArray(_) => false,
            _ => true,
        }
    }

    /// What it is, for an error's text.
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a bool",
            Self::Int(_) | Self::Long(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(Text::Surrogates) => "a text with a lone surrogate",
            Self::Text(_) => "a text",
            Self::Str(_) => "a byte string",
            Self::Bytes(_) => "bytes",
            Self::ByteArray(_) => "a bytearray",
            Self::Container(container) => match container.kind {
                Kind::List => "a list",
                Kind::Tuple => "a tuple",
                Kind::Dict => "a dict",
                Kind::Set | Kind::FrozenSet => "a set",
                Kind::Global(_) => "a class or function",
                Kind::Object | Kind::Foreign => "an object of a class",
            },
        }
    }
}
