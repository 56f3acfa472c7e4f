//! MQTT 3.1.1 through rumqttc, a connection for each end. With QoS 1 a publish counts as taken when the
//! broker acknowledged it, and subscribers acknowledge what they receive; with QoS 0 it counts when it
//! was written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, NetworkOptions, Outgoing, Packet,
    QoS, SubscribeFilter,
};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::common::{
    ANSWER_TIMEOUT, Durability, Finished, MakeEnds, PeerError, Publish, Reading, Setup,
    show_by_name, wait,
};
use crate::address::Qos;
use crate::count::Count;
use crate::watcher::Watcher;

/// Publishes with QoS 1 of one publisher that are not acknowledged yet.
const PUBLISHES_MAX: u16 = 512;

/// Room that a packet needs besides its payload, generously.
const PACKET_BYTES: usize = 1024;

/// How often the end of a publisher looks whether the last message was taken.
const TICK: Duration = Duration::from_millis(1);

/// Where Mosquitto says what it is.
const VERSION_TOPIC: &str = "$SYS/broker/version";

pub(super) struct Mqtt {
    setup: Setup,
    qos: QoS,
    version: Option<String>,
    /// Numbers the clients.
    clients: AtomicU32,
}

impl Mqtt {
    pub(super) fn connect(setup: Setup, qos: Qos) -> Result<Self, PeerError> {
        let qos = match qos {
            Qos::AtMostOnce => QoS::AtMostOnce,
            Qos::AtLeastOnce => QoS::AtLeastOnce,
        };
        let mut mqtt = Self { setup, qos, version: None, clients: AtomicU32::new(0) };
        let (_, mut events) = mqtt.subscribed(vec![VERSION_TOPIC.to_owned()])?;
        // Not every broker tells it.
        let version = mqtt.setup.ask("the version", async {
            loop {
                if let Event::Incoming(Packet::Publish(message)) = mqtt.poll(&mut events).await? {
                    return Ok(String::from_utf8_lossy(&message.payload).into_owned());
                }
            }
        });
        mqtt.version = version.ok();
        Ok(mqtt)
    }

    fn client(&self) -> (AsyncClient, EventLoop) {
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let id = format!("loadgen-{:08x}-{number}", self.setup.run.id);
        let mut options = MqttOptions::new(id, &self.setup.host, self.setup.port);
        let packet_bytes_max = self.setup.message_bytes_max + PACKET_BYTES;
        options.set_max_packet_size(packet_bytes_max, packet_bytes_max);
        options.set_inflight(PUBLISHES_MAX);
        let (client, mut events) = AsyncClient::new(options, self.setup.queue_messages());
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        (client, events)
    }

    async fn poll(&self, events: &mut EventLoop) -> Result<Event, PeerError> {
        events.poll().await.map_err(|error| self.setup.connect_error(error))
    }

    /// A client whose subscriptions are confirmed.
    fn subscribed(&self, topics: Vec<String>) -> Result<(AsyncClient, EventLoop), PeerError> {
        let (client, mut events) = self.client();
        let action = "a subscription";
        self.setup.ask(action, async {
            let filters = topics.into_iter().map(|topic| SubscribeFilter::new(topic, self.qos));
            client.subscribe_many(filters).await.map_err(PeerError::request(action))?;
            while !matches!(self.poll(&mut events).await?, Event::Incoming(Packet::SubAck(_))) {}
            Ok(())
        })?;
        Ok((client, events))
    }
}

impl MakeEnds for Mqtt {
    fn version(&self) -> Option<String> {
        self.version.clone()
    }

    fn durability(&self) -> Option<Durability> {
        None
    }

    fn publisher(&self) -> Result<Box<dyn Publish>, PeerError> {
        let (client, mut events) = self.client();
        self.setup.ask("the connection", async {
            while !matches!(self.poll(&mut events).await?, Event::Incoming(Packet::ConnAck(_))) {}
            Ok(())
        })?;
        let taken = Arc::default();
        let drive = drive(events, self.qos, Arc::clone(&taken));
        let notes = self.setup.notes();
        let driver = self.setup.runtime.spawn(async move {
            let error = drive.await;
            notes.failures.add(|| format!("mqtt: {error}"));
        });
        let (runtime, qos) = (self.setup.runtime.clone(), self.qos);
        let topics = Arc::clone(&self.setup.run.names);
        Ok(Box::new(Publisher { runtime, client, topics, qos, driver, taken, count: 0 }))
    }

    fn subscriber(&self, mut watchers: Vec<Watcher>) -> Result<Reading, PeerError> {
        let (client, mut events) = self.subscribed(self.setup.run.names.to_vec())?;
        let notes = self.setup.notes();
        let task = async move {
            // The event loop ends with its last client.
            let _client = client;
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::Publish(message))) => {
                        show_by_name(&mut watchers, &message.topic, &message.payload).await;
                    }
                    Ok(_) => {}
                    Err(error) => {
                        notes.failures.add(|| format!("mqtt: {error}"));
                        return;
                    }
                }
            }
        };
        Ok(Reading(vec![self.setup.runtime.spawn(task)]))
    }
}

/// Moves a publisher's messages, and counts those that were taken, until that fails.
async fn drive(mut events: EventLoop, qos: QoS, taken: Arc<Count>) -> ConnectionError {
    loop {
        match events.poll().await {
            Ok(Event::Outgoing(Outgoing::Publish(_))) if qos == QoS::AtMostOnce => taken.add(1),
            Ok(Event::Incoming(Packet::PubAck(_))) => taken.add(1),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

struct Publisher {
    runtime: Handle,
    client: AsyncClient,
    topics: Arc<[String]>,
    qos: QoS,
    driver: JoinHandle<()>,
    taken: Arc<Count>,
    count: u64,
}

impl Publish for Publisher {
    fn publish(&mut self, name: usize, payload: &[u8]) -> Result<(), PeerError> {
        let payload = Bytes::copy_from_slice(payload);
        let publish = self.client.publish_bytes(&self.topics[name], self.qos, false, payload);
        wait(&self.runtime, publish).map_err(|_| PeerError::Ended)?;
        self.count += 1;
        Ok(())
    }

    fn taken(&self) -> Arc<Count> {
        Arc::clone(&self.taken)
    }

    fn finish(self: Box<Self>) -> Finished {
        let mut last = (self.taken.get(), Instant::now());
        while last.0 < self.count && !self.driver.is_finished() {
            if last.1.elapsed() > ANSWER_TIMEOUT {
                break;
            }
            thread::sleep(TICK);
            if self.taken.get() != last.0 {
                last = (self.taken.get(), Instant::now());
            }
        }
        self.driver.abort();
        let refused = self.count - last.0;
        let failure = (refused > 0).then_some(PeerError::NoAnswer("a publish"));
        Finished { refused, failure }
    }
}
