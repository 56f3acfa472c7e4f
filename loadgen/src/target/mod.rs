//! Targets of a run, and the seam to them.
//!
//! - `ends`: one end for each publisher and subscriber, whatever the target.
//! - `mezzenger`: ends that are clients of this project, for a server, the relay or the forwarder.
//! - `libzmq`: ends that are libzmq's own sockets, for the forwarder.
//! - `relay` and `forwarder`: two targets that are child processes of the run.
//! - `peers`: ends that are other brokers' own clients.
//! - `native`: what those two answer on a client's connection for requests.
//! - `info`: what results say of a target. `common`: what all ends share.

mod common;
mod ends;
#[cfg(feature = "libzmq")]
pub(crate) mod forwarder;
mod info;
#[cfg(feature = "libzmq")]
mod libzmq;
mod mezzenger;
mod native;
#[cfg(feature = "peers")]
mod peers;
pub(crate) mod relay;

pub(crate) use common::{Finished, Run};
pub(crate) use ends::{ConnectError, Ends, PublishError, PublisherEnd, SubscriberEnd, Taken};
