//! Ports that stay free while their server is dead.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

/// First port that the system hands out by itself, where it does not say.
const EPHEMERAL_FROM: u16 = 32_768;

/// Lowest port that is tried.
const PORT_MIN: u16 = 10_000;

/// Two ports on which nothing listens.
///
/// They lie below those that the system hands out: a client that tries again and again to reach a dead
/// server at one of those gets it, sooner or later, as its own, is connected with itself, and the server
/// finds the port taken.
pub fn pair(random: &mut fastrand::Rng) -> [u16; 2] {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok();
    let from = range.and_then(|text| text.split_whitespace().next()?.parse().ok());
    let end = from.filter(|from| *from > PORT_MIN + 100).unwrap_or(EPHEMERAL_FROM);
    // Both are held until both are found, so that they differ.
    let mut held = Vec::new();
    while held.len() < 2 {
        let port = random.u16(PORT_MIN..end);
        held.extend(
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map(|listener| (port, listener)),
        );
    }
    [held[0].0, held[1].0]
}
