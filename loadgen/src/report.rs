//! The result: figures, and what is wrong with them, as a table and as JSON.

use std::fmt;

use hdrhistogram::Histogram;
use indicatif::HumanCount;
use serde::Serialize;

use crate::args::Settings;
use crate::child::ServerCounts;
use crate::churn::Churned;
use crate::run::Outcome;
use crate::search::Step;
use crate::snapshot::Snapshot;
use crate::subscriber::histogram;
use crate::target::TargetInfo;
use crate::totals::Totals;

/// Part of the wanted rate that may be missing before a warning, beside the odd message at the edges.
const RATE_SHORTFALL_MAX: f64 = 0.01;

/// The result of a run.
#[derive(Serialize)]
pub(crate) struct Report {
    /// Messages that the server took in the whole run.
    published: u64,
    /// The same each second of the measured time.
    published_per_s: f64,
    /// Different messages received in the whole run, summed over the subscribers.
    delivered: u64,
    /// The same each second of the measured time.
    delivered_per_s: f64,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    /// From when messages were due.
    latency_us: Latency,
    /// From when they were handed to the client; only with a schedule.
    service_time_us: Option<Latency>,
    /// How late they were handed over; only with a schedule.
    send_delay_us: Option<Latency>,
    target: TargetInfo,
    /// Most messages that subscribers had not received, where that was bounded.
    inflight: Option<u64>,
    /// What subscribers received that came and left.
    churn: Option<Churned>,
    /// How often the server was killed, where it was.
    server_kills: Option<u64>,
    /// The runs of a search, of which this is the best.
    search: Vec<Step>,
    server: ServerFigures,
    config: Settings,
    #[serde(skip)]
    measured_s: f64,
    #[serde(skip)]
    own_cpu_s: f64,
    #[serde(skip)]
    failures: Vec<String>,
    #[serde(skip)]
    warnings: Vec<String>,
}

/// Latencies in microseconds; none when nothing was measured.
#[derive(Serialize)]
struct Latency {
    p50: Option<f64>,
    p90: Option<f64>,
    p99: Option<f64>,
    p99_9: Option<f64>,
    p99_99: Option<f64>,
    max: Option<f64>,
    samples: u64,
}

/// The run's own server; all but nothing for a server elsewhere.
#[derive(Serialize)]
struct ServerFigures {
    /// Resident memory at the end of the measured time.
    rss_kb: Option<u64>,
    /// Processor time in the measured time.
    cpu_s: Option<f64>,
    /// Acknowledged messages each second of the measured time.
    settled_per_s: Option<f64>,
    /// The counters at the end of the run.
    #[serde(flatten)]
    counts: Option<ServerCounts>,
}

impl Report {
    pub(crate) fn new(settings: Settings, outcome: &Outcome) -> Self {
        let Outcome { before, after, sent, received, .. } = outcome;
        let measured_s = (after.at - before.at).as_secs_f64();
        let per_s = |from: u64, to: u64| round((to - from) as f64 / measured_s);
        let totals = Totals::new(sent, received);
        let (mut latency, mut service, mut delay) = (histogram(), histogram(), histogram());
        for subscriber in received {
            latency += &subscriber.measured.latency;
            service += &subscriber.measured.service;
        }
        for sent in sent {
            delay += &sent.delay;
        }
        let is_open_loop = settings.rate.is_some();
        Self {
            published: sent.iter().map(crate::publisher::Sent::taken).sum(),
            published_per_s: per_s(before.published, after.published),
            delivered: totals.delivered,
            delivered_per_s: per_s(before.delivered, after.delivered),
            lost: totals.lost,
            duplicated: totals.duplicated,
            reordered: totals.reordered,
            latency_us: Latency::new(&latency),
            service_time_us: is_open_loop.then(|| Latency::new(&service)),
            send_delay_us: is_open_loop.then(|| Latency::new(&delay)),
            target: outcome.target.clone(),
            inflight: outcome.inflight,
            churn: outcome.churned,
            server_kills: outcome.kills,
            search: outcome.steps.clone(),
            server: ServerFigures::new(before, after, outcome.server, per_s),
            measured_s,
            own_cpu_s: after.own_cpu_s - before.own_cpu_s,
            failures: failures(outcome, &totals, settings.acks() > 0.0),
            warnings: outcome.warnings.clone(),
            config: settings,
        }
    }

    /// What makes this run a failure, a line each.
    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// What to know before believing the figures, a line each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let wanted = self.config.rate.filter(|rate| {
            let missing = (rate - self.published_per_s) * self.measured_s;
            missing > RATE_SHORTFALL_MAX * rate * self.measured_s + f64::from(self.config.pubs)
        });
        let wanted = wanted.map(|rate| {
            format!(
                "the rate was not reached: {} of {rate} messages/s; latencies count from when \
                 messages were due, and show it",
                self.published_per_s
            )
        });
        wanted.into_iter().chain(self.warnings.iter().cloned()).collect()
    }
}

/// What makes a run a failure.
fn failures(outcome: &Outcome, totals: &Totals, ack: bool) -> Vec<String> {
    let mut failures = outcome.failures.clone();
    for (index, sent) in outcome.sent.iter().enumerate() {
        if let Some(failure) = &sent.failure {
            failures.push(format!(
                "publisher {index}: {} messages were refused or not answered: {failure}",
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
    add(if ack { outcome.unsettled } else { 0 }, "delivered messages were never acknowledged");
    if totals.delivered == 0 {
        failures.push("nothing was delivered".to_owned());
    }
    failures
}

impl Latency {
    fn new(latency_ns: &Histogram<u64>) -> Self {
        let samples = latency_ns.len();
        let us = |ns: u64| (samples > 0).then(|| round(ns as f64 / 1e3));
        let at = |quantile| us(latency_ns.value_at_quantile(quantile));
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: us(latency_ns.max()),
            samples,
        }
    }
}

impl ServerFigures {
    fn new(
        before: &Snapshot,
        after: &Snapshot,
        counts: Option<ServerCounts>,
        per_s: impl Fn(u64, u64) -> f64,
    ) -> Self {
        let both = before.server.zip(after.server);
        let settled = before.settled.zip(after.settled);
        Self {
            rss_kb: after.server.map(|(_, usage)| usage.rss_kb),
            cpu_s: both.map(|(before, after)| round_cpu(after.1.cpu_s - before.1.cpu_s)),
            settled_per_s: settled.map(|(before, after)| per_s(before, after)),
            counts,
        }
    }
}

/// One decimal: nothing here is known better.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// Processor time comes in hundredths.
fn round_cpu(cpu_s: f64) -> f64 {
    (cpu_s * 100.0).round() / 100.0
}

impl fmt::Display for Report {
    /// The table. It ends without a line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = |per_s: f64| HumanCount(per_s.round() as u64).to_string();
        let us = |value: Option<f64>| value.map_or("n/a".to_owned(), |us| format!("{us:.1}"));
        writeln!(f, "{}", Heading(&self.config, &self.target))?;
        writeln!(f)?;
        for (what, per_s, count) in [
            ("published", self.published_per_s, self.published),
            ("delivered", self.delivered_per_s, self.delivered),
        ] {
            let count = HumanCount(count).to_string();
            writeln!(f, "{what:<12}{:>14} /s   {count:>16} in all, warm-up included", rate(per_s))?;
        }
        for (what, count) in
            [("lost", self.lost), ("duplicated", self.duplicated), ("reordered", self.reordered)]
        {
            writeln!(f, "{what:<12}{:>14}", HumanCount(count).to_string())?;
        }
        writeln!(f)?;
        let latency = &self.latency_us;
        let columns = ["p50", "p90", "p99", "p99.9", "max"];
        let values = [latency.p50, latency.p90, latency.p99, latency.p99_9, latency.max];
        write!(f, "{:<12}", "latency")?;
        for column in columns {
            write!(f, "{column:>12}")?;
        }
        write!(f, "{:>14}\n{:<12}", "samples", "         µs")?;
        for value in values {
            write!(f, "{:>12}", us(value))?;
        }
        writeln!(f, "{:>14}\n", HumanCount(latency.samples).to_string())?;
        self.fmt_costs(f)
    }
}

impl Report {
    fn fmt_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measured_s = self.measured_s;
        match (self.server.cpu_s, self.server.rss_kb) {
            (Some(cpu_s), Some(rss_kb)) => {
                let rss_mb = rss_kb as f64 / 1024.0;
                writeln!(
                    f,
                    "server      CPU {cpu_s:.2} s in {measured_s:.2} s, RSS {rss_mb:.1} MiB"
                )?;
            }
            _ => writeln!(f, "server      CPU n/a, RSS n/a (not started by this run)")?,
        }
        if let (true, Some(per_s), Some(counts)) =
            (self.config.acks() > 0.0, self.server.settled_per_s, self.server.counts)
        {
            writeln!(
                f,
                "settled     {} /s, {} in all; {} resent, {} pending at the end",
                HumanCount(per_s.round() as u64),
                HumanCount(counts.settled),
                HumanCount(counts.resent),
                HumanCount(counts.pending)
            )?;
        }
        write!(f, "loadgen     CPU {:.2} s in {measured_s:.2} s", self.own_cpu_s)
    }
}

/// What was run, in a line.
struct Heading<'a>(&'a Settings, &'a TargetInfo);

impl fmt::Display for Heading<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = self.0;
        let count = |count: u16, what: &str| match count {
            1 => format!("1 {what}"),
            _ => format!("{count} {what}s"),
        };
        write!(
            f,
            "{}: {}, {}, {}, {} bytes a message, ",
            self.1.name,
            count(settings.pubs, "publisher"),
            count(settings.subs, "subscriber"),
            count(settings.names, "name"),
            settings.size
        )?;
        match settings.rate {
            Some(rate) => write!(f, "{rate} messages/s")?,
            None => f.write_str("as fast as possible")?,
        }
        match settings.acks() {
            0.0 => {}
            1.0 => f.write_str(", acknowledged")?,
            acks => write!(f, ", {acks} of them acknowledged")?,
        }
        if let Some(durability) = self.1.durability {
            write!(f, ", {durability}")?;
        }
        match settings.count {
            Some(count) => write!(f, ", {count} messages"),
            None => write!(
                f,
                ", {} after {} of warm-up",
                humantime::format_duration(settings.duration),
                humantime::format_duration(settings.warmup)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_microseconds_or_nothing() {
        let mut latency = histogram();
        assert_eq!(Latency::new(&latency).p50, None);
        for ns in [1_000, 2_000, 3_000] {
            latency.saturating_record(ns);
        }
        let latency = Latency::new(&latency);
        assert_eq!((latency.p50, latency.max, latency.samples), (Some(2.0), Some(3.0), 3));
    }
}
