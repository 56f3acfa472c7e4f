//! HTTP: metrics, health, a JSON API and a page for people.
//!
//! It has a thread of its own. That asks the broker's thread, which answers between two turns and never waits for it; a question
//! that is not answered in time is answered with 503. Everything that a stranger can make grow has a bound: connections, the
//! bytes of a request, the time for each of its steps, listeners for events.

mod api;
mod ask;
mod audit;
mod events;
mod guard;
mod metrics;
mod model;
mod page;
mod places;
mod process;
mod reply;
mod route;
mod serve;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;

use mezzenger::Inspector;

use self::audit::Audit;
use self::events::Events;
use self::guard::{Guard, Token, TokenError};

/// Why the server cannot serve HTTP.
#[derive(Debug)]
pub(crate) enum HttpError {
    /// Others could read it.
    Open(SocketAddr),
    /// The file with the token cannot be used.
    Token(PathBuf, TokenError),
    /// The address cannot be listened on, or the system denies a thread.
    System(SocketAddr, io::Error),
}

impl std::fmt::Display for HttpError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open(address) => write!(
                f,
                "--http {address} can be reached from other machines: give --http-token-file, or --insecure to let everybody \
                 read it"
            ),
            Self::Token(file, error) => write!(f, "--http-token-file {}: {error}", file.display()),
            Self::System(address, error) => {
                write!(f, "cannot listen for HTTP on {address}: {error}")
            }
        }
    }
}

impl std::error::Error for HttpError {}

impl HttpError {
    /// Whether the command line is at fault.
    pub(crate) fn is_usage(&self) -> bool {
        !matches!(self, Self::System(..))
    }
}

/// Connections that wait to be taken: with the standard library's 128, some hundreds that come at once have the system drop those
/// of others, which try again a second later.
const BACKLOG: i32 = 4096;

/// The token for this address, if there is one.
///
/// # Errors
/// [`HttpError::Open`] and [`HttpError::Token`].
pub(crate) fn check(
    address: SocketAddr,
    token_file: Option<&Path>,
    insecure: bool,
) -> Result<Option<Token>, HttpError> {
    let read =
        |file: &Path| Token::read(file).map_err(|error| HttpError::Token(file.to_owned(), error));
    let token = token_file.map(read).transpose()?;
    if !address.ip().is_loopback() && token.is_none() && !insecure {
        return Err(HttpError::Open(address));
    }
    Ok(token)
}

/// What all connections share.
pub(crate) struct Shared {
    guard: Guard,
    /// Empty until the server has recovered what it kept.
    inspector: OnceLock<Inspector>,
    events: Events,
    audit: Audit,
}

/// The listener.
pub(crate) struct Http {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Http {
    /// Listens on an address, and tells that the server is not ready.
    ///
    /// # Errors
    /// Why it does not.
    pub(crate) fn start(
        address: SocketAddr,
        token_file: Option<&Path>,
        insecure: bool,
    ) -> Result<Self, HttpError> {
        let token = check(address, token_file, insecure)?;
        let system = |error| HttpError::System(address, error);
        let listener = std::net::TcpListener::bind(address).map_err(system)?;
        listener.set_nonblocking(true).map_err(system)?;
        rustix::net::listen(&listener, BACKLOG).map_err(|error| system(error.into()))?;
        let address = listener.local_addr().map_err(system)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(system)?;
        let guard = Guard::new(address.ip().is_loopback(), token);
        let (inspector, events, audit) = Default::default();
        let shared = Arc::new(Shared { guard, inspector, events, audit });
        let there = Arc::clone(&shared);
        let run = move || runtime.block_on(serve::run(listener, there));
        thread::Builder::new().name("http".into()).spawn(run).map_err(system)?;
        Ok(Self { address, shared })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server has recovered what it kept, and is running.
    pub(crate) fn ready(&self, inspector: Inspector) {
        // The cell is empty: it is filled here alone, once.
        let _ = self.shared.inspector.set(inspector);
    }
}
