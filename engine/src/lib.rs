//! Mezzenger, a message broker: the client, and the server as a library.
//!
//! Publishers send messages under a name to a [`Server`]. The server delivers each message to everyone who subscribed
//! to its name, or to one member of a group. It keeps a message that asks for acknowledgement, on disk if it has a
//! journal, and delivers it again until a subscriber acknowledges it. Clients of the original Mezzenger, in Python,
//! work unmodified.
//!
//! The guide in `docs/` describes what is promised; start with `docs/getting-started.md`.
//!
//! [`Client::connect`] takes a host, whose port is then 7202, or `host:7302`, or a URL, `mezzenger://host:7302`.
//!
//! Features: `tokio` adds the module `asynchronous`, a client whose calls are futures. It is off by default.
//!
//! # Publish
//!
//! ```
//! use mezzenger::{Client, Server};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A server inside this program. Others run mezzenger-server, and clients call Client::connect("host").
//! let server = Server::builder().pub_port(0).recv_port(0).start()?;
//! let client = Client::builder().port(server.recv_addr().port()).connect()?;
//!
//! // Returns when the server has accepted the message; if it has a journal, when the message is on disk.
//! client.message("orders.new", "tea").ack().send()?;
//! // The fast path: returns at once, and sends several messages in one frame.
//! for n in 0..1000 {
//!     client.publish("orders.new", format!("order {n}"))?;
//! }
//! client.flush()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Work
//!
//! Each message goes to one member of a group, until a member acknowledges it. [`Delivery`] has the verdicts: acknowledge, ask
//! for a later attempt, extend, reject.
//!
//! ```
//! # use mezzenger::{Client, Filter, Server};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = Server::builder().pub_port(0).recv_port(0).start()?;
//! # let client = Client::builder().port(server.recv_addr().port()).connect()?;
//! let mut jobs = client.subscription_to(Filter::pattern("orders.*")).group("packers").open()?;
//! client.message("orders.new", "tea").ack().send()?;
//! let job = jobs.recv()?;
//! assert_eq!((job.name(), job.text(), job.attempt()), ("orders.new", Some("tea"), 1));
//! job.ack();
//! # Ok(())
//! # }
//! ```
//!
//! [`GroupBuilder::call`] calls a function for each message and takes its result as the verdict.
//! [`SubscriptionBuilder::observe`] makes an observer, which acknowledges nothing. [`Client::subscribe`] calls a function
//! for each message of a name.
//!
//! # Request
//!
//! A request waits for its reply, and fails at once if no subscriber other than observers receives it.
//!
//! ```
//! # use std::time::Duration;
//! # use mezzenger::{Client, RequestError, Server};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let server = Server::builder().pub_port(0).recv_port(0).start()?;
//! # let client = Client::builder().port(server.recv_addr().port()).connect()?;
//! let second = Duration::from_secs(1);
//! let nobody = client.message("words", "one two").request(second).unwrap_err();
//! assert!(matches!(nobody, RequestError::NoSubscriber { .. }));
//!
//! let requests = client.subscription("words")?;
//! std::thread::spawn(move || {
//!     for request in requests {
//!         let words = request.text().unwrap_or_default().split_whitespace().count();
//!         if let Err(error) = request.reply(words.to_string()) {
//!             eprintln!("no answer to {}: {error}", request.id());
//!         }
//!     }
//! });
//! assert_eq!(client.message("words", "one two").request(second)?.text(), Some("2"));
//! # Ok(())
//! # }
//! ```
//!
//! # Stop
//!
//! A client stops with [`Client::stop`], or when its last handle is dropped. It first sends what was published, and waits
//! for the answers within a bound. The server delivers what was not acknowledged to others.
//!
//! # The map
//!
//! - [`Client`], made by a [`ClientBuilder`]: publishes messages, subscribes to them, acknowledges them.
//! - [`Server`], configured by [`Config`] or a [`ServerBuilder`]: a broker in this process. [`config`] has the
//!   defaults that programs name.
//! - [`access`]: permissions of clients.
//! - [`curve`]: keys, for connections that are authenticated and encrypted.
//! - [`inspect_journal`], [`read_journal`], [`copy_journal`], [`repair_journal`], [`compact_journal`]: a server's file, read, copied and repaired.
//! - [`inspect`]: what a running server reports of itself.
//!
//! Everything else is private. `docs/architecture.md` describes the modules, and which may use which.

// Without these doors, what is behind them has no caller.
#![cfg_attr(
    not(all(feature = "internals", feature = "tokio")),
    allow(dead_code, unreachable_pub, unused_imports)
)]

pub mod access;
mod broker;
mod client;
pub mod config;
pub mod curve;
mod dump;
mod escape;
mod hash;
pub mod inspect;
mod inspector;
mod log_budget;
mod metrics;
mod net;
mod plural;
mod random;
mod server;
mod slab;
mod sync;
mod zmtp;

// For tests and measurements.
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
#[cfg(feature = "tokio")]
pub use client::asynchronous;
pub use client::{
    AdminError, ArchivePayload, ArchiveType, Blocked, Blocking, Client, ClientBuilder,
    ConnectError, ConnectionEvent, Counters, DeadLetter, DeadLetterCause, DeadLetters, Delivery,
    DisconnectReason, DurableGroupBuilder, Failure, Filter, Group, GroupBuilder, Groups, Message,
    Missed, Outcome, OutgoingMessage, Payload, PayloadError, Receipt, ReceiveError, RequestError,
    Retained, RetainedMessage, SendError, SubscribeError, Subscription, SubscriptionBuilder,
    TypedPayload, Verdict,
};
#[doc(hidden)]
pub use client::{ArchivedForm, layout_of, layout_of_fields};
pub use config::{Config, ConfigError, SlowSubscriber, Verify};
pub use dump::{JournalMessage, JournalMessages, read_journal};
#[doc(hidden)]
pub use escape::{escape_hidden, is_hidden};
pub use inspector::Inspector;
pub use journal::{
    Damage as JournalDamage, DamageReport as JournalDamageReport, FsyncPolicy, FsyncPolicyError,
    Inspection as JournalInspection, JournalError, OpenError as JournalOpenError,
    Records as JournalRecords, Rewritten as JournalRewritten, Torn as JournalTorn, compact_journal,
    copy_journal, inspect_journal, repair_journal,
};
#[doc(hidden)]
pub use log_budget::LogBudgets;
pub use metrics::{Histogram, Metrics, Traffic};
pub use server::{
    AccessHandle, ControlHandle, KeysHandle, Server, ServerBuilder, StartError, StopHandle,
};
pub use wire::checksum::Checksum;
pub use wire::filter::FilterError;
pub use wire::id::{MessageId, MessageIdError};
pub use wire::name::{NameError, check_group as check_group_name, check_publishable as check_name};
pub use wire::pickle::{Object, PickleError, Value};
pub use wire::properties::{PayloadType, PropertiesError};
pub use wire::record::Encoding;
