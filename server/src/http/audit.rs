//! Lines of the log about what is asked for over HTTP, with the target `audit`.

use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mezzenger::{LogBudgets, escape_hidden};
use tokio::time::sleep;

use super::Shared;

/// Wrong tokens of one address that are logged at once, and how long it takes until one more is.
const TOKEN_LINES: u32 = 20;
const TOKEN_REFILL: Duration = Duration::from_secs(1);

/// The same for each kind of change: more than a person or a program asks for.
const CHANGE_LINES: u32 = 1000;
const CHANGE_REFILL: Duration = Duration::from_millis(50);

/// Addresses with lines of their own.
const ADDRESSES: usize = 256;

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    Replay,
    Purge,
    Close,
}

/// How many lines may be written.
pub(super) struct Audit {
    began: Instant,
    tokens: Mutex<LogBudgets<IpAddr>>,
    changes: Mutex<LogBudgets<(Change, IpAddr)>>,
    /// Whether a line about left-out lines is still to be written.
    is_telling: AtomicBool,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            tokens: Mutex::new(LogBudgets::new(TOKEN_LINES, TOKEN_REFILL, ADDRESSES)),
            changes: Mutex::new(LogBudgets::new(CHANGE_LINES, CHANGE_REFILL, ADDRESSES)),
            is_telling: AtomicBool::new(false),
        }
    }
}

/// Nothing panics under the lock.
fn lock<K: Eq + Hash>(budgets: &Mutex<LogBudgets<K>>) -> MutexGuard<'_, LogBudgets<K>> {
    budgets.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client showed a token that is not the server's.
pub(super) fn wrong_token(shared: &Arc<Shared>, peer: SocketAddr) {
    let audit = &shared.audit;
    if lock(&audit.tokens).admit(&peer.ip(), audit.began.elapsed()) {
        tracing::warn!(target: "audit", %peer, "rejected: an HTTP request with a wrong token");
    } else {
        tell_later(shared);
    }
}

/// A client that may do so asks for a change, `what` in words. Whether it is made is another matter.
pub(super) fn asked(shared: &Arc<Shared>, peer: SocketAddr, change: Change, what: &str) {
    let audit = &shared.audit;
    if lock(&audit.changes).admit(&(change, peer.ip()), audit.began.elapsed()) {
        let what = escape_hidden(what);
        tracing::info!(target: "audit", %peer, "an HTTP client asks to {what}");
    } else {
        tell_later(shared);
    }
}

fn tell_later(shared: &Arc<Shared>) {
    if shared.audit.is_telling.swap(true, Ordering::Relaxed) {
        return;
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let audit = &shared.audit;
        let due = [lock(&audit.tokens).next_due(), lock(&audit.changes).next_due()];
        let due = due.into_iter().flatten().max().unwrap_or_default();
        sleep(due.saturating_sub(audit.began.elapsed())).await;
        audit.is_telling.store(false, Ordering::Relaxed);
        let now = audit.began.elapsed().max(due);
        let tokens = lock(&audit.tokens).left_out(now);
        for (address, count) in tokens {
            tell(count, "HTTP requests with a wrong token", address);
        }
        let changes = lock(&audit.changes).left_out(now);
        for (of, count) in changes {
            let what = match of {
                Some((Change::Replay, _)) => "HTTP requests to replay dead letters",
                Some((Change::Purge, _)) => "HTTP requests to purge dead letters",
                Some((Change::Close, _)) => "HTTP requests to close connections",
                None => "HTTP requests that change something",
            };
            tell(count, what, of.map(|(_, address)| address));
        }
    });
}

fn tell(count: u64, what: &str, address: Option<IpAddr>) {
    let from = address.map_or_else(|| "other addresses".to_owned(), |it| it.to_string());
    tracing::warn!(target: "audit", count, "not logged, because there were too many: {what}, from {from}");
}
