//! `mezzenger._core`: what the Python package is made of. The client is the Rust client whose calls are futures, driven by a thread of
//! its own; a blocking call polls its future until it is done, and asyncio polls it when it was woken.
//!
//! No thread but Python's own ever takes the interpreter: what the client has to tell waits in queues that Python threads, or an
//! event loop, take from. So nothing of this waits for an interpreter that is ending.
//!
//! - `client`: [`client::Core`], what both clients hold; `options`: what it is made with; `outgoing`: what publishing takes.
//! - `payload`: what can be published; `buffer`: Python's buffers, the only place with unsafe code; `time`: durations and times.
//! - `message`: a received message; `delivery`: what its receiver says of it; `subscription`: where they come from; `filter`.
//! - `calls`: the callbacks of a blocking client, and the turns in which they are called.
//! - `receipt`: the promise of the server's answer; `manage`: groups, dead letters and retained messages.
//! - `arguments`: how arguments are read, and errors of them; `forks`: whether this is still the process that something was made in.
//! - `wait`: how a blocking call waits; `operation`: a call that was begun; `reactor`: how an event loop hears of its end.
//! - `events`: what the client reports; `logs`: the library's log, for Python's logging.
//! - `server`: the broker in this process; `programs`: the programs of the package; `errors`: the exceptions.

mod arguments;
mod buffer;
mod calls;
mod client;
mod delivery;
mod errors;
mod events;
mod filter;
mod forks;
mod logs;
mod manage;
mod message;
mod operation;
mod options;
mod outgoing;
mod payload;
mod programs;
mod reactor;
mod receipt;
mod server;
mod subscription;
mod time;
mod wait;

/// The compiled part of the package `mezzenger`.
#[pyo3::pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use crate::calls::{Call, Calls};
    #[pymodule_export]
    use crate::client::{Core, check_payloads};
    #[pymodule_export]
    use crate::delivery::{AioDelivery, BaseDelivery, Delivery, Verdict};
    #[pymodule_export]
    use crate::events::EventQueue;
    #[pymodule_export]
    use crate::filter::Filter;
    #[pymodule_export]
    use crate::forks::forked;
    #[pymodule_export]
    use crate::logs::{next_logs, set_log_level, stop_logs};
    #[pymodule_export]
    use crate::manage::Manager;
    #[pymodule_export]
    use crate::message::Message;
    #[pymodule_export]
    use crate::operation::Operation;
    #[pymodule_export]
    use crate::programs::{run_cli, run_server};
    #[pymodule_export]
    use crate::reactor::Reactor;
    #[pymodule_export]
    use crate::receipt::Receipt;
    #[pymodule_export]
    use crate::server::Server;
    #[pymodule_export]
    use crate::subscription::Subscription;
    #[pymodule_export]
    use crate::time::seconds;
}
