//! The settings of a subscription.

use std::time::Duration;

use super::filter::Filter;
use super::policy::Policy;
use crate::limits::CLIENT_CREDIT_BYTES;
use crate::wire::control::{self, Backoff, Overflow, Subscribe};

/// What a subscriber is to its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Observer,
    Broadcast,
    Group(Group),
}

/// A group that a member joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) policy: Policy,
    /// Whether the client asks for more time by itself for what was not settled.
    pub(super) extends: bool,
}

/// All that a subscription is asked for with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SubscriptionSettings {
    pub(super) filter: Filter,
    pub(super) kind: Kind,
    pub(super) overflow: Overflow,
    /// Whether it gets the retained messages of its names first.
    pub(super) with_last: bool,
    /// Bytes that may be here and not dealt with.
    pub(super) credit: u64,
}

impl SubscriptionSettings {
    /// Those of a broadcast subscription that says nothing else.
    pub(super) fn broadcast(filter: Filter) -> Self {
        let (kind, overflow, credit) = (Kind::Broadcast, Overflow::Hold, CLIENT_CREDIT_BYTES);
        Self { filter, kind, overflow, with_last: false, credit }
    }

    pub(super) fn is_group(&self) -> bool {
        matches!(self.kind, Kind::Group(_))
    }

    /// Whether it is for a group, and says what comes before further attempts.
    pub(super) fn has_backoff(&self) -> bool {
        matches!(&self.kind, Kind::Group(group) if group.policy.backoff != Backoff::NONE)
    }

    /// The request for it.
    pub(super) fn request(&self, number: u32, credit: u64) -> Vec<u8> {
        let kind = match &self.kind {
            Kind::Observer => control::Kind::Observer,
            Kind::Broadcast => control::Kind::Broadcast,
            Kind::Group(group) => control::Kind::Group(group.policy.of(&group.name)),
        };
        let (overflow, filter) = (self.overflow, self.filter.wire());
        let subscribe =
            Subscribe { number, kind, overflow, filter, credit, with_last: self.with_last };
        control::request(&control::Control::Subscribe(subscribe))
    }

    /// How often more time is asked for, if it is. `default`: how long messages may take, unless this says it.
    pub(super) fn extends_every(&self, default: Duration) -> Option<Duration> {
        let Kind::Group(group) = &self.kind else { return None };
        let ack_wait = match group.policy.ack_wait_ms {
            0 => default,
            ms => Duration::from_millis(ms.into()),
        };
        // Twice before it is over, so that one request may be late.
        group.extends.then(|| (ack_wait / 3).max(Duration::from_millis(1)))
    }
}
