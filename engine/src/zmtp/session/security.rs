//! Security of a connection: how its ends authenticate each other, and how frames are encrypted.

use std::sync::Arc;

use super::CloseReason;
use crate::zmtp::command;
use crate::zmtp::curve::keys::{PublicKey, ServerKeys};
use crate::zmtp::curve::server::{Initiated, ServerHandshake, Step};
use crate::zmtp::curve::traffic::{OVERHEAD_BYTES, Opener, Sealer};
use crate::zmtp::curve::{CurveError, NOT_AUTHORIZED};
use crate::zmtp::handshake::Mechanism;
use crate::zmtp::inbox::{Inbox, Next};

/// What a server asks of clients that connect.
#[derive(Clone, Debug)]
pub(crate) enum ServerMechanism {
    /// Nothing.
    Nothing,
    /// A user's name and password.
    Password,
    /// Keys that it accepts; it has some itself.
    Keys(Arc<ServerKeys>),
}

/// How a connection's ends know each other.
#[derive(Debug)]
pub(super) enum Security {
    /// Not at all.
    Null,
    /// The client by this user's password, once that was found right.
    Plain(Option<Arc<str>>),
    /// They have not finished the handshake of CURVE.
    Handshake(Box<ServerHandshake>),
    /// By their keys.
    Curve(Box<Secured>),
}

/// What a connection has after the handshake of CURVE.
#[derive(Debug)]
pub(super) struct Secured {
    client: PublicKey,
    opener: Opener,
    /// Until whoever sends takes it.
    sealer: Option<Sealer>,
}

impl Security {
    /// That of a connection that begins, to a server that asks for this.
    pub(super) fn new(demand: &ServerMechanism) -> Self {
        match demand {
            ServerMechanism::Keys(keys) => {
                Self::Handshake(Box::new(ServerHandshake::new(Arc::clone(keys))))
            }
            ServerMechanism::Password => Self::Plain(None),
            ServerMechanism::Nothing => Self::Null,
        }
    }

    /// Which mechanism the server asks for.
    pub(super) fn mechanism(&self) -> Mechanism {
        match self {
            Self::Null => Mechanism::Null,
            Self::Plain(_) => Mechanism::Plain,
            Self::Handshake(_) | Self::Curve(_) => Mechanism::Curve,
        }
    }

    /// The user whose password the client said.
    pub(super) fn user(&self) -> Option<&Arc<str>> {
        match self {
            Self::Plain(user) => user.as_ref(),
            _ => None,
        }
    }

    /// The key that the client proved to have.
    pub(super) fn client_key(&self) -> Option<PublicKey> {
        match self {
            Self::Curve(secured) => Some(secured.client),
            Self::Null | Self::Plain(_) | Self::Handshake(_) => None,
        }
    }

    /// What seals all that is sent from the end of the handshake on; once.
    pub(super) fn take_sealer(&mut self) -> Option<Sealer> {
        match self {
            Self::Curve(secured) => secured.sealer.take(),
            Self::Null | Self::Plain(_) | Self::Handshake(_) => None,
        }
    }

    /// Takes a command of the handshake; the client, once it proved which key it has, and may have READY.
    ///
    /// # Errors
    /// When the client breaks the protocol or is not accepted; it gets an error.
    pub(super) fn advance(
        &mut self,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Initiated>, CloseReason> {
        let Self::Handshake(handshake) = self else {
            return Err(CurveError::Command("HELLO").into());
        };
        match handshake.advance(body, out) {
            Ok(Step::Welcomed) => Ok(None),
            Ok(Step::Initiated(initiated)) => Ok(Some(initiated)),
            Err(error) => match handshake.refused() {
                Some(key) => {
                    command::append_error(NOT_AUTHORIZED, out);
                    Err(CloseReason::NotAuthorized(Box::new(key)))
                }
                None => Err(error.into()),
            },
        }
    }

    /// Ends the handshake with a READY, which says this of the server.
    pub(super) fn open(initiated: &Initiated, properties: &[u8], out: &mut Vec<u8>) -> Self {
        let traffic = initiated.ready(properties, out);
        let (client, sealer) = (initiated.client, Some(traffic.sealer));
        Self::Curve(Box::new(Secured { client, opener: traffic.opener, sealer }))
    }

    /// Takes the next frame: with CURVE, the one that it holds. Its body may have `bytes_max` bytes.
    ///
    /// # Errors
    /// What [`Inbox::next`] fails with; with CURVE, also for a frame that is over the bound, or cannot be opened.
    #[inline]
    pub(super) fn next(
        &mut self,
        inbox: &mut Inbox,
        bytes_max: usize,
    ) -> Result<Next, CloseReason> {
        if let Self::Curve(secured) = self {
            return secured.next(inbox, bytes_max);
        }
        Ok(inbox.next(bytes_max)?)
    }
}

impl Secured {
    fn next(&mut self, inbox: &mut Inbox, bytes_max: usize) -> Result<Next, CloseReason> {
        match inbox.next(bytes_max.saturating_add(OVERHEAD_BYTES))? {
            Next::Frame(_, body) => {
                let (head, body) = self.opener.open(&body)?;
                Ok(Next::Frame(head, body))
            }
            Next::Oversize { head, .. } => {
                Err(CloseReason::TooLarge { bytes: head.body_bytes, bytes_max })
            }
            Next::Nothing => Ok(Next::Nothing),
        }
    }
}

#[cfg(test)]
mod tests;
