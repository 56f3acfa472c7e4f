//! The connection to a server, and the one state machine that does a client's work.
//!
//! - `requester`: a client's turns, which send requests and read answers and deliveries.
//! - `shared_connection`: the connection itself, on which publishers may send, too; `links`: what becomes of it, and where the next one leads.
//! - `answers`: what the server's answers mean.
//! - `seal`: stamps what leaves; `in_flight`: which answer is whose, and when to send again; `control_queue`: acknowledgements, pings and
//!   what else is asked for.

mod answers;
pub(super) mod control_queue;
pub(super) mod in_flight;
pub(super) mod links;
pub(super) mod requester;
pub(super) mod seal;
pub(super) mod shared_connection;
