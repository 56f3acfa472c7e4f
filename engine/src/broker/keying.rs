//! Messages that are published again under a publisher's own key.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use super::check::{Summary, frame_records};
use super::core::{AcceptedRequest, Core};
use super::refusal::Refusal;
use super::transcode::Transcoded;
use crate::journal::Op;
use crate::limits::KEYS_FORGOTTEN_PER_TURN_MAX;
use crate::message::MessageKey;
use crate::wire::frame::v2_prefix;

impl<E> Core<E> {
    /// Whether this many keys more, of this many bytes with their names, may be remembered. Those that are known already count, too:
    /// a publisher that gets this error sends again.
    pub(super) fn check_keys(&self, keyed: usize, bytes: usize) -> Result<(), Refusal> {
        if keyed == 0 {
            return Ok(());
        }
        self.keys.check(keyed, bytes).map_err(Refusal::PendingFull)
    }

    /// Takes messages that did not come before, but perhaps others did under their keys: those are not published.
    pub(super) fn take_new(
        &mut self,
        name: &str,
        records: &[u8],
        request: &Bytes,
        summary: Summary,
        carried: Option<Transcoded>,
        now: Duration,
    ) -> AcceptedRequest {
        if summary.keyed == 0 {
            return self.take_records(name, records, request, summary, carried, now);
        }
        let topic = self.subscribers.topic(name).name.clone();
        let now_ms = self.unix_ms();
        let (mut rest, mut own, mut new) = (v2_prefix(name), BTreeSet::new(), Vec::new());
        let (head_bytes, mut repeats, mut first_group) = (rest.len(), 0, 0);
        for (whole, record) in frame_records(records) {
            if let Some(key) = record.properties().key {
                let known = self.keys.find(&topic, key, now_ms);
                first_group = first_group.max(known.unwrap_or(0));
                if known.is_some() || !own.insert(key) {
                    repeats += 1;
                    continue;
                }
                new.push((key, record.ack));
            }
            rest.extend_from_slice(whole);
        }
        self.counters.duplicates.add(repeats);
        let stores = summary.is_stored() && self.stores();
        let publisher = summary.first.publisher;
        let summary = Summary { repeats, ..summary };
        let mut taken = if repeats == 0 {
            self.take_records(name, records, request, summary, carried, now)
        } else {
            let rest = Bytes::from(rest);
            self.take_records(name, &rest[head_bytes..], &rest, summary, None, now)
        };
        let window_ms = self.rules.idempotency_window.as_millis();
        let until_ms = now_ms.saturating_add(u64::try_from(window_ms).unwrap_or(u64::MAX));
        for &(key, ack) in &new {
            if stores && ack {
                let (name, key) = (topic.clone(), key.into());
                self.out.journal.push(Op::Key(MessageKey { name, key, at_ms: now_ms, until_ms }));
            }
        }
        let group = if stores { self.latest_group() } else { 0 };
        for (key, _) in new {
            self.keys.add(&topic, key, until_ms, group);
        }
        // The first one may still wait for the journal.
        if first_group > taken.group {
            taken.group = first_group;
            self.publishers.get(publisher).barrier = first_group;
        }
        AcceptedRequest { kept: taken.kept || first_group > 0, ..taken }
    }

    /// Forgets some of the keys that count no longer; whether more are left.
    pub(super) fn forget_keys(&mut self) -> bool {
        self.keys.forget_some(self.unix_ms(), KEYS_FORGOTTEN_PER_TURN_MAX)
    }

    /// Takes back a key from the journal.
    pub(super) fn restore_key(&mut self, key: &MessageKey) {
        self.keys.add(&key.name, &key.key, key.until_ms, 0);
    }
}
