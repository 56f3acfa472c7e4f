//! What has to be there after a restart, and what was promised by an answer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::Op;
use super::super::stored::{Kept, Stored};
use super::broken::Broken;
use super::conditions::GROUPS;
use super::ledger::Ledger;
use super::server::{Said, Says};
use super::story::{Job, State, Story};
use crate::wire::reply::ErrorCode;

impl Ledger {
    /// The core has been given a request that publishes, and what it did with it was told.
    pub(super) fn has_taken(&mut self, numbers: &[usize]) -> Result<(), Broken> {
        for &number in numbers {
            let Some(story) = self.stories.get(number) else { continue };
            let is_kept = story.held || story.ended || !self.is_kept(number);
            if story.taken && self.messages.get(number).ack && !is_kept {
                return Err(Broken::NotKept(number));
            }
        }
        Ok(())
    }

    /// The core has been given a request, and what it did with it was told: the group that it created may be another one by
    /// the time that it is answered.
    pub(super) fn has_created(&mut self, serial: u64, at: usize) {
        if let Some((_, about)) = self.open.get_mut(&serial) {
            *about = self.current[at];
        }
    }

    /// Whether a message that comes now is kept: it had expired, or will have by the time that it is for.
    pub(super) fn is_kept(&self, number: usize) -> bool {
        let made = self.messages.get(number);
        made.expires_ms > self.unix_ms.max(made.deliver_at_ms)
    }

    /// The journal has stored this.
    pub(super) fn stored(&mut self, op: &Op) {
        match op {
            Op::Append(message) => {
                if let Some(number) = self.messages.number(message.id) {
                    self.story(number).stored = true;
                }
            }
            Op::Letter(letter) => {
                let at = GROUPS.iter().position(|(name, _)| *name == &*letter.group);
                if let (Some(number), Some(at)) = (self.messages.number(letter.id), at) {
                    self.story(number).stored_letters.insert(at);
                }
            }
            Op::Group(group) => _ = self.stored_groups.insert(group.number),
            Op::EndGroup(number) => _ = self.stored_ends.insert(*number),
            _ => {}
        }
    }

    /// The core answered a request; `code`: why it refused it.
    pub(super) fn answered(&mut self, serial: u64, code: Option<ErrorCode>) -> Result<(), Broken> {
        let Some((says, about)) = self.open.remove(&serial) else {
            return Err(Broken::Miscounted(format!("request {serial} was answered twice")));
        };
        if let Some(code) = code {
            let is_ending = code == ErrorCode::ShuttingDown && self.is_ending();
            return match says {
                Says::Publish(_) if !is_ending => Err(Broken::Refused(code)),
                _ => Ok(()),
            };
        }
        match says {
            Says::Publish(numbers) => {
                for number in numbers {
                    let is_owed = self.messages.get(number).ack;
                    let story = self.story(number);
                    if is_owed && story.held {
                        if !story.stored {
                            return Err(Broken::OkBeforeStored(format!("message {number}")));
                        }
                        story.promised = true;
                    }
                }
            }
            Says::Create(at) => {
                if let Some(group) = about.or(self.current[at])
                    && let Some(number) = self.groups[group].durable
                {
                    if !self.stored_groups.contains(&number) {
                        return Err(Broken::OkBeforeStored(format!("group {}", GROUPS[at].0)));
                    }
                    self.groups[group].is_created = true;
                }
            }
            Says::Delete(at) => {
                let group = about.map(|group| (group, self.groups[group].durable));
                if let Some((group, Some(number))) = group {
                    if !self.stored_ends.contains(&number) {
                        return Err(Broken::OkBeforeStored(format!("no group {}", GROUPS[at].0)));
                    }
                    self.groups[group].is_deleted = true;
                }
            }
            Says::Verdict(Said::Reject, numbers) => {
                for number in numbers {
                    let Some(at) = about.map(|group| self.groups[group].at) else { continue };
                    let story = self.story(number);
                    if story.letters.contains(&at) && !story.stored_letters.contains(&at) {
                        return Err(Broken::OkBeforeStored(format!("letter of {number}")));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The server starts anew from what the journal holds. `clean`: the last one ended by itself, and had stored
    /// everything.
    pub(super) fn restarts(
        &mut self,
        stored: &Stored,
        log: &[Op],
        clean: bool,
    ) -> Result<(), Broken> {
        let numbers: BTreeSet<u64> = stored.durable().map(|group| group.number).collect();
        self.current = [None; GROUPS.len()];
        log.iter().for_each(|op| self.stored(op));
        for (place, group) in self.groups.iter_mut().enumerate() {
            let is_there = group.durable.is_some_and(|number| numbers.contains(&number));
            let is_needed = group.durable.is_some() && !group.is_deleting && !group.is_over;
            if !is_there && is_needed && (clean || group.is_created) {
                return Err(Broken::Group("one is gone"));
            }
            if is_there && (group.is_deleted || (clean && group.is_over)) {
                return Err(Broken::Group("one is there again"));
            }
            (group.is_over, group.is_deleting) = (!is_there, false);
            // Of one that was never stored, another one may get the number.
            group.durable.take_if(|number| !self.stored_groups.contains(number));
            if is_there {
                self.current[group.at] = Some(place);
            }
        }
        let seen: BTreeSet<usize> = log
            .iter()
            .filter_map(|op| match op {
                Op::Append(message) => self.messages.number(message.id),
                _ => None,
            })
            .collect();
        let live: BTreeSet<usize> =
            stored.live().filter_map(|message| self.messages.number(message.id)).collect();
        let groups: BTreeMap<usize, (usize, u64)> = (0..)
            .zip(&self.groups)
            .filter_map(|(place, group)| Some((place, (group.at, group.durable?))))
            .filter(|(_, (_, number))| numbers.contains(number))
            .collect();
        for number in 0..self.stories.len() {
            let is_live = live.contains(&number);
            let id = self.messages.get(number).id;
            let story = &mut self.stories[number];
            if story.held && !is_live && (story.promised || clean) {
                return Err(Broken::Lost(number));
            }
            if !story.held && is_live && clean {
                return Err(Broken::DeliveredAfterEnd(number));
            }
            let letters: BTreeSet<usize> = (0..GROUPS.len())
                .filter(|&at| stored.state(id, GROUPS[at].0, None) == Kept::Letter)
                .collect();
            if clean && letters != story.letters {
                return Err(Broken::Miscounted(format!("dead letters of {number}")));
            }
            for (place, job) in &mut story.jobs {
                match groups.get(place) {
                    Some((at, durable)) => {
                        let kept = stored.state(id, GROUPS[*at].0, Some(*durable));
                        resume(number, job, kept, is_live, story.promised, clean)?;
                    }
                    // Who is not durable is gone, and nothing says what it was done with.
                    None if letters.contains(&self.groups[*place].at) => job.state = State::Letter,
                    None => job.state = State::Left,
                }
            }
            if !seen.contains(&number) {
                let done = story.promised;
                *story = Story { promised: done, ..Story::default() };
            }
            *story = Story {
                taken: seen.contains(&number),
                held: is_live,
                stored: is_live,
                ended: seen.contains(&number) && !is_live,
                dead: stored.is_dead(id),
                stored_letters: letters.clone(),
                letters,
                taken_back: false,
                replayed: stored.is_replayed(id),
                left: is_live && !story.has_open(),
                heard: BTreeMap::new(),
                given: BTreeSet::new(),
                ..std::mem::take(story)
            };
        }
        if !live.is_empty() {
            self.tell("server started with messages from the journal");
        }
        self.begins_anew();
        Ok(())
    }

    /// What is known of a message.
    pub(super) fn tell_of(&self, number: usize) -> String {
        let made = self.messages.get(number);
        let groups: Vec<_> = (0..).zip(&self.groups).collect();
        format!("at {}: {made:?}\n{:?}\n{groups:?}", self.unix_ms, self.stories.get(number))
    }

    /// All is calm: what was promised is done.
    pub(super) fn check_end(&self) -> Result<(), Broken> {
        for (number, story) in self.stories.iter().enumerate() {
            if story.held || !story.letters.is_empty() || story.has_open() {
                return Err(Broken::Lost(number));
            }
        }
        Ok(())
    }
}

/// What a durable group has to do with a message after a restart.
fn resume(
    number: usize,
    job: &mut Job,
    kept: Kept,
    is_live: bool,
    promised: bool,
    clean: bool,
) -> Result<(), Broken> {
    let is_job = kept == Kept::Job && is_live;
    let was_open = job.is_open();
    // A replay is not stored when it is answered.
    let may_be_letter = job.was_letter || matches!(job.state, State::Letter);
    match job.state {
        _ if was_open && !is_job => {
            let is_undone = !clean && (may_be_letter || !promised);
            if !is_undone {
                return Err(Broken::Lost(number));
            }
        }
        State::Acknowledged | State::Purged | State::Expired if clean && is_job => {
            return Err(Broken::DeliveredAfterEnd(number));
        }
        State::Letter if kept == Kept::No => return Err(Broken::Lost(number)),
        State::Letter if clean && kept != Kept::Letter => {
            return Err(Broken::DeliveredAfterEnd(number));
        }
        _ => {}
    }
    job.attempts = 0;
    job.state = match kept {
        Kept::Job if is_live => State::Ready(Duration::ZERO),
        Kept::Letter => State::Letter,
        _ if was_open => State::Purged,
        _ => match job.state {
            State::Letter => State::Purged,
            state => state,
        },
    };
    Ok(())
}
