//! What is subscribed to on the connection for requests, and what comes of it.
//!
//! - [`Filter`]: which messages; `terms`: all that a subscription is opened with; `builder` collects and opens it.
//! - `registry`: the request thread's list of subscriptions, which asks the server and hands deliveries on; `commands`:
//!   what other threads want of it.
//! - `inbox`: what waits for one reader, and its credit; `requests`, `replies`: answers, and who waits for them; [`Subscription`]: the reader; [`Delivery`]: what it reads.

mod builder;
mod commands;
mod delivery;
mod filter;
mod inbox;
mod registry;
mod replies;
mod requests;
mod subscription;
mod terms;

pub(super) use builder::Opener;
pub use builder::{GroupBuilder, SubscriptionBuilder};
pub(super) use commands::Commands;
pub use delivery::Delivery;
pub(super) use delivery::Voice;
pub use filter::Filter;
pub(super) use registry::{Asked, Registry};
pub(super) use requests::Requests;
pub use subscription::Subscription;
