//! What people read.

use std::fmt::Write;

use crate::judge::{Finding, Verdict};
use crate::ratio::{self, Ratio};

/// All findings, a line each: the baseline, what was measured, and what that means.
pub fn table(findings: &[Finding]) -> String {
    lines(findings, |finding| match finding.verdict {
        Verdict::Within => "",
        Verdict::Better => "better",
        Verdict::Worse => "WORSE",
        Verdict::Broken => "PROMISE BROKEN: the server does not copy payloads of 4 KiB and more",
        Verdict::New => "NOT IN THE BASELINE",
        Verdict::Gone => "NOT MEASURED ANY MORE",
    })
}

/// The findings that differ from the baseline, a line each, for whoever means them to.
pub fn changes(findings: &[Finding]) -> String {
    let changed: Vec<_> = findings.iter().filter(|f| f.baseline != f.now).cloned().collect();
    lines(&changed, |_| "")
}

fn lines(findings: &[Finding], remark: impl Fn(&Finding) -> &'static str) -> String {
    let mut out = String::new();
    let width = findings.iter().map(|f| label(f).len()).max().unwrap_or(0);
    for finding in findings {
        let line = format!("{:width$} {}  {}", label(finding), change(finding), remark(finding));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

fn label(finding: &Finding) -> String {
    let scenario = &finding.scenario;
    let gap = if scenario.is_empty() { "" } else { " " };
    format!("{scenario}{gap}{}", finding.metric)
}

fn change(finding: &Finding) -> String {
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| value.to_string());
    let (before, now) = (number(finding.baseline), number(finding.now));
    let share = match (finding.baseline, finding.now) {
        (Some(before), Some(now)) if before != 0.0 => {
            format!("{:+.2} %", (now / before - 1.0) * 100.0)
        }
        _ => String::new(),
    };
    format!("{before:>10} -> {now:>10} {share:>10}")
}

/// A ratio with its interval.
pub fn ratio(ratio: &Ratio) -> String {
    let Ratio { server_over_relay, low, high } = ratio;
    format!("{server_over_relay:.3} (95 % interval {low:.3} to {high:.3})")
}

/// What a ratio is held against.
pub fn line(baseline: &Ratio) -> String {
    let line = ratio::FALL_MAX * baseline.server_over_relay;
    format!("{line:.3}, {} times the baseline's {}", ratio::FALL_MAX, self::ratio(baseline))
}
