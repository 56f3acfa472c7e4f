//! A mechanism is left out, and the simulation finds the promise that breaks.

use super::*;

/// Seeds of which one must find it.
const SEEDS: u64 = 100;

/// Runs one seed after the other without a mechanism. The first promise that breaks must be one that the mechanism
/// keeps.
#[track_caller]
fn check_found(without: Without, expected: impl Fn(&Broken) -> bool) {
    for seed in 1..=SEEDS {
        if let Err(broken) = run(&world(seed, without)) {
            assert!(expected(&broken), "seed {seed}: {broken:?}");
            println!("without {without:?}, seed {seed}: {broken:?}");
            return;
        }
    }
    panic!("nothing was found without {without:?}");
}

/// Something that was to be done was not, or was given up.
fn is_undone(broken: &Broken) -> bool {
    matches!(broken, Broken::Late(_) | Broken::Stuck(_) | Broken::Left(_) | Broken::Open(_))
        || matches!(broken, Broken::Closed(_) | Broken::Missed(_))
}

#[test]
fn wake_ups_to_read_are_noticed() {
    check_found(Without::WakeUpsToRead, is_undone);
}

#[test]
fn wake_ups_to_write_are_noticed() {
    check_found(Without::WakeUpsToWrite, is_undone);
}

#[test]
fn the_rest_of_a_short_write_follows() {
    check_found(Without::RestsOfWrites, |broken| {
        let is_garbled = matches!(broken, Broken::Corrupt(_) | Broken::WrongAnswer(_));
        is_garbled || is_undone(broken)
    });
}

#[test]
fn ends_are_read() {
    check_found(Without::Ends, is_undone);
}

#[test]
fn nothing_is_delivered_beyond_the_credit() {
    check_found(Without::CreditLimit, |broken| matches!(broken, Broken::Overdrawn(_)));
}

#[test]
fn all_credit_that_is_granted_counts() {
    check_found(Without::Grants, is_undone);
}

#[test]
fn ok_waits_for_the_journal() {
    check_found(Without::JournalWait, |broken| {
        matches!(broken, Broken::OkBeforeStored(_) | Broken::PublishedBeforeStored(_))
    });
}

#[test]
fn what_the_journal_holds_is_recovered() {
    check_found(Without::Recovery, |broken| matches!(broken, Broken::Lost(_)));
}
