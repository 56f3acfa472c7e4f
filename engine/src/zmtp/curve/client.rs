//! The client's end of the handshake.

use std::sync::Arc;

use super::keys::{ClientKeys, KeyPair, PublicKey};
use super::primitives::{KEY_BYTES, SharedKey};
use super::{
    COOKIE_BYTES, COUNT_BYTES, CurveError, HELLO_CONTENT, HELLO_HEAD, NOT_AUTHORIZED, RANDOM_BYTES,
    Role, Traffic, counted, random, split,
};
use crate::random::random_bytes;
use crate::zmtp::command;

/// The numbers of the nonces of HELLO and INITIATE. Frames count on from there.
const HELLO_COUNT: u64 = 1;
const INITIATE_COUNT: u64 = 2;

/// What the client waits for.
#[derive(Debug)]
enum State {
    Welcome,
    /// With this key, which both short-term keys make.
    Ready(SharedKey),
    /// Nothing more.
    Over,
}

/// A handshake in progress.
#[derive(Debug)]
pub(crate) struct ClientHandshake {
    keys: Arc<ClientKeys>,
    /// The short-term keys, of this connection alone.
    short: KeyPair,
    /// Of the short-term key and the server's long-term one.
    hello: SharedKey,
    state: State,
}

/// What the server's command leads to.
#[derive(Debug)]
pub(crate) enum Step {
    /// The handshake goes on; what is to be sent was appended.
    Sent,
    /// The server said READY: what it says of itself, a list of properties, and the keys from now on.
    Ready(Vec<u8>, Traffic),
    /// The server says that it does not accept this client's key.
    NotAuthorized(PublicKey),
    /// The server says another ERROR.
    Refused(String),
}

impl ClientHandshake {
    /// Begins one, with short-term keys of its own, and appends the HELLO command as a frame.
    pub(crate) fn begin(keys: Arc<ClientKeys>, out: &mut Vec<u8>) -> Self {
        let short = KeyPair::generate();
        let hello = short.secret().agree(&keys.server);
        let mut sealed = Vec::new();
        let nonce = counted(b"CurveZMQHELLO---", HELLO_COUNT);
        hello.append_box(&nonce, &[&HELLO_CONTENT], &mut sealed);
        let public = short.public();
        let count = HELLO_COUNT.to_be_bytes();
        command::append(b"HELLO", &[&HELLO_HEAD, public.as_bytes(), &count, &sealed], out);
        Self { keys, short, hello, state: State::Welcome }
    }

    /// Takes a command of the server, a frame's body. `properties`: what this end says of itself.
    ///
    /// # Errors
    /// When the server is not the one that has the key, or breaks the protocol.
    pub(crate) fn advance(
        &mut self,
        body: &[u8],
        properties: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, CurveError> {
        if let Some((&[length], reason)) = split::<1>(body, b"ERROR") {
            let reason = &reason[..reason.len().min(usize::from(length))];
            return Ok(match reason {
                reason if reason == NOT_AUTHORIZED.as_bytes() => {
                    Step::NotAuthorized(self.keys.own.public())
                }
                reason => Step::Refused(String::from_utf8_lossy(reason).into_owned()),
            });
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::Welcome => {
                self.state = State::Ready(self.initiate(body, properties, out)?);
                Ok(Step::Sent)
            }
            State::Ready(key) => {
                let wrong = CurveError::Command("READY");
                let (count, sealed) = split::<COUNT_BYTES>(body, b"READY").ok_or(wrong)?;
                let count = u64::from_be_bytes(*count);
                let content = key
                    .open_box(&counted(b"CurveZMQREADY---", count), sealed)
                    .map_err(|_| CurveError::Box("READY"))?;
                let traffic = Traffic::new(&key, Role::Client, INITIATE_COUNT, count);
                Ok(Step::Ready(content.to_vec(), traffic))
            }
            State::Over => Err(CurveError::Command("MESSAGE")),
        }
    }

    /// Takes a WELCOME, and appends the INITIATE that answers it; the key that the rest is sealed with.
    fn initiate(
        &self,
        body: &[u8],
        properties: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<SharedKey, CurveError> {
        let wrong = CurveError::Command("WELCOME");
        let (nonce, sealed) = split::<RANDOM_BYTES>(body, b"WELCOME").ok_or(wrong)?;
        let content = self
            .hello
            .open_box(&random(b"WELCOME-", nonce), sealed)
            .map_err(|_| CurveError::Box("WELCOME"))?;
        let (theirs, cookie) = content.split_first_chunk::<KEY_BYTES>().ok_or(wrong)?;
        let cookie: &[u8; COOKIE_BYTES] = cookie.try_into().map_err(|_| wrong)?;
        let theirs = PublicKey::from_bytes(*theirs);

        let vouch_nonce = random_bytes();
        let mut vouch = vouch_nonce.to_vec();
        let public = self.short.public();
        self.keys.own.secret().agree(&theirs).append_box(
            &random(b"VOUCH---", &vouch_nonce),
            &[public.as_bytes(), self.keys.server.as_bytes()],
            &mut vouch,
        );

        let key = self.short.secret().agree(&theirs);
        let mut sealed = Vec::new();
        key.append_box(
            &counted(b"CurveZMQINITIATE", INITIATE_COUNT),
            &[self.keys.own.public().as_bytes(), &vouch, properties],
            &mut sealed,
        );
        command::append(b"INITIATE", &[cookie, &INITIATE_COUNT.to_be_bytes(), &sealed], out);
        Ok(key)
    }
}
