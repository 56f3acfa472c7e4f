//! The regression gate: exact counts of what a message costs, against a baseline in git, and the
//! server's throughput as a ratio to the relay's in the same run.
//!
//! - [`flow`]: what is measured. [`pipeline`] runs it on one thread, with `ends` at both of its ends (or says why not: [`error`]),
//!   [`storage`] under the journal, payloads from [`payload`], and [`seed`] to make it worse on purpose.
//!   What is counted happens in the functions of [`side`].
//! - [`valgrind`] counts it, [`callgrind`] and [`dhat`] read its profiles; [`resident`] measures memory;
//!   [`measure`] puts it all together into [`costs`], from what [`programs`] built.
//! - [`baseline`] is the file, with the [`fingerprint`] of the tools; [`judge`] compares.
//! - [`loadgen`] measures rates in turns, [`ratio`] judges them.
//! - [`report`]: what people read.

pub mod baseline;
pub mod callgrind;
pub mod costs;
pub mod dhat;
mod ends;
pub mod error;
pub mod fingerprint;
pub mod flow;
pub mod judge;
pub mod loadgen;
pub mod measure;
pub mod payload;
pub mod pipeline;
pub mod programs;
pub mod ratio;
pub mod report;
pub mod resident;
pub mod seed;
pub mod side;
pub mod storage;
pub mod valgrind;
