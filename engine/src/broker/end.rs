//! The last steps of a shutdown: closes the journal, and sends what is queued.

use std::time::Duration;

use crossbeam::channel::bounded;

use super::drain::Drain;
use super::run::{Broker, RunError};
use crate::journal::Journal;
use crate::net::socket::Network;

impl<N: Network> Broker<N> {
    /// Answers what could not be finished, closes the journal, which syncs it, and writes what is left.
    pub(super) fn end(mut self, drain: Drain) -> Result<(), RunError> {
        let now = self.network.now();
        self.core.abandon();
        self.carry_out(now);
        self.write_some(now);
        let closed = match self.journal.take() {
            Some(journal) => close(journal, drain.closed_by.saturating_sub(self.network.now())),
            None => {
                let lost = self.core.backlog.view().len();
                if lost > 0 {
                    tracing::warn!(
                        "unacknowledged messages lost: {lost}, because there is no journal; --persist-file keeps them"
                    );
                }
                Ok(())
            }
        };
        // What peers have not taken yet may leave until the last part of the time is over.
        while self.peers.iter().any(|peer| !peer.output.is_empty()) {
            let now = self.network.now();
            let left = drain.over_by.saturating_sub(now);
            if left.is_zero() {
                break;
            }
            // Not for what would be done otherwise: nothing is read any more, and no deadline looked at.
            let wait = if self.dirty.is_empty() { left } else { Duration::ZERO };
            self.hear_network(Some(wait))?;
            self.write_some(now);
        }
        tracing::info!(
            "ended in {:?}; since the start, {} requests were answered, {} of them rejected",
            self.network.now().saturating_sub(drain.began),
            self.counters.requests.get(),
            self.counters.refused.get(),
        );
        closed
    }
}

/// Closes the journal in time: a disk that hangs must not keep the process from ending.
fn close(journal: Journal, time: Duration) -> Result<(), RunError> {
    let (closed, wait) = bounded(1);
    std::thread::spawn(move || closed.send(journal.close()));
    match wait.recv_timeout(time) {
        Ok(result) => Ok(result?),
        Err(_) => Err(RunError::DrainTimeout),
    }
}
