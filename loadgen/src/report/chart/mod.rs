//! SVG charts. They stand on white, so that they can be read on any page.

mod bars;
mod latency;
mod over_time;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub use bars::{Bar, bars};
pub use latency::{Curve, latency};
pub use over_time::{Line, over_time};

/// Width of each chart, in pixels.
const WIDTH_PX: u32 = 800;

const FONT: &str = "sans-serif";
const TITLE_PX: u32 = 19;
const TEXT_PX: u32 = 14;

/// Grid and frame.
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const AXIS: RGBColor = RGBColor(0x66, 0x66, 0x66);
const TEXT: RGBColor = RGBColor(0x22, 0x22, 0x22);

/// Colours of lines and bars in their order: those of Okabe and Ito, which colour-blind people can tell
/// apart, without their yellow, which white drowns.
const COLOURS: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x00, 0x00),
];

/// A chart that could not be drawn.
#[derive(Debug, thiserror::Error)]
pub enum ChartError {
    /// There is nothing to show.
    #[error("nothing to draw for {title:?}: no values above zero were measured")]
    Empty {
        /// The chart.
        title: String,
    },
    /// The drawing itself failed.
    #[error("{title:?} could not be drawn: {reason}")]
    Drawing {
        /// The chart.
        title: String,
        /// Why.
        reason: String,
    },
}

/// The colour of the line or bar with this index.
fn colour(index: usize) -> RGBColor {
    COLOURS[index % COLOURS.len()]
}

fn text_style(size_px: u32) -> TextStyle<'static> {
    (FONT, size_px).into_font().color(&TEXT)
}

/// Text that begins, or ends, beside a point at its height.
fn beside(side: HPos) -> TextStyle<'static> {
    text_style(TEXT_PX).pos(Pos::new(side, VPos::Center))
}

type DrawError = Box<dyn std::error::Error>;

/// Draws on white and returns the SVG text.
fn draw(
    title: &str,
    height_px: u32,
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), DrawError>,
) -> Result<String, ChartError> {
    let mut svg = String::new();
    let drawn = (|| {
        let root = SVGBackend::with_string(&mut svg, (WIDTH_PX, height_px)).into_drawing_area();
        root.fill(&WHITE)?;
        draw(&root)?;
        root.present()?;
        Ok(())
    })();
    let failed = |error: DrawError| ChartError::Drawing {
        title: title.to_owned(),
        reason: error.to_string(),
    };
    drawn.map_err(failed)?;
    Ok(svg)
}

/// Says in the upper left corner which line is which.
fn legend<'a, X: Ranged, Y: Ranged>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
) -> Result<(), DrawError> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .margin(10)
        .legend_area_size(30)
        .label_font(text_style(TEXT_PX))
        .background_style(WHITE)
        .border_style(GRID)
        .draw()?;
    Ok(())
}
