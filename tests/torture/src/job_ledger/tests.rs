use super::*;

const BEGAN_MS: u64 = 1_000_000;

fn key(number: u32) -> Key {
    Key { publisher: 5, number }
}

/// Jobs of both groups: their numbers are one more than a multiple of three.
const BOTH: [Key; 2] = [Key { publisher: 5, number: 1 }, Key { publisher: 5, number: 4 }];

fn posted(at_ms: u64) -> Posted {
    Posted { at_ms, due_ms: None, expires_ms: None }
}

/// Posts and answers a job.
fn with(jobs: &[(Key, Posted)]) -> JobLedger {
    let mut ledger = JobLedger::default();
    for (key, posted) in jobs {
        ledger.posted(*key, *posted);
        ledger.ok(*key);
    }
    ledger
}

/// A worker of a group gets a job and acknowledges it, 1 ms each.
fn work(ledger: &mut JobLedger, key: Key, group: usize, at_ms: u64) {
    ledger.delivered(key, group, 1, at_ms, BEGAN_MS);
    ledger.done(key, group, at_ms + 1);
    ledger.taken(key, group, at_ms + 2);
}

fn judge(ledger: &JobLedger, letters: &[Letter]) -> JobAccount {
    ledger.judge(letters, [0, 0], BEGAN_MS + 10_000).account
}

#[test]
fn a_job_is_owed_to_each_group_that_it_fits_until_that_is_done() {
    let mut ledger = with(&[(key(0), posted(BEGAN_MS)), (BOTH[0], posted(BEGAN_MS))]);
    assert_eq!(ledger.unsettled(BEGAN_MS), 3);
    work(&mut ledger, key(0), 0, BEGAN_MS + 1);
    work(&mut ledger, BOTH[0], 0, BEGAN_MS + 1);
    assert_eq!(ledger.unsettled(BEGAN_MS), 1);
    // The other group never got it.
    let account = judge(&ledger, &[]);
    assert_eq!((account.owed, account.done, account.lost), (3, 2, 1));
    // Or it waits at the server: that is no loss.
    let judged = ledger.judge(&[], [0, 1], BEGAN_MS);
    assert_eq!((judged.account.pending, judged.account.lost), (1, 0));
    assert_eq!(judged.named, ["neither done, dead nor expired: job 5/1 of group strict"]);
}

#[test]
fn a_job_that_was_not_answered_is_owed_to_nobody() {
    let mut ledger = JobLedger::default();
    ledger.posted(BOTH[0], posted(BEGAN_MS));
    ledger.posted(BOTH[1], posted(BEGAN_MS));
    ledger.refused(BOTH[1]);
    let account = judge(&ledger, &[]);
    assert_eq!((account.owed, account.unanswered, account.refused), (0, 1, 1));
}

#[test]
fn a_dead_letter_ends_it_for_its_group_alone() {
    let mut ledger = with(&[(BOTH[0], posted(BEGAN_MS))]);
    for attempt in 1..=3 {
        ledger.delivered(BOTH[0], 1, attempt, BEGAN_MS + 1, BEGAN_MS);
    }
    let letter = Letter { key: BOTH[0], group: 1, attempts: 3, is_rejected: false };
    let judged = ledger.judge(&[letter], [0, 0], BEGAN_MS);
    let JobAccount { dead, lost, wrong_letters, .. } = judged.account;
    assert_eq!((dead, lost, wrong_letters, judged.live), (1, 1, 0, 1));
    for wrong in [
        // Before its attempts, from a group that has no end of them, and rejected by nobody.
        Letter { attempts: 2, ..letter },
        Letter { group: 0, ..letter },
        Letter { is_rejected: true, ..letter },
    ] {
        assert_eq!(judge(&ledger, &[wrong]).wrong_letters, 1, "{wrong:?}");
    }
    assert_eq!(judge(&ledger, &[letter, letter]).wrong_letters, 1, "twice");
    ledger.done(BOTH[0], 1, BEGAN_MS + 2);
    ledger.taken(BOTH[0], 1, BEGAN_MS + 3);
    assert_eq!(judge(&ledger, &[letter]).wrong_letters, 1, "although it is done");
}

#[test]
fn attempts_count_from_one_to_what_the_group_has() {
    let mut ledger = with(&[(BOTH[0], posted(BEGAN_MS))]);
    for (group, attempt, beyond) in [(1, 3, 0), (0, 900, 0), (1, 4, 1), (0, 0, 2)] {
        ledger.delivered(BOTH[0], group, attempt, BEGAN_MS, BEGAN_MS);
        assert_eq!(judge(&ledger, &[]).attempts_beyond, beyond, "{group}: {attempt}");
    }
}

#[test]
fn one_that_expires_is_lost_only_before_and_late_only_after() {
    let expires_ms = Some(BEGAN_MS + 5000);
    let jobs = [(key(0), Posted { expires_ms, ..posted(BEGAN_MS) })];
    let ledger = with(&jobs);
    let at = |now_ms| {
        let JobAccount { expired, lost, .. } = ledger.judge(&[], [0, 0], now_ms).account;
        (expired, lost)
    };
    assert_eq!((at(BEGAN_MS + 4999), at(BEGAN_MS + 6000)), ((0, 1), (1, 0)));
    // To a worker that began before, it may have been under way.
    for (at_ms, began_ms, late) in [
        (BEGAN_MS + 5001, BEGAN_MS, 0),
        (BEGAN_MS + 9000, BEGAN_MS, 1),
        (BEGAN_MS + 5600, BEGAN_MS + 5500, 1),
    ] {
        let mut ledger = with(&jobs);
        ledger.delivered(key(0), 0, 1, at_ms, began_ms);
        assert_eq!(judge(&ledger, &[]).late, late, "{at_ms} {began_ms}");
    }
}

#[test]
fn one_that_is_held_is_not_lost_before_its_time_nor_delivered() {
    let far = Posted { due_ms: Some(BEGAN_MS + 2 * FAR_MS), ..posted(BEGAN_MS) };
    let near = Posted { due_ms: Some(BEGAN_MS + 500), ..posted(BEGAN_MS) };
    let mut ledger = with(&[(key(0), far), (key(3), near)]);
    assert_eq!((ledger.last_due_ms(), ledger.unsettled(BEGAN_MS)), (BEGAN_MS + 500, 1));
    let judged = ledger.judge(&[], [0, 0], BEGAN_MS + 1000);
    let JobAccount { held, lost, early, .. } = judged.account;
    assert_eq!((held, lost, early, judged.live), (1, 1, 0, 1));
    // In another group's words: as soon as one delivery is before the time.
    ledger.delivered(key(3), 0, 2, BEGAN_MS + 600, BEGAN_MS);
    assert_eq!(judge(&ledger, &[]).early, 0);
    ledger.delivered(key(3), 0, 1, BEGAN_MS + 499, BEGAN_MS);
    assert_eq!(judge(&ledger, &[]).early, 1);
}

#[test]
fn what_was_acknowledged_comes_again_only_over_a_kill_before_it_was_stored() {
    let again = |kills: &dyn Fn(&mut JobLedger)| {
        let mut ledger = with(&[(key(0), posted(BEGAN_MS))]);
        work(&mut ledger, key(0), 0, BEGAN_MS + 1);
        kills(&mut ledger);
        ledger.delivered(key(0), 0, 1, BEGAN_MS + 100, BEGAN_MS);
        let JobAccount { again, again_after_kill, .. } = judge(&ledger, &[]);
        (again, again_after_kill)
    };
    assert_eq!(again(&|_| ()), (1, 0));
    assert_eq!(again(&|ledger| ledger.killed(BEGAN_MS)), (1, 0), "a kill before");
    assert_eq!(again(&|ledger| ledger.killed(BEGAN_MS + 50)), (0, 1));
    let stored = |ledger: &mut JobLedger| {
        ledger.posted(key(3), posted(BEGAN_MS + 4));
        ledger.ok(key(3));
        ledger.killed(BEGAN_MS + 50);
    };
    assert_eq!(again(&stored), (1, 0), "what was posted behind it is stored, so it is");
}

#[test]
fn it_is_the_same_in_whatever_order_it_is_told() {
    let mut ledger = JobLedger::default();
    ledger.delivered(key(0), 0, 1, BEGAN_MS + 100, BEGAN_MS);
    ledger.delivered(key(0), 0, 1, BEGAN_MS + 1, BEGAN_MS);
    assert_eq!(judge(&ledger, &[]).forged, 1);
    ledger.done(key(0), 0, BEGAN_MS + 2);
    ledger.taken(key(0), 0, BEGAN_MS + 3);
    ledger.posted(key(0), posted(BEGAN_MS));
    ledger.ok(key(0));
    let JobAccount { forged, again, done, deliveries, .. } = judge(&ledger, &[]);
    assert_eq!((forged, again, done, deliveries), (0, 1, 1, 2));
}

#[test]
fn what_fits_no_filter_of_a_group_is_forged_there() {
    let mut ledger = with(&[(key(0), posted(BEGAN_MS))]);
    ledger.delivered(key(0), 1, 1, BEGAN_MS, BEGAN_MS);
    ledger.damaged();
    let JobAccount { forged, damaged, .. } = judge(&ledger, &[]);
    assert_eq!((forged, damaged), (1, 1));
}
