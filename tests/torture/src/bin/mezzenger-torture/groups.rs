//! The torture's own questions to the server: it creates the groups, and asks at the end what became of their jobs.

use std::time::Duration;

use mezzenger::{Client, DeadLetter, Filter};
use mezzenger_torture::content;
use mezzenger_torture::job_ledger::Letter;
use mezzenger_torture::jobs::{self, ALL, GROUPS};

use crate::error::TortureError;

/// How long a worker may have a job without a word. Many rounds are shorter, some longer.
const ACK_WAIT: Duration = Duration::from_millis(400);

/// Jobs that a worker may have.
const IN_FLIGHT_MAX: u32 = 64;

/// Between two attempts.
const BACKOFF: Duration = Duration::from_millis(10);

/// Creates all groups.
pub(crate) fn create(port: u16) -> Result<(), TortureError> {
    let client = Client::builder().port(port).connect()?;
    for group in ALL {
        let durable = client.groups().durable(group.name, Filter::pattern(group.pattern));
        let mut durable = durable.ack_wait(ACK_WAIT).in_flight_max(IN_FLIGHT_MAX);
        if group.attempts_max > 0 {
            durable = durable.attempts_max(group.attempts_max);
        }
        durable.backoff(&[BACKOFF]).create()?;
    }
    Ok(())
}

/// What the server says of the groups.
pub(crate) struct Left {
    /// Of each, what waits or is under way.
    pub(crate) pending: [u64; GROUPS],
    /// Dead letters of all.
    pub(crate) letters: u64,
}

/// Asks for the groups. One that the server does not know any more has nothing left.
pub(crate) fn left(client: &Client) -> Result<Left, TortureError> {
    let mut left = Left { pending: [0; GROUPS], letters: 0 };
    for (pending, group) in left.pending.iter_mut().zip(ALL) {
        if let Some(group) = client.groups().get(group.name)? {
            *pending = group.waiting + group.in_flight;
            left.letters += group.dead_letters;
        }
    }
    Ok(left)
}

/// All dead letters of the groups.
pub(crate) fn letters(client: &Client) -> Result<Vec<Letter>, TortureError> {
    let mut all = Vec::new();
    for (group, terms) in ALL.iter().enumerate() {
        let letters = client.dead_letters(terms.name);
        for DeadLetter { id, name, attempts, reason, .. } in letters.list(usize::MAX)? {
            let (_, message) = letters.show(id)?;
            let key = content::key(message.payload()).filter(|key| jobs::name(*key) == name);
            let key = key.ok_or(TortureError::Letter { id })?;
            all.push(Letter { key, group, attempts, is_rejected: reason.is_some() });
        }
    }
    Ok(all)
}
