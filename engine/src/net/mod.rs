//! Sockets and waiting. Knows ZMTP's frames, not what messages mean.
//!
//! - `sending`: bytes that wait for the system; `stream`: a client's bytes both ways.
//! - `dial`: addresses, and non-blocking connections to them.
//! - [`connection`]: a client's connection, replaced when lost.
//! - [`socket`]: a stream of bytes, and what a server needs of the system; [`listen`]: the system's.
//! - [`waker`]: ends another thread's wait; [`wait`]: for a connection and a waker together.

use std::net::{IpAddr, Ipv6Addr};

pub(crate) mod connection;
mod dial;
pub(crate) mod listen;
#[cfg(all(loom, test))]
pub(crate) mod loom_tests;
pub(crate) mod sending;
pub(crate) mod socket;
mod stream;
#[cfg(all(test, not(loom)))]
pub(crate) mod tests;
pub(crate) mod wait;
pub(crate) mod waker;

/// Whose share of what is bounded by address this is: the address, or of IPv6 the network of 64 bits, as one machine has all of
/// its addresses.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        ip @ IpAddr::V4(_) => ip,
    }
}
