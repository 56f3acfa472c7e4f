//! What is measured around the messages, and what a measurement leaves behind: for the programs that
//! write it and those that read it.
//!
//! - [`Run`]: the figures of one run, as they stand in its JSON object; [`Record`]: such a file, which
//!   may hold several runs of the same command.
//! - [`Figure`]: a figure that runs are compared by; [`Spread`]: its median, minimum and maximum.
//! - [`Environment`] and [`Disk`]: where and with what was measured. [`process`]: what a process uses.
//! - [`hgrm`]: a latency distribution as text, which common plotters read.
//! - [`chart`]: SVG charts.
//! - [`ready`]: what a server says once it listens.
//! - [`number`]: figures as people read them.

pub mod chart;
mod disk;
mod environment;
mod figure;
pub mod hgrm;
pub mod number;
pub mod process;
pub mod ready;
mod record;
mod run;
mod spread;

pub use disk::Disk;
pub use environment::Environment;
pub use figure::{Better, Figure};
pub use record::{ReadError, Record};
pub use run::{Churned, Durability, Idle, Quantiles, Run, ServerFigures, Step, TargetInfo};
pub use spread::Spread;
