//! The report of a run: its figures, its histograms, and what is wrong with it.

use hdrhistogram::Histogram;
use indicatif::HumanCount;
use loadgen::report::number::round_to;
use loadgen::report::{Quantiles, Run, ServerFigures};

use super::context::{self, Context, ContextError};
use crate::args::Settings;
use crate::child::ServerCounts;
use crate::measured::{Measured, histogram};
use crate::run::Outcome;
use crate::series::Second;
use crate::snapshot::Snapshot;

/// Part of the wanted rate that may be missing before a warning, beside the odd message at the edges.
const RATE_SHORTFALL_MAX: f64 = 0.01;

/// The result of a run.
pub(crate) struct Report {
    /// With the rate that was found, after a search.
    pub(crate) settings: Settings,
    pub(crate) run: Run,
    pub(crate) seconds: Vec<Second>,
    /// What was measured message by message, in nanoseconds, with its name.
    pub(crate) histograms: Vec<(&'static str, Histogram<u64>)>,
}

impl Report {
    /// What the histogram of latencies is called, which every run has.
    pub(crate) const LATENCY: &str = "latency";

    pub(crate) fn new(
        settings: Settings,
        context: Context,
        outcome: Outcome,
    ) -> Result<Self, ContextError> {
        let Outcome { before, after, sent, totals, .. } = &outcome;
        let measured_s = (after.at - before.at).as_secs_f64();
        let per_s = |from: u64, to: u64| round_to((to - from) as f64 / measured_s, 1);
        let Measured { latency, service } = outcome.measured.clone();
        let mut delay = histogram();
        for sent in sent {
            delay += &sent.delay;
        }
        let is_open_loop = settings.rate.is_some();
        let mut run = Run {
            published: sent.iter().map(crate::publisher::Sent::taken).sum(),
            published_per_s: per_s(before.published, after.published),
            delivered: totals.delivered,
            delivered_per_s: per_s(before.delivered, after.delivered),
            lost: totals.lost,
            duplicated: totals.duplicated,
            reordered: totals.reordered,
            latency_us: Quantiles::new(&latency),
            service_time_us: is_open_loop.then(|| Quantiles::new(&service)),
            send_delay_us: is_open_loop.then(|| Quantiles::new(&delay)),
            inflight: outcome.inflight,
            churn: outcome.churned,
            idle: outcome.idle,
            server_kills: outcome.kills,
            search: outcome.steps.clone(),
            server: server_figures(before, after, outcome.server, per_s),
            loadgen_cpu_s: round_to(after.own_cpu_s - before.own_cpu_s, 2),
            measured_s: round_to(measured_s, 3),
            target: outcome.target.clone(),
            config: context::config(&settings)?,
            command: context.command,
            environment: context.environment,
            disk: context.disk,
            failures: failures(&outcome, &settings),
            warnings: Vec::new(),
        };
        run.warnings = shortfall(&settings, &run).into_iter().chain(outcome.warnings).collect();
        let mut histograms = vec![(Self::LATENCY, latency)];
        if is_open_loop {
            histograms.extend([("service time", service), ("send delay", delay)]);
        }
        Ok(Self { settings, run, seconds: outcome.seconds, histograms })
    }
}

/// A warning when publishers did not reach the rate that was asked for.
fn shortfall(settings: &Settings, run: &Run) -> Option<String> {
    // The time of a count includes the last deliveries; its send delay shows what was late.
    let rate = settings.rate.filter(|_| settings.count.is_none())?;
    let missing = (rate - run.published_per_s) * run.measured_s;
    let allowed = RATE_SHORTFALL_MAX * rate * run.measured_s + f64::from(settings.pubs);
    (missing > allowed).then(|| {
        format!(
            "the rate was not reached: {} of {rate} messages/s; latencies count from when \
             messages were due, and show it",
            run.published_per_s
        )
    })
}

/// What makes a run a failure.
fn failures(outcome: &Outcome, settings: &Settings) -> Vec<String> {
    let totals = &outcome.totals;
    let mut failures = outcome.failures.clone();
    for (index, sent) in outcome.sent.iter().enumerate() {
        if let Some(failure) = &sent.failure {
            failures.push(format!(
                "publisher {index}: {} messages were rejected or not answered: {failure}",
                sent.refused
            ));
        }
    }
    let churned = outcome.churned.unwrap_or_default();
    let mut add = |count: u64, what: &str| {
        if count > 0 {
            failures.push(format!("{} {what}", HumanCount(count)));
        }
    };
    add(totals.lost, "deliveries were lost");
    add(churned.lost, "deliveries to subscribers that came and left were lost");
    add(totals.foreign + churned.foreign, "messages arrived that no publisher of this run sent");
    add(
        totals.missing_ledgers + churned.missing_ledgers,
        "subscriptions did not end in time, and could not be verified",
    );
    let unsettled = if settings.acks() > 0.0 { outcome.unsettled } else { 0 };
    add(unsettled, "delivered messages were never acknowledged");
    match settings.connections {
        true if outcome.sent.iter().all(|sent| sent.sent() == 0) => {
            failures.push("no connection was opened".to_owned());
        }
        false if totals.delivered == 0 => failures.push("nothing was delivered".to_owned()),
        _ => {}
    }
    failures
}

fn server_figures(
    before: &Snapshot,
    after: &Snapshot,
    counts: Option<ServerCounts>,
    per_s: impl Fn(u64, u64) -> f64,
) -> ServerFigures {
    let both = before.server.zip(after.server);
    let settled = before.settled.zip(after.settled);
    ServerFigures {
        rss_kb: after.server.map(|usage| usage.rss_kb),
        // It comes in hundredths.
        cpu_s: both.map(|(before, after)| round_to(after.cpu_s - before.cpu_s, 2)),
        settled_per_s: settled.map(|(before, after)| per_s(before, after)),
        counts: counts.and_then(|counts| context::fields(counts).ok()).unwrap_or_default(),
    }
}
