//! The table of subscriptions.
//!
//! A subscription is a prefix of the frames that it wants, up to the `|` that ends a name: what stands behind
//! it does not count here, and SUB sockets look at it themselves.

mod counted;
mod names;
mod native;
mod patterns;
mod prefixes;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque, btree_map};
use std::sync::Arc;
use std::time::Duration;

use arcstr::ArcStr;

use super::backlog::Audience;
use super::groups::GroupId;
use counted::Counted;
use names::Names;
use patterns::Patterns;
use prefixes::Prefixes;

use crate::access::{Operation, Permissions};
use crate::slab::Slab;

use native::RareState;
pub(super) use native::{Native, NativeError};

use crate::limits::{
    SUBSCRIPTION_BYTES_MAX_ALL, SUBSCRIPTION_BYTES_MAX_EACH, SUBSCRIPTION_OVERHEAD_BYTES,
    SUBSCRIPTIONS_ENDED_PER_TURN_MAX, SUBSCRIPTIONS_MAX_ALL, SUBSCRIPTIONS_MAX_EACH,
};
use crate::wire::control::Delivery;
use crate::wire::frame::{v1_prefix, v2_prefix};
use crate::wire::name::SEPARATOR;

/// A connection. No two ever have the same number.
pub(crate) type ConnectionId = u64;

/// A subscription that gets a frame on its connection for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Direct {
    pub(super) connection: ConnectionId,
    /// What stands before the frame.
    pub(super) delivery: Delivery,
    /// The subscription had no credit for it: publishers are to wait until it has some.
    pub(super) is_overdrawn: bool,
    /// It is an observer's.
    pub(super) looks_on: bool,
}

impl Direct {
    /// The same before a retained message.
    fn retained(mut self) -> Self {
        (self.delivery.again, self.delivery.retained) = (true, true);
        self
    }
}

/// A name with what the broker knows of it.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    /// One copy of the name, shared by all messages that are kept under it.
    pub(super) name: ArcStr,
    /// Who wants it in the original format.
    pub(super) v1: Arc<[ConnectionId]>,
    /// Who wants it in the native format.
    pub(super) v2: Arc<[ConnectionId]>,
    /// The subscriptions on connections for requests: see [`Subscribers::native`].
    pub(super) native: Arc<[u32]>,
    /// Whether some of these take part.
    has_natives: bool,
    /// The groups whose filter fits it.
    pub(super) groups: Arc<[GroupId]>,
    /// Where what is published under it is counted.
    pub(super) counted_at: u32,
    /// Before this time, none of those who take part had a subscription that it has now and that fits the name.
    pub(super) since: Duration,
}

impl Topic {
    /// Whether somebody would acknowledge its messages.
    pub(super) fn is_wanted(&self) -> bool {
        !(self.v1.is_empty() && self.v2.is_empty()) || self.has_natives
    }

    /// Who gets one of its messages that is kept.
    pub(super) fn wanted(&self) -> Audience {
        if !self.groups.is_empty() {
            Audience::Groups
        } else if self.is_wanted() {
            Audience::Somebody
        } else {
            Audience::Nobody
        }
    }

    /// Whether somebody gets its messages in the native format.
    pub(super) fn is_wanted_native(&self) -> bool {
        !(self.v2.is_empty() && self.native.is_empty() && self.groups.is_empty())
    }
}

/// Those who take part in a name, and keep up with what they get.
#[derive(Clone, Debug)]
pub(super) struct KeepingUp {
    /// In the original format.
    pub(super) v1: Arc<[ConnectionId]>,
    /// In the native format.
    pub(super) v2: Arc<[ConnectionId]>,
    /// On connections for requests.
    pub(super) native: Vec<u32>,
}

impl KeepingUp {
    pub(super) fn is_empty(&self) -> bool {
        self.v1.is_empty() && !self.has_native_format()
    }

    pub(super) fn has_native_format(&self) -> bool {
        !(self.v2.is_empty() && self.native.is_empty())
    }
}

/// Why a subscription is not taken: its connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubscriptionLimit {
    /// One connection has too many.
    #[error("it has {0} subscriptions, as many as one connection may have")]
    Each(usize),
    /// One connection has too many bytes of them.
    #[error("its subscriptions take {0} bytes, as much as those of one connection may")]
    EachBytes(usize),
    /// All connections together have too many.
    #[error("all connections together have {0} subscriptions, as many as they may have")]
    All(usize),
    /// All connections together have too many bytes of them.
    #[error("the subscriptions of all connections take {0} bytes, as much as they may")]
    AllBytes(usize),
}

/// How many subscriptions there may be, and how many bytes of them.
#[derive(Clone, Copy, Debug)]
struct Limits {
    each: usize,
    bytes_each: usize,
    all: usize,
    bytes_all: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            each: SUBSCRIPTIONS_MAX_EACH,
            bytes_each: SUBSCRIPTION_BYTES_MAX_EACH,
            all: SUBSCRIPTIONS_MAX_ALL,
            bytes_all: SUBSCRIPTION_BYTES_MAX_ALL,
        }
    }
}

/// What one connection wants of one prefix.
#[derive(Debug)]
struct Interest {
    /// When it began, in nanoseconds since the server's start: half as large as a `Duration`.
    since_ns: u64,
    /// The prefix itself, however often it was asked for: one cancellation ends it.
    exact: bool,
    /// Longer ones, of which this is the part that counts.
    longer: u32,
}

/// By the number of the prefix. A tree, because a hash table of a million would stop everybody while it grows.
type Interests = BTreeMap<u32, Interest>;

/// What is left of a connection that is gone.
#[derive(Debug)]
struct ClosedConnection {
    id: ConnectionId,
    interests: btree_map::IntoIter<u32, Interest>,
    natives: btree_map::IntoIter<u32, u32>,
}

#[derive(Debug, Default)]
struct Connection {
    interests: Interests,
    /// Where its native subscriptions are, by the client's number.
    natives: BTreeMap<u32, u32>,
    /// Those of them that belong to groups.
    members: Vec<u32>,
    /// How many of the others are to prefixes and patterns.
    wide: usize,
    /// Subscriptions that got more than they had credit for.
    overdrawn: usize,
    /// Messages that its native subscriptions lost, as they had no credit.
    lost: u64,
    bytes: usize,
    /// It does not keep up: what can wait is not sent to it now.
    is_behind: bool,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    limits: Limits,
    prefixes: Prefixes,
    natives: Slab<Native>,
    /// What few native subscriptions have, by where these are. A tree, as others may be many at once.
    rare: BTreeMap<u32, RareState>,
    native_prefixes: Prefixes,
    patterns: Patterns,
    pattern_count: usize,
    /// Messages that wait for the credit of some subscription, each counted for each of them.
    owed: usize,
    connections: HashMap<ConnectionId, Connection>,
    /// How many of them do not keep up.
    behind: usize,
    /// Subscriptions of connections that are gone: ending them takes turns.
    leaving: VecDeque<ClosedConnection>,
    count: usize,
    bytes: usize,
    names: Names,
    /// What the clients at connections may get; `None`: everything.
    readers: Option<HashMap<ConnectionId, Arc<Permissions>>>,
    counted: Counted,
    /// How often [`Self::keeping_up`] looked at all who want a name.
    #[cfg(test)]
    pub(super) looks: std::cell::Cell<usize>,
    /// How often [`Self::topic`] had to find out who wants a name.
    #[cfg(test)]
    searches: usize,
}

fn counted(topic: &[u8]) -> &[u8] {
    // A first byte of 0x01 and no `|` of its own precede a name.
    match topic.iter().position(|&byte| byte == SEPARATOR) {
        Some(at) => &topic[..=at],
        None => topic,
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn cost(prefix: &[u8]) -> usize {
    prefix.len() + SUBSCRIPTION_OVERHEAD_BYTES
}

impl Subscribers {
    /// Notes a subscription.
    ///
    /// # Errors
    /// When there are too many; nothing changes.
    pub(super) fn subscribe(
        &mut self,
        id: ConnectionId,
        topic: &[u8],
        now: Duration,
    ) -> Result<(), SubscriptionLimit> {
        let prefix = counted(topic);
        let exact = topic.len() == prefix.len();
        if let Some(number) = self.prefixes.find(prefix)
            && let Some(connection) = self.connections.get_mut(&id)
            && let Some(interest) = connection.interests.get_mut(&number)
        {
            if exact {
                interest.exact = true;
            } else {
                interest.longer = interest.longer.saturating_add(1);
            }
            return Ok(());
        }
        let cost = cost(prefix);
        self.check_room(id, cost)?;
        let since_ns = nanoseconds(now);
        let interest = Interest { since_ns, exact, longer: u32::from(!exact) };
        let number = self.prefixes.add(prefix, id);
        self.book(id, cost).interests.insert(number, interest);
        self.names.changed(prefix);
        Ok(())
    }

    /// Whether a connection may have another subscription that costs so much.
    fn check_room(&self, id: ConnectionId, cost: usize) -> Result<(), SubscriptionLimit> {
        let Limits { each, bytes_each, all, bytes_all } = self.limits;
        if let Some(Connection { interests, natives, bytes, .. }) = self.connections.get(&id) {
            if interests.len() + natives.len() >= each {
                return Err(SubscriptionLimit::Each(each));
            }
            if bytes + cost > bytes_each {
                return Err(SubscriptionLimit::EachBytes(bytes_each));
            }
        }
        if self.count >= all {
            return Err(SubscriptionLimit::All(all));
        }
        if self.bytes + cost > bytes_all {
            return Err(SubscriptionLimit::AllBytes(bytes_all));
        }
        Ok(())
    }

    /// Counts a subscription that a connection gets.
    fn book(&mut self, id: ConnectionId, cost: usize) -> &mut Connection {
        self.bytes += cost;
        self.count += 1;
        let connection = self.connections.entry(id).or_default();
        connection.bytes += cost;
        connection
    }

    /// Ends a subscription; one that the connection does not have is no matter.
    pub(super) fn cancel(&mut self, id: ConnectionId, topic: &[u8]) {
        let prefix = counted(topic);
        let Some(number) = self.prefixes.find(prefix) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(interest) = connection.interests.get_mut(&number) else { return };
        if topic.len() == prefix.len() {
            interest.exact = false;
        } else {
            interest.longer = interest.longer.saturating_sub(1);
        }
        if !interest.exact && interest.longer == 0 {
            connection.interests.remove(&number);
            connection.bytes -= cost(prefix);
            self.end(id, number);
            self.names.changed(prefix);
        }
    }

    /// A connection is gone; whether it had subscriptions. They count no more from now on; [`Self::turn`] ends
    /// them.
    pub(super) fn disconnect(&mut self, id: ConnectionId) -> bool {
        if let Some(readers) = &mut self.readers {
            readers.remove(&id);
        }
        let Some(connection) = self.connections.remove(&id) else { return false };
        let Connection { interests, natives, is_behind, .. } = connection;
        self.behind -= usize::from(is_behind);
        if interests.is_empty() && natives.is_empty() {
            return false;
        }
        let (interests, natives) = (interests.into_iter(), natives.into_iter());
        self.leaving.push_back(ClosedConnection { id, interests, natives });
        self.names.all_changed();
        true
    }

    /// Ends some subscriptions of connections that are gone; whether some are left. `ended` learns where each was that
    /// is on a connection for requests.
    pub(super) fn turn(&mut self, mut ended: impl FnMut(u32)) -> bool {
        let mut left = SUBSCRIPTIONS_ENDED_PER_TURN_MAX;
        while left > 0
            && let Some(ClosedConnection { id, interests, natives }) = self.leaving.front_mut()
        {
            left -= 1;
            let id = *id;
            if let Some((number, _)) = interests.next() {
                self.end(id, number);
            } else if let Some((_, at)) = natives.next() {
                ended(at);
                self.end_native(at);
            } else {
                self.leaving.pop_front();
            }
        }
        !self.leaving.is_empty()
    }

    fn end(&mut self, id: ConnectionId, number: u32) {
        let Some(prefix) = self.prefixes.get(number) else { return };
        self.bytes -= cost(&prefix.bytes);
        self.count -= 1;
        self.prefixes.remove(number, id);
    }

    /// What is known of a name. The result stays right until a subscription changes.
    pub(super) fn topic(&mut self, name: &str) -> &Topic {
        if !self.names.is_known(name) {
            #[cfg(test)]
            {
                self.searches += 1;
            }
            let (v1, v1_since) = self.matching(name, &v1_prefix(name));
            let (v2, v2_since) = self.matching(name, &v2_prefix(name));
            let (native, groups, native_since) = self.matching_native(name);
            let name = self.names.shared(name);
            let counted_at = self.counted.place(&name);
            self.names.add(Topic {
                name,
                v1,
                v2,
                native: native.into(),
                has_natives: native_since != u64::MAX,
                groups: groups.into(),
                counted_at,
                since: Duration::from_nanos(v1_since.min(v2_since).min(native_since)),
            });
        }
        self.names.topic(name)
    }

    /// A connection gets of its prefixes what its client may get from now on; without, as long as nothing is said of any, it
    /// gets everything.
    pub(super) fn set_reader(&mut self, id: ConnectionId, permissions: Arc<Permissions>) {
        let readers = self.readers.get_or_insert_default();
        if readers.insert(id, Arc::clone(&permissions)).is_some_and(|before| before != permissions)
        {
            self.names.all_changed();
        }
    }

    fn may_get(&self, id: ConnectionId, name: &str) -> bool {
        self.readers.as_ref().is_none_or(|readers| {
            readers.get(&id).is_some_and(|reader| reader.allows(Operation::Subscribe, name))
        })
    }

    /// The connections that want frames of a name, which begin so, and since when the first of them does.
    fn matching(&self, name: &str, frame_prefix: &[u8]) -> (Arc<[ConnectionId]>, u64) {
        let mut found = Vec::new();
        let mut since_ns = u64::MAX;
        for length in self.prefixes.lengths(frame_prefix.len()) {
            let Some(number) = self.prefixes.find(&frame_prefix[..length]) else { continue };
            let Some(prefix) = self.prefixes.get(number) else { continue };
            for id in prefix.wanting.ids() {
                // Without it, the connection is gone.
                if let Some(connection) = self.connections.get(&id)
                    && let Some(interest) = connection.interests.get(&number)
                    && self.may_get(id, name)
                {
                    since_ns = since_ns.min(interest.since_ns);
                    found.push(id);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        (found.into(), since_ns)
    }

    /// Notes whether a connection keeps up with what it gets.
    pub(super) fn set_behind(&mut self, id: ConnectionId, is_behind: bool) {
        if let Some(connection) = self.connections.get_mut(&id) {
            let was_behind = std::mem::replace(&mut connection.is_behind, is_behind);
            self.behind = self.behind + usize::from(is_behind) - usize::from(was_behind);
        }
    }

    /// Of those who take part in a name, the ones that keep up. `None` when there are some, and none of them does.
    pub(super) fn keeping_up(&mut self, name: &str) -> Option<KeepingUp> {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
        let topic = self.topic(name);
        let is_wanted = topic.is_wanted();
        let (v1, v2) = (Arc::clone(&topic.v1), Arc::clone(&topic.v2));
        let native = Arc::clone(&topic.native);
        let native = native.iter().copied().filter(|&at| self.takes_more(at)).collect();
        let mut found = KeepingUp { v1, v2, native };
        if self.behind > 0 {
            let keeps_up = |id: &ConnectionId| {
                self.connections.get(id).is_none_or(|connection| !connection.is_behind)
            };
            for ids in [&mut found.v1, &mut found.v2] {
                if !ids.iter().all(keeps_up) {
                    *ids = ids.iter().copied().filter(keeps_up).collect();
                }
            }
        }
        (!is_wanted || !found.is_empty()).then_some(found)
    }

    /// Subscriptions of all connections.
    pub(super) fn len(&self) -> usize {
        self.count
    }
}
