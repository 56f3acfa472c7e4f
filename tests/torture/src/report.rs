//! The lines by which publishers and subscribers tell what happened.
//!
//! They are written to a pipe, each with one write that is shorter than the pipe's atomic unit: a process
//! that is killed has written a line or has not, and what it wrote is read after its death.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;

use crate::content::Key;

/// What a publisher or a subscriber tells.
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
        }
    }
}

impl FromStr for Report {
    type Err = NotAReport;

    fn from_str(line: &str) -> Result<Self, NotAReport> {
        let read = || {
            let (word, rest) = line.split_once(' ')?;
            Some(match word {
                "sent" => Self::Sent(rest.parse().ok()?),
                "ok" => Self::Ok(rest.parse().ok()?),
                "refused" => {
                    let (number, reason) = rest.split_once(' ')?;
                    Self::Refused { number: number.parse().ok()?, reason: reason.to_owned() }
                }
                "delivered" => {
                    let (publisher, rest) = rest.split_once(' ')?;
                    let (number, acknowledged) = rest.split_once(' ')?;
                    let key =
                        Key { publisher: publisher.parse().ok()?, number: number.parse().ok()? };
                    Self::Delivered { key, acknowledged: acknowledged.parse().ok()? }
                }
                "damaged" => Self::Damaged(rest.parse().ok()?),
                "acknowledged" => Self::Acknowledged(rest.parse().ok()?),
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
        ] {
            assert_eq!(report.to_string().parse(), Ok(report));
        }
        for line in ["", "ok", "ok x", "delivered 1 2", "sent -1", "hello 1"] {
            assert_eq!(line.parse::<Report>(), Err(NotAReport(line.to_owned())), "{line}");
        }
    }
}
