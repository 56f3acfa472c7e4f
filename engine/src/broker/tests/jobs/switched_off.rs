//! A mechanism is left out, and the simulation finds the promise that breaks.

use super::*;

/// Seeds of which one must find it.
const SEEDS: u64 = 40;

/// Runs one seed after the other without a mechanism. The first promise that breaks must be one that
/// the mechanism keeps.
#[track_caller]
fn check_found(without: Without, expected: impl Fn(&Broken) -> bool) {
    for seed in 1..=SEEDS {
        let mut world = world(seed, without);
        if let Err(broken) = world.run() {
            let about = broken.number().map(|number| world.ledger.tell_of(number));
            assert!(expected(&broken), "seed {seed}: {broken:?}\n{}", about.unwrap_or_default());
            println!("without {without:?}, seed {seed}: {broken:?}");
            return;
        }
    }
    panic!("nothing was found without {without:?}");
}

#[test]
fn what_nobody_says_a_word_of_comes_again() {
    check_found(Without::AckWait, |broken| matches!(broken, Broken::Stuck(_)));
}

#[test]
fn a_member_has_all_of_its_time() {
    check_found(Without::WholeAckWait, |broken| {
        matches!(broken, Broken::TwoMembers(_) | Broken::GivenUp(_) | Broken::Miscounted(_))
    });
}

#[test]
fn attempts_have_an_end() {
    check_found(Without::AttemptsMax, |broken| {
        matches!(broken, Broken::TooManyAttempts(_) | Broken::GivenUp(_))
    });
}

#[test]
fn further_attempts_wait_as_their_group_says() {
    check_found(Without::Backoff, |broken| matches!(broken, Broken::TooEarly(_)));
}

#[test]
fn further_attempts_wait_as_their_member_says() {
    check_found(Without::NakDelays, |broken| matches!(broken, Broken::TooEarly(_)));
}

#[test]
fn what_is_rejected_does_not_come_again() {
    check_found(Without::Rejections, |broken| matches!(broken, Broken::GivenUp(_)));
}

#[test]
fn messages_expire_at_their_time() {
    check_found(Without::Clock, |broken| matches!(broken, Broken::TooLate(_)));
}

#[test]
fn messages_are_delivered_at_their_time() {
    check_found(Without::RightTime, |broken| {
        matches!(broken, Broken::TooEarly(_) | Broken::EndedEarly(_) | Broken::NotKept(_))
    });
}

#[test]
fn who_listens_takes_no_job_from_its_members() {
    check_found(Without::OwnJobs, |broken| matches!(broken, Broken::EndedEarly(_)));
}

#[test]
fn who_is_gone_gets_nothing() {
    check_found(Without::Departures, |broken| matches!(broken, Broken::Misdelivered(_)));
}

#[test]
fn ok_and_deliveries_wait_for_the_journal() {
    check_found(Without::JournalWait, |broken| {
        matches!(broken, Broken::OkBeforeStored(_) | Broken::DeliveredBeforeStored(_))
    });
}

#[test]
fn acknowledgements_outlive_a_clean_end() {
    check_found(Without::StoredAcks, |broken| matches!(broken, Broken::DeliveredAfterEnd(_)));
}

#[test]
fn so_do_those_of_messages_that_other_groups_need() {
    check_found(Without::StoredJobs, |broken| matches!(broken, Broken::DeliveredAfterEnd(_)));
}

#[test]
fn dead_letters_outlive_it() {
    check_found(Without::StoredLetters, |broken| {
        matches!(broken, Broken::OkBeforeStored(_) | Broken::Miscounted(_) | Broken::Lost(_))
    });
}

#[test]
fn dead_letters_are_told_to_a_core_that_starts() {
    check_found(Without::RecoveredLetters, |broken| {
        matches!(broken, Broken::DeliveredAfterEnd(_) | Broken::EndedEarly(_))
    });
}

#[test]
fn durable_groups_outlive_their_server() {
    check_found(Without::StoredGroups, |broken| {
        matches!(broken, Broken::OkBeforeStored(_) | Broken::Group("one is gone"))
    });
    check_found(Without::RecoveredGroups, |broken| {
        matches!(broken, Broken::EndedEarly(_) | Broken::SentAgain(_) | Broken::Stuck(_))
    });
}

#[test]
fn those_that_were_deleted_do_not_come_back() {
    check_found(Without::StoredDeletions, |broken| {
        matches!(broken, Broken::OkBeforeStored(_) | Broken::Group("one is there again"))
    });
}
