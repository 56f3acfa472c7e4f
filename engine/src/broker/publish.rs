//! Taking messages: everything is checked before anything is changed.

use std::time::Duration;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::backlog::Audience;
use super::check::{Summary, check_checksums, frame_records};
use super::contents::fingerprint;
use super::core::{AcceptedRequest, Core};
use super::outgoing::{NEVER_MS, Outgoing};
use super::publishers::Overlap;
use super::refusal::Refusal;
use super::subscribers::{ConnectionId, Topic};
use super::times::{check_times, is_later};
use super::transcode::{self, Original, Transcoded};
use crate::journal::Op;
use crate::limits::BATCH_BYTES_MAX;
use crate::message::{Body, Format, Message};
use crate::plural::counted;
use crate::wire::frame::v2_prefix;
use crate::wire::id::MessageId;
use crate::wire::properties::Properties;
use crate::wire::record::{Encoding, Record, RecordError, Records};

impl<E> Core<E> {
    pub(super) fn publish_v2(
        &mut self,
        connection: ConnectionId,
        name: &str,
        records: &[u8],
        request: &Bytes,
        now: Duration,
    ) -> Result<AcceptedRequest, Refusal> {
        let summary = self.check_native(connection, name, records)?;
        // Before the checksums, which take time that the end may not have.
        if self.draining {
            let publisher = self.publishers.get(summary.first.publisher);
            if publisher.seen(&summary.sequences()) != Overlap::All {
                return Err(Refusal::ShuttingDown);
            }
        }
        if self.rules.verify.includes(summary.kept > 0) {
            check_checksums(name, records, self.rules.verify)?;
        }
        self.take_v2(name, records, request, summary, None, now)
    }

    /// Everything about a native request but its checksums, which are expensive: a stranger does not get that far.
    pub(super) fn check_native(
        &mut self,
        connection: ConnectionId,
        name: &str,
        records: &[u8],
    ) -> Result<Summary, Refusal> {
        let summary = self.check_records(name, records)?;
        self.check_proved(connection, summary.first.publisher)?;
        if summary.is_stored() {
            // Also for one that was sent before: it may be the journal that lost it.
            self.check_journal()?;
        }
        Ok(summary)
    }

    /// Takes a request that was checked. `carried`: its one message in the original format, if that is made.
    pub(super) fn take_v2(
        &mut self,
        name: &str,
        records: &[u8],
        request: &Bytes,
        summary: Summary,
        carried: Option<Transcoded>,
        now: Duration,
    ) -> Result<AcceptedRequest, Refusal> {
        let sequences = summary.sequences();
        let publisher = self.publishers.get(summary.first.publisher);
        let barrier = publisher.barrier;
        let seen = publisher.seen(&sequences);
        if seen != Overlap::Nothing {
            let MessageId { publisher, sequence } = summary.first;
            let contents = &self.publishers.contents;
            let differing = contents.differing(publisher, sequence, &summary.fingerprints);
            if let Some(sequence) = differing {
                return Err(Refusal::Reused { publisher, sequence });
            }
        }
        match seen {
            Overlap::All => {
                self.counters.duplicates.add(summary.records);
                // Perhaps the first of the two still waits for the journal.
                return Ok(AcceptedRequest { group: barrier, kept: summary.is_stored() });
            }
            Overlap::Some => return self.publish_rest(name, records, summary.is_stored(), now),
            Overlap::Nothing => {}
        }
        if let Some(bytes) = summary.retained_bytes {
            self.retained.check(name, bytes).map_err(Refusal::PendingFull)?;
        }
        self.reserve(name, summary.held, summary.held_bytes)?;
        self.check_keys(summary.keyed, summary.key_bytes)?;
        Ok(self.take_new(name, records, request, summary, carried, now))
    }

    /// Takes a request of which a part was taken before. No client of ours sends such a thing; one that
    /// cuts its frames again when it sends again may. `kept`: whether any of its messages is kept, those
    /// that were taken before included, which perhaps still wait for the journal.
    fn publish_rest(
        &mut self,
        name: &str,
        records: &[u8],
        kept: bool,
        now: Duration,
    ) -> Result<AcceptedRequest, Refusal> {
        let mut runs: Vec<Vec<u8>> = Vec::new();
        let mut previous = None;
        let (mut held, mut held_bytes, now_ms) = (0, 0, self.unix_ms());
        let (mut keyed, mut key_bytes) = (0, 0);
        for (whole, record) in frame_records(records) {
            let sequence = record.id.sequence;
            let publisher = self.publishers.get(record.id.publisher);
            if publisher.seen(&(sequence..=sequence)) != Overlap::Nothing {
                self.counters.duplicates.add(1);
                continue;
            }
            if previous != Some(sequence - 1) || runs.is_empty() {
                runs.push(v2_prefix(name));
            }
            previous = Some(sequence);
            if let Some(run) = runs.last_mut() {
                run.extend_from_slice(whole);
            }
            let properties = record.properties();
            if properties.retain {
                self.retained.check(name, whole.len()).map_err(Refusal::PendingFull)?;
            }
            if let Some(key) = properties.key {
                keyed += 1;
                key_bytes += name.len() + key.len();
            }
            if record.ack || is_later(&properties, now_ms) {
                held += 1;
                held_bytes += whole.len();
            }
        }
        self.reserve(name, held, held_bytes)?;
        self.check_keys(keyed, key_bytes)?;
        let mut group = 0;
        for run in runs {
            let run = Bytes::from(run);
            let records = run.slice(name.len() + 2..);
            let summary = self.check_records(name, &records)?;
            group = self.take_new(name, &records, &run, summary, None, now).group;
        }
        Ok(AcceptedRequest { group, kept })
    }

    pub(super) fn check_records(&mut self, name: &str, records: &[u8]) -> Result<Summary, Refusal> {
        let (mut summary, now_ms) = (None::<Summary>, self.unix_ms());
        let mut fingerprints = self.publishers.contents.room();
        let name_hash = xxh3_64(name.as_bytes());
        for item in Records::new(records) {
            let (whole, record) = item?;
            if summary.is_some() && records.len() > BATCH_BYTES_MAX {
                let (bytes, max) = (records.len(), BATCH_BYTES_MAX);
                return Err(Refusal::BatchTooLarge { bytes, max });
            }
            let summary = summary.get_or_insert_with(|| Summary {
                first: record.id,
                records: 0,
                kept: 0,
                held: 0,
                retained_bytes: None,
                keyed: 0,
                key_bytes: 0,
                repeats: 0,
                held_bytes: 0,
                whole_until_ms: NEVER_MS,
                fingerprints: Vec::new(),
            });
            fingerprints.push(fingerprint(name_hash, &record));
            if !record.id.is_native() {
                return Err(Refusal::Rule(
                    "a publisher's id lies between 1 and 2^63 - 1, and its sequence begins at 1",
                ));
            }
            let expected = summary.first.sequence.checked_add(summary.records);
            if record.id.publisher != summary.first.publisher
                || Some(record.id.sequence) != expected
            {
                return Err(Refusal::Rule(
                    "the records of a request come from one publisher and are numbered without gaps",
                ));
            }
            if record.encoding == Encoding::Pickle {
                return Err(Refusal::Rule(
                    "only the server marks a payload as a pickle: send it as bytes",
                ));
            }
            let mut is_held = record.ack;
            if record.has_properties {
                let properties = Properties::read(record.parts().1)?;
                check_times(&record, &properties, now_ms)?;
                let is_later = is_later(&properties, now_ms);
                let until_ms = if is_later { Some(0) } else { properties.expires_ms };
                summary.whole_until_ms = summary.whole_until_ms.min(until_ms.unwrap_or(NEVER_MS));
                is_held |= is_later;
                if let Some(key) = properties.key {
                    summary.keyed += 1;
                    summary.key_bytes += name.len() + key.len();
                }
                if properties.retain {
                    summary.retained_bytes = Some(whole.len());
                }
            }
            let (bytes, max) = (whole.len() as u64, self.rules.max_message_bytes as u64);
            if bytes > max {
                return Err(Refusal::TooLarge { bytes, max });
            }
            summary.records += 1;
            summary.kept += usize::from(record.ack);
            if is_held {
                summary.held += 1;
                summary.held_bytes += whole.len();
            }
        }
        let summary = summary.ok_or(Refusal::Record(RecordError::NoRecords))?;
        Ok(Summary { fingerprints, ..summary })
    }

    pub(super) fn take_records(
        &mut self,
        name: &str,
        records: &[u8],
        request: &Bytes,
        summary: Summary,
        carried: Option<Transcoded>,
        now: Duration,
    ) -> AcceptedRequest {
        let topic = self.subscribers.topic(name).clone();
        let messages = summary.records - summary.repeats;
        self.counters.accepted.add(messages);
        self.subscribers.published(topic.counted_at, messages, request.len());
        let (kept, retains) = (summary.kept > 0, summary.retained_bytes.is_some());
        let stores = summary.is_stored() && self.stores();
        let droppable = !kept;
        let whole_until_ms = summary.whole_until_ms;
        if !records.is_empty() {
            self.frames.push(Outgoing {
                name: topic.name.clone(),
                frame: request.clone(),
                messages,
                format: Format::V2,
                droppable,
                is_copy: carried.is_some(),
                whole_until_ms,
            });
        }
        if stores {
            self.stored.reserve_exact(summary.kept);
        }
        if kept {
            for (whole, record) in frame_records(records).filter(|(_, record)| record.ack) {
                if whole_until_ms == NEVER_MS {
                    self.keep(record.id, Format::V2, request, whole, &topic, false, now);
                } else {
                    self.keep_timed(&record, request, whole, &topic, now);
                }
            }
        }
        let is_retained = |record: &Record<'_>| {
            let properties = record.properties();
            properties.retain && properties.expires_ms.is_none_or(|at_ms| at_ms > self.unix_ms())
        };
        if retains
            && let Some((whole, record)) =
                frame_records(records).filter(|(_, record)| is_retained(record)).last()
        {
            self.retain(&topic.name, &record, request, whole);
        }
        if let Some(Transcoded { frame, checksum }) = carried {
            if kept {
                self.backlog.add_alias(checksum, summary.first);
            }
            let (name, format) = (topic.name.clone(), Format::V1);
            let (messages, is_copy) = (1, false);
            self.frames.push(Outgoing {
                name,
                frame,
                messages,
                format,
                droppable,
                is_copy,
                whole_until_ms,
            });
        }
        // Not the group at hand: if all of it was kept before, nothing fills that one.
        let group = self.latest_group();
        let publisher = self.publishers.get(summary.first.publisher);
        publisher.take(summary.sequences());
        if stores {
            publisher.barrier = group;
        }
        let group = publisher.barrier;
        let MessageId { publisher, sequence } = summary.first;
        self.publishers.contents.take(publisher, sequence, summary.fingerprints);
        AcceptedRequest { group, kept: kept || retains }
    }

    pub(super) fn publish_v1(
        &mut self,
        name: &str,
        dict: &[u8],
        request: &Bytes,
        now: Duration,
    ) -> Result<AcceptedRequest, Refusal> {
        self.check_running()?;
        let original = Original::read(name, dict, self.rules.verify)?;
        self.take_v1(name, dict, request, &original, None, now)
    }

    /// Takes a message that was checked. `carried`: the same in the native format, if that is made.
    pub(super) fn take_v1(
        &mut self,
        name: &str,
        dict: &[u8],
        request: &Bytes,
        original: &Original,
        carried: Option<Transcoded>,
        now: Duration,
    ) -> Result<AcceptedRequest, Refusal> {
        let id = MessageId::from_v1_checksum(original.checksum);
        if original.ack {
            self.check_journal()?;
            if self.backlog.view().contains(&id) {
                self.counters.duplicates.add(1);
                return Ok(AcceptedRequest { group: self.latest_group(), kept: true });
            }
            self.reserve(name, 1, dict.len())?;
        }
        let topic = self.subscribers.topic(name).clone();
        self.counters.accepted.add(1);
        self.subscribers.published(topic.counted_at, 1, request.len());
        let (to, frame) = (topic.name.clone(), request.clone());
        let droppable = !original.ack;
        self.frames.push(Outgoing {
            name: to,
            frame,
            messages: 1,
            format: Format::V1,
            droppable,
            is_copy: false,
            whole_until_ms: NEVER_MS,
        });
        let mut carried = carried.map(|carried| carried.frame);
        if topic.is_wanted_native() {
            let frame = carried
                .get_or_insert_with(|| transcode::to_v2(name, dict, original).into())
                .clone();
            let to = topic.name.clone();
            self.frames.push(Outgoing {
                name: to,
                frame,
                messages: 1,
                format: Format::V2,
                droppable,
                is_copy: true,
                whole_until_ms: NEVER_MS,
            });
        }
        if !original.ack {
            return Ok(AcceptedRequest::AT_ONCE);
        }
        self.keep(id, Format::V1, request, dict, &topic, false, now);
        // Members of groups are given what is kept.
        if let Some(frame) = carried
            && !topic.groups.is_empty()
        {
            self.backlog.keep_carried(id, frame);
        }
        if !self.stores() {
            return Ok(AcceptedRequest { group: 0, kept: true });
        }
        Ok(AcceptedRequest { group: self.group, kept: true })
    }

    /// Keeps a message, whose body lies in `request`, until it is acknowledged. One may be kept already,
    /// since before its publisher was forgotten: if the journal fails, what it stored before must not go. `later`: nobody
    /// gets it before its time.
    #[expect(clippy::too_many_arguments, reason = "all of them say what is kept")]
    pub(super) fn keep(
        &mut self,
        id: MessageId,
        format: Format,
        request: &Bytes,
        body: &[u8],
        topic: &Topic,
        later: bool,
        now: Duration,
    ) {
        let kept = Body::keep(request, body);
        // Behind those that waited and are becoming jobs, a part in each turn.
        let is_behind = !later && !topic.groups.is_empty() && self.backlog.is_name_due(&topic.name);
        let wanted = match (later, is_behind) {
            (true, _) => Audience::Later,
            (_, true) => Audience::Nobody,
            _ => topic.wanted(),
        };
        let is_new = self.backlog.add(id, &topic.name, format, kept, wanted, now);
        if is_new && wanted == Audience::Groups {
            self.groups.add_jobs(&topic.name, id, &topic.groups);
        }
        if is_new && self.stores() {
            self.stored.push(id);
            // The journal is soon done with it, so it can share the buffer.
            let (name, body) = (topic.name.clone(), request.slice_ref(body));
            self.out.journal.push(Op::Append(Message { id, name, format, body }));
        }
        if is_new && (is_behind || later) {
            self.groups.note_late(id, &topic.groups);
        }
        if is_new && is_behind {
            self.backlog.wake(&topic.name, true, self.latest_group());
        }
    }

    /// The last journal group that something was put into.
    pub(super) fn latest_group(&self) -> u64 {
        if !self.stores() {
            0
        } else if self.out.journal.is_empty() {
            self.group - 1
        } else {
            self.group
        }
    }

    /// New messages are rejected once the server ends.
    pub(super) fn check_running(&self) -> Result<(), Refusal> {
        if self.draining { Err(Refusal::ShuttingDown) } else { Ok(()) }
    }

    pub(super) fn check_journal(&self) -> Result<(), Refusal> {
        match &self.journal_failure {
            Some(text) => Err(Refusal::JournalFailed(text.clone())),
            None => Ok(()),
        }
    }

    fn reserve(&mut self, name: &str, messages: usize, bytes: usize) -> Result<(), Refusal> {
        if let Err(full) = self.backlog.check(messages, bytes) {
            return Err(Refusal::PendingFull(match self.groups.jobs() {
                0 => full.to_string(),
                jobs => format!(
                    "{full}; groups have {} to work on, each counted for each of its groups (see mezzenger group list)",
                    counted(jobs, "message", "messages")
                ),
            }));
        }
        if messages == 0 || self.groups.has_no_group() {
            return Ok(());
        }
        // A job takes about as much as a small message, and may be one of many for a message.
        let (jobs, max) = (self.groups.jobs(), self.backlog.messages_max());
        let more = self.subscribers.topic(name).groups.len().saturating_mul(messages);
        if jobs.saturating_add(more) > max {
            return Err(Refusal::PendingFull(format!(
                "pending limit reached: groups have {jobs} of {max} messages, each counted once per group; this request adds {more}: \
                 send again when they have caught up, or raise --max-pending-messages"
            )));
        }
        Ok(())
    }
}
