//! Hints from the app and the system: they end waits that are ours, never one that is the server's.

use std::time::Duration;

use super::gate::Passage;
use super::lane::LaneId;
use super::timers::Timer;
use super::{Engine, Hint};
use crate::time::Timestamp;

impl Engine {
    pub(super) fn on_hint(&mut self, now: Timestamp, hint: Hint) {
        match hint {
            Hint::NetworkUp | Hint::NetworkMetered => {
                self.metered = hint == Hint::NetworkMetered;
                if std::mem::take(&mut self.offline) {
                    self.come_back(now);
                } else {
                    self.cut_short(now, NETWORK);
                }
            }
            Hint::NetworkDown => {
                if !self.offline {
                    self.offline = true;
                    self.abort_all();
                }
            }
            Hint::Foreground => {
                self.hidden = false;
                self.cut_short(now, APP);
            }
            Hint::Background => self.hidden = true,
            Hint::TokenChanged => self.on_token_changed(now),
            Hint::RetryNow => self.cut_short(now, APP),
            Hint::SyncNow => {
                self.need_proof();
                self.pull.urgent = true;
                self.timers.stop(Timer::AwaitStream);
                self.cut_short(now, APP);
            }
        }
    }

    /// Ends every wait that is ours, but none that is the server's.
    fn cut_short(&mut self, now: Timestamp, source: usize) {
        if self.hints_from[source] > now {
            return;
        }
        self.hints_from[source] = now + HINT_EVERY;
        if self.gate.passage == Passage::Closed {
            self.end_wait(now, Timer::Gate, self.gate.floor, 1);
        }
        for lane in LaneId::ALL {
            let floor = self.lanes[lane as usize].floor;
            self.end_wait(now, lane.retry(), floor, lane.cost());
        }
        if self.lanes[LaneId::Stream as usize].floor <= now {
            self.unpark_stream();
        }
        if self.end_wait(now, Timer::Poll, now, 1) {
            self.on_poll();
        }
    }

    /// Ends this wait unless a floor forbids it; says whether it did. What goes out at the app's or
    /// the system's word is not charged to the budget, or an impatient hour would be followed by one
    /// without a single attempt.
    fn end_wait(&mut self, now: Timestamp, timer: Timer, floor: Timestamp, cost: u32) -> bool {
        let ended = self.timers.armed(timer) && floor <= now;
        if ended {
            self.timers.stop(timer);
            self.budget.give_back(cost);
        } else if self.timers.armed(timer) {
            self.timers.arm(timer, floor);
        }
        ended
    }
}

/// Hints cut waits short no more often than this.
const HINT_EVERY: Duration = Duration::from_secs(5);
/// Who hints; an impatient thumb must not hide that the network came.
const APP: usize = 0;
const NETWORK: usize = 1;
