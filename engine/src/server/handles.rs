//! Handles on a running server, usable from any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::access::{Access, AccessError};
use crate::broker::admission::ChangesFromOthers;
use crate::broker::live::Asked;
use crate::config::{Config, ConfigError};
use crate::curve::AuthorizedKeys;
use crate::inspect::Questions;
use crate::metrics::Counters;
use crate::net::waker::Waker;
use crate::pending::PendingView;

/// What the handles of a server share with its thread.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) stop: Arc<AtomicBool>,
    pub(super) waker: Waker,
    pub(super) counters: Arc<Counters>,
    pub(super) pending: PendingView,
    pub(super) changes: ChangesFromOthers,
    pub(super) asked: Arc<Asked>,
    /// Whether clients say a user's password.
    pub(super) asks_passwords: bool,
    pub(super) questions: Arc<Questions>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("stop", &self.stop).finish_non_exhaustive()
    }
}

/// Tells a server to stop, from any thread and as often as one likes.
#[derive(Clone, Debug)]
pub struct StopHandle(pub(super) Shared);

impl StopHandle {
    /// Tells the server to drain and end. Returns at once; [`Server::wait`](crate::Server::wait) waits for the end.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Release);
        self.0.waker.wake();
    }
}

/// Changes which clients a running server with CURVE accepts, from any thread.
#[derive(Clone, Debug)]
pub struct KeysHandle(pub(super) Shared);

impl KeysHandle {
    /// Accepts clients with these keys from now on, and ends at once the connections of all others. The clients of
    /// connections whose handshake is in progress may have to connect again. Does nothing on a server without CURVE,
    /// which has no connections that a key could end.
    pub fn set_authorized_keys(&self, authorized: AuthorizedKeys) {
        if let Some(changes) = &self.0.changes.keys {
            changes.set(authorized);
            self.0.waker.wake();
        }
    }
}

/// Changes what the clients of a running server may do, from any thread.
#[derive(Clone, Debug)]
pub struct AccessHandle(pub(super) Shared);

impl AccessHandle {
    /// Clients may do what this says from now on. The connections of those that may do less than before are closed at once, and their
    /// clients connect again; those of others go on. Does nothing on a server that was started without an [`Access`].
    ///
    /// # Errors
    /// Names that there cannot be; then nothing changes.
    pub fn set_access(&self, access: Access) -> Result<(), AccessError> {
        access.check()?;
        if access.has_users() && !self.0.asks_passwords {
            return Err(AccessError::NoUsers);
        }
        if let Some(changes) = &self.0.changes.access {
            changes.set(access);
            self.0.waker.wake();
        }
        Ok(())
    }
}

/// Changes settings of a running server, and asks whether it is alive, from any thread.
#[derive(Clone, Debug)]
pub struct ControlHandle(pub(super) Shared);

impl ControlHandle {
    /// Has the server go on with those settings of `config` that can change while it runs, and ignores the others. Returns
    /// at once; the broker's thread takes them with its next turn.
    ///
    /// These can change: `retry_interval`, `idempotency_window`, `max_pending_messages`, `max_pending_bytes`,
    /// `max_message_bytes`, `max_connections`, `max_connections_per_address`, `max_unsent_bytes`, `max_subscriber_bytes`,
    /// `slow_subscriber`, `verify`, `stall_grace` and `drain_timeout`.
    ///
    /// What is there stays, also beyond a lower limit: messages, connections and keys. A message that was delivered is delivered again
    /// after the interval that counted then. Clients learn of a larger `max_message_bytes` when they connect again.
    ///
    /// # Errors
    /// A setting that cannot be used; none changes.
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        config.validate()?;
        self.0.asked.reconfigure(config);
        self.0.waker.wake();
        Ok(())
    }

    /// Waits until the broker's thread takes its next turn; whether it did within this time. A thread that is stuck, or has
    /// ended, does not.
    pub fn is_alive(&self, within: Duration) -> bool {
        let question = self.0.asked.sign_of_life();
        self.0.waker.wake();
        self.0.asked.is_seen(question, within)
    }
}
