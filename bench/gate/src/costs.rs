//! The figures that are gated, as they are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What one message costs one side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Costs {
    /// Instructions executed.
    pub instructions_per_message: f64,
    /// Blocks of memory allocated.
    pub allocations_per_message: f64,
    /// Bytes of its payload copied.
    pub payload_bytes_copied_per_message: f64,
}

impl Costs {
    /// The lesser figure of each kind.
    pub fn least(&self, other: &Self) -> Self {
        Self {
            instructions_per_message: self
                .instructions_per_message
                .min(other.instructions_per_message),
            allocations_per_message: self
                .allocations_per_message
                .min(other.allocations_per_message),
            payload_bytes_copied_per_message: self
                .payload_bytes_copied_per_message
                .min(other.payload_bytes_copied_per_message),
        }
    }
}

/// All counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// By the name of the scenario, `flow/side`.
    pub scenarios: BTreeMap<String, Costs>,
    /// Syncs of the journal for 10,000 messages that were stored, delivered and acknowledged.
    pub fsyncs_per_10000_acked: f64,
    /// Resident bytes of the process for each pending message, with 100,000 of them.
    pub rss_bytes_per_pending: f64,
}

/// Rounds to so many decimal places, so that a file has no digits that mean nothing.
pub fn rounded(value: f64, places: i32) -> f64 {
    let scale = 10_f64.powi(places);
    // No -0.
    (value * scale).round() / scale + 0.0
}
