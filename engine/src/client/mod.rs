//! The client: publishes, subscribes, acknowledges, reconnects.
//!
//! - `handle`: [`Client`], what users hold; `builder` makes it of its `options`; `error`, `payload`, `outcome`, `report`: what
//!   they give and get; `core`: what the handles share.
//! - `publisher`: gives messages to the outbox; `outgoing`: with headers, and requests.
//! - `outbox`: where published messages gather into frames, `batches` what its lock guards, `pace` how much
//!   of it may leave; `receipt`: the promise of an answer.
//! - `requester`: the thread that sends requests and reads the answers; `line`: its connection, which
//!   publishers may send on too; `seal`: stamps what leaves; `in_flight`: which answer is whose, and when
//!   to send again; `errands`: acknowledgements and pings; `links`: what
//!   becomes of both connections.
//! - `subscriber`: the thread that owns the receiving connection; `routes`: who wants what; `delivery`:
//!   hands it to them; `verify`: checksums; `missed`: sees gaps.
//! - `receive`: subscriptions on the connection for requests, read like an iterator, and groups.
//! - `dead_letters`: what groups gave up: asks for it, replays and purges it.
//! - `here`: which thread must not wait.
//! - `message`: a received message, a view of its frame. `worker`: threads that end within a bound.
//! - `driven`: a client without threads, for measurements.

mod batches;
mod builder;
mod claim;
mod core;
mod dead_letters;
mod delivery;
#[cfg(feature = "internals")]
pub(crate) mod driven;
mod errands;
mod error;
mod handle;
mod here;
mod in_flight;
mod line;
mod links;
#[cfg(all(loom, test))]
mod loom_tests;
mod message;
mod missed;
mod options;
mod outbox;
mod outcome;
mod outgoing;
mod pace;
mod payload;
mod publisher;
mod receipt;
mod receive;
mod report;
mod requester;
mod routes;
mod seal;
mod subscriber;
#[cfg(all(test, not(loom)))]
mod tests;
mod verify;
mod worker;

pub use builder::ClientBuilder;
pub use dead_letters::{DeadLetter, DeadLetters};
pub use error::{
    ConnectError, DeadLetterError, PayloadError, ReceiveError, RequestError, SendError,
    SubscribeError,
};
pub use handle::Client;
pub use links::{ConnectionEvent, DisconnectReason, Link};
pub use message::Message;
pub use outcome::Outcome;
pub use outgoing::OutgoingMessage;
pub use payload::{ArchivePayload, Payload};
pub use receipt::Receipt;
pub use receive::{Delivery, Filter, GroupBuilder, Subscription, SubscriptionBuilder};
pub use report::{Blocked, Counters, Failure, Missed};
