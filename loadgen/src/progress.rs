//! The progress bar, for people only.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::clock::{self, Clock};

/// How often the bar moves.
const TICK_NS: u64 = 200_000_000;

/// How often it is asked whether to go on.
const LOOK: Duration = Duration::from_millis(5);

/// What the bar shows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    /// Time, in nanoseconds of the run's clock.
    Time { begin_ns: u64, end_ns: u64 },
    /// Messages published.
    Count(u64),
}

/// The bar; hidden unless stderr is a terminal. Dropping it removes it.
pub(crate) struct Progress {
    bar: ProgressBar,
    clock: Clock,
    length: Length,
}

impl Progress {
    /// A bar of this length.
    pub(crate) fn new(clock: Clock, length: Length) -> Self {
        let target = if io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let steps = match length {
            Length::Time { begin_ns, end_ns } => end_ns.saturating_sub(begin_ns) / 1_000_000,
            Length::Count(messages) => messages,
        };
        let bar = ProgressBar::with_draw_target(Some(steps), target).with_style(style);
        Self { bar, clock, length }
    }

    /// Shows what is going on.
    pub(crate) fn say(&self, text: &str) {
        self.bar.set_message(text.to_owned());
        self.bar.tick();
    }

    /// Waits until `until_ns`, or until `goes_on`, asked every few milliseconds, says that there is nothing to wait for. Meanwhile
    /// shows the rates of what `counts` counts: published and delivered messages.
    pub(crate) fn wait<E>(
        &self,
        phase: &str,
        until_ns: u64,
        counts: impl Fn() -> (u64, u64),
        mut goes_on: impl FnMut() -> Result<bool, E>,
    ) -> Result<(), E> {
        self.say(phase);
        let mut last = (self.clock.now_ns(), counts());
        loop {
            let now_ns = self.clock.now_ns();
            let Some(left_ns) = until_ns.checked_sub(now_ns).filter(|&left_ns| left_ns > 0) else {
                return Ok(());
            };
            if !goes_on()? {
                return Ok(());
            }
            std::thread::sleep(Duration::from_nanos(left_ns.min(clock::ns(LOOK))));
            if self.bar.is_hidden() || now_ns < last.0 + TICK_NS {
                continue;
            }
            let now = (self.clock.now_ns(), counts());
            let per_s = |now_count: u64, last_count: u64| {
                let s = (now.0 - last.0) as f64 / 1e9;
                HumanCount(((now_count - last_count) as f64 / s.max(1e-9)) as u64)
            };
            self.bar.set_message(format!(
                "{phase}: {} published/s, {} delivered/s",
                per_s(now.1.0, last.1.0),
                per_s(now.1.1, last.1.1)
            ));
            self.bar.set_position(match self.length {
                Length::Time { begin_ns, .. } => (now.0 - begin_ns) / 1_000_000,
                Length::Count(_) => now.1.0,
            });
            last = now;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
