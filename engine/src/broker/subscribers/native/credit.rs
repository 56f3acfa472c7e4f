//! Credit: how much of what a subscription wants it gets now, and what waits for more.

use std::collections::VecDeque;

use super::super::{ConnectionId, Direct, Subscribers};
use super::NativeError;
use crate::limits::{
    CREDIT_BYTES_MAX, OVERDRAFT_BYTES_MAX, OWED_MESSAGES_MAX_ALL, OWED_MESSAGES_MAX_EACH,
};
use crate::wire::control::Overflow;
use crate::wire::id::MessageId;

/// Messages that wait for credit.
#[derive(Debug, Default)]
pub(super) struct Owed {
    pub(super) ids: VecDeque<MessageId>,
    /// There is credit, and they are delivered in turn.
    is_listed: bool,
}

impl Subscribers {
    /// Delivers so many bytes beyond a subscription's credit, if it may get them; publishers are to wait then.
    pub(in super::super::super) fn overdraw(&mut self, at: u32, bytes: usize) -> Option<Direct> {
        let native = self.natives.at(at);
        if native.overflow == Overflow::Drop || native.credit <= -OVERDRAFT_BYTES_MAX {
            return None;
        }
        native.credit = native.credit.saturating_sub_unsigned(bytes as u64);
        if !std::mem::replace(&mut native.is_overdrawn, true)
            && let Some(connection) = self.connections.get_mut(&native.connection)
        {
            connection.overdrawn += 1;
        }
        Some(native.direct(false, 0))
    }

    /// Delivers a retained message of so many bytes to a subscription that has credit for it, or gets more without.
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
        if !native.is_overdrawn {
            return None;
        }
        let connection = self.connections.get_mut(&native.connection)?;
        if native.has_credit() {
            native.is_overdrawn = false;
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
        let left = native.credit.max(0).unsigned_abs();
        check_credit(number, left.saturating_add(bytes))?;
        native.credit = native.credit.saturating_add_unsigned(bytes);
        Ok(at)
    }

    /// A message waits for a subscription's credit. When too many do, this one comes again after its interval.
    pub(in super::super::super) fn owe(&mut self, at: u32, id: MessageId) {
        let has_room = self.owed < OWED_MESSAGES_MAX_ALL;
        let owed = self.natives.at(at).owed.get_or_insert_default();
        if has_room && owed.ids.len() < OWED_MESSAGES_MAX_EACH {
            owed.ids.push_back(id);
            self.owed += 1;
        }
    }

    /// Whether messages wait for the credit of some subscription.
    pub(in super::super::super) fn owes_any(&self) -> bool {
        self.owed > 0
    }

    /// The next message that waited for a subscription's credit.
    pub(in super::super::super) fn next_owed(&mut self, at: u32) -> Option<MessageId> {
        let native = self.natives.at(at);
        let next = native.owed.as_mut()?.ids.pop_front();
        match next {
            Some(_) => self.owed -= 1,
            None => native.owed = None,
        }
        next
    }

    /// It could not be delivered yet after all.
    pub(in super::super::super) fn owe_first(&mut self, at: u32, id: MessageId) {
        self.natives.at(at).owed.get_or_insert_default().ids.push_front(id);
        self.owed += 1;
    }

    /// Whether what waits for a subscription's credit can be delivered, and is not listed for that yet: now it is.
    pub(in super::super::super) fn list_owing(&mut self, at: u32) -> bool {
        let native = self.natives.at(at);
        let has_credit = native.has_credit();
        let owed = native.owed.as_mut().filter(|_| has_credit);
        owed.is_some_and(|owed| !std::mem::replace(&mut owed.is_listed, true))
    }

    /// It is listed no more.
    pub(in super::super::super) fn unlist_owing(&mut self, at: u32) {
        if let Some(native) = self.native(at)
            && let Some(owed) = &mut native.owed
        {
            owed.is_listed = false;
        }
    }
}

pub(super) fn check_credit(number: u32, credit: u64) -> Result<i64, NativeError> {
    if credit > CREDIT_BYTES_MAX {
        return Err(NativeError::Credit { number, credit });
    }
    Ok(credit as i64)
}
