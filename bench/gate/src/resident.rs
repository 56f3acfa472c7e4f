//! Resident memory of pending messages.

use std::io;

use crate::error::PipelineError;
use crate::pipeline::Pipeline;

/// Why the memory could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum ResidentError {
    /// The pipeline failed.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The system did not tell.
    #[error("cannot read /proc/self/smaps_rollup: {0}; this needs Linux")]
    Proc(#[from] io::Error),
}

/// Publishes all rounds and returns by how much the process grew for each message, in bytes. The first
/// round, which makes buffers that stay, does not count.
///
/// # Errors
/// When the pipeline fails, or its answer is wrong, or the system does not tell.
pub fn bytes_per_pending(mut pipeline: Pipeline) -> Result<f64, ResidentError> {
    pipeline.round()?;
    let before = (resident_bytes()?, pipeline.done()?.messages);
    for _ in 1..pipeline.rounds() {
        pipeline.round()?;
    }
    let after = (resident_bytes()?, pipeline.done()?.messages);
    Ok((after.0 as f64 - before.0 as f64) / (after.1 - before.1) as f64)
}

/// Unlike the counters in `/proc/self/status`, the sums in `smaps_rollup` are exact.
fn resident_bytes() -> io::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup")?;
    let kib = text.lines().find_map(|line| line.strip_prefix("Rss:")?.split_whitespace().next());
    let kib: Option<u64> = kib.and_then(|kib| kib.parse().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
