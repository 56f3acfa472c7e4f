//! Connections whose handshake is over, and those whose keys are accepted no longer.

use std::sync::Arc;

use super::admission::KeyChanges;
use super::run::Broker;
use super::subscribers::ConnectionId;
use crate::net::socket::Network;

impl<N: Network> Broker<N> {
    /// A connection's handshake is over: with CURVE, all that it is sent from now on is sealed.
    pub(super) fn opened(&mut self, id: ConnectionId) {
        self.admission.opened(id);
        let Some(peer) = self.peers.get_mut(id) else { return };
        if let Some(sealer) = peer.session.take_sealer() {
            peer.output.seal(sealer);
            if let Some(key) = peer.session.client_key() {
                tracing::debug!(peer = %peer.address, %key, "a client proved its key");
            }
        }
    }

    /// Where other threads say which keys are accepted; `None` without CURVE.
    pub(crate) fn key_changes(&self) -> Option<Arc<KeyChanges>> {
        self.admission.key_changes().cloned()
    }

    /// Ends connections whose keys are accepted no longer. Those that have not proved a key yet began with the earlier
    /// list, and come again.
    pub(super) fn hear_keys(&mut self) {
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
