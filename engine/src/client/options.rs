//! The client's options and their only defaults.

use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::connection::links::OnConnection;
use super::error::ConnectError;
use super::report::{OnBlocked, OnError, OnMissed};
use crate::wire::hello::fitting_name;
use crate::zmtp::curve::keys::ClientKeys;
use crate::zmtp::plain::Login;

/// Longest time that an option takes: far from what clocks cannot count.
const TIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a URL begins with.
const SCHEME: &str = "mezzenger://";

/// The options; [`ClientBuilder`](super::ClientBuilder) has what each means.
#[derive(Clone)]
pub(super) struct Options {
    pub(super) server_address: String,
    pub(super) port: u16,
    /// The port of servers whose address does not say one.
    pub(super) port_unsaid: u16,
    /// Further servers.
    pub(super) others: Vec<(String, Option<u16>)>,
    pub(super) send_timeout: Duration,
    pub(super) connection_retries: u32,
    pub(super) callback_threads: usize,
    pub(super) client_name: String,
    pub(super) verbose: bool,
    pub(super) max_message_size: usize,
    pub(super) window: usize,
    pub(super) buffer_bytes: usize,
    pub(super) target_delay: Duration,
    pub(super) verify_checksums: bool,
    pub(super) curve: Option<Arc<ClientKeys>>,
    pub(super) login: Option<Arc<Login>>,
    pub(super) on_missed: Option<OnMissed>,
    pub(super) on_blocked: Option<OnBlocked>,
    pub(super) on_connection: Option<OnConnection>,
    pub(super) on_error: Option<OnError>,
}

/// The file name of this program, as it was started.
fn program_name() -> String {
    let path = std::env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().unwrap_or_default();
    fitting_name(&name.to_string_lossy())
}

impl Default for Options {
    fn default() -> Self {
        Self {
            server_address: "127.0.0.1".to_owned(),
            port: 7202,
            port_unsaid: 7202,
            others: Vec::new(),
            send_timeout: Duration::from_secs(2),
            connection_retries: 5,
            callback_threads: 4,
            client_name: program_name(),
            verbose: false,
            max_message_size: 64 * 1024 * 1024,
            window: 32,
            buffer_bytes: 4 * 1024 * 1024,
            target_delay: Duration::from_millis(8),
            verify_checksums: false,
            curve: None,
            login: None,
            on_missed: None,
            on_blocked: None,
            on_connection: None,
            on_error: None,
        }
    }
}

impl Options {
    /// Whether all of them are possible.
    ///
    /// # Errors
    /// Which is not, and why.
    pub(super) fn check(&self) -> Result<(), ConnectError> {
        let refuse = |option, problem| Err(ConnectError::Option { option, problem });
        if self.send_timeout.is_zero() {
            return refuse("send_timeout", "must be longer than zero");
        }
        if self.send_timeout > TIME_MAX {
            return refuse("send_timeout", "must not be longer than a year");
        }
        if self.target_delay.is_zero() {
            return refuse("target_delay", "must be longer than zero");
        }
        if self.target_delay > TIME_MAX {
            return refuse("target_delay", "must not be longer than a year");
        }
        if self.send_timeout.checked_mul(self.connection_retries).is_none() {
            return refuse("connection_retries", "is too large: times send_timeout it overflows");
        }
        if self.connection_retries == 0 {
            return refuse("connection_retries", "must be at least 1: it counts the first try");
        }
        if self.callback_threads == 0 {
            return refuse("callback_threads", "must be at least 1");
        }
        if self.window == 0 {
            return refuse("window", "must be at least 1 frame");
        }
        if self.curve.is_some() && self.login.is_some() {
            return refuse("plain", "does not go with curve: a server asks for one of them");
        }
        if let Some(login) = &self.login
            && login.user.len().max(login.password.len()) > usize::from(u8::MAX)
        {
            return refuse("plain", "takes a name and a password of at most 255 bytes each");
        }
        if self.server_address.is_empty() {
            return refuse("server_address", "must be a host name or IP address");
        }
        if let Some(port) = wrong_port(&self.server_address) {
            let (address, port) = (self.server_address.clone(), port.to_owned());
            return Err(ConnectError::NotAPort { address, port });
        }
        match host_in(&self.server_address) {
            Some(host) => {
                Err(ConnectError::NotAHost { address: self.server_address.clone(), host })
            }
            None => Ok(()),
        }
    }
}

/// The hosts, and the ports if they are said, of a URL: `mezzenger://host:7202`, or several, `mezzenger://one,two:7203`;
/// or of `host:7202`. `None` for what is neither.
pub(super) fn read_address(text: &str) -> Option<Vec<(&str, Option<u16>)>> {
    if text.starts_with(SCHEME) {
        return hosts(text).map(read_host).collect();
    }
    // A host alone, such as `::1`, is none of these.
    read_host(text).filter(|(_, port)| port.is_some()).map(|host| vec![host])
}

/// What stands for one server each.
fn hosts(address: &str) -> impl Iterator<Item = &str> {
    let (rest, is_list) = match address.strip_prefix(SCHEME) {
        Some(rest) => (rest.strip_suffix('/').unwrap_or(rest), true),
        None => (address, false),
    };
    rest.split(move |c| is_list && c == ',')
}

fn read_host(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = split_host(text)?;
    match port {
        Some(port) => Some((host, Some(port.parse::<NonZeroU16>().ok()?.get()))),
        None => Some((host, None)),
    }
}

/// A host, and the digits that follow it.
fn split_host(text: &str) -> Option<(&str, Option<&str>)> {
    let (host, port) = match text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':')?)),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    // Not `+7202`, which is a number, too.
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
    let is_host =
        !host.is_empty() && !host.contains([',', '/']) && !host.contains(char::is_whitespace);
    (is_host && port.is_none_or(is_port)).then_some((host, port))
}

/// The port in an address that no port has.
fn wrong_port(address: &str) -> Option<&str> {
    let mut ports = hosts(address).filter_map(|host| split_host(host)?.1);
    ports.find(|port| port.parse::<NonZeroU16>().is_err())
}

/// The host in what is more than a host; `None` when it is one.
fn host_in(address: &str) -> Option<String> {
    let is_ipv6 = |text: &str| {
        let (address, _zone) = text.split_once('%').unwrap_or((text, ""));
        address.parse::<Ipv6Addr>().is_ok()
    };
    if is_ipv6(address) {
        return None;
    }
    if let Some(inner) = address.strip_prefix('[')
        && let Some((inside, rest)) = inner.split_once(']')
        && is_ipv6(inside)
    {
        return (!rest.is_empty()).then(|| inside.to_owned());
    }
    let rest = address.split_once("://").map_or(address, |(_scheme, rest)| rest);
    if rest.len() < address.len() {
        // A URL may have an IPv6 address in brackets.
        let inside = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'));
        if let Some((inside, _)) = inside {
            return Some(inside.to_owned());
        }
    }
    let is_end = |c: char| c == ':' || c == '/' || c.is_whitespace();
    let host = rest.split(is_end).find(|part| !part.is_empty()).unwrap_or("127.0.0.1");
    (host.len() < address.len()).then(|| host.to_owned())
}
