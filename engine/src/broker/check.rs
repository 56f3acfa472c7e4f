//! Whether what a request holds is in order. For a large one that takes long: then the core looks at what is cheap
//! to see, and wants the rest done elsewhere. The verdict comes back as an event.

use std::time::Duration;

use bytes::Bytes;

use super::core::{Asker, Core, Taken};
use super::effect::{Dialect, Effect, Refusal};
use super::publish::{Summary, frame_records};
use super::subscribers::ConnectionId;
use super::transcode;
use crate::config::Verify;
use crate::limits::{ACK_BYTES_MAX, BATCH_BYTES_MAX, TRANSCODED_BYTES_PER_TURN_MAX};
use crate::wire::checksum::{self, Checksum, Content};
use crate::wire::frame::Frame;
use crate::wire::id::MessageId;
use crate::wire::pickle::V1Fields;
use crate::wire::record::{LENGTH_BYTES, Record};
use crate::wire::{ack, name, pickle};

/// What counts of the dict of a v1 message once it was checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Original {
    pub(super) ack: bool,
    pub(super) timestamp_ns: u64,
    pub(super) checksum: Checksum,
}

impl From<&V1Fields<'_>> for Original {
    fn from(fields: &V1Fields<'_>) -> Self {
        let &V1Fields { ack, timestamp_ns, checksum, .. } = fields;
        Self { ack, timestamp_ns, checksum }
    }
}

impl Original {
    /// Reads a dict, and checks it.
    ///
    /// # Errors
    /// When it is no message of this name, or its checksum is wrong.
    pub(super) fn read(name: &str, dict: &[u8], verify: Verify) -> Result<Self, Refusal> {
        let fields = pickle::scan(dict)?;
        if fields.name != name {
            return Err(Refusal::Rule("the name before the '|' is not the one in the dict"));
        }
        name::check_publishable(name)?;
        if verify.includes(fields.ack) && pickle::checksum_matches(&fields) == Some(false) {
            return Err(Refusal::Checksum);
        }
        Ok((&fields).into())
    }
}

/// The messages that one request acknowledges, or settles otherwise.
pub(super) fn bounded_ids(
    body: &[u8],
) -> Result<impl ExactSizeIterator<Item = MessageId> + DoubleEndedIterator, Refusal> {
    let ids = ack::ids(body)?;
    if body.len() > ACK_BYTES_MAX {
        return Err(Refusal::BatchTooLarge { bytes: body.len(), max: ACK_BYTES_MAX });
    }
    Ok(ids)
}

/// Checks the checksums of records, all at once, which is several times as fast as one by one.
///
/// # Errors
/// When one is wrong.
pub(super) fn check_checksums(name: &str, records: &[u8], verify: Verify) -> Result<(), Refusal> {
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    let checked = frame_records(records).filter(|(_, record)| verify.includes(record.ack));
    let contents = checked.map(|(_, Record { payload, timestamp_ns, checksum, .. })| {
        expected.push(checksum);
        Content { name, payload, timestamp_ns }
    });
    checksum::native_each(contents, &mut found);
    if found != expected {
        return Err(Refusal::Checksum);
    }
    Ok(())
}

/// A request that nothing spoke against so far.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) number: u64,
    pub(super) request: Bytes,
    verify: Verify,
    what: What,
}

/// What is left to do for a request.
#[derive(Debug)]
struct What {
    /// What was found in a native one.
    summary: Option<Summary>,
    /// Whether somebody wants its one message in the other format, which takes as long as a check.
    carry: bool,
    /// Whether it may take longer than a turn.
    is_long: bool,
}

/// What a check found.
pub(super) type Verdict = Result<Checked, Refusal>;

/// A request whose content is in order.
#[derive(Debug)]
pub(super) struct Checked {
    request: Bytes,
    summary: Option<Summary>,
    /// What counts of its dict, if it has one.
    original: Option<Original>,
    carried: Option<Carried>,
}

/// A message in the other format.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) frame: Bytes,
    /// Its checksum in the original format.
    pub(super) checksum: Checksum,
}

/// Who waits for a verdict.
#[derive(Debug)]
pub(super) struct Waiting<E> {
    pub(super) from: E,
    pub(super) dialect: Dialect,
}

impl Check {
    /// Whether it may take longer than a turn.
    pub(super) fn is_long(&self) -> bool {
        self.what.is_long
    }

    /// Does what takes long. It needs nothing else, and can be done on any thread.
    pub(super) fn run(self) -> Verdict {
        let What { summary, carry, .. } = self.what;
        let (original, carried) = match Frame::parse(&self.request)? {
            Frame::V1 { name, pickle } => {
                let original = Original::read(name, pickle, self.verify)?;
                let carried = carry.then(|| Carried {
                    frame: transcode::to_v2(name, pickle, &original).into(),
                    checksum: original.checksum,
                });
                (Some(original), carried)
            }
            Frame::V2 { name, body } => {
                check_checksums(name, body, self.verify)?;
                let carried = frame_records(body).next().filter(|_| carry).map(|(_, record)| {
                    let (frame, checksum) = transcode::to_v1(name, &record);
                    Carried { frame: frame.into(), checksum }
                });
                (None, carried)
            }
        };
        Ok(Checked { request: self.request, summary, original, carried })
    }
}

impl<E: Asker> Core<E> {
    /// A request arrived that is large enough to ask whether it takes long.
    pub(super) fn large_request(
        &mut self,
        from: E,
        request: Bytes,
        dialect: Dialect,
        now: Duration,
    ) {
        match self.look_at_large(from.connection(), &request) {
            Ok(Some(what)) => {
                self.checks_begun += 1;
                let number = self.checks_begun;
                let connection = from.connection();
                self.checking.insert(number, Waiting { from, dialect });
                self.want_check(connection, number, request, what);
            }
            Ok(None) => {
                let outcome = self.dispatch(from.connection(), &request, now);
                self.answer(from, request.len(), dialect, outcome, now);
            }
            Err(refusal) => self.refuse(from, refusal, dialect),
        }
    }

    /// Checks what is cheap to check, and says what is left to do; nothing if the request does not take long.
    fn look_at_large(
        &mut self,
        connection: ConnectionId,
        request: &Bytes,
    ) -> Result<Option<What>, Refusal> {
        self.check_size(request)?;
        match Frame::parse(request)? {
            Frame::V1 { name: name::PING, .. } | Frame::V2 { name: name::PING | name::ACK, .. } => {
                Ok(None)
            }
            Frame::V1 { name: name::ACK, .. } => Err(Refusal::Rule(
                "an acknowledgement in the original format names one checksum, and is a small dict",
            )),
            Frame::V1 { name, .. } => {
                self.check_running()?;
                name::check_publishable(name)?;
                let carry = self.subscribers.topic(name).is_wanted_native();
                Ok(Some(What { summary: None, carry, is_long: true }))
            }
            Frame::V2 { name, body } => {
                let is_alone = is_one_record(body);
                let carry = is_alone
                    && body.len() > TRANSCODED_BYTES_PER_TURN_MAX
                    && !self.subscribers.topic(name).v1.is_empty();
                // Only the first record is looked at. If others differ, the request is checked here, which is
                // slower, and right.
                let first = frame_records(body).next();
                let is_verified =
                    first.is_some_and(|(_, record)| self.rules.verify.includes(record.ack));
                let is_long = carry || (is_alone && is_verified && body.len() > BATCH_BYTES_MAX);
                // At the end, several that were sent before are told so.
                let are_several = !is_alone && is_verified && !self.draining;
                if !is_long && !are_several {
                    return Ok(None);
                }
                let summary = self.check_native(connection, name, body)?;
                // One that was sent before could be told so, after a check that the end may have no time for.
                self.check_running()?;
                Ok(Some(What { summary: Some(summary), carry, is_long }))
            }
        }
    }

    fn want_check(&mut self, connection: ConnectionId, number: u64, request: Bytes, what: What) {
        let check = Check { number, request, verify: self.rules.verify, what };
        self.out.queue.push_back(Effect::Check(connection, check));
    }

    /// A check is over, and its request is answered, or waits for the journal: then returns whose it was, who
    /// may send the next one. It is taken as well when the connection is gone meanwhile, and while the server ends, for it came before that.
    pub(super) fn checked(
        &mut self,
        number: u64,
        verdict: Verdict,
        now: Duration,
    ) -> Option<ConnectionId> {
        // Without an entry it was refused at the end.
        let connection = self.checking.get(&number)?.from.connection();
        let checked = match verdict {
            Ok(checked) if checked.carried.is_none() && self.is_wanted_otherwise(&checked) => {
                // Somebody subscribed meanwhile.
                let what = What { summary: checked.summary, carry: true, is_long: true };
                self.want_check(connection, number, checked.request, what);
                return None;
            }
            verdict => verdict,
        };
        let Waiting { from, dialect } = self.checking.remove(&number)?;
        match checked {
            Ok(checked) => {
                let bytes = checked.request.len();
                let outcome = self.take_checked(checked, now);
                self.answer(from, bytes, dialect, outcome, now);
            }
            Err(refusal) => self.refuse(from, refusal, dialect),
        }
        Some(connection)
    }

    /// The server ends before a check has begun.
    pub(super) fn refuse_check(&mut self, number: u64) {
        if let Some(Waiting { from, dialect }) = self.checking.remove(&number) {
            self.refuse(from, Refusal::ShuttingDown, dialect);
        }
    }

    /// A check that had not begun is not wanted any more: its connection is gone.
    pub(super) fn forget_check(&mut self, number: u64) {
        self.checking.remove(&number);
    }

    /// Whether somebody wants the one message of a request in the format in which it did not come. Several are
    /// carried over a part in each turn.
    fn is_wanted_otherwise(&mut self, checked: &Checked) -> bool {
        match Frame::parse(&checked.request) {
            Ok(Frame::V1 { name, .. }) => self.subscribers.topic(name).is_wanted_native(),
            Ok(Frame::V2 { name, body }) => {
                is_one_record(body) && !self.subscribers.topic(name).v1.is_empty()
            }
            Err(_) => false,
        }
    }

    fn take_checked(&mut self, checked: Checked, now: Duration) -> Result<Taken, Refusal> {
        let Checked { request, summary, original, carried } = checked;
        let (Frame::V1 { name, pickle: body } | Frame::V2 { name, body }) = Frame::parse(&request)?;
        match original {
            Some(original) => self.take_v1(name, body, &request, &original, carried, now),
            None => {
                let summary = summary.map_or_else(|| self.check_records(name, body), Ok)?;
                if summary.kept > 0 {
                    self.check_journal()?;
                }
                self.take_v2(name, body, &request, summary, carried, now)
            }
        }
    }
}

/// Whether the first record is all that there is.
fn is_one_record(body: &[u8]) -> bool {
    let length = body.first_chunk().map(|&bytes| u32::from_le_bytes(bytes) as usize);
    length.is_some_and(|length| LENGTH_BYTES + length == body.len())
}
