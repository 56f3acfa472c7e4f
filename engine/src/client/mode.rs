//! Whether the calls of a client wait on a thread or in a task: what tells apart two kinds of one type.

/// Of a client whose calls wait on the thread that makes them: [`Client`](super::Client).
#[derive(Clone, Copy, Debug)]
pub enum Blocking {}

/// Of a client whose calls are futures: [`asynchronous::Client`](crate::asynchronous::Client).
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug)]
pub enum Asynchronous {}
