//! The connection that requests leave by.
//!
//! The I/O thread uses it, and a publisher whose message may leave at once: sending it there and
//! then saves a switch of threads. Nobody waits for it but the I/O thread.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;

use super::in_flight::{InFlight, Request, RequestContent};
use super::seal::Sealer;
use crate::client::publish::batches::{Finished, SequencedBatch};
use crate::client::publish::detached::DetachedFrames;
use crate::client::publish::outbox::Outbox;
use crate::net;
use crate::zmtp::frame::Head;

/// What identifies a hello among the requests of a connection: those count from 1.
pub(super) const HELLO_ID: u64 = 0;

/// The connection, until the I/O thread ends.
pub(in crate::client) struct SharedConnection(Mutex<Option<Connection>>);

/// What is needed to send requests.
pub(in crate::client) struct Connection {
    pub(in crate::client) wire: net::connection::Connection,
    pub(super) in_flight: InFlight,
    /// When a hello was sent that is not answered.
    pub(super) hello_at: Option<Instant>,
    sealer: Sealer,
    cuts: Vec<SequencedBatch>,
    detached: DetachedFrames,
}

impl SharedConnection {
    pub(in crate::client) fn new(connection: Connection) -> Self {
        Self(Mutex::new(Some(connection)))
    }

    pub(in crate::client) fn lock(&self) -> MutexGuard<'_, Option<Connection>> {
        // A panic under the lock is a bug of the client alone; go on with what is there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what may leave now, unless somebody is at it. `false` when the I/O thread has to look.
    pub(in crate::client) fn send(&self, outbox: &Outbox) -> bool {
        // A callback of the I/O thread gets here with the lock held.
        let Ok(mut line) = self.0.try_lock() else { return false };
        let Some(connection) = line.as_mut() else { return false };
        let now = Instant::now();
        connection.send_messages(outbox, &mut Vec::new(), now);
        connection.wire.flush()
    }
}

impl Connection {
    pub(super) fn new(wire: net::connection::Connection, in_flight: InFlight) -> Self {
        let (hello_at, sealer, cuts, detached) = Default::default();
        Self { wire, in_flight, hello_at, sealer, cuts, detached }
    }

    /// Tells the outbox what ended, and sends what may leave now. Nothing leaves before a flush.
    pub(super) fn send_messages(
        &mut self,
        outbox: &Outbox,
        finished: &mut Vec<Finished>,
        now: Instant,
    ) {
        let mut cuts = std::mem::take(&mut self.cuts);
        outbox.turn(finished, &mut cuts, false, now);
        outbox.lend(&mut self.detached, &cuts);
        self.sealer.seal(&mut cuts, &mut self.detached.lent);
        outbox.take_back(&mut self.detached, now);
        for mut cut in cuts.drain(..) {
            let frame = std::mem::take(&mut cut.batch.frame).into();
            self.start(frame, RequestContent::Messages(cut), now);
        }
        self.cuts = cuts;
    }

    /// Sends a request for the first time. Without a connection, it waits for one among those in flight.
    pub(super) fn start(&mut self, frame: Bytes, cargo: RequestContent, now: Instant) {
        transmit(&mut self.wire, self.in_flight.add(frame, cargo, now));
    }

    /// Says hello on a new connection.
    pub(in crate::client) fn greet(&mut self, hello: &Bytes, now: Instant) {
        self.hello_at = Some(now);
        send(&mut self.wire, HELLO_ID, hello);
    }

    /// Sends all that is in flight on a new connection, but for what was begun on it; how much of it was sent before.
    pub(super) fn send_again(&mut self) -> usize {
        let mut again = 0;
        for request in self.in_flight.all() {
            match &mut request.cargo {
                RequestContent::Subscription(_) => continue,
                RequestContent::Messages(cut) => cut.sent_again |= request.left,
                RequestContent::Acks { .. }
                | RequestContent::Ping(_)
                | RequestContent::Question(_) => {}
            }
            again += usize::from(transmit(&mut self.wire, request));
        }
        again
    }
}

/// Sends a request, if there is a connection; whether it was sent before.
fn transmit(wire: &mut net::connection::Connection, request: &mut Request) -> bool {
    if !wire.is_open() {
        return false;
    }
    send(wire, request.id, &request.frame);
    request.put_off = None;
    std::mem::replace(&mut request.left, true)
}

fn send(wire: &mut net::connection::Connection, id: u64, frame: &Bytes) {
    let id = id.to_le_bytes();
    let mut head = Vec::with_capacity(32);
    Head::message(id.len(), true).append_to(&mut head);
    head.extend(id);
    Head::message(0, true).append_to(&mut head);
    Head::message(frame.len(), false).append_to(&mut head);
    wire.send(head.into());
    wire.send(frame.clone());
}
