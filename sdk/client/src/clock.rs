//! The engine's clock: milliseconds that keep counting while the device sleeps.
//!
//! `Instant` stops during a suspend on Linux, Android and Apple: a wait of 20 s begun before an hour
//! of sleep would still have to be waited out after it, and a ticket would look fresh for ever.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use evenkeel_proto::Timestamp;
use uuid::Uuid;

/// Now, never earlier than any `now` before.
pub(crate) fn now() -> Timestamp {
    static LATEST: AtomicU64 = AtomicU64::new(0);
    let ms = millis();
    Timestamp::from_millis(LATEST.fetch_max(ms, Ordering::Relaxed).max(ms))
}

/// Two times of this clock can be compared where this is the same: the boot's id where the system
/// tells it, else a number that no other process has.
pub(crate) fn epoch() -> u64 {
    static EPOCH: OnceLock<u64> = OnceLock::new();
    *EPOCH.get_or_init(|| boot_id().unwrap_or_else(Uuid::new_v4).as_u64_pair().0)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn boot_id() -> Option<Uuid> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Uuid::try_parse(text.trim()).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn boot_id() -> Option<Uuid> {
    None
}

/// Since boot, sleep included.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn millis() -> u64 {
    from_timespec(rustix::time::clock_gettime(rustix::time::ClockId::Boottime))
}

/// Apple's monotonic clock counts sleep too; it is its uptime clock, which `Instant` reads, that
/// does not.
#[cfg(target_vendor = "apple")]
fn millis() -> u64 {
    from_timespec(rustix::time::clock_gettime(
        rustix::time::ClockId::Monotonic,
    ))
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn from_timespec(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1000) + nanos / 1_000_000
}

/// Windows' performance counter keeps counting in sleep; elsewhere this is the best there is.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn millis() -> u64 {
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    let elapsed = START.get_or_init(Instant::now).elapsed();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_counts_and_never_goes_back() {
        let mut last = now();
        let begin = last;
        while now().since(begin).as_millis() < 5 {
            let present = now();
            assert!(present >= last);
            last = present;
        }
    }
}
