//! Failures on the clients' own threads, kept for the end of the run.

use std::sync::{Arc, Mutex, PoisonError};

/// Notes that are kept with their text; further ones are only counted.
const NOTES_KEPT_MAX: usize = 5;

/// The notes of a run. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    /// What makes the run a failure.
    pub(crate) failures: Lines,
    /// What did no harm.
    pub(crate) warnings: Lines,
}

/// The first lines, and a count of the others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<(Vec<String>, usize)>>);

impl Lines {
    /// Adds a line for a person.
    pub(crate) fn add(&self, text: impl FnOnce() -> String) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0.len() < NOTES_KEPT_MAX {
            kept.0.push(text());
        } else {
            kept.1 += 1;
        }
    }

    /// The lines so far.
    pub(crate) fn all(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let more = (kept.1 > 0).then(|| format!("and {} more like these", kept.1));
        kept.0.iter().cloned().chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_bounded() {
        let lines = Lines::default();
        assert!(lines.all().is_empty());
        for index in 0..8 {
            lines.add(|| format!("note {index}"));
        }
        let lines = lines.all();
        assert_eq!(lines.len(), NOTES_KEPT_MAX + 1);
        assert_eq!(lines[NOTES_KEPT_MAX], "and 3 more like these");
    }
}
