//! Mezzenger: a small, fast broker for named messages.
//!
//! Publishers send messages under a name to a [`Server`]; the server sends each to everyone who
//! subscribed to that name. A message that asks for it is kept, on disk if the server has a journal,
//! and sent again until one subscriber acknowledged it. Clients of the original Mezzenger, in Python,
//! work unmodified.
//!
//! ```
//! use std::time::Duration;
//!
//! use mezzenger::{Client, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::builder().pub_port(0).recv_port(0).start()?;
//! let client = Client::builder()
//!     .send_port(server.recv_addr().port())
//!     .sub_port(server.pub_addr().port())
//!     .connect()?;
//! let mut greetings = client.subscription("greet")?;
//! client.send_message("greet", "hello", true)?;
//! assert_eq!(greetings.recv_timeout(Duration::from_secs(5))?.text(), Some("hello"));
//! # Ok(())
//! # }
//! ```
//!
//! # The map
//!
//! Bytes flow one way: sockets bring them in, [`wire`] gives them meaning, [`message`] is what is
//! kept of them, the broker decides, [`pending`], [`retry`] and [`journal`] remember, and sockets
//! take them out again. `engine/docs/architecture.md` has the rules of who may use what.
//!
//! - [`Client`], in [`client`]: publishing, subscribing, acknowledging.
//! - [`Server`]: a broker in this process, configured by [`Config`].
//! - [`wire`]: both formats as bytes, for whoever speaks to a broker without the client.
//! - [`message`]: a message as the broker keeps it.
//! - [`pending`]: the lock-free map of unacknowledged messages.
//! - [`retry`]: when to send one again.
//! - [`journal`]: the file that outlives the server.
//! - [`limits`] and [`config`]: every bound, and every setting with its default.
//! - [`metrics`]: what a server counts.

// Without the door, the few functions behind it have no caller.
#![cfg_attr(not(feature = "internals"), allow(dead_code, unreachable_pub))]

mod broker;
pub mod client;
pub mod config;
mod hash;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
pub mod journal;
pub mod limits;
pub mod message;
pub mod metrics;
mod net;
pub mod pending;
pub mod retry;
mod server;
mod slab;
mod sync;
pub mod wire;
mod zmtp;

pub use broker::run::RunError;
pub use client::{
    ArchivePayload, Blocked, Client, ClientBuilder, ConnectError, ConnectionEvent, Counters,
    DisconnectReason, Failure, Link, Message, Missed, Outcome, Payload, PayloadError, Receipt,
    ReceiveError, SendError, SubscribeError, Subscription,
};
pub use config::{Config, SlowSubscriber};
pub use metrics::Metrics;
pub use server::{Server, ServerBuilder, StartError, StopHandle};
pub use wire::checksum::Checksum;
pub use wire::id::MessageId;
pub use wire::name::NameError;
pub use wire::pickle::Value;
pub use wire::record::Encoding;
