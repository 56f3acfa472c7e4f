//! A mechanism is left out, and the simulation finds the promise that breaks.

use super::*;

/// Seeds of which one must find it.
const SEEDS: u64 = 40;

/// Runs one seed after the other without a mechanism. The first promise that breaks must be one that
/// the mechanism keeps.
#[track_caller]
fn check_found(
    without: Without,
    conditions: impl Fn(&mut Rng) -> Conditions,
    expected: impl Fn(&Broken) -> bool,
) {
    for seed in 1..=SEEDS {
        let mut random = Rng::with_seed(seed);
        let mut world = World::new(conditions(&mut random), random, without);
        if let Err(broken) = world.run() {
            assert!(expected(&broken), "seed {seed}: {broken:?}");
            println!("without {without:?}, seed {seed}: {broken:?}");
            return;
        }
    }
    panic!("nothing was found without {without:?}");
}

/// It was published as a new message, or is kept although it had been acknowledged.
fn is_second_message(broken: &Broken) -> bool {
    let after_ack = matches!(broken, Broken::PublishedAfterAck(_) | Broken::Keeps(_));
    after_ack || matches!(broken, Broken::SecondMessage(_))
}

#[test]
fn native_messages_that_come_again_are_recognised() {
    check_found(Without::NativeDedupe, Conditions::of, is_second_message);
}

#[test]
fn v1_messages_that_come_again_are_recognised() {
    check_found(Without::OriginalDedupe, Conditions::of, is_second_message);
}

#[test]
fn stored_messages_that_come_again_after_a_restart_are_recognised() {
    check_found(Without::RecoveredDedupe, Conditions::of, is_second_message);
}

#[test]
fn pending_messages_are_limited() {
    check_found(Without::PendingLimits, Conditions::of, |broken| {
        matches!(broken, Broken::OverLimit(_))
    });
}

#[test]
fn requests_that_wait_for_the_journal_are_limited() {
    check_found(Without::ParkedLimit, Conditions::flood, |broken| *broken == Broken::TooManyParked);
    // With the limit the same flood breaks nothing.
    let mut random = Rng::with_seed(1);
    let flood = Conditions::flood(&mut random);
    assert_eq!(World::new(flood, random, Without::Nothing).run(), Ok(()));
}

#[test]
fn unacknowledged_messages_are_sent_again() {
    check_found(Without::Resends, Conditions::of, |broken| {
        matches!(broken, Broken::Lost(_) | Broken::Stuck(_))
    });
}

#[test]
fn ok_waits_for_the_journal() {
    check_found(Without::JournalWait, Conditions::of, |broken| {
        matches!(broken, Broken::OkBeforeStored(_) | Broken::PublishedBeforeStored(_))
    });
}

#[test]
fn what_follows_a_stored_message_waits_for_it() {
    check_found(Without::Barriers, Conditions::of, |broken| {
        matches!(broken, Broken::Overtook(_) | Broken::OkBeforeStored(_))
    });
}

#[test]
fn acknowledgements_outlive_a_clean_end() {
    check_found(Without::StoredAcks, Conditions::of, |broken| {
        matches!(broken, Broken::PublishedAfterAck(_))
    });
}

#[test]
fn subscriptions_end_with_their_connection() {
    check_found(Without::EndedSubscriptions, Conditions::of, |broken| {
        matches!(broken, Broken::Misdelivered(_))
    });
}

#[test]
fn subscriptions_are_cancelled_by_those_who_have_them() {
    check_found(Without::OwnCancels, Conditions::of, |broken| {
        matches!(broken, Broken::Misdelivered(_) | Broken::OkUnpublished(_))
    });
}
