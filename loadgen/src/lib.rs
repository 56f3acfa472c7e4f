//! What `loadgen` writes, for the programs that read it: results, distributions of latencies, charts,
//! and what a run says of the machine it was made on.

pub mod report;
