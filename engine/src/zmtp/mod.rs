//! [ZMTP](https://rfc.zeromq.org/spec/23/): what both ends of a ZeroMQ connection say to each other. Pure: bytes
//! in, bytes and events out; no socket, no clock.
//!
//! - `frame`: heads of frames; `handshake`: what both ends say first; `error`: why a connection ends.

pub(crate) mod error;
pub(crate) mod frame;
pub(crate) mod handshake;
