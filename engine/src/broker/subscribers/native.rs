//! Subscriptions on connections for requests: each has a filter, a kind, and credit.

mod credit;

use std::time::Duration;

use super::super::groups::GroupId;
use super::{ConnectionId, Direct, Subscribers, SubscriptionLimit, cost, nanoseconds};
use crate::limits::{CREDIT_BYTES_MAX, PATTERNS_MAX_ALL, WIDE_SUBSCRIPTIONS_MAX_EACH};
use crate::slab;
use crate::wire::control::{Delivery, Kind, Overflow, Subscribe};
use crate::wire::filter::Filter;
use crate::wire::frame::v1_prefix;
use crate::wire::name::{REPLY_PREFIX, SEPARATOR};

use credit::{AwaitingCredit, check_credit};

/// What a subscription is to its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Observer,
    Broadcast,
    /// A member of a group, which has the filter.
    Member,
    /// What stands for a group among the subscriptions. It is on no connection.
    Group,
}

/// A subscription. There are millions of them: what few have stands in [`Subscribers::rare`].
#[derive(Debug)]
pub(in super::super) struct Native {
    connection: ConnectionId,
    /// When it began, in nanoseconds since the server's start.
    since_ns: u64,
    /// What the client calls it. Of what stands for a group, the group.
    number: u32,
    /// Bytes that may still be delivered. The last delivery may take more.
    credit: i32,
    /// Of a prefix, its number; of a member, what the filter costs; when the subscription is over, the next such place.
    place: u32,
    filter: FilterSlot,
    part: Part,
    flags: u8,
}

const _: () = assert!(size_of::<Native>() == 32);
const _: () = assert!(CREDIT_BYTES_MAX <= i32::MAX as u64);

/// It loses what it has no credit for, and holds nobody up.
const DROPS: u8 = 1;
/// It got more than it had credit for, and was granted too little since.
const OVERDRAWN: u8 = 2;
/// Messages wait for its credit, or did when it was granted, and are not delivered yet.
const OWES: u8 = 4;

/// It gets answers: whoever answers others as well waits for none of them.
const ANSWERS: u8 = 8;

/// Where its filter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FilterSlot {
    Prefix,
    Pattern,
    /// It is its group's.
    Elsewhere,
    /// The subscription is over.
    Free,
}

/// What few subscriptions have.
#[derive(Debug, Default)]
pub(super) struct RareState {
    /// Its filter, if that is a pattern.
    pattern: Option<Box<str>>,
    owed: AwaitingCredit,
}

impl slab::Node for Native {
    fn is_live(&self) -> bool {
        self.filter != FilterSlot::Free
    }

    fn free(&mut self, next: u32) {
        (self.filter, self.place) = (FilterSlot::Free, next);
    }

    fn next_free(&self) -> u32 {
        self.place
    }
}

/// Why a subscription cannot be begun, ended or granted credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(in super::super) enum NativeError {
    #[error(
        "this connection has a subscription {0} already: choose another number, or end that one first"
    )]
    Taken(u32),
    #[error(
        "this connection has {WIDE_SUBSCRIPTIONS_MAX_EACH} subscriptions to prefixes, to patterns, or to a name that it \
         has one to already, as many as it may have: use wider ones, or another connection"
    )]
    Wide,
    #[error("this connection has no subscription {0}")]
    Unknown(u32),
    #[error("too many subscriptions: {0}")]
    Limit(#[from] SubscriptionLimit),
    #[error(
        "all connections together have {PATTERNS_MAX_ALL} subscriptions to patterns, as many as they may have"
    )]
    Patterns,
    #[error(
        "subscription {number} would have {credit} bytes of credit, and {CREDIT_BYTES_MAX} are allowed"
    )]
    Credit { number: u32, credit: u64 },
}

/// What stands for a name or a prefix among the prefixes: no name has a separator within.
fn key(filter: &Filter<'_>) -> Option<Vec<u8>> {
    match filter {
        Filter::Name(name) => Some([name.as_bytes(), &[SEPARATOR]].concat()),
        Filter::Prefix(prefix) => Some(prefix.as_bytes().to_vec()),
        Filter::Pattern(_) => None,
    }
}

/// The connection of what stands for a group: none has this number.
const NOBODY: ConnectionId = ConnectionId::MAX;

/// What stands for a subscription among those who want one filter. The subscriptions of one connection are neighbours
/// there, together with those of connections 2^32 apart.
fn wanting(connection: ConnectionId, at: u32) -> u64 {
    connection << 32 | u64::from(at)
}

/// A subscription that is over.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Ended {
    cost: usize,
    /// It was to a prefix or a pattern.
    is_wide: bool,
}

impl Subscribers {
    /// Notes a subscription, and returns where it is.
    ///
    /// # Errors
    /// Why it is not taken; nothing changes.
    pub(in super::super) fn add_native(
        &mut self,
        id: ConnectionId,
        wanted: &Subscribe<'_>,
        now: Duration,
    ) -> Result<u32, NativeError> {
        let Subscribe { number, kind, overflow, filter, credit, .. } = *wanted;
        let cost = cost(filter.text().as_bytes());
        let part = match kind {
            Kind::Observer => Part::Observer,
            Kind::Broadcast => Part::Broadcast,
            Kind::Group(_) => Part::Member,
        };
        // A message is looked at, and delivered, at most as often as a connection may have these, and once for each kind.
        let is_wide = part != Part::Member
            && (!matches!(filter, Filter::Name(_)) || self.count_same(id, part, &filter) > 0);
        if self.find_native(id, number).is_ok() {
            return Err(NativeError::Taken(number));
        }
        self.check_room(id, cost)?;
        if is_wide
            && self.connections.get(&id).is_some_and(|it| it.wide >= WIDE_SUBSCRIPTIONS_MAX_EACH)
        {
            return Err(NativeError::Wide);
        }
        if matches!(filter, Filter::Pattern(_)) && self.pattern_count >= PATTERNS_MAX_ALL {
            return Err(NativeError::Patterns);
        }
        let credit = check_credit(number, credit)?;
        let native = Native {
            connection: id,
            since_ns: nanoseconds(now),
            number,
            credit,
            place: cost as u32,
            filter: FilterSlot::Elsewhere,
            part,
            flags: match filter {
                _ if overflow == Overflow::Drop => DROPS,
                Filter::Name(name) if name.starts_with(REPLY_PREFIX) => ANSWERS,
                _ => 0,
            },
        };
        let at = self.natives.insert(native);
        if part != Part::Member {
            self.place(at, &filter);
        }
        let connection = self.book(id, cost);
        connection.natives.insert(number, at);
        if part == Part::Member {
            connection.members.push(at);
        }
        connection.wide += usize::from(is_wide);
        Ok(at)
    }

    /// How many subscriptions a connection has to this name or prefix, of this kind.
    fn count_same(&self, id: ConnectionId, part: Part, filter: &Filter<'_>) -> usize {
        let prefix = key(filter).and_then(|key| self.native_prefixes.find(&key));
        prefix.map_or(0, |prefix| self.count_same_prefix(id, part, prefix))
    }

    fn count_same_prefix(&self, id: ConnectionId, part: Part, prefix: u32) -> usize {
        let Some(prefix) = self.native_prefixes.get(prefix) else { return 0 };
        let is_it = |native: &Native| native.connection == id && native.part == part;
        let own = prefix.wanting.within(wanting(id, 0)..=wanting(id, u32::MAX));
        own.filter(|&key| self.natives.get(key as u32).is_some_and(is_it)).count()
    }

    /// Whether there may be a group with this filter before it has members.
    ///
    /// # Errors
    /// The limit that stands against it.
    pub(in super::super) fn check_group(&self, filter: &Filter<'_>) -> Result<(), NativeError> {
        self.check_room(NOBODY, cost(filter.text().as_bytes()))?;
        if matches!(filter, Filter::Pattern(_)) && self.pattern_count >= PATTERNS_MAX_ALL {
            return Err(NativeError::Patterns);
        }
        Ok(())
    }

    /// Notes the filter of a group, and returns where it is.
    pub(in super::super) fn add_group(
        &mut self,
        group: GroupId,
        filter: &Filter<'_>,
        now: Duration,
    ) -> u32 {
        let native = Native {
            connection: NOBODY,
            since_ns: nanoseconds(now),
            number: group,
            credit: 0,
            place: 0,
            filter: FilterSlot::Elsewhere,
            part: Part::Group,
            flags: DROPS,
        };
        let at = self.natives.insert(native);
        self.place(at, filter);
        self.bytes += cost(filter.text().as_bytes());
        self.count += 1;
        at
    }

    fn place(&mut self, at: u32, filter: &Filter<'_>) {
        let native = self.natives.at(at);
        let wanting = wanting(native.connection, at);
        match key(filter) {
            Some(key) => {
                self.names.changed(&key);
                native.filter = FilterSlot::Prefix;
                native.place = self.native_prefixes.add(&key, wanting);
            }
            None => {
                self.names.all_changed();
                self.pattern_count += 1;
                self.patterns.add(filter.text(), wanting);
                native.filter = FilterSlot::Pattern;
                self.rare.entry(at).or_default().pattern = Some(filter.text().into());
            }
        }
    }

    /// Where the subscription of a connection with this number is.
    ///
    /// # Errors
    /// When there is none.
    pub(in super::super) fn find_native(
        &self,
        id: ConnectionId,
        number: u32,
    ) -> Result<u32, NativeError> {
        let found = self.connections.get(&id).and_then(|it| it.natives.get(&number));
        found.copied().ok_or(NativeError::Unknown(number))
    }

    /// Whether a connection has subscriptions on the port for requests.
    pub(in super::super) fn has_natives(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| !connection.natives.is_empty())
    }

    /// The subscriptions of a connection that belong to groups.
    pub(in super::super) fn members_of(&self, id: ConnectionId) -> &[u32] {
        self.connections.get(&id).map_or(&[], |connection| &connection.members)
    }

    /// Ends a subscription; whether it was the last one of its connection that was overdrawn.
    ///
    /// # Errors
    /// When the connection has none with this number.
    pub(in super::super) fn remove_native(
        &mut self,
        id: ConnectionId,
        number: u32,
    ) -> Result<bool, NativeError> {
        let unknown = NativeError::Unknown(number);
        let connection = self.connections.get_mut(&id).ok_or(unknown)?;
        let at = connection.natives.remove(&number).ok_or(unknown)?;
        connection.members.retain(|&member| member != at);
        let native = self.natives.at(at);
        let (part, was_overdrawn) = (native.part, native.has(OVERDRAWN));
        // One of several to a name is counted as those to prefixes and patterns are.
        let prefix = (native.filter == FilterSlot::Prefix).then_some(native.place);
        let has_same = prefix.is_some_and(|prefix| self.count_same_prefix(id, part, prefix) > 1);
        let Ended { cost, is_wide } = self.end_native(at);
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(false) };
        connection.bytes -= cost;
        connection.wide -= usize::from(is_wide || has_same);
        connection.overdrawn -= usize::from(was_overdrawn);
        Ok(was_overdrawn && connection.overdrawn == 0)
    }

    /// Ends a subscription that its connection does not know any more, or a group's.
    pub(in super::super) fn end_native(&mut self, at: u32) -> Ended {
        let nothing = Ended { cost: 0, is_wide: false };
        let Some(native) = self.natives.get(at) else { return nothing };
        let wanting = wanting(native.connection, at);
        let place = native.place;
        let rare = self.rare.remove(&at).unwrap_or_default();
        self.owed -= rare.owed.ids.len();
        let ended = match native.filter {
            FilterSlot::Pattern => {
                let pattern = rare.pattern.unwrap_or_default();
                self.pattern_count -= 1;
                self.patterns.remove(&pattern, wanting);
                self.names.all_changed();
                Ended { cost: cost(pattern.as_bytes()), is_wide: true }
            }
            FilterSlot::Prefix => {
                let Some(prefix) = self.native_prefixes.get(place) else { return nothing };
                self.names.changed(&prefix.bytes);
                let name = prefix.bytes.strip_suffix(&[SEPARATOR]);
                let cost = cost(name.unwrap_or(&prefix.bytes));
                let is_wide = name.is_none();
                self.native_prefixes.remove(place, wanting);
                Ended { cost, is_wide }
            }
            FilterSlot::Elsewhere => Ended { cost: place as usize, is_wide: false },
            FilterSlot::Free => nothing,
        };
        self.natives.free(at);
        self.bytes -= ended.cost;
        self.count -= 1;
        ended
    }

    /// The native subscriptions and the groups that a name fits, and since when the first subscription takes part.
    pub(super) fn matching_native(&self, name: &str) -> (Vec<u32>, Vec<GroupId>, u64) {
        let (mut found, mut groups, mut since_ns) = (Vec::new(), Vec::new(), u64::MAX);
        if self.natives.len() == 0 {
            return (found, groups, since_ns);
        }
        let key = v1_prefix(name);
        for length in self.native_prefixes.lengths(key.len()) {
            if let Some(prefix) = self.native_prefixes.find(&key[..length])
                && let Some(prefix) = self.native_prefixes.get(prefix)
            {
                found.extend(prefix.wanting.ids().map(|at| at as u32));
            }
        }
        self.patterns.of(name, |key| found.push(key as u32));
        found.retain(|&at| {
            let Some(native) = self.natives.get(at) else { return false };
            match native.part {
                Part::Group => groups.push(native.number),
                Part::Broadcast if self.is_there(at) => since_ns = since_ns.min(native.since_ns),
                _ => {}
            }
            // Without it, the connection is gone; a group has none.
            self.is_there(at)
        });
        (found, groups, since_ns)
    }

    fn is_there(&self, at: u32) -> bool {
        self.natives.get(at).is_some_and(|native| self.connections.contains_key(&native.connection))
    }

    /// The subscription at a place that [`Topic`](super::Topic) says.
    pub(in super::super) fn native(&mut self, at: u32) -> Option<&mut Native> {
        self.is_there(at).then(|| self.natives.at(at))
    }

    /// Whether a subscription takes part, and gets what is sent again now.
    pub(super) fn takes_more(&self, at: u32) -> bool {
        self.natives.get(at).is_some_and(|native| {
            native.takes_part()
                && native.has_credit()
                && self.connections.get(&native.connection).is_some_and(|c| !c.is_behind)
        })
    }
}

impl Native {
    /// Whether messages wait for its acknowledgement.
    pub(in super::super) fn takes_part(&self) -> bool {
        self.part == Part::Broadcast
    }

    /// The connection that it is on.
    pub(in super::super) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Whom a delivery is for, and what stands before it.
    pub(in super::super) fn direct(&self, again: bool, attempt: u16) -> Direct {
        let delivery = Delivery { number: self.number, again, retained: false, attempt };
        let (connection, is_overdrawn) = (self.connection, self.has(OVERDRAWN));
        Direct { connection, delivery, is_overdrawn, looks_on: self.part == Part::Observer }
    }

    pub(in super::super) fn has_credit(&self) -> bool {
        self.credit > 0
    }

    /// Whether some credit would be left after this many bytes.
    pub(in super::super) fn has_credit_for(&self, bytes: usize) -> bool {
        i64::from(self.credit).saturating_sub_unsigned(bytes as u64) > 0
    }

    /// Takes the bytes of a delivery out of its credit; whether there was some.
    pub(in super::super) fn pay(&mut self, bytes: usize) -> bool {
        let had = self.has_credit();
        if had {
            self.take(bytes);
        }
        had
    }

    /// Whether messages wait for its credit, or did when it was granted, and are not delivered yet.
    pub(in super::super) fn owes(&self) -> bool {
        self.has(OWES)
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn set(&mut self, flag: u8, is_set: bool) {
        self.flags = if is_set { self.flags | flag } else { self.flags & !flag };
    }

    /// Takes bytes out of its credit. At most [`OVERDRAFT_BYTES_MAX`](crate::limits::OVERDRAFT_BYTES_MAX) is forgotten of what it
    /// owes, and only by a delivery of 2 GiB.
    fn take(&mut self, bytes: usize) {
        let left = i64::from(self.credit).saturating_sub_unsigned(bytes as u64);
        self.credit = i32::try_from(left).unwrap_or(i32::MIN);
    }
}
