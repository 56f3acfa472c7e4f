//! A worker: a member of a durable group, which holds some jobs at a time and says of each what follows from its key.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mezzenger::{Client, Delivery, Failure, Filter, ReceiveError};
use mezzenger_torture::content::{self, Key};
use mezzenger_torture::jobs::{self, ALL, Word};
use mezzenger_torture::report::Report;

use crate::args::WorkArgs;
use crate::client;

/// Jobs that are held before something is said of them, unless no further one comes.
const HELD: usize = 16;

/// How long a further one is waited for.
const PAUSE: Duration = Duration::from_millis(2);

/// How long a job waits that is refused.
const NAK_DELAY: Duration = Duration::from_millis(10);

/// A job that is held.
type Job = (Key, Delivery);

/// Works until stdin ends.
pub(crate) fn work(args: WorkArgs) -> Result<(), Box<dyn Error>> {
    let ended = client::told_to_end()?;
    while !ended.load(Ordering::Relaxed) {
        Session::run(&args, &ended)?;
    }
    Ok(())
}

/// A client, until it cannot tell any more which of its acknowledgements were taken.
struct Session {
    client: Client,
    /// The server refused something that was said of a job.
    is_refused: Arc<AtomicBool>,
}

/// Acknowledgements without an answer.
struct Waiting {
    keys: Vec<Key>,
    /// What the client counted before.
    acknowledged: u64,
    dropped: u64,
}

impl Session {
    fn run(args: &WorkArgs, ended: &AtomicBool) -> Result<(), Box<dyn Error>> {
        let group = ALL.get(args.group).ok_or("there is no such group")?;
        let is_refused = Arc::<AtomicBool>::default();
        let refused = Arc::clone(&is_refused);
        let builder = args.client.builder().on_error(move |failure| {
            refused.fetch_or(matches!(failure, Failure::Refused { .. }), Ordering::Relaxed);
        });
        let Some(client) = args.client.connect(&builder)? else { return Ok(()) };
        let filter = Filter::pattern(group.pattern);
        let mut arriving = client.subscription_to(filter).group(group.name).open()?;
        let session = Self { client, is_refused };
        let (mut held, mut waiting) = (Vec::new(), None);
        while !ended.load(Ordering::Relaxed) && !session.is_refused.load(Ordering::Relaxed) {
            let is_quiet = match arriving.recv_timeout(PAUSE) {
                Ok(delivery) => {
                    held.extend(take(delivery)?);
                    false
                }
                Err(ReceiveError::TimedOut) => true,
                Err(error) => return Err(error.into()),
            };
            if waiting.as_ref().is_none_or(|waiting| session.is_answered(waiting)) {
                session.tell(waiting.take())?;
                if is_quiet || held.len() >= HELD {
                    waiting = Some(session.speak(args.group, &mut held)?);
                }
            }
        }
        // What is not answered by now may have been taken, or not.
        let left = waiting.into_iter().flat_map(|waiting| waiting.keys);
        left.chain(held.iter().map(|(key, _)| *key))
            .try_for_each(|key| Report::Left(key).tell())?;
        drop((held, arriving));
        session.client.stop();
        Ok(())
    }

    /// Says of each job that is held what is to be said.
    fn speak(&self, group: usize, held: &mut Vec<Job>) -> io::Result<Waiting> {
        let mut done = Vec::new();
        for (key, delivery) in held.drain(..) {
            let word = jobs::word(key, group, delivery.attempt());
            match word {
                Word::Ack => Report::Done { key, at_ms: jobs::now_ms() },
                Word::Nak | Word::Reject | Word::Nothing => Report::Left(key),
            }
            .tell()?;
            match word {
                Word::Ack => done.push((key, delivery)),
                Word::Nak => delivery.nak(NAK_DELAY),
                Word::Reject => delivery.reject("no such job"),
                Word::Nothing => drop(delivery),
            }
        }
        let counters = self.client.counters();
        let give = |(key, delivery): Job| {
            delivery.ack();
            key
        };
        Ok(Waiting {
            keys: done.into_iter().map(give).collect(),
            acknowledged: counters.acknowledged,
            dropped: counters.acks_dropped,
        })
    }

    /// Whether all acknowledgements were answered, or are lost with their connection.
    fn is_answered(&self, waiting: &Waiting) -> bool {
        let counters = self.client.counters();
        let answered = counters.acknowledged - waiting.acknowledged;
        answered + (counters.acks_dropped - waiting.dropped) >= waiting.keys.len() as u64
    }

    /// Tells which acknowledgements were taken.
    fn tell(&self, waiting: Option<Waiting>) -> io::Result<()> {
        let Some(Waiting { keys, dropped, .. }) = waiting else { return Ok(()) };
        // Of some that are lost, nobody knows which.
        let is_ok = self.client.counters().acks_dropped == dropped;
        let at_ms = jobs::now_ms();
        keys.into_iter().try_for_each(|key| {
            if is_ok { Report::Taken { key, at_ms } } else { Report::Left(key) }.tell()
        })
    }
}

/// Tells that a job arrived, if it is one.
fn take(delivery: Delivery) -> io::Result<Option<Job>> {
    let payload = delivery.payload();
    let key = content::key(payload).filter(|key| jobs::name(*key) == delivery.name());
    let Some(key) = key else {
        Report::Damaged(payload.len()).tell()?;
        return Ok(None);
    };
    Report::Job { key, attempt: delivery.attempt(), at_ms: jobs::now_ms() }.tell()?;
    Ok(Some((key, delivery)))
}
