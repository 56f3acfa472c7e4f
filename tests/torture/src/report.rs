//! The lines by which publishers, subscribers and workers tell what happened.
//!
//! They are written to a pipe, each with one write that is shorter than the pipe's atomic unit: a process
//! that is killed has written a line or has not, and what it wrote is read after its death.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use crate::content::Key;
use crate::job_ledger::Posted;

/// What a publisher, a subscriber or a worker tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A publisher is about to send this message.
    Sent(u32),
    /// The server answered OK to it.
    Ok(u32),
    /// It was refused, or the client gave up.
    Refused {
        /// The message.
        number: u32,
        /// Why.
        reason: String,
    },
    /// A subscriber got a message. It is acknowledged only after this was told.
    Delivered {
        /// The message.
        key: Key,
        /// How many acknowledgements of this subscriber the server had taken before.
        acknowledged: u64,
    },
    /// A subscriber got so many bytes that are no payload of this torture, or not under its name.
    Damaged(usize),
    /// A subscriber ends; the server took so many of its acknowledgements.
    Acknowledged(u64),
    /// A publisher is about to publish this job.
    Posted {
        /// The job.
        number: u32,
        /// When, when it is due, and when it expires.
        posted: Posted,
    },
    /// A worker got a job.
    Job {
        /// The job.
        key: Key,
        /// How often its group got it.
        attempt: u16,
        /// When.
        at_ms: u64,
    },
    /// A worker is about to acknowledge a job.
    Done {
        /// The job.
        key: Key,
        /// When.
        at_ms: u64,
    },
    /// The server answered OK to that.
    Taken {
        /// The job.
        key: Key,
        /// When.
        at_ms: u64,
    },
    /// A worker is done with a job that it did not acknowledge, or whose acknowledgement was not answered OK.
    Left(Key),
}

/// A line that is no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no report: are all programs from the same build?")]
pub struct NotAReport(pub String);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent(number) => write!(f, "sent {number}"),
            Self::Ok(number) => write!(f, "ok {number}"),
            Self::Refused { number, reason } => {
                write!(f, "refused {number} {}", reason.replace('\n', " "))
            }
            Self::Delivered { key: Key { publisher, number }, acknowledged } => {
                write!(f, "delivered {publisher} {number} {acknowledged}")
            }
            Self::Damaged(bytes) => write!(f, "damaged {bytes}"),
            Self::Acknowledged(count) => write!(f, "acknowledged {count}"),
            Self::Posted { number, posted: Posted { at_ms, due_ms, expires_ms } } => {
                // At 0 nothing is due, nor expires.
                let [due_ms, expires_ms] = [due_ms, expires_ms].map(|ms| ms.unwrap_or_default());
                write!(f, "posted {number} {at_ms} {due_ms} {expires_ms}")
            }
            Self::Job { key: Key { publisher, number }, attempt, at_ms } => {
                write!(f, "job {publisher} {number} {attempt} {at_ms}")
            }
            Self::Done { key: Key { publisher, number }, at_ms } => {
                write!(f, "done {publisher} {number} {at_ms}")
            }
            Self::Taken { key: Key { publisher, number }, at_ms } => {
                write!(f, "taken {publisher} {number} {at_ms}")
            }
            Self::Left(Key { publisher, number }) => write!(f, "left {publisher} {number}"),
        }
    }
}

impl FromStr for Report {
    type Err = NotAReport;

    fn from_str(line: &str) -> Result<Self, NotAReport> {
        let read = || {
            let (word, rest) = line.split_once(' ')?;
            if word == "refused" {
                let (number, reason) = rest.split_once(' ')?;
                return Some(Self::Refused {
                    number: number.parse().ok()?,
                    reason: reason.to_owned(),
                });
            }
            let numbers: Vec<u64> =
                rest.split(' ').map(|it| it.parse().ok()).collect::<Option<_>>()?;
            let number = |number: u64| u32::try_from(number).ok();
            let key =
                |publisher, it| Some(Key { publisher: number(publisher)?, number: number(it)? });
            Some(match (word, &numbers[..]) {
                ("sent", &[it]) => Self::Sent(number(it)?),
                ("ok", &[it]) => Self::Ok(number(it)?),
                ("delivered", &[publisher, it, acknowledged]) => {
                    Self::Delivered { key: key(publisher, it)?, acknowledged }
                }
                ("damaged", &[bytes]) => Self::Damaged(usize::try_from(bytes).ok()?),
                ("acknowledged", &[count]) => Self::Acknowledged(count),
                ("posted", &[it, at_ms, due_ms, expires_ms]) => {
                    let [due_ms, expires_ms] =
                        [due_ms, expires_ms].map(|ms| (ms > 0).then_some(ms));
                    Self::Posted {
                        number: number(it)?,
                        posted: Posted { at_ms, due_ms, expires_ms },
                    }
                }
                ("job", &[publisher, it, attempt, at_ms]) => {
                    let attempt = u16::try_from(attempt).ok()?;
                    Self::Job { key: key(publisher, it)?, attempt, at_ms }
                }
                ("done", &[publisher, it, at_ms]) => Self::Done { key: key(publisher, it)?, at_ms },
                ("taken", &[publisher, it, at_ms]) => {
                    Self::Taken { key: key(publisher, it)?, at_ms }
                }
                ("left", &[publisher, it]) => Self::Left(key(publisher, it)?),
                _ => return None,
            })
        };
        read().ok_or_else(|| NotAReport(line.to_owned()))
    }
}

impl Report {
    /// Writes it to stdout, at once.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub fn tell(&self) -> io::Result<()> {
        let line = format!("{self}\n");
        io::stdout().lock().write_all(line.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read_as_they_are_told() {
        let key = Key { publisher: 3, number: 4_000_000_000 };
        for report in [
            Report::Sent(0),
            Report::Ok(7),
            Report::Refused { number: 7, reason: "no answer: try again".to_owned() },
            Report::Delivered { key, acknowledged: 12 },
            Report::Damaged(9),
            Report::Acknowledged(0),
            Report::Posted {
                number: 7,
                posted: Posted { at_ms: u64::MAX, due_ms: None, expires_ms: Some(9) },
            },
            Report::Job { key, attempt: 3, at_ms: 8 },
            Report::Done { key, at_ms: 8 },
            Report::Taken { key, at_ms: 8 },
            Report::Left(key),
        ] {
            assert_eq!(report.to_string().parse(), Ok(report));
        }
        for line in ["", "ok", "ok x", "delivered 1 2", "sent -1", "hello 1", "job 1 2 65536 4"] {
            assert_eq!(line.parse::<Report>(), Err(NotAReport(line.to_owned())), "{line}");
        }
    }
}
