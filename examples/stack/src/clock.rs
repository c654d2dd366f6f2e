//! The service's clocks: one that only counts, and one that can be wrong.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use evenkeel_proto::wire::UnixMillis;

use crate::faults::Faults;

/// Tells the time to one part of the service.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    faults: Faults,
}

impl Clock {
    pub(crate) const fn new(faults: Faults) -> Self {
        Self { faults }
    }

    /// Milliseconds since 1970, as they really are: what the service reckons with.
    pub(crate) fn true_ms() -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    }

    /// What the service says that the time is.
    pub(crate) fn now(&self) -> UnixMillis {
        self.shown(Self::true_ms())
    }

    /// What the service says for a time.
    pub(crate) fn shown(&self, true_ms: i64) -> UnixMillis {
        let skew_ms = self.faults.now().clock_skew_s.saturating_mul(1_000);
        UnixMillis(true_ms.saturating_add(skew_ms))
    }

    /// What the service says in `Date`, or in a `Retry-After` that lies `ahead`. Rounded up to the next
    /// second where it lies ahead, so that nobody comes too early.
    pub(crate) fn http_date(&self, ahead: Duration) -> String {
        let ahead_ms = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX);
        let ms = self.now().0.saturating_add(ahead_ms);
        let seconds = match ahead.is_zero() {
            true => ms.div_euclid(1_000),
            false => ms.saturating_add(999).div_euclid(1_000),
        };
        let at = Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(DATE_S_MAX));
        httpdate::fmt_http_date(UNIX_EPOCH + at)
    }
}

/// Counts milliseconds from the start of whoever holds it; never goes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn ms(self) -> u64 {
        u64::try_from(self.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The last second of the year 9999, beyond which a date in a header has no form.
const DATE_S_MAX: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wait_and_no_skew_is_too_long_for_a_date() {
        let faults = Faults::default();
        let clock = Clock::new(faults.clone());
        let end = "Fri, 31 Dec 9999 23:59:59 GMT";
        assert_eq!(clock.http_date(Duration::MAX), end);
        faults.update(|f| f.clock_skew_s = i64::MAX);
        assert_eq!(clock.http_date(Duration::ZERO), end);
        faults.update(|f| f.clock_skew_s = i64::MIN);
        let begin = "Thu, 01 Jan 1970 00:00:00 GMT";
        assert_eq!(clock.http_date(Duration::ZERO), begin);
    }
}
