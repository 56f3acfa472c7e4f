//! How long subscribers hold publishers back, and when that is worth a log line.

use std::time::{Duration, Instant};

/// A line at most so often.
const PERIOD: Duration = Duration::from_secs(10);

/// Publishers wait for subscribers now and then in good health. Beyond this part of a period somebody
/// does not keep up.
const PART_LOGGED: u32 = 10;

/// The time that publishers were held back in the period that runs.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    began: Option<Instant>,
    time: Duration,
    told: bool,
}

impl HeldBack {
    /// Adds a time that ended just now. When a line is due, returns how long publishers were held back,
    /// and in how long a time.
    pub(super) fn add(&mut self, time: Duration, now: Instant) -> Option<(Duration, Duration)> {
        let began = match self.began {
            Some(began) if now.duration_since(began) < PERIOD => began,
            _ => {
                // What was added lies before now.
                let began = now.checked_sub(time).unwrap_or(now);
                *self = Self { began: Some(began), time: Duration::ZERO, told: false };
                began
            }
        };
        self.time += time;
        if self.told || self.time < PERIOD / PART_LOGGED {
            return None;
        }
        self.told = true;
        Some((self.time, now.duration_since(began)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_time_is_told_once_in_each_period() {
        let start = Instant::now();
        let mut held_back = HeldBack::default();
        let mut lines = Vec::new();
        // Held back for 20 of every 100 ms.
        for n in 1..=400 {
            let now = start + Duration::from_millis(100) * n;
            if held_back.add(Duration::from_millis(20), now).is_some() {
                lines.push(n);
            }
        }
        assert!((3..=4).contains(&lines.len()), "{lines:?}");
        assert_eq!(lines[0], 50);
    }

    #[test]
    fn little_is_not_told() {
        let start = Instant::now();
        let mut held_back = HeldBack::default();
        for n in 1..=1000 {
            let now = start + Duration::from_millis(100) * n;
            assert_eq!(held_back.add(Duration::from_millis(5), now), None);
        }
    }

    #[test]
    fn one_long_time_is_told_with_its_length() {
        let mut held_back = HeldBack::default();
        let second = Duration::from_secs(1);
        assert_eq!(held_back.add(second, Instant::now()), Some((second, second)));
    }
}
