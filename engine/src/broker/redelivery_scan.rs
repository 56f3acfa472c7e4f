//! Messages that were sent to connections of which none is left: they do not wait for their interval.

use std::time::Duration;

use super::backlog::Backlog;
use super::replies::Parked;
use super::subscribers::Subscribers;

/// A walk over the messages that were sent, a part in each turn.
#[derive(Debug, Default)]
pub(super) struct RedeliveryScan {
    /// The part that comes next.
    next: Option<usize>,
    /// Another connection ended since the walk began.
    again: bool,
}

impl RedeliveryScan {
    /// A connection with subscriptions ended.
    pub(super) fn begin(&mut self) {
        if self.next.is_some() {
            self.again = true;
        } else {
            self.next = Some(0);
        }
    }

    /// Goes on with the walk; whether some of it is left. A message that none of those who want its name now
    /// was sent becomes due, and one whose name nobody wants waits.
    pub(super) fn go_on<E>(
        &mut self,
        backlog: &mut Backlog,
        subscribers: &mut Subscribers,
        parked: &Parked<E>,
        now: Duration,
    ) -> bool {
        let Some(part) = self.next else { return false };
        let Some(sent) = backlog.sent(part) else {
            self.next = std::mem::take(&mut self.again).then_some(0);
            return self.next.is_some();
        };
        self.next = Some(part + 1);
        let (oldest_unstored, tick) = (parked.oldest_unstored(), backlog.tick());
        let mut unstored = None;
        for (id, name, since) in sent {
            let topic = subscribers.topic(&name);
            let is_wanted = topic.is_wanted() || !topic.groups.is_empty();
            if is_wanted && topic.since < since {
                continue;
            }
            // One that the journal has not stored was sent to nobody yet. Few are young enough for that.
            let may_wait = oldest_unstored.is_some_and(|arrived| since + tick >= arrived);
            if is_wanted
                && may_wait
                && unstored.get_or_insert_with(|| parked.unstored()).contains(&id)
            {
                continue;
            }
            backlog.recall(id, &name, is_wanted, now);
        }
        true
    }
}
