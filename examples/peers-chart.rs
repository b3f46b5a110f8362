//! Draws `docs/peers.svg` from what `make bench-openvpn` has measured (`docs/peers.json`).

#![expect(clippy::print_stderr, reason = "a tool of the repository")]

use std::{fs, process::ExitCode};

use plotters::{
    coord::ranged1d::SegmentValue,
    prelude::{
        ChartBuilder, Color, EmptyElement, IntoDrawingArea, IntoLogRange, IntoSegmentedCoord,
        PathElement, RGBColor, Rectangle, SVGBackend, Text, WHITE,
    },
    style::IntoFont,
};
use serde_json::Value;

const FROM: &str = "docs/peers.json";
const TO: &str = "docs/peers.svg";
const AT_HAND: RGBColor = RGBColor(0x2b, 0x6c, 0xb0);
const DELAYED: RGBColor = RGBColor(0xdd, 0x6b, 0x20);

/// As high as the bar of somebody whose pings got no answer at all.
const LOST: f64 = 3_000.0;

/// What a peer does to others' traffic, in ms: the 99.9th percentile with the database at hand, and
/// with each of its answers 200 ms later; [`LOST`] where that got no answer.
struct Bar {
    name: String,
    stalls: [Option<f64>; 2],
}

fn number(stall: f64) -> String {
    if stall < LOST { format!("{stall:.0}") } else { "lost".into() }
}

fn bars(measured: &Value) -> Vec<Bar> {
    let results = measured["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    results
        .iter()
        .map(|result| Bar {
            name: result["peer"].as_str().unwrap_or_default().to_owned(),
            stalls: ["stall", "stall_delayed"].map(|key| {
                let stall = result.get(key)?;
                Some(stall["p99_9"].as_f64().unwrap_or(LOST))
            }),
        })
        .collect()
}

fn draw(bars: &[Bar]) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(TO, (900, 420)).into_drawing_area();
    area.fill(&WHITE)?;
    let most = LOST * 2.0;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "A ping through a connected client's tunnel while 50 others log in (p99.9, ms)",
            ("sans-serif", 17).into_font(),
        )
        .margin(12)
        .x_label_area_size(34)
        .y_label_area_size(54)
        .build_cartesian_2d((0..bars.len() - 1).into_segmented(), (1.0..most).log_scale())?;
    let name = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(index) => {
            bars.get(*index).map(|bar| bar.name.clone()).unwrap_or_default()
        }
        SegmentValue::Exact(_) | SegmentValue::Last => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_label_formatter(&name)
        .x_labels(bars.len())
        .y_label_formatter(&|value: &f64| format!("{value:.0}"))
        .draw()?;
    for (which, (colour, label)) in
        [(AT_HAND, "database at hand"), (DELAYED, "each answer 200 ms later")]
            .into_iter()
            .enumerate()
    {
        let drawn = bars.iter().enumerate().filter_map(|(index, bar)| {
            let height = bar.stalls[which]?;
            let corners =
                [(SegmentValue::Exact(index), 1.0), (SegmentValue::Exact(index + 1), height)];
            let mut rectangle = Rectangle::new(corners, colour.filled());
            let (left, right) = if which == 0 { (18, 58) } else { (58, 18) };
            rectangle.set_margin(0, 0, left, right);
            Some(rectangle)
        });
        chart
            .draw_series(drawn)?
            .label(label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(8)));
        let shift = if which == 0 { -34 } else { 6 };
        let numbers = bars.iter().enumerate().filter_map(|(index, bar)| {
            let height = bar.stalls[which]?;
            let text = Text::new(number(height), (shift, -14), ("sans-serif", 12).into_font());
            Some(EmptyElement::at((SegmentValue::CenterOf(index), height)) + text)
        });
        chart.draw_series(numbers)?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.9))
        .position(plotters::prelude::SeriesLabelPosition::UpperLeft)
        .draw()?;
    area.present()?;
    Ok(())
}

fn main() -> ExitCode {
    let drawn = fs::read_to_string(FROM)
        .map_err(Into::into)
        .and_then(|text| serde_json::from_str(&text).map_err(Into::into))
        .and_then(|measured| draw(&bars(&measured)));
    match drawn {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers-chart: {FROM}: {error}");
            ExitCode::FAILURE
        }
    }
}
