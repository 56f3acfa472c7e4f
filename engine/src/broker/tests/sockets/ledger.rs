//! What is known of each message, and which order its publisher gave it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::catalog::Catalog;
use crate::wire::id::MessageId;

/// A publisher, and for v1, which has no means of its own to tell what comes again, its connection.
pub(super) type Line = (usize, usize);

/// What is known of a message. Moments are numbered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tale {
    /// When its publisher first sent it.
    pub(super) sent: Option<u64>,
    /// When its publisher was told OK.
    pub(super) ok: Option<u64>,
    pub(super) ok_at: Duration,
    /// Its place among the messages without acknowledgement of its line.
    pub(super) place: Option<(Line, usize)>,
    /// Somebody has begun to acknowledge it.
    pub(super) acknowledged: bool,
    /// Which server was the last to take a group's member's acknowledgement of it.
    pub(super) settled_in: Option<u32>,
}

#[derive(Default)]
pub(super) struct Ledger {
    pub(super) catalog: Catalog,
    tales: Vec<Tale>,
    lines: BTreeMap<Line, Vec<usize>>,
}

impl Ledger {
    pub(super) fn tale(&mut self, number: usize) -> &mut Tale {
        if self.tales.len() <= number {
            self.tales.resize(number + 1, Tale::default());
        }
        &mut self.tales[number]
    }

    /// What is known of a message that was sent.
    pub(super) fn told(&self, number: usize) -> Tale {
        self.tales.get(number).copied().unwrap_or_default()
    }

    pub(super) fn tales(&self) -> impl Iterator<Item = (usize, Tale)> {
        self.tales.iter().copied().enumerate()
    }

    /// The first message that is to be kept, as it was answered OK and nobody acknowledges it, and is not.
    pub(super) fn lost(&self, is_kept: impl Fn(MessageId) -> bool) -> Option<usize> {
        let is_lost = |&(number, tale): &(usize, Tale)| {
            let made = self.catalog.get(number);
            made.ack && tale.ok.is_some() && !tale.acknowledged && !is_kept(made.id)
        };
        self.tales().find(is_lost).map(|(number, _)| number)
    }

    /// A message leaves its publisher, perhaps again.
    pub(super) fn sent(&mut self, number: usize, line: Line, moment: u64) {
        let ack = self.catalog.get(number).ack;
        if self.tale(number).sent.is_some() {
            return;
        }
        self.tale(number).sent = Some(moment);
        if !ack {
            let messages = self.lines.entry(line).or_default();
            messages.push(number);
            let place = (line, messages.len());
            self.tale(number).place = Some(place);
        }
    }

    /// The messages of a line behind the first so many.
    pub(super) fn line(&self, line: Line, from: usize) -> &[usize] {
        self.lines.get(&line).and_then(|messages| messages.get(from..)).unwrap_or_default()
    }
}
