//! The core among publishers and subscribers of both formats, a network that loses, repeats and
//! reorders, connections that are cut, a disk that is slow or fails, and a server that is killed.
//!
//! One number, the seed, decides everything, so that what went wrong once goes wrong again. The
//! [`ledger`] knows what was promised for each message; nothing else decides whether a run was good.
//! What a mechanism is worth is seen when it is left out: see [`without`].

mod broken;
mod conditions;
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

use super::seeds::{Seeds, check_repeatable};
use broken::Broken;
use conditions::Conditions;
use without::Without;
use world::World;

fn world(seed: u64, without: Without) -> World {
    let mut random = Rng::with_seed(seed);
    World::new(Conditions::of(&mut random), random, without)
}

const SEEDS: Seeds = Seeds {
    filter: "simulation::promises",
    always: 200,
    met: &[
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
    ],
};

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

#[test]
fn promises_hold_whatever_happens() {
    SEEDS.check("events", |seed, tally| {
        let mut world = world(seed, Without::Nothing);
        if let Err(broken) = world.run() {
            fail(seed, &broken);
        }
        for (what, times) in world.ledger.tally {
            *tally.entry(what).or_default() += times;
        }
        world.steps
    });
}

#[test]
fn the_same_seed_is_the_same_history() {
    check_repeatable(|seed| {
        let mut world = world(seed, Without::Nothing);
        world.trace.is_on = true;
        let _ = world.run();
        world.trace.digest()
    });
}
