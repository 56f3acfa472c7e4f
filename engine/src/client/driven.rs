//! A client without threads: whoever has it does their work, turn by turn.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use super::builder::ClientBuilder;
use super::core::{Core, settings};
use super::error::ConnectError;
use super::handle::Client;
use super::requester::Requester;
use super::subscriber::{Running, Subscriber};
use crate::net::connection::Connection;
use crate::net::wait::{Woken, has_input};
use crate::zmtp::handshake::Kind;

/// No measurement takes so long.
const NEVER: Duration = Duration::from_secs(86_400);

/// A turn without a wait before it looks at everything.
const WOKEN: Woken = Woken { connection: true, waker: true };

/// A client, and what its two threads would run. No turn waits.
pub struct DrivenClient {
    client: Client,
    requester: Requester,
    receiver: Option<Running>,
    /// The same streams again, to see whether something came in.
    streams: [UnixStream; 2],
}

impl DrivenClient {
    /// A client over these streams, for requests and for receiving. The server is not asked for a sign of
    /// life.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn over(options: &ClientBuilder, streams: [UnixStream; 2]) -> Result<Self, ConnectError> {
        let options = &options.options;
        let connect = |kind, stream: UnixStream| -> io::Result<Connection> {
            stream.set_nonblocking(true)?;
            Ok(Connection::over(stream.into(), settings(options, kind, NEVER)))
        };
        let [requests, receiving] = streams;
        let again = |stream: &UnixStream| stream.try_clone().map_err(ConnectError::System);
        let streams = [again(&requests)?, again(&receiving)?];
        let requests = connect(Kind::Dealer, requests).map_err(ConnectError::System)?;
        let receiving = connect(Kind::Sub, receiving).map_err(ConnectError::System)?;
        let (core, (requester, subscriber)) = Core::split(options, [requests, receiving])?;
        let receiver = subscriber.map(Subscriber::begin);
        let client = Client::from_core(Arc::new(core));
        Ok(Self { client, requester, receiver, streams })
    }

    /// The client. What waits for an answer must be called from another thread.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether something came in. Who does not receive reads the first stream alone.
    pub fn has_input(&self) -> bool {
        let read = if self.receiver.is_some() { 2 } else { 1 };
        self.streams[..read].iter().any(has_input)
    }

    /// One turn of the request thread.
    pub fn turn_requests(&mut self) {
        self.requester.turn(WOKEN);
    }

    /// One turn of the receiving thread, if the client has one.
    pub fn turn_receiving(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            receiver.turn(WOKEN);
        }
    }
}
