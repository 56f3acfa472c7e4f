//! Errors of reading a pickle.

use std::fmt;

use crate::limits::{
    PICKLE_DEPTH_MAX, PICKLE_INT_DIGITS_MAX, PICKLE_MEMO_ENTRIES_MAX, PICKLE_NODES_MAX,
    PICKLE_OPCODES_MAX, PICKLE_SHARED_BYTES_MAX,
};

/// A key that the dict of every v1 message has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// `name`, a text.
    Name,
    /// `payload`, anything.
    Payload,
    /// `ack`, an integer.
    Ack,
    /// `timestamp`, a float.
    Timestamp,
    /// `checksum`, a text of 32 hexadecimal digits.
    Checksum,
}

impl Key {
    /// All five.
    pub const ALL: [Self; 5] =
        [Self::Name, Self::Payload, Self::Ack, Self::Timestamp, Self::Checksum];

    /// The key as it stands in the dict.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Payload => "payload",
            Self::Ack => "ack",
            Self::Timestamp => "timestamp",
            Self::Checksum => "checksum",
        }
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str().as_bytes() == bytes)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why bytes are not the pickle of a v1 message, or cannot be read within bounds. Offsets (`at`) are
/// in bytes from the start of the pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The bytes end before the STOP opcode, or within an operand.
    #[error("the pickle ends before its STOP opcode: it was cut short, or is not a pickle")]
    Truncated,
    /// A byte that is no opcode of protocols 0 to 5.
    #[error("byte {opcode:#04x} at offset {at} is no opcode of pickle protocols 0 to 5")]
    Opcode {
        /// The byte.
        opcode: u8,
        /// Where it stands.
        at: usize,
    },
    /// A protocol newer than 5, or a PROTO opcode that is not the first.
    #[error(
        "protocol {version} at offset {at}: protocols 0 to 5 are read, declared once at the start"
    )]
    Protocol {
        /// The protocol asked for.
        version: u8,
        /// Where the opcode stands.
        at: usize,
    },
    /// The pickle relies on buffers sent beside it.
    #[error("the pickle refers to an out-of-band buffer at offset {at}: send the payload in-band")]
    OutOfBand {
        /// Where the opcode stands.
        at: usize,
    },
    /// What follows an opcode is not what it takes, such as text that is not UTF-8.
    #[error("the operand of opcode {opcode:#04x} at offset {at} is malformed")]
    Operand {
        /// The opcode.
        opcode: u8,
        /// Where it stands.
        at: usize,
    },
    /// An opcode finds too few or the wrong objects on the stack.
    #[error("opcode {opcode:#04x} at offset {at} does not find the objects it works on")]
    Stack {
        /// The opcode.
        opcode: u8,
        /// Where it stands.
        at: usize,
    },
    /// A frame that is longer than the pickle, begins within another, or cuts an opcode in two.
    #[error("the frame around offset {at} is broken")]
    Frame {
        /// Where it was noticed.
        at: usize,
    },
    /// A memo entry is read that was never written.
    #[error("the pickle refers to memo entry {index}, which it never made")]
    Memo {
        /// The entry's number.
        index: usize,
    },
    /// A memo entry's number is beyond what any pickler writes.
    #[error("a memo entry at offset {at} is numbered {PICKLE_MEMO_ENTRIES_MAX} or more")]
    MemoIndex {
        /// Where the opcode stands.
        at: usize,
    },
    /// A list, dict or other unhashable object is a key or the member of a set.
    #[error("the opcode at offset {at} uses an unhashable object as a key or a set's member")]
    Unhashable {
        /// Where the opcode stands.
        at: usize,
    },
    /// Containers are nested too deeply.
    #[error("containers are nested more than {PICKLE_DEPTH_MAX} deep")]
    TooDeep,
    /// Texts are encoded again and again, more bytes than the pickle has.
    #[error(
        "the pickle encodes the same text again and again: more bytes of it than the pickle has"
    )]
    EncodedAgain,
    /// The pickle has too many opcodes.
    #[error(
        "the pickle has more than {PICKLE_OPCODES_MAX} opcodes: send large data as bytes or text"
    )]
    TooManyOpcodes,
    /// Bytes follow the STOP opcode.
    #[error("{bytes} bytes follow the end of the pickle")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// The pickled object is something else than a dict.
    #[error("a message is a pickled dict, and this is {found}")]
    NotADict {
        /// What it is.
        found: &'static str,
    },
    /// The dict has an instance of a class as a key, which Python might hold equal to any other key.
    #[error("the message's dict has an object as a key")]
    ObjectKey,
    /// The dict lacks a key.
    #[error("the message's dict has no key '{key}'")]
    MissingKey {
        /// The first key that it lacks.
        key: Key,
    },
    /// A key's value has the wrong type.
    #[error("'{key}' must be {expected}, and is {found}")]
    WrongType {
        /// The key.
        key: Key,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// The checksum is not 32 hexadecimal digits.
    #[error("'checksum' must be 32 hexadecimal digits")]
    BadChecksum,
    /// The timestamp is negative, not finite, or past the year 2554.
    #[error("'timestamp' must be seconds since 1970, from 0 to 18446744073")]
    BadTimestamp,
    /// The tree of values would have too many nodes, perhaps because shared objects unfold.
    #[error("the value has more than {PICKLE_NODES_MAX} nodes when its shared parts are unfolded")]
    TooManyNodes,
    /// Shared texts and bytes would unfold to too much.
    #[error("shared texts unfold to over {PICKLE_SHARED_BYTES_MAX} bytes more than the pickle has")]
    TooManyBytes,
    /// An object contains itself, which a tree cannot show.
    #[error("an object in the pickle contains itself")]
    Recursive,
    /// A text holds half of a surrogate pair, which is no Unicode text.
    #[error("a text in the pickle holds a lone surrogate")]
    LoneSurrogate,
    /// An integer has too many digits.
    #[error("an integer in the pickle has more than {PICKLE_INT_DIGITS_MAX} digits")]
    IntegerTooLong,
    /// A persistent id or an extension code, which only its own program can resolve.
    #[error("the pickle holds a persistent id or extension code, which only its program knows")]
    Foreign,
}
