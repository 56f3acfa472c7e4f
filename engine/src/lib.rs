//! Mezzenger: a small, fast broker for named messages.

mod broker;
pub mod config;
pub mod journal;
pub mod limits;
pub mod message;
pub mod metrics;
pub mod pending;
pub mod retry;
mod server;
pub mod transport;
pub mod wire;

pub use broker::run::RunError;
pub use config::Config;
pub use metrics::Metrics;
pub use server::{Server, ServerBuilder, StartError, StopHandle};
pub use wire::checksum::Checksum;
pub use wire::id::MessageId;
pub use wire::name::NameError;
pub use wire::record::Encoding;
