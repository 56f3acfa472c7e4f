//! The broker itself, over simulated sockets: buffers of any size, wires that cut what is sent anywhere,
//! connections that are reset, end or stall at any byte, readiness that is told once and in any order,
//! strangers, and a clock that moves only when the simulation does.
//!
//! One number, the seed, decides everything, so that what went wrong once goes wrong again. The broker is
//! the real one, turn by turn, and so is its journal, on a [`disk`] that commits when the seed says so; the server is
//! killed, or the power cut, and it starts again from what is left. Clients say what ZMTP says, byte by byte, and judge what they get by what they
//! know. No one else decides whether a run was good, but for what must be left when everybody has gone, and what must be
//! on the disk when a server starts. What a mechanism is worth is seen when it is left out: see [`without`].

mod asker;
mod broken;
mod conditions;
mod crash;
mod disk;
mod ledger;
mod link;
mod native;
mod network;
mod publisher;
mod stranger;
mod subscriber;
mod switched_off;
mod wire;
mod wiring;
mod without;
mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::super::checker::Checker;
use super::super::run::{Broker, CoreState};
use super::seeds::{Seeds, check_repeatable};
use broken::Broken;
use conditions::Conditions;
use network::{Shared, Simulated};
use without::Without;
use world::World;

/// How long one who has no trouble waits at most, for answers and for messages.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often one looks whether all is done.
const LOOKS: Duration = Duration::from_millis(5);

const SEEDS: Seeds = Seeds {
    filter: "sockets::promises",
    always: 100,
    met: &[
        "a client stalled",
        "a publisher ended its connection",
        "a stranger",
        "a subscriber did not read",
        "a subscriber ended its connection",
        "accept failed",
        "acknowledgement answered",
        "closed at its end",
        "delivery beyond the credit",
        "delivery to a broadcast",
        "delivery to a member of a group",
        "delivery to an observer",
        "it paused within what it sent",
        "message dropped",
        "message sent by the server again",
        "message sent to the server again",
        "message settled by a member",
        "a native subscriber left",
        "publisher held back",
        "request refused",
        "request that is none",
        "reset on the way to the client",
        "reset on the way to the server",
        "server started with messages from the journal",
        "subscription cancelled",
        "the policy is to disconnect",
        "the power was cut",
        "the server ended early",
        "the server was killed",
        "the server was killed within a turn",
        "there were too many of its address",
        "verdict of a member too late",
        "write was short",
    ],
};

fn world(seed: u64, without: Without) -> Shared {
    let mut random = Rng::with_seed(seed);
    let conditions = Conditions::of(&mut random);
    Rc::new(RefCell::new(World::new(conditions, random, without)))
}

/// What became of a server.
enum Outcome {
    /// It was killed.
    Killed,
    /// It was told to end.
    Ends,
    /// Everybody has left it.
    Left,
}

/// Runs until all is done and everybody has left, or the server has ended, or a promise is broken.
fn run(shared: &Shared) -> Result<(), Broken> {
    loop {
        let mut broker = start(shared)?;
        match live(&mut broker, shared)? {
            Outcome::Killed => {
                drop(broker);
                shared.borrow_mut().stay_down();
            }
            Outcome::Ends => return end(broker, shared),
            Outcome::Left => return check_nothing_left(&mut broker),
        }
    }
}

fn start(shared: &Shared) -> Result<Broker<Simulated>, Broken> {
    let mut world = shared.borrow_mut();
    let config = world.conditions.config.clone();
    let mut core = CoreState::new(&config, Arc::clone(&world.counters));
    let journal = world.start(&mut core)?;
    // Checks at once: a thread would make another history of the same seed.
    let checker = Checker::default();
    let network = Simulated(Rc::clone(shared));
    Ok(Broker::new(core, &config, network, checker, journal, Arc::clone(&world.stop)))
}

fn live(broker: &mut Broker<Simulated>, shared: &Shared) -> Result<Outcome, Broken> {
    let mut looked_at = Duration::ZERO;
    loop {
        let failed = broker.turn(None).err();
        let mut world = shared.borrow_mut();
        if let Some(broken) = world.broken.take() {
            return Err(broken);
        }
        if world.is_down {
            return Ok(Outcome::Killed);
        }
        if let Some(error) = failed {
            return Err(Broken::Stuck(error.to_string()));
        }
        if world.is_draining {
            return Ok(Outcome::Ends);
        }
        if world.without == Without::JournalWait {
            broker.core.durable(world.disk.handed_over());
            while broker.core.release_stored() {}
        }
        // Each turn would be a waste.
        let looks = world.now >= looked_at + LOOKS;
        looked_at = if looks { world.now } else { looked_at };
        let pending = broker.core.backlog.view().len();
        if world.is_leaving {
            if world.is_quiet || world.now > world.deadline {
                return Ok(Outcome::Left);
            }
        } else if looks && pending == 0 && world.is_done() {
            check_delivered(&world)?;
            world.all_leave();
        } else if world.now > world.deadline || world.is_quiet {
            let undone = world.undone();
            return Err(Broken::Stuck(format!("{undone:?} not done, {pending} messages pending")));
        }
    }
}

/// What was answered OK and is to be acknowledged came to somebody who wanted it, and was.
fn check_delivered(world: &World) -> Result<(), Broken> {
    world.ledger.lost(|_| false).map_or(Ok(()), |number| Err(Broken::Lost(number)))
}

/// Everybody has left: nothing of them is held.
fn check_nothing_left(broker: &mut Broker<Simulated>) -> Result<(), Broken> {
    let left = [
        ("connections", broker.peers.len()),
        ("bytes for subscribers", broker.frames.bytes()),
        ("bytes of requests that are not whole", broker.partial_bytes),
        ("bytes of answers", broker.reply_bytes),
        ("subscriptions", broker.core.subscribers.len()),
        ("connections to be read", broker.readable.iter().count()),
        ("connections to be written to", broker.dirty.len()),
        ("publishers that wait", broker.held.len()),
        ("deadlines", usize::from(broker.timers.next_due().is_some())),
    ];
    match left.iter().find(|(_, count)| *count > 0) {
        Some((what, count)) => Err(Broken::Left(format!("{count} {what}"))),
        None => Ok(()),
    }
}

/// The server was told to end.
fn end(broker: Broker<Simulated>, shared: &Shared) -> Result<(), Broken> {
    let result = broker.run();
    let mut world = shared.borrow_mut();
    if let Err(error) = result {
        return Err(Broken::Stuck(error.to_string()));
    }
    let (took, timeout) = (world.now - world.drain_began, world.conditions.config.drain_timeout);
    // A turn may have begun just before.
    let slack = Duration::from_micros(40 * world.conditions.read_us) + Duration::from_millis(20);
    if took > timeout + slack {
        return Err(Broken::SlowEnd(format!("{took:?} of {timeout:?}")));
    }
    world.run_out();
    if let Some(broken) = world.broken.take() {
        return Err(broken);
    }
    world.tell("the server ended");
    // What could not leave in three quarters of the time is given up.
    if took < timeout * 3 / 4 {
        world.tell("the server ended early");
        world.check_end()?;
    }
    world.check_kept()
}

/// Fails with the end of what led to it.
fn fail(seed: u64, broken: &Broken) -> ! {
    let again = world(seed, Without::Nothing);
    again.borrow_mut().trace.is_on = true;
    let _ = run(&again);
    let again = again.borrow();
    panic!(
        "{}\n{:#?}\nseed {seed}: {broken:?} after {:?} and {} moments",
        again.trace.text(),
        again.conditions,
        again.now,
        again.moment,
    );
}

#[test]
fn promises_hold_over_sockets_that_do_what_they_may() {
    SEEDS.check("moments", |seed, tally| {
        let world = world(seed, Without::Nothing);
        if let Err(broken) = run(&world) {
            fail(seed, &broken);
        }
        let world = world.borrow();
        let counters = &world.counters;
        let counted = [
            ("message dropped", counters.frames_dropped.get()),
            ("message sent by the server again", counters.resent.get()),
            ("publisher held back", counters.held_back.get()),
        ];
        let told = world.tally.iter().map(|(&what, &times)| (what, times));
        for (what, times) in told.chain(counted).filter(|(_, times)| *times > 0) {
            *tally.entry(what).or_default() += times;
        }
        world.moment
    });
}

#[test]
fn the_same_seed_is_the_same_history() {
    check_repeatable(|seed| {
        let shared = world(seed, Without::Nothing);
        shared.borrow_mut().trace.is_on = true;
        let _ = run(&shared);
        let world = shared.borrow();
        world.trace.digest()
    });
}
