//! What was promised for each message, and whether it is kept. It watches what goes into the core and what comes out
//! of it, and knows nothing of how the core works.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::seeds::Tally;
use super::super::{Core, MessageId};
use super::broken::Broken;
use super::conditions::{Conditions, GROUPS, Terms};
use super::messages::Messages;
use super::server::{Address, Said, Says};
use super::story::{Job, State, Story};

/// A group from when it is there until it is gone: another one of its name is another one.
#[derive(Debug)]
pub(super) struct Group {
    /// In `GROUPS`.
    pub(super) at: usize,
    /// Its number, if it is durable.
    pub(super) durable: Option<u64>,
    pub(super) is_created: bool,
    /// Somebody deletes it, and whether that was answered.
    pub(super) is_deleting: bool,
    pub(super) is_deleted: bool,
    pub(super) is_over: bool,
    members: BTreeSet<u32>,
}

/// What a connection asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wants {
    /// The messages of a group, by its number.
    Jobs(usize),
    Broadcast,
    Observe,
}

pub(super) struct Ledger {
    pub(super) messages: Messages,
    pub(super) terms: [Terms; GROUPS.len()],
    pub(super) stories: Vec<Story>,
    pub(super) groups: Vec<Group>,
    pub(super) current: [Option<usize>; GROUPS.len()],
    pub(super) wants: BTreeMap<u32, Wants>,
    /// Requests without an answer, and which group a deletion or a verdict is about.
    pub(super) open: BTreeMap<u64, (Says, Option<usize>)>,
    /// The numbers of groups whose creation is stored, and whose end is.
    pub(super) stored_groups: BTreeSet<u64>,
    pub(super) stored_ends: BTreeSet<u64>,
    draining: bool,
    pub(super) unix_ms: u64,
    /// How often what happened, so that it can be seen that it did.
    pub(super) tally: Tally,
}

impl Ledger {
    pub(super) fn new(conditions: &Conditions) -> Self {
        Self {
            messages: Messages::default(),
            terms: conditions.terms,
            stories: Vec::new(),
            groups: Vec::new(),
            current: [None; GROUPS.len()],
            wants: BTreeMap::new(),
            open: BTreeMap::new(),
            stored_groups: BTreeSet::new(),
            stored_ends: BTreeSet::new(),
            draining: false,
            unix_ms: 0,
            tally: Tally::default(),
        }
    }

    pub(super) fn tell(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    pub(super) fn story(&mut self, number: usize) -> &mut Story {
        if self.stories.len() <= number {
            self.stories.resize(number + 1, Story::default());
        }
        &mut self.stories[number]
    }

    pub(super) fn number(&self, id: MessageId) -> Result<usize, Broken> {
        self.messages.number(id).ok_or_else(|| Broken::Forged(format!("nobody made {id}")))
    }

    pub(super) fn drains(&mut self) {
        self.draining = true;
    }

    pub(super) fn begins_anew(&mut self) {
        (self.draining, self.wants) = (false, BTreeMap::new());
        self.open.clear();
    }

    /// Adds a group that is there from now on.
    pub(super) fn add_group(&mut self, at: usize, durable: Option<u64>) -> usize {
        let (is_created, is_deleting, is_deleted, is_over) = Default::default();
        let members = BTreeSet::new();
        self.groups.push(Group {
            at,
            durable,
            is_created,
            is_deleting,
            is_deleted,
            is_over,
            members,
        });
        self.current[at] = Some(self.groups.len() - 1);
        self.groups.len() - 1
    }

    /// The core has been given a request, and what it did with it is not told yet.
    pub(super) fn said(
        &mut self,
        from: Address,
        says: &Says,
        refused: bool,
        core: &Core<Address>,
        now: Duration,
    ) -> Result<(), Broken> {
        let connection = from.connection;
        let mut about = None;
        match says {
            Says::Publish(numbers) if !refused => self.publishes(numbers),
            Says::Join(at) if !refused => {
                let group = self.current[*at].unwrap_or_else(|| self.add_group(*at, None));
                self.groups[group].members.insert(connection);
                self.wants.insert(connection, Wants::Jobs(group));
            }
            Says::Listen { counts } if !refused => {
                let wants = if *counts { Wants::Broadcast } else { Wants::Observe };
                self.wants.insert(connection, wants);
            }
            Says::Ack(numbers) => {
                for &number in numbers {
                    // Before its time that takes it back.
                    let is_later = self.messages.get(number).deliver_at_ms > self.unix_ms;
                    let story = self.story(number);
                    story.acknowledged |= story.held && !story.has_open();
                    story.taken_back |= story.taken && is_later;
                }
            }
            Says::Verdict(said, numbers) => {
                if let Some(Wants::Jobs(group)) = self.wants.get(&connection) {
                    about = Some(*group);
                }
                for &number in numbers {
                    self.verdict(connection, *said, number, refused, core, now)?;
                }
            }
            Says::Delete(at) if !refused => {
                about = self.current[*at];
                if let Some(group) = about {
                    self.deletes(group);
                }
            }
            _ => {}
        }
        self.open.insert(from.serial, (says.clone(), about));
        Ok(())
    }

    fn publishes(&mut self, numbers: &[usize]) {
        for &number in numbers {
            let made = self.messages.get(number);
            let (name, ack) = (made.name, made.ack);
            if self.story(number).taken {
                self.tell("message that came again");
                continue;
            }
            let fitting: Vec<usize> = self.current.into_iter().flatten().collect();
            let is_there = |group: &usize| {
                let Group { at, durable, is_deleting, ref members, .. } = self.groups[*group];
                let has_life = durable.is_some() || !members.is_empty();
                has_life && !is_deleting && GROUPS[at].1.fits(name)
            };
            let fitting: Vec<usize> = fitting.into_iter().filter(is_there).collect();
            let is_kept = ack && self.is_kept(number);
            let story = self.story(number);
            story.taken = true;
            if is_kept {
                story.jobs.extend(fitting.into_iter().map(|group| (group, Job::new())));
            }
        }
    }

    /// A durable group ends from now on.
    fn deletes(&mut self, group: usize) {
        self.groups[group].is_deleting = true;
        for (number, story) in self.stories.iter_mut().enumerate() {
            if let Some(job) = story.jobs.get_mut(&group)
                && matches!(job.state, State::Ready(_) | State::UnderWay(..))
            {
                // What is for later is for those who are there then.
                let is_later = self.messages.get(number).deliver_at_ms > self.unix_ms;
                // So is what stands behind others of its name that wait for the journal.
                story.left |= !story.stored;
                job.state = if is_later { State::Left } else { State::Deleted };
            }
        }
    }

    /// A member says something of a message.
    fn verdict(
        &mut self,
        connection: u32,
        said: Said,
        number: usize,
        refused: bool,
        core: &Core<Address>,
        now: Duration,
    ) -> Result<(), Broken> {
        let Some(Wants::Jobs(group)) = self.wants.get(&connection).copied() else { return Ok(()) };
        let at = self.groups[group].at;
        let terms = self.terms[at];
        let id = self.messages.get(number).id;
        let story = self.story(number);
        let Some(job) = story.jobs.get_mut(&group) else { return Ok(()) };
        let State::UnderWay(of, until) = job.state else { return Ok(()) };
        if of != connection || !story.held {
            return Ok(());
        }
        // Its time may be over, and the server have noticed.
        let is_sure = now < until;
        let is_last = terms.attempts_max > 0 && job.attempts >= terms.attempts_max;
        match said {
            Said::Ack => {
                let stays = core.groups.jobs_of(GROUPS[at].0).contains(&id);
                if stays && is_sure {
                    return Err(Broken::Miscounted(format!("{number} was not acknowledged")));
                }
                if !stays {
                    (job.state, story.acknowledged) = (State::Acknowledged, true);
                    self.tell("job acknowledged");
                }
            }
            Said::Nak(_) if is_sure && is_last => job.state = State::Spent { rejected: false },
            Said::Nak(ms) if is_sure => {
                let own = Duration::from_millis(ms.into());
                let delay = if ms == 0 { terms.delay(job.attempts) } else { own };
                job.state = State::Ready(now + delay);
                self.tell("job refused for now");
            }
            Said::Reject if is_sure => job.state = State::Spent { rejected: true },
            // Whether it still was its own is seen by what comes next.
            Said::Reject | Said::Nak(_) => {}
            Said::Extend if is_sure => {
                job.state = State::UnderWay(connection, now + terms.ack_wait());
                self.tell("job extended");
            }
            Said::Extend => {}
        }
        if is_sure && refused {
            return Err(Broken::Miscounted(format!("{number} was not its member's")));
        }
        Ok(())
    }

    /// The core is told that a connection is gone.
    pub(super) fn gone(&mut self, connection: u32) {
        let Some(Wants::Jobs(group)) = self.wants.remove(&connection) else { return };
        let found = &mut self.groups[group];
        found.members.remove(&connection);
        let is_over = found.durable.is_none() && found.members.is_empty();
        let at = found.at;
        let max = self.terms[at].attempts_max;
        let mut had = 0;
        for (number, story) in self.stories.iter_mut().enumerate() {
            // It may have been its job that nobody was given yet.
            if is_over && story.held && GROUPS[at].1.fits(self.messages.get(number).name) {
                story.jobs.entry(group).or_insert(Job::new());
            }
            let Some(job) = story.jobs.get_mut(&group) else { continue };
            if let State::UnderWay(of, _) = job.state
                && of == connection
            {
                had += 1;
                let is_last = max > 0 && job.attempts >= max;
                job.state = match is_last {
                    true => State::Spent { rejected: false },
                    false => State::Ready(Duration::ZERO),
                };
            }
            if is_over && matches!(job.state, State::Ready(_) | State::UnderWay(..)) {
                job.state = State::Left;
            }
        }
        if had > 0 {
            self.tell("member gone that had jobs");
        }
        if is_over {
            self.groups[group].is_over = true;
            self.current[at] = None;
            self.tell("last member left");
        }
    }

    /// Whether a refused request has a cause.
    pub(super) fn is_ending(&self) -> bool {
        self.draining
    }

    /// After a turn that left nothing to do: compares what the core keeps with what happened.
    pub(super) fn check(&self, core: &Core<Address>) -> Result<(), Broken> {
        let (mut held, mut unkept) = (0, 0);
        for (number, story) in self.stories.iter().enumerate() {
            let made = self.messages.get(number);
            unkept += usize::from(!made.ack && story.taken && made.deliver_at_ms > self.unix_ms);
            if !story.held {
                continue;
            }
            held += 1;
            if story.dead {
                continue;
            }
            if self.is_expired(number) {
                return Err(Broken::TooLate(number));
            }
            if story.must_end() && !self.may_be_others(number) {
                return Err(Broken::EndedLate(number));
            }
        }
        let kept = core.backlog.view().len();
        if !(held..=held + unkept).contains(&kept) {
            return Err(Broken::Miscounted(format!("{kept} messages kept, {held} expected")));
        }
        Ok(())
    }
}
