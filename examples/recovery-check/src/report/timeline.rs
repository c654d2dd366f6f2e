//! The first picture: who was how from when to when. What is well is a thin line and what is not is a
//! block, so that it can be read without colours.

use std::fmt::Write as _;

use super::axis::{Axis, LEFT, RIGHT, WIDTH};
use super::lanes::{Lane, Level, Span};
use super::story::Story;
use super::words::{esc, span, time};

pub(crate) fn svg(story: &Story, axis: Axis) -> String {
    let lanes: Vec<&Lane> = [&story.client, &story.circuit]
        .into_iter()
        .chain(&story.origin)
        .filter(|lane| !lane.spans.is_empty())
        .collect();
    let bottom = TOP + lanes.len() as f64 * ROW;
    let height = bottom + 26.0;
    let mut svg = format!(
        r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Timeline"><defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch-ground" width="6" height="6"/><rect class="hatch-line" width="2" height="6"/></pattern></defs>"#
    );
    svg.push_str(&axis.grid(TOP, bottom));
    for (row, lane) in lanes.iter().enumerate() {
        draw_lane(&mut svg, axis, lane, TOP + row as f64 * ROW);
    }
    for (from, until) in &story.gaps {
        let (x, width) = extent(axis, *from, *until);
        let title = format!("not recorded for {}", span(until.saturating_sub(*from)));
        let _ = write!(
            svg,
            r#"<rect class="gap" x="{x:.1}" y="{TOP}" width="{width:.1}" height="{:.0}"><title>{title}</title></rect>"#,
            bottom - TOP
        );
        if width > 80.0 {
            let middle = x + width / 2.0;
            let _ = write!(
                svg,
                r#"<text class="above" x="{middle:.1}" y="{:.0}">not recorded</text>"#,
                TOP - 6.0
            );
        }
    }
    svg.push_str(&restarts(story, axis, TOP, bottom, true));
    svg.push_str("</svg>");
    svg
}

/// A broken line wherever the edge's counters began anew.
pub(crate) fn restarts(story: &Story, axis: Axis, top: f64, bottom: f64, named: bool) -> String {
    let mut svg = String::new();
    let mut free_from = LEFT;
    let mut drawn = f64::MIN;
    for at in &story.counters.restarts {
        let x = axis.x(*at);
        if x - drawn < 1.0 {
            continue;
        }
        drawn = x;
        let _ = write!(
            svg,
            r#"<line class="restart" x1="{x:.1}" y1="{top:.0}" x2="{x:.1}" y2="{bottom:.0}"><title>edge restarted by {}</title></line>"#,
            time(*at)
        );
        if named && x >= free_from {
            let _ = write!(
                svg,
                r#"<text class="above" x="{x:.1}" y="{:.0}">edge restarted</text>"#,
                top - 6.0
            );
            free_from = x + 90.0;
        }
    }
    svg
}

fn draw_lane(svg: &mut String, axis: Axis, lane: &Lane, top: f64) {
    let middle = top + ROW / 2.0;
    let (text, edge) = (middle + 4.0, LEFT - 12.0);
    let _ = write!(
        svg,
        r#"<text class="name" x="{edge}" y="{text}">{}</text><line class="rule" x1="{LEFT}" y1="{middle}" x2="{RIGHT}" y2="{middle}"/>"#,
        esc(lane.name)
    );
    for part in lane.coarse(SPANS_MAX) {
        draw_span(svg, axis, &part, middle);
    }
    let time = |level| Some(lane.time_at(level)).filter(|ms| *ms > 0);
    let (class, figure) = if let Some(bad) = time(Level::Bad) {
        let word = match lane.name {
            "client" => "degraded",
            "circuit" => "open",
            _ => "down",
        };
        ("figure strong", format!("{} {word}", span(bad)))
    } else if let Some(busy) = time(Level::Busy).filter(|_| lane.name != "client") {
        ("figure strong", format!("{} degraded", span(busy)))
    } else if let Some(unknown) = time(Level::Unknown) {
        ("figure", format!("{} not seen", span(unknown)))
    } else {
        ("figure", "no trouble".to_owned())
    };
    let _ = write!(
        svg,
        r#"<text class="{class}" x="{}" y="{text}">{figure}</text>"#,
        RIGHT + 12.0
    );
}

fn draw_span(svg: &mut String, axis: Axis, part: &Span, middle: f64) {
    let (x, width) = extent(axis, part.from, part.to);
    let (class, tall) = match part.level {
        Level::Good => ("good", 5.0),
        Level::Busy => ("busy", 12.0),
        Level::Bad => ("bad", 22.0),
        Level::Unknown => ("unknown", 22.0),
    };
    let what = esc(&part.what);
    let _ = write!(
        svg,
        r#"<rect class="{class}" x="{x:.1}" y="{:.1}" width="{width:.1}" height="{tall}"><title>{what}, {} to {} ({})</title></rect>"#,
        middle - tall / 2.0,
        time(part.from),
        time(part.to),
        span(part.length())
    );
    let blocks = matches!(part.level, Level::Bad | Level::Unknown);
    let room = ((width - 10.0) / CHAR_WIDTH) as usize;
    let label = part.what.split(" (").next().unwrap_or_default();
    if blocks && room >= 5 {
        let fits: String = if label.chars().count() <= room {
            label.to_owned()
        } else {
            label.chars().take(room - 1).chain(['…']).collect()
        };
        let _ = write!(
            svg,
            r#"<text class="in-{class}" x="{:.1}" y="{:.1}">{}</text>"#,
            x + 5.0,
            middle + 4.0,
            esc(&fits)
        );
    }
}

/// Where it begins and how wide it is; never too thin to be seen.
fn extent(axis: Axis, from: u64, to: u64) -> (f64, f64) {
    let (x, end) = (axis.x(from), axis.x(to));
    let width = (end - x).max(1.5);
    (x.min(RIGHT - width), width)
}

const TOP: f64 = 24.0;
const ROW: f64 = 30.0;
const CHAR_WIDTH: f64 = 6.6;
/// More are not to be told apart on 700 points.
const SPANS_MAX: usize = 350;
