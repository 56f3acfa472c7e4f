//! The rounds, and the end: all that was answered OK must be delivered.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use loadgen::report::{Disk, Environment};
use mezzenger::Client;
use mezzenger::journal::{self, storage::RealStorage};
use mezzenger_torture::job_ledger::Letter;
use mezzenger_torture::jobs::{self, GROUPS};
use mezzenger_torture::ports;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::args::Settings;
use crate::error::TortureError;
use crate::fleet::{Fleet, PATIENCE};
use crate::groups::{self, Left};
use crate::launch::Launch;
use crate::outcome::{Kills, Outcome};
use crate::plan::{self, Crowd, Role, Round};

/// How long nothing of what is owed must have been delivered until the rest counts as lost: many times
/// what the server waits before it delivers again.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// Between two questions to the server for what its groups have left.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// How many times the server's retry interval nothing must be delivered at the end: then nothing is left
/// to be acknowledged, or it is not delivered any more.
const QUIET_RETRIES: u32 = 4;

/// How long what was told before a server's death may take to be read. Nothing is answered or delivered
/// after it.
const LAST_LINES: Duration = Duration::from_millis(10);

/// Runs a torture, its files in `folder`.
pub(crate) fn run<'a>(settings: &'a Settings, folder: &Path) -> Result<Outcome<'a>, TortureError> {
    let begin = Instant::now();
    let seed = settings.seed();
    // Nothing that the seed decides: on another machine, others are free.
    let ports = ports::pair(&mut fastrand::Rng::new());
    // Its children are not to outlive it.
    let interrupted = Arc::<AtomicBool>::default();
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    let launch = Launch::new(settings, folder, ports)?;
    let mut outcome = Outcome::new(settings, Environment::here(), Disk::measure(folder)?);
    let mut torture = Torture { journal: launch.journal(), fleet: Fleet::new(launch, interrupted) };
    torture.torture(settings, seed, &mut outcome).unwrap_or_else(|error| {
        outcome.failures.push(format!("in round {}: {error}", torture.fleet.round));
    });
    outcome.failures.extend(torture.fleet.refusals.iter().cloned());
    outcome.account = torture.fleet.ledger.account();
    outcome.acknowledged = torture.fleet.acknowledged();
    outcome.rounds = torture.fleet.round;
    outcome.seconds = begin.elapsed().as_secs_f64();
    outcome.judge();
    Ok(outcome)
}

struct Torture {
    journal: PathBuf,
    fleet: Fleet,
}

impl Torture {
    fn torture(
        &mut self,
        settings: &Settings,
        seed: u64,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), TortureError> {
        let Settings { rounds, publishers, subscribers, job_publishers, workers, .. } = *settings;
        let workers = if job_publishers > 0 { workers * GROUPS as u32 } else { 0 };
        let crowd = Crowd { publishers, subscribers, job_publishers, workers };
        self.fleet.start(Role::Server)?;
        self.fleet.server_listens()?;
        if job_publishers > 0 {
            groups::create(self.fleet.port())?;
        }
        crowd.roles().try_for_each(|role| self.fleet.start(role))?;
        let plan = plan::rounds(seed, crowd);
        for (number, round) in (1..=rounds).zip(plan) {
            self.fleet.round = number;
            let inode = self.inode();
            self.round(&round, &mut outcome.kills)?;
            // A compaction puts another file under the name.
            outcome.rounds_with_compaction += u32::from(inode != self.inode());
            if number.is_multiple_of(rounds.div_ceil(10)) {
                let (ok, owed) = (self.fleet.ledger.answered(), self.fleet.ledger.owed());
                let jobs = self.fleet.jobs.answered();
                eprintln!(
                    "round {number}: {ok} messages answered OK, {owed} of them owed; {jobs} jobs"
                );
            }
        }
        self.drain(settings, outcome)
    }

    fn inode(&self) -> Option<u64> {
        fs::metadata(&self.journal).map(|metadata| metadata.ino()).ok()
    }

    fn round(&mut self, round: &Round, kills: &mut Kills) -> Result<(), TortureError> {
        let answers = self.fleet.ledger.answered() + round.answers;
        self.fleet
            .until("messages are answered again", |fleet| fleet.ledger.answered() >= answers)?;
        for (pause, role) in &round.kills {
            self.fleet.pause(*pause)?;
            self.kill(*role, kills)?;
        }
        for (pause, role) in &round.starts {
            self.fleet.pause(*pause)?;
            if *role == Role::Server {
                for time in &round.starting {
                    self.fleet.start(*role)?;
                    self.fleet.pause(*time)?;
                    self.kill(*role, kills)?;
                    kills.servers_again += 1;
                }
            }
            self.fleet.start(*role)?;
        }
        self.fleet.server_listens()
    }

    fn kill(&mut self, role: Role, kills: &mut Kills) -> Result<(), TortureError> {
        match role {
            Role::Server => {
                let seen = self.fleet.kill_server()?;
                self.fleet.pause(LAST_LINES)?;
                kills.server(seen, self.fleet.ledger.owed());
            }
            Role::Publisher(_) => {
                self.fleet.kill(role)?;
                kills.publishers += 1;
            }
            Role::Subscriber(_) => {
                self.fleet.kill(role)?;
                kills.subscribers += 1;
            }
            Role::JobPublisher(_) => {
                self.fleet.kill(role)?;
                kills.job_publishers += 1;
            }
            Role::Worker(_) => kills.worker(self.fleet.kill(role)?),
        }
        Ok(())
    }

    /// Ends the load and waits for what is owed; then ends all and looks at what is left.
    fn drain(
        &mut self,
        settings: &Settings,
        outcome: &mut Outcome<'_>,
    ) -> Result<(), TortureError> {
        self.fleet.end(|role| matches!(role, Role::Publisher(_) | Role::JobPublisher(_)))?;
        let mut owed = self.fleet.ledger.owed();
        while owed > 0 {
            self.quiet_for(LOST_AFTER, |fleet| fleet.ledger.owed())?;
            let left = self.fleet.ledger.owed();
            if left == owed {
                break;
            }
            owed = left;
        }
        outcome.lose(&self.fleet.ledger);
        let quiet = settings.retry_interval * QUIET_RETRIES;
        self.quiet_for(quiet, |fleet| fleet.ledger.deliveries())?;
        let (letters, pending) = match settings.job_publishers {
            0 => Default::default(),
            _ => self.finish_jobs()?,
        };
        self.fleet.end(|role| matches!(role, Role::Subscriber(_) | Role::Worker(_)))?;
        self.fleet.end(|role| role == Role::Server)?;
        let journal = journal::inspect(&self.journal, &RealStorage)?;
        let judged = self.fleet.jobs.judge(&letters, pending, jobs::now_ms());
        outcome.judge_jobs(judged, &journal);
        outcome.journal_damaged_records = journal.damage.records;
        Ok(())
    }

    /// Waits until the groups are done with all jobs, or do nothing more; then asks for what is left.
    fn finish_jobs(&mut self) -> Result<(Vec<Letter>, [u64; GROUPS]), TortureError> {
        let client = Client::builder().port(self.fleet.port()).connect()?;
        let mut last = (0, [0; GROUPS]);
        let mut since = Instant::now();
        loop {
            self.fleet.pause(ASK_INTERVAL)?;
            let Left { pending, letters } = groups::left(&client)?;
            let now_ms = jobs::now_ms();
            let unsettled = self.fleet.jobs.unsettled(now_ms);
            if (unsettled, pending) != last || now_ms < self.fleet.jobs.last_due_ms() {
                (last, since) = ((unsettled, pending), Instant::now());
            }
            let is_done = unsettled <= letters && pending == [0; GROUPS];
            if is_done || since.elapsed() >= LOST_AFTER {
                return Ok((groups::letters(&client)?, pending));
            }
        }
    }

    /// Waits until a count stood still for so long, or is 0.
    fn quiet_for(
        &mut self,
        quiet: Duration,
        count: impl Fn(&Fleet) -> u64,
    ) -> Result<(), TortureError> {
        let deadline = Instant::now() + PATIENCE;
        let mut last = count(&self.fleet);
        let mut since = Instant::now();
        while last > 0 && since.elapsed() < quiet && Instant::now() < deadline {
            self.fleet.pause(quiet / 20)?;
            let now = count(&self.fleet);
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(())
    }
}
