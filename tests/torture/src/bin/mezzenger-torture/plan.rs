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
    /// It publishes jobs; they count from 0.
    JobPublisher(u32),
    /// It works for a durable group: for the one that is left when its number is divided by that of the groups.
    Worker(u32),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("server"),
            Self::Publisher(at) => write!(f, "publisher {at}"),
            Self::Subscriber(at) => write!(f, "subscriber {at}"),
            Self::JobPublisher(at) => write!(f, "publisher of jobs {at}"),
            Self::Worker(at) => write!(f, "worker {at}"),
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

/// How many processes there are of each kind, beside the server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crowd {
    pub(crate) publishers: u32,
    pub(crate) subscribers: u32,
    pub(crate) job_publishers: u32,
    /// Of all groups.
    pub(crate) workers: u32,
}

impl Crowd {
    /// All of them, those first who receive.
    pub(crate) fn roles(self) -> impl Iterator<Item = Role> {
        let receivers =
            (0..self.subscribers).map(Role::Subscriber).chain((0..self.workers).map(Role::Worker));
        let publishers = (0..self.publishers).map(Role::Publisher);
        receivers.chain(publishers).chain((0..self.job_publishers).map(Role::JobPublisher))
    }
}

/// An endless plan of rounds for these.
pub(crate) fn rounds(seed: u64, crowd: Crowd) -> impl Iterator<Item = Round> {
    let mut random = Rng::with_seed(seed);
    std::iter::repeat_with(move || round(&mut random, crowd))
}

fn round(random: &mut Rng, crowd: Crowd) -> Round {
    let mut victims = Vec::new();
    if random.u8(..4) > 0 {
        victims.push(Role::Server);
    }
    victims.extend(crowd.roles().filter(|role| match role {
        Role::Server | Role::Publisher(_) | Role::JobPublisher(_) => random.u8(..3) == 0,
        Role::Subscriber(_) | Role::Worker(_) => random.bool(),
    }));
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
        let crowd = Crowd { publishers: 2, subscribers: 2, job_publishers: 1, workers: 4 };
        rounds(seed, crowd).take(500).collect()
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
        assert!(count(&|round| round.kills.len() >= 8) > 5, "or nearly all are");
        // Of a group both workers, so that its jobs wait, and then the server.
        let waits = |round: &Round| {
            let [server, first, second] =
                [Role::Server, Role::Worker(1), Role::Worker(3)].map(|role| at(round, role));
            server.zip(first.max(second)).is_some_and(|(server, worker)| worker < server)
        };
        assert!(count(&waits) > 50, "the server is killed while a group has no workers");
    }
}
