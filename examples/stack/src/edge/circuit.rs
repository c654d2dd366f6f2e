//! The circuit breaker towards the origin.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Opens after some failures in a row, rejects for a while, then lets everything through again. Only an
/// answer below 500 sets the count of failures back: the first failure after the window opens it again.
#[derive(Debug)]
pub(super) struct Circuit {
    threshold: u64,
    window: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u64,
    open_until: Option<Instant>,
    forced: bool,
}

impl Circuit {
    pub(super) fn new(threshold: u64, window: Duration) -> Self {
        Self {
            threshold,
            window,
            state: Mutex::default(),
        }
    }

    /// For how long it stays open; `None` while it is closed.
    pub(super) fn remaining(&self, now: Instant) -> Option<Duration> {
        let left = self.lock().open_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(left)
    }

    /// The origin has answered below 500.
    pub(super) fn succeeded(&self) {
        *self.lock() = State::default();
    }

    /// The origin has failed; says whether that has opened the circuit.
    pub(super) fn failed(&self, now: Instant) -> bool {
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        let open = state.open_until.is_some_and(|until| until > now);
        // A request that was under way when it opened does not prolong the window.
        if open || state.failures < self.threshold {
            return false;
        }
        state.open_until = Some(now + self.window);
        true
    }

    /// Holds it open while `forced`, window after window, and closes it afterwards; says whether that
    /// has opened it.
    pub(super) fn hold(&self, forced: bool, now: Instant) -> bool {
        let mut state = self.lock();
        if !forced {
            if state.forced {
                *state = State::default();
            }
            return false;
        }
        state.forced = true;
        if state.open_until.is_some_and(|until| until > now) {
            return false;
        }
        state.open_until = Some(now + self.window);
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(20);

    #[test]
    fn opens_at_the_threshold_for_the_window() {
        let circuit = Circuit::new(3, WINDOW);
        let now = Instant::now();
        assert!(!circuit.failed(now));
        assert!(!circuit.failed(now));
        assert_eq!(circuit.remaining(now), None);
        assert!(circuit.failed(now));
        assert_eq!(circuit.remaining(now), Some(WINDOW));
        assert!(!circuit.failed(now + WINDOW / 2), "no prolonging");
        assert_eq!(circuit.remaining(now + WINDOW), None);
    }

    #[test]
    fn an_answer_below_500_starts_the_count_again() {
        let circuit = Circuit::new(3, WINDOW);
        let now = Instant::now();
        circuit.failed(now);
        circuit.failed(now);
        circuit.succeeded();
        assert!(!circuit.failed(now));
        assert!(!circuit.failed(now));
        assert!(circuit.failed(now));
    }

    #[test]
    fn the_first_failure_after_the_window_opens_it_again() {
        let circuit = Circuit::new(3, WINDOW);
        let now = Instant::now();
        (0..3).for_each(|_| {
            circuit.failed(now);
        });
        let later = now + WINDOW;
        assert_eq!(circuit.remaining(later), None);
        assert!(circuit.failed(later));
        assert_eq!(circuit.remaining(later), Some(WINDOW));
    }

    #[test]
    fn held_open_it_opens_again_after_each_window_and_closes_when_let_go() {
        let circuit = Circuit::new(3, WINDOW);
        let now = Instant::now();
        assert!(circuit.hold(true, now));
        assert!(!circuit.hold(true, now + WINDOW / 2));
        assert!(circuit.hold(true, now + WINDOW));
        circuit.hold(false, now + WINDOW);
        assert_eq!(circuit.remaining(now + WINDOW), None);
    }
}
