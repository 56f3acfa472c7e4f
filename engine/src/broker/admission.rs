//! Who may connect: how many, how many from one address, how many that have not said what they are.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use super::log_rate::LogRate;
use super::peer::Peer;
use super::subscribers::ConnectionId;
use crate::config::Config;
use crate::limits::{ACCEPT_PAUSE, DESCRIPTORS_SPARE, HANDSHAKES_MAX};
use crate::zmtp::session::Port;

/// So few connections are fewer than most servers need.
const FEW: usize = 1024;

/// Counts connections and decides over new ones.
#[derive(Debug)]
pub(super) struct Admission {
    connections_max: usize,
    each_address_max: usize,
    /// Whether the system allows fewer connections than the configuration.
    is_short: bool,
    by_address: HashMap<IpAddr, usize>,
    /// Connections that have not said what they are, oldest first; some of them have, or are gone.
    young: VecDeque<ConnectionId>,
    unopened: HashSet<ConnectionId>,
    /// Somebody may be waiting at these listeners.
    ready: [bool; 2],
    paused_until: Option<Duration>,
    is_over: bool,
    log: LogRate,
    pause_log: LogRate,
}

fn at(port: Port) -> usize {
    match port {
        Port::Requests => 0,
        Port::Publishing => 1,
    }
}

impl Admission {
    /// Allows as many connections as the configuration says, and no more than the system has descriptors for.
    pub(super) fn new(config: &Config) -> Self {
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let spare = DESCRIPTORS_SPARE.min(allowed / 4);
        let in_use = std::fs::read_dir("/proc/self/fd").map_or(0, |all| all.count() as u64);
        let room = usize::try_from(allowed - spare).unwrap_or(usize::MAX);
        let room = room.saturating_sub(in_use as usize).max(1);
        let is_short = room < config.max_connections;
        if is_short {
            let wanted = config.max_connections;
            let text = format!(
                "there is room for {room} connections, and not for {wanted}: the limit on open files (ulimit \
                 -n) is {allowed}"
            );
            // Loudly when these are few, or were asked for.
            if room < FEW || wanted != Config::default().max_connections {
                tracing::warn!("{text}");
            } else {
                tracing::debug!("{text}");
            }
        }
        let second = Duration::from_secs(1);
        Self {
            connections_max: config.max_connections.min(room),
            each_address_max: config.max_connections_per_address,
            is_short,
            by_address: HashMap::new(),
            young: VecDeque::new(),
            unopened: HashSet::new(),
            ready: [true; 2],
            paused_until: None,
            is_over: false,
            log: LogRate::new(second),
            pause_log: LogRate::new(second),
        }
    }

    /// Somebody waits at a listener.
    pub(super) fn ready(&mut self, port: Port) {
        self.ready[at(port)] = true;
    }

    /// Nobody waits at a listener any more.
    pub(super) fn drained(&mut self, port: Port) {
        self.ready[at(port)] = false;
    }

    /// Whether a connection may be taken from a listener now.
    pub(super) fn may_accept(&mut self, port: Port, now: Duration) -> bool {
        if self.paused_until.is_some_and(|until| now >= until) {
            self.paused_until = None;
        }
        !self.is_over && self.paused_until.is_none() && self.ready[at(port)]
    }

    /// Whether a turn has connections to take.
    pub(super) fn is_ready(&self, now: Duration) -> bool {
        !self.is_over
            && self.paused_until.is_none_or(|until| now >= until)
            && self.ready.contains(&true)
    }

    /// When a pause ends.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.paused_until.filter(|_| !self.is_over)
    }

    /// The system has no room for a connection.
    pub(super) fn pause(&mut self, error: &io::Error, now: Duration) {
        self.paused_until = Some(now + ACCEPT_PAUSE);
        if let Some(unlogged) = self.pause_log.admit(now) {
            tracing::warn!(
                unlogged,
                "cannot take a connection: {error}; the listener pauses for {ACCEPT_PAUSE:?} (raise ulimit -n \
                 if descriptors are short)"
            );
        }
    }

    /// No connection is taken any more.
    pub(super) fn stop(&mut self) {
        self.is_over = true;
    }

    /// Whether one more connection may stay, of `open` ones.
    pub(super) fn admits(&mut self, open: usize, address: SocketAddr, now: Duration) -> bool {
        let (all, limit) = if self.is_short {
            (self.connections_max, "the limit on open files (ulimit -n)")
        } else {
            (self.connections_max, "--max-connections")
        };
        let here = self.by_address.get(&address.ip()).copied().unwrap_or(0);
        let (count, what, limit) = if open >= all {
            (all, "connections", limit)
        } else if here >= self.each_address_max {
            (here, "connections of one address", "--max-connections-per-address")
        } else {
            return true;
        };
        if let Some(unlogged) = self.log.admit(now) {
            tracing::warn!(
                peer = %address,
                unlogged,
                "rejected a connection: {count} {what} are open; raise {limit} to allow more"
            );
        }
        false
    }

    /// A connection was taken.
    pub(super) fn joined(&mut self, id: ConnectionId, address: SocketAddr) {
        *self.by_address.entry(address.ip()).or_default() += 1;
        self.unopened.insert(id);
        self.young.push_back(id);
    }

    /// A connection said what it is.
    pub(super) fn opened(&mut self, id: ConnectionId) {
        self.unopened.remove(&id);
        while self.young.front().is_some_and(|id| !self.unopened.contains(id)) {
            self.young.pop_front();
        }
    }

    /// A connection is gone.
    pub(super) fn left<S>(&mut self, peer: &Peer<S>) {
        self.opened(peer.id);
        if let Some(count) = self.by_address.get_mut(&peer.address.ip()) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&peer.address.ip());
            }
        }
    }

    /// The oldest connection that has not said what it is, when there are too many of them.
    pub(super) fn crowded(&mut self) -> Option<ConnectionId> {
        if self.unopened.len() <= HANDSHAKES_MAX {
            return None;
        }
        let id = self.young.pop_front()?;
        self.unopened.remove(&id);
        Some(id)
    }
}
