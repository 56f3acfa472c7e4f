//! Measures everything that is exact.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::costs::{Costs, Counts, rounded};
use crate::flow::{FLOWS, Flow, JOURNALLED, Side};
use crate::judge::Finding;
use crate::seed::Seed;
use crate::valgrind::{Job, ValgrindError, finish};

/// The programs that are measured.
#[derive(Clone, Debug)]
pub struct Programs {
    /// Runs a flow.
    pub pipeline: PathBuf,
    /// Leaves messages pending.
    pub pending: PathBuf,
}

/// How much longer the longer run of a slope is.
const LONGER: usize = 11;

/// Measures all flows, two at a time or as many as there are processors.
///
/// # Errors
/// When valgrind or a program fails.
pub fn counts(programs: &Programs) -> Result<Counts, ValgrindError> {
    let scenarios = scenarios(programs, FLOWS)?;
    let fsyncs_per_10000_acked = fsyncs_per_10000_acked(&programs.pipeline, Seed::None)?;
    let rss_bytes_per_pending = rss_bytes_per_pending(&programs.pending, Seed::None)?;
    Ok(Counts { scenarios, fsyncs_per_10000_acked, rss_bytes_per_pending })
}

/// Measures again what these findings are about, and keeps the lesser figures.
///
/// # Errors
/// When valgrind or a program fails.
pub fn again(
    programs: &Programs,
    findings: &[&Finding],
    counts: &mut Counts,
) -> Result<(), ValgrindError> {
    let is_meant = |flow: &Flow| {
        findings.iter().any(|f| Side::ALL.iter().any(|&side| flow.scenario(side) == f.scenario))
    };
    let flows: Vec<_> = FLOWS.iter().copied().filter(is_meant).collect();
    for (name, again) in scenarios(programs, &flows)? {
        if let Some(costs) = counts.scenarios.get_mut(&name) {
            *costs = costs.least(&again);
        }
    }
    if findings.iter().any(|finding| finding.scenario.is_empty()) {
        let fsyncs = fsyncs_per_10000_acked(&programs.pipeline, Seed::None)?;
        let rss_bytes = rss_bytes_per_pending(&programs.pending, Seed::None)?;
        counts.fsyncs_per_10000_acked = counts.fsyncs_per_10000_acked.min(fsyncs);
        counts.rss_bytes_per_pending = counts.rss_bytes_per_pending.min(rss_bytes);
    }
    Ok(())
}

/// Measures these flows.
///
/// # Errors
/// When valgrind or the pipeline fails.
pub fn scenarios(
    programs: &Programs,
    flows: &[Flow],
) -> Result<BTreeMap<String, Costs>, ValgrindError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut found = Vec::new();
        while let Some(flow) = flows.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.extend(costs(&programs.pipeline, *flow, Seed::None)?);
        }
        Ok::<_, ValgrindError>(found)
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let results: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let mut scenarios = BTreeMap::new();
    for result in results {
        let found = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        scenarios.extend(found?);
    }
    Ok(scenarios)
}

/// Measures each side of a flow.
///
/// # Errors
/// When valgrind or the pipeline fails.
pub fn costs(
    pipeline: &Path,
    flow: Flow,
    seed: Seed,
) -> Result<Vec<(String, Costs)>, ValgrindError> {
    let job = Job { program: pipeline, flow, seed };
    let rounds = flow.rounds();
    let messages = ((LONGER - 1) * rounds * flow.round_messages()) as f64;
    let slope = |short: u64, long: u64| (long as f64 - short as f64) / messages;
    let copied = job.payload_copied(rounds)?;
    flow.sides
        .iter()
        .map(|&side| {
            let (short, long) = (job.count(side, rounds)?, job.count(side, LONGER * rounds)?);
            let instructions = slope(short.instructions, long.instructions);
            let allocations = slope(short.allocations, long.allocations);
            let payload = Side::ALL.iter().position(|&s| s == side).map_or(0.0, |at| copied[at]);
            let costs = Costs {
                instructions_per_message: rounded(instructions, 1),
                allocations_per_message: rounded(allocations, 4),
                payload_bytes_copied_per_message: rounded(payload, 2),
            };
            Ok((flow.scenario(side), costs))
        })
        .collect()
}

/// Counts syncs for each 10,000 messages that were acknowledged.
///
/// # Errors
/// When the pipeline fails.
pub fn fsyncs_per_10000_acked(pipeline: &Path, seed: Seed) -> Result<f64, ValgrindError> {
    let flow = JOURNALLED;
    let job = Job { program: pipeline, flow, seed };
    let (short, long) = (job.run(flow.rounds())?, job.run(LONGER * flow.rounds())?);
    let (syncs, settled) = (long.syncs - short.syncs, long.settled - short.settled);
    Ok(rounded(syncs as f64 * 10_000.0 / settled as f64, 2))
}

/// Measures the resident bytes of each pending message.
///
/// # Errors
/// When the program fails.
pub fn rss_bytes_per_pending(pending: &Path, seed: Seed) -> Result<f64, ValgrindError> {
    let mut command = Command::new(pending);
    command.args(["--seed", &seed.to_string()]);
    let output = finish(command)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let bytes: f64 = text.trim().parse().map_err(|_| ValgrindError::Unreadable {
        path: pending.to_owned(),
        reason: format!("it printed '{text}'"),
    })?;
    Ok(rounded(bytes, 1))
}
