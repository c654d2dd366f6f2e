//! The second picture: how fast each counter rose, one row each, on the same axis as the first.

use std::fmt::Write as _;

use super::axis::{Axis, LEFT, RIGHT, WIDTH};
use super::counters::{Rise, Series};
use super::story::Story;
use super::timeline::restarts;
use super::words::{esc, number};

/// Of the counters that rose; `None` when none did.
pub(crate) fn svg(story: &Story, axis: Axis) -> Option<String> {
    let moved = story.counters.moved();
    if moved.is_empty() {
        return None;
    }
    let shown = &moved[..moved.len().min(ROWS_MAX)];
    let groups = groups(shown);
    let bottom = TOP + groups.len() as f64 * HEAD + shown.len() as f64 * ROW;
    let height = bottom + 26.0;
    let mut svg =
        format!(r#"<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Counters">"#);
    svg.push_str(&axis.grid(TOP, bottom));
    let mut y = TOP;
    for (group, members) in groups {
        y += HEAD;
        let _ = write!(
            svg,
            r#"<text class="group" x="0" y="{:.0}">{group}</text>"#,
            y - 6.0
        );
        for series in members {
            draw(&mut svg, story, axis, series, y);
            y += ROW;
        }
    }
    svg.push_str(&restarts(story, axis, TOP, bottom, false));
    svg.push_str("</svg>");
    Some(svg)
}

fn groups<'a>(shown: &[&'a Series]) -> Vec<(&'static str, Vec<&'a Series>)> {
    let mut groups: Vec<(&'static str, Vec<&Series>)> = Vec::new();
    for series in shown {
        match groups
            .last_mut()
            .filter(|(group, _)| *group == series.group)
        {
            Some((_, members)) => members.push(series),
            None => groups.push((series.group, vec![series])),
        }
    }
    groups
}

fn draw(svg: &mut String, story: &Story, axis: Axis, series: &Series, top: f64) {
    let base = top + ROW - 6.0;
    let name = if series.name.chars().count() > 28 {
        series.name.chars().take(27).chain(['…']).collect()
    } else {
        series.name.clone()
    };
    let _ = write!(
        svg,
        r#"<text class="name" x="{}" y="{:.1}">{}</text><line class="rule" x1="{LEFT}" y1="{base}" x2="{RIGHT}" y2="{base}"/>"#,
        LEFT - 12.0,
        base - 2.0,
        esc(&name)
    );
    let buckets = Buckets::of(axis, story.about.interval_ms, &series.rises);
    let peak = buckets.per_s.iter().copied().fold(0.0, f64::max);
    if peak > 0.0 {
        let width = (RIGHT - LEFT) / buckets.per_s.len() as f64;
        let mut path = format!("M{LEFT} {base}");
        for (i, rate) in buckets.per_s.iter().enumerate() {
            let y = base - (ROW - 10.0) * rate / peak;
            let _ = write!(path, "V{y:.1}H{:.1}", LEFT + width * (i + 1) as f64);
        }
        let _ = write!(
            svg,
            r#"<path class="area" d="{path}V{base}Z"><title>{}: +{}, at most {}</title></path>"#,
            esc(&series.name),
            number(series.rose),
            rate_words(peak)
        );
    }
    let _ = write!(
        svg,
        r#"<text class="figure strong" x="{x}" y="{:.1}">+{}</text><text class="figure small" x="{x}" y="{:.1}">max {}</text>"#,
        base - 11.0,
        number(series.rose),
        base + 1.0,
        rate_words(peak),
        x = RIGHT + 12.0,
    );
}

pub(crate) fn rate_words(per_s: f64) -> String {
    match per_s {
        10.0.. => format!("{per_s:.0}/s"),
        0.5.. => format!("{per_s:.1}/s"),
        _ => format!("{:.1}/min", per_s * 60.0),
    }
}

/// A counter's rate in equal parts of the time.
pub(crate) struct Buckets {
    pub(crate) per_s: Vec<f64>,
}

impl Buckets {
    pub(crate) fn of(axis: Axis, interval_ms: u64, rises: &[Rise]) -> Self {
        let whole = axis.to - axis.from;
        let n = (whole / interval_ms.max(1)).clamp(1, BUCKETS_MAX) as usize;
        let each = whole as f64 / n as f64;
        let mut per_s = vec![0.0; n];
        for rise in rises {
            let from = rise.from.saturating_sub(axis.from) as f64;
            let to = (rise.to.saturating_sub(axis.from) as f64).max(from + 1.0);
            let first = ((from / each) as usize).min(n - 1);
            let last = ((to / each) as usize).min(n - 1);
            for (i, rate) in per_s.iter_mut().enumerate().take(last + 1).skip(first) {
                let (start, end) = (i as f64 * each, (i + 1) as f64 * each);
                let shared = (to.min(end) - from.max(start)).max(0.0);
                *rate += rise.by as f64 * shared / (to - from) / (each / 1000.0);
            }
        }
        Self { per_s }
    }
}

const TOP: f64 = 4.0;
const HEAD: f64 = 24.0;
const ROW: f64 = 36.0;
const ROWS_MAX: usize = 40;
const BUCKETS_MAX: u64 = 233;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rose_between_two_looks_is_spread_over_the_time_between() {
        let axis = Axis::new(1_000, 11_000);
        let rise = Rise {
            from: 2_000,
            to: 6_000,
            by: 8,
        };
        let buckets = Buckets::of(axis, 2_000, &[rise]);
        assert_eq!(buckets.per_s, [1.0, 2.0, 1.0, 0.0, 0.0]);
        assert_eq!(rate_words(0.05), "3.0/min");
        assert_eq!(rate_words(2.0), "2.0/s");
    }
}
