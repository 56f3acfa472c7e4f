//! The values in a v1 message, as a tree of plain data.

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
