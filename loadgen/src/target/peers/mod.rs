//! Other brokers as targets, each through its own well-kept client, used as a good user would; NATS also without one.
//!
//! Publishers are threads here as for every target, so that pacing is the same; the clients run on one
//! runtime. What a publisher hands over waits in a bounded queue of its client, in bytes as large as that
//! of our client, and its client writes all that has gathered at once.
//!
//! - `nats`: core NATS; `nats_raw`: the same without its client; `jetstream`: its streams.
//! - `redis`: publish and subscribe; `streams`: its streams; `pipelines`: how both of them publish.
//! - `beanstalkd`: its jobs, spoken by hand; `mqtt`: MQTT 3.1.1.
//! - `common`: what they share.

mod beanstalkd;
mod common;
mod jetstream;
mod mqtt;
mod nats;
mod nats_raw;
mod pipelines;
mod redis;
mod streams;

use std::time::Duration;

pub(crate) use common::{PeerError, Publish, Reading};
use loadgen::report::TargetInfo;
use tokio::runtime::{Builder, Runtime};

use super::common::Run;
use crate::address::{Address, Broker, Target};
use crate::args::Settings;
use crate::watcher::Watcher;
use common::{MakeEnds, Setup};

/// Threads of the runtime: server, publishers and subscribers share a small machine, and more threads
/// only take turns.
const WORKERS: usize = 2;

/// How long the clients may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(2);

/// Another broker as the target of a run.
pub(crate) struct Peer {
    broker: Box<dyn MakeEnds>,
    info: TargetInfo,
    /// Emptied when it ends.
    runtime: Option<Runtime>,
}

impl Peer {
    /// Connects to it, asks what it is, and makes what the run needs there.
    pub(super) fn connect(
        address: &Address,
        settings: &Settings,
        run: &Run,
    ) -> Result<Self, PeerError> {
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
        let setup = Setup {
            runtime: runtime.handle().clone(),
            host: address.host.clone(),
            port: address.port,
            run: run.clone(),
            ack: settings.acks() > 0.0,
            group: settings.group,
            requests: settings.request,
            subs: settings.subs.saturating_add(settings.faults.churn),
            message_bytes_max: settings.size.max,
            tls: settings.target.tls.clone(),
        };
        let broker: Box<dyn MakeEnds> = match address.broker {
            Broker::Nats => Box::new(nats::Nats::connect(setup)?),
            Broker::NatsRaw => Box::new(nats_raw::NatsRaw::connect(setup)?),
            Broker::JetStream(storage) => Box::new(jetstream::JetStream::connect(setup, storage)?),
            Broker::Redis => Box::new(redis::PubSub::connect(setup)?),
            Broker::RedisStreams => Box::new(streams::Streams::connect(setup)?),
            Broker::Beanstalkd => Box::new(beanstalkd::Beanstalkd::connect(setup)?),
            Broker::Mqtt(qos) => Box::new(mqtt::Mqtt::connect(setup, qos)?),
        };
        let info = TargetInfo {
            name: Target::Peer(address.clone()).name().to_owned(),
            version: broker.version(),
            durability: settings.target.durability.or(broker.durability()),
        };
        Ok(Self { broker, info, runtime: Some(runtime) })
    }

    pub(super) fn info(&self) -> &TargetInfo {
        &self.info
    }

    pub(super) fn publisher(&self) -> Result<Box<dyn Publish>, PeerError> {
        self.broker.publisher()
    }

    pub(super) fn subscriber(&self, watchers: Vec<Watcher>) -> Result<Reading, PeerError> {
        self.broker.subscriber(watchers)
    }

    pub(super) fn open_and_close(&self) -> Result<(), PeerError> {
        self.broker.open_and_close()
    }

    pub(super) fn settled(&self) -> Option<u64> {
        self.broker.settled()
    }

    pub(super) fn pending(&self) -> Result<Option<u64>, PeerError> {
        self.broker.pending()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.broker.clean_up();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(END_TIMEOUT);
        }
    }
}
