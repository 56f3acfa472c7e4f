//! Makes a new baseline.

use mezzenger_gate::baseline::{Baseline, today};
use mezzenger_gate::fingerprint::Fingerprint;
use mezzenger_gate::judge::{Finding, Verdict, judge};
use mezzenger_gate::{measure, report};

use crate::{AnyError, Outcome, baseline_file, block, build, workspace};

/// Measures the baseline anew, shows what changes, and writes it.
pub(crate) fn rebaseline(reason: String, counts_only: bool) -> Result<Outcome, AnyError> {
    let path = baseline_file();
    let old = path.exists().then(|| Baseline::read(&path)).transpose()?;
    let fingerprint = Fingerprint::here(workspace())?;
    let (programs, loadgen) = build()?;
    eprintln!("gate: counting under valgrind");
    let counts = measure::counts(&programs)?;
    let old_ratio = old.as_ref().and_then(|old| old.ratio);
    let ratio = if counts_only { old_ratio } else { Some(block(&loadgen)?) };
    let findings = judge(old.as_ref().map(|old| &old.counts), &counts);
    let changed = findings.iter().filter(|finding| finding.baseline != finding.now).count();
    print!("{}", report::changes(&findings));
    println!("gate: {changed} of {} counts change", findings.len());
    let is_broken = |finding: &&Finding| finding.verdict == Verdict::Broken;
    let broken: Vec<_> = findings.iter().filter(is_broken).cloned().collect();
    if !broken.is_empty() {
        print!("{}", report::table(&broken));
        return Err("a promise is broken (above), which no baseline allows".into());
    }
    if let Some(old) = &old {
        for difference in fingerprint.differences(&old.fingerprint) {
            println!("gate: {difference}");
        }
    }
    Baseline { date: today(), reason, fingerprint, counts, ratio }.write(&path)?;
    println!("gate: wrote bench/gate/baseline.json; commit it alone");
    Ok(Outcome::Pass)
}
