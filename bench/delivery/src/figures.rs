//! Figures out of what was measured.

use std::time::Duration;

/// What a part of the values lies at or below, such as 0.5 for the median; 0 without any.
pub(crate) fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part).round() as usize).copied().unwrap_or(0.0)
}

/// Milliseconds.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let mut values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(
            [0.0, 0.5, 0.99, 1.0].map(|part| quantile(&mut values, part)),
            [0.0, 50.0, 99.0, 100.0]
        );
        assert_eq!((quantile(&mut [], 0.5), quantile(&mut [7.0], 0.99)), (0.0, 7.0));
    }
}
