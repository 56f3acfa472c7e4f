//! One run: server, subscribers, publishers, the measured time between two snapshots, the drain.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use loadgen::report::{Churned, Idle, Step, TargetInfo, process};

use crate::address::Target;
use crate::args::Settings;
use crate::child::{ChildError, ChildServer, ServerCounts};
use crate::churn::Churner;
use crate::clock::{self, Clock};
use crate::content::Content;
use crate::count::Count;
use crate::drain::{self, DrainError};
use crate::idle::IdleConnections;
use crate::keys::{Keys, KeysError};
use crate::kills::Kills;
use crate::measured::Measured;
use crate::notes::Notes;
use crate::progress::{Length, Progress};
use crate::publisher::{Plan, Publisher, Sent};
use crate::roll::Roll;
use crate::schedule::Schedule;
use crate::series::{Second, Series};
use crate::snapshot::{Counters, Snapshot};
use crate::subscriber::Subscriber;
use crate::target::{ConnectError, Ends, PublisherEnd, Run};
use crate::totals::Totals;
use crate::watcher::Expected;
use crate::window::Window;

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// The keys of the run could not be made.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The run's own server failed.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A client did not connect or subscribe, or the target did not answer.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The run's own server, or the target, failed while the last messages were waited for.
    #[error(transparent)]
    Drain(#[from] DrainError),
    /// A connection that was to do nothing was not made.
    #[error("--idle: {0}; check `ulimit -n` and the server's limit of connections")]
    Idle(io::Error),
    /// A thread could not be started.
    #[error("a client's thread could not be started: {0}; check the process limits")]
    Thread(io::Error),
    /// One of them panicked.
    #[error("a client's thread panicked; its message is above")]
    Panicked,
}

/// What happened.
pub(crate) struct Outcome {
    /// The beginning of the measured time.
    pub(crate) before: Snapshot,
    /// Its end.
    pub(crate) after: Snapshot,
    /// The seconds between them, when they were asked for.
    pub(crate) seconds: Vec<Second>,
    /// One for each publisher.
    pub(crate) sent: Vec<Sent>,
    /// What subscribers received, held against that.
    pub(crate) totals: Totals,
    /// All latencies.
    pub(crate) measured: Measured,
    /// The run's own server, at the end.
    pub(crate) server: Option<ServerCounts>,
    /// Messages of the run that wait for an acknowledgement at its end.
    pub(crate) unsettled: u64,
    /// What was put under load.
    pub(crate) target: TargetInfo,
    /// Most messages that subscribers had not received, where that was bounded.
    pub(crate) inflight: Option<u64>,
    /// What subscribers received that came and left.
    pub(crate) churned: Option<Churned>,
    /// Connections that did nothing.
    pub(crate) idle: Option<Idle>,
    /// How often the server was killed, where it was.
    pub(crate) kills: Option<u64>,
    /// The runs of a search, of which this is the best.
    pub(crate) steps: Vec<Step>,
    /// What failed on the clients' own threads.
    pub(crate) failures: Vec<String>,
    /// What went wrong there without harm.
    pub(crate) warnings: Vec<String>,
}

/// Runs what the settings say. With `wants_series` it also looks at each second.
pub(crate) fn run(settings: &Settings, wants_series: bool) -> Result<Outcome, RunError> {
    let keys = settings.target.curve.then(Keys::make).transpose()?.map(Arc::new);
    let mut child = start_child(settings, keys.as_deref())?;
    // A file may hold messages of earlier runs, whose names nobody subscribes to here.
    let left_over = match &mut child {
        Some(child) => child.counts()?.pending,
        None => 0,
    };
    let clock = Clock::start();
    let run = new_run(settings, keys);
    let ends = Arc::new(Ends::new(settings, &run, child.as_ref())?);
    let expected = expected(settings, run.id, clock);
    let idle = open_idle(settings, child.as_ref()).map_err(RunError::Idle)?;
    let subscribers = start_subscribers(settings, &ends, run.names.len(), expected)?;
    let publisher = |index| match settings.connections {
        true => Ok(PublisherEnd::of_connections(Arc::clone(&ends), index)),
        false => ends.publisher(index),
    };
    let publishers = (0..settings.pubs).map(publisher).collect::<Result<Vec<_>, _>>()?;
    let taken: Vec<_> = publishers.iter().map(PublisherEnd::taken).collect();
    let inflight = settings.inflight();
    let window = inflight.map(|limit| {
        let each = subscribers.iter().map(Subscriber::counts);
        // A group has received what its members have together.
        let received = if settings.group { vec![each.flatten().collect()] } else { each.collect() };
        Window::new(limit, settings.pubs, received)
    });
    let server_pid = settings.target.server_pid;
    let counters = Counters { ends: &ends, taken: &taken, subscribers: &subscribers, server_pid };
    // All of a count is measured: the first may have arrived before all threads have started.
    let begin = settings.count.map(|_| counters.snapshot(child.as_mut())).transpose()?;
    let plan = Arc::new(plan(settings, expected, window));
    let latency = || plan.round_trips().map_or_else(|| counters.latency(), |of| of.latency);
    let threads = start_publishers(publishers, &plan)?;
    let churners = start_churners(settings, &ends, &plan, expected)?;

    let length = match settings.count {
        Some(count) => Length::Count(count),
        None => Length::Time { begin_ns: plan.begin_ns, end_ns: plan.end_ns },
    };
    let progress = Progress::new(clock, length);
    let mut kills = settings
        .faults
        .kill_server_every
        .map(|every| Kills::new(every, settings.seed, plan.begin_ns));
    let counts = || (counters.published(), counters.delivered());
    let mut goes_on = |child: Option<&mut ChildServer>| {
        if let Some(child) = child {
            child.check()?;
            if let Some(kills) = kills.as_mut().filter(|kills| clock.now_ns() >= kills.next_ns()) {
                kills.kill(child)?;
            }
        }
        // They end early when the server is away, or when they have sent all.
        Ok::<_, ChildError>(threads.iter().any(|thread| !thread.is_finished()))
    };
    progress.wait("warm-up", plan.measure_from_ns, counts, || goes_on(child.as_mut()))?;
    let mut before = begin.map_or_else(|| counters.snapshot(child.as_mut()), Ok)?;
    if settings.faults.kill_server_every.is_some() {
        // A server that was killed counts from 0 again.
        (before.server, before.settled) = (None, None);
    }
    let mut series = wants_series.then(|| Series::new(before, latency()));
    progress.wait("measuring", plan.end_ns, counts, || {
        if let Some(series) = series.as_mut().filter(|series| series.is_due()) {
            let now = counters.snapshot(child.as_mut())?;
            series.end_second(now, latency());
        }
        goes_on(child.as_mut())
    })?;
    let mut after = counters.snapshot(child.as_mut())?;
    if let Some(series) = &mut series {
        series.end_second(after, latency());
    }
    plan.stop.store(true, Ordering::Relaxed);

    progress.say("waiting for the last messages");
    let sent = join(threads)?;
    let churned = churners.map(join_churners).transpose()?;
    drain::deliveries(&sent, &subscribers, settings.copies(), settings.acks() > 0.0);
    if settings.count.is_some() {
        after = counters.snapshot(child.as_mut())?;
        if let Some(series) = &mut series {
            series.end_second(after, latency());
        }
    }
    let idle = idle.map(IdleConnections::finish).transpose().map_err(RunError::Idle)?;
    let unsettled = drain::acknowledgements(&ends, child.as_mut(), left_over)?;
    let server = child.as_mut().map(ChildServer::counts).transpose()?;
    let target = ends.info().clone();
    let received: Vec<_> = subscribers.into_iter().map(Subscriber::finish).collect();
    drop(ends);
    let measured = plan.round_trips().unwrap_or_else(|| {
        let mut all = Measured::new();
        received.iter().for_each(|subscriber| all.add(&subscriber.measured));
        all
    });
    let (failures, warnings) = (run.notes.failures.all(), run.notes.warnings.all());
    Ok(Outcome {
        before,
        after,
        seconds: series.map(Series::finish).unwrap_or_default(),
        totals: Totals::new(&sent, &received, settings.group),
        sent,
        measured,
        server,
        unsettled,
        target,
        inflight,
        churned,
        idle,
        kills: kills.map(|kills| kills.count()),
        steps: Vec::new(),
        failures,
        warnings,
    })
}

/// The number and the names of a run follow from its seed.
fn new_run(settings: &Settings, keys: Option<Arc<Keys>>) -> Run {
    let id = fastrand::Rng::with_seed(settings.seed).u32(..);
    let names = (0..settings.names).map(|at| format!("loadgen.{id:08x}.{at}")).collect();
    Run { id, names, notes: Notes::default(), keys }
}

fn expected(settings: &Settings, run: u32, clock: Clock) -> Expected {
    let Settings { seed, size, .. } = *settings;
    Expected {
        run,
        content: Content { seed, size, ack_ratio: settings.acks() },
        publishers: settings.pubs,
        is_open_loop: settings.rate.is_some(),
        clock,
        consumer_latency: None,
        is_tracked: false,
    }
}

/// The plan of publishers that begin now.
fn plan(settings: &Settings, expected: Expected, window: Option<Window>) -> Plan {
    let Expected { run, content, publishers, clock, .. } = expected;
    let names: usize = settings.names.into();
    let (ramp_ns, warmup_ns) = (clock::ns(settings.ramp), clock::ns(settings.warmup));
    let begin_ns = clock.now_ns();
    // All messages of a count are measured.
    let (measure_from_ns, end_ns) = match settings.count {
        Some(_) => (begin_ns, u64::MAX),
        None => {
            let measure_from_ns = begin_ns + ramp_ns + warmup_ns;
            (measure_from_ns, measure_from_ns + clock::ns(settings.duration))
        }
    };
    Plan {
        run,
        names,
        content,
        publishers,
        schedule: settings.rate.map(|rate| Schedule { rate, ramp_ns, publishers }),
        count: settings.count,
        begun: (0..publishers).map(|_| (0..names).map(|_| Count::default()).collect()).collect(),
        round_trips: (settings.request || settings.connections)
            .then(|| Mutex::new(Measured::new())),
        window,
        clock,
        begin_ns,
        measure_from_ns,
        end_ns,
        stop: AtomicBool::new(false),
    }
}

/// The process that the run brings itself, if it does.
fn start_child(
    settings: &Settings,
    keys: Option<&Keys>,
) -> Result<Option<ChildServer>, ChildError> {
    match (&settings.target.target, &settings.target.server) {
        (Target::Mezzenger, None) => ChildServer::start(&settings.target.own, keys).map(Some),
        (Target::Relay, _) => ChildServer::start_bare("relay", keys).map(Some),
        (Target::ZmqForwarder | Target::Libzmq, _) => {
            ChildServer::start_bare("forward", keys).map(Some)
        }
        (Target::Mezzenger | Target::Peer(_), _) => Ok(None),
    }
}

/// Opens the connections that do nothing.
fn open_idle(
    settings: &Settings,
    child: Option<&ChildServer>,
) -> io::Result<Option<IdleConnections>> {
    if settings.idle == 0 {
        return Ok(None);
    }
    let on = &settings.target;
    let place = match (&on.target, child) {
        (Target::Peer(address), _) => (address.host.clone(), address.port),
        (_, Some(child)) => (child.recv_addr().ip().to_string(), child.recv_addr().port()),
        (_, None) => (on.server.clone().unwrap_or_default(), on.port),
    };
    let rss_kb = || {
        let usage = match child {
            Some(child) => child.usage().ok(),
            None => process::usage(on.server_pid?).ok(),
        };
        usage.map(|usage| usage.rss_kb)
    };
    IdleConnections::open(settings.idle, &on.target, (&place.0, place.1), rss_kb).map(Some)
}

/// Starts those who stay; the last of them are the slow ones.
fn start_subscribers(
    settings: &Settings,
    ends: &Ends,
    names: usize,
    expected: Expected,
) -> Result<Vec<Subscriber>, ConnectError> {
    let group = settings.group.then(Arc::<Roll>::default);
    let start = |index| {
        let is_slow = index >= settings.subs - settings.faults.slow_subs;
        let consumer_latency = settings.faults.consumer_latency.filter(|_| is_slow);
        let expected = Expected { consumer_latency, ..expected };
        Subscriber::start(ends, index, names, expected, group.as_ref())
    };
    (0..settings.subscribers()).map(start).collect()
}

fn start_publishers(
    ends: Vec<PublisherEnd>,
    plan: &Arc<Plan>,
) -> Result<Vec<JoinHandle<Sent>>, RunError> {
    let start = |(index, end): (u16, PublisherEnd)| {
        let publisher = Publisher::new(end, Arc::clone(plan), index);
        thread::Builder::new().name(format!("publisher {index}")).spawn(|| publisher.run())
    };
    (0..).zip(ends).map(start).collect::<Result<_, _>>().map_err(RunError::Thread)
}

fn join(threads: Vec<JoinHandle<Sent>>) -> Result<Vec<Sent>, RunError> {
    let join = |thread: JoinHandle<_>| thread.join().map_err(|_| RunError::Panicked);
    threads.into_iter().map(join).collect()
}

type ChurnerThread = JoinHandle<Result<Churned, ConnectError>>;

/// Starts those who come and leave; they count on from the subscribers that stay.
fn start_churners(
    settings: &Settings,
    ends: &Arc<Ends>,
    plan: &Arc<Plan>,
    expected: Expected,
) -> Result<Option<Vec<ChurnerThread>>, RunError> {
    let start = |at: u16| {
        let index = settings.subs.saturating_add(at);
        let churner = Churner {
            ends: Arc::clone(ends),
            index,
            plan: Arc::clone(plan),
            expected: Expected { is_tracked: true, ..expected },
            random: fastrand::Rng::with_seed(settings.seed ^ u64::from(index)),
        };
        thread::Builder::new().name(format!("churner {at}")).spawn(|| churner.run())
    };
    let threads = (0..settings.faults.churn).map(start).collect::<Result<Vec<_>, _>>();
    let threads = threads.map_err(RunError::Thread)?;
    Ok((!threads.is_empty()).then_some(threads))
}

fn join_churners(threads: Vec<ChurnerThread>) -> Result<Churned, RunError> {
    let mut churned = Churned::default();
    for thread in threads {
        churned += thread.join().map_err(|_| RunError::Panicked)??;
    }
    Ok(churned)
}
