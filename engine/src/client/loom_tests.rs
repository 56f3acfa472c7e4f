//! What a client's threads share without a lock, in every order in which they may run.

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::claim::Claim;

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
