//! The timer table: one slot for each thing that the engine can wait for.

use crate::time::Timestamp;

/// What the engine can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Timer {
    /// The closed gate's probe.
    Gate,
    /// The stream lane's next attempt.
    StreamRetry,
    /// The pull lane's next attempt.
    PullRetry,
    /// The push lane's next attempt.
    PushRetry,
    /// The stream's watchdog: headers, `ready`, silence.
    StreamWatch,
    /// The watchdog of a pull or snapshot.
    PullWatch,
    /// The watchdog of a push.
    PushWatch,
    /// The watchdog of a token refresh.
    TokenWatch,
    /// The next poll while the stream does not work.
    Poll,
    /// The re-reading of what may have been committed late.
    Settle,
    /// The next request within the client's own pace.
    Pace,
    /// One more piece of proven stability.
    Steady,
    /// The end of the grace after a proper close.
    Grace,
    /// The longest time without a stream before polling begins.
    NoStream,
    /// The longest time that a pull waits for the stream that is being opened.
    AwaitStream,
    /// The end of the silence before `syncing` is published.
    Quiet,
}

/// The timers after which the engine sends something by itself.
pub(super) const ATTEMPTS: [Timer; 7] = [
    Timer::StreamRetry,
    Timer::PullRetry,
    Timer::PushRetry,
    Timer::Poll,
    Timer::Settle,
    Timer::AwaitStream,
    Timer::Pace,
];

const ALL: [Timer; 16] = [
    Timer::Gate,
    Timer::StreamRetry,
    Timer::PullRetry,
    Timer::PushRetry,
    Timer::StreamWatch,
    Timer::PullWatch,
    Timer::PushWatch,
    Timer::TokenWatch,
    Timer::Poll,
    Timer::Settle,
    Timer::Pace,
    Timer::Steady,
    Timer::Grace,
    Timer::NoStream,
    Timer::AwaitStream,
    Timer::Quiet,
];

/// When each timer goes off.
#[derive(Clone, Debug)]
pub(super) struct TimerTable([Timestamp; ALL.len()]);

impl TimerTable {
    pub(super) fn new() -> Self {
        Self([Timestamp::NEVER; ALL.len()])
    }

    pub(super) fn arm(&mut self, timer: Timer, at: Timestamp) {
        self.0[timer as usize] = at;
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.0[timer as usize] = Timestamp::NEVER;
    }

    pub(super) fn stop_all(&mut self) {
        *self = Self::new();
    }

    /// When this timer goes off; `None` when it is not armed.
    pub(super) fn at(&self, timer: Timer) -> Option<Timestamp> {
        let at = self.0[timer as usize];
        (at != Timestamp::NEVER).then_some(at)
    }

    pub(super) fn armed(&self, timer: Timer) -> bool {
        self.at(timer).is_some()
    }

    /// The next timer to go off, and when.
    pub(super) fn next(&self) -> Option<(Timer, Timestamp)> {
        ALL.into_iter()
            .filter_map(|timer| Some((timer, self.at(timer)?)))
            .min_by_key(|&(_, at)| at)
    }
}
