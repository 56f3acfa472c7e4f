//! What becomes of the client's connections: told to the call that connects, and to the user's callback.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::SendError;
use super::receipt::Fate;
use crate::net::connection::Change;
use crate::net::waker::Waker;
use crate::zmtp::error::ConnectionError;

/// One of a client's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Link {
    /// What is published leaves here, and acknowledgements do.
    Requests,
    /// Messages arrive here.
    Messages,
}

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
    /// The server gave no sign of life, or did not answer requests in time.
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
    Connected {
        /// Which.
        link: Link,
    },
    /// It ended.
    Disconnected {
        /// Which.
        link: Link,
        /// Why.
        why: DisconnectReason,
    },
}

pub(super) type OnConnection = Arc<dyn Fn(&ConnectionEvent) + Send + Sync>;

/// A call that connects.
struct Connecting {
    /// Whether the server answered; decided by whoever takes the answer.
    answered: Arc<Fate>,
    /// Whether the connection for messages was made.
    opened: Arc<Fate>,
    /// The last failure of either connection.
    failures: [Option<ConnectionError>; 2],
    /// Whose failure leaves no doubt.
    certain: Option<Link>,
}

#[derive(Default)]
struct State {
    connecting: Option<Connecting>,
    events: VecDeque<ConnectionEvent>,
    /// The socket of the connection for messages, while it is open as far as is known.
    messages: Option<Arc<OwnedFd>>,
    /// Whether that it ended was told before its thread saw it.
    told_early: bool,
}

/// The connections' state. Their threads note what happens; the request thread tells.
pub(super) struct Links {
    on_connection: Option<OnConnection>,
    /// Wakes the request thread.
    waker: Waker,
    state: Mutex<State>,
    /// Nobody uses the client: the call that connects failed.
    abandoned: AtomicBool,
}

impl Links {
    pub(super) fn new(on_connection: Option<OnConnection>, waker: Waker) -> Self {
        let (state, abandoned) = Default::default();
        Self { on_connection, waker, state, abandoned }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call begins to connect. It waits for `answered`, and then for what is returned.
    pub(super) fn connect(&self, answered: Arc<Fate>) -> Arc<Fate> {
        let opened = Arc::<Fate>::default();
        let (failures, certain) = Default::default();
        let connecting = Connecting { answered, opened: Arc::clone(&opened), failures, certain };
        self.lock().connecting = Some(connecting);
        opened
    }

    /// The call ends. The failure that leaves no doubt, if there is one, else the last of this connection;
    /// and whether it leaves no doubt.
    pub(super) fn connected(&self, link: Link) -> (Link, Option<ConnectionError>, bool) {
        let Some(mut connecting) = self.lock().connecting.take() else {
            return (link, None, false);
        };
        let found = connecting.certain.unwrap_or(link);
        (found, connecting.failures[found as usize].take(), connecting.certain.is_some())
    }

    /// The client is given up before anybody had it: nothing is to be waited for at its end.
    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    /// Whether it was given up.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// The server answered the client's hello.
    pub(super) fn answered(&self, result: Result<(), SendError>) {
        if let Some(connecting) = &self.lock().connecting {
            connecting.answered.decide(result);
        }
    }

    /// Notes what became of a connection, and its socket if it is open now.
    pub(super) fn note(&self, link: Link, changes: Vec<Change>, socket: Option<Arc<OwnedFd>>) {
        if changes.is_empty() {
            return;
        }
        let mut state = self.lock();
        for change in changes {
            match change {
                Change::Opened => {
                    state.events.push_back(ConnectionEvent::Connected { link });
                    if link == Link::Messages
                        && let Some(connecting) = &state.connecting
                    {
                        connecting.opened.decide(Ok(()));
                    }
                }
                Change::Failed { was_open, error } => {
                    let told = link == Link::Messages && std::mem::take(&mut state.told_early);
                    if was_open && !told {
                        let why = DisconnectReason::from(&error);
                        state.events.push_back(ConnectionEvent::Disconnected { link, why });
                    }
                    if let Some(connecting) = &mut state.connecting {
                        if error.is_certain() && connecting.certain.is_none() {
                            connecting.certain = Some(link);
                            connecting.answered.decide(Err(SendError::Stopped));
                            connecting.opened.decide(Err(SendError::Stopped));
                        }
                        connecting.failures[link as usize] = Some(error);
                    }
                }
            }
        }
        if link == Link::Messages {
            state.messages = socket;
            self.waker.wake();
        }
    }

    /// Calls the callback for what was noted. Under no lock, so that it may use the client.
    pub(super) fn tell(&self) {
        let events = std::mem::take(&mut self.lock().events);
        let Some(on_connection) = &self.on_connection else { return };
        for event in events {
            let _ = catch_unwind(AssertUnwindSafe(|| on_connection(&event)));
        }
    }

    /// The socket of the connection for messages, if its end is to be told: its own thread may be in a
    /// callback, or not read because a subscription is full.
    pub(super) fn watched(&self) -> Option<Arc<OwnedFd>> {
        self.on_connection.as_ref()?;
        self.lock().messages.clone()
    }

    /// The watched connection ended.
    pub(super) fn hung_up(&self, socket: &Arc<OwnedFd>) {
        let mut state = self.lock();
        if state.messages.take_if(|messages| Arc::ptr_eq(messages, socket)).is_some() {
            state.told_early = true;
            let (link, why) = (Link::Messages, DisconnectReason::Closed);
            state.events.push_back(ConnectionEvent::Disconnected { link, why });
        }
    }
}
