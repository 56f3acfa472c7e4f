//! Messages that are retained, and given to whoever subscribes with the last values.

use std::collections::{BTreeSet, HashMap, VecDeque};

use arcstr::ArcStr;
use bytes::Bytes;

use super::core::{AcceptedRequest, Core};
use super::effect::Reply;
use super::outgoing::NEVER_MS;
use super::refusal::Refusal;
use super::retained::Kept;
use super::subscribers::ConnectionId;
use crate::journal::Op;
use crate::limits::{
    EXPIRED_PER_TURN_MAX, PENDING_COPY_BYTES_MAX, RESEND_BYTES_PER_TURN_MAX, RETAINED_EARLY_MAX,
    RETAINED_LISTED_MAX, RETAINED_LOOKS_PER_TURN_MAX,
};
use crate::message::{Format, Message};
use crate::wire::control::{Kind, Subscribe};
use crate::wire::filter::Filter;
use crate::wire::frame::v2_prefix;
use crate::wire::record::{Record, Records};
use crate::wire::retained::{self, Entry, Listed, Request};

/// A subscription that is being given the last values of the names that it fits.
#[derive(Debug)]
pub(super) struct RetainedReplay {
    filter_kind: u8,
    filter: Box<str>,
    /// The last name that was looked at.
    after: Option<ArcStr>,
    /// Names whose values came before their turn, because something was published under them.
    early: BTreeSet<ArcStr>,
    /// It stands in [`RetainedReplays::ready`].
    is_ready: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct RetainedReplays {
    /// By subscription.
    all: HashMap<u32, RetainedReplay>,
    /// Those that may have credit, each once.
    ready: VecDeque<u32>,
}

impl RetainedReplays {
    fn list(&mut self, at: u32) {
        if let Some(giving) = self.all.get_mut(&at)
            && !std::mem::replace(&mut giving.is_ready, true)
        {
            self.ready.push_back(at);
        }
    }

    /// A subscription is over.
    pub(super) fn end(&mut self, at: u32) {
        if !self.all.is_empty() {
            self.all.remove(&at);
        }
    }

    /// Whether nobody is given any.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.ready.is_empty()
    }

    /// Whether some may have credit.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

/// What came of one step.
enum ReplayStep {
    /// This many names were looked at, and this many bytes delivered.
    Some {
        looks: usize,
        bytes: usize,
    },
    NoCredit,
    All,
}

impl<E> Core<E> {
    /// Retains a message, whose record is `whole`, in place of the one of its name that was there.
    pub(super) fn retain(
        &mut self,
        name: &ArcStr,
        record: &Record<'_>,
        request: &Bytes,
        whole: &[u8],
    ) {
        let (id, format) = (record.id, Format::V2);
        let stores = self.stores();
        if stores {
            let (name, body) = (name.clone(), request.slice_ref(whole));
            let replaces = self.retained.get(&name).is_some();
            let message = Message { id, name, format, body };
            self.out.journal.push(Op::Retain { message, replaces });
        }
        let head = v2_prefix(name);
        let head_bytes = head.len();
        // A large one with a request of its own is shared, as it is where messages are kept.
        let is_shared = whole.len() > PENDING_COPY_BYTES_MAX
            && request.len() == head_bytes.saturating_add(whole.len());
        let frame = if is_shared { request.clone() } else { [&head[..], whole].concat().into() };
        let kept = Kept {
            id,
            frame,
            head_bytes,
            group: if stores { self.group } else { 0 },
            expires_ms: record.properties().expires_ms.unwrap_or(NEVER_MS),
        };
        self.retained.put(name, kept);
    }

    /// Takes back a retained message from the journal.
    pub(super) fn restore_retained(&mut self, message: Message) {
        let (_, expires_ms) = Self::times_of(&message);
        let Message { id, name, body, .. } = message;
        let head = v2_prefix(&name);
        let (head_bytes, frame) = (head.len(), [&head[..], &body].concat().into());
        self.retained.put(&name, Kept { id, frame, head_bytes, group: 0, expires_ms });
    }

    /// Forgets some of the retained messages whose time is over; whether more are left.
    pub(super) fn expire_retained(&mut self) -> bool {
        let now_ms = self.unix_ms();
        for _ in 0..EXPIRED_PER_TURN_MAX {
            let Some(name) = self.retained.next_expired(now_ms) else { return false };
            self.forget_retained(&name);
        }
        self.retained.next_expired(now_ms).is_some()
    }

    fn forget_retained(&mut self, name: &ArcStr) {
        if self.retained.remove(name) && self.stores() {
            self.out.journal.push(Op::Unretain(name.clone()));
        }
    }

    /// The retained message of a name is needed no longer. `Ok` also when there is none.
    pub(super) fn clear_retained(&mut self, name: &str) -> Result<AcceptedRequest, Refusal> {
        self.check_journal()?;
        self.forget_retained(&name.into());
        Ok(AcceptedRequest { group: self.latest_group(), kept: true })
    }

    /// A request about retained messages that is answered at once.
    pub(super) fn list_retained(&self, filter: &Filter<'_>, after: &str, limit: u16) -> Reply {
        let limit = match limit {
            0 => RETAINED_LISTED_MAX,
            limit => RETAINED_LISTED_MAX.min(limit.into()),
        };
        let mut entries = Vec::new();
        let mut after = Some(after).filter(|after| !after.is_empty());
        let (mut count, mut left) = (0, RETAINED_LOOKS_PER_TURN_MAX);
        let next = loop {
            if count == limit {
                break after;
            }
            let (looks, found) = self.retained.next(filter, after, left);
            left -= looks;
            match found {
                Ok(name) => {
                    after = Some(name);
                    count += 1;
                    if let Some(kept) = self.retained.get(name) {
                        let published_ns = Records::new(kept.body())
                            .flatten()
                            .next()
                            .map_or(0, |it| it.1.timestamp_ns);
                        let bytes = u32::try_from(kept.body().len()).unwrap_or(u32::MAX);
                        Entry { id: kept.id, published_ns, bytes, name }.append_to(&mut entries);
                    }
                }
                Err((true, _)) => break None,
                Err((false, last)) => break last.map(|name| &**name).or(after),
            }
        };
        let (total, bytes) = (self.retained.len() as u64, self.retained.bytes() as u64);
        let mut answer = retained::listed(Listed { total, bytes, next: next.unwrap_or_default() });
        answer.extend(entries);
        Reply::Answer(answer)
    }

    /// A request about retained messages.
    pub(super) fn retained_request(
        &mut self,
        connection: ConnectionId,
        request: &Request<'_>,
    ) -> Result<Result<AcceptedRequest, Reply>, Refusal> {
        if !self.has_proved(connection) {
            return Err(Refusal::Rule(
                "retained messages are for clients that said who they are: send a hello first",
            ));
        }
        match request {
            Request::Clear(name) => self.clear_retained(name).map(Ok),
            Request::List { filter, after, limit } => {
                Ok(Err(self.list_retained(filter, after, *limit)))
            }
        }
    }

    /// Whether a subscription may ask for the last values.
    pub(super) fn check_with_last(wanted: &Subscribe<'_>) -> Result<(), Refusal> {
        match wanted.kind {
            Kind::Group(_) if wanted.with_last => Err(Refusal::Rule(
                "a member of a group does not get retained messages: subscribe beside it as an observer",
            )),
            _ => Ok(()),
        }
    }

    /// A subscription gets the last values of its names from now on, as far as its credit goes.
    pub(super) fn begin_giving(&mut self, connection: ConnectionId, wanted: &Subscribe<'_>) {
        let Ok(at) = self.subscribers.find_native(connection, wanted.number) else { return };
        if !wanted.with_last || self.retained.len() == 0 {
            return;
        }
        let giving = RetainedReplay {
            filter_kind: wanted.filter.kind(),
            filter: wanted.filter.text().into(),
            after: None,
            early: BTreeSet::new(),
            is_ready: false,
        };
        self.givings.all.insert(at, giving);
        self.givings.list(at);
    }

    /// A subscription has credit again.
    pub(super) fn go_on_giving(&mut self, at: u32) {
        if !self.givings.all.is_empty() {
            self.givings.list(at);
        }
    }

    /// Gives some of the last values; whether more may be given at once.
    pub(super) fn give_some(&mut self) -> bool {
        let (mut looks_left, mut bytes_left) =
            (RETAINED_LOOKS_PER_TURN_MAX, RESEND_BYTES_PER_TURN_MAX);
        while looks_left > 0
            && bytes_left > 0
            && let Some(&at) = self.givings.ready.front()
        {
            match self.give_next(at, looks_left) {
                ReplayStep::Some { looks, bytes } => {
                    looks_left = looks_left.saturating_sub(looks.max(1));
                    bytes_left = bytes_left.saturating_sub(bytes);
                }
                ReplayStep::NoCredit => {
                    self.givings.ready.pop_front();
                    if let Some(giving) = self.givings.all.get_mut(&at) {
                        giving.is_ready = false;
                    }
                }
                ReplayStep::All => {
                    self.givings.ready.pop_front();
                    self.givings.all.remove(&at);
                }
            }
        }
        // The next turn is another's.
        if let Some(at) = self.givings.ready.pop_front() {
            self.givings.ready.push_back(at);
        }
        !self.givings.ready.is_empty()
    }

    fn give_next(&mut self, at: u32, looks_max: usize) -> ReplayStep {
        let Some(giving) = self.givings.all.get(&at) else { return ReplayStep::All };
        if !self.subscribers.native(at).is_some_and(|native| native.has_credit()) {
            return ReplayStep::NoCredit;
        }
        let Ok(filter) = Filter::read(giving.filter_kind, giving.filter.as_bytes()) else {
            return ReplayStep::All;
        };
        let (looks, found) = self.retained.next(&filter, giving.after.as_deref(), looks_max);
        let (after, is_found) = match found {
            Ok(name) => (name.clone(), true),
            Err((true, _)) => return ReplayStep::All,
            Err((false, Some(last))) => (last.clone(), false),
            Err((false, None)) => return ReplayStep::Some { looks, bytes: 0 },
        };
        let is_early = giving.early.contains(&after);
        let bytes = if is_found && !is_early { self.give_one(at, &after) } else { 0 };
        if let Some(giving) = self.givings.all.get_mut(&at) {
            giving.early.remove(&after);
            giving.after = Some(after);
        }
        ReplayStep::Some { looks, bytes }
    }

    /// The frame of the last value of a name, unless its time is over, or it is not stored yet: then it comes when it is
    /// published.
    fn last_value(&self, name: &ArcStr) -> Option<Bytes> {
        let kept = self.retained.get(name)?;
        let is_given = kept.group <= self.stored_group() && kept.expires_ms > self.unix_ms();
        is_given.then(|| kept.frame.clone())
    }

    /// Gives the last value of a name, if there is one to be given, to a subscription that has credit. How many bytes.
    fn give_one(&mut self, at: u32, name: &ArcStr) -> usize {
        let Some(frame) = self.last_value(name) else { return 0 };
        let bytes = frame.len();
        let Some(to) = self.subscribers.direct_retained(at, bytes) else { return 0 };
        self.publish(1, frame, [].into(), vec![to], false);
        bytes
    }

    /// Something is published under a name: those of these subscriptions that were not given its last value yet get it
    /// first. One that has no credit gets it when it has some, unless it gets more without.
    pub(super) fn give_before(&mut self, subscriptions: &[u32], name: &ArcStr) {
        if self.givings.all.is_empty() || self.retained.get(name).is_none() {
            return;
        }
        let frame = self.last_value(name);
        let mut direct = Vec::new();
        for &at in subscriptions {
            let Some(giving) = self.givings.all.get_mut(&at) else { continue };
            let is_given = giving.after.as_ref().is_some_and(|after| after >= name);
            if is_given || giving.early.len() >= RETAINED_EARLY_MAX || giving.early.contains(name) {
                continue;
            }
            if let Some(frame) = &frame {
                match self.subscribers.direct_retained(at, frame.len()) {
                    Some(to) => direct.push(to),
                    None => continue,
                }
            }
            giving.early.insert(name.clone());
        }
        if let Some(frame) = frame {
            // Once for all of them: it is held once, however large it is.
            self.publish(1, frame, [].into(), direct, false);
        }
    }
}
