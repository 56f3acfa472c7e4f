//! The crash torture, as far as it needs no process: what its messages hold, how the processes that it
//! kills report, and the account of all messages. The program is in `bin/mezzenger-torture`.
//!
//! - [`content`]: payloads that tell which message they are, and whether they are whole.
//! - [`report`]: the lines by which publishers and subscribers tell what happened.
//! - [`ledger`]: who owes what: the account of every message.
//! - [`ports`]: ports that stay free while their server is dead.

pub mod content;
pub mod ledger;
pub mod ports;
pub mod report;
