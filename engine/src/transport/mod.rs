//! libzmq, and nothing else: the only module that uses it.
//!
//! - [`part`]: one frame of a message, moved in and out of reference-counted buffers without a copy.
//! - [`socket`]: the four kinds of socket the system uses, non-blocking, with their options.
//! - [`mod@poll`]: waits for sockets and wakers together.
//! - [`waker`]: lets another thread end that wait.
//! - [`connections`]: counts connections, and refuses those that are too many.
//! - [`peers`]: finds and disconnects subscribers that do not read.

pub mod connections;
pub mod part;
pub mod peers;
pub mod poll;
pub mod socket;

pub use part::Part;
pub use poll::{Ready, poll};
pub use socket::{Context, Received, Socket, SocketOptions, TransportError};
