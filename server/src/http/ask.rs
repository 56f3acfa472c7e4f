//! Asks the broker's thread, for a bounded time.

use std::time::Duration;

use hyper::{Response, StatusCode};
use mezzenger::Inspector;
use mezzenger::inspect::InspectError;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Shared;
use super::reply::{self, Body};

/// How long the broker's thread may take: its turns take milliseconds.
const TIME_MAX: Duration = Duration::from_secs(5);

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// What the server kept is still being read.
    Recovering,
    /// As many questions wait as may.
    Busy,
    /// It did not answer in time.
    Late,
    /// It ended.
    Ended,
}

impl Unanswered {
    /// In words.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Recovering => "the server is recovering what its journal keeps",
            Self::Busy => "the server has too many questions to answer: ask again",
            Self::Late => "the server did not answer within 5 s: its thread is busy or hangs",
            Self::Ended => "the server has ended",
        }
    }
}

impl From<Unanswered> for Response<Body> {
    fn from(unanswered: Unanswered) -> Self {
        reply::error(StatusCode::SERVICE_UNAVAILABLE, unanswered.why())
    }
}

impl From<InspectError> for Unanswered {
    fn from(error: InspectError) -> Self {
        match error {
            InspectError::Busy => Self::Busy,
            _ => Self::Ended,
        }
    }
}

impl Shared {
    /// Asks a question, and waits for the answer.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Inspector, Box<dyn FnOnce(T) + Send>) -> Result<(), InspectError>,
    ) -> Result<T, Unanswered> {
        let inspector = self.inspector.get().ok_or(Unanswered::Recovering)?;
        let (sender, receiver) = oneshot::channel();
        question(inspector, Box::new(move |answer| _ = sender.send(answer)))?;
        match timeout(TIME_MAX, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unanswered::Ended),
            Err(_) => Err(Unanswered::Late),
        }
    }
}
