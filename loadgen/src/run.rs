//! One run: server, subscribers, publishers, the measured time between two snapshots, the drain.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::args::Settings;
use crate::child::{ChildError, ChildServer, ServerCounts};
use crate::clock::{self, Clock};
use crate::notes::Notes;
use crate::progress::Progress;
use crate::publisher::{Plan, Publisher, Sent};
use crate::snapshot::{self, Snapshot};
use crate::subscriber::{Received, Subscriber};
use crate::target::{ConnectError, Ends, PublisherEnd, Run, Target, TargetInfo};
use crate::watcher::Expected;
use crate::window::Window;

/// A drain in which nothing happens for so long is over.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// The same for messages that ask for acknowledgement: when one, or its acknowledgement, is lost, the
/// server delivers again after its retry interval, 10 s.
const UNSETTLED_MAX: Duration = Duration::from_secs(15);

/// How often a drain looks whether it is complete.
const DRAIN_TICK: Duration = Duration::from_millis(5);

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The run's own server failed.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A client did not connect or subscribe, or the target did not answer.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A thread could not be started.
    #[error("a publisher's thread could not be started: {0}; check the process limits")]
    Thread(io::Error),
    /// A publisher panicked.
    #[error("a publisher panicked; its message is above")]
    PublisherPanicked,
}

/// What happened.
pub(crate) struct Outcome {
    /// The beginning of the measured time.
    pub(crate) before: Snapshot,
    /// Its end.
    pub(crate) after: Snapshot,
    /// One for each publisher.
    pub(crate) sent: Vec<Sent>,
    /// One for each subscriber.
    pub(crate) received: Vec<Received>,
    /// The run's own server, at the end.
    pub(crate) server: Option<ServerCounts>,
    /// Messages of the run that wait for an acknowledgement at its end.
    pub(crate) unsettled: u64,
    /// What was put under load.
    pub(crate) target: TargetInfo,
    /// Most messages that subscribers had not received, where that was bounded.
    pub(crate) inflight: Option<u64>,
    /// What failed on the clients' own threads.
    pub(crate) failures: Vec<String>,
    /// What went wrong there without harm.
    pub(crate) warnings: Vec<String>,
}

/// Runs what the settings say.
pub(crate) fn run(settings: &Settings) -> Result<Outcome, RunError> {
    let mut child = match (&settings.target.target, &settings.target.server) {
        (Target::Mezzenger, None) => Some(ChildServer::start(&settings.target.own)?),
        (Target::ZmqForwarder, _) => Some(ChildServer::start_forwarder()?),
        (Target::Mezzenger | Target::Peer(_), _) => None,
    };
    // A file may hold messages of earlier runs, whose names nobody subscribes to here.
    let left_over = match &mut child {
        Some(child) => child.counts()?.pending,
        None => 0,
    };
    let id = fastrand::u32(..);
    let names = (0..settings.names).map(|at| format!("loadgen.{id:08x}.{at}")).collect();
    let run = Run { id, names, notes: Notes::default() };
    let ends = Ends::new(settings, &run, child.as_ref())?;
    let clock = Clock::start();
    let expected = Expected {
        run: id,
        size: settings.size.0,
        publishers: settings.pubs,
        is_open_loop: settings.rate.is_some(),
        clock,
    };
    let subscribers = (0..settings.subs)
        .map(|index| Subscriber::start(&ends, index, run.names.len(), expected))
        .collect::<Result<Vec<_>, _>>()?;
    let publishers =
        (0..settings.pubs).map(|index| ends.publisher(index)).collect::<Result<Vec<_>, _>>()?;
    let taken: Vec<_> = publishers.iter().map(PublisherEnd::taken).collect();

    let inflight = settings.inflight.or(settings.target.target.inflight(settings.size.0));
    let received = || subscribers.iter().map(Subscriber::counts).collect();
    let begin_ns = clock.now_ns();
    let measure_from_ns = begin_ns + clock::ns(settings.warmup);
    let end_ns = measure_from_ns + clock::ns(settings.duration);
    let plan = Arc::new(Plan {
        run: id,
        names: run.names.len(),
        size: settings.size.0,
        ack: settings.ack,
        publishers: settings.pubs,
        rate: settings.rate,
        window: inflight.map(|limit| Window::new(limit, settings.pubs, received())),
        clock,
        begin_ns,
        measure_from_ns,
        end_ns,
        stop: AtomicBool::new(false),
    });
    let threads = start(publishers, &plan)?;

    let progress = Progress::new(clock, begin_ns, end_ns);
    let counts = || (snapshot::published(&taken), snapshot::delivered(&subscribers));
    let goes_on = |child: Option<&mut ChildServer>| {
        child.map_or(Ok(()), ChildServer::check)?;
        // They end early when the server is away.
        Ok::<_, ChildError>(threads.iter().any(|thread| !thread.is_finished()))
    };
    progress.wait("warm-up", measure_from_ns, counts, || goes_on(child.as_mut()))?;
    let before = Snapshot::take(&ends, &taken, &subscribers, child.as_mut())?;
    progress.wait("measuring", end_ns, counts, || goes_on(child.as_mut()))?;
    let after = Snapshot::take(&ends, &taken, &subscribers, child.as_mut())?;
    plan.stop.store(true, Ordering::Relaxed);

    progress.say("waiting for the last messages");
    let sent = join(threads)?;
    drain(&sent, &subscribers, if settings.ack { UNSETTLED_MAX } else { QUIET_MAX });
    let unsettled = settle(&ends, child.as_mut(), left_over)?;
    let server = child.as_mut().map(ChildServer::counts).transpose()?;
    let target = ends.info().clone();
    let received = subscribers.into_iter().map(Subscriber::finish).collect();
    drop(ends);
    let (failures, warnings) = (run.notes.failures.all(), run.notes.warnings.all());
    let outcome = Outcome {
        before,
        after,
        sent,
        received,
        server,
        unsettled,
        target,
        inflight,
        failures,
        warnings,
    };
    Ok(outcome)
}

fn start(ends: Vec<PublisherEnd>, plan: &Arc<Plan>) -> Result<Vec<JoinHandle<Sent>>, RunError> {
    let start = |(index, end): (u16, PublisherEnd)| {
        let publisher = Publisher::new(end, Arc::clone(plan), index);
        thread::Builder::new().name(format!("publisher {index}")).spawn(|| publisher.run())
    };
    (0..).zip(ends).map(start).collect::<Result<_, _>>().map_err(RunError::Thread)
}

fn join(threads: Vec<JoinHandle<Sent>>) -> Result<Vec<Sent>, RunError> {
    let join = |thread: JoinHandle<_>| thread.join().map_err(|_| RunError::PublisherPanicked);
    threads.into_iter().map(join).collect()
}

/// Waits until every subscriber has every message, or nothing arrives any more.
fn drain(sent: &[Sent], subscribers: &[Subscriber], quiet_max: Duration) {
    let taken: u64 = sent.iter().map(Sent::taken).sum();
    let expected = taken * subscribers.len() as u64;
    let mut quiet = Quiet::new();
    loop {
        let delivered = snapshot::delivered(subscribers);
        if delivered >= expected || quiet.is_over(delivered, quiet_max) {
            return;
        }
        thread::sleep(DRAIN_TICK);
    }
}

/// Waits until every message of the run is acknowledged, or no acknowledgement arrives any more. How
/// many are left.
fn settle(
    ends: &Ends,
    mut child: Option<&mut ChildServer>,
    left_over: u64,
) -> Result<u64, RunError> {
    let mut quiet = Quiet::new();
    loop {
        let pending = match &mut child {
            Some(child) => child.counts()?.pending,
            None => ends.pending()?.unwrap_or(0),
        };
        let unsettled = pending.saturating_sub(left_over);
        if unsettled == 0 || quiet.is_over(unsettled, UNSETTLED_MAX) {
            return Ok(unsettled);
        }
        thread::sleep(DRAIN_TICK);
    }
}

/// Notices that a count stands still.
struct Quiet {
    count: u64,
    since: Instant,
}

impl Quiet {
    fn new() -> Self {
        Self { count: 0, since: Instant::now() }
    }

    fn is_over(&mut self, count: u64, after: Duration) -> bool {
        if count != self.count {
            *self = Self { count, since: Instant::now() };
        }
        self.since.elapsed() > after
    }
}
