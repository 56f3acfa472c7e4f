//! Lines of the log about who comes, what is rejected for whom, and what is administered. Their target is `audit`.

use std::fmt::{self, Display};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::refusal::Refusal;
use crate::access::Identity;
use crate::escape::escape_hidden;
use crate::log_budget::LogBudgets;
use crate::net::network;
use crate::wire::control::Control;
use crate::wire::{durable, letter, retained};
use crate::zmtp::session::{CloseReason, Port};

/// Lines of the log about connections and rejections that one client or address may cause at once, and how long it takes until
/// it may cause one more: what a person reads.
const LINES: u32 = 20;
/// See [`LINES`].
const REFILL: Duration = Duration::from_secs(1);

/// The same for each kind of administration: more than a program does that sets up or cleans up.
const ACTION_LINES: u32 = 1000;
/// See [`ACTION_LINES`].
const ACTION_REFILL: Duration = Duration::from_millis(50);

/// Clients with lines of their own, for each kind of administration; further ones share theirs.
const CLIENTS: usize = 1024;

/// Addresses with lines of their own for rejected requests; further ones share theirs. Fewer than clients, as strangers
/// may have many.
const STRANGERS: usize = 256;

/// What is logged, each with lines of its own for each client: nobody's lines take those of others, and no kind those of
/// another.
#[derive(Debug)]
pub(super) struct Audit {
    connected: LogBudgets<Identity>,
    refused: LogBudgets<(Refused, IpAddr)>,
    administered: LogBudgets<(Change, Client)>,
    /// When the first of them has something to tell: each turn of the broker asks.
    due: Option<Duration>,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            connected: LogBudgets::new(LINES, REFILL, CLIENTS),
            refused: LogBudgets::new(LINES, REFILL, STRANGERS),
            administered: LogBudgets::new(ACTION_LINES, ACTION_REFILL, CLIENTS),
            due: None,
        }
    }
}

/// Rejected requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Refused {
    Login,
    Key,
    Request,
}

impl Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Login => "wrong logins",
            Self::Key => "connections with keys that are not authorized",
            Self::Request => "requests that are not allowed",
        })
    }
}

/// Why a request is rejected.
pub(super) trait Reason: Display {
    /// What was asked for.
    fn refused(&self) -> Refused;
}

impl Reason for Refusal {
    fn refused(&self) -> Refused {
        Refused::Request
    }
}

impl Reason for CloseReason {
    fn refused(&self) -> Refused {
        if matches!(self, Self::WrongLogin(_)) { Refused::Login } else { Refused::Key }
    }
}

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Change {
    Create,
    Delete,
    Replay,
    Purge,
    Clear,
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create groups",
            Self::Delete => "delete groups",
            Self::Replay => "replay dead letters",
            Self::Purge => "purge dead letters",
            Self::Clear => "clear retained messages",
        })
    }
}

/// Who administers: clients that prove nothing differ by their addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Client {
    Known(Identity),
    At(IpAddr),
}

impl Client {
    fn new(identity: &Identity, peer: SocketAddr) -> Self {
        match identity {
            Identity::Nobody => Self::At(network(peer.ip())),
            known => Self::Known(known.clone()),
        }
    }
}

impl Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(identity) => identity.fmt(f),
            Self::At(address) => address.fmt(f),
        }
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
        if self.connected.admit(identity, now) {
            let port = match port {
                Port::Requests => "requests",
                Port::Publishing => "subscribers",
            };
            tracing::info!(target: "audit", %peer, port, "connected: {identity}");
        }
        self.due = self.first_due();
    }

    /// Something was rejected, or a connection, for who asked.
    pub(super) fn refused(&mut self, peer: SocketAddr, why: &impl Reason, now: Duration) {
        if self.refused.admit(&(why.refused(), network(peer.ip())), now) {
            let why = escape_hidden(&why.to_string());
            tracing::warn!(target: "audit", %peer, "rejected: {why}");
        }
        self.due = self.first_due();
    }

    /// A client asks for a change of what the server keeps. If it is rejected, that is another line.
    pub(super) fn administered(
        &mut self,
        peer: SocketAddr,
        identity: &Identity,
        control: &Control<'_>,
        now: Duration,
    ) {
        if let Some((change, what)) = change(control)
            && self.administered.admit(&(change, Client::new(identity, peer)), now)
        {
            let what = escape_hidden(&what);
            tracing::info!(target: "audit", %peer, "{identity} asks to {what}");
        }
        self.due = self.first_due();
    }

    /// When something is to be told that was left out.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.due
    }

    fn first_due(&self) -> Option<Duration> {
        let due = [self.connected.next_due(), self.refused.next_due()];
        due.into_iter().chain([self.administered.next_due()]).flatten().min()
    }

    /// Tells what was left out, if it is time for that.
    pub(super) fn tell(&mut self, now: Duration) {
        if self.due.is_none_or(|due| now < due) {
            return;
        }
        for (client, count) in self.connected.left_out(now) {
            let who = client.map_or_else(|| "other clients".to_owned(), |it| it.to_string());
            tell(count, &format!("connections of {who}"));
        }
        for (refused, count) in self.refused.left_out(now) {
            tell(
                count,
                &match refused {
                    Some((what, address)) => format!("{what}, from {address}"),
                    None => "rejections, from other addresses".to_owned(),
                },
            );
        }
        for (change, count) in self.administered.left_out(now) {
            tell(
                count,
                &match change {
                    Some((change, client)) => format!("requests of {client} to {change}"),
                    None => "requests of other clients that change something".to_owned(),
                },
            );
        }
        self.due = self.first_due();
    }
}

fn tell(count: u64, what: &str) {
    tracing::warn!(target: "audit", count, "not logged, because there were too many: {what}");
}

/// What is to be changed, if a request changes something but its client's own subscriptions.
fn change(control: &Control<'_>) -> Option<(Change, String)> {
    Some(match control {
        Control::Groups(durable::Request::Create { filter, group }) => {
            (Change::Create, format!("create group '{}' for {filter}", group.name))
        }
        Control::Groups(durable::Request::Delete { name, .. }) => {
            (Change::Delete, format!("delete group '{name}'"))
        }
        Control::Letters(letter::Request::Replay { group, .. }) => {
            (Change::Replay, format!("replay dead letters of group '{group}'"))
        }
        Control::Letters(letter::Request::Purge { group, .. }) => {
            (Change::Purge, format!("purge dead letters of group '{group}'"))
        }
        Control::Retained(retained::Request::Clear(name)) => {
            (Change::Clear, format!("clear the retained message of '{name}'"))
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
    use super::*;

    #[test]
    fn an_ipv6_network_has_one_budget_and_each_ipv4_address_its_own() {
        let of = |text: &str| network(text.parse::<SocketAddr>().unwrap().ip());
        assert_eq!(of("[2001:db8::1]:1"), of("[2001:db8::ffff:2]:2"));
        assert_ne!(of("[2001:db8::1]:1"), of("[2001:db8:0:1::1]:1"));
        assert_ne!(of("127.0.0.1:1"), of("127.0.0.2:1"));
        assert_eq!(of("[::ffff:127.0.0.1]:1"), of("127.0.0.1:1"));
    }
}
