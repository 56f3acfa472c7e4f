//! Sockets: non-blocking, one owner each.
#![expect(
    unsafe_code,
    reason = "sending must keep a refused message, which the crate's send drops"
)]

use std::ffi::c_int;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::part::Part;

/// How often a silent peer is asked for a sign of life.
const KEEPALIVE_PROBES: i32 = 6;

/// A failure of libzmq or of the system under it.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Binding an address failed.
    #[error("cannot listen on {endpoint}: {source}; {}", bind_hint(*source))]
    Bind {
        /// The address, as `tcp://host:port`.
        endpoint: String,
        /// What libzmq says.
        source: zmq::Error,
    },
    /// The address of a server cannot be used.
    #[error("cannot use the address {endpoint}: {source}; expected a host name or IP address")]
    Connect {
        /// The address, as `tcp://host:port`.
        endpoint: String,
        /// What libzmq says.
        source: zmq::Error,
    },
    /// A socket could not be made or used.
    #[error("a socket failed: {0}; check the limit on open files (ulimit -n)")]
    Socket(#[from] zmq::Error),
    /// The system refused a resource.
    #[error("the system refused a resource: {0}")]
    System(#[from] io::Error),
}

fn bind_hint(source: zmq::Error) -> &'static str {
    match source {
        zmq::Error::EADDRINUSE => {
            "another process has this port: end it, or choose another port (0 picks a free one)"
        }
        zmq::Error::EADDRNOTAVAIL | zmq::Error::ENODEV => {
            "no interface of this machine has this address"
        }
        zmq::Error::EACCES => "this port needs more rights: choose one above 1023",
        _ => "expected an IP address of this machine",
    }
}

/// The address in an endpoint such as `tcp://127.0.0.1:7780`; `None` if that is a name or no TCP.
pub fn tcp_address(endpoint: &str) -> Option<SocketAddr> {
    endpoint.strip_prefix("tcp://")?.parse().ok()
}

/// A libzmq context: its I/O threads, and all sockets made from it.
#[derive(Clone)]
pub struct Context(pub(super) zmq::Context);

/// What a socket may be told beyond its kind. `None` leaves libzmq's default.
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketOptions {
    /// Messages queued for each peer, outgoing.
    pub send_hwm: Option<i32>,
    /// Messages queued from each peer, incoming.
    pub receive_hwm: Option<i32>,
    /// Larger incoming messages end the connection.
    pub max_message_bytes: Option<i64>,
    /// How long a closed socket goes on sending, in milliseconds.
    pub linger_ms: i32,
    /// Silence after which the system asks a TCP peer for a sign of life. After as long again without
    /// one, the connection ends.
    pub keepalive: Option<Duration>,
    /// How long a peer may take to say what it is, before its connection ends.
    pub handshake: Option<Duration>,
}

impl Context {
    /// A context with this many I/O threads.
    ///
    /// # Errors
    /// When libzmq refuses the number.
    pub fn new(io_threads: i32) -> Result<Self, TransportError> {
        let context = zmq::Context::new();
        context.set_io_threads(io_threads)?;
        Ok(Self(context))
    }

    fn socket(&self, kind: zmq::SocketType, o: SocketOptions) -> Result<Socket, TransportError> {
        let socket = self.0.socket(kind)?;
        socket.set_linger(o.linger_ms)?;
        if let Some(frames) = o.send_hwm {
            socket.set_sndhwm(frames)?;
        }
        if let Some(frames) = o.receive_hwm {
            socket.set_rcvhwm(frames)?;
        }
        if let Some(bytes) = o.max_message_bytes {
            socket.set_maxmsgsize(bytes)?;
        }
        if let Some(time) = o.handshake {
            socket.set_handshake_ivl(i32::try_from(time.as_millis()).unwrap_or(i32::MAX))?;
        }
        if let Some(silence) = o.keepalive {
            let seconds = silence.as_secs().max(1) as i32;
            let between = (seconds / KEEPALIVE_PROBES).max(1);
            socket.set_tcp_keepalive(1)?;
            socket.set_tcp_keepalive_idle(seconds)?;
            socket.set_tcp_keepalive_intvl(between)?;
            socket.set_tcp_keepalive_cnt(KEEPALIVE_PROBES)?;
        }
        Ok(Socket { socket })
    }

    /// The server's request socket.
    ///
    /// # Errors
    /// When libzmq or the system refuses it.
    pub fn router(&self, options: SocketOptions) -> Result<Socket, TransportError> {
        self.socket(zmq::ROUTER, options)
    }

    /// A request socket.
    ///
    /// # Errors
    /// When libzmq or the system refuses it.
    pub fn dealer(&self, options: SocketOptions) -> Result<Socket, TransportError> {
        self.socket(zmq::DEALER, options)
    }

    /// The server's publishing socket. It refuses a message for which one subscriber's queue is full
    /// instead of dropping it there, and tells of every subscription, also when somebody else has it.
    ///
    /// # Errors
    /// When libzmq or the system refuses it.
    pub fn xpub(&self, options: SocketOptions) -> Result<Socket, TransportError> {
        let mut socket = self.socket(zmq::XPUB, options)?;
        socket.set_option(zmq_sys::ZMQ_XPUB_NODROP, 1)?;
        socket.set_option(zmq_sys::ZMQ_XPUB_VERBOSE, 1)?;
        Ok(socket)
    }

    /// A subscribing socket.
    ///
    /// # Errors
    /// When libzmq or the system refuses it.
    pub fn sub(&self, options: SocketOptions) -> Result<Socket, TransportError> {
        self.socket(zmq::SUB, options)
    }
}

/// What a non-blocking receive found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A part, now in the buffer that was given.
    Part,
    /// Nothing to receive now.
    Nothing,
}

/// A socket. It moves between threads, and is used by one at a time.
pub struct Socket {
    pub(super) socket: zmq::Socket,
}

impl Socket {
    /// Listens on `tcp://host:port` (port `*` or 0 picks a free one) and returns the endpoint it got.
    ///
    /// # Errors
    /// [`TransportError::Bind`].
    pub fn bind(&self, endpoint: &str) -> Result<String, TransportError> {
        let fail = |source| TransportError::Bind { endpoint: endpoint.to_owned(), source };
        self.socket.set_ipv6(is_ipv6(endpoint)).map_err(fail)?;
        self.socket.bind(endpoint).map_err(fail)?;
        match self.socket.get_last_endpoint().map_err(fail)? {
            Ok(bound) => Ok(bound),
            Err(_) => Err(fail(zmq::Error::EINVAL)),
        }
    }

    /// Connects to `tcp://host:port`, now or whenever it becomes reachable.
    ///
    /// # Errors
    /// [`TransportError::Connect`] for an address that cannot be one.
    pub fn connect(&self, endpoint: &str) -> Result<(), TransportError> {
        let fail = |source| TransportError::Connect { endpoint: endpoint.to_owned(), source };
        self.socket.set_ipv6(is_ipv6(endpoint)).map_err(fail)?;
        self.socket.connect(endpoint).map_err(fail)
    }

    /// Adds a subscription (a subscribing socket counts equal ones).
    ///
    /// # Errors
    /// When the context is ending.
    pub fn subscribe(&self, topic: &[u8]) -> Result<(), TransportError> {
        Ok(self.socket.set_subscribe(topic)?)
    }

    /// Takes one subscription back.
    ///
    /// # Errors
    /// When the context is ending.
    pub fn unsubscribe(&self, topic: &[u8]) -> Result<(), TransportError> {
        Ok(self.socket.set_unsubscribe(topic)?)
    }

    /// Lets a publishing socket drop what a full queue has no room for, where [`Context::xpub`] made it
    /// refuse.
    ///
    /// # Errors
    /// When the context is ending.
    pub fn drop_when_full(&mut self) -> Result<(), TransportError> {
        self.set_option(zmq_sys::ZMQ_XPUB_NODROP, 0)
    }

    fn set_option(&mut self, option: u32, value: c_int) -> Result<(), TransportError> {
        // SAFETY: the socket is open as long as `self` lives, and the option takes an int, which the
        // pointer and the size describe.
        let failed = unsafe {
            zmq_sys::zmq_setsockopt(
                self.socket.as_mut_ptr(),
                option as c_int,
                (&raw const value).cast(),
                size_of::<c_int>(),
            )
        } != 0;
        if failed { Err(last_error().into()) } else { Ok(()) }
    }

    /// Receives one part, if one is there.
    ///
    /// # Errors
    /// When the context is ending.
    pub fn receive(&mut self, part: &mut Part) -> Result<Received, TransportError> {
        loop {
            // SAFETY: both pointers are valid for the call and exclusively borrowed; libzmq closes what
            // the part held before.
            let got = unsafe {
                zmq_sys::zmq_msg_recv(
                    part.raw_mut(),
                    self.socket.as_mut_ptr(),
                    zmq_sys::ZMQ_DONTWAIT as c_int,
                )
            };
            if got >= 0 {
                return Ok(Received::Part);
            }
            match last_error() {
                zmq::Error::EAGAIN => return Ok(Received::Nothing),
                zmq::Error::EINTR => {}
                error => return Err(error.into()),
            }
        }
    }

    /// Sends one part, with `more` to follow. `Ok(false)` means that a queue is full: the part still
    /// has its content, and can be sent later.
    ///
    /// # Errors
    /// When the context is ending.
    pub fn send(&mut self, part: &mut Part, more: bool) -> Result<bool, TransportError> {
        let flags =
            if more { zmq_sys::ZMQ_DONTWAIT | zmq_sys::ZMQ_SNDMORE } else { zmq_sys::ZMQ_DONTWAIT };
        loop {
            // SAFETY: both pointers are valid for the call and exclusively borrowed. When it succeeds,
            // libzmq leaves an empty message behind; when it fails, the content stays.
            let sent = unsafe {
                zmq_sys::zmq_msg_send(part.raw_mut(), self.socket.as_mut_ptr(), flags as c_int)
            };
            if sent >= 0 {
                return Ok(true);
            }
            match last_error() {
                zmq::Error::EAGAIN => return Ok(false),
                zmq::Error::EINTR => {}
                // The peer of a reply is gone: nobody is left to tell.
                zmq::Error::EHOSTUNREACH => return Ok(true),
                error => return Err(error.into()),
            }
        }
    }
}

/// libzmq resolves a name to one address: with IPv6 on, `localhost` would miss a server that listens on
/// 127.0.0.1. So it is on only for an address that is IPv6 by its brackets.
fn is_ipv6(endpoint: &str) -> bool {
    endpoint.contains('[')
}

fn last_error() -> zmq::Error {
    // SAFETY: reads the calling thread's error number.
    zmq::Error::from_raw(unsafe { zmq_sys::zmq_errno() })
}
