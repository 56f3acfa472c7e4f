//! Redis publish and subscribe through the redis crate: publishes travel in pipelines, and each
//! subscriber has a connection of its own.

use std::collections::HashMap;

use futures_util::StreamExt;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline};

use super::common::{Durability, MakeEnds, PeerError, Publish, Reading, Setup, show_by_name};
use super::pipelines::Publisher;
use crate::watcher::Watcher;

pub(super) struct PubSub {
    setup: Setup,
    client: Client,
    version: Option<String>,
}

impl PubSub {
    pub(super) fn connect(setup: Setup) -> Result<Self, PeerError> {
        let client = client(&setup)?;
        let version = version(&setup, connection(&setup, &client)?)?;
        Ok(Self { setup, client, version })
    }
}

pub(super) fn client(setup: &Setup) -> Result<Client, PeerError> {
    let url = format!("redis://{}/", setup.address());
    Client::open(url).map_err(|error| setup.connect_error(error))
}

/// A connection whose commands may take their time.
pub(super) fn connection(
    setup: &Setup,
    client: &Client,
) -> Result<MultiplexedConnection, PeerError> {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    setup.ask("the connection", async {
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        connected.map_err(|error| setup.connect_error(error))
    })
}

/// What the server says of its version.
pub(super) fn version(
    setup: &Setup,
    mut connection: MultiplexedConnection,
) -> Result<Option<String>, PeerError> {
    let info: String = setup.ask("INFO", async {
        let info = redis::cmd("INFO").arg("server").query_async(&mut connection).await;
        info.map_err(PeerError::request("INFO"))
    })?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Ok(version.map(str::to_owned))
}

/// What the server does for the safety of its data; `None` when it does not say.
pub(super) fn durability(
    setup: &Setup,
    mut connection: MultiplexedConnection,
) -> Option<Durability> {
    let asked = setup.ask("CONFIG", async {
        let mut settings = redis::cmd("CONFIG");
        settings.arg("GET").arg("append*");
        settings.query_async(&mut connection).await.map_err(PeerError::request("CONFIG"))
    });
    let settings: HashMap<String, String> = asked.ok()?;
    let setting = |key: &str| settings.get(key).map(String::as_str);
    match (setting("appendonly")?, setting("appendfsync")?) {
        ("no", _) => Some(Durability::Memory),
        (_, "always") => Some(Durability::Fsync),
        _ => Some(Durability::PageCache),
    }
}

impl MakeEnds for PubSub {
    fn version(&self) -> Option<String> {
        self.version.clone()
    }

    fn durability(&self) -> Option<Durability> {
        Some(Durability::Memory)
    }

    fn publisher(&self) -> Result<Box<dyn Publish>, PeerError> {
        let connection = connection(&self.setup, &self.client)?;
        Ok(Box::new(Publisher::new(&self.setup, connection, encode)))
    }

    fn subscriber(&self, mut watchers: Vec<Watcher>) -> Result<Reading, PeerError> {
        let names = &self.setup.run.names;
        let action = "a subscription";
        let pubsub = self.setup.ask(action, async {
            let connected = self.client.get_async_pubsub().await;
            let mut pubsub = connected.map_err(|error| self.setup.connect_error(error))?;
            pubsub.subscribe(&names[..]).await.map_err(PeerError::request(action))?;
            Ok(pubsub)
        })?;
        let notes = self.setup.notes();
        let task = async move {
            let mut messages = pubsub.into_on_message();
            while let Some(message) = messages.next().await {
                let (name, payload) = (message.get_channel_name(), message.get_payload_bytes());
                show_by_name(&mut watchers, name, payload).await;
            }
            notes.failures.add(|| "redis disconnected a subscriber; its log says why".to_owned());
        };
        Ok(Reading(vec![self.setup.runtime.spawn(task)]))
    }
}

fn encode(pipeline: &mut Pipeline, name: &str, payload: &[u8]) {
    pipeline.cmd("PUBLISH").arg(name).arg(payload).ignore();
}
