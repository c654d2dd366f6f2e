//! A point in time that only the caller's clock gives: milliseconds since an epoch of its choosing.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Milliseconds on a clock that never goes back and keeps counting while the device sleeps.
///
/// The epoch is the caller's (boot time in the client, zero in a simulation): only differences mean
/// something. Arithmetic saturates, so that no input can make it panic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Later than everything: "never" in the timer table.
    pub(crate) const NEVER: Self = Self(u64::MAX);

    /// The point `ms` milliseconds after the clock's epoch.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the clock's epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long before `self` the other point lies; zero when it lies after.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }
}

/// Whole milliseconds, saturating.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
