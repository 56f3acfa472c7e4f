//! Messages from publisher to subscriber and acknowledgements back, on one thread: the clients, the
//! broker and the journal as they are, over streams within the process, turn by turn.

use std::sync::Arc;

use mezzenger::Config;
use mezzenger::internals::DrivenServer;
use serde::{Deserialize, Serialize};

use crate::ends::{Ledger, NEVER, Publisher, Subscriber};
use crate::error::PipelineError;
use crate::flow::{Dialect, Flow, Keep};
use crate::payload::{self, Mark};
use crate::seed::{Seed, Sown};
use crate::side::{publisher_side, server_side, subscriber_side};
use crate::storage::CountingStorage;

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Messages published and delivered, each as it was, in order.
    pub messages: u64,
    /// Messages acknowledged and forgotten.
    pub settled: u64,
    /// Syncs of the journal.
    pub syncs: u64,
}

/// How a flow is run.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// The flow.
    pub flow: Flow,
    /// Rounds of it.
    pub rounds: usize,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// Whether the subscriber acknowledges; a bare connection that does not is in its place otherwise.
    pub acknowledges: bool,
    /// A regression put in on purpose.
    pub seed: Seed,
}

/// A server, its publishers and its subscriber.
pub struct Pipeline {
    run: Run,
    server: DrivenServer,
    publishers: Vec<Publisher>,
    subscriber: Subscriber,
    ledger: Arc<Ledger>,
    storage: CountingStorage,
    sown: Sown,
    texts: Vec<String>,
    /// Messages of each publisher so far.
    published: u64,
}

impl Pipeline {
    /// Starts everything.
    ///
    /// # Errors
    /// When the engine does not start.
    pub fn new(run: Run) -> Result<Self, PipelineError> {
        let Run { flow, payload_bytes, seed, .. } = run;
        let config = Config {
            persist_file: (flow.keep == Keep::Journal).then(|| "journal".into()),
            retry_interval: NEVER,
            ..Config::default()
        };
        let storage = CountingStorage::new(seed == Seed::Sync);
        let mut server = DrivenServer::new(&config, Arc::new(storage.clone()))?;
        let ledger = Arc::new(Ledger::new(flow.publishers));
        let subscriber = if flow.to == Dialect::Native && run.acknowledges {
            Subscriber::client(&mut server, flow.verify, payload_bytes, &ledger)?
        } else {
            Subscriber::raw(&mut server, flow.to, payload_bytes)?
        };
        let publishers = (0..flow.publishers)
            .map(|_| match (flow.from, flow.to) {
                (Dialect::Native, Dialect::Native) => Publisher::client(&mut server),
                (from, _) => Publisher::raw(&mut server, from),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            run,
            server,
            publishers,
            subscriber,
            ledger,
            storage,
            sown: Sown::new(seed, payload_bytes),
            texts: vec![String::new(); flow.messages],
            published: 0,
        })
    }

    /// Every publisher publishes a burst: its first messages leave at once, the others gather until these
    /// are answered. All is delivered, acknowledged and answered.
    ///
    /// # Errors
    /// When the engine fails.
    pub fn round(&mut self) -> Result<(), PipelineError> {
        let ack = self.run.flow.keep != Keep::Nothing;
        let first = self.published;
        for (at, publisher) in self.publishers.iter_mut().enumerate() {
            for (number, text) in (first..).zip(&mut self.texts) {
                payload::write(text, Mark { publisher: at, number }, self.run.payload_bytes);
            }
            publisher_side(|| publisher.publish(&self.texts, first, ack))?;
            hear(publisher);
            server_side(|| {
                for text in &self.texts {
                    self.sown.message(text.as_bytes());
                }
                self.server.turn_broker()
            })?;
        }
        self.published += self.texts.len() as u64;
        self.commit()?;
        for publisher in &mut self.publishers {
            hear(publisher);
            server_side(|| self.server.turn_broker())?;
        }
        self.commit()?;
        self.publishers.iter_mut().for_each(hear);
        self.receive()?;
        // A stream takes a part of what is large: the rest leaves as the server reads.
        let all = self.published * self.publishers.len() as u64;
        while self.publishers.iter().map(Publisher::taken).sum::<u64>() < all {
            for publisher in &mut self.publishers {
                publisher_side(|| publisher.hear());
            }
            server_side(|| self.server.turn_broker())?;
            self.commit()?;
            self.receive()?;
        }
        if ack {
            // The acknowledgements: some leave at once, the others when these are answered. That they were
            // written is not waited for.
            loop {
                server_side(|| {
                    self.server.turn_broker().and_then(|()| self.server.turn_journal())
                })?;
                if !self.receive()? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The subscriber takes all that is there for it; whether there was anything. A stream holds a part of
    /// a large frame, and the server writes the next part when that was taken.
    fn receive(&mut self) -> Result<bool, PipelineError> {
        let mut any = false;
        while self.subscriber.has_input() {
            any = true;
            subscriber_side(|| self.subscriber.receive(&self.ledger));
            server_side(|| self.server.turn_broker())?;
        }
        Ok(any)
    }

    /// What queued up for the journal is written at once, and answered.
    fn commit(&mut self) -> Result<(), PipelineError> {
        if self.run.flow.keep == Keep::Journal {
            server_side(|| self.server.turn_journal().and_then(|()| self.server.turn_broker()))?;
        }
        Ok(())
    }

    /// Rounds that the run has.
    pub fn rounds(&self) -> usize {
        self.run.rounds
    }

    /// Runs all rounds, and checks that every message arrived as it was published.
    ///
    /// # Errors
    /// When the engine fails, or its answer is wrong.
    pub fn run(mut self) -> Result<Done, PipelineError> {
        for _ in 0..self.run.rounds {
            self.round()?;
        }
        self.done()
    }

    /// Checks what was done so far.
    ///
    /// # Errors
    /// [`PipelineError::Wrong`].
    pub fn done(&self) -> Result<Done, PipelineError> {
        let metrics = self.server.metrics();
        let taken: u64 = self.publishers.iter().map(Publisher::taken).sum();
        let published = self.published * self.publishers.len() as u64;
        let expected = (published, published, published, 0, 0);
        let found =
            (taken, metrics.accepted, self.ledger.right(), self.ledger.wrong(), metrics.refused);
        if found != expected {
            return Err(PipelineError::Wrong(format!(
                "taken, accepted, right, wrong, refused are {found:?} and should be {expected:?}"
            )));
        }
        let kept = if self.run.flow.keep == Keep::Nothing { 0 } else { published };
        let (settled, pending) = if self.run.acknowledges { (kept, 0) } else { (0, kept) };
        if (metrics.settled, metrics.pending_messages, metrics.resent) != (settled, pending, 0) {
            return Err(PipelineError::Wrong(format!(
                "{settled} should be settled and {pending} pending: {metrics:?}"
            )));
        }
        Ok(Done { messages: published, settled: metrics.settled, syncs: self.storage.syncs() })
    }
}

/// A publisher takes the answers that are there, and sends what waited for them.
fn hear(publisher: &mut Publisher) {
    while publisher.has_input() {
        publisher_side(|| publisher.hear());
    }
}
