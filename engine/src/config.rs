//! The one validated configuration of a server, with the only defaults.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::access::{Access, AccessError};
use crate::curve::ServerKeys;
use crate::journal::FsyncPolicy;

/// Default port for ZeroMQ SUB sockets, the original's.
pub const PUB_PORT: u16 = 7201;
/// Default port that clients connect to, the original's.
pub const RECV_PORT: u16 = 7202;
/// How long an unacknowledged message waits before it is sent again, by default.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Default limit on a message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// Which checksums of messages the server checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// None: the server checks nothing; subscribers may.
    Never,
    /// Those of messages that ask for acknowledgement, which the server keeps.
    Stored,
    /// Those of every message.
    Always,
}

impl Verify {
    /// Whether the checksum of a message is checked that is kept, or is not.
    pub(crate) fn includes(self, kept: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Stored => kept,
            Self::Always => true,
        }
    }
}

/// The text is not one of the names of [`Verify`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is none of never, stored, always")]
pub struct ParseVerifyError(String);

impl FromStr for Verify {
    type Err = ParseVerifyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "never" => Ok(Self::Never),
            "stored" => Ok(Self::Stored),
            "always" => Ok(Self::Always),
            _ => Err(ParseVerifyError(text.to_owned())),
        }
    }
}

/// What happens to a subscriber that does not keep up with the messages of its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlowSubscriber {
    /// Publishers of its names wait for it. Under every policy, a subscriber whose connection takes no bytes is
    /// disconnected after the stall grace.
    Hold,
    /// Its oldest messages are dropped, except those that ask for acknowledgement.
    Drop,
    /// It is disconnected after the stall grace.
    Disconnect,
}

/// The text is not one of the names of [`SlowSubscriber`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is none of hold, drop, disconnect")]
pub struct ParseSlowSubscriberError(String);

impl FromStr for SlowSubscriber {
    type Err = ParseSlowSubscriberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "hold" => Ok(Self::Hold),
            "drop" => Ok(Self::Drop),
            "disconnect" => Ok(Self::Disconnect),
            _ => Err(ParseSlowSubscriberError(text.to_owned())),
        }
    }
}

/// All settings of a server. [`Config::default`] has the defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address both sockets listen on.
    pub bind: IpAddr,
    /// Port for ZeroMQ SUB sockets, such as those of original clients; clients of this library do not use it. 0 picks a
    /// free one.
    pub pub_port: u16,
    /// Port that clients connect to, to publish and to subscribe. 0 picks a free one.
    pub recv_port: u16,
    /// The journal: the file in which unacknowledged messages and durable groups outlive the server. None without one.
    pub persist_file: Option<PathBuf>,
    /// When the journal is synced.
    pub fsync: FsyncPolicy,
    /// Whether a damaged journal is repaired, which loses its damaged records. Needs a journal.
    pub repair: bool,
    /// How long an unacknowledged message waits before it is sent again.
    pub retry_interval: Duration,
    /// How long an idempotency key counts: another message under it is not published.
    pub idempotency_window: Duration,
    /// Maximum of unacknowledged messages; further messages with ack are rejected.
    pub max_pending_messages: usize,
    /// Maximum bytes of unacknowledged messages; further messages with ack are rejected.
    pub max_pending_bytes: usize,
    /// Maximum bytes of a message; larger ones are rejected.
    pub max_message_bytes: usize,
    /// Maximum of connections, of publishers and subscribers together; further ones are closed at once.
    pub max_connections: usize,
    /// Maximum of connections of one address; further ones are closed at once.
    pub max_connections_per_address: usize,
    /// Bytes of all frames that wait for some subscriber, beyond which all publishers are held back. One
    /// frame may go beyond it, and large messages that are being carried over to the other format: 16 MiB of them, or
    /// one.
    pub max_unsent_bytes: usize,
    /// Bytes queued for one subscriber, beyond which it counts as slow whatever their age.
    pub max_subscriber_bytes: usize,
    /// What happens to a subscriber that does not keep up.
    pub slow_subscriber: SlowSubscriber,
    /// Which checksums are checked.
    pub verify: Verify,
    /// How long all others wait for one subscriber that does not read, before it is disconnected.
    pub stall_grace: Duration,
    /// How long the shutdown may take.
    pub drain_timeout: Duration,
    /// The server's keys, and those of the clients that it accepts. With them, every connection is authenticated and
    /// encrypted with CURVE, and others are closed.
    pub curve: Option<ServerKeys>,
    /// What each client may do. Without it, all may do everything.
    pub access: Option<Access>,
    /// Whether an address that other machines can reach is allowed, although nothing authenticates
    /// them.
    pub insecure: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: IpAddr::from([127, 0, 0, 1]),
            pub_port: PUB_PORT,
            recv_port: RECV_PORT,
            persist_file: None,
            fsync: FsyncPolicy::Always,
            repair: false,
            retry_interval: RETRY_INTERVAL,
            idempotency_window: Duration::from_secs(120),
            max_pending_messages: 10_000_000,
            max_pending_bytes: 2 * 1024 * 1024 * 1024,
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_connections: 65_536,
            max_connections_per_address: 65_536,
            max_unsent_bytes: 256 * 1024 * 1024,
            max_subscriber_bytes: 32 * 1024 * 1024,
            slow_subscriber: SlowSubscriber::Hold,
            verify: Verify::Stored,
            stall_grace: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(5),
            curve: None,
            access: None,
            insecure: false,
        }
    }
}

/// Why a configuration cannot be used: the setting, and its problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Other machines could reach the server, and nothing authenticates them.
    #[error(
        "{0} can be reached from other machines and nothing authenticates them: \
         bind 127.0.0.1, give the server keys (--curve-secret), or say --insecure if the network is yours"
    )]
    Exposed(IpAddr),
    /// A permission breaks a rule for names, patterns or users.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Clients have either keys or passwords.
    #[error(
        "--access has users, who say a password, and with --curve-secret clients have keys: give each client a key, or \
         start the server without its own"
    )]
    KeysAndUsers,
    /// Both ports are the same.
    #[error("--pub-port and --recv-port are both {0}: they need two ports")]
    SamePort(u16),
    /// There is no journal to repair.
    #[error("--repair needs a journal: name its file with --persist-file")]
    RepairWithoutJournal,
    /// A number must be at least one.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
    /// A number is too large.
    #[error("{setting} can be at most {max}, not {given}")]
    TooLarge {
        /// The setting.
        setting: &'static str,
        /// Its value.
        given: usize,
        /// The largest value.
        max: usize,
    },
    /// A duration is too short or too long.
    #[error("{setting} must be between 1ms and 1 year, not {}", humantime::format_duration(*given))]
    Duration {
        /// The setting.
        setting: &'static str,
        /// Its value.
        given: Duration,
    },
}

/// Reads a duration as people write it: `10s`, `500ms`, `1m 30s`; a bare number is seconds.
///
/// # Errors
/// A text that is none.
pub fn parse_duration(text: &str) -> Result<Duration, humantime::DurationError> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => humantime::parse_duration(text),
    }
}

const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// The largest value of `max_message_bytes`.
pub const MESSAGE_BYTES_MAX: usize = 1 << 30;
/// Messages are numbered with 31 bits.
const PENDING_MESSAGES_MAX: usize = 1 << 30;

impl Config {
    /// Checks the settings against each other and against their bounds.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let has_users = self.access.as_ref().is_some_and(Access::has_users);
        let is_authenticated = self.curve.is_some() || has_users;
        if !self.bind.is_loopback() && !self.insecure && !is_authenticated {
            return Err(ConfigError::Exposed(self.bind));
        }
        if let Some(access) = &self.access {
            access.check()?;
        }
        if self.curve.is_some() && has_users {
            return Err(ConfigError::KeysAndUsers);
        }
        if self.pub_port == self.recv_port && self.pub_port != 0 {
            return Err(ConfigError::SamePort(self.pub_port));
        }
        if self.repair && self.persist_file.is_none() {
            return Err(ConfigError::RepairWithoutJournal);
        }
        for (setting, value, max) in [
            ("--max-pending-messages", self.max_pending_messages, PENDING_MESSAGES_MAX),
            ("--max-pending-bytes", self.max_pending_bytes, usize::MAX),
            ("--max-message-size", self.max_message_bytes, MESSAGE_BYTES_MAX),
            ("--max-connections", self.max_connections, usize::MAX),
            ("max_unsent_bytes", self.max_unsent_bytes, usize::MAX),
            ("--max-connections-per-address", self.max_connections_per_address, usize::MAX),
            ("max_subscriber_bytes", self.max_subscriber_bytes, usize::MAX),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero(setting));
            }
            if value > max {
                return Err(ConfigError::TooLarge { setting, given: value, max });
            }
        }
        let sync = match self.fsync {
            FsyncPolicy::Interval(interval) => interval,
            FsyncPolicy::Always | FsyncPolicy::Never => Duration::from_secs(1),
        };
        for (flag, duration) in [
            ("--retry-interval", self.retry_interval),
            ("--idempotency-window", self.idempotency_window),
            ("the stall grace", self.stall_grace),
            ("the interval of --fsync", sync),
            ("--drain-timeout", self.drain_timeout),
        ] {
            if duration < Duration::from_millis(1) || duration > DURATION_MAX {
                return Err(ConfigError::Duration { setting: flag, given: duration });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{PasswordHash, Permissions};
    use crate::curve::{AuthorizedKeys, KeyPair};

    #[track_caller]
    fn check(change: impl FnOnce(&mut Config), expected: Result<(), ConfigError>) {
        let mut config = Config::default();
        change(&mut config);
        assert_eq!(config.validate(), expected);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let everywhere = IpAddr::from([0, 0, 0, 0]);
        check(|_| {}, Ok(()));
        check(|c| c.bind = everywhere, Err(ConfigError::Exposed(everywhere)));
        check(|c| (c.bind, c.insecure) = (everywhere, true), Ok(()));
        let keys = ServerKeys { own: KeyPair::generate(), authorized: AuthorizedKeys::any() };
        check(|c| (c.bind, c.curve) = (everywhere, Some(keys)), Ok(()));
        let access = Access::new().others(Permissions::none().publish("a..*"));
        let error = access.check().unwrap_err();
        check(|c| c.access = Some(access), Err(ConfigError::Access(error)));
        check(|c| c.access = Some(Access::new()), Ok(()));
        let users = Access::new().user("a", PasswordHash::cheap("b"), Permissions::none());
        let with_users = |c: &mut Config| (c.bind, c.access) = (everywhere, Some(users.clone()));
        check(with_users, Ok(()));
        let keys = ServerKeys { own: KeyPair::generate(), authorized: AuthorizedKeys::any() };
        let both = |c: &mut Config| (c.access, c.curve) = (Some(users.clone()), Some(keys));
        check(both, Err(ConfigError::KeysAndUsers));
        check(|c| c.pub_port = RECV_PORT, Err(ConfigError::SamePort(RECV_PORT)));
        check(|c| (c.pub_port, c.recv_port) = (0, 0), Ok(()));
        check(|c| c.max_connections = 0, Err(ConfigError::Zero("--max-connections")));
        check(|c| c.repair = true, Err(ConfigError::RepairWithoutJournal));
        check(|c| (c.repair, c.persist_file) = (true, Some("journal".into())), Ok(()));
        check(
            |c| c.max_message_bytes = (1 << 30) + 1,
            Err(ConfigError::TooLarge {
                setting: "--max-message-size",
                given: (1 << 30) + 1,
                max: 1 << 30,
            }),
        );
        check(
            |c| c.retry_interval = Duration::ZERO,
            Err(ConfigError::Duration { setting: "--retry-interval", given: Duration::ZERO }),
        );
    }
}
