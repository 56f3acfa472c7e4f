//! What a client's threads share without a lock, in every order in which they may run.

use loom::sync::Arc;
use loom::thread;

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
