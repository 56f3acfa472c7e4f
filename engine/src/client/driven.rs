//! A client without threads: whoever has it does their work, turn by turn.

use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::error::ConnectError;
use super::handle::Client;
use super::options::ClientBuilder;
use super::requester::Requester;
use super::subscriber::{Running, Subscriber};
use crate::transport::{Context, TransportError};

/// A client, and what its two threads would run. No turn waits.
pub struct DrivenClient {
    client: Client,
    requester: Requester,
    receiver: Option<Running>,
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
        endpoints: [String; 2],
    ) -> Result<Self, ConnectError> {
        let (core, (requester, subscriber)) = Core::split(options, context, endpoints)?;
        let receiver = subscriber.map(Subscriber::begin);
        Ok(Self { client: Client::from_core(Arc::new(core)), requester, receiver })
    }

    /// The client. What waits for an answer must be called from another thread.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// One turn of the request thread.
    ///
    /// # Errors
    /// When a socket fails.
    pub fn turn_requests(&mut self) -> Result<(), TransportError> {
        self.requester.turn(Some(Duration::ZERO)).map(drop)
    }

    /// One turn of the receiving thread, if the client has one.
    ///
    /// # Errors
    /// When a socket fails.
    pub fn turn_receiving(&mut self) -> Result<(), TransportError> {
        match &mut self.receiver {
            Some(receiver) => receiver.turn(Some(Duration::ZERO)).map(drop),
            None => Ok(()),
        }
    }
}
