//! The result as a table for people.

use std::fmt;

use indicatif::HumanCount;
use loadgen::report::number::short;
use loadgen::report::{Figure, Record, Spread, TargetInfo};

use super::report::Report;
use crate::args::Settings;

/// The table of one run.
pub(super) struct Table<'a>(pub(super) &'a Report);

impl fmt::Display for Table<'_> {
    /// It ends without a line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = &self.0.run;
        let rate = |per_s: f64| HumanCount(per_s.round() as u64).to_string();
        let us = |value: Option<f64>| value.map_or("n/a".to_owned(), |us| format!("{us:.1}"));
        writeln!(f, "{}", Heading(&self.0.settings, &run.target))?;
        writeln!(f)?;
        let published = if self.0.settings.connections { "connections" } else { "published" };
        for (what, per_s, count) in [
            (published, run.published_per_s, run.published),
            ("delivered", run.delivered_per_s, run.delivered),
        ] {
            let count = HumanCount(count).to_string();
            writeln!(f, "{what:<12}{:>14} /s   {count:>16} in all, warm-up included", rate(per_s))?;
        }
        for (what, count) in
            [("lost", run.lost), ("duplicated", run.duplicated), ("reordered", run.reordered)]
        {
            writeln!(f, "{what:<12}{:>14}", HumanCount(count).to_string())?;
        }
        writeln!(f)?;
        let latency = &run.latency_us;
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

impl Table<'_> {
    fn fmt_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = &self.0.run;
        let measured_s = run.measured_s;
        match (run.server.cpu_s, run.server.rss_kb) {
            (Some(cpu_s), Some(rss_kb)) => {
                let rss_mb = rss_kb as f64 / 1024.0;
                writeln!(
                    f,
                    "server      CPU {cpu_s:.2} s in {measured_s:.2} s, RSS {rss_mb:.1} MiB"
                )?;
            }
            _ => writeln!(f, "server      CPU n/a, RSS n/a (not started by this run)")?,
        }
        if let Some(per_s) = Figure::Settled.of(run) {
            write!(f, "settled     {} /s", HumanCount(per_s.round() as u64))?;
            let count = |key| run.server.counts.get(key).copied().map(HumanCount);
            if let (Some(settled), Some(resent), Some(pending)) =
                (count("settled"), count("resent"), count("pending"))
            {
                write!(f, ", {settled} in all; {resent} resent, {pending} pending at the end")?;
            }
            writeln!(f)?;
        }
        if let Some(disk) = &run.disk {
            let rate = HumanCount(disk.fdatasync_per_s.round() as u64);
            writeln!(f, "disk        {}, {rate} fdatasync/s of 4 KiB", disk.file_system)?;
        }
        write!(f, "loadgen     CPU {:.2} s in {measured_s:.2} s", run.loadgen_cpu_s)
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
        write!(f, "{}: ", self.1.name)?;
        if settings.connections {
            write!(
                f,
                "{}, each with one connection after the other, ",
                count(settings.pubs, "client")
            )?;
        } else {
            write!(
                f,
                "{}, {}, {}, {} bytes a message, ",
                count(settings.pubs, "publisher"),
                count(settings.subs, if settings.group { "worker" } else { "subscriber" }),
                count(settings.names, "name"),
                settings.size
            )?;
        }
        match settings.rate {
            Some(rate) => write!(f, "{rate} messages/s")?,
            None => f.write_str("as fast as possible")?,
        }
        if settings.request {
            f.write_str(", each a request")?;
        }
        if settings.target.curve || settings.target.tls.is_some() {
            f.write_str(", encrypted")?;
        }
        match settings.acks() {
            0.0 => {}
            1.0 => f.write_str(", acknowledged")?,
            acks => write!(f, ", {acks} of them acknowledged")?,
        }
        if let Some(durability) = self.1.durability {
            write!(f, ", {}", durability.name())?;
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

/// The headline figures of several runs.
pub(super) struct Summary<'a>(pub(super) &'a Record);

impl fmt::Display for Summary<'_> {
    /// It ends without a line feed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = format!("{} runs", self.0.runs().len());
        write!(f, "{title:<24}{:>12}{:>12}{:>12}", "median", "min", "max")?;
        for figure in Figure::HEADLINE {
            if let Some(Spread { median, min, max }) = self.0.spread(figure) {
                let [median, min, max] = [median, min, max].map(short);
                write!(f, "\n{:<24}{median:>12}{min:>12}{max:>12}", figure.name())?;
            }
        }
        Ok(())
    }
}
