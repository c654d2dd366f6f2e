//! How long to wait, and how often at most: pure functions of attempt, floor and a seeded generator.

use std::time::Duration;

use crate::failure::RETRY_AFTER_MAX;
use crate::policy::Class;
use crate::time::{Timestamp, millis};

/// Where the gate class names no time of its own: the contract's default open window.
pub const GATE_FLOOR: Duration = Duration::from_secs(20);

/// The wait before attempt `attempt + 1`, given `attempt` failures in a row (at least 1).
///
/// Without a server's floor: uniform in the upper half of the class's backoff. With one: from the floor on, and
/// as far beyond it as everybody else who was told the same has to be spread.
#[must_use]
pub fn delay(
    rng: &mut fastrand::Rng,
    class: Class,
    attempt: u32,
    floor: Option<Duration>,
) -> Duration {
    let backoff = backoff(class, attempt);
    let floor = floor.or((class == Class::Gate).then_some(GATE_FLOOR));
    let floor = floor.unwrap_or_default().min(RETRY_AFTER_MAX);
    let from = floor.max(backoff / 2);
    let to = backoff.max(floor + spread(floor, attempt));
    from + uniform(rng, to.saturating_sub(from))
}

/// Over how long those are spread that a server told to wait for `floor`: half of it, and twice as long with each
/// failure, up to three times it or a minute. A service that asks for more than half a minute knows its load: up to
/// half a minute there, or a tenth.
fn spread(floor: Duration, attempt: u32) -> Duration {
    let most = if floor <= SPREAD_LONG {
        (floor * 3).min(SPREAD_MAX)
    } else {
        SPREAD_LONG
    };
    doubled(floor / 2, attempt, most).max(floor / 10)
}

/// The class's backoff after `attempt` failures in a row.
#[must_use]
pub fn backoff(class: Class, attempt: u32) -> Duration {
    match class {
        Class::Slow => doubled(SLOW_FIRST, attempt, SLOW_MAX),
        Class::Again | Class::Backoff | Class::Gate | Class::Ask => {
            doubled(BACKOFF_FIRST, attempt, BACKOFF_MAX)
        }
    }
}

/// The time over which a server that sends `retry:` sees a reconnect spread: that field within its limits.
#[must_use]
pub fn reconnect_spread(retry_field: Duration) -> Duration {
    retry_field.clamp(SPREAD_FIRST, RETRY_FIELD_MAX)
}

/// A uniformly distributed duration in `[0, max]`, in whole milliseconds.
#[must_use]
pub fn uniform(rng: &mut fastrand::Rng, max: Duration) -> Duration {
    Duration::from_millis(rng.u64(0..=millis(max)))
}

/// A token bucket that hands out times instead of verdicts, in eight bytes of state (GCRA).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// When the bucket would be full again.
    full_at: Timestamp,
    interval: Duration,
    /// How far `full_at` may run ahead of the clock.
    burst: Duration,
}

impl Bucket {
    /// A full bucket of `tokens`, one of which comes back every `interval`.
    pub(crate) fn new(tokens: u32, interval: Duration) -> Self {
        Self {
            full_at: Timestamp::default(),
            interval,
            burst: interval * tokens.saturating_sub(1),
        }
    }

    /// The earliest time from `at` on at which a token is there.
    pub(crate) fn earliest(&self, at: Timestamp) -> Timestamp {
        at.max(self.full_at - self.burst)
    }

    /// Takes `tokens` now, for use at the earliest time from `at` on that they allow; says which.
    pub(crate) fn reserve(&mut self, now: Timestamp, at: Timestamp, tokens: u32) -> Timestamp {
        let room = self.burst.saturating_sub(self.interval * (tokens - 1));
        let at = at.max(self.full_at - room);
        let charged = self.full_at.max(now) + self.interval * tokens;
        // Whatever was paid for and never used: a debt must not add up.
        self.full_at = charged.min(now + self.burst + self.interval * DEBT_MAX);
        at
    }

    /// What was reserved is not needed after all.
    pub(crate) fn give_back(&mut self, tokens: u32) {
        self.full_at = self.full_at - self.interval * tokens;
    }
}

fn doubled(first: Duration, attempt: u32, max: Duration) -> Duration {
    let exponent = attempt.saturating_sub(1).min(16);
    first.saturating_mul(1 << exponent).min(max)
}

/// Tokens that may be owed: a little more than all lanes' attempts planned at once.
const DEBT_MAX: u32 = 6;
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
const SLOW_FIRST: Duration = Duration::from_secs(30);
const SLOW_MAX: Duration = Duration::from_secs(5 * 60);
const SPREAD_FIRST: Duration = Duration::from_secs(1);
/// `tests/sim` shows what less costs a large fleet, and more a small one.
const SPREAD_MAX: Duration = Duration::from_secs(60);
const SPREAD_LONG: Duration = Duration::from_secs(30);
const RETRY_FIELD_MAX: Duration = Duration::from_secs(5 * 60);
