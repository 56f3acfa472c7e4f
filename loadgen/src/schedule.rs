//! When messages are due: at a constant rate, after a ramp in which it grows from nothing.

/// The schedule of a run, in nanoseconds from its begin. Publishers take turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// Messages a second, all publishers together.
    pub(crate) rate: f64,
    /// How long the rate grows.
    pub(crate) ramp_ns: u64,
    pub(crate) publishers: u16,
}

impl Schedule {
    /// When the message with index `count` of a publisher is due.
    pub(crate) fn due_ns(&self, count: u64, publisher: u16) -> u64 {
        let turn = count as f64 * f64::from(self.publishers) + f64::from(publisher);
        let ramp_s = self.ramp_ns as f64 / 1e9;
        let turns_in_ramp = self.rate * ramp_s / 2.0;
        let due_s = if turn < turns_in_ramp {
            // A rate that grows evenly has sent rate/ramp * t²/2 messages at t.
            (2.0 * turn * ramp_s / self.rate).sqrt()
        } else {
            ramp_s + (turn - turns_in_ramp) / self.rate
        };
        (due_s * 1e9) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_take_turns() {
        let schedule = Schedule { rate: 1000.0, ramp_ns: 0, publishers: 2 };
        let due = |count, publisher| schedule.due_ns(count, publisher);
        assert_eq!(
            [due(0, 0), due(0, 1), due(1, 0), due(1, 1)],
            [0, 1_000_000, 2_000_000, 3_000_000]
        );
        assert_eq!(due(3600 * 500, 0), 3_600_000_000_000, "an hour later, still exact");
    }

    #[test]
    fn a_ramp_sends_half_as_much_and_grows_all_the_time() {
        let schedule = Schedule { rate: 1000.0, ramp_ns: 2_000_000_000, publishers: 1 };
        let due: Vec<_> = (0..=1500).map(|count| schedule.due_ns(count, 0)).collect();
        assert!(due.is_sorted());
        // A quarter of the ramp's messages in its first half.
        assert_eq!(due[250], 1_000_000_000);
        assert_eq!(due[1000], 2_000_000_000);
        assert_eq!(due[1500], 2_500_000_000);
    }
}
