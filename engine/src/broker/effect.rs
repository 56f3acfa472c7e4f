//! Effects: what the core asks the broker's thread to do.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::check::Check;
use super::refusal::{Dialect, Refusal};
use super::subscribers::{ConnectionId, Direct};
use crate::journal::Op;
use crate::message::Message;
use crate::wire::hello;

/// One thing to do on a socket. `E` addresses a requester.
#[derive(Debug)]
pub(super) enum Effect<E> {
    /// Give a frame to these connections.
    Publish {
        /// The frame.
        frame: Bytes,
        /// Who gets it as it is.
        to: Arc<[ConnectionId]>,
        /// Which subscriptions get it behind what names them. Of both there is one at least.
        direct: Vec<Direct>,
        /// Whether a subscriber that does not keep up may lose it: nobody has to acknowledge it.
        droppable: bool,
    },
    /// Frames for these connections follow in later turns, in place of a [`Self::Publish`] of them now.
    Deferred {
        /// Who gets them: somebody.
        to: Arc<[ConnectionId]>,
    },
    /// A connection granted credit to a subscription that had overdrawn its own.
    Granted {
        /// The connection.
        connection: ConnectionId,
        /// Whether none of its subscriptions is overdrawn any more.
        is_clear: bool,
    },
    /// Answer a request. Its frames stand before it.
    Reply(E, Reply),
    /// Check a request of this connection, which may send no further one meanwhile: the verdict is for
    /// [`Core::checked`](super::core::Core::checked).
    Check(ConnectionId, Check),
    /// Carry a message over to the other format, for [`Core::carried`](super::core::Core::carried).
    Carry(Message),
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Ok,
    /// To a hello, and what the client calls itself.
    Hello(hello::Answer, Option<Box<str>>),
    /// What a request about dead letters or groups asked for.
    Answer(Vec<u8>),
    Refused(Refusal, Dialect),
}

/// Whom the messages of a request were for.
#[derive(Default)]
pub(super) struct RecipientCounts {
    pub(super) connections: usize,
    /// Those of them that are no observers.
    pub(super) takers: usize,
}

impl RecipientCounts {
    pub(super) fn add(&mut self, to: &[ConnectionId], direct: &[Direct]) {
        self.connections += to.len() + direct.len();
        self.takers += to.len() + direct.iter().filter(|direct| !direct.looks_on).count();
    }
}

/// What the core wants done, in order; the journal's part can go ahead of the sockets'.
#[derive(Debug)]
pub(super) struct Effects<E> {
    pub(super) queue: VecDeque<Effect<E>>,
    pub(super) journal: Vec<Op>,
}

impl<E> Default for Effects<E> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), journal: Vec::new() }
    }
}
