//! The client: publishes, subscribes, acknowledges, reconnects.
//!
//! - `handle`: [`Client`], what users hold; `builder` makes it of its `options`; `core`: what the handles share; `mode`: whether calls
//!   wait on threads or in tasks.
//! - `publish`: payloads and messages, and how they leave. `receive`: subscriptions, groups and callbacks. `admin`: what the server
//!   keeps.
//! - `connection`: the one state machine, whose turns send and read. `run`: threads that do the turns; `asynchronous`, with the feature
//!   `tokio`: the client whose calls are futures, and the task that does its work. `waiting`: what threads and tasks wait with.
//! - `error`, `report`: errors and reports for users. `process`: whether this is the child of a fork.

mod admin;
#[cfg(feature = "tokio")]
pub mod asynchronous;
mod builder;
mod connection;
mod core;
mod error;
mod handle;
mod mode;
mod options;
mod process;
mod publish;
mod receive;
mod report;
pub(crate) mod run;
#[cfg(all(test, not(loom)))]
mod tests;
mod waiting;

pub use admin::dead_letters::{DeadLetter, DeadLetterCause, DeadLetters};
pub use admin::groups::{DurableGroupBuilder, Group, Groups};
pub use admin::retained::{Retained, RetainedMessage};
pub use builder::ClientBuilder;
pub use connection::links::{ConnectionEvent, DisconnectReason};
pub use error::{AdminError, ConnectError, ReceiveError, RequestError, SendError, SubscribeError};
pub use handle::Client;
pub use mode::Blocking;
pub use publish::archive::{
    ArchivePayload, ArchiveType, ArchivedForm, TypedPayload, layout_of, layout_of_fields,
};
pub use publish::outgoing::OutgoingMessage;
pub use publish::payload::{Payload, PayloadError};
pub use publish::receipt::Receipt;
pub use receive::message::Message;
pub use receive::outcome::{Outcome, Verdict};
pub use receive::{Delivery, Filter, GroupBuilder, Subscription, SubscriptionBuilder};
pub use report::{Blocked, Counters, Failure, Missed};
