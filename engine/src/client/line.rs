//! The connection that requests leave by.
//!
//! The request thread uses it, and a publisher whose message may leave at once: sending it there and
//! then saves a switch of threads. Nobody waits for it but the request thread.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::batches::{Cut, Finished};
use super::in_flight::{Cargo, InFlight, Request};
use super::outbox::Outbox;
use super::seal::Sealer;
use crate::transport::{Part, Socket, TransportError};

/// The connection, until the request thread ends.
pub(super) struct Line(Mutex<Option<Connection>>);

/// What is needed to send requests.
pub(super) struct Connection {
    pub(super) dealer: Socket,
    pub(super) in_flight: InFlight,
    /// Set between a new connection and sending everything again on it.
    pub(super) resend_at: Option<Instant>,
    sealer: Sealer,
    cuts: Vec<Cut>,
}

impl Line {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Mutex::new(Some(connection)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        // A panic under the lock is a bug of the client alone; go on with what is there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what may leave now, unless somebody is at it. `false` when the request thread has to look.
    pub(super) fn send(&self, outbox: &Outbox) -> bool {
        // A callback of the request thread gets here with the lock held.
        let Ok(mut line) = self.0.try_lock() else { return false };
        let Some(connection) = line.as_mut() else { return false };
        // Sending may have taken the signal of an answer away.
        connection.send_messages(outbox, &mut Vec::new()).is_ok()
            && connection.dealer.is_readable().is_ok_and(|readable| !readable)
    }
}

impl Connection {
    pub(super) fn new(dealer: Socket, in_flight: InFlight) -> Self {
        let (sealer, cuts) = Default::default();
        Self { dealer, in_flight, resend_at: None, sealer, cuts }
    }

    /// Tells the outbox what ended, and sends what may leave now.
    pub(super) fn send_messages(
        &mut self,
        outbox: &Outbox,
        finished: &mut Vec<Finished>,
    ) -> Result<(), TransportError> {
        let mut cuts = std::mem::take(&mut self.cuts);
        outbox.turn(finished, &mut cuts, self.resend_at.is_some());
        self.sealer.seal(&mut cuts);
        // What was taken is noted in any case, so that the end decides its fate.
        let mut result = Ok(());
        for mut cut in cuts.drain(..) {
            let frame = std::mem::take(&mut cut.batch.frame).into();
            result = result.and(self.start(frame, Cargo::Messages(cut)));
        }
        self.cuts = cuts;
        result
    }

    /// Sends a request for the first time.
    pub(super) fn start(&mut self, frame: Bytes, cargo: Cargo) -> Result<(), TransportError> {
        transmit(&mut self.dealer, self.in_flight.add(frame, cargo, Instant::now()))
    }

    /// Sends all that is on its way again.
    pub(super) fn start_again(&mut self, now: Instant) -> Result<usize, TransportError> {
        let mut requests = 0;
        for request in self.in_flight.again(now) {
            requests += 1;
            transmit(&mut self.dealer, request)?;
        }
        Ok(requests)
    }
}

/// Sends a request. Were a queue full, the request would count as lost on its way, and be sent again.
fn transmit(dealer: &mut Socket, request: &Request) -> Result<(), TransportError> {
    let id = Part::copy_of(&request.id.to_le_bytes());
    let parts = [(id, true), (Part::empty(), true), (Part::share(request.frame.clone()), false)];
    for (mut part, more) in parts {
        if !dealer.send(&mut part, more)? {
            break;
        }
    }
    Ok(())
}
