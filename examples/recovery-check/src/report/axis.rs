//! The time axis that all pictures share, so that what happened together stands below each other.

use std::fmt::Write as _;

use super::words::{date_and_time, time};

pub(crate) const WIDTH: f64 = 1000.0;
/// Where the plot is; left of it are names, right of it figures.
pub(crate) const LEFT: f64 = 176.0;
pub(crate) const RIGHT: f64 = 836.0;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Axis {
    pub(crate) fn new(from: u64, to: u64) -> Self {
        Self {
            from,
            to: to.max(from.saturating_add(1)),
        }
    }

    pub(crate) fn x(self, at: u64) -> f64 {
        let part = at.clamp(self.from, self.to) - self.from;
        let whole = self.to - self.from;
        LEFT + (RIGHT - LEFT) * (part as f64 / whole as f64)
    }

    /// Lines down the plot with times below; about six, at round times.
    pub(crate) fn grid(self, top: f64, bottom: f64) -> String {
        let mut svg = String::new();
        let whole = self.to - self.from;
        let step = STEPS_S.iter().map(|s| s * 1000);
        let step = step.clone().find(|step| whole / step <= 7);
        let step = step.unwrap_or_else(|| (whole / 6).max(1));
        let mut at = self.from.div_ceil(step).saturating_mul(step);
        while at <= self.to {
            let x = self.x(at);
            let label = if step >= 86_400_000 {
                date_and_time(at)[..10].to_owned()
            } else if step >= 60_000 {
                time(at)[..5].to_owned()
            } else {
                time(at)
            };
            let _ = write!(
                svg,
                r#"<line class="grid" x1="{x:.1}" y1="{top:.0}" x2="{x:.1}" y2="{bottom:.0}"/><text class="tick" x="{x:.1}" y="{:.0}">{label}</text>"#,
                bottom + 16.0
            );
            let Some(next) = at.checked_add(step) else {
                break;
            };
            at = next;
        }
        svg
    }
}

const STEPS_S: [u64; 19] = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400,
    604_800,
];
