//! Wakes the actor at a time of the engine's clock.
//!
//! Tokio's timers count as `Instant` does: not while the device sleeps. On Linux and Android a timer
//! of the kernel's boot-time clock rings in time, right after the device woke up, and costs nothing
//! until then. Elsewhere (and where that timer cannot be had) no sleep is longer than
//! [`NAP_MAX`], so a jump of the clock is noticed that much later at most; hints of the app (network,
//! foreground) are noticed at once everywhere.

use std::time::Duration;

use evenkeel_proto::Timestamp;

use crate::clock;

/// One alarm; setting it again replaces the earlier time.
pub(crate) struct Alarm {
    at: Option<Timestamp>,
    #[cfg(any(target_os = "linux", target_os = "android"))]
    timer: Option<kernel::Timer>,
}

impl Alarm {
    /// An alarm that is not set. Must be called within a runtime.
    pub(crate) fn new() -> Self {
        Self {
            at: None,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            timer: kernel::Timer::new(),
        }
    }

    /// Rings at `at`, or never.
    pub(crate) fn set(&mut self, at: Option<Timestamp>) {
        if self.at == at {
            return;
        }
        self.at = at;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let (Some(timer), Some(at)) = (&self.timer, at)
            && !timer.set(at)
        {
            self.timer = None;
        }
    }

    /// Returns when the time has come; at once when it has passed. Cancel-safe.
    pub(crate) async fn ring(&mut self) {
        let Some(at) = self.at else {
            return std::future::pending().await;
        };
        loop {
            let left = at.since(clock::now());
            if left.is_zero() {
                return;
            }
            #[cfg(any(target_os = "linux", target_os = "android"))]
            if let Some(timer) = &self.timer {
                if !timer.rang().await {
                    self.timer = None;
                }
                continue;
            }
            tokio::time::sleep(left.min(NAP_MAX)).await;
        }
    }
}

/// A compromise between the battery and how late a wake-up after a sleep may be.
const NAP_MAX: Duration = Duration::from_secs(15);

#[cfg(any(target_os = "linux", target_os = "android"))]
mod kernel {
    use evenkeel_proto::Timestamp;
    use rustix::fd::OwnedFd;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    pub(super) struct Timer(AsyncFd<OwnedFd>);

    impl Timer {
        #[allow(
            deprecated,
            reason = "its replacement is unsafe for the sake of types that lie about their \
                      descriptor; an owned one does not"
        )]
        pub(super) fn new() -> Option<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Boottime, flags).ok()?;
            AsyncFd::with_interest(timer, Interest::READABLE)
                .ok()
                .map(Self)
        }

        /// Whether it could be set.
        pub(super) fn set(&self, at: Timestamp) -> bool {
            let ms = at.as_millis();
            let once = Itimerspec {
                it_interval: Timespec::default(),
                it_value: Timespec {
                    tv_sec: (ms / 1000).try_into().unwrap_or(i64::MAX),
                    // All zero would disarm it.
                    tv_nsec: (ms % 1000 * 1_000_000).try_into().unwrap_or(0).max(1),
                },
            };
            timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::ABSTIME, &once).is_ok()
        }

        /// Whether it is still of use.
        pub(super) async fn rang(&self) -> bool {
            let Ok(mut ready) = self.0.readable().await else {
                return false;
            };
            let mut expirations = [0; 8];
            match rustix::io::read(self.0.get_ref(), &mut expirations) {
                Ok(_) => true,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {
                    ready.clear_ready();
                    true
                }
                Err(_) => false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_rings_at_its_time_and_can_be_moved() {
        let mut alarm = Alarm::new();
        let begin = clock::now();
        alarm.set(Some(begin + Duration::from_secs(3600)));
        let early = tokio::time::timeout(Duration::from_millis(20), alarm.ring()).await;
        assert!(early.is_err());
        let at = begin + Duration::from_millis(60);
        alarm.set(Some(at));
        alarm.ring().await;
        assert!(clock::now() >= at);
        alarm.ring().await;
        alarm.set(Some(clock::now() + Duration::from_millis(30)));
        alarm.ring().await;
        alarm.set(None);
        let never = tokio::time::timeout(Duration::from_millis(20), alarm.ring()).await;
        assert!(never.is_err());
    }
}
