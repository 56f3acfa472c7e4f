//! The mechanisms that the simulation can do without, each left out around the core, which is as it is.
//! Without any one of them a promise is broken, and the simulation has to find out.

/// Which mechanism is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    Nothing,
    /// The core is made to forget which messages of a publisher it took, before each of its requests.
    NativeDedupe,
    /// A v1 message is taken out of the core before it comes again.
    OriginalDedupe,
    /// A restarted core is not told what the journal ever held.
    RecoveredDedupe,
    /// The core has no limits on pending messages.
    PendingLimits,
    /// Requests are read although too many wait for the journal.
    ParkedLimit,
    /// The core is never asked what to send again.
    Resends,
    /// The core is told that a group is stored when it is handed over.
    JournalWait,
    /// The core is made to forget which group a publisher's later messages wait for.
    Barriers,
    /// The journal is not told of acknowledgements.
    StoredAcks,
    /// The core is not told that a subscriber's connection is gone.
    EndedSubscriptions,
    /// The core is told of a stranger's cancellation as if each subscriber had cancelled.
    OwnCancels,
}
