//! What the core delivers: to whom, when, and how often.

use std::time::Duration;

use super::broken::Broken;
use super::conditions::GROUPS;
use super::ledger::{Group, Ledger, Wants};
use super::story::{Job, State};

impl Ledger {
    /// The core delivered a frame on a connection. `attempt`: of a group.
    pub(super) fn delivered(
        &mut self,
        connection: u32,
        numbers: &[usize],
        attempt: u16,
        now: Duration,
    ) -> Result<(), Broken> {
        let Some(wants) = self.wants.get(&connection).copied() else {
            return Err(Broken::Misdelivered(format!("to connection {connection}")));
        };
        for &number in numbers {
            let made = self.messages.get(number);
            let (name, ack) = (made.name, made.ack);
            if made.deliver_at_ms > self.unix_ms {
                return Err(Broken::TooEarly(number));
            }
            if self.is_expired(number) {
                return Err(Broken::TooLate(number));
            }
            let story = self.story(number);
            if !story.taken {
                return Err(Broken::Forged(format!("message {number} was not taken")));
            }
            if ack && !story.stored {
                return Err(Broken::DeliveredBeforeStored(number));
            }
            match wants {
                Wants::Jobs(group) if ack => {
                    self.handed_over(group, connection, number, attempt, now)?;
                }
                Wants::Jobs(group) => {
                    let at = self.groups[group].at;
                    if !self.story(number).given.insert(at) || attempt != 1 {
                        return Err(Broken::SecondMessage(number));
                    }
                    if !GROUPS[at].1.fits(name) {
                        return Err(Broken::Misdelivered(format!("{number} to {}", GROUPS[at].0)));
                    }
                    self.tell("message given that asks for no acknowledgement");
                }
                Wants::Broadcast | Wants::Observe => {
                    let groups = &self.groups;
                    let story = &mut self.stories[number];
                    let times = story.heard.entry(connection).or_default();
                    *times += 1;
                    let is_durable = |group: usize| groups[group].durable.is_some();
                    let open = story.jobs.iter().filter(|(_, job)| job.is_open());
                    let is_theirs = open.into_iter().any(|(group, _)| is_durable(*group));
                    if *times > 1 && (wants == Wants::Observe || is_theirs || story.ended || !ack) {
                        return Err(Broken::SentAgain(number));
                    }
                    self.tell("message heard");
                }
            }
        }
        Ok(())
    }

    /// A member got a job.
    fn handed_over(
        &mut self,
        group: usize,
        connection: u32,
        number: usize,
        attempt: u16,
        now: Duration,
    ) -> Result<(), Broken> {
        let Group { at, durable, .. } = self.groups[group];
        let terms = self.terms[at];
        let story = self.story(number);
        if !story.held || story.dead || story.letters.contains(&at) {
            return Err(Broken::DeliveredAfterEnd(number));
        }
        // What waits for anybody may become the job of a group that came later, unless that stays without members.
        if durable.is_some() && !story.jobs.contains_key(&group) {
            return Err(Broken::Misdelivered(format!("{number} to {}", GROUPS[at].0)));
        }
        let job = story.jobs.entry(group).or_insert(Job::new());
        match job.state {
            State::Ready(from) if now < from => return Err(Broken::TooEarly(number)),
            State::Ready(_) => {}
            State::UnderWay(_, until) if now < until => return Err(Broken::TwoMembers(number)),
            State::UnderWay(_, until) if now < until + terms.delay(job.attempts) => {
                return Err(Broken::TooEarly(number));
            }
            State::UnderWay(..) => {}
            State::Spent { .. } => return Err(Broken::GivenUp(number)),
            _ => return Err(Broken::DeliveredAfterEnd(number)),
        }
        if terms.attempts_max > 0 && attempt > terms.attempts_max {
            return Err(Broken::TooManyAttempts(number));
        }
        job.attempts += 1;
        if job.attempts != attempt {
            let text = format!("attempt {attempt} of {number}, expected {}", job.attempts);
            return Err(Broken::Miscounted(text));
        }
        job.state = State::UnderWay(connection, now + terms.ack_wait());
        self.tell(if attempt > 1 { "job handed over again" } else { "job handed over" });
        Ok(())
    }
}
