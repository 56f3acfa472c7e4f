//! The broker: requests in, frames and replies out.
//!
//! [`core`] decides everything and touches nothing: no socket, no file, no clock, no thread. Events are
//! calls to its methods, and what is to happen leaves it as [`effect`]s. Its parts: [`publish`] takes
//! messages, [`resend`] sends the unacknowledged ones again, [`transcode`] carries them between the two
//! formats, [`publishers`] recognises what was sent before, [`topics`] knows who wants what,
//! [`waiting`] holds what nobody wants yet, [`parked`] what waits for the journal, and [`place`] says where
//! an unacknowledged message is.
//!
//! [`run`] owns the sockets and the thread; [`ingress`] reads requests for it, [`egress`] carries
//! effects out and holds publishers back when a subscriber is full; [`held_back`] says for how long,
//! [`log_rate`] how often a line is logged, [`drain`] when each step of the end is over.

mod core;
pub(crate) mod drain;
mod effect;
mod egress;
mod held_back;
mod ingress;
pub(crate) mod log_rate;
mod parked;
mod place;
mod publish;
mod publishers;
mod resend;
pub(crate) mod run;
mod topics;
mod transcode;
mod waiting;

#[cfg(test)]
mod tests;
