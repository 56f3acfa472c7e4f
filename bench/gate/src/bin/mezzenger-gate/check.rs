//! Is anything worse than the baseline?

use mezzenger_gate::baseline::Baseline;
use mezzenger_gate::fingerprint::Fingerprint;
use mezzenger_gate::judge::{Finding, Verdict, judge};
use mezzenger_gate::loadgen::Loadgen;
use mezzenger_gate::ratio::{self, Ratio};
use mezzenger_gate::{measure, report};

use crate::{AnyError, Outcome, baseline_file, block, build, workspace};

/// How often what seems worse is counted again. What disturbs a count adds to it, so the least counts.
const SECOND_LOOKS: usize = 2;

/// Measures everything, compares it with the baseline, and says what that means.
pub(crate) fn check(counts_only: bool) -> Result<Outcome, AnyError> {
    let baseline = Baseline::read(&baseline_file())?;
    let differences = Fingerprint::here(workspace())?.differences(&baseline.fingerprint);
    let (programs, loadgen) = build()?;
    eprintln!("gate: counting under valgrind");
    let mut counts = measure::counts(&programs)?;
    let mut findings = judge(Some(&baseline.counts), &counts);
    for _ in 0..SECOND_LOOKS {
        let worse: Vec<_> = findings.iter().filter(|f| f.verdict == Verdict::Worse).collect();
        if worse.is_empty() {
            break;
        }
        measure::again(&programs, &worse, &mut counts)?;
        findings = judge(Some(&baseline.counts), &counts);
    }
    print!("{}", report::table(&findings));
    let counted = conclude(&findings, &differences);
    if counts_only || counted != Outcome::Pass {
        return Ok(counted);
    }
    check_ratio(&loadgen, baseline.ratio.as_ref())
}

/// Says what the counts mean.
fn conclude(findings: &[Finding], differences: &[String]) -> Outcome {
    let failed: Vec<_> = findings.iter().filter(|f| f.verdict.fails()).cloned().collect();
    let better = findings.iter().filter(|f| f.verdict == Verdict::Better).count();
    for difference in differences {
        println!("gate: other tools than the baseline's: {difference}");
    }
    if failed.is_empty() {
        println!("gate: {} counts are within their bounds", findings.len());
        if better > 0 {
            println!("gate: {better} are better: a new baseline would keep it so");
        }
        return Outcome::Pass;
    }
    println!("gate: {} of {} counts are not:", failed.len(), findings.len());
    print!("{}", report::table(&failed));
    if failed.iter().any(|finding| finding.verdict == Verdict::Broken) {
        println!("gate: FAILED. A promise is broken, which no baseline allows: mend the code");
    } else if differences.is_empty() {
        println!(
            "gate: FAILED. If it is meant, say why: \
             cargo run -p mezzenger-gate -- rebaseline --reason \"...\""
        );
    } else {
        println!(
            "gate: FAILED. The tools are others than the baseline's (above), so that the code may not \
             be the reason: measure the baseline's commit with these tools, and compare with that."
        );
    }
    Outcome::Regression
}

fn check_ratio(loadgen: &Loadgen, baseline: Option<&Ratio>) -> Result<Outcome, AnyError> {
    let first = block(loadgen)?;
    let Some(baseline) = baseline else {
        println!("gate: NO VERDICT on the ratio: the baseline has none");
        return Ok(Outcome::NoVerdict);
    };
    println!("gate: it must not fall below {}", report::line(baseline));
    let mut failure = None;
    let verdict = ratio::verdict(ratio::says(&first, baseline), || match block(loadgen) {
        Ok(second) => ratio::says(&second, baseline),
        Err(error) => {
            failure = Some(error);
            ratio::Says::Unclear
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    Ok(match verdict {
        ratio::Verdict::Pass => {
            println!("gate: passed");
            Outcome::Pass
        }
        ratio::Verdict::Regression => {
            println!("gate: FAILED: the server got slower than the relay, in two blocks");
            Outcome::Regression
        }
        ratio::Verdict::NoVerdict => {
            println!("gate: NO VERDICT on the ratio: too noisy. The counts passed");
            Outcome::NoVerdict
        }
    })
}
