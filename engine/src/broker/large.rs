//! Large requests, whose content takes long to check: the core checks the cheap part, and has another thread check the
//! rest. The verdict comes back as an event.

use std::time::Duration;

use bytes::Bytes;

use super::check::{Check, CheckWork, Checked, Verdict, Waiting, frame_records, is_one_record};
use super::core::{AcceptedRequest, Asker, Core};
use super::effect::Effect;
use super::refusal::{Dialect, Refusal};
use super::subscribers::ConnectionId;
use crate::limits::{BATCH_BYTES_MAX, TRANSCODED_BYTES_PER_TURN_MAX};
use crate::wire::frame::Frame;
use crate::wire::name;

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
    ) -> Result<Option<CheckWork>, Refusal> {
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
                Ok(Some(CheckWork { summary: None, carry, is_long: true }))
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
                Ok(Some(CheckWork { summary: Some(summary), carry, is_long }))
            }
        }
    }

    fn want_check(
        &mut self,
        connection: ConnectionId,
        number: u64,
        request: Bytes,
        what: CheckWork,
    ) {
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
                let what = CheckWork { summary: checked.summary, carry: true, is_long: true };
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

    fn take_checked(
        &mut self,
        checked: Checked,
        now: Duration,
    ) -> Result<AcceptedRequest, Refusal> {
        let Checked { request, summary, original, carried } = checked;
        let (Frame::V1 { name, pickle: body } | Frame::V2 { name, body }) = Frame::parse(&request)?;
        match original {
            Some(original) => self.take_v1(name, body, &request, &original, carried, now),
            None => {
                let summary = summary.map_or_else(|| self.check_records(name, body), Ok)?;
                if summary.is_stored() {
                    self.check_journal()?;
                }
                self.take_v2(name, body, &request, summary, carried, now)
            }
        }
    }
}
