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

/// Stops a server, from any thread. Stopping again does nothing.
#[derive(Clone, Debug)]
pub struct StopHandle(pub(super) Shared);

impl StopHandle {
    /// Has the server finish what it took, and end. Returns at once; [`Server::wait`](crate::Server::wait) waits for the end.
    pub fn stop(&self) {
        self.0.stop.store(true, Ordering::Release);
        self.0.waker.wake();
    }
}

/// Changes which clients a running server with CURVE accepts, from any thread.
#[derive(Clone, Debug)]
pub struct KeysHandle(pub(super) Shared);

impl KeysHandle {
    /// Accepts only clients with these keys from now on, and closes the connections of all others at once. Clients whose
    /// handshake is in progress may have to connect again. Does nothing on a server without CURVE.
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
    /// Sets what clients may do from now on. The connections of clients that may do less than before are closed at once, and these
    /// clients connect again; the connections of others stay open. Does nothing on a server that was started without an [`Access`].
    ///
    /// # Errors
    /// [`AccessError`]: a permission or a user breaks a rule, or there were no users when the server started. Then nothing changes.
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
    /// Applies those settings of `config` that can change while the server runs, and ignores the others. Returns
    /// at once; the broker's thread applies them in its next turn.
    ///
    /// These can change: `retry_interval`, `idempotency_window`, `max_pending_messages`, `max_pending_bytes`,
    /// `max_message_bytes`, `max_connections`, `max_connections_per_address`, `max_unsent_bytes`, `max_subscriber_bytes`,
    /// `slow_subscriber`, `verify`, `stall_grace` and `drain_timeout`.
    ///
    /// Messages, connections and idempotency keys stay, also beyond a lower limit. A message that was delivered before is delivered
    /// again after the interval of that time. Clients learn of a larger `max_message_bytes` when they connect again.
    ///
    /// # Errors
    /// [`ConfigError`]: a setting cannot be used. Then none changes.
    pub fn reconfigure(&self, config: &Config) -> Result<(), ConfigError> {
        config.validate()?;
        self.0.asked.reconfigure(config);
        self.0.waker.wake();
        Ok(())
    }

    /// Waits until the broker's thread begins its next turn, and returns whether it did within this time. A thread that is stuck, or
    /// that has ended, does not.
    pub fn is_alive(&self, within: Duration) -> bool {
        let question = self.0.asked.sign_of_life();
        self.0.waker.wake();
        self.0.asked.is_seen(question, within)
    }
}
