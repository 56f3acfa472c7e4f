//! Whom the naive broker sends what again, and when.

use std::collections::BTreeSet;

use super::super::catalog::Catalog;
use super::reference::{Held, Parked, Reference, State};
use super::*;
use crate::message::Format;

impl Reference {
    /// The subscriptions that fit a name in this format, and since when each is.
    fn fitting(
        &self,
        format: Format,
        name: &str,
    ) -> impl Iterator<Item = (ConnectionId, Duration)> {
        let whole = match format {
            Format::V1 => format!("{name}|"),
            Format::V2 => format!("\x01{name}|"),
        };
        let fits = move |prefix: &[u8]| whole.as_bytes().starts_with(prefix);
        let all = self.subscriptions.iter().filter(move |((_, prefix), _)| fits(prefix));
        all.map(|(&(connection, _), &since)| (connection, since))
    }

    /// The connections that want a name in this format.
    pub(super) fn wanting(&self, format: Format, name: &str) -> Vec<ConnectionId> {
        let all: BTreeSet<ConnectionId> = self.fitting(format, name).map(|(id, _)| id).collect();
        all.into_iter().collect()
    }

    fn wanting_any(&self, name: &str) -> Vec<ConnectionId> {
        [Format::V1, Format::V2].map(|format| self.wanting(format, name)).concat()
    }

    pub(super) fn is_wanted(&self, name: &str) -> bool {
        !self.wanting_any(name).is_empty()
    }

    /// Whether some want it, and none of them keeps up.
    fn is_held_up(&self, name: &str) -> bool {
        let wanting = self.wanting_any(name);
        !wanting.is_empty() && wanting.iter().all(|connection| self.behind.contains(connection))
    }

    /// Publishes a message to whoever wants it in this format now.
    pub(super) fn publish(&mut self, catalog: &Catalog, format: Format, number: usize) {
        let to = self.wanting(format, catalog.get(number).name);
        self.publish_to(format, number, to);
    }

    fn publish_to(&mut self, format: Format, number: usize, to: Vec<ConnectionId>) {
        if to.is_empty() {
            return;
        }
        if format == Format::V1 && self.is_held(number) {
            self.state(number).shown_v1 = true;
        }
        self.frames.push((format, number, to));
    }

    pub(super) fn subscribe(
        &mut self,
        catalog: &Catalog,
        connection: ConnectionId,
        prefix: &[u8],
        now: Duration,
    ) {
        self.known.insert(connection);
        self.subscriptions.entry((connection, prefix.to_vec())).or_insert(now);
        let begins = std::str::from_utf8(prefix.strip_prefix(b"\x01").unwrap_or(prefix)).unwrap();
        let waiting = |state: &State| matches!(state.held, Some(Held::Waiting));
        match begins.strip_suffix('|') {
            Some(name) => self.call(|number| catalog.get(number).name == name),
            None if self.states.iter().any(waiting) => self.sweeps.push(begins.to_owned()),
            None => {}
        }
    }

    fn call(&mut self, wanted: impl Fn(usize) -> bool) {
        let after = self.latest_group();
        for (number, state) in self.states.iter_mut().enumerate() {
            if matches!(state.held, Some(Held::Waiting)) && wanted(number) {
                state.held = Some(Held::Called { after });
            }
        }
    }

    pub(super) fn cancel(&mut self, connection: ConnectionId, prefix: &[u8]) {
        self.subscriptions.remove(&(connection, prefix.to_vec()));
    }

    pub(super) fn leave(&mut self, connection: ConnectionId) {
        let before = self.subscriptions.len();
        self.subscriptions.retain(|&(other, _), _| other != connection);
        self.has_left |= self.subscriptions.len() < before;
        self.known.remove(&connection);
        self.behind.remove(&connection);
    }

    pub(super) fn falls_behind(&mut self, connection: ConnectionId) {
        if self.known.contains(&connection) {
            self.behind.insert(connection);
        }
    }

    pub(super) fn keeps_up(&mut self, connection: ConnectionId) {
        self.behind.remove(&connection);
    }

    pub(super) fn resend(&mut self, catalog: &Catalog, now: Duration) {
        for begins in std::mem::take(&mut self.sweeps) {
            self.call(|number| catalog.get(number).name.starts_with(&begins));
        }
        if std::mem::take(&mut self.has_left) {
            self.recall(catalog, now);
        }
        let stored = if self.stores() { self.stored } else { u64::MAX };
        for number in self.held() {
            let storing = |parked: &Parked| parked.storing.contains(&number);
            let is_held_up = self.is_held_up(catalog.get(number).name);
            match self.state(number).held {
                Some(Held::Called { after }) if after <= stored && !is_held_up => {
                    self.send(catalog, number, now);
                }
                Some(Held::Due(at)) if at <= now => {
                    if is_held_up || self.parked.iter().any(storing) {
                        self.state(number).held = Some(Held::Due(now + INTERVAL));
                    } else {
                        self.send(catalog, number, now);
                    }
                }
                _ => {}
            }
        }
    }

    /// A subscriber has left: what went to none of those who want it now does not wait for its interval.
    fn recall(&mut self, catalog: &Catalog, now: Duration) {
        for number in self.held() {
            let Some(Held::Due(at)) = self.state(number).held else { continue };
            // The server knows when a message was sent to within a tick.
            let sent = at.saturating_sub(INTERVAL + TICK);
            let name = catalog.get(number).name;
            let was_sent = [Format::V1, Format::V2]
                .iter()
                .any(|&format| self.fitting(format, name).any(|(_, since)| since < sent));
            if !self.is_wanted(name) {
                self.state(number).held = Some(Held::Waiting);
            } else if at > now
                && !was_sent
                && !self.parked.iter().any(|parked| parked.storing.contains(&number))
            {
                self.state(number).held = Some(Held::Due(now));
            }
        }
    }

    fn send(&mut self, catalog: &Catalog, number: usize, now: Duration) {
        let wanted = self.is_wanted(catalog.get(number).name);
        self.counts.resent += u64::from(wanted);
        let held = if wanted { Held::Due(now + INTERVAL) } else { Held::Waiting };
        self.state(number).held = Some(held);
        for format in [Format::V1, Format::V2] {
            let mut to = self.wanting(format, catalog.get(number).name);
            to.retain(|connection| !self.behind.contains(connection));
            self.publish_to(format, number, to);
        }
    }
}
