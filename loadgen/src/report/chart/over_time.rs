//! Rates over the time of a run.

use plotters::prelude::*;

use super::{AXIS, ChartError, GRID, TEXT_PX, TITLE_PX, colour, draw, legend, text_style};
use crate::report::number::mark;

/// A line.
#[derive(Clone, Debug)]
pub struct Line<'a> {
    /// What it shows.
    pub name: &'a str,
    /// Seconds and values.
    pub points: Vec<(f64, f64)>,
}

const HEIGHT_PX: u32 = 400;

/// Lines over seconds. `axis` names the figure and its unit.
pub fn over_time(title: &str, axis: &str, lines: &[Line<'_>]) -> Result<String, ChartError> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let last_s = points().map(|point| point.0).fold(0.0, f64::max);
    let highest = points().map(|point| point.1).fold(0.0, f64::max);
    if last_s <= 0.0 || highest <= 0.0 {
        return Err(ChartError::Empty { title: title.to_owned() });
    }
    draw(title, HEIGHT_PX, |root| {
        let mut chart = ChartBuilder::on(root)
            .caption(title, text_style(TITLE_PX))
            .margin(12)
            .margin_right(24)
            .x_label_area_size(48)
            .y_label_area_size(90)
            .build_cartesian_2d(0.0..last_s, 0.0..highest * 1.25)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .label_style(text_style(TEXT_PX))
            .axis_desc_style(text_style(TEXT_PX))
            .x_desc("time, s")
            .y_desc(axis)
            .x_label_formatter(&|seconds| format!("{seconds}"))
            .y_label_formatter(&|value| mark(*value, highest))
            .draw()?;
        for (index, line) in lines.iter().enumerate() {
            // Thick ones show behind thin ones that go the same way.
            let width_px = 2 + 2 * (lines.len() - 1 - index) as u32;
            let style = colour(index).stroke_width(width_px);
            chart
                .draw_series(LineSeries::new(line.points.iter().copied(), style))?
                .label(line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 22, y)], style));
            let dots = line
                .points
                .iter()
                .map(|&point| Circle::new(point, 2 + width_px as i32 / 2, style.filled()));
            chart.draw_series(dots)?;
        }
        legend(&mut chart)?;
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_named_and_the_axes_have_units() {
        let line = |name, rate| Line { name, points: vec![(1.0, rate), (2.0, 2.0 * rate)] };
        let svg = over_time("a run", "messages/s", &[line("published", 1e3), line("got", 8e3)])
            .expect("it is drawn");
        for text in ["a run", "messages/s", "time, s", "published", "got"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        let nothing = over_time("x", "y", &[line("idle", 0.0)]);
        assert!(matches!(nothing, Err(ChartError::Empty { .. })));
    }
}
