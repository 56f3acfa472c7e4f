//! Collects a client's options, and starts it.

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::connection::links::ConnectionEvent;
use super::core::Core;
use super::error::ConnectError;
use super::handle::Client;
use super::options::{Options, read_address};
use super::report::{Blocked, Failure, Missed};
use crate::wire::hello::fitting_name;
use crate::zmtp::curve::keys::{ClientKeys, KeyPair, PublicKey};
use crate::zmtp::plain::Login;

/// Collects a client's options; [`Self::connect`] starts it.
///
/// ```no_run
/// use std::time::Duration;
///
/// let client = mezzenger::Client::builder()
///     .server_address("10.0.0.5")
///     .send_timeout(Duration::from_millis(500))
///     .on_missed(|missed| eprintln!("missed {} of {}", missed.messages, missed.name))
///     .connect()?;
/// # Ok::<(), mezzenger::ConnectError>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "call connect() to start the client"]
pub struct ClientBuilder {
    pub(super) options: Options,
}

impl ClientBuilder {
    /// The server's host name or IP address, `host:7202`, or its URL, `mezzenger://host` or `mezzenger://host:7202`. A port
    /// that is given here takes precedence over an earlier [`Self::port`]. An IPv6 address may stand in brackets, or
    /// without them where no port follows. Default: 127.0.0.1.
    ///
    /// A URL may name several servers, `mezzenger://one,two:7203`. The client connects to the first that accepts it, and
    /// when it loses the connection, to the next. Servers share nothing: the messages that a server keeps wait there. What was
    /// in flight when the connection was lost is sent again to the next server, although the first may have accepted it.
    pub fn server_address(mut self, address: impl Into<String>) -> Self {
        let address = address.into();
        if let Some(hosts) = read_address(&address) {
            let mut hosts = hosts.into_iter().map(|(host, port)| (host.to_owned(), port));
            if let Some((host, port)) = hosts.next() {
                self.options.server_address = host;
                self.options.port = port.unwrap_or(self.options.port_unsaid);
            }
            self.options.others = hosts.collect();
        } else {
            self.options.server_address = address;
            self.options.port = self.options.port_unsaid;
            self.options.others.clear();
        }
        self
    }

    /// The port that the client connects to: the server's `--recv-port`. Default: 7202.
    pub fn port(mut self, port: u16) -> Self {
        self.options.port = port;
        self.options.port_unsaid = port;
        self
    }

    /// How long to wait for the server's answer before a request is sent again: more than zero, at most a year.
    /// Default: 2 s.
    pub fn send_timeout(mut self, timeout: Duration) -> Self {
        self.options.send_timeout = timeout;
        self
    }

    /// Maximum attempts per request, including the first. Requests are sent again in order, so the youngest in flight
    /// may be sent again long before its own `send_timeout` is over. Default: 5.
    pub fn connection_retries(mut self, tries: u32) -> Self {
        self.options.connection_retries = tries;
        self
    }

    /// Maximum of callbacks of [`Client::subscribe`] that run at the same time, at least 1. A client has one thread
    /// while its callbacks are quick, and up to this many more while callbacks take long. Default: 4.
    pub fn callback_threads(mut self, threads: usize) -> Self {
        self.options.callback_threads = threads;
        self
    }

    /// The client's name in the server's log, metrics and page. It is for people: nothing proves it. At most its first 64 bytes
    /// are sent, without control characters; an empty name is no name. Default: the file name of the program.
    ///
    /// ```no_run
    /// let client = mezzenger::Client::builder().client_name("invoices").connect()?;
    /// # Ok::<(), mezzenger::ConnectError>(())
    /// ```
    pub fn client_name(mut self, name: impl AsRef<str>) -> Self {
        self.options.client_name = fitting_name(name.as_ref());
        self
    }

    /// Whether to log each new connection, after which messages are sent again, at level `info` instead of `debug`.
    /// Default: false.
    pub fn verbose(mut self, verbose: bool) -> Self {
        self.options.verbose = verbose;
        self
    }

    /// Maximum bytes of a message on the wire (payload, name and some 64 bytes); give the server (`--max-message-size`)
    /// the same. A client that does not keep up with reading holds what waits in its subscriptions, and one buffer of a
    /// megabyte or of a message of this size. Default: 64 MiB.
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.options.max_message_size = bytes;
        self
    }

    /// Maximum of frames in flight: sent and not yet answered. [`Self::target_delay`] usually asks for fewer. Default:
    /// 32.
    pub fn window(mut self, frames: usize) -> Self {
        self.options.window = frames;
        self
    }

    /// Limit for queued bytes and, separately, for in-flight bytes: a client holds at most twice as many bytes of what
    /// it publishes (and always at least one message queued and one in flight). [`Client::publish`] blocks at the limit.
    /// [`Self::target_delay`] usually asks for less. Default: 4 MiB.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.options.buffer_bytes = bytes;
        self
    }

    /// Limit for the time that a published message waits in this client and, separately, for the time that it waits at
    /// the server beyond an undisturbed round trip, while messages are published faster than the server answers. The
    /// client measures how fast the server answers, keeps no more in flight than the server answers in that time, and
    /// makes frames smaller while it is slow; [`Client::publish`] blocks while the oldest message has waited for
    /// longer. While the server cannot be reached, only [`Self::buffer_bytes`] limits. Where a message goes to hundreds
    /// of connections, frames stay large and take up to eight times as long, because each frame costs the server a
    /// write per connection. A longer delay helps where round trips vary much. More than zero, at most a year. Default:
    /// 8 ms.
    pub fn target_delay(mut self, delay: Duration) -> Self {
        self.options.target_delay = delay;
        self
    }

    /// Whether to check each received message's checksum; one that does not match is reported and not
    /// delivered. Default: false (TCP and the server check, too).
    pub fn verify_checksums(mut self, verify: bool) -> Self {
        self.options.verify_checksums = verify;
        self
    }

    /// Encrypts the connection with CURVE ([CurveZMQ](https://rfc.zeromq.org/spec/26/)): the client proves its own
    /// keys, and connects only to a server that has the secret key of `server`. [`ServerBuilder::curve`] is the server's
    /// side. Several servers of a URL share one key.
    ///
    /// [`ServerBuilder::curve`]: crate::ServerBuilder::curve
    pub fn curve(mut self, own: KeyPair, server: PublicKey) -> Self {
        self.options.curve = Some(Arc::new(ClientKeys { own, server }));
        self
    }

    /// Logs in with a user's name and password (PLAIN), and connects only to a server that asks for them. Both
    /// travel unencrypted, as all messages do: use it only on networks that encrypt.
    /// [`Access::user`](crate::access::Access::user) is the server's side.
    pub fn plain(mut self, user: impl Into<String>, password: impl AsRef<[u8]>) -> Self {
        let password = Zeroizing::new(password.as_ref().to_vec());
        self.options.login = Some(Arc::new(Login { user: user.into(), password }));
        self
    }

    /// Called, on the client's thread, when messages that were published did not arrive here. It must not
    /// block, as [`Self::on_error`] says. A message that asks for acknowledgement can still arrive later. See [`Missed`] for
    /// reports without a loss.
    pub fn on_missed(mut self, callback: impl Fn(&Missed) + Send + Sync + 'static) -> Self {
        self.options.on_missed = Some(Arc::new(callback));
        self
    }

    /// Called, on the client's thread, when publishing has waited for a tenth of a second ([`Blocked::Began`]), and when it
    /// goes on. It must not block, as [`Self::on_error`] says, and what it publishes fails at once while
    /// there is no room. [`Client::counters`] has how often and how
    /// long calls waited; one that waits `send_timeout` times `connection_retries` fails with
    /// [`SendError::Full`](super::SendError::Full).
    ///
    /// ```no_run
    /// use mezzenger::Blocked;
    ///
    /// let client = mezzenger::Client::builder()
    ///     .on_blocked(|blocked| match blocked {
    ///         Blocked::Began => eprintln!("the server does not keep up"),
    ///         Blocked::Ended { after } => eprintln!("it does again, after {after:?}"),
    ///         _ => {}
    ///     })
    ///     .connect()?;
    /// # Ok::<(), mezzenger::ConnectError>(())
    /// ```
    pub fn on_blocked(mut self, callback: impl Fn(Blocked) + Send + Sync + 'static) -> Self {
        self.options.on_blocked = Some(Arc::new(callback));
        self
    }

    /// Called, on the client's thread, when a connection was made, and when one ended, with the reason: at once, even while
    /// callbacks for messages are busy or a [`Subscription`](super::Subscription) is not read. It must not block, as
    /// [`Self::on_error`] says. It is not called when the client stops.
    ///
    /// ```no_run
    /// use mezzenger::ConnectionEvent;
    ///
    /// let client = mezzenger::Client::builder()
    ///     .on_connection(|event| match event {
    ///         ConnectionEvent::Connected => eprintln!("connected"),
    ///         ConnectionEvent::Disconnected { why } => eprintln!("disconnected: {why}"),
    ///         _ => {}
    ///     })
    ///     .connect()?;
    /// # Ok::<(), mezzenger::ConnectError>(())
    /// ```
    pub fn on_connection(
        mut self,
        callback: impl Fn(&ConnectionEvent) + Send + Sync + 'static,
    ) -> Self {
        self.options.on_connection = Some(Arc::new(callback));
        self
    }

    /// Called, on the thread concerned, when something failed that no call returns, as [`Failure`] lists. Such failures are also
    /// logged, with `tracing`. The callback must not block: on the client's thread, a call that waits for the server would wait for that very thread, and fails with
    /// [`SendError::InCallback`](super::SendError::InCallback) or
    /// [`SubscribeError::InCallback`](super::SubscribeError::InCallback).
    pub fn on_error(mut self, callback: impl Fn(&Failure) + Send + Sync + 'static) -> Self {
        self.options.on_error = Some(Arc::new(callback));
        self
    }

    /// Starts the client and says hello to the server.
    ///
    /// # Errors
    /// [`ConnectError::NoAnswer`] and [`ConnectError::Unreachable`] after `send_timeout` times
    /// `connection_retries`; the other variants at once, because a further attempt would end the same way.
    pub fn connect(self) -> Result<Client, ConnectError> {
        self.options.check()?;
        Ok(Client::from_core(Arc::new(Core::start(self.options)?)))
    }
}

impl Client {
    /// Returns a builder with all options at their defaults.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    /// Connects to a server on its default port, or the one of the URL, with all other options at their defaults.
    ///
    /// # Errors
    /// As for [`ClientBuilder::connect`].
    pub fn connect(server_address: impl Into<String>) -> Result<Self, ConnectError> {
        Self::builder().server_address(server_address).connect()
    }
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("server_address", &self.options.server_address)
            .field("port", &self.options.port)
            .field("send_timeout", &self.options.send_timeout)
            .field("connection_retries", &self.options.connection_retries)
            .finish_non_exhaustive()
    }
}
