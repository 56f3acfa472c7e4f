//! Addresses of targets, as `--target` names them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Target {
    /// A Mezzenger server.
    #[default]
    Mezzenger,
    /// The physical limit, for Mezzenger's clients.
    Relay,
    /// The bare forwarder over libzmq, for Mezzenger's clients.
    ZmqForwarder,
    /// The same, for libzmq's own sockets.
    Libzmq,
    /// Another broker.
    Peer(Address),
}

/// Where another broker listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) broker: Broker,
    /// A host name or IP address; IPv6 stands in brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Another broker, and what is used of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broker {
    /// Core NATS: publish and subscribe, at most once.
    Nats,
    /// The same, spoken by hand: what the server can do without its client's cost.
    NatsRaw,
    /// NATS `JetStream`: a stream that keeps messages until they are acknowledged.
    JetStream(Storage),
    /// Redis publish and subscribe, at most once.
    Redis,
    /// A Redis stream for each name, with a consumer group.
    RedisStreams,
    /// Beanstalkd: jobs that are reserved by one worker each, and deleted when they are done.
    Beanstalkd,
    /// MQTT 3.1.1.
    Mqtt(Qos),
}

/// Where `JetStream` keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In the server's memory.
    Memory,
    /// In files, which the server syncs every two minutes by default.
    File,
}

/// What MQTT promises for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qos {
    /// Nothing.
    AtMostOnce,
    /// It is sent again until it was acknowledged, hop by hop.
    AtLeastOnce,
}

/// Why a text names no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetError {
    /// The scheme is not known.
    #[error(
        "'{0}' is none of mezzenger, relay, zmq-forwarder, libzmq, nats://, nats+raw://, nats+js://, redis://, \
         redis+streams://, beanstalkd://, mqtt://"
    )]
    Unknown(String),
    /// There is no host, or no port.
    #[error("'{0}' lacks a host or a port: write it like nats://127.0.0.1:4222")]
    NoAddress(String),
    /// An option behind the question mark is not known.
    #[error("{broker} knows no '{option}': nats+js takes storage=memory|file, mqtt takes qos=0|1")]
    Option {
        /// The scheme.
        broker: String,
        /// What stands behind the question mark.
        option: String,
    },
    /// The program was built without what the target needs.
    #[error("this build has no {what}: build it with --features {feature}")]
    NotBuilt {
        /// What is missing.
        what: &'static str,
        /// What brings it.
        feature: &'static str,
    },
}

/// Messages and bytes that the forwarder, whose queues have no bound, is given.
const FORWARDER: (u64, u64) = (262_144, 64 * 1024 * 1024);

/// The same when each message is a frame of its own, which takes libzmq 64 bytes and more for each subscriber.
const LIBZMQ: (u64, u64) = (32_768, 16 * 1024 * 1024);

/// Messages of this size within both bounds, and never none.
fn bounded((messages, bytes): (u64, u64), message_bytes: usize) -> u64 {
    (bytes / message_bytes as u64).clamp(1, messages)
}

/// Bytes of credit that each member of a group has at a Mezzenger server.
pub(crate) const GROUP_CREDIT: u64 = 1024 * 1024;

/// What a message takes of it, beside its payload, when it is alone in its frame: the record's fields and the name.
const FRAME_BYTES: u64 = 128;

/// Messages without acknowledgement that this many members of a group can take: they are lost when none has credit.
/// Half of the credit may be in flight back.
pub(crate) fn group_inflight(members: u16, message_bytes: usize) -> u64 {
    let credit = u64::from(members) * GROUP_CREDIT / 2;
    (credit / (message_bytes as u64 + FRAME_BYTES)).max(1)
}

/// Why there are no other brokers.
const NO_PEERS: TargetError =
    TargetError::NotBuilt { what: "clients of other brokers", feature: "peers" };

impl Target {
    /// What results call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Mezzenger => "mezzenger",
            Self::Relay => "relay",
            Self::ZmqForwarder => "zmq-forwarder",
            Self::Libzmq => "libzmq",
            Self::Peer(address) => address.broker.name(),
        }
    }

    /// Whether it keeps messages until they are acknowledged.
    pub(crate) fn acknowledges(&self) -> bool {
        match self {
            Self::Mezzenger => true,
            Self::Relay | Self::ZmqForwarder | Self::Libzmq => false,
            Self::Peer(address) => {
                let broker = address.broker;
                matches!(broker, Broker::JetStream(_) | Broker::RedisStreams | Broker::Beanstalkd)
            }
        }
    }

    /// Whether its subscribers can be a group that shares the messages.
    pub(crate) fn has_groups(&self) -> bool {
        match self {
            Self::Mezzenger => true,
            Self::Relay | Self::ZmqForwarder | Self::Libzmq => false,
            Self::Peer(address) => !matches!(address.broker, Broker::Redis | Broker::Mqtt(_)),
        }
    }

    /// Whether its subscribers can answer requests.
    pub(crate) fn answers(&self) -> bool {
        match self {
            Self::Mezzenger | Self::Relay | Self::ZmqForwarder => true,
            Self::Libzmq => false,
            Self::Peer(address) => matches!(address.broker, Broker::Nats | Broker::NatsRaw),
        }
    }

    /// Whether connections to it can be opened for their own sake, and when it took them.
    pub(crate) fn counts_connections(&self) -> bool {
        match self {
            Self::Mezzenger | Self::Relay | Self::ZmqForwarder | Self::Libzmq => true,
            Self::Peer(address) => address.broker == Broker::Nats,
        }
    }

    /// Most messages of this many bytes that may be published and not yet received by the slowest
    /// subscriber, so that nothing is lost; `None` where publishers are held back.
    pub(crate) fn inflight(&self, message_bytes: usize) -> Option<u64> {
        match self {
            Self::Mezzenger | Self::Relay => None,
            Self::ZmqForwarder => Some(bounded(FORWARDER, message_bytes)),
            Self::Libzmq => Some(bounded(LIBZMQ, message_bytes)),
            Self::Peer(address) => Some(address.broker.inflight(message_bytes)),
        }
    }

    /// What a connection that does nothing says first, and what the target's answer contains.
    pub(crate) fn idle_hello(&self) -> Option<(Vec<u8>, &'static [u8])> {
        match self {
            Self::Mezzenger | Self::Relay | Self::ZmqForwarder | Self::Libzmq => {
                let mut hello = b"\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL".to_vec();
                hello.resize(64, 0);
                hello.extend(b"\x04\x1c\x05READY\x0bSocket-Type\0\0\0\x06DEALER");
                Some((hello, b"READY"))
            }
            Self::Peer(address) => match address.broker {
                Broker::Nats | Broker::NatsRaw | Broker::JetStream(_) => {
                    Some((b"CONNECT {\"verbose\":false}\r\nPING\r\n".to_vec(), b"PONG"))
                }
                Broker::Redis | Broker::RedisStreams => Some((b"PING\r\n".to_vec(), b"PONG")),
                Broker::Beanstalkd | Broker::Mqtt(_) => None,
            },
        }
    }

    /// The answer to a ping of the target, with `PING` in it.
    pub(crate) fn idle_pong(&self) -> &'static [u8] {
        match self {
            Self::Mezzenger | Self::Relay | Self::ZmqForwarder | Self::Libzmq => {
                b"\x04\x05\x04PONG"
            }
            Self::Peer(_) => b"PONG\r\n",
        }
    }

    /// Whether it gives each message to one subscriber alone.
    pub(crate) fn is_one_group(&self) -> bool {
        matches!(
            self,
            Self::Peer(Address { broker: Broker::RedisStreams | Broker::Beanstalkd, .. })
        )
    }
}

impl Broker {
    fn name(self) -> &'static str {
        match self {
            Self::Nats => "nats",
            Self::NatsRaw => "nats-raw",
            Self::JetStream(Storage::Memory) => "jetstream-memory",
            Self::JetStream(Storage::File) => "jetstream-file",
            Self::Redis => "redis",
            Self::RedisStreams => "redis-streams",
            Self::Beanstalkd => "beanstalkd",
            Self::Mqtt(Qos::AtMostOnce) => "mqtt-qos0",
            Self::Mqtt(Qos::AtLeastOnce) => "mqtt-qos1",
        }
    }

    /// Within these bounds nothing was lost, and wider ones were no faster: long queues leave the
    /// processor's caches.
    fn inflight(self, message_bytes: usize) -> u64 {
        let (messages, bytes) = match self {
            // async-nats drops beyond 65,536 messages that wait in a subscription; the server
            // disconnects a client with 64 MiB waiting.
            Self::Nats | Self::JetStream(_) => (4096, 16 * 1024 * 1024),
            // The server alone bounds what waits.
            Self::NatsRaw => (32_768, 16 * 1024 * 1024),
            // The server disconnects a subscriber with 8 MiB waiting for a minute, or 32 MiB.
            Self::Redis => (4096, 8 * 1024 * 1024),
            // They keep what is not read: this bounds the server's memory alone.
            Self::RedisStreams | Self::Beanstalkd => (4096, 64 * 1024 * 1024),
            // Mosquitto drops beyond 1000 messages that wait for a client.
            Self::Mqtt(Qos::AtMostOnce) => (512, 16 * 1024 * 1024),
            // So many may be without the subscriber's acknowledgement. What waits behind them,
            // Mosquitto 2.0.11 miscounts, and drops after a while; with `max_queued_messages 0` it does
            // not, and 512 is faster.
            Self::Mqtt(Qos::AtLeastOnce) => (20, 16 * 1024 * 1024),
        };
        bounded((messages, bytes), message_bytes)
    }

    fn parse(scheme: &str, option: Option<&str>) -> Result<Self, TargetError> {
        let unknown_option = |option: &str| TargetError::Option {
            broker: scheme.to_owned(),
            option: option.to_owned(),
        };
        let broker = match (scheme, option) {
            ("nats", None) => Self::Nats,
            ("nats+raw", None) => Self::NatsRaw,
            ("nats+js", None | Some("storage=memory")) => Self::JetStream(Storage::Memory),
            ("nats+js", Some("storage=file")) => Self::JetStream(Storage::File),
            ("redis", None) => Self::Redis,
            ("redis+streams", None) => Self::RedisStreams,
            ("beanstalkd", None) => Self::Beanstalkd,
            ("mqtt", None | Some("qos=0")) => Self::Mqtt(Qos::AtMostOnce),
            ("mqtt", Some("qos=1")) => Self::Mqtt(Qos::AtLeastOnce),
            (
                "nats" | "nats+raw" | "nats+js" | "redis" | "redis+streams" | "beanstalkd" | "mqtt",
                Some(option),
            ) => {
                return Err(unknown_option(option));
            }
            _ => return Err(TargetError::Unknown(scheme.to_owned())),
        };
        Ok(broker)
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        match text {
            "mezzenger" => return Ok(Self::Mezzenger),
            "relay" => return Ok(Self::Relay),
            "zmq-forwarder" | "libzmq" if cfg!(not(feature = "libzmq")) => {
                return Err(TargetError::NotBuilt { what: "libzmq", feature: "libzmq" });
            }
            "zmq-forwarder" => return Ok(Self::ZmqForwarder),
            "libzmq" => return Ok(Self::Libzmq),
            _ => {}
        }
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| TargetError::Unknown(text.to_owned()))?;
        let (place, option) = match rest.split_once('?') {
            Some((place, option)) => (place, Some(option)),
            None => (rest, None),
        };
        let broker = Broker::parse(scheme, option)?;
        let no_address = || TargetError::NoAddress(text.to_owned());
        let (host, port) = place.rsplit_once(':').ok_or_else(no_address)?;
        let port = port.parse().map_err(|_| no_address())?;
        if host.is_empty() {
            return Err(no_address());
        }
        if cfg!(not(feature = "peers")) {
            return Err(NO_PEERS);
        }
        Ok(Self::Peer(Address { broker, host: host.to_owned(), port }))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Mezzenger | Self::Relay | Self::ZmqForwarder | Self::Libzmq => Ok(()),
            Self::Peer(Address { host, port, .. }) => write!(f, " at {host}:{port}"),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<Target, TargetError>) {
        let expected = match expected {
            Ok(Target::Peer(_)) if cfg!(not(feature = "peers")) => Err(NO_PEERS),
            expected => expected,
        };
        assert_eq!(text.parse(), expected, "{text}");
    }

    fn peer(broker: Broker, host: &str, port: u16) -> Result<Target, TargetError> {
        Ok(Target::Peer(Address { broker, host: host.to_owned(), port }))
    }

    #[test]
    fn targets_are_read() {
        check("mezzenger", Ok(Target::Mezzenger));
        check("relay", Ok(Target::Relay));
        for target in [Target::ZmqForwarder, Target::Libzmq] {
            let name = target.name();
            let built = match cfg!(feature = "libzmq") {
                true => Ok(target),
                false => Err(TargetError::NotBuilt { what: "libzmq", feature: "libzmq" }),
            };
            check(name, built);
        }
        check("nats://localhost:4222", peer(Broker::Nats, "localhost", 4222));
        check("nats+raw://h:1", peer(Broker::NatsRaw, "h", 1));
        check("nats+js://h:1", peer(Broker::JetStream(Storage::Memory), "h", 1));
        check("nats+js://h:1?storage=file", peer(Broker::JetStream(Storage::File), "h", 1));
        check("redis://[::1]:6379", peer(Broker::Redis, "[::1]", 6379));
        check("redis+streams://h:1", peer(Broker::RedisStreams, "h", 1));
        check("beanstalkd://h:1", peer(Broker::Beanstalkd, "h", 1));
        check("mqtt://h:1?qos=1", peer(Broker::Mqtt(Qos::AtLeastOnce), "h", 1));
    }

    #[test]
    fn windows_are_bounded_in_messages_and_bytes() {
        let inflight = |broker: Broker, bytes| broker.inflight(bytes);
        assert_eq!(inflight(Broker::Nats, 128), 4096);
        assert_eq!(inflight(Broker::Nats, 65_536), 256);
        assert_eq!(inflight(Broker::Redis, 64 * 1024 * 1024), 1, "never none");
        assert_eq!(Target::Mezzenger.inflight(128), None, "it holds publishers back");
    }

    #[test]
    fn what_is_no_target_is_told_why() {
        check("kafka", Err(TargetError::Unknown("kafka".to_owned())));
        check("kafka://h:1", Err(TargetError::Unknown("kafka".to_owned())));
        for text in ["nats://", "nats://h", "nats://:1", "nats://h:port", "nats://h:70000"] {
            check(text, Err(TargetError::NoAddress(text.to_owned())));
        }
        let option = |broker: &str, option: &str| {
            Err(TargetError::Option { broker: broker.to_owned(), option: option.to_owned() })
        };
        check("mqtt://h:1?qos=2", option("mqtt", "qos=2"));
        check("redis://h:1?qos=1", option("redis", "qos=1"));
    }
}
