//! Reports connections made and lost, to the call that connects and to the user's callback.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::client::error::SendError;
use crate::client::publish::receipt::SharedOutcome;
use crate::net::connection::Change;
use crate::zmtp::error::ConnectionError;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The server closed it, or ended.
    #[error("the server closed the connection")]
    Closed,
    /// The system reports an error.
    #[error("the connection broke: {text}")]
    Broken {
        /// What the system says.
        text: String,
    },
    /// The server answered no ping, or did not answer requests in time.
    #[error("the server did not answer for too long: {text}")]
    Silent {
        /// What was waited for, and for how long.
        text: String,
    },
    /// The server sent what this client cannot read.
    #[error("{text}")]
    Unreadable {
        /// What is wrong with it.
        text: String,
    },
}

impl From<&ConnectionError> for DisconnectReason {
    fn from(error: &ConnectionError) -> Self {
        let text = error.to_string();
        match error {
            ConnectionError::Closed => Self::Closed,
            ConnectionError::System(error)
            | ConnectionError::NobodyListens(error)
            | ConnectionError::Unreachable(error) => Self::Broken { text: error.to_string() },
            ConnectionError::Silent(_)
            | ConnectionError::Slow(_)
            | ConnectionError::Unanswered(_) => Self::Silent { text },
            _ => Self::Unreadable { text },
        }
    }
}

/// A connection was made, or ended. A new one follows by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionEvent {
    /// It was made.
    Connected,
    /// It ended.
    Disconnected {
        /// Why.
        why: DisconnectReason,
    },
}

pub(in crate::client) type OnConnection = Arc<dyn Fn(&ConnectionEvent) + Send + Sync>;

/// A call that connects.
struct Connecting {
    /// Whether the server answered; decided by whoever takes the answer.
    answered: Arc<SharedOutcome>,
    /// The connection's last failure, or the first that leaves no doubt.
    failure: Option<ConnectionError>,
    /// How many attempts failed one after the other in a way that leaves no doubt: of several servers, each in its turn.
    certain: usize,
}

#[derive(Default)]
struct State {
    connecting: Option<Connecting>,
    events: VecDeque<ConnectionEvent>,
}

/// What becomes of a client's connection: its turns note that, and tell it.
pub(in crate::client) struct Links {
    on_connection: Option<OnConnection>,
    /// How many there are, which are tried in turn.
    servers: usize,
    state: Mutex<State>,
    /// Nobody uses the client: the call that connects failed.
    abandoned: AtomicBool,
}

impl Links {
    pub(in crate::client) fn new(on_connection: Option<OnConnection>, servers: usize) -> Self {
        let (state, abandoned) = Default::default();
        Self { on_connection, servers, state, abandoned }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins to connect, and waits for `answered`.
    pub(in crate::client) fn connect(&self, answered: Arc<SharedOutcome>) {
        self.lock().connecting = Some(Connecting { answered, failure: None, certain: 0 });
    }

    /// The call ends. The failure that leaves no doubt, or else the last one, and whether it leaves none.
    pub(in crate::client) fn connected(&self) -> (Option<ConnectionError>, bool) {
        let failure = self.lock().connecting.take().and_then(|connecting| connecting.failure);
        let is_certain = failure.as_ref().is_some_and(ConnectionError::is_certain);
        (failure, is_certain)
    }

    /// The client is given up before anybody had it: nothing is to be waited for at its end.
    pub(in crate::client) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// Whether it was given up.
    pub(in crate::client) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// The server answered the client's hello.
    pub(in crate::client) fn answered(&self, result: Result<(), SendError>) {
        if let Some(connecting) = &self.lock().connecting {
            connecting.answered.decide(result);
        }
    }

    /// Notes what became of the connection.
    pub(in crate::client) fn note(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut state = self.lock();
        for change in changes {
            match change {
                Change::Opened => state.events.push_back(ConnectionEvent::Connected),
                Change::Failed { was_open, error } => {
                    if was_open {
                        let why = DisconnectReason::from(&error);
                        state.events.push_back(ConnectionEvent::Disconnected { why });
                    }
                    let Some(connecting) = &mut state.connecting else { continue };
                    let Connecting { answered, failure, certain } = connecting;
                    if error.is_certain() {
                        // One that is no server is no reason not to try the next.
                        *certain += if error.is_of_all() { self.servers } else { 1 };
                        if *certain >= self.servers {
                            answered.decide(Err(SendError::Stopped));
                        }
                    } else {
                        *certain = 0;
                    }
                    if !failure.as_ref().is_some_and(ConnectionError::is_certain) {
                        *failure = Some(error);
                    }
                }
            }
        }
    }

    /// Calls the callback for what was noted. Under no lock, so that it may use the client.
    pub(in crate::client) fn tell(&self) {
        let events = std::mem::take(&mut self.lock().events);
        let Some(on_connection) = &self.on_connection else { return };
        for event in events {
            let _ = catch_unwind(AssertUnwindSafe(|| on_connection(&event)));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn of_several_servers_each_has_to_fail_for_good_one_after_the_other() {
        let links = Links::new(None, 2);
        let answered = Arc::<SharedOutcome>::default();
        links.connect(Arc::clone(&answered));
        let fail = |error| links.note(vec![Change::Failed { was_open: false, error }]);
        let wrong = || ConnectionError::WrongSocket { found: "PUB".to_owned(), expected: "ROUTER" };
        let is_over = || answered.wait_until(Some(Instant::now())).is_some();
        for _ in 0..3 {
            fail(wrong());
            // The other one may come back.
            fail(ConnectionError::Slow(Duration::from_secs(1)));
            assert!(!is_over());
        }
        fail(wrong());
        fail(wrong());
        assert!(is_over());
        let (failure, is_certain) = links.connected();
        assert!(is_certain, "{failure:?}");
    }
}
