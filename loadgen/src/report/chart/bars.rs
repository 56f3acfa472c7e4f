//! Bars: one figure of several targets.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::{AXIS, ChartError, GRID, TEXT, TEXT_PX, TITLE_PX, beside, colour, draw, text_style};
use crate::report::Spread;
use crate::report::number::{mark, short};

/// A bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What it stands for.
    pub name: String,
    /// How long it is, and from where to where a line on it goes.
    pub spread: Spread,
}

/// Height of a bar with the space around it.
const BAR_PX: u32 = 44;
/// Height of everything else.
const FRAME_PX: u32 = 110;
const NAMES_PX: u32 = 190;
/// Room for the figures beside the longest bar, as part of its length.
const BESIDE: f64 = 0.22;
/// Part of its row that half a bar takes.
const HALF: f64 = 0.3;

/// A horizontal bar for each median, with a line from its minimum to its maximum. `axis` names the
/// figure and its unit.
pub fn bars(title: &str, axis: &str, bars: &[Bar]) -> Result<String, ChartError> {
    let longest = bars.iter().map(|bar| bar.spread.max).fold(0.0, f64::max);
    if longest <= 0.0 {
        return Err(ChartError::Empty { title: title.to_owned() });
    }
    let rows = bars.len();
    draw(title, FRAME_PX + BAR_PX * rows as u32, |root| {
        let mut chart = ChartBuilder::on(root)
            .caption(title, text_style(TITLE_PX))
            .margin(12)
            .x_label_area_size(48)
            .y_label_area_size(NAMES_PX)
            .build_cartesian_2d(0.0..longest * (1.0 + BESIDE), 0.0..rows as f64)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(WHITE)
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .label_style(text_style(TEXT_PX))
            .axis_desc_style(text_style(TEXT_PX))
            .x_desc(axis)
            .x_labels(6)
            .x_label_formatter(&|value| mark(*value, longest))
            .draw()?;
        for (index, bar) in bars.iter().enumerate() {
            // The first bar stands on top.
            let y = rows as f64 - index as f64 - 0.5;
            let Spread { median, min, max } = bar.spread;
            let corners = [(0.0, y - HALF), (median, y + HALF)];
            chart.draw_series([Rectangle::new(corners, colour(index).filled())])?;
            let range = PathElement::new([(min, y), (max, y)], TEXT.stroke_width(2));
            chart.draw_series([range])?;
            let end = |at| {
                EmptyElement::at((at, y))
                    + PathElement::new([(0, -5), (0, 5)], TEXT.stroke_width(2))
            };
            chart.draw_series([end(min), end(max)])?;
            let figure = EmptyElement::at((median.max(max), y))
                + Text::new(short(median), (8, 0), beside(HPos::Left));
            chart.draw_series([figure])?;
            let name = EmptyElement::at((0.0, y))
                + Text::new(bar.name.clone(), (-8, 0), beside(HPos::Right));
            chart.draw_series([name])?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_has_its_name_and_its_median() {
        let bar = |name: &str, median| Bar {
            name: name.to_owned(),
            spread: Spread { median, min: median * 0.9, max: median * 1.1 },
        };
        let svg = bars("8 to 32", "delivered/s", &[bar("ours", 7.9e6), bar("theirs", 3.65e6)])
            .expect("it is drawn");
        for text in ["8 to 32", "delivered/s", "ours", "theirs", "7.90 M", "3.65 M"] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        // The background, the bars, and nothing besides.
        assert_eq!(svg.matches("<rect").count(), 3, "{svg}");
        assert!(bars("one", "y", &[bar("alone", 7.0)]).is_ok_and(|svg| svg.contains("alone")));
        assert!(matches!(bars("x", "y", &[]), Err(ChartError::Empty { .. })));
    }
}
