//! Who talks to whom, and when what was sent arrives, if it does.

use std::collections::HashMap;
use std::time::Duration;

use fastrand::Rng;

use super::conditions::Weather;

/// A client of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Party {
    Publisher(usize),
    Subscriber(usize),
}

/// One direction of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    Request,
    Reply,
    /// Subscriptions are never lost but with their connection.
    Subscription,
    Delivery,
}

pub(super) struct Network {
    pub(super) weather: Weather,
    /// When the last packet arrives that went this way.
    last: HashMap<(Party, Way), Duration>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrivals {
    pub(super) first: Option<Duration>,
    pub(super) copy: Option<Duration>,
}

impl Network {
    pub(super) fn new(weather: Weather) -> Self {
        Self { weather, last: HashMap::new() }
    }

    /// When a packet arrives that is sent now.
    pub(super) fn send(
        &mut self,
        random: &mut Rng,
        party: Party,
        way: Way,
        now: Duration,
    ) -> Arrivals {
        let unruly = way != Way::Subscription;
        let happens = |random: &mut Rng, of_1000: u32| unruly && random.u32(0..1000) < of_1000;
        let lost = happens(random, self.weather.losses);
        let copied = happens(random, self.weather.copies);
        let first = (!lost).then(|| self.arrival(random, party, way, now));
        let copy = copied.then(|| self.arrival(random, party, way, now));
        Arrivals { first, copy }
    }

    fn arrival(&mut self, random: &mut Rng, party: Party, way: Way, now: Duration) -> Duration {
        let at = now + Duration::from_micros(random.u64(self.weather.delay_us.clone()));
        if self.weather.reorders && way != Way::Subscription {
            return at;
        }
        let last = self.last.entry((party, way)).or_default();
        *last = at.max(*last);
        *last
    }

    /// What is under way never arrives; what is sent from now on waits for none of it.
    pub(super) fn cut(&mut self, party: Party) {
        self.last.retain(|&(other, _), _| other != party);
    }
}
