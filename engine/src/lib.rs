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
//! - [`Client`], made by a [`ClientBuilder`]: publishes messages, subscribes to them, acknowledges them.
//! - [`Server`], configured by [`Config`] or a [`ServerBuilder`]: a broker in this process. [`config`] has the
//!   defaults that programs name.
//! - [`inspect_journal`]: what a server's file holds.
//!
//! Everything else is private. `engine/docs/architecture.md` says what there is, and who may use what.

// Without the door, what is behind it has no caller.
#![cfg_attr(not(feature = "internals"), allow(dead_code, unreachable_pub, unused_imports))]

mod broker;
mod client;
pub mod config;
mod hash;
mod metrics;
mod net;
mod server;
mod slab;
mod sync;
mod zmtp;

// What tests and measurements use, too, by this door alone.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod journal;
#[cfg(not(feature = "internals"))]
mod journal;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod limits;
#[cfg(not(feature = "internals"))]
mod limits;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod message;
#[cfg(not(feature = "internals"))]
mod message;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod pending;
#[cfg(not(feature = "internals"))]
mod pending;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod retry;
#[cfg(not(feature = "internals"))]
mod retry;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod wire;
#[cfg(not(feature = "internals"))]
mod wire;

pub use broker::run::RunError;
pub use client::{
    ArchivePayload, Blocked, Client, ClientBuilder, ConnectError, ConnectionEvent, Counters,
    Delivery, DisconnectReason, Failure, Filter, GroupBuilder, Link, Message, Missed, Outcome,
    OutgoingMessage, Payload, PayloadError, Receipt, ReceiveError, RequestError, SendError,
    SubscribeError, Subscription, SubscriptionBuilder,
};
pub use config::{Config, ConfigError, SlowSubscriber, Verify};
pub use journal::{
    Damage as JournalDamage, DamageReport as JournalDamageReport, FsyncPolicy, FsyncPolicyError,
    Inspection as JournalInspection, JournalError, OpenError as JournalOpenError,
    Records as JournalRecords, Torn as JournalTorn, inspect_journal,
};
pub use metrics::Metrics;
pub use server::{Server, ServerBuilder, StartError, StopHandle};
pub use wire::checksum::Checksum;
pub use wire::filter::FilterError;
pub use wire::id::MessageId;
pub use wire::name::{NameError, check_prefix, check_publishable as check_name};
pub use wire::pickle::{Object, PickleError, Value};
pub use wire::properties::PropertiesError;
pub use wire::record::Encoding;
