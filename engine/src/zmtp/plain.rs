//! PLAIN: a client says its user's name and password, as [ZMTP-PLAIN](https://rfc.zeromq.org/spec/24/) has it. Nothing is
//! encrypted, and the server proves nothing.

use std::fmt;

use zeroize::Zeroizing;

use super::command::{self, Command};
use super::error::ConnectionError;
use super::handshake::{self, Kind};

/// The reason of the ERROR for a wrong user or password, the status of [ZAP](https://rfc.zeromq.org/spec/27/) that libzmq
/// tells as failed authentication.
pub(crate) const WRONG_LOGIN: &str = "400";

/// How libzmq 4.3 begins an ERROR here: C reads its `"\\x5ERROR"` as the byte 0x5E and `RROR`. Its clients expect that, too, and
/// take the right one for a broken protocol, after which they try again.
const LIBZMQ_ERROR: &[u8] = b"\x5eRROR";

/// Who a client says that it is.
#[derive(Clone)]
pub(crate) struct Login {
    /// The user's name.
    pub(crate) user: String,
    /// The password, wiped from memory when it is dropped.
    pub(crate) password: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A text behind its length.
fn split_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// Reads a HELLO, a frame's body; `None` for anything else. A name that is no UTF-8 is that of no user.
pub(crate) fn read_hello(body: &[u8]) -> Option<Login> {
    let rest = body.strip_prefix(b"\x05HELLO")?;
    let (user, rest) = split_text(rest)?;
    let (password, rest) = split_text(rest)?;
    let user = String::from_utf8_lossy(user).into_owned();
    rest.is_empty().then(|| Login { user, password: Zeroizing::new(password.to_vec()) })
}

/// Appends the HELLO of a client. Each of both texts has 255 bytes at most; what is beyond is cut off.
pub(crate) fn append_hello(login: &Login, out: &mut Vec<u8>) {
    let cut = |bytes: &[u8]| bytes.len().min(usize::from(u8::MAX));
    let (user, password) = (login.user.as_bytes(), &login.password[..]);
    let (user, password) = (&user[..cut(user)], &password[..cut(password)]);
    command::append(b"HELLO", &[&[user.len() as u8], user, &[password.len() as u8], password], out);
}

/// Appends what the server says to a right login.
pub(crate) fn append_welcome(out: &mut Vec<u8>) {
    command::append(b"WELCOME", &[], out);
}

/// The properties of an INITIATE, a frame's body; `None` for anything else.
pub(crate) fn read_initiate(body: &[u8]) -> Option<&[u8]> {
    body.strip_prefix(b"\x08INITIATE")
}

/// What the server's command leads to, at the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The handshake goes on; what is to be sent was appended.
    Sent,
    /// It is over.
    Ready,
}

/// Takes a command of the server, a frame's body, at a client with this login.
///
/// # Errors
/// [`ConnectionError::WrongLogin`] when the server does not take the login, and what the handshake of NULL fails with.
pub(crate) fn advance(
    login: &Login,
    body: &[u8],
    kind: Kind,
    out: &mut Vec<u8>,
) -> Result<Step, ConnectionError> {
    if body == b"\x07WELCOME" {
        command::append(b"INITIATE", &[&handshake::properties(kind.name())], out);
        return Ok(Step::Sent);
    }
    let error = body.strip_prefix(b"\x05ERROR").or_else(|| body.strip_prefix(LIBZMQ_ERROR));
    if let Some((reason, _)) = error.and_then(split_text)
        && reason == WRONG_LOGIN.as_bytes()
    {
        return Err(ConnectionError::WrongLogin(login.user.clone()));
    }
    if !matches!(Command::read(body), Ok(Command::Ready(_) | Command::Error)) {
        return Err(ConnectionError::Malformed);
    }
    handshake::check_ready(body, kind)?;
    Ok(Step::Ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> Login {
        Login { user: "alice".to_owned(), password: Zeroizing::new(b"secret".to_vec()) }
    }

    #[test]
    fn a_hello_is_as_the_specification_shows_it_and_comes_back() {
        let mut frame = Vec::new();
        append_hello(&login(), &mut frame);
        assert_eq!(frame, *b"\x04\x13\x05HELLO\x05alice\x06secret");
        let body = &frame[2..];
        let read = read_hello(body).unwrap();
        assert_eq!((&*read.user, &read.password[..]), ("alice", &b"secret"[..]));
        for end in 0..body.len() {
            assert!(read_hello(&body[..end]).is_none());
        }
        assert!(read_hello(&[body, b"x"].concat()).is_none());
        assert!(!format!("{read:?}").contains("secret"));
        let none = read_hello(b"\x05HELLO\0\0").unwrap();
        assert!(none.user.is_empty() && none.password.is_empty());
        let long = Login { user: "a".repeat(300), ..login() };
        let mut frame = Vec::new();
        append_hello(&long, &mut frame);
        assert_eq!(read_hello(&frame[9..]).unwrap().user.len(), 255);
    }

    #[test]
    fn a_client_goes_on_as_the_server_says() {
        let mut out = Vec::new();
        assert_eq!(advance(&login(), b"\x07WELCOME", Kind::Sub, &mut out).unwrap(), Step::Sent);
        assert_eq!(out, *b"\x04\x1c\x08INITIATE\x0bSocket-Type\0\0\0\x03SUB");
        assert_eq!(read_initiate(&out[2..]), Some(&b"\x0bSocket-Type\0\0\0\x03SUB"[..]));
        let ready = &handshake::ready(b"XPUB")[2..];
        assert_eq!(advance(&login(), ready, Kind::Sub, &mut out).unwrap(), Step::Ready);
        let mut refused = |body: &[u8]| advance(&login(), body, Kind::Sub, &mut out).unwrap_err();
        assert!(
            matches!(refused(b"\x05ERROR\x03400"), ConnectionError::WrongLogin(user) if user == "alice")
        );
        assert!(matches!(refused(b"\x5eRROR\x03400"), ConnectionError::WrongLogin(_)));
        assert!(matches!(refused(b"\x05ERROR\x02no"), ConnectionError::Refused(_)));
        assert!(matches!(refused(b"\x07WELCOMEx"), ConnectionError::Malformed));
        assert!(matches!(refused(b""), ConnectionError::Malformed));
    }
}
