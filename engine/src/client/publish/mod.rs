//! Publishing: messages, the queue that gathers them into frames, and receipts.
//!
//! - `payload`, `archive`: what a message carries; typed values, and what they are called.
//! - `outgoing`: a message with headers, and requests; `publisher` gives it to the outbox; `receipt`: the promise of an answer.
//! - `outbox`: where messages gather into frames, `batches` what its lock guards, `pace` how much of it may leave, `detached`
//!   what is summed before it does.

pub(super) mod archive;
pub(super) mod batches;
pub(super) mod detached;
pub(super) mod outbox;
pub(super) mod outgoing;
pub(super) mod pace;
pub(super) mod payload;
pub(super) mod publisher;
pub(super) mod receipt;
