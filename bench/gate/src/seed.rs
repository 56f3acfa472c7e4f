//! Regressions that are put in on purpose, to show that the gate sees them. They stand in the harness,
//! around the engine, and nowhere in the engine itself.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;

/// What is made worse, for each message that the server takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seed {
    /// Nothing.
    #[default]
    None,
    /// Its payload is copied once more.
    Copy,
    /// One more block is allocated.
    Allocation,
    /// A loop of a few instructions turns so many times.
    Turns(u64),
    /// Each write of the journal is followed by one more sync.
    Sync,
    /// So many more bytes stay with each pending message.
    Pending(usize),
}

/// Why a text is no [`Seed`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no seed: expected none, copy, allocation, turns=N, sync or pending=BYTES")]
pub struct ParseSeedError(String);

impl FromStr for Seed {
    type Err = ParseSeedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fail = || ParseSeedError(text.to_owned());
        Ok(match text.split_once('=') {
            None => match text {
                "none" => Self::None,
                "copy" => Self::Copy,
                "allocation" => Self::Allocation,
                "sync" => Self::Sync,
                _ => return Err(fail()),
            },
            Some(("turns", n)) => Self::Turns(n.parse().map_err(|_| fail())?),
            Some(("pending", n)) => Self::Pending(n.parse().map_err(|_| fail())?),
            Some(_) => return Err(fail()),
        })
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Copy => f.write_str("copy"),
            Self::Allocation => f.write_str("allocation"),
            Self::Turns(count) => write!(f, "turns={count}"),
            Self::Sync => f.write_str("sync"),
            Self::Pending(bytes) => write!(f, "pending={bytes}"),
        }
    }
}

/// A seed at work.
#[derive(Debug, Default)]
pub struct Sown {
    seed: Seed,
    scratch: Vec<u8>,
    kept: Vec<u8>,
}

impl Sown {
    /// Room for what messages of this size need.
    pub fn new(seed: Seed, payload_bytes: usize) -> Self {
        Self { seed, scratch: vec![0; payload_bytes], kept: Vec::new() }
    }

    /// Does the harm that the seed is for one message.
    pub fn message(&mut self, payload: &[u8]) {
        match self.seed {
            Seed::None | Seed::Sync => {}
            Seed::Copy => {
                self.scratch.copy_from_slice(payload);
                black_box(&self.scratch);
            }
            Seed::Allocation => drop(black_box(Box::new(0_u64))),
            Seed::Turns(count) => {
                for n in 0..count {
                    black_box(n);
                }
            }
            Seed::Pending(bytes) => self.kept.extend(std::iter::repeat_n(1, bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_read_and_others_refused() {
        use Seed::{Allocation, Copy, None, Pending, Sync, Turns};
        for seed in [None, Copy, Allocation, Turns(90), Sync, Pending(32)] {
            assert_eq!(seed.to_string().parse(), Ok(seed));
        }
        for text in ["", "Copy", "turns=", "pending=-1", "weeds=3"] {
            assert_eq!(text.parse::<Seed>(), Err(ParseSeedError(text.to_owned())));
        }
    }
}
