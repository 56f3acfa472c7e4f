//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for what should happen. Far more than it takes, so that a busy machine fails
/// no test.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        // Between two questions, so that asking does not take the processor from who answers.
        std::thread::sleep(Duration::from_millis(1));
    }
}
