//! Identifies connections after their handshake, and closes those whose keys or permissions were withdrawn.

use std::sync::Arc;
use std::time::Duration;

use super::admission::ChangesFromOthers;
use super::logins::Verdict;
use super::run::Broker;
use super::subscribers::ConnectionId;
use crate::access::Identity;
use crate::net::socket::Network;
use crate::wire::control;
use crate::zmtp::curve::keys::PublicKey;
use crate::zmtp::plain::Login;

/// Keys that one line of the log names.
const KEYS_NAMED: usize = 8;

impl<N: Network> Broker<N> {
    /// A connection's handshake is over: with CURVE, all that it is sent from now on is sealed.
    pub(super) fn opened(&mut self, id: ConnectionId, now: Duration) {
        self.admission.opened(id);
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let Some(sealer) = peer.session.take_sealer() {
            peer.output.seal(sealer);
        }
        let identity = peer.identity();
        if identity != Identity::Nobody {
            self.audit.connected(peer.address, &identity, peer.session.port(), now);
        }
        self.core.opened(id, identity);
    }

    /// Where other threads say what counts from now on.
    pub(crate) fn changes(&self) -> ChangesFromOthers {
        self.admission.changes().clone()
    }

    /// Notes a request that may change what the server keeps.
    pub(super) fn audit_request(&mut self, id: ConnectionId, body: &[u8], now: Duration) {
        if let Ok(control) = control::read(body)
            && let Some(peer) = self.peers.get_mut(id)
        {
            self.audit.administered(peer.address, self.core.identity(id), &control, now);
        }
    }

    /// A client says who it is: that is checked elsewhere, and the connection is not read meanwhile.
    pub(super) fn log_in(&mut self, id: ConnectionId, login: Login, now: Duration) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let begun = match self.core.password_of(&login.user) {
            Some(hash) => self.logins.begin(id, peer.address.ip(), login, hash, now),
            // There are no users any more.
            None => return self.refuse_login(id, &login.user, now),
        };
        match begun {
            Ok(()) => peer.is_checked = true,
            // It is not told, so that it comes again.
            Err(why) => self.close_for(id, &why.to_string()),
        }
    }

    /// Goes on with connections whose logins were checked.
    fn hear_logins(&mut self, now: Duration) {
        while let Some(verdict) = self.logins.next(now) {
            let Verdict { connection: id, user, hash, is_right, .. } = verdict;
            // The password may have been changed meanwhile, and the connection may be gone.
            let stands = self.core.password_of(&user) == Some((hash, true));
            let Some(peer) = self.peers.get_mut(id) else { continue };
            peer.is_checked = false;
            if is_right && stands {
                peer.session.welcome(user.into(), peer.output.own());
                peer.mark_dirty(&mut self.dirty);
                self.list(id);
            } else {
                self.refuse_login(id, &user, now);
            }
        }
    }

    fn refuse_login(&mut self, id: ConnectionId, user: &str, now: Duration) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        let reason = peer.session.refuse_login(user, peer.output.own());
        self.refuse_connection(id, &reason, now);
    }

    /// Takes what other threads said.
    pub(super) fn hear_others(&mut self, now: Duration) {
        self.hear_logins(now);
        self.hear_keys();
        if let Some(access) = self.admission.take_access_change() {
            let ending = self.core.change_access(Arc::new(access));
            tracing::info!(target: "audit", ended = ending.len(), "what clients may do changed");
            for id in ending {
                self.close_for(id, "its client may do less than before: it may connect again");
            }
            // They logged in by the earlier list, and connect again.
            let begun = self.peers.iter().filter(|peer| {
                let session = &peer.session;
                session.user().is_some() && !session.is_open()
            });
            let begun: Vec<_> = begun.map(|peer| peer.id).collect();
            for id in begun {
                self.close(id);
            }
        }
    }

    /// Ends connections whose keys are accepted no longer. Those that have not proved a key yet began with the earlier
    /// list, and connect again.
    fn hear_keys(&mut self) {
        let Some(change) = self.admission.take_key_change() else { return };
        let (mut ending, mut begun) = (Vec::new(), Vec::new());
        for peer in self.peers.iter() {
            match peer.session.client_key() {
                Some(key) if self.admission.accepts(&key) => {}
                Some(_) => ending.push(peer.id),
                None => begun.push(peer.id),
            }
        }
        let (added, removed) = (listed(&change.added), listed(&change.removed));
        let ended = ending.len();
        tracing::info!(target: "audit", ended, added, removed, "the authorized keys changed");
        for id in ending {
            self.close_for(id, "its key is authorized no longer");
        }
        for id in begun {
            self.close(id);
        }
    }
}

/// The first of these keys, and how many more there are.
fn listed(keys: &[PublicKey]) -> String {
    let mut named: Vec<_> = keys.iter().take(KEYS_NAMED).map(PublicKey::to_string).collect();
    if let Some(more @ 1..) = keys.len().checked_sub(KEYS_NAMED) {
        named.push(format!("and {more} more"));
    }
    named.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zmtp::curve::keys::KeyPair;

    #[test]
    fn a_long_list_of_keys_is_cut() {
        let keys: Vec<_> = (0..10).map(|_| KeyPair::generate().public()).collect();
        assert_eq!(listed(&keys[..0]), "");
        assert_eq!(listed(&keys[..1]), keys[0].to_string());
        assert_eq!(listed(&keys[..KEYS_NAMED]).split(' ').count(), KEYS_NAMED);
        assert!(listed(&keys).ends_with(&format!("{} and 2 more", keys[KEYS_NAMED - 1])));
    }
}
