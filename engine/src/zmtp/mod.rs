//! [ZMTP](https://rfc.zeromq.org/spec/37/): what both ends of a ZeroMQ connection say to each other. Pure: bytes
//! in, bytes and events out; no socket, no clock.
//!
//! - [`frame`]: heads of frames; [`command`]: what ends say between messages; [`error`]: why a connection ends.
//! - [`inbox`]: received bytes, cut into frames.
//! - [`handshake`]: what a client says first, and checks; [`greeting`]: the server's first words.
//! - [`curve`]: the handshake of peers that have keys, and what they seal.
//! - [`plain`]: the handshake of clients that say a password.
//! - [`session`]: the server's end of a connection; [`envelope`]: the frames of a request.

pub(crate) mod command;
pub(crate) mod curve;
pub(crate) mod envelope;
pub(crate) mod error;
pub(crate) mod frame;
pub(crate) mod greeting;
pub(crate) mod handshake;
pub(crate) mod inbox;
pub(crate) mod plain;
pub(crate) mod session;
