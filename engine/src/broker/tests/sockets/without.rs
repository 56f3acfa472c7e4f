//! The mechanisms that the simulation can do without, each left out around the broker, which is as it is: what the
//! simulation does instead is what it would see of a broker that lacks it. Without any one of them a promise is broken,
//! and the simulation has to find out.

/// Which mechanism is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    Nothing,
    /// Now and then it is not noticed that there is something to be read.
    WakeUpsToRead,
    /// Now and then it is not noticed that there is room again for what waits.
    WakeUpsToWrite,
    /// What a short write left over is taken for written.
    RestsOfWrites,
    /// The end of what a peer sends is not noticed.
    Ends,
    /// What waits for a commit is answered when it is handed over.
    JournalWait,
    /// Credit is taken for twice as much as was granted.
    CreditLimit,
    /// Now and then credit that was granted is not counted.
    Grants,
    /// A server that starts is not given the messages of its journal.
    Recovery,
}

impl Without {
    /// Of so many wake-ups, or grants of credit, one is lost.
    pub(super) const LOST_ONE_IN: u32 = 8;
}
