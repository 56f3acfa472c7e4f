//! A client without threads: whoever has it does their work, turn by turn.

use std::sync::Arc;
use std::time::Duration;

use super::bridge::Bridge;
use super::core::{Core, settings};
use super::error::ConnectError;
use super::handle::Client;
use super::options::ClientBuilder;
use super::requester::Requester;
use super::subscriber::{Running, Subscriber};
use crate::net::connection::Connection;
use crate::net::wait::Woken;
use crate::transport::{Context, TransportError};
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
    bridges: [Bridge; 2],
}

impl DrivenClient {
    /// Connects to these endpoints, for requests and for receiving, of any kind that libzmq knows. The
    /// server is not asked for a sign of life.
    ///
    /// # Errors
    /// When a socket cannot be made or an endpoint used.
    pub fn new(
        options: &ClientBuilder,
        context: &Context,
        [requests, receiving]: [String; 2],
    ) -> Result<Self, ConnectError> {
        let connect = |kind, endpoint: String| -> Result<_, TransportError> {
            let (bridge, socket) = Bridge::new(context, kind, &endpoint)?;
            let settings = settings(options, kind, NEVER);
            Ok((bridge, Connection::over(socket, settings)))
        };
        let (request_bridge, request_wire) = connect(Kind::Dealer, requests)?;
        let (receiving_bridge, receiving_wire) = connect(Kind::Sub, receiving)?;
        let (core, (requester, subscriber)) = Core::split(options, [request_wire, receiving_wire])?;
        let receiver = subscriber.map(Subscriber::begin);
        let client = Client::from_core(Arc::new(core));
        Ok(Self { client, requester, receiver, bridges: [request_bridge, receiving_bridge] })
    }

    /// The client. What waits for an answer must be called from another thread.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Carries what the client sent to the server's sockets, and what they have to the client; whether
    /// there was anything. In a real client the system and libzmq do this.
    ///
    /// # Errors
    /// When a socket fails.
    pub fn carry(&mut self) -> Result<bool, TransportError> {
        let mut carried = false;
        for bridge in &mut self.bridges {
            carried |= bridge.carry()?;
        }
        Ok(carried)
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
