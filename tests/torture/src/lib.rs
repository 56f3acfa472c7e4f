//! The crash torture, as far as it needs no process: what its messages hold, how the processes that it
//! kills report, and the account of all messages. The program is in `bin/mezzenger-torture`.
//!
//! - [`content`]: payloads that tell which message they are, and whether they are whole.
//! - [`jobs`]: messages for durable groups, and what their workers say of each.
//! - [`report`]: the lines by which publishers, subscribers and workers tell what happened.
//! - [`ledger`]: who owes what: the account of every message.
//! - [`job_ledger`]: how each job ended, in each group that had to work at it.
//! - [`ports`]: ports that stay free while their server is dead.

pub mod content;
pub mod job_ledger;
pub mod jobs;
pub mod ledger;
pub mod ports;
pub mod report;
