//! The server's end of the handshake.
//!
//! A connection is there before its handshake begins, and so the server keeps what belongs to it: its short-term key
//! and the cookie. The cookie is random bytes, which the client cannot tell from the encrypted keys that RFC 26 has a
//! server without memory put there; a HELLO or an INITIATE of another connection is of no use.

use std::sync::Arc;

use subtle::ConstantTimeEq;

use super::keys::{KeyPair, PublicKey, ServerKeys};
use super::primitives::{KEY_BYTES, SharedKey, TAG_BYTES};
use super::{
    COOKIE_BYTES, COUNT_BYTES, CurveError, HELLO_CONTENT, HELLO_HEAD, RANDOM_BYTES, Role, Traffic,
    VOUCH_BYTES, counted, random, split,
};
use crate::random::random_bytes;
use crate::zmtp::command;

/// The number of the nonce of READY. Frames count on from there.
const READY_COUNT: u64 = 1;

#[derive(Debug)]
enum State {
    Hello,
    Initiate(Box<WelcomeState>),
    Over,
}

/// What the server keeps of a client that it welcomed.
#[derive(Debug)]
struct WelcomeState {
    /// The client's short-term key.
    client: PublicKey,
    /// The server's.
    short: KeyPair,
    cookie: [u8; COOKIE_BYTES],
}

/// A handshake in progress.
#[derive(Debug)]
pub(crate) struct ServerHandshake {
    keys: Arc<ServerKeys>,
    state: State,
    refused: Option<PublicKey>,
}

/// What the client's command leads to.
#[derive(Debug)]
pub(crate) enum Step {
    /// The handshake goes on; the WELCOME was appended.
    Welcomed,
    /// The client proved whose it is, and its key is accepted.
    Initiated(Initiated),
}

/// A client that proved which key it has, and waits for READY.
#[derive(Debug)]
pub(crate) struct Initiated {
    /// The client's long-term key.
    pub(crate) client: PublicKey,
    /// What it says of itself: a list of properties.
    pub(crate) properties: Vec<u8>,
    key: SharedKey,
    count: u64,
}

impl ServerHandshake {
    /// The beginning of one.
    pub(crate) fn new(keys: Arc<ServerKeys>) -> Self {
        Self { keys, state: State::Hello, refused: None }
    }

    /// The key that the client proved to have, if that is not accepted.
    pub(crate) fn refused(&self) -> Option<PublicKey> {
        self.refused
    }

    /// Takes a command of the client, a frame's body.
    ///
    /// # Errors
    /// When the client breaks the protocol, does not know the server's key, or has a key that is not accepted.
    pub(crate) fn advance(&mut self, body: &[u8], out: &mut Vec<u8>) -> Result<Step, CurveError> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Hello => {
                self.state = State::Initiate(self.welcome(body, out)?.into());
                Ok(Step::Welcomed)
            }
            State::Initiate(welcomed) => Ok(Step::Initiated(self.take_initiate(body, &welcomed)?)),
            State::Over => Err(CurveError::Command("MESSAGE")),
        }
    }

    /// Takes a HELLO, and appends the WELCOME that answers it.
    fn welcome(&self, body: &[u8], out: &mut Vec<u8>) -> Result<WelcomeState, CurveError> {
        const HEAD: usize = HELLO_HEAD.len();
        const FIELDS: usize = HEAD + KEY_BYTES + COUNT_BYTES;
        let wrong = CurveError::Command("HELLO");
        let (fields, sealed) = split::<FIELDS>(body, b"HELLO").ok_or(wrong)?;
        let (head, fields) = fields.split_first_chunk::<HEAD>().ok_or(wrong)?;
        let (client, count) = fields.split_first_chunk::<KEY_BYTES>().ok_or(wrong)?;
        let count = u64::from_be_bytes(count.try_into().map_err(|_| wrong)?);
        // The padding may hold anything.
        if head[..2] != HELLO_HEAD[..2] || sealed.len() != HELLO_CONTENT.len() + TAG_BYTES {
            return Err(wrong);
        }
        let client = PublicKey::from_bytes(*client);
        let key = self.keys.own.secret().agree(&client);
        let content = key
            .open_box(&counted(b"CurveZMQHELLO---", count), sealed)
            .map_err(|_| CurveError::Hello)?;
        if !bool::from(content.ct_eq(&HELLO_CONTENT)) {
            return Err(wrong);
        }

        let (short, cookie) = (KeyPair::generate(), random_bytes());
        let nonce = random_bytes();
        let mut sealed = Vec::new();
        key.append_box(
            &random(b"WELCOME-", &nonce),
            &[short.public().as_bytes(), &cookie],
            &mut sealed,
        );
        command::append(b"WELCOME", &[&nonce, &sealed], out);
        Ok(WelcomeState { client, short, cookie })
    }

    fn take_initiate(
        &mut self,
        body: &[u8],
        welcomed: &WelcomeState,
    ) -> Result<Initiated, CurveError> {
        const FIELDS: usize = COOKIE_BYTES + COUNT_BYTES;
        let wrong = CurveError::Command("INITIATE");
        let (fields, sealed) = split::<FIELDS>(body, b"INITIATE").ok_or(wrong)?;
        let (cookie, count) = fields.split_first_chunk::<COOKIE_BYTES>().ok_or(wrong)?;
        let count = u64::from_be_bytes(count.try_into().map_err(|_| wrong)?);
        // Before anything that takes time.
        if !bool::from(cookie.ct_eq(&welcomed.cookie)) {
            return Err(CurveError::Cookie);
        }
        let key = welcomed.short.secret().agree(&welcomed.client);
        let content = key
            .open_box(&counted(b"CurveZMQINITIATE", count), sealed)
            .map_err(|_| CurveError::Box("INITIATE"))?;
        let (client, rest) = content.split_first_chunk::<KEY_BYTES>().ok_or(wrong)?;
        let (vouch, properties) = rest.split_first_chunk::<VOUCH_BYTES>().ok_or(wrong)?;
        let client = PublicKey::from_bytes(*client);

        let (nonce, vouch) = vouch.split_first_chunk::<RANDOM_BYTES>().ok_or(wrong)?;
        let vouched = welcomed
            .short
            .secret()
            .agree(&client)
            .open_box(&random(b"VOUCH---", nonce), vouch)
            .map_err(|_| CurveError::Box("vouch"))?;
        // Both: a vouch for the short-term key alone could have been made for another server.
        let (short, server) = vouched.split_at(KEY_BYTES);
        let is_right = short.ct_eq(welcomed.client.as_bytes())
            & server.ct_eq(self.keys.own.public().as_bytes());
        if !bool::from(is_right) {
            return Err(CurveError::Vouch);
        }
        if !self.keys.authorized.contains(&client) {
            self.refused = Some(client);
            return Err(CurveError::NotAuthorized);
        }
        Ok(Initiated { client, properties: properties.to_vec(), key, count })
    }
}

impl Initiated {
    /// Appends the READY that ends the handshake, with what this end says of itself; the keys from now on.
    pub(crate) fn ready(&self, properties: &[u8], out: &mut Vec<u8>) -> Traffic {
        let mut sealed = Vec::new();
        let nonce = counted(b"CurveZMQREADY---", READY_COUNT);
        self.key.append_box(&nonce, &[properties], &mut sealed);
        command::append(b"READY", &[&READY_COUNT.to_be_bytes(), &sealed], out);
        Traffic::new(&self.key, Role::Server, READY_COUNT, self.count)
    }
}
