//! How soon what a killed worker held is with another one.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use loadgen::report::Environment;
use mezzenger::{Client, Delivery, Filter, GroupBuilder};
use serde::Serialize;

use crate::args::{HoldArgs, ServerArgs, WorkerDeathArgs};
use crate::error::MeasureError;
use crate::figures::{ms, quantile};
use crate::server::Server;

const GROUP: &str = "workers";
const NAME: &str = "jobs";

/// Bytes that a worker may have: of as many messages as one may hold, each not large.
const CREDIT_BYTES: u64 = 1 << 30;

/// How long a message that must come may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a message may be held: longer than any measure, so that none comes again by itself.
const ACK_WAIT: Duration = Duration::from_secs(3600);

/// What a worker says when it is a member, and when it holds all.
const READY: &str = "ready";
const HELD: &str = "held";

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    in_flight: u32,
    payload_bytes: usize,
    is_durable: bool,
    server_args: Vec<String>,
    /// From the kill to the last of the messages at the other worker, of each round.
    rounds_ms: Vec<f64>,
    median_ms: f64,
    max_ms: f64,
    environment: Environment,
}

/// A process that holds messages.
struct Holder {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Holder {
    /// Starts it, and waits until it is a member.
    fn start(port: u16, in_flight: u32) -> Result<Self, MeasureError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("hold").arg(format!("--port={port}")).arg(format!("--in-flight={in_flight}"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("it has no stdout"))?;
        let mut holder = Self { child, said: BufReader::new(stdout) };
        holder.says(READY, in_flight)?;
        Ok(holder)
    }

    fn says(&mut self, line: &str, wanted: u32) -> Result<(), MeasureError> {
        let mut said = String::new();
        self.said.read_line(&mut said)?;
        if said.trim_end() == line { Ok(()) } else { Err(MeasureError::NotHeld { wanted, said }) }
    }

    fn kill(&mut self) -> io::Result<()> {
        self.child.kill()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Both fail only when it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures all rounds.
pub(crate) fn run(server: &ServerArgs, args: &WorkerDeathArgs) -> Result<Outcome, MeasureError> {
    let running = Server::start(server)?;
    let publisher = running.client().connect()?;
    if args.durable {
        let group = publisher.groups().durable(GROUP, Filter::name(NAME));
        group.ack_wait(ACK_WAIT).create()?;
    }
    let rounds = (0..args.rounds).map(|_| round(&running, &publisher, args).map(ms));
    let rounds_ms = rounds.collect::<Result<Vec<_>, _>>()?;
    let mut sorted = rounds_ms.clone();
    Ok(Outcome {
        in_flight: args.in_flight,
        payload_bytes: args.payload,
        is_durable: args.durable,
        server_args: server.server_arg.clone(),
        median_ms: quantile(&mut sorted, 0.5),
        max_ms: quantile(&mut sorted, 1.0),
        rounds_ms,
        environment: Environment::here(),
    })
}

fn round(
    server: &Server,
    publisher: &Client,
    args: &WorkerDeathArgs,
) -> Result<Duration, MeasureError> {
    let mut holder = Holder::start(server.addr.port(), args.in_flight)?;
    for _ in 0..args.in_flight {
        publisher.message(NAME, vec![7; args.payload]).ack().publish()?;
    }
    publisher.flush()?;
    holder.says(HELD, args.in_flight)?;
    let survivor = server.client().connect()?;
    let mut jobs = group(&survivor).open()?;
    let (mut ids, mut held) = (HashSet::new(), Vec::new());
    let killed = Instant::now();
    holder.kill()?;
    while ids.len() < args.in_flight as usize {
        let job = jobs.recv_timeout(PATIENCE)?;
        if !ids.insert(job.id()) || job.attempt() != 2 {
            let (id, attempt) = (job.id(), job.attempt());
            return Err(MeasureError::Wrong(format!("message {id} came with attempt {attempt}")));
        }
        held.push(job);
    }
    let took = killed.elapsed();
    held.into_iter().for_each(Delivery::ack);
    // Sends the acknowledgements.
    survivor.stop();
    let left = publisher.groups().get(GROUP)?.map_or(0, |group| group.waiting + group.in_flight);
    match left {
        0 => Ok(took),
        left => {
            Err(MeasureError::Wrong(format!("{left} messages are left that were acknowledged")))
        }
    }
}

/// A member that is about to join. All say the same of the group.
fn group(client: &Client) -> GroupBuilder {
    let jobs = client.subscription_to(Filter::name(NAME)).group(GROUP);
    jobs.ack_wait(ACK_WAIT).credit(CREDIT_BYTES)
}

/// The worker that is killed.
pub(crate) fn hold(args: &HoldArgs) -> Result<(), MeasureError> {
    let client = Client::builder().port(args.port).connect()?;
    let mut jobs = group(&client).open()?;
    let say = |line: &str| writeln!(io::stdout(), "{line}");
    say(READY)?;
    let mut held = Vec::new();
    while held.len() < args.in_flight as usize {
        held.push(jobs.recv_timeout(PATIENCE)?);
    }
    say(HELD)?;
    // Until it is killed, or whoever started it is gone.
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
