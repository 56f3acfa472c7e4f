//! Figures as people read them.

/// Rounds to this many decimals.
pub fn round_to(value: f64, decimals: i32) -> f64 {
    let factor = 10_f64.powi(decimals);
    (value * factor).round() / factor
}

/// Three significant digits, and `k`, `M` or `G` for thousands: `7.90 M`, `537 k`, `0.280`.
pub fn short(value: f64) -> String {
    let (scaled, suffix) = match rounded(value).abs() {
        size if size >= 1e9 => (value / 1e9, " G"),
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let decimals = match rounded(scaled).abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{scaled:.decimals$}{suffix}")
}

/// A mark on an axis that goes up to `highest`: as short as it is, in the unit that suits the axis.
pub(crate) fn mark(value: f64, highest: f64) -> String {
    let (unit, suffix) = match highest {
        _ if highest >= 2e9 => (1e9, " G"),
        _ if highest >= 2e6 => (1e6, " M"),
        _ if highest >= 2e3 => (1e3, " k"),
        _ => (1.0, ""),
    };
    match round_to(value / unit, 3) {
        0.0 => "0".to_owned(),
        scaled => format!("{scaled}{suffix}"),
    }
}

/// Three significant digits.
fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return value;
    }
    round_to(value, 2 - value.abs().log10().floor() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_have_three_digits() {
        for (value, text) in [
            (7_901_234.0, "7.90 M"),
            (999_600.0, "1.00 M"),
            (537_100.0, "537 k"),
            (10_000.0, "10.0 k"),
            (9_996.0, "10.0 k"),
            (7_070.4, "7070"),
            (999.6, "1000"),
            (413.4, "413"),
            (16.49, "16.5"),
            (9.999, "10.0"),
            (1.5, "1.50"),
            (0.2804, "0.280"),
            (0.0, "0"),
            (-1_500_000.0, "-1.50 M"),
            (3.2e9, "3.20 G"),
        ] {
            assert_eq!(short(value), text, "{value}");
        }
    }

    #[test]
    fn marks_of_an_axis_have_one_unit() {
        assert_eq!([0.0, 5e5, 1e6].map(|value| mark(value, 7.9e6)), ["0", "0.5 M", "1 M"]);
        assert_eq!([200.0, 1e4].map(|value| mark(value, 1.2e4)), ["0.2 k", "10 k"]);
        assert_eq!(mark(0.25, 0.9), "0.25");
    }
}
