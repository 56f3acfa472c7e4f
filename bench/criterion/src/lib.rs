//! Criterion suites: see `benches/`. Here is what they share.

pub mod server;

use std::time::Duration;

/// The id of the `n`th message when eight publishers take turns.
pub fn id(n: u64) -> mezzenger::MessageId {
    mezzenger::MessageId { publisher: 0x5eed_0000_0000_0001 + n % 8, sequence: n / 8 + 1 }
}

/// A payload of so many bytes, not all alike.
pub fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|n| (n * 31) as u8).collect()
}

/// How long each benchmark runs: short, so that all suites together take a couple of minutes.
pub const WARM_UP: Duration = Duration::from_millis(200);
/// See [`WARM_UP`].
pub const MEASUREMENT: Duration = Duration::from_millis(700);
/// Samples of each benchmark, the least that criterion allows.
pub const SAMPLES: usize = 10;
