//! Where a store takes the time of day from.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::state::wall_ms;

/// The time of day that a store goes by: when a record was written, how long ago an operation was sent.
///
/// The system's, unless a test wants to see what a day does without waiting for it.
#[derive(Clone, Debug, Default)]
pub struct WallClock(Option<Arc<AtomicU64>>);

impl WallClock {
    /// A clock that shows what was put there last, in Unix milliseconds.
    #[must_use]
    pub const fn manual(unix_ms: Arc<AtomicU64>) -> Self {
        Self(Some(unix_ms))
    }

    pub(super) fn unix_ms(&self) -> u64 {
        match &self.0 {
            Some(manual) => manual.load(Ordering::SeqCst),
            None => wall_ms(),
        }
    }
}

/// Two clocks are equal when they always show the same.
impl PartialEq for WallClock {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for WallClock {}
