//! Counts what the subscriptions of a connection got beyond their credit, and whether publishers wait for it.

use std::time::Duration;

/// Of one connection.
#[derive(Debug, Default)]
pub(super) struct Overdraft {
    /// Since when one of its subscriptions has got more than it had credit for, and granted nothing.
    since: Option<Duration>,
    /// It granted nothing for too long: nobody waits for it until it grants again.
    is_given_up: bool,
}

impl Overdraft {
    /// Since when one of its subscriptions has had no credit for what it got.
    pub(super) fn since(&self) -> Option<Duration> {
        self.since
    }

    /// Whether nobody waits for it any longer, although it lacks credit.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_given_up
    }

    /// When nobody waits for it any longer.
    pub(super) fn deadline(&self, grace: Duration) -> Option<Duration> {
        self.since.filter(|_| !self.is_given_up).map(|since| since + grace)
    }

    /// Since when it has granted nothing, if that is too long.
    pub(super) fn late(&self, now: Duration, grace: Duration) -> Option<Duration> {
        self.since.filter(|_| self.deadline(grace).is_some_and(|end| now >= end))
    }

    /// A subscription got more than it had credit for; whether publishers are to wait.
    pub(super) fn overdraw(&mut self, now: Duration) -> bool {
        self.since.get_or_insert(now);
        !self.is_given_up
    }

    /// Credit was granted. `is_clear`: no subscription is overdrawn any more.
    pub(super) fn granted(&mut self, is_clear: bool, now: Duration) {
        // One that only stood still for a while takes messages again. If nobody waited until it is clear, a publisher that is
        // faster would keep it from that, and it would lose messages as long as it is there.
        *self = Self { since: (!is_clear).then_some(now), is_given_up: false };
    }

    /// Nobody waits any more, until it grants credit again.
    pub(super) fn give_up(&mut self) {
        self.is_given_up = true;
    }

    /// Whether publishers may go on.
    pub(super) fn lets_publish(&self) -> bool {
        self.since.is_none() || self.is_given_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn publishers_wait_as_long_as_something_is_granted_in_time() {
        let mut overdraft = Overdraft::default();
        assert!(overdraft.lets_publish() && overdraft.deadline(S).is_none());
        assert!(overdraft.overdraw(S * 10));
        assert!(overdraft.overdraw(S * 11), "the time runs from the first");
        assert_eq!((overdraft.deadline(S * 3), overdraft.lets_publish()), (Some(S * 13), false));
        overdraft.granted(false, S * 12);
        assert_eq!(overdraft.late(S * 14, S * 3), None);
        assert_eq!(overdraft.late(S * 15, S * 3), Some(S * 12));
        overdraft.granted(true, S * 16);
        assert!(overdraft.lets_publish() && overdraft.deadline(S).is_none());
    }

    #[test]
    fn one_that_was_given_up_holds_nobody_until_it_grants_again() {
        let mut overdraft = Overdraft::default();
        overdraft.overdraw(S);
        overdraft.give_up();
        assert!(overdraft.lets_publish() && !overdraft.overdraw(S * 2));
        assert_eq!((overdraft.deadline(S), overdraft.late(S * 99, S)), (None, None));
        overdraft.granted(false, S * 3);
        assert!(overdraft.overdraw(S * 4) && !overdraft.lets_publish());
        assert_eq!(
            overdraft.late(S * 4, S),
            Some(S * 3),
            "it has a grace again, from the grant on"
        );
        overdraft.granted(true, S * 5);
        assert!(overdraft.lets_publish() && overdraft.overdraw(S * 6));
    }
}
