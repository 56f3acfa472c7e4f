//! A client without threads: whoever has it does their work, turn by turn.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use crate::client::builder::ClientBuilder;
use crate::client::connection::requester::Requester;
use crate::client::core::{Core, settings};
use crate::client::error::ConnectError;
use crate::client::handle::Client;
use crate::net::connection::Connection;
use crate::net::wait::{Woken, has_input};
use crate::net::waker;

/// No measurement takes so long.
const NEVER: Duration = Duration::from_secs(86_400);

/// A turn without a wait before it looks at everything.
const WOKEN: Woken = Woken { connection: true, waker: true };

/// A client, and what its threads would do. No turn waits.
pub struct DrivenClient {
    client: Client,
    requester: Requester,
    /// The same stream again, to see whether something came in.
    stream: UnixStream,
}

impl DrivenClient {
    /// A client over this stream. It does not ping the server.
    ///
    /// # Errors
    /// When the system call fails.
    pub fn over(options: &ClientBuilder, stream: UnixStream) -> Result<Self, ConnectError> {
        let options = &options.options;
        stream.set_nonblocking(true).map_err(ConnectError::System)?;
        let again = stream.try_clone().map_err(ConnectError::System)?;
        let wire = Connection::over(again.into(), settings(options, NEVER));
        let (waker, wakes) = waker::pair().map_err(ConnectError::System)?;
        let (core, requester) = Core::split(options, wire, waker, Some(wakes))?;
        Ok(Self { client: Client::from_core(Arc::new(core)), requester, stream })
    }

    /// The client. What waits for an answer must be called from another thread.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether something came in.
    pub fn has_input(&self) -> bool {
        has_input(&self.stream)
    }

    /// A turn, and the calls of callbacks that follow it.
    pub fn turn(&mut self) {
        self.requester.turn(WOKEN);
        for inbox in self.requester.take_called() {
            while inbox.call() {}
        }
    }
}
