//! Limits on connections: in all, per address, and in the handshake.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use super::log_rate::LogRate;
use super::peer::Peer;
use super::subscribers::ConnectionId;
use crate::access::Access;
use crate::config::Config;
use crate::limits::{ACCEPT_PAUSE, DESCRIPTORS_SPARE, HANDSHAKES_MAX};
use crate::zmtp::curve::keys::{AuthorizedKeys, PublicKey, ServerKeys};
use crate::zmtp::session::{Port, ServerMechanism};

/// What counts from now on, from other threads: which keys are accepted, or what clients may do.
#[derive(Debug)]
pub(crate) struct Changes<T> {
    is_there: AtomicBool,
    /// The last change that was not taken; it stands for those before it.
    change: Mutex<Option<T>>,
}

impl<T> Default for Changes<T> {
    fn default() -> Self {
        Self { is_there: AtomicBool::default(), change: Mutex::default() }
    }
}

impl<T> Changes<T> {
    /// Has this count, once the broker's thread comes to it.
    pub(crate) fn set(&self, change: T) {
        *self.change.lock().unwrap_or_else(PoisonError::into_inner) = Some(change);
        self.is_there.store(true, Ordering::Release);
    }

    fn take(&self) -> Option<T> {
        if !self.is_there.load(Ordering::Relaxed) || !self.is_there.swap(false, Ordering::Acquire) {
            return None;
        }
        self.change.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where other threads say what counts from now on; `None` for what the server was started without.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChangesFromOthers {
    /// Which keys are accepted.
    pub(crate) keys: Option<Arc<Changes<AuthorizedKeys>>>,
    /// What clients may do.
    pub(crate) access: Option<Arc<Changes<Access>>>,
}

/// How the keys that are accepted changed.
#[derive(Debug)]
pub(super) struct KeyChange {
    /// Accepted from now on.
    pub(super) added: Vec<PublicKey>,
    /// Accepted no longer.
    pub(super) removed: Vec<PublicKey>,
}

/// So few connections are fewer than most servers need.
const FEW: usize = 1024;

/// Counts connections and decides over new ones.
#[derive(Debug)]
pub(super) struct Admission {
    connections_max: usize,
    /// How many descriptors the system allows, and for how many connections there were enough at the start.
    descriptors_max: u64,
    room: usize,
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
    /// What is asked of clients.
    demand: ServerMechanism,
    changes: ChangesFromOthers,
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
        let second = Duration::from_secs(1);
        let mut admission = Self {
            connections_max: room,
            descriptors_max: allowed,
            room,
            each_address_max: config.max_connections_per_address,
            is_short: false,
            by_address: HashMap::new(),
            young: VecDeque::new(),
            unopened: HashSet::new(),
            ready: [true; 2],
            paused_until: None,
            is_over: false,
            demand: match (&config.curve, &config.access) {
                (Some(keys), _) => ServerMechanism::Keys(Arc::new(keys.clone())),
                (None, Some(access)) if access.has_users() => ServerMechanism::Password,
                (None, _) => ServerMechanism::Nothing,
            },
            changes: ChangesFromOthers {
                keys: config.curve.as_ref().map(|_| Arc::default()),
                access: config.access.as_ref().map(|_| Arc::default()),
            },
            log: LogRate::new(second),
            pause_log: LogRate::new(second),
        };
        admission.set_limits(config);
        admission
    }

    /// Other limits count from now on; connections that are open stay, also beyond a lower one.
    pub(super) fn set_limits(&mut self, config: &Config) {
        let (room, allowed) = (self.room, self.descriptors_max);
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
        self.connections_max = config.max_connections.min(room);
        self.each_address_max = config.max_connections_per_address;
        self.is_short = is_short;
    }

    /// What is asked of clients.
    pub(super) fn demand(&self) -> &ServerMechanism {
        &self.demand
    }

    /// Where other threads say what counts from now on.
    pub(super) fn changes(&self) -> &ChangesFromOthers {
        &self.changes
    }

    /// Takes a change of what clients may do.
    pub(super) fn take_access_change(&mut self) -> Option<Access> {
        self.changes.access.as_ref()?.take()
    }

    /// Takes a change of the keys that are accepted, if there was one.
    pub(super) fn take_key_change(&mut self) -> Option<KeyChange> {
        let authorized = self.changes.keys.as_ref()?.take()?;
        let ServerMechanism::Keys(keys) = &mut self.demand else { return None };
        let change = KeyChange {
            added: authorized.without(&keys.authorized),
            removed: keys.authorized.without(&authorized),
        };
        *keys = Arc::new(ServerKeys { own: keys.own.clone(), authorized });
        Some(change)
    }

    /// Whether a client with this key is accepted.
    pub(super) fn accepts(&self, key: &PublicKey) -> bool {
        match &self.demand {
            ServerMechanism::Keys(keys) => keys.authorized.contains(key),
            ServerMechanism::Nothing | ServerMechanism::Password => true,
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::peer::tests::peer;
    use super::*;

    const NOW: Duration = Duration::from_secs(5);

    fn admission(connections_max: usize, each_address_max: usize) -> Admission {
        Admission::new(&Config {
            max_connections: connections_max,
            max_connections_per_address: each_address_max,
            ..Config::default()
        })
    }

    fn from(last: u8) -> SocketAddr {
        (Ipv4Addr::new(127, 0, 0, last), 1000).into()
    }

    #[test]
    fn connections_are_counted_all_and_by_address() {
        let mut admission = admission(10, 2);
        assert!(!admission.admits(10, from(1), NOW));
        assert!(admission.admits(9, from(1), NOW));
        for id in [1, 2] {
            assert!(admission.admits(0, from(1), NOW));
            admission.joined(id, from(1));
        }
        assert!(!admission.admits(2, from(1), NOW), "from any of its ports");
        assert!(!admission.admits(2, (Ipv4Addr::new(127, 0, 0, 1), 7).into(), NOW));
        assert!(admission.admits(2, from(2), NOW));
        admission.left(&peer(2, Port::Requests, NOW));
        assert!(admission.admits(1, from(1), NOW));
        admission.left(&peer(1, Port::Requests, NOW));
        assert!(admission.by_address.is_empty() && admission.unopened.is_empty());
        assert!(admission.young.is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn no_more_are_allowed_than_the_system_has_descriptors_for() {
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let admission = admission(usize::MAX, usize::MAX);
        assert!(admission.connections_max as u64 <= allowed);
        assert!(admission.connections_max > 0);
    }

    #[test]
    fn the_oldest_that_have_not_said_what_they_are_make_room() {
        let mut admission = admission(100_000, 100_000);
        let count = HANDSHAKES_MAX as u64;
        for id in 0..count {
            admission.joined(id, from(1));
        }
        assert_eq!(admission.crowded(), None);
        // Some of the oldest open, one is gone.
        admission.opened(0);
        admission.opened(2);
        admission.left(&peer(3, Port::Requests, NOW));
        assert_eq!(admission.crowded(), None);
        for id in count..count + 5 {
            admission.joined(id, from(1));
        }
        let mut closed = Vec::new();
        while let Some(id) = admission.crowded() {
            // The caller leaves open ones alone, and those that are gone.
            if ![0, 2, 3].contains(&id) {
                admission.left(&peer(id, Port::Requests, NOW));
                closed.push(id);
            }
        }
        assert_eq!(closed, [1, 4]);
        assert_eq!(admission.unopened.len(), HANDSHAKES_MAX);
    }

    #[test]
    fn a_listener_is_asked_until_it_is_drained_and_again_when_it_is_ready() {
        let mut admission = admission(10, 10);
        for port in [Port::Requests, Port::Publishing] {
            assert!(admission.may_accept(port, NOW), "somebody may have come before");
            admission.drained(port);
            assert!(!admission.may_accept(port, NOW));
        }
        assert!(!admission.is_ready(NOW));
        admission.ready(Port::Publishing);
        assert!(admission.is_ready(NOW) && admission.may_accept(Port::Publishing, NOW));
        assert!(!admission.may_accept(Port::Requests, NOW));
    }

    #[test]
    fn without_a_descriptor_the_listeners_pause_and_go_on_by_themselves() {
        let mut admission = admission(10, 10);
        admission.pause(&io::Error::from_raw_os_error(24), NOW);
        let end = NOW + ACCEPT_PAUSE;
        assert_eq!(admission.next_due(), Some(end));
        let before = end - Duration::from_nanos(1);
        for port in [Port::Requests, Port::Publishing] {
            assert!(!admission.may_accept(port, before) && !admission.is_ready(before));
        }
        assert!(admission.is_ready(end) && admission.may_accept(Port::Requests, end));
        assert_eq!(admission.next_due(), None);
        admission.pause(&io::Error::from_raw_os_error(24), end);
        admission.stop();
        assert_eq!(admission.next_due(), None);
        assert!(!admission.is_ready(NOW * 2) && !admission.may_accept(Port::Requests, NOW * 2));
    }
}
