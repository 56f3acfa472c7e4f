//! All processes of a torture, and what they tell.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use loadgen::report::ready;
use mezzenger_torture::content::Key;
use mezzenger_torture::job_ledger::JobLedger;
use mezzenger_torture::jobs::{self, GROUPS};
use mezzenger_torture::ledger::Ledger;
use mezzenger_torture::report::{NotAReport, Report};

use crate::child::{Child, Event};
use crate::error::TortureError;
use crate::launch::Launch;
use crate::phase::{self, Seen};
use crate::plan::Role;

/// How long anything may take that has to happen. Far more than it takes, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Lines that wait to be read. Beyond, those who write them wait.
const LINES_WAITING_MAX: usize = 4096;

/// Refusals whose reasons are kept.
const REASONS_MAX: usize = 10;

/// How soon a signal is noticed.
const SIGNAL_TICK: Duration = Duration::from_millis(100);

/// One process.
struct Member {
    role: Role,
    child: Child,
    end: End,
    /// Before it was started.
    began_ms: u64,
    /// Jobs that a worker got and of which it has not told that it is done with them.
    holds: u64,
}

/// How a process is to end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Not at all.
    Never,
    /// By a signal: it was killed.
    Killed,
    /// Cleanly: it was told to.
    Told,
}

/// All processes, and the account of what they told.
pub(crate) struct Fleet {
    launch: Launch,
    members: BTreeMap<u32, Member>,
    last_id: u32,
    sender: SyncSender<Event>,
    events: Receiver<Event>,
    /// Set when this program was told to end.
    interrupted: Arc<AtomicBool>,
    /// What the worker held that was killed last.
    held: u64,
    /// Whether the server has said that it listens.
    is_ready: bool,
    /// The current round; they count from 1.
    pub(crate) round: u32,
    pub(crate) ledger: Ledger,
    pub(crate) jobs: JobLedger,
    /// Acknowledgements that the server took, by the subscribers that sent them.
    acknowledged: BTreeMap<u32, u64>,
    /// Why the first messages were refused.
    pub(crate) refusals: Vec<String>,
}

impl Fleet {
    /// An empty one, which goes on until `interrupted` is set.
    pub(crate) fn new(launch: Launch, interrupted: Arc<AtomicBool>) -> Self {
        let (sender, events) = sync_channel(LINES_WAITING_MAX);
        let (members, last_id, held, is_ready, round) = Default::default();
        let (ledger, jobs, acknowledged, refusals) = Default::default();
        Self {
            launch,
            members,
            last_id,
            sender,
            events,
            interrupted,
            held,
            is_ready,
            round,
            ledger,
            jobs,
            acknowledged,
            refusals,
        }
    }

    /// Starts a process.
    pub(crate) fn start(&mut self, role: Role) -> Result<(), TortureError> {
        self.last_id += 1;
        if role == Role::Server {
            self.is_ready = false;
        }
        let (id, began_ms) = (self.last_id, jobs::now_ms());
        let command = self.launch.command(role, id);
        let child = command.and_then(|mut command| Child::start(&mut command, id, &self.sender));
        let child = child.map_err(|source| TortureError::Start { role, source })?;
        self.members.insert(id, Member { role, child, end: End::Never, began_ms, holds: 0 });
        Ok(())
    }

    /// Waits until the server listens.
    pub(crate) fn server_listens(&mut self) -> Result<(), TortureError> {
        self.until("the server listens", |fleet| fleet.is_ready)
    }

    fn member(&mut self, role: Role) -> Option<(u32, &mut Member)> {
        let mut members = self.members.iter_mut();
        members.find(|(_, member)| member.role == role).map(|(id, member)| (*id, member))
    }

    /// Where requests go.
    pub(crate) fn port(&self) -> u16 {
        self.launch.port()
    }

    /// Kills a process (-9), and takes in all that it had told; the jobs that it held then.
    pub(crate) fn kill(&mut self, role: Role) -> Result<u64, TortureError> {
        let Some((id, member)) = self.member(role) else { return Ok(0) };
        member.end = End::Killed;
        member.child.kill()?;
        if role == Role::Server {
            self.jobs.killed(jobs::now_ms());
        }
        self.until("the output of a killed process ends", |fleet| {
            !fleet.members.contains_key(&id)
        })?;
        Ok(std::mem::take(&mut self.held))
    }

    /// As [`Self::kill`], for the server, and looks at what its journal was doing.
    pub(crate) fn kill_server(&mut self) -> Result<Option<Seen>, TortureError> {
        let seen = match self.member(Role::Server) {
            Some((_, member)) => Some(phase::stop_and_look(member.child.pid())?),
            None => None,
        };
        self.kill(Role::Server)?;
        Ok(seen)
    }

    /// Tells the processes with these roles to end, and waits until they did, cleanly.
    pub(crate) fn end(&mut self, ending: impl Fn(Role) -> bool) -> Result<(), TortureError> {
        for member in self.members.values_mut().filter(|member| ending(member.role)) {
            member.end = End::Told;
            match member.role {
                Role::Server => member.child.terminate()?,
                Role::Publisher(_)
                | Role::Subscriber(_)
                | Role::JobPublisher(_)
                | Role::Worker(_) => {
                    member.child.end_stdin();
                }
            }
        }
        self.until("all end that were told to", |fleet| {
            !fleet.members.values().any(|member| ending(member.role))
        })
    }

    /// Takes in what is told until a condition holds.
    pub(crate) fn until(
        &mut self,
        what: &'static str,
        is_so: impl Fn(&Self) -> bool,
    ) -> Result<(), TortureError> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            if !self.take_one(deadline)? {
                return Err(TortureError::Stalled { what, patience: PATIENCE });
            }
        }
        Ok(())
    }

    /// Takes in what is told, for so long.
    pub(crate) fn pause(&mut self, time: Duration) -> Result<(), TortureError> {
        let deadline = Instant::now() + time;
        while self.take_one(deadline)? {}
        Ok(())
    }

    /// Takes in the next event, if one comes soon; `false` after the deadline.
    fn take_one(&mut self, deadline: Instant) -> Result<bool, TortureError> {
        let left = deadline.saturating_duration_since(Instant::now());
        // At the deadline no further event is taken, so that a pause ends however much is told.
        if left.is_zero() {
            return Ok(false);
        }
        let event = self.events.recv_timeout(left.min(SIGNAL_TICK));
        // First of all: a signal from a terminal ends the children, too.
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(TortureError::Interrupted);
        }
        match event {
            Ok(Event { child, line: Some(line) }) => self.take_line(child, &line)?,
            Ok(Event { child, line: None }) => self.take_end(child)?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        Ok(true)
    }

    fn take_line(&mut self, id: u32, line: &str) -> Result<(), TortureError> {
        let Some(member) = self.members.get_mut(&id) else { return Ok(()) };
        let role = member.role;
        let problem = |source| TortureError::Report { role, source };
        if role == Role::Server {
            let said = ready::addresses(line).ok_or_else(|| NotAReport(line.to_owned()));
            said.map_err(problem)?;
            self.is_ready = true;
            return Ok(());
        }
        let key = |number| Key { publisher: id, number };
        match line.parse().map_err(problem)? {
            Report::Sent(number) => self.ledger.sent(key(number)),
            Report::Posted { number, posted } => self.jobs.posted(key(number), posted),
            Report::Ok(number) => match role {
                Role::JobPublisher(_) => self.jobs.ok(key(number)),
                _ => self.ledger.ok(key(number), self.round),
            },
            Report::Refused { number, reason } => {
                match role {
                    Role::JobPublisher(_) => self.jobs.refused(key(number)),
                    _ => self.ledger.refused(key(number)),
                }
                if self.refusals.len() < REASONS_MAX {
                    self.refusals.push(format!("message {} was refused: {reason}", key(number)));
                }
            }
            Report::Delivered { key, acknowledged } => {
                self.ledger.delivered(key);
                self.acknowledged.insert(id, acknowledged);
            }
            Report::Job { key, attempt, at_ms } => {
                member.holds += 1;
                self.jobs.delivered(key, group(role), attempt, at_ms, member.began_ms);
            }
            Report::Done { key, at_ms } => self.jobs.done(key, group(role), at_ms),
            Report::Taken { key, at_ms } => {
                member.holds = member.holds.saturating_sub(1);
                self.jobs.taken(key, group(role), at_ms);
            }
            Report::Left(_) => member.holds = member.holds.saturating_sub(1),
            Report::Damaged(_) => match role {
                Role::Worker(_) => self.jobs.damaged(),
                _ => self.ledger.damaged(),
            },
            Report::Acknowledged(count) => {
                self.acknowledged.insert(id, count);
            }
        }
        Ok(())
    }

    fn take_end(&mut self, id: u32) -> Result<(), TortureError> {
        let Some(mut member) = self.members.remove(&id) else { return Ok(()) };
        let status = member.child.wait()?;
        let role = member.role;
        self.held = member.holds;
        match (member.end, status.code()) {
            (End::Killed, None) | (End::Told, Some(0)) => Ok(()),
            (End::Told, _) => Err(TortureError::EndedBadly { role, status }),
            // Also when it had ended before it was killed.
            (End::Never | End::Killed, _) => Err(TortureError::Died { role, status }),
        }
    }

    /// Acknowledgements that the server took, as far as the subscribers lived to tell.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.acknowledged.values().sum()
    }
}

/// The group that a worker works for.
fn group(role: Role) -> usize {
    match role {
        Role::Worker(at) => at as usize % GROUPS,
        _ => 0,
    }
}
