//! What happens in each round, as the seed decides it.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// It is tortured.
    Server,
    /// It publishes; they count from 0.
    Publisher(u32),
    /// It subscribes; they count from 0.
    Subscriber(u32),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Publisher(at) => write!(f, "publisher {at}"),
            Self::Subscriber(at) => write!(f, "subscriber {at}"),
        }
    }
}

/// Most answers that a round waits for before its first kill.
const ANSWERS_MAX: u64 = 200;

/// Longest pause before a kill or a start: some tens of syncs of a disk.
const PAUSE_MAX: Duration = Duration::from_millis(60);

/// Longest time that a server gets that is killed while it starts.
const STARTING_MAX: Duration = Duration::from_millis(30);

/// One round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Round {
    /// Messages that are answered before the first kill: the load is on again.
    pub(crate) answers: u64,
    /// Who is killed, each so long after the step before. A publisher that goes on while its subscriber or the
    /// server is dead is what makes messages owed.
    pub(crate) kills: Vec<(Duration, Role)>,
    /// The same, in the order in which they start again.
    pub(crate) starts: Vec<(Duration, Role)>,
    /// Servers that are killed so long after they were started, before the one that stays.
    pub(crate) starting: Vec<Duration>,
}

/// An endless plan of rounds for so many publishers and subscribers.
pub(crate) fn rounds(seed: u64, publishers: u32, subscribers: u32) -> impl Iterator<Item = Round> {
    let mut random = Rng::with_seed(seed);
    std::iter::repeat_with(move || round(&mut random, publishers, subscribers))
}

fn round(random: &mut Rng, publishers: u32, subscribers: u32) -> Round {
    let mut victims = Vec::new();
    if random.u8(..4) > 0 {
        victims.push(Role::Server);
    }
    victims.extend((0..publishers).filter(|_| random.u8(..3) == 0).map(Role::Publisher));
    victims.extend((0..subscribers).filter(|_| random.bool()).map(Role::Subscriber));
    if victims.is_empty() {
        victims.push(Role::Server);
    }
    let starting = match victims.contains(&Role::Server) && random.u8(..4) == 0 {
        true => (0..random.u8(1..=2)).map(|_| moment(random, STARTING_MAX)).collect(),
        false => Vec::new(),
    };
    Round {
        answers: random.u64(1..=ANSWERS_MAX),
        kills: in_some_order(random, &victims),
        starts: in_some_order(random, &victims),
        starting,
    }
}

fn in_some_order(random: &mut Rng, roles: &[Role]) -> Vec<(Duration, Role)> {
    let mut roles = roles.to_vec();
    random.shuffle(&mut roles);
    roles
        .into_iter()
        .map(|role| {
            // Some at once, together with the one before.
            let pause =
                if random.u8(..3) == 0 { Duration::ZERO } else { moment(random, PAUSE_MAX) };
            (pause, role)
        })
        .collect()
}

fn moment(random: &mut Rng, max: Duration) -> Duration {
    max.mul_f64(random.f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> Vec<Round> {
        rounds(seed, 2, 2).take(500).collect()
    }

    #[test]
    fn the_seed_decides_all() {
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn who_is_killed_is_started_again() {
        for round in plan(3) {
            let roles = |steps: &[(Duration, Role)]| {
                let mut roles: Vec<_> = steps.iter().map(|(_, role)| *role).collect();
                roles.sort();
                roles
            };
            let killed = roles(&round.kills);
            assert!(!killed.is_empty());
            assert_eq!(killed, roles(&round.starts));
            assert!(round.starting.is_empty() || killed.contains(&Role::Server));
        }
    }

    #[test]
    fn the_dangerous_orders_come_up() {
        let plan = plan(4);
        let count = |is: &dyn Fn(&Round) -> bool| plan.iter().filter(|round| is(round)).count();
        let at = |round: &Round, role| round.kills.iter().position(|(_, killed)| *killed == role);
        let owes = |round: &Round| {
            let [server, first, second] = [Role::Server, Role::Subscriber(0), Role::Subscriber(1)]
                .map(|role| at(round, role));
            server.zip(first.max(second)).is_some_and(|(server, subscriber)| subscriber < server)
        };
        assert!(count(&owes) > 50, "the server is killed while it owes messages");
        assert!(count(&|round| !round.starting.is_empty()) > 50, "and while it starts");
        assert!(count(&|round| at(round, Role::Server).is_none()) > 50, "or not at all");
        assert!(count(&|round| round.kills.len() == 5) > 5, "or all are");
    }
}
