//! What happened, as a number and, its end, as text.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Lines kept.
const LINES: usize = 60;
/// Of each line.
const CHARS: usize = 200;

/// Off by default: text takes far longer than what it tells of.
#[derive(Default)]
pub(super) struct Trace {
    pub(super) is_on: bool,
    hasher: DefaultHasher,
    lines: VecDeque<String>,
}

impl Trace {
    pub(super) fn note(&mut self, at: Duration, event: &impl Debug) {
        if !self.is_on {
            return;
        }
        let mut line = format!("{at:?} {event:?}");
        line.hash(&mut self.hasher);
        if let Some((end, _)) = line.char_indices().nth(CHARS) {
            line.truncate(end);
        }
        if self.lines.len() == LINES {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    pub(super) fn digest(&self) -> u64 {
        self.hasher.finish()
    }

    pub(super) fn text(&self) -> String {
        self.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}
