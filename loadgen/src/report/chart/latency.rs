//! Latency by percentile, further apart the closer they come to 100 %.

use plotters::prelude::*;

use super::{AXIS, ChartError, GRID, TEXT_PX, TITLE_PX, colour, draw, legend, text_style};
use crate::report::Spread;
use crate::report::hgrm::Percentiles;

/// The latencies of one target.
#[derive(Clone, Debug)]
pub struct Curve {
    /// What it shows.
    pub name: String,
    /// One distribution for each run; at least one.
    pub runs: Vec<Percentiles>,
}

const HEIGHT_PX: u32 = 460;

/// Points of a curve for each nine of the percentile.
const POINTS_PER_NINE: usize = 40;

/// Most nines that are shown: 99.9999 %.
const NINES_MAX: f64 = 6.0;

/// What the clock can tell apart. A message that left just when it was due has a delay of 0, for which a log scale has no
/// place.
const RESOLUTION_US: f64 = 1e-3;

/// A curve through the medians over the runs, within a band from their minima to their maxima.
pub fn latency(title: &str, curves: &[Curve]) -> Result<String, ChartError> {
    let nines = curves.iter().map(nines).fold(0.0, f64::max).min(NINES_MAX);
    let spreads: Vec<_> = curves.iter().map(|curve| spreads(curve, nines)).collect();
    let all = || spreads.iter().flatten().map(|(_, spread)| spread);
    let lowest_us = all().map(|spread| spread.min).fold(f64::INFINITY, f64::min);
    let highest_us = all().map(|spread| spread.max).fold(0.0, f64::max);
    if lowest_us > highest_us {
        return Err(ChartError::Empty { title: title.to_owned() });
    }
    // Room above for the legend.
    let room = 1.5 + 0.35 * curves.len() as f64;
    let latencies_us = lowest_us * 0.8..highest_us * room;
    let steps_us = steps(latencies_us.start, latencies_us.end);
    draw(title, HEIGHT_PX, |root| {
        let whole_nines = (0..=nines as i32).map(|nines| 10_f64.powi(nines)).collect();
        let mut chart = ChartBuilder::on(root)
            .caption(title, text_style(TITLE_PX))
            .margin(12)
            .margin_right(24)
            .x_label_area_size(48)
            .y_label_area_size(80)
            .build_cartesian_2d(
                (1.0..10_f64.powf(nines)).log_scale().with_key_points(whole_nines),
                latencies_us.log_scale().with_key_points(steps_us),
            )?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .label_style(text_style(TEXT_PX))
            .axis_desc_style(text_style(TEXT_PX))
            .x_desc("percentile of the messages")
            .y_desc("latency (log scale)")
            .x_label_formatter(&|x| percentile(x.log10()))
            .y_label_formatter(&|us| duration(*us))
            .draw()?;
        for (index, spreads) in spreads.iter().enumerate() {
            let band = spreads.iter().map(|(x, spread)| (*x, spread.max));
            let back = spreads.iter().rev().map(|(x, spread)| (*x, spread.min));
            let outline: Vec<_> = band.chain(back).collect();
            chart.draw_series([Polygon::new(outline, colour(index).mix(0.15))])?;
        }
        for (index, (curve, spreads)) in curves.iter().zip(&spreads).enumerate() {
            let style = colour(index).stroke_width(2);
            let points = spreads.iter().map(|(x, spread)| (*x, spread.median));
            chart
                .draw_series(LineSeries::new(points, style))?
                .label(curve.name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
        }
        legend(&mut chart)
    })
}

/// How many nines of its percentiles each run of a curve has samples for.
fn nines(curve: &Curve) -> f64 {
    let samples = curve.runs.iter().map(Percentiles::samples).min().unwrap_or_default();
    (samples.max(1) as f64).log10()
}

/// What the runs say at each point of the axis, which is 1 / (1 - quantile): 1 at 0 %, 10 at 90 %.
fn spreads(curve: &Curve, nines_shown: f64) -> Vec<(f64, Spread)> {
    let nines = nines(curve).min(nines_shown);
    let points = (nines * POINTS_PER_NINE as f64).round() as usize;
    let spread = |point| {
        let x = 10_f64.powf(point as f64 / POINTS_PER_NINE as f64);
        let value_us = |run: &Percentiles| run.value_us(1.0 - 1.0 / x).max(RESOLUTION_US);
        Some((x, Spread::new(curve.runs.iter().map(value_us))?))
    };
    (0..=points).filter_map(spread).collect()
}

/// `99.9 %` for three nines.
fn percentile(nines: f64) -> String {
    match nines.round() as i32 {
        0 => "0 %".to_owned(),
        nines => format!("{:.*} %", (nines - 2).max(0) as usize, 100.0 - 10_f64.powi(2 - nines)),
    }
}

/// `200 µs`, `5 ms`, `1 s`.
fn duration(us: f64) -> String {
    match us {
        _ if us >= 1e6 => format!("{} s", us / 1e6),
        _ if us >= 1e3 => format!("{} ms", us / 1e3),
        _ => format!("{us} µs"),
    }
}

/// The powers of ten between two values, and their doubles and fivefolds.
fn steps(from: f64, to: f64) -> Vec<f64> {
    let powers = from.log10().floor() as i32..=to.log10().ceil() as i32;
    let steps = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)));
    steps.filter(|step| (from..=to).contains(step)).collect()
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    fn curve(name: &str, us: u64) -> Curve {
        let mut histogram = Histogram::new(3).expect("3 digits");
        for n in 1..=10_000 {
            histogram.record(us * 1000 + n * n).expect("it grows");
        }
        Curve { name: name.to_owned(), runs: vec![Percentiles::new(&histogram).expect("full")] }
    }

    #[test]
    fn every_curve_is_named_and_the_axes_have_units() {
        let svg = latency("10k/s", &[curve("ours", 100), curve("theirs", 200)]).expect("drawn");
        for text in ["10k/s", "ours", "theirs", "99.9 %", "500 µs", "10 ms", "percentile"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert!(matches!(latency("x", &[]), Err(ChartError::Empty { .. })));
    }

    #[test]
    fn a_delay_of_nothing_is_drawn_as_the_least_that_the_clock_tells() {
        let mut histogram = Histogram::new(3).expect("3 digits");
        [0, 0, 5_000].into_iter().for_each(|ns| histogram.record(ns).expect("it grows"));
        let runs = vec![Percentiles::new(&histogram).expect("full")];
        let curve = Curve { name: "send delay".to_owned(), runs };
        assert_eq!(spreads(&curve, 6.0)[0].1.min, RESOLUTION_US);
        assert!(latency("10k/s", &[curve]).expect("drawn").contains("send delay"));
    }

    #[test]
    fn labels_are_percentiles_and_durations() {
        let texts = [0.0, 1.0, 2.0, 3.0, 4.0].map(percentile);
        assert_eq!(texts, ["0 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        assert_eq!([50.0, 2e3, 1e6].map(duration), ["50 µs", "2 ms", "1 s"]);
        assert_eq!(steps(15.0, 250.0), [20.0, 50.0, 100.0, 200.0]);
    }

    #[test]
    fn a_curve_ends_where_its_samples_end() {
        let curve = curve("ours", 100);
        let (x, _) = spreads(&curve, 6.0).last().copied().expect("it has points");
        assert_eq!(x, 10_000.0, "10,000 samples have four nines");
    }
}
