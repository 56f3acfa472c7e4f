//! The core among members of groups that do their work, put it off, refuse it, say nothing or vanish; somebody who
//! creates and deletes durable groups, and replays and purges dead letters; listeners beside them; messages that are
//! delivered later or expire; a disk that is slow, and a server that is killed.
//!
//! One number, the seed, decides everything, so that what went wrong once goes wrong again. The [`ledger`] knows what
//! each message is to each group; nothing else decides whether a run was good. What a mechanism is worth is seen when it
//! is left out: see [`without`].

mod broken;
mod changes;
mod conditions;
mod deliveries;
mod ledger;
mod life;
mod messages;
mod publisher;
mod recovery;
mod server;
mod story;
mod switched_off;
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
    filter: "jobs::promises",
    always: 100,
    met: &[
        "connection cut",
        "durable group created",
        "durable group deleted",
        "job acknowledged",
        "job extended",
        "job handed over",
        "job handed over again",
        "job refused for now",
        "job rejected",
        "job used up",
        "last member left",
        "letter purged",
        "letter replayed",
        "member gone that had jobs",
        "member said nothing",
        "message expired",
        "message given that asks for no acknowledgement",
        "message heard",
        "message taken back",
        "message that came again",
        "server ended by itself",
        "server killed",
        "server killed, and a commit torn",
        "server started with messages from the journal",
    ],
};

/// Fails with the end of what led to it.
fn fail(seed: u64, broken: &Broken) -> ! {
    let mut again = world(seed, Without::Nothing);
    again.trace.is_on = true;
    let _ = again.run();
    let about = broken.number().map(|number| again.ledger.tell_of(number)).unwrap_or_default();
    panic!(
        "{}\n{:#?}\n{about}\nseed {seed}: {broken:?} after {} events",
        again.trace.text(),
        again.conditions,
        again.steps,
    );
}

#[test]
fn promises_hold_whatever_members_do() {
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
