//! The server's journal and its death: commits that end, a kill, and the time until it is started again.

use std::time::Duration;

use super::broken::Broken;
use super::without::Without;
use super::world::{Event, World};
use crate::broker::run::CoreState;
use crate::journal::Journal;

/// How often a server that is to be killed still reads or writes.
const LAST_DOINGS_MAX: u32 = 30;

impl World {
    /// The journal of a server that starts, which has given the core what it holds.
    pub(super) fn start(&mut self, core: &mut CoreState) -> Result<Option<Journal>, Broken> {
        self.life += 1;
        (self.is_down, self.is_listening, self.dies_in) = (false, true, None);
        if !self.has_journal() {
            return Ok(None);
        }
        let config = &self.conditions.config;
        let mut nobody = CoreState::new(config, self.counters.clone());
        let recovers = self.without != Without::Recovery;
        let started = self.disk.start(config, if recovers { core } else { &mut nobody });
        let journal = started.map_err(|error| Broken::Journal(error.to_string()))?;
        self.check_recovered(core)?;
        Ok(Some(journal))
    }

    /// What a server found is what it is to find.
    fn check_recovered(&mut self, core: &CoreState) -> Result<(), Broken> {
        let pending = core.pending();
        if let Some(number) = self.ledger.lost(|id| pending.contains(&id)) {
            return Err(Broken::Lost(number));
        }
        let catalog = &self.ledger.catalog;
        let ids = (0..catalog.len()).map(|number| catalog.get(number).id);
        let held: Vec<_> = ids.filter(|id| pending.contains(id)).collect();
        if held.len() < pending.len() {
            return Err(Broken::Forged(pending.len() - held.len()));
        }
        if !held.is_empty() {
            self.tell("server started with messages from the journal");
        }
        held.into_iter().for_each(|id| self.disk.holds(id));
        Ok(())
    }

    pub(super) fn has_journal(&self) -> bool {
        self.conditions.config.persist_file.is_some()
    }

    /// Whether what an OK promises of a message is so.
    pub(super) fn is_stored(&self, number: usize) -> bool {
        let made = self.ledger.catalog.get(number);
        !(made.ack && self.has_journal()) || self.disk.is_durable(&made.id)
    }

    /// Lets the journal commit what was handed over.
    pub(super) fn begin_commit(&mut self) {
        if self.disk.wants_commit() {
            self.disk.is_busy = true;
            let takes = Duration::from_micros(self.random.u64(self.conditions.commit_us.clone()));
            self.at(self.now + takes, Event::Commit(self.life));
        }
    }

    pub(super) fn commit(&mut self, life: u32) {
        if life != self.life || self.is_down {
            return;
        }
        if let Err(error) = self.disk.commit(&mut self.random) {
            self.fail(Broken::Journal(error.to_string()));
        }
        self.is_woken = true;
        self.begin_commit();
    }

    /// Kills the server, at once or while it does what it does next.
    pub(super) fn kill(&mut self) {
        if !self.is_down && !self.is_draining && !self.is_leaving {
            if self.random.bool() {
                self.dies_in.get_or_insert(self.random.u32(0..LAST_DOINGS_MAX));
            } else {
                self.die();
            }
        }
    }

    /// The server is about to read or write; whether that is too late.
    pub(super) fn dies_now(&mut self) -> bool {
        if let Some(left) = self.dies_in {
            self.dies_in = left.checked_sub(1);
            if left == 0 && !self.is_draining && !self.is_leaving {
                self.tell("the server was killed within a turn");
                self.die();
            }
        }
        self.is_down
    }

    fn die(&mut self) {
        self.is_down = true;
        let power_is_cut = self.random.bool();
        self.tell(if power_is_cut { "the power was cut" } else { "the server was killed" });
        self.disk.crash(power_is_cut, &mut self.random);
    }

    /// The server that was killed is gone. Time passes until another one starts.
    pub(super) fn stay_down(&mut self) {
        self.is_listening = false;
        for at in 0..2 {
            while let Some(link) = self.backlog[at].pop_front() {
                self.reset(link);
            }
        }
        let until = self.now + Duration::from_micros(self.random.u64(1000..300_000));
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= until
        {
            let ((at, _), event) = entry.remove_entry();
            // What was due while the last turn took its time is not skipped.
            self.now = at;
            self.happens(event);
        }
        self.now = until;
    }

    /// The server has ended as it was told to: what it was to keep is there for the next one.
    pub(super) fn check_kept(&mut self) -> Result<(), Broken> {
        if !self.has_journal() {
            return Ok(());
        }
        self.disk.close().map_err(|error| Broken::Journal(error.to_string()))?;
        let mut core = CoreState::new(&self.conditions.config, self.counters.clone());
        self.start(&mut core).map(|_| ())
    }
}
