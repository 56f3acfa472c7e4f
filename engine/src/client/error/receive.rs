//! Errors of subscriptions.

use std::time::Duration;

use super::Problem;
use crate::wire::filter::FilterError;
use crate::wire::name::NameError;

/// Why a subscription could not be made or ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// The name or prefix breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The filter breaks a rule.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A call that takes one name was given a text that looks like a pattern: a token of it is `*` or `>`.
    #[error(
        "'{text}' is a pattern, and this call takes one name: give subscription_to or unsubscribe_from \
         Filter::pattern({text:?}), or Filter::name({text:?}) for the name itself"
    )]
    Pattern {
        /// What was given.
        text: String,
    },
    /// An option has a value that cannot work.
    #[error("the option {option} {problem}")]
    Option {
        /// The builder's method.
        option: &'static str,
        /// What is wrong with the value.
        problem: &'static str,
    },
    /// The server rejected it.
    #[error("the server rejected the subscription: {text}")]
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
    /// There is no such subscription.
    #[error("not subscribed to '{name}': unsubscribe takes exactly what was subscribed to")]
    NotSubscribed {
        /// The name or prefix.
        name: String,
    },
    /// The server did not confirm the subscription in time, so that the client ended it; or a callback still runs that is to end.
    #[error("no answer, or no end of the callback, within {tries} times {timeout:?}")]
    NotConfirmed {
        /// How many times `send_timeout` was waited.
        tries: u32,
        /// The time.
        timeout: Duration,
    },
    /// Called in a callback that reports something, on the thread that reads the server's answers.
    #[error("a callback that reports must not wait for the server: subscribe from another thread")]
    InCallback,
    /// The client was stopped.
    #[error("the client has stopped; make a new one to go on")]
    Stopped,
    /// This process was forked from the one that made the client.
    #[error("this process was forked from the one that made the client: make a new client here")]
    Forked,
}

impl From<Problem> for SubscribeError {
    fn from((option, problem): Problem) -> Self {
        Self::Option { option, problem }
    }
}

/// Why [`Subscription::recv_timeout`](crate::Subscription::recv_timeout) or
/// [`try_recv`](crate::Subscription::try_recv) has no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// No message arrived in time.
    #[error("no message within the time given")]
    TimedOut,
    /// The subscription ended: unsubscribed, or the client stopped. All its messages were read.
    #[error("the subscription has ended")]
    Closed,
    /// Called in a callback that reports something, on the thread that reads what the server sends.
    #[error("a callback that reports must not wait for messages: read them on another thread")]
    InCallback,
    /// This process was forked from the one that made the client.
    #[error("this process was forked from the one that made the client: make a new client here")]
    Forked,
    /// The server rejected the subscription on a new connection. All its messages were read.
    #[error("the subscription has ended: {0}")]
    Refused(#[source] SubscribeError),
}
