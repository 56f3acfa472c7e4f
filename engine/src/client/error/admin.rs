//! Errors of administration.

use super::{Problem, SendError, doubt};
use crate::wire::filter::FilterError;
use crate::wire::name::NameError;

/// Why something that the server keeps (groups, dead letters, retained messages) could not be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The server rejected it.
    #[error("the server rejected the request: {text}")]
    Refused {
        /// The server's explanation.
        text: String,
    },
    /// The server does not allow it to this client.
    #[error("{text}")]
    NotAllowed {
        /// The server's explanation: what was asked for, and what this client may do.
        text: String,
    },
    /// The name of a message or of a group breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The filter breaks a rule.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// An option has a value that cannot work.
    #[error("the option {option} {problem}")]
    Option {
        /// The builder's method.
        option: &'static str,
        /// What is wrong with the value.
        problem: &'static str,
    },
    /// The server could not be asked, cannot do it now, or did not answer. After [`SendError::TimedOut`] and
    /// [`SendError::Stopped`] the request may have been carried out.
    #[error("{_0}{}", doubt(_0))]
    Send(#[source] SendError),
}

impl From<SendError> for AdminError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Unknown { text, .. } | SendError::Malformed { text } => {
                Self::Refused { text }
            }
            SendError::NotAllowed { text } => Self::NotAllowed { text },
            error => Self::Send(error),
        }
    }
}

impl From<Problem> for AdminError {
    fn from((option, problem): Problem) -> Self {
        Self::Option { option, problem }
    }
}
