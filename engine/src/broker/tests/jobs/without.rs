//! The mechanisms that the simulation can do without, each left out around the core, which is as it is.
//! Without any one of them a promise is broken, and the simulation has to find out.

/// Which mechanism is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    Nothing,
    /// Members' time to acknowledge is without end.
    AckWait,
    /// Members have a part of the time that they were promised.
    WholeAckWait,
    /// Groups are told of no limit of attempts.
    AttemptsMax,
    /// Groups are told of no delays before further attempts.
    Backoff,
    /// The core is told of no delays that members ask for.
    NakDelays,
    /// The core takes what members reject for refused for now.
    Rejections,
    /// The clock on the wall stands still.
    Clock,
    /// It is ahead.
    RightTime,
    /// Whoever listens settles what groups have.
    OwnJobs,
    /// The core is not told that a connection is gone.
    Departures,
    /// The core is told that all is stored when it is handed over.
    JournalWait,
    /// The journal is not told of acknowledged messages.
    StoredAcks,
    /// The journal is not told which groups are done with messages that others need.
    StoredJobs,
    /// The journal is not told of dead letters.
    StoredLetters,
    /// The journal is not told of durable groups.
    StoredGroups,
    /// The journal is not told that they were deleted.
    StoredDeletions,
    /// A restarted core is told of messages alone.
    RecoveredGroups,
    /// A restarted core is told of messages and groups alone.
    RecoveredLetters,
}
