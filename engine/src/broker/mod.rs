//! The broker: requests in, frames and replies out.
//!
//! [`core`] decides everything and touches nothing: no socket, no file, no clock, no thread. Events are calls to its
//! methods, and its decisions leave it as [`effect`]s. Each module's first line says what it does; the parts are:
//!
//! - The core's methods. Taking messages: [`publish`], [`large`], [`storing`], [`keying`], [`permitting`]. Delivering
//!   them: [`delivery`], [`native`], [`members`], [`resend`], [`retaining`], [`times`]. Groups: [`durable`],
//!   [`dead_letters`]. Other requests: [`control`], [`inspected`]. After a start: [`restore`].
//! - The values that it decides with, which do not know it. Messages: [`backlog`], [`retained`], [`letters`],
//!   [`outgoing`], [`redelivery_scan`]. Publishers: [`publishers`], [`contents`], [`keys`]. Subscribers: [`subscribers`],
//!   [`groups`], [`permits`]. Requests: [`check`], [`refusal`], [`replies`]. The two formats: [`transcode`],
//!   [`transcode_queue`].
//! - The thread, [`run`], and its methods: [`connections`], [`reading`], [`writing`], [`checking`], [`securing`],
//!   [`slow`], [`inspecting`], [`live`], [`end`].
//! - What the thread owns. Connections: [`peers`], [`peer`], [`admission`], [`timers`], [`readable`], [`held_events`],
//!   [`overdraft`], [`hold_time`]. Writing: [`output`], [`frames`], [`sealed`]. The log: [`audit`], [`log_rate`]. The end: [`drain`].
//! - Other threads: [`checker`], [`logins`].

pub(crate) mod admission;
mod audit;
mod backlog;
mod check;
pub(crate) mod checker;
mod checking;
mod connections;
mod contents;
mod control;
mod core;
mod dead_letters;
mod delivery;
mod drain;
mod durable;
mod effect;
mod end;
mod frames;
mod groups;
mod held_events;
mod hold_time;
mod inspected;
mod inspecting;
mod keying;
mod keys;
mod large;
mod letters;
pub(crate) mod live;
mod log_rate;
mod logins;
mod members;
mod native;
mod outgoing;
mod output;
mod overdraft;
mod peer;
mod peers;
mod permits;
mod permitting;
mod publish;
mod publishers;
mod readable;
mod reading;
mod redelivery_scan;
mod refusal;
mod replies;
mod resend;
pub(crate) mod restore;
mod retained;
mod retaining;
pub(crate) mod run;
mod sealed;
mod securing;
mod slow;
mod storing;
mod subscribers;
mod timers;
mod times;
mod transcode;
mod transcode_queue;
mod writing;

#[cfg(test)]
mod tests;
