//! What came of a torture: as JSON, and as text.

use std::fmt;

use loadgen::report::{Disk, Environment};
use mezzenger::JournalInspection;
use mezzenger_torture::job_ledger::{JobAccount, Judged};
use mezzenger_torture::ledger::{Account, Ledger};
use serde::Serialize;

use crate::args::Settings;
use crate::phase::{Phase, Seen};

/// Lost messages that are named.
const LOST_NAMED_MAX: usize = 10;

/// Who was killed, and when.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Kills {
    /// Kills of the server. Each counts once in one of the next five, too.
    pub(crate) servers: u64,
    /// The journal had written and waited for the sync.
    between_write_and_sync: u64,
    /// The journal was writing.
    in_write: u64,
    /// The journal was doing neither.
    idle: u64,
    /// The journal was still being read.
    starting: u64,
    /// The system did not say.
    unknown: u64,
    /// Kills of a server that had been started just before, by the plan.
    pub(crate) servers_again: u64,
    /// Kills of a server while it compacted its journal.
    in_compaction: u64,
    /// Kills of a server that owed messages: answered OK, not delivered.
    owing: u64,
    /// Most messages that a server owed when it was killed.
    owed_max: u64,
    pub(crate) publishers: u64,
    pub(crate) subscribers: u64,
    pub(crate) job_publishers: u64,
    workers: u64,
    /// Kills of workers that had jobs in flight.
    workers_holding: u64,
    /// Most jobs that a worker had when it was killed.
    held_max: u64,
}

impl Kills {
    /// Counts a server that died, owing so many messages.
    pub(crate) fn server(&mut self, seen: Option<Seen>, owed: u64) {
        self.servers += 1;
        *match seen.map(|seen| seen.phase) {
            Some(Phase::Syncing) => &mut self.between_write_and_sync,
            Some(Phase::Writing) => &mut self.in_write,
            Some(Phase::Idle) => &mut self.idle,
            Some(Phase::Starting) => &mut self.starting,
            Some(Phase::Unknown) | None => &mut self.unknown,
        } += 1;
        self.in_compaction += u64::from(seen.is_some_and(|seen| seen.is_compacting));
        self.owed_max = self.owed_max.max(owed);
        self.owing += u64::from(owed > 0);
    }

    /// Counts a worker that died with so many jobs in flight.
    pub(crate) fn worker(&mut self, held: u64) {
        self.workers += 1;
        self.workers_holding += u64::from(held > 0);
        self.held_max = self.held_max.max(held);
    }
}

/// What came of a torture.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome<'a> {
    /// Repeats it, with the same kills at the same moments as far as a machine can.
    pub(crate) command: String,
    seed: u64,
    /// Rounds that were begun.
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) kills: Kills,
    pub(crate) account: Account,
    /// Messages that were answered OK and never delivered. Not known when the torture did not get to wait for
    /// what is owed.
    lost: Option<u64>,
    /// Acknowledgements that the server took, as far as the subscribers lived to tell.
    pub(crate) acknowledged: u64,
    pub(crate) jobs: JobAccount,
    /// Messages in the journal after the end, beside those that have to be there: jobs that are held for later, and dead letters.
    unacknowledged: u64,
    /// Messages that have to be in the journal after the end and are not.
    missing: u64,
    pub(crate) journal_damaged_records: u64,
    pub(crate) rounds_with_compaction: u32,
    /// All that must not be; empty when all went well.
    pub(crate) failures: Vec<String>,
    settings: &'a Settings,
    environment: Environment,
    disk: Disk,
}

impl<'a> Outcome<'a> {
    pub(crate) fn new(settings: &'a Settings, environment: Environment, disk: Disk) -> Self {
        Self {
            command: command(settings.seed()),
            seed: settings.seed(),
            rounds: 0,
            seconds: 0.0,
            kills: Kills::default(),
            account: Account::default(),
            lost: None,
            acknowledged: 0,
            jobs: JobAccount::default(),
            unacknowledged: 0,
            missing: 0,
            journal_damaged_records: 0,
            rounds_with_compaction: 0,
            failures: Vec::new(),
            settings,
            environment,
            disk,
        }
    }

    /// What was waited for and did not come is lost.
    pub(crate) fn lose(&mut self, ledger: &Ledger) {
        self.lost = Some(ledger.owed());
        if ledger.owed() > 0 {
            let text = format!("{} messages were answered OK and never delivered", ledger.owed());
            self.failures.push(text);
        }
        for (key, round) in ledger.owed_messages().take(LOST_NAMED_MAX) {
            self.failures.push(format!("lost: message {key}, answered OK in round {round}"));
        }
    }

    /// Takes in what came of the jobs, and what is left in the journal.
    pub(crate) fn judge_jobs(&mut self, judged: Judged, journal: &JournalInspection) {
        let Judged { account, live, live_more, named } = judged;
        self.jobs = account;
        let live_max = live + live_more + account.pending;
        self.unacknowledged = account.pending + journal.live.saturating_sub(live_max);
        self.missing = live.saturating_sub(journal.live);
        self.missing += account.dead.saturating_sub(journal.letters);
        for (count, what) in [
            (account.lost, "were answered OK, and are neither done, dead, expired nor held"),
            (account.again, "were delivered after their acknowledgement was stored"),
            (account.early, "were delivered before their time"),
            (account.late, "were delivered after they had expired"),
            (account.forged, "were delivered although nobody posted them for the group"),
            (account.damaged, "were delivered with other bytes than they were posted with"),
            (account.attempts_beyond, "were delivered more often than their group allows"),
            (account.wrong_letters, "are dead letters, and must not be"),
            (account.refused, "were refused, or given up by their client"),
        ] {
            if count > 0 {
                self.failures.push(format!("{count} jobs {what}"));
            }
        }
        self.failures.extend(named);
    }

    /// Looks for what else must not be.
    pub(crate) fn judge(&mut self) {
        let Account { refused, forged, damaged, .. } = self.account;
        for (count, what) in [
            (self.missing, "are not in the journal, although they are held or have dead letters"),
            (refused, "were refused, or given up by their client"),
            (forged, "were delivered although nobody sent them"),
            (damaged, "were delivered with other bytes than they were sent with"),
            (self.unacknowledged, "are left in the journal, although a subscriber waited for them"),
            (self.journal_damaged_records, "are damaged in the journal"),
        ] {
            if count > 0 {
                self.failures.push(format!("{count} messages {what}"));
            }
        }
    }
}

/// The command line that was given, with the seed that was used.
fn command(seed: u64) -> String {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if !words.iter().any(|word| word.starts_with("--seed")) {
        words.extend(["--seed".to_owned(), seed.to_string()]);
    }
    let words = shlex::try_join(words.iter().map(String::as_str));
    format!("mezzenger-torture {}", words.unwrap_or_default())
}

impl fmt::Display for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rounds, seconds, kills, account, .. } = self;
        writeln!(f, "{rounds} rounds in {seconds:.1} s")?;
        let mut row = |count: u64, what: &str| writeln!(f, "{count:>12}  {what}");
        row(kills.servers, "kills of the server:")?;
        row(kills.between_write_and_sync, "  between a write of the journal and its sync")?;
        row(kills.in_write, "  in a write")?;
        row(kills.idle, "  in neither")?;
        row(kills.starting, "  while it read its journal")?;
        row(kills.unknown, "  in what the system did not say")?;
        row(kills.in_compaction, "  of all these, during a compaction")?;
        row(kills.owing, "  while it owed messages")?;
        row(kills.owed_max, "  messages that it owed at most")?;
        row(kills.publishers, "kills of publishers")?;
        row(kills.subscribers, "kills of subscribers")?;
        row(kills.job_publishers, "kills of publishers of jobs")?;
        row(kills.workers, "kills of workers:")?;
        row(kills.workers_holding, "  with jobs in flight")?;
        row(kills.held_max, "  jobs that one had at most")?;
        row(self.rounds_with_compaction.into(), "rounds in which the journal was compacted")?;
        row(account.sent, "messages sent")?;
        row(account.ok, "answered OK")?;
        row(account.refused, "refused")?;
        row(account.unanswered, "not answered before the publisher was killed")?;
        row(account.delivered, "delivered")?;
        row(account.duplicated, "deliveries beyond the first")?;
        row(self.acknowledged, "acknowledgements that the server took, at least")?;
        row(self.unacknowledged, "unacknowledged at the end")?;
        let jobs = self.jobs;
        row(jobs.ok, "jobs answered OK")?;
        row(jobs.owed, "jobs of a group, of which some are of two:")?;
        row(jobs.done, "  done")?;
        row(jobs.dead, "  dead letters")?;
        row(jobs.expired, "  expired")?;
        row(jobs.held, "  held for later")?;
        row(jobs.pending, "  pending")?;
        row(jobs.lost, "  lost")?;
        row(jobs.deliveries, "deliveries to workers")?;
        row(jobs.again_after_kill, "  of what they had acknowledged, since a kill came first")?;
        match self.lost {
            Some(lost) => row(lost, "lost"),
            None => row(account.owed, "owed, and not waited for"),
        }
    }
}
