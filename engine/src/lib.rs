//! Mezzenger: a small, fast broker for named messages.

pub mod journal;
pub mod limits;
pub mod message;
pub mod pending;
pub mod retry;
pub mod transport;
pub mod wire;

pub use wire::checksum::Checksum;
pub use wire::id::MessageId;
pub use wire::name::NameError;
pub use wire::record::Encoding;
