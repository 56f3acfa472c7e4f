//! Totals of all subscribers' ledgers, compared with what the publishers sent.

use crate::ledger;
use crate::publisher::Sent;
use crate::subscriber::Received;

/// Sums over all subscribers and publishers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Different messages received.
    pub(crate) delivered: u64,
    /// Messages taken by the server that did not arrive.
    pub(crate) lost: u64,
    /// Copies of messages that had arrived before.
    pub(crate) duplicated: u64,
    /// Messages that arrived after a later one of the same publisher and name.
    pub(crate) reordered: u64,
    /// Messages that nobody of this run sent.
    pub(crate) foreign: u64,
    /// Ledgers that the clients did not give back.
    pub(crate) missing_ledgers: u64,
}

impl Totals {
    /// Each subscriber has to have each message, or, if they are one group, all of them together.
    pub(crate) fn new(sent: &[Sent], received: &[Received], is_group: bool) -> Self {
        let mut totals = Self::default();
        let together = if is_group { received.len().max(1) } else { 1 };
        for subscribers in received.chunks(together) {
            totals.add(sent, subscribers);
        }
        totals
    }

    fn add(&mut self, sent: &[Sent], subscribers: &[Received]) {
        self.missing_ledgers += subscribers.iter().map(|of| of.missing as u64).sum::<u64>();
        let mut by_publisher = vec![0; sent.len()];
        for (name, ledger) in subscribers.iter().flat_map(|of| &of.ledgers) {
            self.foreign += ledger.foreign();
            for (publisher, count) in ledger.counts().enumerate() {
                by_publisher[publisher] += count.received;
                self.delivered += count.received;
                self.duplicated += count.duplicated;
                self.reordered += count.reordered;
                self.foreign += count.highest.saturating_sub(sent[publisher].by_name[*name]);
            }
        }
        for (sent, received) in sent.iter().zip(by_publisher) {
            self.lost += ledger::lost(sent.sent(), sent.refused, received);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::measured::Measured;
    use crate::measured::histogram;

    fn sent(by_name: &[u64]) -> Sent {
        Sent { by_name: by_name.to_vec(), refused: 0, failure: None, delay: histogram() }
    }

    /// A subscriber of one publisher and two names that got `first` and `second` under them.
    fn received(first: &[u64], second: &[u64]) -> Received {
        let ledger = |sequences: &[u64]| {
            let mut ledger = Ledger::new(1);
            for &sequence in sequences {
                ledger.enter(0, sequence);
            }
            ledger
        };
        let ledgers = vec![(0, ledger(first)), (1, ledger(second))];
        Received { ledgers, measured: Measured::new(), missing: 0 }
    }

    #[test]
    fn every_subscriber_is_held_against_every_publisher() {
        let complete = received(&[1, 2], &[1]);
        let lacking = received(&[2, 1], &[]);
        let doubled = received(&[1, 2, 2], &[1]);
        let expected =
            Totals { delivered: 8, lost: 1, duplicated: 1, reordered: 1, ..Totals::default() };
        assert_eq!(Totals::new(&[sent(&[2, 1])], &[complete, lacking, doubled], false), expected);
    }

    #[test]
    fn a_group_has_to_have_each_message_once() {
        let members = [received(&[2], &[1]), received(&[4], &[])];
        let expected = Totals { delivered: 3, lost: 2, ..Totals::default() };
        assert_eq!(Totals::new(&[sent(&[4, 1])], &members, true), expected);
    }

    #[test]
    fn what_was_never_sent_is_foreign() {
        let totals = Totals::new(&[sent(&[1, 1])], &[received(&[1, 2], &[1])], false);
        assert_eq!((totals.foreign, totals.lost), (1, 0));
    }
}
