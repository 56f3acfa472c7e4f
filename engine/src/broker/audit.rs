//! Lines of the log about who comes, what is rejected for whom, and what is administered. Their target is `audit`.

use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use super::log_rate::LogRate;
use crate::access::Identity;
use crate::wire::control::Control;
use crate::wire::{durable, letter, retained};
use crate::zmtp::session::Port;

/// At most one line of each kind in this time; the next one says how many were left out.
const PAUSE: Duration = Duration::from_millis(100);

/// How often each kind of line is written.
#[derive(Debug)]
pub(super) struct Audit {
    connected: LogRate,
    refused: LogRate,
    administered: LogRate,
}

impl Default for Audit {
    fn default() -> Self {
        let [connected, refused, administered] = [(); 3].map(|()| LogRate::new(PAUSE));
        Self { connected, refused, administered }
    }
}

impl Audit {
    /// A client proved who it is.
    pub(super) fn connected(
        &mut self,
        peer: SocketAddr,
        identity: &Identity,
        port: Port,
        now: Duration,
    ) {
        if let Some(unlogged) = self.connected.admit(now) {
            let port = match port {
                Port::Requests => "requests",
                Port::Publishing => "subscribers",
            };
            tracing::info!(target: "audit", %peer, port, unlogged, "connected: {identity}");
        }
    }

    /// Something was rejected, or a connection, for who asked.
    pub(super) fn refused(&mut self, peer: SocketAddr, why: &impl Display, now: Duration) {
        if let Some(unlogged) = self.refused.admit(now) {
            let why = one_line(&why.to_string());
            tracing::warn!(target: "audit", %peer, unlogged, "rejected: {why}");
        }
    }

    /// A client asks for a change of what the server keeps. If it is rejected, that is another line.
    pub(super) fn administered(
        &mut self,
        peer: SocketAddr,
        identity: &Identity,
        control: &Control<'_>,
        now: Duration,
    ) {
        if let Some(what) = change(control)
            && let Some(unlogged) = self.administered.admit(now)
        {
            let what = one_line(&what);
            tracing::info!(target: "audit", %peer, unlogged, "{identity} asks to {what}");
        }
    }
}

/// A text whose control characters do nothing to a log.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    line
}

/// What is to be changed, if a request changes something but its client's own subscriptions.
fn change(control: &Control<'_>) -> Option<String> {
    Some(match control {
        Control::Groups(durable::Request::Create { filter, group }) => {
            format!("create group '{}' for {filter}", group.name)
        }
        Control::Groups(durable::Request::Delete { name, .. }) => format!("delete group '{name}'"),
        Control::Letters(letter::Request::Replay { group, .. }) => {
            format!("replay dead letters of group '{group}'")
        }
        Control::Letters(letter::Request::Purge { group, .. }) => {
            format!("purge dead letters of group '{group}'")
        }
        Control::Retained(retained::Request::Clear(name)) => {
            format!("clear the retained message of '{name}'")
        }
        Control::Hello(_)
        | Control::Subscribe(_)
        | Control::Unsubscribe(_)
        | Control::Credit { .. }
        | Control::Settle { .. }
        | Control::Groups(durable::Request::List { .. })
        | Control::Letters(letter::Request::List { .. } | letter::Request::Show { .. })
        | Control::Retained(retained::Request::List { .. }) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn control_characters_are_written_out() {
        assert_eq!(one_line("a 'b'\n\u{1b}[31m\u{85}\u{e4}"), "a 'b'\\n\\u{1b}[31m\\u{85}\u{e4}");
    }
}
