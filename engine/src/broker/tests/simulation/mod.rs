//! The core among publishers and subscribers of both formats, a network that loses, repeats and
//! reorders, connections that are cut, a disk that is slow or fails, and a server that is killed.
//!
//! One number, the seed, decides everything, so that what went wrong once goes wrong again. The
//! [`ledger`] knows what was promised for each message; nothing else decides whether a run was good.
//! What a mechanism is worth is seen when it is left out: see [`without`].

mod broken;
mod conditions;
mod disk;
mod faults;
mod ledger;
mod network;
mod publisher;
mod server;
mod story;
mod subscriber;
mod switched_off;
mod traffic;
mod without;
mod world;

use fastrand::Rng;

use broken::Broken;
use conditions::Conditions;
use ledger::Tally;
use without::Without;
use world::World;

/// Seeds that are tried when `SIMULATION_SEEDS` does not say how many.
const SEEDS: u64 = 200;

pub(super) fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn world(seed: u64, without: Without) -> World {
    let mut random = Rng::with_seed(seed);
    World::new(Conditions::of(&mut random), random, without)
}

/// What must have happened in the seeds that are always tried: otherwise they prove nothing.
const MET: [&str; 18] = [
    "commit hung",
    "connection cut",
    "delivery lost",
    "message sent again",
    "reply lost",
    "request lost",
    "request refused: journal failed",
    "request refused: pending full",
    "request refused: server ending",
    "request repeated in part",
    "request repeated whole",
    "request taken",
    "server ended by itself",
    "server ended with requests unanswered",
    "server killed, and a commit lost",
    "server killed, and a commit saved",
    "server killed, and a commit torn",
    "server started with messages from the journal",
];

/// Says how to see the same again, also when the core panics.
struct Repeat(u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self(seed) = self;
            eprintln!(
                "seed {seed} failed; repeat it with\n\
                 SIMULATION_SEED={seed} cargo test -p mezzenger --lib simulation::promises"
            );
        }
    }
}

/// Fails with the end of what led to it.
fn fail(seed: u64, broken: &Broken) -> ! {
    let mut again = world(seed, Without::Nothing);
    again.trace.is_on = true;
    let _ = again.run();
    panic!(
        "{}\n{:#?}\nseed {seed}: {broken:?} after {} events",
        again.trace.text(),
        again.conditions,
        again.steps,
    );
}

/// `SIMULATION_SEED=n` runs that one alone, `SIMULATION_SEEDS=n` as many as that.
#[test]
fn promises_hold_whatever_happens() {
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let (mut steps, mut runs) = (0, 0);
    let mut tally = Tally::new();
    for seed in seeds {
        let _repeat = Repeat(seed);
        let mut world = world(seed, Without::Nothing);
        if let Err(broken) = world.run() {
            fail(seed, &broken);
        }
        steps += world.steps;
        runs += 1;
        for (what, times) in world.ledger.tally {
            *tally.entry(what).or_default() += times;
        }
    }
    println!("{runs} seeds, {steps} events: {tally:#?}");
    if runs >= SEEDS {
        let missing: Vec<_> = MET.iter().filter(|what| !tally.contains_key(*what)).collect();
        assert!(missing.is_empty(), "never met: {missing:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    let digest = |seed| {
        let mut world = world(seed, Without::Nothing);
        world.trace.is_on = true;
        let _ = world.run();
        world.trace.digest()
    };
    let digests: Vec<u64> = (1..=10).map(digest).collect();
    assert_eq!(digests, (1..=10).map(digest).collect::<Vec<_>>());
    assert_ne!(digests[0], digests[1]);
}
