//! The server's floors over a restart: as times of day, since no other clock survives every one, and
//! on the engine's clock beside, which survives those of the app and cannot be set.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evenkeel_proto::Cause;
use evenkeel_proto::engine::Floors;
use serde::{Deserialize, Serialize};

use crate::clock;

/// Until when each lane has to stay away, in Unix milliseconds on this device's clock; 0 for "not".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Until {
    /// Of this form.
    format: u32,
    saved_at_ms: u64,
    /// The same moment on the engine's clock, and which clock that was; absent in older files.
    #[serde(default)]
    saved_on_clock_ms: u64,
    #[serde(default)]
    clock_epoch: u64,
    gate_ms: u64,
    stream_ms: u64,
    pull_ms: u64,
    push_ms: u64,
    /// Why, for the status of the next run.
    #[serde(default, deserialize_with = "known")]
    cause: Option<Cause>,
}

/// A cause that this build does not know is none.
fn known<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Cause>, D::Error> {
    let name = Option::<String>::deserialize(from)?;
    Ok(name.as_deref().and_then(Cause::from_name))
}

impl Until {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let until: Self = serde_json::from_str(text).map_err(|e| e.to_string())?;
        if until.format != FORMAT {
            return Err(format!("its format is {}, not {FORMAT}", until.format));
        }
        Ok(until)
    }

    /// What these floors mean in times of day.
    pub(crate) fn at(now: Moment, floors: &Floors) -> Self {
        let end = |left: Duration| {
            if left.is_zero() {
                return 0;
            }
            now.wall_ms.saturating_add(crate::status::ms(left))
        };
        Self {
            format: FORMAT,
            saved_at_ms: now.wall_ms,
            saved_on_clock_ms: now.clock_ms,
            clock_epoch: now.clock_epoch,
            gate_ms: end(floors.gate),
            stream_ms: end(floors.stream),
            pull_ms: end(floors.pull),
            push_ms: end(floors.push),
            cause: floors.cause,
        }
    }

    /// What is left of them. The time of day may have been set in between: while the device was not
    /// restarted it is not even asked; else, put back, it leaves what was left when it was written;
    /// and it never leaves more than a server may ask for.
    pub(crate) fn left(&self, now: Moment) -> Floors {
        let passed_ms = if now.clock_epoch == self.clock_epoch {
            now.clock_ms.saturating_sub(self.saved_on_clock_ms)
        } else {
            now.wall_ms.saturating_sub(self.saved_at_ms)
        };
        let left = |end_ms: u64| {
            let ms = end_ms.saturating_sub(self.saved_at_ms.saturating_add(passed_ms));
            Duration::from_millis(ms).min(FLOOR_MAX)
        };
        Floors {
            gate: left(self.gate_ms),
            stream: left(self.stream_ms),
            pull: left(self.pull_ms),
            push: left(self.push_ms),
            cause: self.cause,
        }
    }

    /// Whether both keep the client away until the same times, give or take the clocks' rounding.
    pub(crate) fn agrees(&self, other: &Self) -> bool {
        let near = |a: u64, b: u64| a.abs_diff(b) <= TOLERANCE_MS;
        near(self.gate_ms, other.gate_ms)
            && near(self.stream_ms, other.stream_ms)
            && near(self.pull_ms, other.pull_ms)
            && near(self.push_ms, other.push_ms)
    }

    /// Whether nobody has to stay away any more.
    pub(crate) fn is_over(&self, now: Moment) -> bool {
        let left = self.left(now);
        let lefts = [left.gate, left.stream, left.pull, left.push];
        lefts.iter().all(Duration::is_zero)
    }
}

/// Now, on both clocks.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Moment {
    wall_ms: u64,
    clock_ms: u64,
    clock_epoch: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            wall_ms: wall_ms(),
            clock_ms: clock::now().as_millis(),
            clock_epoch: clock::epoch(),
        }
    }

    /// How long ago that was; on a clock that nobody can set, unless it was another boot's.
    pub(crate) fn ago(&self) -> Duration {
        let now = Self::now();
        Duration::from_millis(if now.clock_epoch == self.clock_epoch {
            now.clock_ms.saturating_sub(self.clock_ms)
        } else {
            now.wall_ms.saturating_sub(self.wall_ms)
        })
    }
}

/// Where floors are kept.
#[derive(Clone, Debug)]
pub(crate) struct FloorFile {
    path: PathBuf,
    draft: PathBuf,
}

impl FloorFile {
    pub(super) fn new(path: PathBuf, draft: PathBuf) -> Self {
        Self { path, draft }
    }

    /// Writes them durably; blocks.
    pub(crate) fn save(&self, until: &Until) -> io::Result<()> {
        let text = serde_json::to_vec(until)?;
        super::replace(&self.path, &self.draft, &text)
    }
}

/// The time of day in Unix milliseconds, however wrong it may be.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, crate::status::ms)
}

const FORMAT: u32 = 1;
const FLOOR_MAX: Duration = Duration::from_secs(15 * 60);
const TOLERANCE_MS: u64 = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn floors(gate_s: u64, push_s: u64) -> Floors {
        Floors {
            gate: Duration::from_secs(gate_s),
            push: Duration::from_secs(push_s),
            ..Floors::default()
        }
    }

    /// A moment of another boot each: only the time of day counts.
    fn wall(wall_ms: u64) -> Moment {
        Moment {
            wall_ms,
            clock_ms: 5,
            clock_epoch: wall_ms,
        }
    }

    fn same_boot(wall_ms: u64, clock_ms: u64) -> Moment {
        Moment {
            wall_ms,
            clock_ms,
            clock_epoch: 7,
        }
    }

    #[test]
    fn what_is_left_counts_down_and_ends() {
        let until = Until::at(wall(1_000_000), &floors(20, 60));
        assert_eq!(until.left(wall(1_005_000)), floors(15, 55));
        assert_eq!(until.left(wall(1_030_000)), floors(0, 30));
        assert_eq!(until.left(wall(1_060_000)), Floors::default());
        assert!(until.is_over(wall(1_060_000)) && !until.is_over(wall(1_059_000)));
    }

    #[test]
    fn a_clock_that_jumped_never_leaves_more_than_was_asked_nor_15_minutes() {
        let until = Until::at(wall(1_000_000_000), &floors(20, 3600));
        assert_eq!(until.left(wall(1_000_000)), floors(20, 900));
        assert_eq!(until.left(wall(u64::MAX)), Floors::default());
    }

    #[test]
    fn a_time_of_day_that_jumps_by_hours_undercuts_nothing_while_the_device_runs() {
        const HOURS_MS: u64 = 10 * 3600 * 1000;
        let until = Until::at(same_boot(HOURS_MS, 50_000), &floors(20, 60));
        for wall_ms in [0, HOURS_MS, 2 * HOURS_MS] {
            assert_eq!(until.left(same_boot(wall_ms, 55_000)), floors(15, 55));
            assert!(!until.is_over(same_boot(wall_ms, 55_000)));
            assert!(until.is_over(same_boot(wall_ms, 110_000)));
        }
    }

    #[test]
    fn a_file_of_another_form_is_not_guessed_at() {
        for text in [
            "",
            "{}",
            "[]",
            r#"{"format":2,"saved_at_ms":0,"gate_ms":0,"stream_ms":0,"pull_ms":0,"push_ms":0}"#,
        ] {
            assert!(Until::parse(text).is_err(), "{text}");
        }
        let until = Until::at(wall(5), &floors(1, 2));
        let text = serde_json::to_string(&until).unwrap();
        assert_eq!(Until::parse(&text), Ok(until));
        let older =
            r#"{"format":1,"saved_at_ms":5,"gate_ms":9,"stream_ms":0,"pull_ms":0,"push_ms":0}"#;
        let left = Until::parse(older).unwrap().left(wall(6));
        assert_eq!(left.gate, Duration::from_millis(3));
    }
}
