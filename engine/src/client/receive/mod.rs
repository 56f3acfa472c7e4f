//! Subscriptions: opening them, and receiving what they deliver.
//!
//! - [`Filter`]: which messages; `settings`: all that a subscription is opened with, `policy` what a group's members agree on; `builder` collects, and `opener` opens it.
//! - `message`: what was received, a view of its frame; `outcome`: what a callback says of it. `verify`: checksums; `missed`: sees gaps.
//! - `registry`: the I/O thread's list of subscriptions, which asks the server and hands deliveries on; `commands`:
//!   what other threads want of it.
//! - `inbox`: what waits for one reader, and its credit. Readers are a [`Subscription`], whose messages are each a
//!   [`Delivery`]; a `handler`, which calls a callback (`callbacks` has them all); and `replies`, for whoever waits for the
//!   answers to `requests`.

mod builder;
mod callbacks;
mod commands;
mod delivery;
mod filter;
mod handler;
mod inbox;
pub(super) mod message;
pub(super) mod missed;
mod opener;
pub(super) mod outcome;
mod policy;
mod registry;
mod replies;
mod requests;
mod settings;
mod subscription;
pub(super) mod verify;

pub use builder::{GroupBuilder, SubscriptionBuilder};
pub(super) use callbacks::Callbacks;
pub(super) use commands::Commands;
pub use delivery::Delivery;
pub(super) use delivery::Settler;
pub use filter::Filter;
pub(super) use handler::Callback;
pub(super) use inbox::Inbox;
pub(super) use opener::Opener;
pub(super) use policy::Policy;
pub(super) use registry::{Asked, Registry};
#[cfg(all(test, not(loom)))]
pub(super) use replies::Replies;
pub(super) use replies::Request;
pub(super) use requests::Requests;
pub use subscription::Subscription;
