//! The client: publishes, subscribes, acknowledges, reconnects.
//!
//! - `handle`: [`Client`], what users hold; `builder` makes it of its `options`; `error`, `payload`, `outcome`, `report`: what
//!   they give and get; `archive`: typed values, and what they are called; `core`: what the handles share.
//! - `publisher`: gives messages to the outbox; `outgoing`: with headers, and requests.
//! - `outbox`: where published messages gather into frames, `batches` what its lock guards, `pace` how much
//!   of it may leave; `receipt`: the promise of an answer.
//! - `requester`: a client's turns, which send requests and read answers and deliveries; `line`: the connection, which
//!   publishers may send on too; `seal`: stamps what leaves; `in_flight`: which answer is whose, and when
//!   to send again; `errands`: acknowledgements and pings; `links`: what becomes of the connection.
//! - `receive`: subscriptions, read like an iterator or by a callback, and groups; `verify`: checksums; `missed`: sees gaps.
//! - `threads`: who does the turns, and who calls callbacks meanwhile; `watchdog`: sees which take long.
//! - `dead_letters`: what groups gave up: asks for it, replays and purges it.
//! - `groups`: creates and deletes durable groups, and lists all.
//! - `retained`: the last messages of names: asks for them, and clears them.
//! - `here`: what this thread must not wait for; `process`: whether this is the child of a fork.
//! - `message`: a received message, a view of its frame. `worker`: threads whose end is waited for within a bound.
//! - `waiting`: what threads and tasks wait with; `mode`: which of them wait. `asynchronous`, with the feature `tokio`: the
//!   client whose calls are futures, and the task that does its work.
//! - `driven`: a client without threads, for measurements.

mod archive;
#[cfg(feature = "tokio")]
pub mod asynchronous;
mod batches;
mod builder;
mod core;
mod dead_letters;
#[cfg(feature = "internals")]
pub(crate) mod driven;
mod errands;
mod error;
mod groups;
mod handle;
mod here;
mod in_flight;
mod line;
mod links;
mod message;
mod missed;
mod mode;
mod options;
mod outbox;
mod outcome;
mod outgoing;
mod pace;
mod payload;
mod process;
mod publisher;
mod receipt;
mod receive;
mod report;
mod requester;
mod retained;
mod seal;
#[cfg(all(test, not(loom)))]
mod tests;
mod threads;
mod verify;
mod waiting;
mod watchdog;
mod worker;

pub use archive::{
    ArchivePayload, ArchiveType, ArchivedForm, TypedPayload, layout_of, layout_of_fields,
};
pub use builder::ClientBuilder;
pub use dead_letters::{DeadLetter, DeadLetterCause, DeadLetters};
pub use error::{
    ConnectError, DeadLetterError, ReceiveError, RequestError, SendError, SubscribeError,
};
pub use groups::{DurableGroupBuilder, Group, GroupError, Groups};
pub use handle::Client;
pub use links::{ConnectionEvent, DisconnectReason};
pub use message::Message;
pub use mode::Blocking;
pub use outcome::{Outcome, Verdict};
pub use outgoing::OutgoingMessage;
pub use payload::{Payload, PayloadError};
pub use receipt::Receipt;
pub use receive::{Delivery, Filter, GroupBuilder, Subscription, SubscriptionBuilder};
pub use report::{Blocked, Counters, Failure, Missed};
pub use retained::{Retained, RetainedError, RetainedMessage};
