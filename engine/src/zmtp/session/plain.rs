//! The handshake of PLAIN. Whether a login is right is found out elsewhere, and takes its time.

use std::sync::Arc;

use super::security::Security;
use super::{CloseReason, Progress, Session, Stage};
use crate::limits::HANDSHAKE_BYTES_MAX;
use crate::zmtp::command;
use crate::zmtp::frame::Head;
use crate::zmtp::inbox::{Inbox, Next};
use crate::zmtp::plain::{self, Login};

/// How far a handshake with PLAIN is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The client is to say who it is.
    Hello,
    /// It is found out whether that is right.
    Checking,
    /// The client is to say what it is.
    Initiate,
}

impl Session {
    /// Reads the login that is to come.
    pub(super) fn hear_login(&mut self, inbox: &mut Inbox) -> Result<Option<Login>, CloseReason> {
        let Some(body) = next_command(inbox)? else { return Ok(None) };
        let login = plain::read_hello(&body)
            .ok_or(CloseReason::Protocol("its HELLO of PLAIN is missing or cut short"))?;
        self.stage = Stage::Plain(Step::Checking);
        Ok(Some(login))
    }

    /// The login is right: the handshake goes on, as this user.
    pub(crate) fn welcome(&mut self, user: Arc<str>, out: &mut Vec<u8>) {
        self.security = Security::Plain(Some(user));
        self.stage = Stage::Plain(Step::Initiate);
        plain::append_welcome(out);
    }

    /// The login is wrong: the client gets an error, and the connection is to be closed for this.
    pub(crate) fn refuse_login(&self, user: &str, out: &mut Vec<u8>) -> CloseReason {
        command::append_error(plain::WRONG_LOGIN, out);
        CloseReason::WrongLogin(user.to_owned())
    }

    /// Ends the handshake.
    pub(super) fn initiate(
        &mut self,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
    ) -> Result<Progress, CloseReason> {
        let Some(body) = next_command(inbox)? else { return Ok(Progress::Waiting) };
        let properties =
            plain::read_initiate(&body).ok_or(CloseReason::Protocol("it did not say INITIATE"))?;
        self.check_ready(properties, out)?;
        command::append_ready(self.port.socket_type().as_bytes(), out);
        self.stage = Stage::Open;
        Ok(Progress::Made)
    }
}

fn next_command(inbox: &mut Inbox) -> Result<Option<bytes::Bytes>, CloseReason> {
    match inbox.next(HANDSHAKE_BYTES_MAX)? {
        Next::Nothing => Ok(None),
        Next::Oversize { .. } => Err(CloseReason::Protocol("its handshake is too long")),
        Next::Frame(Head { command: true, .. }, body) => Ok(Some(body)),
        Next::Frame(..) => Err(CloseReason::Protocol("it sent a message within its handshake")),
    }
}
