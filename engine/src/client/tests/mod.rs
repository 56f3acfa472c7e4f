//! What a client promises, against a server that can be watched and spoiled.

mod archives;
#[cfg(feature = "tokio")]
mod asynchronous;
mod callbacks;
mod connecting;
mod dead_letters;
mod delays;
mod durable_groups;
mod events;
mod expiry;
mod fake_server;
mod forks;
mod group_callbacks;
mod groups;
mod keys;
mod lifecycle;
mod publishing;
mod receiving;
mod requests;
mod retained;
pub(super) mod subscriptions;
