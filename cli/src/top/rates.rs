//! What happens each second, from two looks at what happened since the start.

use super::fetch::Fetched;
use crate::overview::{Name, Status};

/// Rates of the server, each a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rates {
    pub(super) accepted: f64,
    pub(super) delivered: f64,
    pub(super) received_bytes: f64,
    pub(super) sent_bytes: f64,
    pub(super) rejected: f64,
    pub(super) dropped: f64,
}

impl Rates {
    /// Between two looks at the same server; `None` if it was started in between.
    pub(super) fn between(before: &Fetched, now: &Fetched) -> Option<Self> {
        let seconds = seconds(before, now)?;
        let rate =
            |count: fn(&Status) -> u64| per(count(&before.status), count(&now.status), seconds);
        Some(Self {
            accepted: rate(|it| it.messages.accepted),
            delivered: rate(|it| it.messages.delivered),
            received_bytes: rate(|it| it.bytes.received),
            sent_bytes: rate(|it| it.bytes.sent),
            rejected: rate(|it| it.requests.rejected),
            dropped: rate(|it| it.messages.dropped),
        })
    }
}

/// Messages a second of a name.
pub(super) fn of_name(name: &Name, before: &Fetched, now: &Fetched) -> Option<f64> {
    let seconds = seconds(before, now)?;
    let found = before.names.iter().find(|it| it.name == name.name);
    Some(per(found.map_or(0, |it| it.messages), name.messages, seconds))
}

/// The server's own clock tells what lies between: a request may have waited.
fn seconds(before: &Fetched, now: &Fetched) -> Option<f64> {
    let seconds = now.status.uptime_seconds - before.status.uptime_seconds;
    (seconds > 0.0).then_some(seconds)
}

fn per(before: u64, now: u64, seconds: f64) -> f64 {
    now.saturating_sub(before) as f64 / seconds
}

/// A rate for people.
pub(super) fn rate(each_second: f64) -> String {
    match each_second {
        low if low < 10.0 => format!("{low:.1}/s"),
        middle if middle < 10_000.0 => format!("{middle:.0}/s"),
        high if high < 1e6 => format!("{:.1} k/s", high / 1e3),
        huge => format!("{:.2} M/s", huge / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_the_digits_that_matter() {
        let shown = [0.0, 3.25, 999.6, 12_345.0, 2_345_678.0].map(rate);
        assert_eq!(shown, ["0.0/s", "3.2/s", "1000/s", "12.3 k/s", "2.35 M/s"]);
    }
}
