//! Authorizes HTTP requests.
//!
//! A browser on the same machine sends requests for any page that it shows. Such a page cannot read answers, as no other
//! origin is allowed to; it could if its host name came to stand for a loopback address, so a loopback listener takes
//! requests to loopback names alone. And it cannot change anything, as that takes a header that it may not send.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::{Method, StatusCode};
use subtle::ConstantTimeEq;

/// Bytes of a token.
const TOKEN_BYTES_MIN: usize = 16;
const TOKEN_BYTES_MAX: usize = 1024;

/// What a request that changes something has to have.
const INTENT: HeaderName = HeaderName::from_static("x-mezzenger");
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a file holds no token.
#[derive(Debug)]
pub(crate) enum TokenError {
    /// It cannot be read.
    Unreadable(io::Error),
    /// Others can read it.
    Mode(u32),
    /// It holds this many bytes, or characters that no header has.
    Content(usize),
}

impl std::fmt::Display for TokenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot be read: {error}"),
            Self::Mode(mode) => {
                write!(f, "others can read it (mode {mode:04o}): chmod 600")
            }
            Self::Content(bytes) => write!(
                f,
                "it holds {bytes} bytes, and a token is one line of {TOKEN_BYTES_MIN} to {TOKEN_BYTES_MAX} visible ASCII \
                 characters, for example of `openssl rand -hex 32`"
            ),
        }
    }
}

/// What a client has to show.
pub(crate) struct Token(String);

impl Token {
    /// The token in a file.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn read(file: &Path) -> Result<Self, TokenError> {
        let mut open = File::open(file).map_err(TokenError::Unreadable)?;
        let mode = open.metadata().map_err(TokenError::Unreadable)?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(TokenError::Mode(mode));
        }
        let mut text = String::new();
        let limit = TOKEN_BYTES_MAX as u64 + 2;
        open.by_ref().take(limit).read_to_string(&mut text).map_err(TokenError::Unreadable)?;
        let token = text.trim_end_matches(['\n', '\r']);
        let is_token = (TOKEN_BYTES_MIN..=TOKEN_BYTES_MAX).contains(&token.len())
            && token.bytes().all(|byte| byte.is_ascii_graphic());
        if is_token { Ok(Self(token.to_owned())) } else { Err(TokenError::Content(token.len())) }
    }
}

/// Decides over requests.
pub(super) struct Guard {
    is_loopback: bool,
    token: Option<Token>,
}

/// Why a request is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) why: &'static str,
}

impl Guard {
    pub(super) fn new(is_loopback: bool, token: Option<Token>) -> Self {
        Self { is_loopback, token }
    }

    /// Whether clients have to show a token.
    pub(super) fn wants_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether a request names a host that it may.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) fn check_host(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if !self.is_loopback || self.token.is_some() || names_loopback(host) {
            return Ok(());
        }
        Err(Denied {
            status: StatusCode::MISDIRECTED_REQUEST,
            why: "this listener is for its own machine: use an IP address or localhost as the host name, or give the server a \
                  token",
        })
    }

    /// Whether a request may read, or with a method that does that, change something.
    ///
    /// # Errors
    /// Why it may not.
    pub(super) fn check(&self, method: &Method, headers: &HeaderMap) -> Result<(), Denied> {
        if let Some(Token(token)) = &self.token {
            let shown = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
            let is_it = shown.is_some_and(|shown| bool::from(shown.ct_eq(token.as_bytes())));
            if !is_it {
                return Err(Denied {
                    status: StatusCode::UNAUTHORIZED,
                    why: "send the server's token: Authorization: Bearer TOKEN",
                });
            }
        }
        if method == Method::GET || method == Method::HEAD {
            return Ok(());
        }
        let forbidden = |why| Err(Denied { status: StatusCode::FORBIDDEN, why });
        if self.token.is_none() && !self.is_loopback {
            return forbidden(
                "who can reach this listener may read and nothing else: give the server a token",
            );
        }
        if headers.get(INTENT).is_none_or(|value| value != "1") {
            return forbidden("what changes something takes the header X-Mezzenger: 1");
        }
        if headers.get(FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none") {
            return forbidden("a page of another origin may change nothing");
        }
        if let Some(origin) = headers.get(ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let of = origin.split_once("://").map(|(_, of)| of);
            let host = headers.get(HOST).and_then(|host| host.to_str().ok());
            if of.is_none() || of != host {
                return forbidden("a page of another origin may change nothing");
            }
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
        if kind.is_none_or(|kind| !kind.eq_ignore_ascii_case("application/json")) {
            return Err(Denied {
                status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
                why: "send JSON: Content-Type: application/json",
            });
        }
        Ok(())
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// Whether a `Host` header stands for an address itself: a name could stand for any.
fn names_loopback(host: &str) -> bool {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => (address, port.strip_prefix(':').unwrap_or(port)),
            None => return false,
        },
        None => host.split_once(':').unwrap_or((host, "")),
    };
    is_port(port) && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter()
            .map(|&(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn a_loopback_listener_takes_names_that_can_stand_for_nothing_else() {
        for host in
            ["127.0.0.1:7280", "127.0.0.1", "[::1]:7280", "[::1]", "localhost:1", "LOCALHOST"]
        {
            assert!(names_loopback(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:7280",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1",
            "localhost:x",
            "::1",
        ] {
            assert!(!names_loopback(host), "{host}");
        }
        let (open, loopback) = (Guard::new(false, None), Guard::new(true, None));
        let named = headers(&[("host", "broker.example:7280")]);
        assert!(open.check_host(&named).is_ok());
        assert_eq!(loopback.check_host(&named).unwrap_err().status, 421);
        assert_eq!(loopback.check_host(&HeaderMap::new()).unwrap_err().status, 421);
    }

    #[test]
    fn nobody_without_the_token_reads_or_changes_anything() {
        let guard = Guard::new(false, Some(Token("0123456789abcdef".into())));
        let right = headers(&[("authorization", "bearer 0123456789abcdef")]);
        assert!(guard.check(&Method::GET, &right).is_ok());
        for wrong in [
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcdef0",
            "Basic 0123456789abcdef",
            "Bearer ",
            "x",
        ] {
            let denied = guard.check(&Method::GET, &headers(&[("authorization", wrong)]));
            assert_eq!(denied.unwrap_err().status, 401, "{wrong}");
        }
        assert_eq!(guard.check(&Method::POST, &HeaderMap::new()).unwrap_err().status, 401);
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let guard = Guard::new(true, None);
        let right = [
            ("x-mezzenger", "1"),
            ("content-type", "application/json; charset=utf-8"),
            ("host", "localhost:7280"),
            ("origin", "http://localhost:7280"),
            ("sec-fetch-site", "same-origin"),
        ];
        assert_eq!(guard.check(&Method::POST, &headers(&right)), Ok(()));
        let status = |change: (&'static str, &'static str)| {
            let others = right.into_iter().filter(|(name, _)| *name != change.0);
            let all: Vec<_> = others.chain((!change.1.is_empty()).then_some(change)).collect();
            guard.check(&Method::POST, &headers(&all)).map_err(|denied| denied.status.as_u16())
        };
        assert_eq!(status(("x-mezzenger", "")), Err(403));
        assert_eq!(status(("content-type", "text/plain")), Err(415));
        assert_eq!(status(("content-type", "")), Err(415));
        for origin in ["null", "http://evil.example", "http://localhost:7281"] {
            assert_eq!(status(("origin", origin)), Err(403), "{origin}");
        }
        for site in ["cross-site", "same-site"] {
            assert_eq!(status(("sec-fetch-site", site)), Err(403), "{site}");
        }
        // What is no browser has neither.
        assert_eq!(status(("origin", "")), Ok(()));
        assert_eq!(status(("sec-fetch-site", "")), Ok(()));
        let open = Guard::new(false, None);
        assert_eq!(open.check(&Method::POST, &headers(&right)).unwrap_err().status, 403);
        assert!(open.check(&Method::GET, &HeaderMap::new()).is_ok());
    }
}
