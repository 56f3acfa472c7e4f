//! What each message of a run is, decided by the run's seed and the message's place alone: so both ends
//! know it, and a run with the same seed sends the same messages.

use crate::size::Size;

/// An odd number with well mixed bits, to spread places over all seeds.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) publisher: u16,
    pub(crate) name: u16,
    /// The publisher's count of its messages under the name, from 1.
    pub(crate) sequence: u64,
}

/// Decides for a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    pub(crate) seed: u64,
    pub(crate) size: Size,
    /// The part of the messages that asks for acknowledgement.
    pub(crate) ack_ratio: f64,
}

impl Content {
    /// Bytes of the message.
    #[inline]
    pub(crate) fn size(&self, place: Place) -> usize {
        if self.size.min == self.size.max {
            return self.size.min;
        }
        self.draw(place).usize(self.size.min..=self.size.max)
    }

    /// Whether it asks for acknowledgement.
    #[inline]
    pub(crate) fn ack(&self, place: Place) -> bool {
        if self.ack_ratio <= 0.0 || self.ack_ratio >= 1.0 {
            return self.ack_ratio >= 1.0;
        }
        let mut draw = self.draw(place);
        // The first number is the size.
        let _ = draw.u64(..);
        draw.f64() < self.ack_ratio
    }

    fn draw(&self, place: Place) -> fastrand::Rng {
        let end = u64::from(place.publisher) << 48 | u64::from(place.name) << 32;
        fastrand::Rng::with_seed(self.seed ^ end ^ place.sequence.wrapping_mul(SPREAD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(seed: u64, ack_ratio: f64) -> Content {
        Content { seed, size: Size { min: 100, max: 199 }, ack_ratio }
    }

    fn places() -> impl Iterator<Item = Place> {
        (1..=10_000).map(|sequence| Place { publisher: 1, name: 2, sequence })
    }

    #[test]
    fn sizes_are_uniform_and_reach_both_ends() {
        let mut counts = [0; 100];
        for place in places() {
            counts[content(1, 0.0).size(place) - 100] += 1;
        }
        // 100 are expected of each; seven standard deviations are 70.
        assert!(counts.iter().all(|&count| (30..=170).contains(&count)), "{counts:?}");
    }

    #[test]
    fn the_ratio_of_acknowledged_messages_is_kept() {
        for ratio in [0.0, 0.25, 0.5, 1.0] {
            let asked = places().filter(|&place| content(1, ratio).ack(place)).count();
            assert!((asked as f64 - ratio * 10_000.0).abs() < 350.0, "{ratio}: {asked}");
        }
    }

    #[test]
    fn the_seed_decides() {
        let sizes = |seed| places().map(|place| content(seed, 0.0).size(place)).collect::<Vec<_>>();
        assert_eq!(sizes(1), sizes(1));
        assert_ne!(sizes(1), sizes(2));
    }
}
