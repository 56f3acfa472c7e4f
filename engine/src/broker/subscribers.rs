//! Who subscribed to what.
//!
//! A subscription is a prefix of the frames that it wants, up to the `|` that ends a name: what stands behind
//! it does not count here, and SUB sockets look at it themselves.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque, btree_map};
use std::sync::Arc;
use std::time::Duration;

use arcstr::ArcStr;

use crate::limits::{
    NAMES_CACHED_MAX, SUBSCRIPTION_BYTES_MAX_ALL, SUBSCRIPTION_BYTES_MAX_EACH,
    SUBSCRIPTION_OVERHEAD_BYTES, SUBSCRIPTIONS_ENDED_PER_TURN_MAX, SUBSCRIPTIONS_MAX_ALL,
    SUBSCRIPTIONS_MAX_EACH,
};
use crate::wire::frame::{v1_prefix, v2_prefix};
use crate::wire::name::SEPARATOR;

/// A connection. No two ever have the same number.
pub(crate) type ConnectionId = u64;

/// A name with what the broker knows of it.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    /// One copy of the name, shared by all messages that are kept under it.
    pub(super) name: ArcStr,
    /// Who wants it in the original format.
    pub(super) v1: Arc<[ConnectionId]>,
    /// Who wants it in the native format.
    pub(super) v2: Arc<[ConnectionId]>,
    /// Before this time, none of them had a subscription that it has now and that fits the name.
    pub(super) since: Duration,
}

impl Topic {
    pub(super) fn is_wanted(&self) -> bool {
        !(self.v1.is_empty() && self.v2.is_empty())
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

/// Connections that want one prefix.
#[derive(Debug)]
enum Wanting {
    One(ConnectionId),
    #[expect(clippy::box_collection, reason = "most prefixes have one connection, and stay small")]
    Many(Box<BTreeSet<ConnectionId>>),
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

/// A tree, because a hash table of a million prefixes would stop everybody while it grows.
type Interests = BTreeMap<Arc<[u8]>, Interest>;
type Leaving = btree_map::IntoIter<Arc<[u8]>, Interest>;

#[derive(Debug, Default)]
struct Connection {
    interests: Interests,
    bytes: usize,
    /// It does not keep up: what can wait is not sent to it now.
    is_behind: bool,
}

/// All subscriptions.
#[derive(Debug, Default)]
pub(super) struct Subscribers {
    /// A tree for the same reason as [`Interests`].
    prefixes: BTreeMap<Arc<[u8]>, Wanting>,
    /// How many prefixes have which length, so that a look-up tries only lengths that exist.
    lengths: BTreeMap<usize, usize>,
    connections: HashMap<ConnectionId, Connection>,
    /// How many of them do not keep up.
    behind: usize,
    /// Subscriptions of connections that are gone: ending them takes turns.
    leaving: VecDeque<(ConnectionId, Leaving)>,
    count: usize,
    bytes: usize,
    /// A cache: it may be emptied at any time. Each entry is good for one state of the subscriptions.
    names: HashMap<ArcStr, (u64, Topic)>,
    state: u64,
}

fn counted(topic: &[u8]) -> &[u8] {
    // A first byte of 0x01 and no `|` of its own precede a name.
    match topic.iter().position(|&byte| byte == SEPARATOR) {
        Some(at) => &topic[..=at],
        None => topic,
    }
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
        let connection = self.connections.entry(id).or_default();
        if let Some(interest) = connection.interests.get_mut(prefix) {
            if topic.len() == prefix.len() {
                interest.exact = true;
            } else {
                interest.longer = interest.longer.saturating_add(1);
            }
            return Ok(());
        }
        let cost = cost(prefix);
        if connection.interests.len() >= SUBSCRIPTIONS_MAX_EACH {
            return Err(SubscriptionLimit::Each(SUBSCRIPTIONS_MAX_EACH));
        }
        if connection.bytes + cost > SUBSCRIPTION_BYTES_MAX_EACH {
            return Err(SubscriptionLimit::EachBytes(SUBSCRIPTION_BYTES_MAX_EACH));
        }
        if self.count >= SUBSCRIPTIONS_MAX_ALL {
            return Err(SubscriptionLimit::All(SUBSCRIPTIONS_MAX_ALL));
        }
        if self.bytes + cost > SUBSCRIPTION_BYTES_MAX_ALL {
            return Err(SubscriptionLimit::AllBytes(SUBSCRIPTION_BYTES_MAX_ALL));
        }
        let exact = topic.len() == prefix.len();
        let since_ns = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let interest = Interest { since_ns, exact, longer: u32::from(!exact) };
        let key = match self.prefixes.get_key_value(prefix) {
            Some((key, _)) => Arc::clone(key),
            None => {
                *self.lengths.entry(prefix.len()).or_default() += 1;
                Arc::from(prefix)
            }
        };
        match self.prefixes.entry(Arc::clone(&key)) {
            btree_map::Entry::Vacant(entry) => _ = entry.insert(Wanting::One(id)),
            btree_map::Entry::Occupied(mut entry) => match entry.get_mut() {
                Wanting::One(other) => {
                    let both = BTreeSet::from([*other, id]);
                    entry.insert(Wanting::Many(Box::new(both)));
                }
                Wanting::Many(all) => _ = all.insert(id),
            },
        }
        connection.interests.insert(key, interest);
        connection.bytes += cost;
        self.bytes += cost;
        self.count += 1;
        self.changed(prefix);
        Ok(())
    }

    /// Ends a subscription; one that the connection does not have is no matter.
    pub(super) fn cancel(&mut self, id: ConnectionId, topic: &[u8]) {
        let prefix = counted(topic);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let Some(interest) = connection.interests.get_mut(prefix) else { return };
        if topic.len() == prefix.len() {
            interest.exact = false;
        } else {
            interest.longer = interest.longer.saturating_sub(1);
        }
        if !interest.exact
            && interest.longer == 0
            && let Some((key, _)) = connection.interests.remove_entry(prefix)
        {
            connection.bytes -= cost(&key);
            self.end(id, &key);
            self.changed(&key);
        }
    }

    /// A connection is gone; whether it had subscriptions. They count no more from now on; [`Self::turn`] ends
    /// them.
    pub(super) fn disconnect(&mut self, id: ConnectionId) -> bool {
        let Some(Connection { interests, is_behind, .. }) = self.connections.remove(&id) else {
            return false;
        };
        self.behind -= usize::from(is_behind);
        if interests.is_empty() {
            return false;
        }
        self.leaving.push_back((id, interests.into_iter()));
        self.state += 1;
        true
    }

    /// Ends some subscriptions of connections that are gone; whether some are left.
    pub(super) fn turn(&mut self) -> bool {
        let mut left = SUBSCRIPTIONS_ENDED_PER_TURN_MAX;
        while left > 0
            && let Some((id, interests)) = self.leaving.front_mut()
        {
            let id = *id;
            match interests.next() {
                Some((key, _)) => {
                    left -= 1;
                    self.end(id, &key);
                }
                None => _ = self.leaving.pop_front(),
            }
        }
        !self.leaving.is_empty()
    }

    fn end(&mut self, id: ConnectionId, key: &Arc<[u8]>) {
        self.bytes -= cost(key);
        self.count -= 1;
        match self.prefixes.get_mut(key) {
            Some(Wanting::Many(all)) => {
                all.remove(&id);
                if let (1, Some(&last)) = (all.len(), all.first()) {
                    self.prefixes.insert(Arc::clone(key), Wanting::One(last));
                }
            }
            Some(Wanting::One(_)) => {
                self.prefixes.remove(key);
                if let Some(count) = self.lengths.get_mut(&key.len()) {
                    *count -= 1;
                    if *count == 0 {
                        self.lengths.remove(&key.len());
                    }
                }
            }
            None => {}
        }
    }

    /// A prefix has another connection, or one less. Only names that it fits are affected.
    fn changed(&mut self, prefix: &[u8]) {
        let name = prefix.strip_prefix(&[crate::wire::frame::V2]).unwrap_or(prefix);
        match name.strip_suffix(&[SEPARATOR]).map(std::str::from_utf8) {
            Some(Ok(name)) => _ = self.names.remove(name),
            _ => self.state += 1,
        }
    }

    /// What is known of a name. The result stays right until a subscription changes.
    pub(super) fn topic(&mut self, name: &str) -> &Topic {
        let state = self.state;
        if self.names.get(name).is_none_or(|&(known, _)| known != state) {
            if self.names.len() >= NAMES_CACHED_MAX {
                self.names.clear();
            }
            let (v1, v1_since) = self.matching(&v1_prefix(name));
            let (v2, v2_since) = self.matching(&v2_prefix(name));
            let since = Duration::from_nanos(v1_since.min(v2_since));
            // The copy of the name that messages share already.
            let name = match self.names.get_key_value(name) {
                Some((name, _)) => name.clone(),
                None => name.into(),
            };
            self.names.insert(name.clone(), (state, Topic { name, v1, v2, since }));
        }
        &self.names[name].1
    }

    /// The connections that want frames that begin so, and since when the first of them does.
    fn matching(&self, frame_prefix: &[u8]) -> (Arc<[ConnectionId]>, u64) {
        let mut found = Vec::new();
        let mut since_ns = u64::MAX;
        for (&length, _) in self.lengths.range(..=frame_prefix.len()) {
            let prefix = &frame_prefix[..length];
            let mut find = |id| {
                // Without it, the connection is gone.
                if let Some(connection) = self.connections.get(&id)
                    && let Some(interest) = connection.interests.get(prefix)
                {
                    since_ns = since_ns.min(interest.since_ns);
                    found.push(id);
                }
            };
            match self.prefixes.get(prefix) {
                Some(Wanting::One(id)) => find(*id),
                Some(Wanting::Many(all)) => all.iter().copied().for_each(find),
                None => {}
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

    /// Of those who want a name in the original and in the native format, the ones that keep up. `None` when there
    /// are some, and none of them does.
    pub(super) fn keeping_up(&mut self, name: &str) -> Option<[Arc<[ConnectionId]>; 2]> {
        let topic = self.topic(name);
        let all = [Arc::clone(&topic.v1), Arc::clone(&topic.v2)];
        if self.behind == 0 {
            return Some(all);
        }
        let keeps_up = |id: &ConnectionId| {
            self.connections.get(id).is_none_or(|connection| !connection.is_behind)
        };
        if all.iter().all(|ids| ids.iter().all(keeps_up)) {
            return Some(all);
        }
        let some = all.map(|ids| ids.iter().copied().filter(keeps_up).collect::<Arc<[_]>>());
        some.iter().any(|ids| !ids.is_empty()).then_some(some)
    }

    /// Subscriptions of all connections.
    pub(super) fn len(&self) -> usize {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(subscribers: &mut Subscribers, name: &str) -> [Vec<ConnectionId>; 2] {
        let topic = subscribers.topic(name);
        [topic.v1.to_vec(), topic.v2.to_vec()]
    }

    #[track_caller]
    fn check(prefixes: &[&[u8]], name: &str, v1: bool, v2: bool) {
        let mut subscribers = Subscribers::default();
        let ids = |is: bool| if is { vec![7] } else { vec![] };
        for _ in 0..2 {
            for prefix in prefixes {
                subscribers.subscribe(7, prefix, Duration::ZERO).unwrap();
            }
        }
        assert_eq!(wanted(&mut subscribers, name), [ids(v1), ids(v2)], "{prefixes:?} {name}");
        for prefix in prefixes {
            subscribers.cancel(8, prefix);
        }
        assert_eq!(wanted(&mut subscribers, name), [ids(v1), ids(v2)]);
        for prefix in prefixes {
            subscribers.cancel(7, prefix);
            subscribers.cancel(7, prefix);
        }
        assert!(!subscribers.topic(name).is_wanted());
        assert_eq!((subscribers.len(), subscribers.bytes, subscribers.lengths.len()), (0, 0, 0));
    }

    #[test]
    fn a_prefix_wants_what_begins_with_it() {
        check(&[b"greet"], "greet", true, false);
        check(&[b"greet"], "greetings", true, false);
        check(&[b"greet|"], "greetings", false, false);
        check(&[b"\x01greet|"], "greet", false, true);
        check(&[b"\x01greet|"], "greetings", false, false);
        check(&[b"\x01gr"], "greet", false, true);
        check(&[b""], "greet", true, true);
        check(&[b"\x01greet|", b"greet|"], "greet", true, true);
        check(&[b"\x01other|"], "greet", false, false);
        check(&[b"greet|(dp0"], "greet", true, false);
    }

    #[test]
    fn one_cancellation_ends_a_subscription_however_often_it_was_asked_for() {
        let mut subscribers = Subscribers::default();
        for _ in 0..3 {
            subscribers.subscribe(1, b"greet", Duration::ZERO).unwrap();
        }
        subscribers.cancel(1, b"greet");
        assert!(!subscribers.topic("greet").is_wanted());
    }

    #[test]
    fn a_connection_that_is_gone_wants_nothing_and_leaves_nothing() {
        let mut subscribers = Subscribers::default();
        for n in 0..SUBSCRIPTIONS_ENDED_PER_TURN_MAX + 1 {
            subscribers.subscribe(1, format!("a{n}|").as_bytes(), Duration::ZERO).unwrap();
        }
        subscribers.subscribe(2, b"a1|", Duration::ZERO).unwrap();
        subscribers.disconnect(1);
        assert!(!subscribers.topic("a0").is_wanted());
        assert_eq!(wanted(&mut subscribers, "a1"), [vec![2], vec![]]);
        assert!(subscribers.turn(), "it takes turns");
        assert!(!subscribers.turn());
        assert_eq!((subscribers.len(), subscribers.prefixes.len()), (1, 1));
    }

    #[test]
    fn names_share_one_copy_and_the_cache_is_bounded() {
        let mut subscribers = Subscribers::default();
        let first = subscribers.topic("a").name.clone();
        subscribers.subscribe(1, b"", Duration::ZERO).unwrap();
        assert!(ArcStr::ptr_eq(&first, &subscribers.topic("a").name));
        for n in 0..NAMES_CACHED_MAX * 2 {
            subscribers.topic(&n.to_string());
        }
        assert!(subscribers.names.len() <= NAMES_CACHED_MAX);
    }

    #[test]
    fn bytes_of_one_connection_are_bounded() {
        let mut subscribers = Subscribers::default();
        let refused = (0..).find_map(|n| {
            subscribers.subscribe(1, format!("{n:01000}").as_bytes(), Duration::ZERO).err()
        });
        assert_eq!(refused, Some(SubscriptionLimit::EachBytes(SUBSCRIPTION_BYTES_MAX_EACH)));
        subscribers.subscribe(2, b"others are served", Duration::ZERO).unwrap();
        let bytes = subscribers.bytes;
        assert!(subscribers.subscribe(1, &[b'x'; 1000], Duration::ZERO).is_err());
        assert_eq!(subscribers.bytes, bytes);
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_plain_list(
            steps in prop::collection::vec((0_u8..8, 0_usize..4, "[ab]{0,3}", any::<bool>()), 1..120),
        ) {
            let mut subscribers = Subscribers::default();
            let mut model: BTreeSet<(u64, String)> = BTreeSet::new();
            // No number comes again.
            let mut ids = [0, 1, 2, 3];
            for (kind, nth, name, whole) in steps {
                let id = ids[nth];
                let topic = if whole { format!("{name}|") } else { name };
                match kind {
                    0..4 => {
                        subscribers.subscribe(id, topic.as_bytes(), Duration::ZERO).unwrap();
                        model.insert((id, topic));
                    }
                    4..7 => {
                        subscribers.cancel(id, topic.as_bytes());
                        model.remove(&(id, topic));
                    }
                    _ => {
                        subscribers.disconnect(id);
                        ids[nth] += 4;
                        model.retain(|&(other, _)| other != id);
                        if whole {
                            while subscribers.turn() {}
                        }
                    }
                }
                for name in ["a", "ab", "aab", "b"] {
                    let frame = format!("{name}|");
                    let expected: BTreeSet<u64> = model
                        .iter()
                        .filter(|(_, topic)| frame.starts_with(topic.as_str()))
                        .map(|&(id, _)| id)
                        .collect();
                    prop_assert!(subscribers.topic(name).v1.iter().copied().eq(expected));
                }
            }
            while subscribers.turn() {}
            prop_assert_eq!(subscribers.len(), model.len());
        }
    }
}
