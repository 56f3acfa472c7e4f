//! What poison messages cost the others of their group.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use loadgen::report::Environment;
use mezzenger::{Client, Delivery, Filter, ReceiveError, Subscription};
use serde::Serialize;

use crate::args::{PoisonArgs, ServerArgs};
use crate::error::MeasureError;
use crate::figures::{ms, quantile};
use crate::server::Server;

const GROUP: &str = "workers";
const NAME: &str = "jobs";

/// Bytes of a message: its number, when it was due, and nothing else.
const PAYLOAD_BYTES: usize = 128;

/// How long a message that must come may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// How soon a worker notices that it is to end, and between two questions for dead letters.
const TICK: Duration = Duration::from_millis(10);

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    rate: u32,
    one_in: u32,
    attempts: u16,
    workers: u32,
    phase_s: f64,
    server_args: Vec<String>,
    rounds: Vec<Round>,
    /// The median of what each round's p99 with poison is of the one without.
    p99_ratio: f64,
    dead_letters: u64,
    environment: Environment,
}

/// Two phases: times from when a message was due until a worker had it, of those that are no poison.
#[derive(Debug, Default, Serialize)]
struct Round {
    p50_ms: f64,
    p99_ms: f64,
    with_poison_p50_ms: f64,
    with_poison_p99_ms: f64,
}

/// A delivery to a worker.
struct Got {
    number: u64,
    attempt: u16,
    late: Duration,
}

/// Messages, from one number to the next.
struct Phase {
    begin: u64,
    end: u64,
    /// One in so many is poison, if any is.
    one_in: Option<u64>,
}

impl Phase {
    fn is_poison(&self, number: u64) -> bool {
        self.one_in.is_some_and(|one_in| (number - self.begin) % one_in == one_in / 2)
    }
}

/// The first byte of the payload of poison.
const POISON: u8 = 1;

fn payload(number: u64, due: Duration, is_poison: bool) -> Vec<u8> {
    let mut payload = vec![if is_poison { POISON } else { 0 }];
    payload.extend(number.to_le_bytes());
    payload.extend((due.as_nanos() as u64).to_le_bytes());
    payload.resize(PAYLOAD_BYTES, 0);
    payload
}

/// The number of a message, and when it was due.
fn read(payload: &[u8]) -> Option<(u64, Duration)> {
    let (number, rest) = payload.get(1..)?.split_first_chunk()?;
    let due_ns = rest.first_chunk()?;
    Some((u64::from_le_bytes(*number), Duration::from_nanos(u64::from_le_bytes(*due_ns))))
}

/// Measures all rounds.
pub(crate) fn run(server: &ServerArgs, args: &PoisonArgs) -> Result<Outcome, MeasureError> {
    let running = Server::start(server)?;
    let ended = Arc::<AtomicBool>::default();
    let began = Instant::now();
    let (sender, got) = channel();
    let mut workers = Vec::new();
    for _ in 0..args.workers {
        let client = running.client().connect()?;
        let group = client.subscription_to(Filter::name(NAME)).group(GROUP);
        let jobs = group.attempts_max(args.attempts).open()?;
        let (sender, ended) = (sender.clone(), Arc::clone(&ended));
        workers.push(thread::spawn(move || work(&client, jobs, began, &sender, &ended)));
    }
    let publisher = running.client().connect()?;
    let mut measure = Measure { args, publisher, got, began, next: 0, letters: 0 };
    let mut rounds = Vec::new();
    for number in 0..args.rounds {
        let mut round = Round::default();
        // In turns: A B B A.
        for with_poison in if number % 2 == 0 { [false, true] } else { [true, false] } {
            let [p50, p99] = measure.phase(with_poison)?;
            match with_poison {
                false => (round.p50_ms, round.p99_ms) = (p50, p99),
                true => (round.with_poison_p50_ms, round.with_poison_p99_ms) = (p50, p99),
            }
        }
        rounds.push(round);
    }
    ended.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().map_err(|_| MeasureError::Wrong("a worker panicked".to_owned()))??;
    }
    let mut ratios: Vec<f64> =
        rounds.iter().map(|round| round.with_poison_p99_ms / round.p99_ms).collect();
    Ok(Outcome {
        rate: args.rate,
        one_in: args.one_in,
        attempts: args.attempts,
        workers: args.workers,
        phase_s: args.phase.as_secs_f64(),
        server_args: server.server_arg.clone(),
        p99_ratio: quantile(&mut ratios, 0.5),
        rounds,
        dead_letters: measure.letters,
        environment: Environment::here(),
    })
}

/// Acknowledges what is no poison, at once, and refuses what is.
fn work(
    client: &Client,
    mut jobs: Subscription,
    began: Instant,
    got: &Sender<Got>,
    ended: &AtomicBool,
) -> Result<(), MeasureError> {
    while !ended.load(Ordering::Relaxed) {
        let job = match jobs.recv_timeout(TICK) {
            Ok(job) => job,
            Err(ReceiveError::TimedOut) => continue,
            Err(error) => return Err(error.into()),
        };
        let now = began.elapsed();
        let Some((number, due)) = read(job.payload()) else { continue };
        let late = now.saturating_sub(due);
        // Nobody is left to count when the measure has failed.
        let _ = got.send(Got { number, attempt: job.attempt(), late });
        match job.payload().first() {
            Some(&POISON) => Delivery::nak(job, Duration::ZERO),
            _ => job.ack(),
        }
    }
    client.stop();
    Ok(())
}

struct Measure<'a> {
    args: &'a PoisonArgs,
    publisher: Client,
    got: Receiver<Got>,
    began: Instant,
    /// The number of the next message.
    next: u64,
    /// Dead letters that there have to be by now.
    letters: u64,
}

impl Measure<'_> {
    /// Publishes a phase's messages on schedule, and waits until all are done or dead: the median and the 99th percentile of
    /// those that are no poison.
    fn phase(&mut self, with_poison: bool) -> Result<[f64; 2], MeasureError> {
        let args = self.args;
        let count = (f64::from(args.rate) * args.phase.as_secs_f64()) as u64;
        let one_in = with_poison.then_some(u64::from(args.one_in));
        let phase = Phase { begin: self.next, end: self.next + count, one_in };
        self.next = phase.end;
        let from = self.began.elapsed();
        for number in phase.begin..phase.end {
            let after = (number - phase.begin) as f64 / f64::from(args.rate);
            let due = from + Duration::from_secs_f64(after);
            thread::sleep(due.saturating_sub(self.began.elapsed()));
            let payload = payload(number, due, phase.is_poison(number));
            self.publisher.message(NAME, payload).ack().publish()?;
        }
        self.publisher.flush()?;
        let mut late_ms = self.deliveries(&phase)?;
        let poison = (phase.begin..phase.end).filter(|number| phase.is_poison(*number)).count();
        self.letters += poison as u64;
        self.wait_for_letters()?;
        Ok([0.5, 0.99].map(|part| quantile(&mut late_ms, part)))
    }

    /// Takes in all deliveries of a phase, each message exactly as often as it has to come.
    fn deliveries(&mut self, phase: &Phase) -> Result<Vec<f64>, MeasureError> {
        let times = |number| if phase.is_poison(number) { self.args.attempts } else { 1 };
        let mut due: u64 = (phase.begin..phase.end).map(|number| u64::from(times(number))).sum();
        let mut attempts: HashMap<u64, u16> = HashMap::new();
        let mut late_ms = Vec::new();
        while due > 0 {
            let Ok(got) = self.got.recv_timeout(PATIENCE) else {
                return Err(MeasureError::Wrong(format!("{due} deliveries did not come")));
            };
            let before = attempts.entry(got.number).or_default();
            *before += 1;
            let is_right = got.number >= phase.begin
                && got.number < phase.end
                && *before == got.attempt
                && *before <= times(got.number);
            if !is_right {
                let Got { number, attempt, .. } = got;
                let text =
                    format!("message {number} came for the {before}. time, as attempt {attempt}");
                return Err(MeasureError::Wrong(text));
            }
            if !phase.is_poison(got.number) {
                late_ms.push(ms(got.late));
            }
            due -= 1;
        }
        Ok(late_ms)
    }

    /// Waits until all poison is a dead letter, with exactly its attempts.
    fn wait_for_letters(&self) -> Result<(), MeasureError> {
        let letters = self.publisher.dead_letters(GROUP);
        let end = Instant::now() + PATIENCE;
        loop {
            let count = letters.count()?;
            if count == self.letters {
                break;
            }
            if count > self.letters || Instant::now() > end {
                let text = format!("there are {count} dead letters, and not {}", self.letters);
                return Err(MeasureError::Wrong(text));
            }
            thread::sleep(TICK);
        }
        match letters.list(usize::MAX)?.iter().find(|it| it.attempts != self.args.attempts) {
            None => Ok(()),
            Some(it) => {
                let text = format!("message {} died after {} attempts", it.id, it.attempts);
                Err(MeasureError::Wrong(text))
            }
        }
    }
}
