//! The client's end of a ZeroMQ connection, without threads of its own.
//!
//! libzmq moves bytes on I/O threads: each message wakes one on its way out and one on its way in, which
//! costs more than all that the message itself costs. A client that writes from the thread that publishes
//! and reads on the thread that delivers saves both. This is [ZMTP 3.0](https://rfc.zeromq.org/spec/23/)
//! with the NULL mechanism, as a DEALER or a SUB socket speaks it to a server made with libzmq.
//!
//! - `frame`: heads of frames; `handshake`: what both ends say first. Pure.
//! - `inbox`: received bytes, cut into frames without a copy; `sending`: bytes that wait for the system;
//!   `stream`: both.
//! - `dial`: addresses, and non-blocking connections to them.
//! - [`connection`]: all of them together, made anew when lost; [`subscribing`]: one that remembers its
//!   subscriptions. `wait`: for a connection and a waker together.

pub(crate) mod connection;
mod dial;
pub(crate) mod error;
pub(crate) mod frame;
pub(crate) mod handshake;
pub(crate) mod inbox;
pub(crate) mod sending;
mod stream;
pub(crate) mod subscribing;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod wait;
