//! One run: server, subscribers, publishers, the measured time between two snapshots, the drain.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mezzenger::{Client, SubscribeError};

use crate::args::Settings;
use crate::child::{ChildError, ChildServer, ServerCounts};
use crate::clients::{ClientError, Clients};
use crate::clock::{self, Clock};
use crate::progress::Progress;
use crate::publisher::{Plan, Publisher, Sent};
use crate::snapshot::{self, Snapshot};
use crate::subscriber::{Expected, Received, Subscriber};

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
    /// A client did not connect.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A subscriber did not subscribe.
    #[error("subscriber {index}: {source}")]
    Subscribe {
        /// Which.
        index: u16,
        /// Why.
        source: SubscribeError,
    },
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
    /// Messages that waited for an acknowledgement there before the run.
    pub(crate) left_over: u64,
    /// What failed on the clients' own threads.
    pub(crate) failures: Vec<String>,
    /// What went wrong there without harm.
    pub(crate) warnings: Vec<String>,
}

/// Runs what the settings say.
pub(crate) fn run(settings: &Settings) -> Result<Outcome, RunError> {
    let mut child = match settings.server {
        None => Some(ChildServer::start(settings.persist_file.as_deref())?),
        Some(_) => None,
    };
    // A file may hold messages of earlier runs, whose names nobody subscribes to here.
    let left_over = match &mut child {
        Some(child) => child.counts()?.pending,
        None => 0,
    };
    let clients = Clients::new(settings, child.as_ref());
    let run = fastrand::u32(..);
    let clock = Clock::start();
    let names: Vec<_> = (0..settings.names).map(|at| format!("loadgen.{run:08x}.{at}")).collect();
    let expected = Expected { run, size: settings.size, publishers: settings.pubs, clock };
    let subscribers = (0..settings.subs)
        .map(|index| {
            Subscriber::start(clients.subscriber(index)?, &names, expected)
                .map_err(|source| RunError::Subscribe { index, source })
        })
        .collect::<Result<Vec<_>, RunError>>()?;
    let publishers =
        (0..settings.pubs).map(|index| clients.publisher(index)).collect::<Result<Vec<_>, _>>()?;

    let begin_ns = clock.now_ns();
    let measure_from_ns = begin_ns + clock::ns(settings.warmup);
    let end_ns = measure_from_ns + clock::ns(settings.duration);
    let plan = Arc::new(Plan {
        run,
        names,
        size: settings.size,
        ack: settings.ack,
        publishers: settings.pubs,
        rate: settings.rate,
        clock,
        begin_ns,
        measure_from_ns,
        end_ns,
        stop: AtomicBool::new(false),
    });
    let threads = start(&publishers, &plan)?;

    let progress = Progress::new(clock, begin_ns, end_ns);
    let counts = || (snapshot::published(&publishers), snapshot::delivered(&subscribers));
    let goes_on = |child: Option<&mut ChildServer>| {
        child.map_or(Ok(()), ChildServer::check)?;
        // They end early when the server is away.
        Ok::<_, ChildError>(threads.iter().any(|thread| !thread.is_finished()))
    };
    progress.wait("warm-up", measure_from_ns, counts, || goes_on(child.as_mut()))?;
    let before = Snapshot::take(&publishers, &subscribers, child.as_mut())?;
    progress.wait("measuring", end_ns, counts, || goes_on(child.as_mut()))?;
    let after = Snapshot::take(&publishers, &subscribers, child.as_mut())?;
    plan.stop.store(true, Ordering::Relaxed);

    progress.say("waiting for the last messages");
    let sent = join(threads)?;
    drain(&sent, &subscribers, if settings.ack { UNSETTLED_MAX } else { QUIET_MAX });
    let server = match &mut child {
        Some(child) => Some(settle(child, left_over)?),
        None => None,
    };
    let received = subscribers.into_iter().map(Subscriber::finish).collect();
    let (failures, warnings) = (clients.failures(), clients.warnings());
    Ok(Outcome { before, after, sent, received, server, left_over, failures, warnings })
}

fn start(publishers: &[Client], plan: &Arc<Plan>) -> Result<Vec<JoinHandle<Sent>>, RunError> {
    let start = |(index, client): (u16, &Client)| {
        let publisher = Publisher::new(client.clone(), Arc::clone(plan), index);
        thread::Builder::new().name(format!("publisher {index}")).spawn(|| publisher.run())
    };
    (0..).zip(publishers).map(start).collect::<Result<_, _>>().map_err(RunError::Thread)
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

/// Waits until every message of the run is acknowledged, or no acknowledgement arrives any more.
fn settle(child: &mut ChildServer, left_over: u64) -> Result<ServerCounts, ChildError> {
    let mut quiet = Quiet::new();
    loop {
        let counts = child.counts()?;
        if counts.pending <= left_over || quiet.is_over(counts.settled, UNSETTLED_MAX) {
            return Ok(counts);
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
