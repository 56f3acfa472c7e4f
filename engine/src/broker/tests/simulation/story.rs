//! What happened to one message.

/// How frames come to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A request that was taken.
    Taken,
    /// Nobody acknowledged in time, or somebody subscribed.
    Again,
}

/// What happened to a message.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    /// The request that brought it, in this life of the server; 0 for a restart.
    pub(super) taken: Option<u64>,
    /// It waits for its acknowledgement.
    pub(super) held: bool,
    /// How often it was taken in this life: a native message once, one of v1 once for each
    /// acknowledgement.
    pub(super) times: u32,
    /// How often it was published in this life as a new message, in each format.
    pub(super) new: [u32; 2],
    /// Published in this life at all, in each format.
    pub(super) shown: [bool; 2],
    /// The formats in which it was wanted when it was taken.
    pub(super) wanted: [bool; 2],
    /// How often it was acknowledged.
    pub(super) settled: u32,
    /// The journal holds it.
    pub(super) stored: bool,
    /// With ack=1 and answered OK.
    pub(super) promised: bool,
    /// A subscriber's program worked on it.
    pub(super) done: bool,
}
