//! The dicts of the original (v1) format: Python pickles, read and written as data.
//!
//! A pickle is a program for a small stack machine, and one from a stranger must not be run. Here the
//! opcodes of protocols 0 to 5 (what Python 2's `cPickle` and every Python 3 write) are walked by one
//! bounded loop, `machine`, which makes no object and calls nothing: an opcode that would build one
//! puts a placeholder on the stack. What the machine meets goes to a sink, of which there are two:
//!
//! - [`mod@scan`] keeps the five fields of the dict and forgets the rest; the broker uses it.
//! - `tree` keeps everything and unfolds it into a [`Value`]; the Rust client uses it.
//!
//! [`mod@write`] makes the dict that a v1 subscriber receives for a native message, and [`verify`] works
//! out the checksums that an original publisher may have sent.
//!
//! The format's reference is the documentation of CPython's `pickletools` module, and where that is
//! silent, what CPython 2.7 and 3 do. Where the two readings of a malformed pickle could differ, it is
//! rejected here: what this module reads is what CPython reads, or nothing.

mod error;
mod expansion;
mod item;
mod literal;
mod machine;
mod memo;
mod number;
mod object;
mod opcode;
mod reader;
pub mod scan;
mod stack;
mod text;
mod tree;
pub mod value;
pub mod verify;
pub mod write;

pub use error::{Key, PickleError};
pub use scan::{Payload, V1Fields, scan};
pub use tree::{dict_value, payload_value};
pub use value::{Object, Value};
pub use verify::checksum_matches;
pub use write::{Plain, write};

#[cfg(test)]
mod samples {
    //! Pickles for this module's tests.

    /// A message whose payload is what these opcodes push.
    pub(super) fn message(payload: &[u8]) -> Vec<u8> {
        let mut pickle = b"\x80\x02}(U\x04nameU\x05greetU\x07payload".to_vec();
        pickle.extend_from_slice(payload);
        pickle.extend_from_slice(b"U\x03ackK\x01U\ttimestampG");
        pickle.extend(1_763_866_000.25_f64.to_be_bytes());
        pickle.extend_from_slice(b"U\x08checksumU 000102030405060708090a0b0c0d0e0fu.");
        pickle
    }

    /// A message in which the opcodes `from` are replaced by `to`.
    pub(super) fn changed(from: &[u8], to: &[u8]) -> Vec<u8> {
        let pickle = message(b"U\x05hello");
        let at = pickle.windows(from.len()).position(|window| window == from).unwrap();
        [&pickle[..at], to, &pickle[at + from.len()..]].concat()
    }

    /// Opcodes for lists within lists, this many deep.
    pub(super) fn nested_lists(depth: usize) -> Vec<u8> {
        [vec![b']'; depth], vec![b'a'; depth - 1]].concat()
    }

    /// Opcodes for a tuple of two tuples that are the same, and so on: 2^`levels` nodes.
    pub(super) fn doubling(levels: u8) -> Vec<u8> {
        let mut opcodes = b")".to_vec();
        for level in 0..levels {
            opcodes.extend([b'q', level, b'h', level, 0x86]);
        }
        opcodes
    }
}
