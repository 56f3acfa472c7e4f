//! Connections whose handshake is over, and those whose keys are accepted no longer, or that may do less than before.

use std::sync::Arc;

use super::admission::ChangesFromOthers;
use super::run::Broker;
use super::subscribers::ConnectionId;
use crate::access::Identity;
use crate::net::socket::Network;

impl<N: Network> Broker<N> {
    /// A connection's handshake is over: with CURVE, all that it is sent from now on is sealed.
    pub(super) fn opened(&mut self, id: ConnectionId) {
        self.admission.opened(id);
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let Some(sealer) = peer.session.take_sealer() {
            peer.output.seal(sealer);
        }
        let identity = peer.session.client_key().map_or(Identity::Nobody, Identity::Key);
        if identity != Identity::Nobody {
            tracing::debug!(peer = %peer.address, %identity, "a client said who it is");
        }
        self.core.opened(id, identity);
    }

    /// Where other threads say what counts from now on.
    pub(crate) fn changes(&self) -> ChangesFromOthers {
        self.admission.changes().clone()
    }

    /// Takes what other threads said.
    pub(super) fn hear_changes(&mut self) {
        self.hear_keys();
        if let Some(access) = self.admission.take_access_change() {
            let ending = self.core.change_access(Arc::new(access));
            tracing::info!(ended = ending.len(), "what clients may do changed");
            for id in ending {
                self.close_for(id, "its client may do less than before: it may connect again");
            }
        }
    }

    /// Ends connections whose keys are accepted no longer. Those that have not proved a key yet began with the earlier
    /// list, and come again.
    fn hear_keys(&mut self) {
        if !self.admission.take_key_change() {
            return;
        }
        let (mut removed, mut begun) = (Vec::new(), Vec::new());
        for peer in self.peers.iter() {
            match peer.session.client_key() {
                Some(key) if self.admission.accepts(&key) => {}
                Some(_) => removed.push(peer.id),
                None => begun.push(peer.id),
            }
        }
        tracing::info!(ended = removed.len(), "the authorized keys changed");
        for id in removed {
            self.close_for(id, "its key is authorized no longer");
        }
        for id in begun {
            self.close(id);
        }
    }
}
