//! The median of several measurements, and how far they lie apart.

use serde::{Deserialize, Serialize};

/// The median, minimum and maximum of some values.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Spread {
    /// The middle value; the mean of the two middle ones when their count is even.
    pub median: f64,
    /// The smallest value.
    pub min: f64,
    /// The largest value.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`; none when there are none.
    pub fn new(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => f64::midpoint(values[middle - 1], values[middle]),
            _ => values[middle],
        };
        Some(Self { median, min, max })
    }

    /// Whether some value of one lies within the other. Then their medians may differ by chance.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        let check = |values: &[f64], median, min, max| {
            assert_eq!(Spread::new(values.iter().copied()), Some(Spread { median, min, max }));
        };
        check(&[7.0], 7.0, 7.0, 7.0);
        check(&[9.0, 1.0, 2.0], 2.0, 1.0, 9.0);
        check(&[4.0, 1.0, 9.0, 2.0], 3.0, 1.0, 9.0);
        assert_eq!(Spread::new([]), None);
    }

    #[test]
    fn spreads_overlap_from_either_side() {
        let spread = |min, max| Spread { median: min, min, max };
        let check = |a: Spread, b: Spread, overlap| {
            assert_eq!((a.overlaps(&b), b.overlaps(&a)), (overlap, overlap), "{a:?} {b:?}");
        };
        check(spread(1.0, 3.0), spread(2.0, 4.0), true);
        check(spread(1.0, 4.0), spread(2.0, 3.0), true);
        check(spread(1.0, 2.0), spread(2.0, 3.0), true);
        check(spread(1.0, 2.0), spread(2.1, 3.0), false);
    }
}
