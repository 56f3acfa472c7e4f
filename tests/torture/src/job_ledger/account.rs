//! The account of jobs at the end, and what of it must not be.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Entry, JobLedger, Letter, NAMED_MAX, Place};
use crate::content::Key;
use crate::jobs::{self, ALL, GROUPS, Word};

/// Milliseconds that a delivery may be under way, on a busy machine, before its worker tells it.
const UNDER_WAY_MS: u64 = 2000;

/// The account of all jobs. One that two groups have to work at counts twice from `owed` on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobAccount {
    /// Handed to a client.
    pub posted: u64,
    /// Answered OK, as far as the publisher lived to tell.
    pub ok: u64,
    /// Refused, or given up by the client.
    pub refused: u64,
    /// Posted, and the publisher was killed before it told the answer.
    pub unanswered: u64,
    /// Of those that were answered OK, for each group: the sum of the next six.
    pub owed: u64,
    /// Done: a worker told so before it acknowledged.
    pub done: u64,
    /// Dead letters of the group.
    pub dead: u64,
    /// Neither, and their time is over.
    pub expired: u64,
    /// Neither, and their time has not come.
    pub held: u64,
    /// None of these, and the server says that they wait or are under way.
    pub pending: u64,
    /// None of these.
    pub lost: u64,
    /// Deliveries to workers.
    pub deliveries: u64,
    /// Acknowledgements that the server answered OK.
    pub taken: u64,
    /// Deliveries after such an answer that a kill explains: the server had not stored it.
    pub again_after_kill: u64,
    /// Deliveries after such an answer that nothing explains.
    pub again: u64,
    /// Delivered before their time.
    pub early: u64,
    /// Delivered after they had expired.
    pub late: u64,
    /// Delivered although nobody posted them, or to a group whose filter they do not fit.
    pub forged: u64,
    /// Deliveries whose bytes are not those that were posted, or under another name.
    pub damaged: u64,
    /// Deliveries beyond the attempts of their group.
    pub attempts_beyond: u64,
    /// Dead letters that no worker's words explain, that came twice, or whose acknowledgement was answered OK.
    pub wrong_letters: u64,
}

/// What is known at the end.
#[derive(Debug, Default)]
pub struct Judged {
    /// The account.
    pub account: JobAccount,
    /// Messages that the journal has to hold: those that are held for later, and dead letters.
    pub live: u64,
    /// Messages that it may hold beside these: held ones of which nobody lived to tell the answer.
    pub live_more: u64,
    /// The first of each kind that must not be.
    pub named: Vec<String>,
}

impl JobLedger {
    /// Judges all jobs: `letters` is what the server has of dead letters at the end, `pending` what each group has waiting or
    /// under way then.
    pub fn judge(&self, letters: &[Letter], pending: [u64; GROUPS], now_ms: u64) -> Judged {
        let mut judged = Judged {
            account: JobAccount {
                damaged: self.damaged,
                attempts_beyond: self.attempts_beyond,
                ..JobAccount::default()
            },
            ..Judged::default()
        };
        let mut known: BTreeMap<(Key, usize), Letter> = BTreeMap::new();
        for letter in letters {
            let is_second = known.insert((letter.key, letter.group), *letter).is_some();
            if is_second || !self.is_explained(letter) {
                judged.account.wrong_letters += 1;
                judged.name("dead letter that must not be", letter.key, letter.group);
            }
        }
        let mut unsettled = [0; GROUPS];
        for (key, entry) in self.entries() {
            judged.count(&entry);
            let is_held = entry.is_held(now_ms) && !entry.is_expired(now_ms);
            judged.live += u64::from(is_held && entry.is_answered);
            judged.live_more += u64::from(is_held && !entry.is_answered);
            for (group, unsettled) in unsettled.iter_mut().enumerate() {
                let place = &entry.groups[group];
                judged.look_at(key, &entry, group);
                if !jobs::groups(key)[group] || !entry.is_answered {
                    continue;
                }
                let account = &mut judged.account;
                account.owed += 1;
                *if place.done_ms.is_some() {
                    &mut account.done
                } else if known.contains_key(&(key, group)) {
                    &mut account.dead
                } else if entry.is_expired(now_ms) {
                    &mut account.expired
                } else if entry.is_held(now_ms) {
                    &mut account.held
                } else {
                    judged.name("neither done, dead nor expired", key, group);
                    unsettled
                } += 1;
            }
        }
        for (unsettled, pending) in unsettled.into_iter().zip(pending) {
            judged.account.pending += unsettled.min(pending);
            judged.account.lost += unsettled.saturating_sub(pending);
        }
        // A message that two groups gave up is one.
        let mut dead: Vec<Key> = known.keys().map(|(key, _)| *key).collect();
        dead.dedup();
        judged.live += dead.len() as u64;
        judged
    }

    /// Whether the words of its workers, or their deaths, may have made it.
    fn is_explained(&self, letter: &Letter) -> bool {
        let &Letter { key, group, attempts, is_rejected } = letter;
        let (Some(terms), Some(place)) = (ALL.get(group), self.place(key, group)) else {
            return false;
        };
        let is_sent = jobs::groups(key)[group] && place.deliveries > 0;
        let is_acknowledged = place.taken.is_some_and(|taken| !self.may_be_forgotten(taken));
        let as_said = match is_rejected {
            true => jobs::word(key, group, attempts) == Word::Reject,
            false => terms.attempts_max > 0 && attempts == terms.attempts_max,
        };
        is_sent && !is_acknowledged && as_said
    }

    fn place(&self, key: Key, group: usize) -> Option<&Place> {
        self.publishers.get(&key.publisher)?.get(key.number as usize)?.groups.get(group)
    }
}

impl Judged {
    fn count(&mut self, entry: &Entry) {
        let account = &mut self.account;
        account.posted += u64::from(entry.posted.is_some());
        account.ok += u64::from(entry.is_answered);
        account.refused += u64::from(entry.is_refused);
        account.unanswered +=
            u64::from(entry.posted.is_some() && !entry.is_answered && !entry.is_refused);
    }

    /// Looks for deliveries that must not be.
    fn look_at(&mut self, key: Key, entry: &Entry, group: usize) {
        let place = &entry.groups[group];
        let account = &mut self.account;
        account.deliveries += u64::from(place.deliveries);
        account.taken += u64::from(place.taken.is_some());
        account.again_after_kill += u64::from(place.again_after_kill);
        account.again += u64::from(place.again);
        let is_forged =
            place.deliveries > 0 && (entry.posted.is_none() || !jobs::groups(key)[group]);
        account.forged += u64::from(is_forged);
        let is_late = place.deliveries > 0
            && entry.expires_ms().is_some_and(|at| {
                // What was under way to a worker cannot be called back; one that began later gets nothing.
                at <= place.worker_began_ms || at + UNDER_WAY_MS < place.last_ms
            });
        account.late += u64::from(is_late);
        let is_early = place.deliveries > 0 && entry.is_held(place.first_ms);
        account.early += u64::from(is_early);
        for (is_wrong, what) in [
            (place.again > 0, "delivered after its acknowledgement was stored"),
            (is_forged, "delivered although it is no job of the group"),
            (is_late, "delivered after it had expired"),
            (is_early, "delivered before its time"),
        ] {
            if is_wrong {
                self.name(what, key, group);
            }
        }
    }

    fn name(&mut self, what: &str, key: Key, group: usize) {
        if self.named.iter().filter(|text| text.starts_with(what)).count() < NAMED_MAX {
            let name = ALL.get(group).map_or("unknown", |group| group.name);
            self.named.push(format!("{what}: job {key} of group {name}"));
        }
    }
}
