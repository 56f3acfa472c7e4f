//! The broker: requests in, frames and replies out.
//!
//! [`core`] decides everything and touches nothing: no socket, no file, no clock, no thread. Events are
//! calls to its methods, and what is to happen leaves it as [`effect`]s. Its methods stand in several files:
//! [`publish`] takes messages, [`large`] those that take long to check, [`delivery`] gives them to whoever wants
//! them, [`resend`] sends the unacknowledged ones again, [`control`] is what clients ask for besides publishing,
//! [`native`] delivers to their subscriptions as far as their credit goes, [`members`] to those in groups, [`durable`] is
//! which groups stay without members, [`permitting`] whether they may, [`dead_letters`] what groups give up, [`times`] what messages' times
//! have come or are over, [`storing`] what waits for the journal, [`keying`] what is published again under a key, [`retaining`]
//! what is given to who subscribes with the last values, [`restore`] takes back what it kept, and [`inspected`] tells of all that.
//!
//! It decides with values that do not know it: [`backlog`] holds every unacknowledged message, [`publishers`]
//! and [`contents`] recognise what was sent before, [`subscribers`] knows who wants what, [`groups`] which member of a
//! group has what, [`letters`] what groups gave up, [`retained`] the last messages of names, [`keys`] publishers' own keys, [`permits`] what clients may do, [`replies`] is what waits for the journal, [`outgoing`] what is to be published, and [`redelivery_scan`]
//! makes messages due at once that went only to connections that are gone. [`check`] looks whether messages are in
//! order, [`refusal`] says why not; [`transcode`] carries messages between the two formats, and [`transcode_queue`] does that
//! for those that are delivered later.
//!
//! [`run`] owns the thread: [`readable`] says whose turn it is, [`reading`] reads, [`connections`] takes connections in, reads, writes and ends them; [`peer`] is
//! one of them, [`peers`] their table, [`admission`] says who may connect, [`securing`] ends those whose keys may no longer, [`timers`] when their deadlines
//! are; [`checking`] hands over to the thread of [`checker`] what takes long to check; [`output`] is what waits
//! to leave on one, [`frames`] what several share; [`slow`] finds subscribers that do not keep up, and holds
//! publishers back. [`inspecting`] answers questions about the server, [`hold_time`] adds up how long publishers wait. [`live`] takes other settings while it runs. [`logins`] has the thread that checks passwords; [`audit`] writes who comes and what is rejected; [`log_rate`] says how often a line is logged, [`drain`] when each step of the end is over,
//! and [`end`] is its last part.

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
