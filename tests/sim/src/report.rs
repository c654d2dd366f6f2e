//! Tables in Markdown and pictures in SVG.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use plotters::prelude::*;

use crate::figures::Figures;
use crate::scenario::Scenario;

/// One line of a table, one curve of a picture.
#[derive(Debug)]
pub struct Run {
    /// The policy's name, with "+ help" where the service helped.
    pub name: String,
    /// What came of it.
    pub figures: Figures,
}

/// The table of one scenario.
#[must_use]
pub fn table(scenario: &Scenario, runs: &[Run]) -> String {
    let mut text = format!("### {}: {}\n\n{HEAD}", scenario.name, scenario.what);
    for Run { name, figures } in runs {
        let [half, most, nearly] = figures.back_s.map(seconds);
        let rate = |rate: f64| {
            if rate > 0.0 {
                format!("{rate:.1}")
            } else {
                "–".to_owned()
            }
        };
        let fell = if figures.collapsed { "**yes**" } else { "no" };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {:.1} | {:.1} | {half} | {most} | {nearly} | {} | {fell} | {:.1} | {:.1} | {:.1} |",
            rate(figures.sent_first_minute),
            rate(figures.sent_per_minute),
            figures.sent_coming_back,
            figures.peak,
            seconds(figures.slowest_s),
            figures.reopened,
            figures.failed_percent,
            figures.age_mean_s,
        );
    }
    text.push('\n');
    text
}

fn seconds(span: Option<f64>) -> String {
    span.map_or_else(|| "never".to_owned(), |span| format!("{span:.0} s"))
}

const HEAD: &str = "\
| policy | requests / client / min, first minute | later | requests / client to come back | peak | 50 % back | 99 % | 99.9 % | slowest | fell over | circuits opened again | failed % | age of data, s |
|---|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|
";

/// Two curves for each run: how many are synced, and how much arrives at the origin, over time from the fault's end.
///
/// # Errors
///
/// When the file cannot be written.
pub fn picture(path: &Path, title: &str, runs: &[Run]) -> Result<(), Box<dyn Error>> {
    let last = runs
        .iter()
        .filter_map(|run| run.figures.back_s[2])
        .fold(60.0, f64::max);
    let until = (last.min(600.0) * 1.1).ceil();
    let root = SVGBackend::new(path, (960, 620)).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(title, ("sans-serif", 20))?;
    let (upper, lower) = root.split_vertically(300);

    let mut chart = ChartBuilder::on(&upper)
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..until, 0.0..100.0)?;
    let mut mesh = chart.configure_mesh();
    mesh.y_desc("synced, %")
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (n, run) in runs.iter().enumerate() {
        let fleet = f64::from(run.figures.size.clients);
        let points = after(&run.figures, until)
            .map(|(at, second)| (at, 100.0 * f64::from(second.synced) / fleet));
        chart.draw_series(LineSeries::new(points, style(n)))?;
    }

    let mut chart = ChartBuilder::on(&lower)
        .margin(8)
        .x_label_area_size(40)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..until, (0.05_f64..20.0).log_scale())?;
    let mut mesh = chart.configure_mesh();
    mesh.x_desc("seconds after the fault's end")
        .y_desc("arrivals / capacity")
        .light_line_style(TRANSPARENT)
        .draw()?;
    for (n, run) in runs.iter().enumerate() {
        let capacity = run.figures.size.capacity_per_s;
        let points = after(&run.figures, until)
            .map(|(at, second)| (at, (f64::from(second.at_origin) / capacity).max(0.05)));
        chart
            .draw_series(LineSeries::new(points, style(n)))?
            .label(run.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style(n)));
    }
    let mut legend = chart.configure_series_labels();
    legend
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    root.present()?;
    Ok(())
}

fn after(figures: &Figures, until: f64) -> impl Iterator<Item = (f64, crate::figures::Second)> {
    let ends = figures.ends_s.min(figures.seconds.len());
    figures.seconds[ends..]
        .iter()
        .enumerate()
        .map(|(n, &second)| (n as f64, second))
        .take_while(move |&(at, _)| at <= until)
}

fn style(n: usize) -> ShapeStyle {
    let color = Palette99::pick(n).to_rgba();
    // Ours come first.
    color.stroke_width(if n < 2 { 3 } else { 1 })
}
