//! Signs of life from work that takes long.

use std::fmt;
use std::time::{Duration, Instant};

/// Told now and then while a body comes, or is read.
pub(crate) struct Progress {
    tell: Box<dyn Fn() + Send + Sync>,
    told: Instant,
}

impl Progress {
    pub(crate) fn new(tell: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            tell: Box::new(tell),
            told: Instant::now(),
        }
    }

    /// For what nobody waits for.
    pub(crate) fn none() -> Self {
        Self::new(|| {})
    }

    /// It goes on.
    pub(crate) fn made(&mut self) {
        if self.told.elapsed() >= INTERVAL {
            self.told = Instant::now();
            (self.tell)();
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

const INTERVAL: Duration = Duration::from_secs(2);
