//! The account of every message: what was sent, answered, delivered, and is owed.
//!
//! What different processes tell arrives in any order: a message may be delivered before it is known that
//! it was answered, or even that it was sent.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::content::Key;

/// What is known of one message.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    is_sent: bool,
    is_refused: bool,
    /// The round in which it was answered OK; they count from 1.
    answered_in: u32,
    deliveries: u32,
}

impl Entry {
    fn is_answered(self) -> bool {
        self.answered_in > 0
    }

    fn is_owed(self) -> bool {
        self.is_answered() && self.deliveries == 0
    }
}

/// The account of all messages of a torture.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The messages of each publisher, by their numbers.
    publishers: BTreeMap<u32, Vec<Entry>>,
    totals: Totals,
    damaged: u64,
}

/// What must be known all the time, kept along.
#[derive(Debug, Default)]
struct Totals {
    ok: u64,
    deliveries: u64,
    owed: u64,
}

/// The account at one moment. Each figure counts messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Handed to a client.
    pub sent: u64,
    /// Answered OK, as far as the publisher lived to tell.
    pub ok: u64,
    /// Refused, or given up by the client.
    pub refused: u64,
    /// Sent, and the publisher was killed before it told the answer. They may be delivered, or not.
    pub unanswered: u64,
    /// Delivered at least once.
    pub delivered: u64,
    /// Deliveries beyond a message's first.
    pub duplicated: u64,
    /// Answered OK and not delivered.
    pub owed: u64,
    /// Delivered although nobody sent them.
    pub forged: u64,
    /// Deliveries whose bytes are not those that were sent.
    pub damaged: u64,
}

impl Ledger {
    fn entry(&mut self, key: Key) -> (&mut Entry, &mut Totals) {
        let messages = self.publishers.entry(key.publisher).or_default();
        let at = key.number as usize;
        if messages.len() <= at {
            messages.resize(at + 1, Entry::default());
        }
        (&mut messages[at], &mut self.totals)
    }

    /// A message is being sent.
    pub fn sent(&mut self, key: Key) {
        self.entry(key).0.is_sent = true;
    }

    /// A message was answered OK, in this round; rounds count from 1.
    pub fn ok(&mut self, key: Key, round: u32) {
        let (entry, totals) = self.entry(key);
        entry.answered_in = round;
        totals.ok += 1;
        totals.owed += u64::from(entry.is_owed());
    }

    /// A message was refused, or its fate is not known to the client.
    pub fn refused(&mut self, key: Key) {
        self.entry(key).0.is_refused = true;
    }

    /// A message was delivered.
    pub fn delivered(&mut self, key: Key) {
        let (entry, totals) = self.entry(key);
        totals.owed -= u64::from(entry.is_owed());
        totals.deliveries += 1;
        entry.deliveries = entry.deliveries.saturating_add(1);
    }

    /// Something was delivered that nobody sent in this form.
    pub fn damaged(&mut self) {
        self.damaged += 1;
    }

    /// Messages answered OK.
    pub fn answered(&self) -> u64 {
        self.totals.ok
    }

    /// Deliveries, duplicates included.
    pub fn deliveries(&self) -> u64 {
        self.totals.deliveries
    }

    /// Messages answered OK and not delivered.
    pub fn owed(&self) -> u64 {
        self.totals.owed
    }

    fn entries(&self) -> impl Iterator<Item = (Key, Entry)> + '_ {
        self.publishers.iter().flat_map(|(&publisher, messages)| {
            let key = move |number| Key { publisher, number };
            (0..).map(key).zip(messages.iter().copied())
        })
    }

    /// Messages that are owed, and the round in which each was answered.
    pub fn owed_messages(&self) -> impl Iterator<Item = (Key, u32)> + '_ {
        let owed = self.entries().filter(|(_, entry)| entry.is_owed());
        owed.map(|(key, entry)| (key, entry.answered_in))
    }

    /// The account as it stands.
    pub fn account(&self) -> Account {
        let mut account = Account { damaged: self.damaged, ..Account::default() };
        for (_, entry) in self.entries() {
            let is_delivered = entry.deliveries > 0;
            account.sent += u64::from(entry.is_sent);
            account.ok += u64::from(entry.is_answered());
            account.refused += u64::from(entry.is_refused);
            account.unanswered +=
                u64::from(entry.is_sent && !entry.is_answered() && !entry.is_refused);
            account.delivered += u64::from(is_delivered);
            account.duplicated += u64::from(entry.deliveries.saturating_sub(1));
            account.owed += u64::from(entry.is_owed());
            account.forged += u64::from(is_delivered && !entry.is_sent);
        }
        account
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Key {
        Key { publisher: 5, number }
    }

    /// Enters messages 0 to 3: sent and all but the last answered.
    fn three_of_four() -> Ledger {
        let mut ledger = Ledger::default();
        (0..4).for_each(|number| ledger.sent(key(number)));
        (0..3).for_each(|number| ledger.ok(key(number), number + 1));
        ledger
    }

    #[test]
    fn what_was_answered_is_owed_until_it_is_delivered() {
        let mut ledger = three_of_four();
        assert_eq!((ledger.owed(), ledger.answered()), (3, 3));
        ledger.delivered(key(1));
        assert_eq!(ledger.owed(), 2);
        let owed: Vec<_> = ledger.owed_messages().collect();
        assert_eq!(owed, [(key(0), 1), (key(2), 3)]);
        let expected =
            Account { sent: 4, ok: 3, unanswered: 1, delivered: 1, owed: 2, ..Account::default() };
        assert_eq!(ledger.account(), expected);
    }

    #[test]
    fn a_second_delivery_is_a_duplicate_and_settles_nothing_else() {
        let mut ledger = three_of_four();
        (0..3).for_each(|_| ledger.delivered(key(0)));
        let account = ledger.account();
        assert_eq!((account.delivered, account.duplicated, account.owed), (1, 2, 2));
        assert_eq!((ledger.deliveries(), ledger.owed()), (3, 2));
    }

    #[test]
    fn a_delivery_may_be_known_before_its_answer_and_before_its_sending() {
        let mut ledger = Ledger::default();
        ledger.delivered(key(0));
        assert_eq!(ledger.account().forged, 1);
        ledger.sent(key(0));
        ledger.ok(key(0), 1);
        let expected = Account { sent: 1, ok: 1, delivered: 1, ..Account::default() };
        assert_eq!((ledger.account(), ledger.owed()), (expected, 0));
    }

    #[test]
    fn an_unanswered_message_is_never_owed() {
        let mut ledger = three_of_four();
        ledger.delivered(key(3));
        ledger.refused(key(3));
        let account = ledger.account();
        assert_eq!((account.owed, account.delivered), (3, 1));
        assert_eq!((account.unanswered, account.refused, account.forged), (0, 1, 0));
    }

    #[test]
    fn what_nobody_sent_is_forged_and_what_is_not_whole_is_damaged() {
        let mut ledger = three_of_four();
        ledger.delivered(key(9));
        ledger.delivered(Key { publisher: 6, number: 0 });
        ledger.damaged();
        let account = ledger.account();
        assert_eq!((account.forged, account.damaged, account.owed), (2, 1, 3));
    }
}
