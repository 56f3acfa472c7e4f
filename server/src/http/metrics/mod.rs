//! Metrics in the format of Prometheus.
//!
//! Names and units follow its conventions. Groups, names and slow subscribers are labels only for the first hundred of each;
//! the rest is summed as `other`, so that nobody's names can fill the memory of whoever scrapes.

mod families;
mod writer;

use std::fmt::Write;

use mezzenger::Inspector;
use mezzenger::inspect::{ConnectionOverview, GroupOverview, NameOverview, Overview};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::Shared;
use super::ask::Unanswered;
use super::process::Process;

/// How many of a kind have labels of their own.
const LABELLED_MAX: usize = 100;

/// The two text formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0, for those who say that they read it.
    OpenMetrics,
    /// Prometheus' own, 0.0.4.
    Classic,
}

impl Format {
    /// The format for one who accepts this.
    pub(super) fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") {
            Self::OpenMetrics
        } else {
            Self::Classic
        }
    }

    /// The type that the answer has.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All that a scrape tells.
#[derive(Debug)]
pub(super) struct Gathered {
    overview: Overview,
    slow: Vec<ConnectionOverview>,
    groups: Vec<GroupOverview>,
    names: Vec<NameOverview>,
    process: Process,
}

/// Asks for what a scrape tells.
///
/// # Errors
/// Why there is nothing to tell.
pub(super) async fn gather(shared: &Shared) -> Result<Gathered, Unanswered> {
    let slow = shared.ask(|it, a| it.slow(0, LABELLED_MAX, a)).await?.items;
    let groups = shared.ask(|it, a| it.groups("", LABELLED_MAX, a)).await?.items;
    // The first one stands for those that are not counted on their own.
    let names = shared.ask(|it, a| it.names(1, LABELLED_MAX, a)).await?.items;
    // Last, so that what is summed as the rest of it is never less than nothing.
    let overview = shared.ask(Inspector::overview).await?;
    Ok(Gathered { overview, slow, groups, names, process: Process::read() })
}

impl Gathered {
    /// All metrics as text.
    pub(super) fn text(self, format: Format) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &registry);
        match format {
            Format::OpenMetrics => text,
            Format::Classic => classic(&text),
        }
    }
}

/// The same in Prometheus' own format, which has the ending of a counter in its type, and neither units nor an end.
fn classic(text: &str) -> String {
    let mut found = String::with_capacity(text.len());
    let mut help = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest;
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.split_once(' ').unwrap_or((typed, "unknown"));
            let ending = if kind == "counter" { "_total" } else { "" };
            let told = help.split_once(' ').map_or("", |(_, told)| told);
            // Writing to a string cannot fail.
            let _ = writeln!(found, "# HELP {name}{ending} {told}\n# TYPE {name}{ending} {kind}");
        } else if !line.starts_with('#') {
            found.push_str(line);
            found.push('\n');
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classic_format_has_the_ending_in_the_type() {
        let text = "# HELP a_bytes Bytes.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{n=\"# x\"} 1\n\
                    # HELP b Two words.\n# TYPE b gauge\nb 2\n# EOF\n";
        assert_eq!(
            classic(text),
            "# HELP a_bytes_total Bytes.\n# TYPE a_bytes_total counter\na_bytes_total{n=\"# x\"} 1\n\
             # HELP b Two words.\n# TYPE b gauge\nb 2\n"
        );
        assert_eq!(Format::of("text/html, */*;q=0.1"), Format::Classic);
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2";
        assert_eq!(Format::of(prometheus), Format::OpenMetrics);
    }
}
