//! The I/O thread's list of subscriptions: asks the server for them, and hands on what it delivers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::commands::{Answer, Change, Commands, Settle, Word};
use super::inbox::{Frame, Inbox, Reader};
use crate::client::error::{ReceiveError, SubscribeError};
use crate::client::receive::message::Message;
use crate::client::receive::missed::Tracker;
use crate::client::receive::verify;
use crate::client::report::{Failure, Reporter, add};
use crate::config::RETRY_INTERVAL;
use crate::limits::CLIENT_ACKS_PER_FRAME;
use crate::wire::ack;
use crate::wire::control::{self, Control, Delivery};
use crate::wire::frame::split_v2;
use crate::wire::id::MessageId;
use crate::wire::record::Records;

/// What a request of a subscription is about. Such requests are of one connection: the next one begins with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) enum Asked {
    /// Its begin.
    Begin { number: u32 },
    /// Its end.
    End { number: u32 },
    /// More bytes.
    Credit,
    /// What a member of a group says.
    Settle { acks: bool, ends: bool, messages: usize },
}

struct Entry {
    inbox: Arc<Inbox>,
    /// Of whoever opens it, until there is one.
    answer: Option<Answer>,
    tracker: Tracker,
    /// Whether more time will be asked for: it is noted when.
    extends: bool,
    /// How long messages of a group may take that says so itself.
    ack_wait: Option<Duration>,
}

/// All subscriptions of a client. When it goes, they end.
pub(in crate::client) struct Registry {
    commands: Arc<Commands>,
    reporter: Arc<Reporter>,
    verify: bool,
    entries: BTreeMap<u32, Entry>,
    /// When each asks for more time.
    extending: BTreeSet<(Instant, u32)>,
    /// How many connections there were.
    connection: u64,
    /// The server's.
    retry_interval: Duration,
    /// Those whose callbacks are to be called.
    called: Vec<Arc<Inbox>>,
}

impl Registry {
    pub(in crate::client) fn new(
        commands: Arc<Commands>,
        reporter: Arc<Reporter>,
        verify: bool,
    ) -> Self {
        let (entries, extending, connection, called) = Default::default();
        let retry_interval = RETRY_INTERVAL;
        Self { commands, reporter, verify, entries, extending, connection, retry_interval, called }
    }

    /// The server said how long messages of groups that say nothing else may take.
    pub(in crate::client) fn retries_after(&mut self, interval: Duration) {
        self.retry_interval = interval;
    }

    /// A connection begins: asks for all subscriptions, with the credit that is left.
    pub(in crate::client) fn connected(&mut self, mut ask: impl FnMut(Vec<u8>, Asked)) {
        self.connection += 1;
        self.commands.connected(self.connection);
        self.extending.clear();
        for (&number, entry) in &mut self.entries {
            let credit = entry.inbox.connected(self.connection);
            entry.extends = false;
            ask(entry.inbox.settings.request(number, credit), Asked::Begin { number });
        }
    }

    /// Asks for what waits. `is_open`: whether there is a connection; `settles`: how many verdicts are in flight.
    pub(in crate::client) fn ask(
        &mut self,
        is_open: bool,
        settles: usize,
        now: Instant,
        mut ask: impl FnMut(Vec<u8>, Asked),
    ) {
        let taken = self.commands.take(is_open, settles);
        if taken.acks_dropped > 0 {
            self.reporter.failure(&Failure::AcksDropped { messages: taken.acks_dropped });
        }
        // Before a subscription ends that something is said for.
        for Settle { number, word, ids } in taken.settles {
            settle(number, &word, &ids, &mut ask);
        }
        for change in taken.changes {
            match change {
                Change::Begin { inbox, answer } => {
                    let number = inbox.number;
                    // Without a connection it is asked for on the next one.
                    if is_open {
                        let credit = inbox.connected(self.connection);
                        ask(inbox.settings.request(number, credit), Asked::Begin { number });
                    }
                    let (tracker, answer) = (Tracker::default(), Some(answer));
                    let (extends, ack_wait) = Default::default();
                    let entry = Entry { inbox, answer, tracker, extends, ack_wait };
                    self.entries.insert(number, entry);
                }
                Change::End { number } => {
                    let is_known = self.entries.remove(&number).is_some();
                    if is_known && is_open {
                        let request = control::request(&Control::Unsubscribe(number));
                        ask(request, Asked::End { number });
                    } else {
                        self.commands.free(number);
                    }
                }
            }
        }
        for (number, bytes) in taken.credit {
            if self.entries.contains_key(&number) {
                ask(control::request(&Control::Credit { number, bytes }), Asked::Credit);
            }
        }
        if is_open {
            self.extend(now, &mut ask);
        }
    }

    fn extend(&mut self, now: Instant, ask: &mut impl FnMut(Vec<u8>, Asked)) {
        while let Some(&(at, number)) = self.extending.first()
            && at <= now
        {
            self.extending.pop_first();
            let Some(entry) = self.entries.get_mut(&number) else { continue };
            let held = entry.inbox.held();
            let ack_wait = entry.ack_wait.unwrap_or(self.retry_interval);
            let every = entry.inbox.settings.extends_every(ack_wait);
            let next = every.filter(|_| !held.is_empty()).map(|every| (now + every, number));
            entry.extends = next.is_some();
            self.extending.extend(next);
            for ids in held.chunks(CLIENT_ACKS_PER_FRAME) {
                settle(number, &Word::Extend, ids, ask);
            }
        }
    }

    /// When [`Self::ask`] is due, whatever else happens.
    pub(in crate::client) fn deadline(&self) -> Option<Instant> {
        self.extending.first().map(|&(at, _)| at)
    }

    /// The server answered, or did not in time.
    pub(in crate::client) fn answered(
        &mut self,
        asked: Asked,
        answer: Result<u32, SubscribeError>,
    ) {
        match (asked, answer) {
            (Asked::Begin { number }, answer) => self.begun(number, answer),
            (Asked::End { number }, _) => self.commands.free(number),
            (Asked::Settle { acks: true, messages, .. }, Ok(_)) => {
                add(&self.reporter.acknowledged, messages as u64);
            }
            (
                Asked::Settle { ends: true, .. },
                Err(SubscribeError::Refused { text } | SubscribeError::NotAllowed { text }),
            ) => {
                self.reporter.failure(&Failure::Refused { text });
            }
            (Asked::Settle { ends: true, messages, .. }, Err(_)) => {
                self.reporter.failure(&Failure::AcksDropped { messages });
            }
            // Of a message whose time was over, or of a subscription that has just ended.
            (Asked::Credit | Asked::Settle { .. }, Err(error)) => tracing::debug!("{error}"),
            (Asked::Credit | Asked::Settle { .. }, Ok(_)) => {}
        }
    }

    fn begun(&mut self, number: u32, answer: Result<u32, SubscribeError>) {
        let Some(entry) = self.entries.get_mut(&number) else { return };
        // A durable group says what its members may have left open.
        if let Ok(ms @ 1..) = answer {
            entry.ack_wait = Some(Duration::from_millis(ms.into()));
        }
        let error = match (answer, entry.answer.take()) {
            (Ok(_), Some(opening)) => {
                // Whoever no longer waits ends it.
                opening.send(Ok(()));
                return;
            }
            (Err(error), Some(opening)) => {
                opening.send(Err(error.clone()));
                error
            }
            // It is asked for again on the next connection, if this one answers no more.
            (Ok(_) | Err(SubscribeError::NotConfirmed { .. }), None) => return,
            (Err(error), None) => {
                let filter = entry.inbox.settings.filter.to_string();
                self.reporter.failure(&Failure::Subscription { filter, error: error.clone() });
                error
            }
        };
        if let Some(entry) = self.entries.remove(&number) {
            entry.inbox.close(ReceiveError::Refused(error));
            self.commands.free(number);
        }
    }

    /// A request is lost with its connection.
    pub(in crate::client) fn lost(&mut self, asked: Asked) {
        match asked {
            Asked::End { number } => self.commands.free(number),
            Asked::Settle { ends: true, messages, .. } => {
                self.reporter.failure(&Failure::AcksDropped { messages });
            }
            Asked::Begin { .. } | Asked::Credit | Asked::Settle { .. } => {}
        }
    }

    /// Hands a delivery to its subscription.
    pub(in crate::client) fn deliver(&mut self, head: &[u8], frame: &Bytes, now: Instant) {
        let Some(Delivery { number, again, retained, attempt }) = control::read_delivery(head)
        else {
            self.reporter.failure(&Failure::BadFrame { bytes: head.len() });
            return;
        };
        // One that has ended may still get something.
        let Some(Entry { inbox, tracker, extends, ack_wait, .. }) = self.entries.get_mut(&number)
        else {
            return;
        };
        let reporter = &self.reporter;
        let mut read = Frame {
            bytes: frame.clone(),
            name_bytes: 0,
            wrong: Vec::new(),
            again,
            retained,
            attempt,
            connection: self.connection,
            copies_from: now + self.retry_interval / 2,
        };
        let mut to_settle = Vec::new();
        match split_v2(frame) {
            None => {
                // Empty for its reader, who gives its credit back.
                reporter.failure(&Failure::BadFrame { bytes: frame.len() });
                read.name_bytes = frame.len();
            }
            Some((name, records)) => {
                read.name_bytes = name.len();
                if self.verify {
                    read.wrong = verify::reported(name, &records, reporter);
                }
                let is_group = inbox.settings.is_group();
                // A group's members get parts of what is published.
                let mut runs = (!is_group).then(|| tracker.runs(name));
                let mut messages = 0;
                for item in records {
                    let Ok((_, record)) = item else {
                        reporter.failure(&Failure::BadFrame { bytes: frame.len() });
                        break;
                    };
                    match &mut runs {
                        // What comes again comes late, or in its turn after all.
                        Some(runs) if again => runs.follow(&record),
                        Some(runs) => {
                            reporter.gap(name, record.id.publisher, runs.see_record(&record));
                        }
                        None => {}
                    }
                    if is_group && record.ack && read.wrong.binary_search(&messages).is_err() {
                        to_settle.push(record.id);
                    }
                    messages += 1;
                }
                add(&reporter.received, messages as u64);
            }
        }
        if !to_settle.is_empty()
            && !*extends
            && let Some(every) =
                inbox.settings.extends_every(ack_wait.unwrap_or(self.retry_interval))
        {
            *extends = true;
            self.extending.insert((now + every, number));
        }
        if let Reader::Replies(replies) = &inbox.reader {
            inbox.take(frame.len());
            let records = Records::new(frame.get(read.name_bytes + 2..).unwrap_or_default());
            for (at, record) in records.enumerate() {
                let Ok((_, record)) = record else { break };
                if read.wrong.binary_search(&at).is_ok() {
                    continue;
                }
                replies.answer(Message::new(frame.clone(), read.name_bytes, &record));
            }
            if let Some((bytes, connection)) = inbox.release(frame.len()) {
                self.commands.grant(number, bytes, connection);
            }
        } else if inbox.push(read, to_settle) {
            self.called.push(Arc::clone(inbox));
        }
    }

    /// Whether callbacks are to be called.
    pub(in crate::client) fn has_called(&self) -> bool {
        !self.called.is_empty()
    }

    /// The subscriptions whose callbacks are to be called.
    pub(in crate::client) fn take_called(&mut self) -> Vec<Arc<Inbox>> {
        std::mem::take(&mut self.called)
    }

    /// The client stops: its subscriptions end.
    pub(in crate::client) fn stop(&mut self) {
        for (number, entry) in std::mem::take(&mut self.entries) {
            entry.inbox.close(ReceiveError::Closed);
            self.commands.free(number);
        }
    }

    /// Whether nothing waits that could be sent.
    pub(in crate::client) fn is_idle(&self) -> bool {
        self.commands.is_empty()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
        let acks_dropped = self.commands.close();
        if acks_dropped > 0 {
            self.reporter.failure(&Failure::AcksDropped { messages: acks_dropped });
        }
    }
}

fn settle(number: u32, word: &Word, ids: &[MessageId], ask: &mut impl FnMut(Vec<u8>, Asked)) {
    let ids_bytes = ack::body(ids);
    let verdict = word.verdict();
    let request = control::request(&Control::Settle { number, verdict, ids: &ids_bytes });
    let acks = *word == Word::Ack;
    ask(request, Asked::Settle { acks, ends: word.ends(), messages: ids.len() });
}
