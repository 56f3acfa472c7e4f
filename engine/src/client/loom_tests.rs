//! What a client's threads share without a lock, in every order in which they may run.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::claim::Claim;
use super::queue::Joint;

#[test]
fn exactly_one_receiver_of_a_record_is_the_last() {
    loom::model(|| {
        let joint = Arc::new(Joint::new(1, 3));
        let others = [(); 2].map(|()| {
            let joint = Arc::clone(&joint);
            thread::spawn(move || joint.is_last(0))
        });
        let this = joint.is_last(0);
        let others = others.map(|thread| thread.join().unwrap());
        assert_eq!([this, others[0], others[1]].iter().filter(|&&is_last| is_last).count(), 1);
    });
}

/// A caller is told that its subscription failed if, and only if, it was taken back: whichever of the
/// confirmation, the caller's patience and the thread's own comes first.
#[test]
fn a_subscription_stays_exactly_if_its_caller_is_told_so() {
    loom::model(|| {
        let claim = Arc::new(Claim::default());
        let stays = Arc::new(AtomicUsize::new(0));
        let (confirming, staying) = (Arc::clone(&claim), Arc::clone(&stays));
        let thread = thread::spawn(move || {
            if confirming.take() {
                staying.store(1, Ordering::Relaxed);
            }
        });
        let told_that_it_failed = claim.take();
        thread.join().unwrap();
        assert!(claim.is_taken());
        assert_eq!(stays.load(Ordering::Relaxed) == 0, told_that_it_failed);
    });
}
