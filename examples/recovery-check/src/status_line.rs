//! One status as a line: the fields that scripts depend on, and the words for people.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use evenkeel::{Ask, Status, SyncState};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Cause, Layer, Lifecycle, Link};
use serde::Serialize;

use crate::output::{Colour, Output};

/// The fields of a line of `watch`, of `status --format json`, and of the demo's statuses.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StatusLine {
    event: &'static str,
    at_ms: u64,
    elapsed_ms: u64,
    state: SyncState,
    link: Link,
    cause: Option<Cause>,
    layer: Option<Layer>,
    attempt: u32,
    next_attempt_in_ms: Option<u64>,
    cursor: Option<Cursor>,
    pending: u32,
    lifecycle: Lifecycle,
}

impl StatusLine {
    pub(crate) fn new(status: &Status, begun: Instant) -> Self {
        Self {
            event: "status",
            at_ms: wall_ms(),
            elapsed_ms: elapsed_ms(begun),
            state: status.state,
            link: status.link,
            cause: status.cause,
            layer: status.layer,
            attempt: status.attempt,
            next_attempt_in_ms: status.next_attempt_in().map(millis),
            cursor: status.cursor,
            pending: status.pending,
            lifecycle: status.lifecycle,
        }
    }
}

/// The status in words, without the time.
pub(crate) fn words(status: &Status, output: &Output) -> String {
    let state = format!("{:<8}", status.state.as_str());
    output.paint(colour(status.state), &state) + &details(status)
}

/// The same on one line without colours.
pub(crate) fn describe(status: &Status) -> String {
    format!("{}{}", status.state, details(status))
}

/// What follows the state's name.
pub(crate) fn details(status: &Status) -> String {
    let mut text = String::new();
    let mut add = |part: String| {
        text.push_str("  ");
        text.push_str(&part);
    };
    if let (Some(cause), Some(layer)) = (status.cause, status.layer) {
        add(format!("{cause} ({layer})"));
    }
    if status.link != Link::None || status.state != SyncState::Degraded {
        add(format!("link {}", status.link));
    }
    if status.attempt > 0 {
        add(format!("attempt {}", status.attempt));
    }
    if let Some(wait) = status.next_attempt_in() {
        add(format!("next in {}", seconds(wait)));
    }
    if let Some(cursor) = status.cursor {
        add(format!("cursor {cursor}"));
    }
    if status.pending > 0 {
        add(format!("pending {}", status.pending));
    }
    if status.ask != Ask::None {
        add(format!("needs {}", status.ask));
    }
    if status.lifecycle != Lifecycle::Running {
        add(status.lifecycle.to_string());
    }
    text
}

pub(crate) fn colour(state: SyncState) -> Colour {
    match state {
        SyncState::Synced => Colour::Good,
        SyncState::Syncing => Colour::Busy,
        _ => Colour::Bad,
    }
}

/// `12.3s`, padded for a column of times.
pub(crate) fn clock(begun: Instant) -> String {
    format!("{:>7}", seconds(begun.elapsed()))
}

pub(crate) fn seconds(span: Duration) -> String {
    format!("{:.1}s", span.as_secs_f64())
}

pub(crate) fn elapsed_ms(begun: Instant) -> u64 {
    millis(begun.elapsed())
}

pub(crate) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, millis)
}

/// Unix time that nobody sets while it is looked at: what has to hold for a while is not held by a clock
/// that is put forward.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SteadyClock {
    from: Instant,
    from_ms: u64,
}

impl SteadyClock {
    pub(crate) fn new() -> Self {
        Self {
            from: Instant::now(),
            from_ms: wall_ms(),
        }
    }

    pub(crate) fn now_ms(self) -> u64 {
        self.from_ms.saturating_add(elapsed_ms(self.from))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_while_it_is_looked_at_moves_nothing() {
        // Begun when this machine's clock was an hour behind what it says now.
        let clock = SteadyClock {
            from: Instant::now(),
            from_ms: wall_ms() - 3_600_000,
        };
        assert!(clock.now_ms() < wall_ms() - 3_000_000);
    }
}
