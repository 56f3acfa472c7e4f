//! What the ends at all targets share.

use std::sync::Arc;
use std::time::Duration;

use crate::keys::Keys;
use crate::notes::Notes;

/// How long a request may go without its answer.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What a run is about, for its ends.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The run's number.
    pub(crate) id: u32,
    /// The names of its messages.
    pub(crate) names: Arc<[String]>,
    pub(crate) notes: Notes,
    /// Of a run that is encrypted with CURVE.
    pub(crate) keys: Option<Arc<Keys>>,
}

/// How a publisher's end ended.
#[derive(Debug)]
pub(crate) struct Finished<E> {
    /// Messages that the server rejected or did not answer.
    pub(crate) refused: u64,
    /// The first failure.
    pub(crate) failure: Option<E>,
}
