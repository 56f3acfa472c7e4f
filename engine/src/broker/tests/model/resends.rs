//! Whom the naive broker sends what again, and when.

use super::super::catalog::Catalog;
use super::reference::{Held, Parked, Reference};
use super::*;
use crate::message::Format;

impl Reference {
    fn wanted(&self, prefix: &[u8]) -> bool {
        self.subscriptions.iter().any(|(subscribed, _)| prefix.starts_with(subscribed))
    }

    pub(super) fn wanted_v1(&self, name: &str) -> bool {
        self.wanted(format!("{name}|").as_bytes())
    }

    pub(super) fn wanted_v2(&self, name: &str) -> bool {
        self.wanted(format!("\x01{name}|").as_bytes())
    }

    pub(super) fn subscribe(&mut self, catalog: &Catalog, prefix: &[u8]) {
        self.subscriptions.retain(|(subscribed, _)| subscribed != prefix);
        self.subscriptions.push((prefix.to_vec(), None));
        let whole = prefix.strip_prefix(b"\x01").unwrap_or(prefix).strip_suffix(b"|");
        match whole {
            Some(name) => self.call(false, |number| catalog.get(number).name.as_bytes() == name),
            None => self.sweep = true,
        }
    }

    fn call(&mut self, in_case: bool, wanted: impl Fn(usize) -> bool) {
        let after = self.latest_group();
        for (number, state) in self.states.iter_mut().enumerate() {
            if matches!(state.held, Some(Held::Waiting)) && wanted(number) {
                state.held = Some(Held::Called { in_case, after });
            }
        }
    }

    pub(super) fn cancel(&mut self, prefix: &[u8], now: Duration) {
        for (subscribed, until) in &mut self.subscriptions {
            if subscribed == prefix && until.is_none() {
                *until = Some(now + CANCEL_DOUBTED);
            }
        }
    }

    pub(super) fn resend(&mut self, catalog: &Catalog, now: Duration) {
        self.subscriptions.retain(|(_, until)| until.is_none_or(|until| until > now));
        if std::mem::take(&mut self.sweep) {
            let wanted = NAMES.map(|name| self.wanted_v1(name) || self.wanted_v2(name));
            self.call(false, |number| {
                let name = catalog.get(number).name;
                NAMES.iter().zip(wanted).any(|(known, wanted)| *known == name && wanted)
            });
        }
        if now >= self.waiting_retried_at {
            self.waiting_retried_at = now + WAITING_RETRIED;
            self.call(true, |_| true);
        }
        let stored = if self.stores() { self.stored } else { u64::MAX };
        for number in self.held() {
            let storing = |parked: &Parked| parked.storing.contains(&number);
            match self.state(number).held {
                Some(Held::Called { in_case, after }) if after <= stored => {
                    self.send(catalog, number, in_case, now);
                }
                Some(Held::Due(at)) if at <= now => {
                    if self.parked.iter().any(storing) {
                        self.state(number).held = Some(Held::Due(now + INTERVAL));
                    } else {
                        self.send(catalog, number, false, now);
                    }
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, catalog: &Catalog, number: usize, in_case: bool, now: Duration) {
        let name = catalog.get(number).name;
        let (v1, v2) = (self.wanted_v1(name), self.wanted_v2(name));
        self.counts.resent += u64::from(v1 || v2);
        let held = if v1 || v2 { Held::Due(now + INTERVAL) } else { Held::Waiting };
        self.state(number).held = Some(held);
        if v1 || in_case {
            self.state(number).shown_v1 = true;
            self.frames.push((Format::V1, number));
        }
        if v2 || in_case {
            self.frames.push((Format::V2, number));
        }
    }
}
