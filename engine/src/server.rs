//! The server: configuration in, a running broker and a handle out.

mod handles;

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::handles::Shared;
pub use self::handles::{AccessHandle, ControlHandle, KeysHandle, StopHandle};
use crate::access::Access;
use crate::broker::checker::Checker;
use crate::broker::run::{Broker, CoreState, Live, RunError};
use crate::config::{Config, ConfigError, SlowSubscriber, Verify};
use crate::curve::{AuthorizedKeys, KeyPair, ServerKeys};
use crate::inspector::Inspector;
use crate::journal::storage::{RealStorage, Storage};
use crate::journal::{self, FsyncPolicy, JournalOptions, OpenError};
use crate::metrics::{Counters, Metrics};
use crate::net::listen::{Listener, SystemNetwork};
use crate::net::waker;
use crate::pending;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A setting cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port cannot be listened on.
    #[error("cannot listen on {address}: {source}{}", hint(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The journal could not be opened.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// The system denied a thread or a descriptor.
    #[error("the system has no thread or descriptor left: {0}; raise its limits (ulimit -n, -u)")]
    System(#[from] io::Error),
}

/// What to do about a port that cannot be listened on.
fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; is another server running? Choose another port",
        io::ErrorKind::AddrNotAvailable => "; this machine has no such address",
        io::ErrorKind::PermissionDenied => "; choose a port above 1023",
        _ => "",
    }
}

/// A running server.
///
/// Dropping it shuts it down and waits, as [`Server::shutdown`] does.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = mezzenger::Server::builder().pub_port(0).recv_port(0).start()?;
/// println!("clients connect to {}", server.recv_addr());
/// server.shutdown()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    pub_addr: SocketAddr,
    recv_addr: SocketAddr,
    shared: Shared,
    thread: Option<JoinHandle<Result<(), RunError>>>,
}

impl Server {
    /// A builder with the defaults of [`Config`].
    pub fn builder() -> ServerBuilder {
        ServerBuilder { config: Config::default() }
    }

    /// Performs set-up that is about 100 times faster while the process has one thread. Call it before you start
    /// threads, if start-up time matters; [`Self::start`] works without it.
    pub fn prepare() {
        pending::prepare();
    }

    /// Starts a server: opens the journal, restores what it holds, and listens. When this returns, both ports are open.
    ///
    /// # Errors
    /// A setting, port, address or journal that cannot be used; nothing is left running.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        Self::start_in(config, Arc::new(RealStorage))
    }

    /// As [`Self::start`], with the journal in `storage`.
    pub(crate) fn start_in(config: &Config, storage: Arc<dyn Storage>) -> Result<Self, StartError> {
        config.validate()?;
        let (waker, wake) = waker::pair()?;
        let counters = Arc::new(Counters::default());
        let mut core = CoreState::new(config, Arc::clone(&counters));
        let pending = core.pending();
        let opened = match &config.persist_file {
            Some(path) => Some(recover(path, config, storage, &mut core)?),
            None => None,
        };
        let listen = |port| {
            let address = SocketAddr::new(config.bind, port);
            Listener::bind(address).map_err(|source| StartError::Listen { address, source })
        };
        let (requests, publishing) = (listen(config.recv_port)?, listen(config.pub_port)?);
        let (pub_addr, recv_addr) = (publishing.address(), requests.address());
        let network = SystemNetwork::new(Some([requests, publishing]), wake)?;
        let journal = match opened {
            Some(opened) => {
                let waker = waker.clone();
                let live = Arc::new(Live(pending.clone()));
                Some(opened.start(live, Box::new(move |_| waker.wake()))?)
            }
            None => None,
        };
        let stop = Arc::<AtomicBool>::default();
        let checker = Checker::new(waker.clone());
        let broker = Broker::new(core, config, network, checker, journal, Arc::clone(&stop));
        let changes = broker.changes();
        let asked = Arc::clone(broker.asked());
        let asks_passwords = config.access.as_ref().is_some_and(Access::has_users);
        if asks_passwords && !config.bind.is_loopback() {
            tracing::warn!(
                "passwords and messages travel in the clear on {}: let nobody reach it but through a network that \
                 encrypts, or use keys (--curve-secret)",
                config.bind
            );
        }
        let questions = Arc::clone(broker.questions().questions());
        let shared =
            Shared { stop, waker, counters, pending, changes, asked, asks_passwords, questions };
        let thread =
            std::thread::Builder::new().name("mezzenger-broker".into()).spawn(|| broker.run())?;
        Ok(Self { pub_addr, recv_addr, shared, thread: Some(thread) })
    }

    /// Where ZeroMQ SUB sockets connect, such as those of original clients.
    pub fn pub_addr(&self) -> SocketAddr {
        self.pub_addr
    }

    /// Where clients connect.
    pub fn recv_addr(&self) -> SocketAddr {
        self.recv_addr
    }

    /// The server's counts since its start.
    pub fn metrics(&self) -> Metrics {
        Metrics {
            pending_messages: self.shared.pending.len() as u64,
            pending_bytes: self.shared.pending.bytes() as u64,
            ..self.shared.counters.snapshot()
        }
    }

    /// A handle that asks this server about its state, from any thread. From the first call on, the server counts what is published
    /// under each name.
    pub fn inspector(&self) -> Inspector {
        Inspector::new(Arc::clone(&self.shared.questions), self.shared.waker.clone())
    }

    /// A handle that stops this server, for a signal handler or another thread.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle(self.shared.clone())
    }

    /// A handle that changes which clients are accepted, for another thread.
    pub fn keys_handle(&self) -> KeysHandle {
        KeysHandle(self.shared.clone())
    }

    /// A handle that changes settings and asks whether the broker is alive, for another thread.
    pub fn control_handle(&self) -> ControlHandle {
        ControlHandle(self.shared.clone())
    }

    /// Changes which clients are accepted; see [`KeysHandle::set_authorized_keys`].
    pub fn set_authorized_keys(&self, authorized: AuthorizedKeys) {
        self.keys_handle().set_authorized_keys(authorized);
    }

    /// A handle that changes what clients may do, for another thread.
    pub fn access_handle(&self) -> AccessHandle {
        AccessHandle(self.shared.clone())
    }

    /// Waits until the server ends: after [`StopHandle::stop`], or because of a failure.
    ///
    /// # Errors
    /// What made it end, unless it was stopped.
    pub fn wait(mut self) -> Result<(), RunError> {
        self.join()
    }

    /// Stops taking messages, finishes what was taken (answers it, and syncs the journal), and ends, within [`Config::drain_timeout`].
    ///
    /// # Errors
    /// When the journal could not be synced, or the server had failed before.
    pub fn shutdown(mut self) -> Result<(), RunError> {
        self.stop_handle().stop();
        self.join()
    }

    fn join(&mut self) -> Result<(), RunError> {
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or(Err(RunError::Panicked)),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop_handle().stop();
            if let Err(error) = self.join() {
                tracing::error!("the server ended badly: {error}");
            }
        }
    }
}

/// Opens the journal and gives the core what it holds.
pub(crate) fn recover(
    path: &Path,
    config: &Config,
    storage: Arc<dyn Storage>,
    core: &mut CoreState,
) -> Result<journal::Opened, OpenError> {
    let options =
        JournalOptions { fsync: config.fsync, repair: config.repair, ..JournalOptions::new(path) };
    let began = Instant::now();
    let (recovered, opened) = journal::open(options, storage)?;
    let (groups, letters) = (recovered.groups.all.len(), recovered.letters.len());
    let (retained, is_new) = (recovered.retained.len(), recovered.is_new);
    let (mut messages, mut bytes, mut names) = (0_u64, 0, HashSet::new());
    for run in recovered.seen {
        core.restore_seen(run.publisher, run.first, run.last);
    }
    core.make_room(recovered.messages.len());
    let mut restoring = core.restore_groups(recovered.groups, &recovered.letters);
    for message in recovered.messages {
        let message = message?;
        messages += 1;
        bytes += message.body.len();
        // Messages share their names.
        names.insert(message.name.as_ptr());
        core.restore(message, &mut restoring);
    }
    for letter in recovered.letters {
        core.restore_letter(letter);
    }
    for message in recovered.retained {
        core.restore_retained(message);
    }
    for key in &recovered.keys {
        core.restore_key(key);
    }
    let (path, took) = (path.display(), began.elapsed());
    if is_new {
        tracing::info!("began the journal {path}: there was none");
    } else {
        tracing::info!(
            messages,
            bytes,
            names = names.len(),
            groups,
            dead_letters = letters,
            retained,
            "recovered the journal {path} in {took:.1?}"
        );
    }
    Ok(opened)
}

/// Configures a [`Server`]. Every setting has a default, the one of [`Config::default`].
///
/// ```
/// use mezzenger::{Client, Server};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Port 0 picks a free port. A journal makes groups and unacknowledged messages survive a restart.
/// # let folder = std::env::temp_dir().join(format!("mezzenger-builder-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("journal");
/// let server = Server::builder().pub_port(0).recv_port(0).persist_file(path).start()?;
/// let client = Client::builder().port(server.recv_addr().port()).connect()?;
/// client.message("orders.new", "tea").ack().send()?;
/// # std::fs::remove_dir_all(folder)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ServerBuilder {
    config: Config,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)+) => {
        impl ServerBuilder {
            $($(#[$doc])*
            #[must_use]
            pub fn $name(mut self, $name: $type) -> Self {
                self.config.$name = $name;
                self
            })+
        }
    };
}

setters! {
    /// The address to listen on. One that other machines can reach needs [`Self::curve`], users in [`Self::access`], or
    /// [`Self::insecure`]. Default: 127.0.0.1.
    bind: IpAddr,
    /// Port for ZeroMQ SUB sockets, such as those of original clients; clients of this library do not use it. 0 picks a
    /// free one. Default: 7201.
    pub_port: u16,
    /// Port that clients connect to, to publish and to subscribe. 0 picks a free one. Default: 7202.
    recv_port: u16,
    /// When the journal is synced. Default: always, before OK.
    fsync: FsyncPolicy,
    /// Goes on with a damaged journal, without its damaged records; a copy of the file is kept. Default: false.
    repair: bool,
    /// How long an unacknowledged message waits before it is sent again. Default: 10 s.
    retry_interval: Duration,
    /// How long an idempotency key counts: another message under it is not published. Default: 2 minutes.
    idempotency_window: Duration,
    /// Maximum of unacknowledged messages; further messages with ack are rejected. Default: 10,000,000.
    max_pending_messages: usize,
    /// Maximum bytes of unacknowledged messages; further messages with ack are rejected. Default: 2 GiB.
    max_pending_bytes: usize,
    /// Maximum bytes of a message; larger ones are rejected. Default: 64 MiB.
    max_message_bytes: usize,
    /// Maximum of connections, of publishers and subscribers together; further ones are closed at once. Default: 65,536.
    max_connections: usize,
    /// Maximum of connections of one address; further ones are closed at once. Default: 65,536.
    max_connections_per_address: usize,
    /// Bytes of all frames that wait for some subscriber, beyond which all publishers are held back. Default:
    /// 256 MiB.
    max_unsent_bytes: usize,
    /// Bytes queued for one subscriber, beyond which it counts as slow whatever their age. Default: 32 MiB.
    max_subscriber_bytes: usize,
    /// What happens to a subscriber that does not keep up. Default: hold.
    slow_subscriber: SlowSubscriber,
    /// Which checksums are checked. Default: stored.
    verify: Verify,
    /// How long all others wait for one subscriber that does not read, before it is disconnected. Default:
    /// 1 s.
    stall_grace: Duration,
    /// How long the shutdown may take. Default: 5 s.
    drain_timeout: Duration,
    /// Allows an address that other machines can reach, although nothing authenticates them. Default: false.
    insecure: bool,
}

impl ServerBuilder {
    /// Keeps unacknowledged messages and durable groups in this file, so that they outlive the server. Default: no file.
    #[must_use]
    pub fn persist_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.config.persist_file = Some(path.into());
        self
    }

    /// Authenticates and encrypts every connection with CURVE ([CurveZMQ](https://rfc.zeromq.org/spec/26/)), which
    /// clients of this library and of libzmq speak. The server proves its own keys, and accepts only authorized clients.
    /// Connections without CURVE are closed. With CURVE, a message over the limit also ends its connection.
    ///
    /// ```
    /// use mezzenger::curve::{AuthorizedKeys, KeyPair};
    /// use mezzenger::{Client, Server};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (server_keys, alice) = (KeyPair::generate(), KeyPair::generate());
    /// let authorized: AuthorizedKeys = [alice.public()].into_iter().collect();
    /// let builder = Server::builder().pub_port(0).recv_port(0);
    /// let server = builder.curve(server_keys.clone(), authorized).start()?;
    ///
    /// let builder = Client::builder().port(server.recv_addr().port());
    /// let client = builder.curve(alice, server_keys.public()).connect()?;
    /// client.message("orders.new", "tea").ack().send()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn curve(mut self, own: KeyPair, authorized: AuthorizedKeys) -> Self {
        self.config.curve = Some(ServerKeys { own, authorized });
        self
    }

    /// Sets what each client may do. Anything not listed is rejected. Without it, every client may do everything. See
    /// [`access`](crate::access).
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        self.config.access = Some(access);
        self
    }

    /// The configuration as it stands.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Starts the server; see [`Server::start`].
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start(self) -> Result<Server, StartError> {
        Server::start(&self.config)
    }
}
