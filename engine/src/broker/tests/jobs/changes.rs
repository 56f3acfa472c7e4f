//! What the core hands over to the journal: what ends, and may it.

use std::time::Duration;

use super::super::{MessageId, Op};
use super::broken::Broken;
use super::conditions::{GROUPS, Terms};
use super::ledger::{Group, Ledger};
use super::story::{Job, State};
use crate::journal::LetterEnd;
use crate::message::DeadLetter;
use crate::wire::letter::Cause;

impl Ledger {
    /// The core hands this over to the journal.
    pub(super) fn op(&mut self, op: &Op, now: Duration) -> Result<(), Broken> {
        match op {
            Op::Append(message) => {
                let number = self.number(message.id)?;
                let story = self.story(number);
                if !story.taken || story.held || story.ended {
                    return Err(Broken::SecondMessage(number));
                }
                story.held = true;
            }
            Op::Settle(id) => {
                let number = self.number(*id)?;
                if self.story(number).taken_back {
                    self.tell("message taken back");
                    let story = self.story(number);
                    story.expire();
                    (story.ended, story.held) = (story.held, false);
                    return Ok(());
                }
                self.may_end(number)?;
                let story = self.story(number);
                if !story.letters.is_empty() || !story.held {
                    return Err(Broken::EndedEarly(number));
                }
                (story.held, story.ended) = (false, true);
            }
            Op::Letter(letter) => self.letter(letter, now)?,
            Op::EndLetter { id, group, end } => self.end_letter(*id, group, *end)?,
            Op::Group(group) => {
                let at = GROUPS.iter().position(|(name, _)| *name == &*group.name).unwrap();
                self.add_group(at, Some(group.number));
                self.tell("durable group created");
            }
            Op::EndGroup(number) => {
                let Some(group) = self.groups.iter().rposition(|it| it.durable == Some(*number))
                else {
                    return Err(Broken::Group("one ended that was not there"));
                };
                let found = &mut self.groups[group];
                if !found.is_deleting {
                    return Err(Broken::Group("nobody deleted it"));
                }
                found.is_over = true;
                self.current[found.at] = None;
                self.tell("durable group deleted");
            }
            // They are seen by what is there again after a restart.
            Op::Jobs { .. } => {}
            other => return Err(Broken::Miscounted(format!("{other:?}"))),
        }
        Ok(())
    }

    /// Whether nobody is to get a message any more, because its time is over.
    pub(super) fn is_expired(&self, number: usize) -> bool {
        let is_replayed = self.stories.get(number).is_some_and(|story| story.replayed);
        !is_replayed && self.messages.get(number).expires_ms <= self.unix_ms
    }

    /// Whether a group may have a message that was not there when it was published: that is so with groups that are not
    /// durable, when it was for later, or waited.
    pub(super) fn may_be_others(&self, number: usize) -> bool {
        let (name, story) = (self.messages.get(number).name, &self.stories[number]);
        self.current.iter().flatten().any(|group| {
            let Group { at, durable, .. } = self.groups[*group];
            durable.is_none() && GROUPS[at].1.fits(name) && !story.jobs.contains_key(group)
        })
    }

    pub(super) fn may_end(&mut self, number: usize) -> Result<(), Broken> {
        let is_expired = self.is_expired(number);
        if is_expired {
            self.tell("message expired");
        }
        let story = self.story(number);
        if is_expired {
            story.expire();
        } else if !story.may_end() {
            return Err(Broken::EndedEarly(number));
        }
        Ok(())
    }

    fn letter(&mut self, letter: &DeadLetter, now: Duration) -> Result<(), Broken> {
        let number = self.number(letter.id)?;
        let at = GROUPS.iter().position(|(name, _)| *name == &*letter.group).unwrap();
        if self.story(number).letters.contains(&at) {
            // The same again, as its message is done.
            self.may_end(number)?;
            self.story(number).dead = true;
            return if letter.is_done { Ok(()) } else { Err(Broken::GivenUp(number)) };
        }
        let Terms { attempts_max, .. } = self.terms[at];
        let may_be_others = self.may_be_others(number);
        let groups = &self.groups;
        let story = &mut self.stories[number];
        let jobs = &mut story.jobs;
        let job =
            jobs.iter_mut().rev().find(|(group, job)| groups[**group].at == at && job.is_open());
        let Some((_, job)) = job else { return Err(Broken::GivenUp(number)) };
        let is_rejected = matches!(letter.cause, Cause::Rejected(..));
        let is_used_up = attempts_max > 0 && job.attempts >= attempts_max;
        let is_right = match job.state {
            State::Spent { rejected } => rejected == is_rejected,
            // It was rejected when its time was over and the server had not noticed, or nobody said a word.
            State::UnderWay(_, until) => until <= now && (is_used_up || is_rejected),
            _ => false,
        };
        if !is_right || job.attempts != letter.attempts {
            return Err(Broken::GivenUp(number));
        }
        (job.state, job.was_letter) = (State::Letter, true);
        story.letters.insert(at);
        story.dead = letter.is_done;
        let has_open = story.has_open();
        if letter.is_done && has_open {
            return Err(Broken::EndedEarly(number));
        }
        if !letter.is_done && story.must_end() && !may_be_others {
            return Err(Broken::EndedLate(number));
        }
        self.tell(if is_rejected { "job rejected" } else { "job used up" });
        Ok(())
    }

    fn end_letter(&mut self, id: MessageId, group: &str, end: LetterEnd) -> Result<(), Broken> {
        let number = self.number(id)?;
        let at = GROUPS.iter().position(|(name, _)| *name == group).unwrap();
        let current = self.current[at];
        let groups = &self.groups;
        let story = &mut self.stories[number];
        if !story.letters.remove(&at) {
            return Err(Broken::Miscounted(format!("{number} was no dead letter of {group}")));
        }
        story.stored_letters.remove(&at);
        for (_, job) in story.jobs.iter_mut().filter(|(group, _)| groups[**group].at == at) {
            if job.state == State::Letter {
                job.state = State::Purged;
            }
        }
        let is_last = story.dead && story.letters.is_empty();
        match end {
            LetterEnd::Replayed => {
                let Some(current) = current else { return Err(Broken::Group("replayed to none")) };
                let job = story.jobs.entry(current).or_insert(Job::new());
                (job.state, job.attempts) = (State::Ready(Duration::ZERO), 0);
                job.was_letter = true;
                (story.dead, story.replayed) = (false, true);
                self.tell("letter replayed");
            }
            LetterEnd::Done | LetterEnd::Purged if is_last != (end == LetterEnd::Done) => {
                return Err(Broken::EndedEarly(number));
            }
            LetterEnd::Done | LetterEnd::Purged => {
                if is_last {
                    (story.held, story.ended) = (false, true);
                }
                self.tell("letter purged");
            }
        }
        Ok(())
    }
}
