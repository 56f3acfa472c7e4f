//! The places that there are for connections. A new connection always gets one, so that probes are answered however many
//! connections somebody else holds: if all are taken, one of those that hold most is closed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::AbortHandle;

/// Connections at a time: enough that one that is closed for others had milliseconds for its request, however fast these come.
const CONNECTIONS_MAX: usize = 256;

/// What became known of a connection.
#[derive(Debug, Default)]
pub(super) struct Place {
    showed_token: AtomicBool,
    listens: AtomicBool,
}

impl Place {
    /// Its client showed the server's token, if there is one.
    pub(super) fn showed_token(&self, is_one: bool) {
        self.showed_token.store(is_one, Ordering::Relaxed);
    }

    /// It listens to events.
    pub(super) fn listens(&self) {
        self.listens.store(true, Ordering::Relaxed);
    }

    /// Whether it listens to events.
    pub(super) fn is_listening(&self) -> bool {
        self.listens.load(Ordering::Relaxed)
    }
}

/// What serves a connection.
pub(super) trait Task {
    /// Whether the connection has ended.
    fn is_finished(&self) -> bool;
    /// Closes it.
    fn abort(&self);
}

impl Task for AbortHandle {
    fn is_finished(&self) -> bool {
        self.is_finished()
    }

    fn abort(&self) {
        self.abort();
    }
}

#[derive(Debug)]
struct Taken<T> {
    address: IpAddr,
    place: Arc<Place>,
    task: T,
}

/// All places that are taken, in the order in which they were.
#[derive(Debug)]
pub(super) struct Places<T>(Vec<Taken<T>>);

impl<T: Task> Places<T> {
    /// All are free.
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(CONNECTIONS_MAX))
    }

    /// Gives a connection of this address a place. Whether another one was closed for that.
    pub(super) fn take(&mut self, address: IpAddr, place: Arc<Place>, task: T) -> bool {
        if self.0.len() >= CONNECTIONS_MAX {
            self.0.retain(|taken| !taken.task.is_finished());
        }
        let loser = (self.0.len() >= CONNECTIONS_MAX).then(|| self.loser()).flatten();
        if let Some(at) = loser {
            self.0.remove(at).task.abort();
        }
        self.0.push(Taken { address, place, task });
        loser.is_some()
    }

    /// The oldest connection of the address that has most, of those that showed no token as long as there are any.
    fn loser(&self) -> Option<usize> {
        let showed = |taken: &Taken<T>| taken.place.showed_token.load(Ordering::Relaxed);
        let all_showed = self.0.iter().all(showed);
        let may_lose = || self.0.iter().enumerate().filter(|(_, it)| all_showed || !showed(it));
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        may_lose().for_each(|(_, it)| *counts.entry(it.address).or_default() += 1);
        // Of several, the last that is the largest counts: the oldest comes last.
        may_lose().rev().max_by_key(|(_, it)| counts.get(&it.address)).map(|(at, _)| at)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[derive(Clone, Default)]
    struct Connection(Rc<Cell<bool>>);

    impl Task for Connection {
        fn is_finished(&self) -> bool {
            self.0.get()
        }

        fn abort(&self) {
            self.0.set(true);
        }
    }

    fn take(places: &mut Places<Connection>, last: u8, has_token: bool) -> Connection {
        let (place, connection) = (Arc::new(Place::default()), Connection::default());
        place.showed_token(has_token);
        places.take([10, 0, 0, last].into(), place, connection.clone());
        connection
    }

    #[test]
    fn who_holds_most_loses_the_oldest_and_others_lose_nothing() {
        let mut places = Places::new();
        let quiet = [take(&mut places, 1, false), take(&mut places, 2, false)];
        let mut loud = Vec::new();
        for _ in 0..1000 {
            loud.push(take(&mut places, 3, false));
        }
        assert!(quiet.iter().all(|it| !it.is_finished()));
        let open: Vec<_> = loud.iter().map(|it| !it.is_finished()).collect();
        assert_eq!(open.iter().position(|&it| it), Some(1000 - (CONNECTIONS_MAX - 2)));
        assert!(!take(&mut places, 4, false).is_finished());
        assert_eq!(places.0.len(), CONNECTIONS_MAX);
    }

    #[test]
    fn clients_with_the_token_keep_their_places_as_long_as_there_are_others() {
        let mut places = Places::new();
        let with: Vec<_> = (0..CONNECTIONS_MAX - 1).map(|_| take(&mut places, 1, true)).collect();
        let without: Vec<_> = (0..100).map(|_| take(&mut places, 1, false)).collect();
        assert!(with.iter().all(|it| !it.is_finished()));
        assert_eq!(without.iter().filter(|it| !it.is_finished()).count(), 1);
        let mut full = Places::new();
        let with: Vec<_> = (0..=CONNECTIONS_MAX).map(|_| take(&mut full, 1, true)).collect();
        assert!(with[0].is_finished() && !with[1].is_finished());
    }

    #[test]
    fn who_is_gone_has_no_place() {
        let mut places = Places::new();
        let all: Vec<_> = (0..CONNECTIONS_MAX).map(|_| take(&mut places, 1, false)).collect();
        all[5].abort();
        take(&mut places, 1, false);
        assert_eq!(all.iter().filter(|it| it.is_finished()).count(), 1);
    }
}
