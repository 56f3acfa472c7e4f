//! How many connections there may be, and what is said about those beyond.

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};

use crate::broker::log_rate::LogRate;
use crate::config::Config;
use crate::limits::DESCRIPTORS_SPARE;
use crate::transport::connections::{ConnectionBounds, OnOverflow, Overflow, descriptors_in_use};

/// So many connections, and no more than the system has descriptors for.
pub(super) fn bounds(connections: usize) -> ConnectionBounds {
    let allowed = descriptors_allowed();
    let descriptors = allowed - DESCRIPTORS_SPARE.min(allowed / 4);
    ConnectionBounds { connections, descriptors }
}

fn descriptors_allowed() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// So few connections are fewer than most servers need.
const FEW: u64 = 1024;

/// Says so when the system allows fewer connections than the configuration: loudly when these are few, or
/// were asked for.
pub(super) fn log_shortage(bounds: ConnectionBounds) {
    // Without /proc nobody knows.
    let Ok(in_use) = descriptors_in_use() else { return };
    let room = bounds.descriptors.saturating_sub(in_use as u64);
    if room >= bounds.connections as u64 {
        return;
    }
    let text = format!(
        "there is room for {room} connections, and not for {}: the limit on open files (ulimit -n) is {}",
        bounds.connections,
        descriptors_allowed(),
    );
    if room < FEW || bounds.connections != Config::default().max_connections {
        tracing::warn!("{text}");
    } else {
        tracing::debug!("{text}");
    }
}

/// Logs refused connections, a line a second at most.
pub(super) fn log_overflows(bounds: ConnectionBounds) -> OnOverflow {
    let mut rate = LogRate::new(Duration::from_secs(1));
    Box::new(move |overflow| {
        let ConnectionBounds { connections, descriptors } = bounds;
        let (open, what, limit) = match overflow {
            Overflow::Connections => (connections as u64, "connections", "--max-connections"),
            Overflow::Descriptors => {
                (descriptors, "files and connections", "the limit on open files (ulimit -n)")
            }
            // The end has a line of its own.
            Overflow::Ending => return,
        };
        if let Some(unlogged) = rate.admit(Instant::now()) {
            tracing::warn!(
                refused_unlogged = unlogged,
                "refused a connection: {open} {what} are open; raise {limit} to allow more"
            );
        }
    })
}
