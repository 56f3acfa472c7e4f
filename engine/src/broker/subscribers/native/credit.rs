//! Credit: decides what a subscription gets now, and what waits for more credit.

use std::collections::VecDeque;
use std::collections::btree_map::Entry;

use super::super::{ConnectionId, Direct, Subscribers};
use super::{ANSWERS, DROPS, NativeError, OVERDRAWN, OWES};
use crate::limits::{
    CREDIT_BYTES_MAX, OVERDRAFT_BYTES_MAX, OWED_MESSAGES_MAX_ALL, OWED_MESSAGES_MAX_EACH,
};
use crate::wire::id::MessageId;

/// Messages that wait for credit.
#[derive(Debug, Default)]
pub(super) struct AwaitingCredit {
    pub(super) ids: VecDeque<MessageId>,
    /// There is credit, and they are delivered in turn.
    is_listed: bool,
}

impl Subscribers {
    /// Delivers this many bytes beyond a subscription's credit, if it may get them; publishers are to wait then.
    pub(in super::super::super) fn overdraw(&mut self, at: u32, bytes: usize) -> Option<Direct> {
        let native = self.natives.at(at);
        if native.has(DROPS) || i64::from(native.credit) <= -OVERDRAFT_BYTES_MAX {
            return None;
        }
        native.take(bytes);
        if !native.has(OVERDRAWN | ANSWERS) {
            native.set(OVERDRAWN, true);
            if let Some(connection) = self.connections.get_mut(&native.connection) {
                connection.overdrawn += 1;
            }
        }
        Some(native.direct(false, 0))
    }

    /// Delivers a retained message of this many bytes to a subscription that has credit for it, or gets more without.
    pub(in super::super::super) fn direct_retained(
        &mut self,
        at: u32,
        bytes: usize,
    ) -> Option<Direct> {
        let native = self.native(at)?;
        let direct = match native.pay(bytes) {
            true => native.direct(false, 0),
            false => self.overdraw(at, bytes)?,
        };
        Some(direct.retained())
    }

    /// Notes that a subscription has credit again, or is over; whether its connection is to be told, and then whether
    /// no other subscription of it is overdrawn.
    pub(in super::super::super) fn note_credit(&mut self, at: u32) -> Option<bool> {
        let native = self.natives.at(at);
        if !native.has(OVERDRAWN) {
            return None;
        }
        let connection = self.connections.get_mut(&native.connection)?;
        if native.has_credit() {
            native.set(OVERDRAWN, false);
            connection.overdrawn -= 1;
        }
        Some(connection.overdrawn == 0)
    }

    /// Grants a subscription credit; where it is.
    ///
    /// # Errors
    /// When there is no such subscription, or it would have too much.
    pub(in super::super::super) fn grant(
        &mut self,
        id: ConnectionId,
        number: u32,
        bytes: u64,
    ) -> Result<u32, NativeError> {
        let at = self.find_native(id, number)?;
        let native = self.natives.at(at);
        let left = u64::from(native.credit.max(0).unsigned_abs());
        check_credit(number, left.saturating_add(bytes))?;
        // Both are within bounds, so that the sum is.
        native.credit = native.credit.saturating_add_unsigned(bytes as u32);
        Ok(at)
    }

    /// A message waits for a subscription's credit. When too many do, this one is delivered again after its interval.
    pub(in super::super::super) fn owe(&mut self, at: u32, id: MessageId) {
        let has_room = self.owed < OWED_MESSAGES_MAX_ALL;
        let owed = self.begin_to_owe(at);
        if has_room && owed.ids.len() < OWED_MESSAGES_MAX_EACH {
            owed.ids.push_back(id);
            self.owed += 1;
        }
    }

    fn begin_to_owe(&mut self, at: u32) -> &mut AwaitingCredit {
        self.natives.at(at).set(OWES, true);
        &mut self.rare.entry(at).or_default().owed
    }

    /// What waits for a subscription's credit, if something does or did.
    fn owed_by(&mut self, at: u32) -> Option<&mut AwaitingCredit> {
        match self.natives.at(at).has(OWES) {
            true => self.rare.get_mut(&at).map(|rare| &mut rare.owed),
            false => None,
        }
    }

    /// Whether messages wait for the credit of some subscription.
    pub(in super::super::super) fn owes_any(&self) -> bool {
        self.owed > 0
    }

    /// The next message that waited for a subscription's credit.
    pub(in super::super::super) fn next_owed(&mut self, at: u32) -> Option<MessageId> {
        let next = self.owed_by(at)?.ids.pop_front();
        match next {
            Some(_) => self.owed -= 1,
            None => self.owe_nothing(at),
        }
        next
    }

    fn owe_nothing(&mut self, at: u32) {
        self.natives.at(at).set(OWES, false);
        if let Entry::Occupied(mut rare) = self.rare.entry(at) {
            match rare.get().pattern {
                Some(_) => rare.get_mut().owed = AwaitingCredit::default(),
                None => _ = rare.remove(),
            }
        }
    }

    /// It could not be delivered yet after all.
    pub(in super::super::super) fn owe_first(&mut self, at: u32, id: MessageId) {
        self.begin_to_owe(at).ids.push_front(id);
        self.owed += 1;
    }

    /// Whether what waits for a subscription's credit can be delivered, and is not listed for that yet: now it is.
    pub(in super::super::super) fn list_owing(&mut self, at: u32) -> bool {
        let has_credit = self.natives.at(at).has_credit();
        let owed = self.owed_by(at).filter(|_| has_credit);
        owed.is_some_and(|owed| !std::mem::replace(&mut owed.is_listed, true))
    }

    /// It is listed no more.
    pub(in super::super::super) fn unlist_owing(&mut self, at: u32) {
        if self.is_there(at)
            && let Some(owed) = self.owed_by(at)
        {
            owed.is_listed = false;
        }
    }
}

pub(super) fn check_credit(number: u32, credit: u64) -> Result<i32, NativeError> {
    if credit > CREDIT_BYTES_MAX {
        return Err(NativeError::Credit { number, credit });
    }
    Ok(credit as i32)
}
