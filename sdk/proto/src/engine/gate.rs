//! The one gate before every request: open, closed until a time, or waiting for its single probe.

use std::time::Duration;

use super::lane::LaneId;
use super::timers::Timer;
use super::{Engine, RequestId};
use crate::cause::Cause;
use crate::failure::Request;
use crate::policy::Class;
use crate::retry::{self, GATE_FLOOR};
use crate::time::Timestamp;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Open,
    /// Nobody sends. When [`Timer::Gate`] is not armed any more, one probe goes out.
    Closed,
    /// Nobody sends but this probe.
    HalfOpen(RequestId),
}

#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub(super) passage: Passage,
    /// Failures of the whole client in a row; forgiven by stability.
    pub(super) attempt: u32,
    /// The server's own "not before" for every request.
    pub(super) floor: Timestamp,
    /// Why it is closed; `None` for a client that has just started.
    pub(super) cause: Option<Cause>,
}

impl Gate {
    pub(super) fn is_open(&self) -> bool {
        self.passage == Passage::Open
    }

    pub(super) fn is_probe(&self, id: RequestId) -> bool {
        self.passage == Passage::HalfOpen(id)
    }
}

impl Engine {
    /// The whole client waits.
    pub(super) fn close_gate(
        &mut self,
        now: Timestamp,
        probe: bool,
        class: Class,
        cause: Cause,
        floor: Option<Duration>,
    ) {
        let told_to_wait = floor.or((class == Class::Gate).then_some(GATE_FLOOR));
        if let Some(floor) = told_to_wait {
            self.gate.floor = self.gate.floor.max(now + floor);
        }
        self.gate.cause = Some(cause);
        if !probe && !self.gate.is_open() {
            // Sent before the gate closed: no new attempt of ours, but its floor counts.
            self.respect_floor(now);
            return;
        }
        self.gate.passage = Passage::Closed;
        // Time without a stream counts only while there could be one.
        self.timers.stop(Timer::NoStream);
        self.gate.attempt = self.gate.attempt.saturating_add(1);
        let delay = retry::delay(&mut self.rng, class, self.gate.attempt, floor);
        let at = now + delay.max(self.relapse(probe));
        self.arm_attempt(now, Timer::Gate, at.max(self.gate.floor), 1);
    }

    /// Where probes keep succeeding and what follows keeps failing, each turn costs more than its
    /// probe, and takes a minute for that.
    fn relapse(&self, probe: bool) -> Duration {
        if probe || self.gate.attempt <= RELAPSES_FREE {
            return Duration::ZERO;
        }
        self.config.poll_every * 2
    }

    /// Nobody sends before that time (or now, where a floor does not forbid it); then one probe.
    pub(super) fn probe_from(&mut self, now: Timestamp) {
        self.gate.passage = Passage::Closed;
        if self.gate.floor > now {
            let spread = retry::uniform(&mut self.rng, FOLLOW);
            self.timers.arm(Timer::Gate, self.gate.floor + spread);
        } else {
            self.timers.stop(Timer::Gate);
        }
    }

    /// The probe succeeded.
    pub(super) fn open_gate(&mut self, now: Timestamp) {
        if self.gate.floor > now {
            // Another answer asked for more time while the probe was out.
            self.gate.passage = Passage::Closed;
            self.respect_floor(now);
            return;
        }
        self.gate.passage = Passage::Open;
        self.timers.stop(Timer::Gate);
        if self.stream.is_live() {
            self.prove_steady(now);
        } else {
            self.expect_stream(now);
        }
        let recovered = self.gate.cause.take().is_some();
        for lane in LaneId::ALL {
            self.forgive_wait(now, lane, recovered);
        }
        self.stream.parked = None;
    }

    /// A lane's wait of its own is over now that the gate is open, but neither its server's floor nor
    /// the budget is forgotten: the gate may open and close for hours.
    fn forgive_wait(&mut self, now: Timestamp, lane: LaneId, recovered: bool) {
        let mut at = now;
        let state = self.lanes[lane as usize];
        let mut retried = state.failing.is_some() && state.flight.is_none();
        if lane == LaneId::Stream && recovered {
            at = now + retry::uniform(&mut self.rng, FOLLOW);
            retried = state.flight.is_none() && self.stream.is_idle();
        }
        let paid = self.timers.armed(lane.retry())
            || (lane == LaneId::Stream && self.stream.parked.is_some());
        if retried && !paid {
            at = self.book(now, at, lane.cost());
        }
        self.wait_until(now, lane.retry(), at.max(state.floor));
    }

    /// Sends the one request that finds out whether the service is there: a ticket, the first of the three requests
    /// that lead to `synced`. A pull where the replica is empty, or where the stream fails by itself: it moves data
    /// whatever becomes of streams.
    pub(super) fn probe(&mut self, now: Timestamp) {
        let may = |engine: &Self, lane: LaneId| {
            let state = &engine.lanes[lane as usize];
            state.flight.is_none() && state.floor <= now
        };
        self.pull.full = true;
        let stocked = self.pull.cursor.is_some();
        let id = if stocked && self.stream.is_sound() && may(self, LaneId::Stream) {
            self.begin_ticket(now)
        } else if may(self, LaneId::Pull) && !self.snapshot_waits() {
            self.begin_pull(now)
        } else if may(self, LaneId::Push) && self.push.backlog.waiting > 0 {
            self.begin_push(now)
        } else if may(self, LaneId::Stream) && self.stream.is_idle() {
            self.begin_ticket(now)
        } else if let Some(id) = self.under_way() {
            // Nothing else can be asked: its answer decides.
            id
        } else {
            // Only floors are in the way: of those that have something to ask, the first to end counts.
            let floor = |lane: LaneId| self.lanes[lane as usize].floor;
            let mut at = floor(LaneId::Pull);
            if self.push.backlog.waiting > 0 {
                at = at.min(floor(LaneId::Push));
            }
            if self.stream.is_idle() {
                at = at.min(floor(LaneId::Stream));
            }
            self.timers.arm(Timer::Gate, at);
            return;
        };
        self.gate.passage = Passage::HalfOpen(id);
    }

    /// A request whose answer can speak for the service; that of a stream alone says too little.
    fn under_way(&self) -> Option<RequestId> {
        let flights = self.lanes.iter().filter_map(|state| state.flight);
        let mut telling = flights.filter(|flight| flight.request != Request::Events);
        telling.next().map(|flight| flight.id)
    }

    /// Arms a timer, or clears it where the time has come already.
    pub(super) fn wait_until(&mut self, now: Timestamp, timer: Timer, at: Timestamp) {
        if at > now {
            self.timers.arm(timer, at);
        } else {
            self.timers.stop(timer);
        }
    }

    fn respect_floor(&mut self, now: Timestamp) {
        if self.gate.passage == Passage::Closed
            && self
                .timers
                .at(Timer::Gate)
                .is_none_or(|at| at < self.gate.floor)
        {
            let at = self.gate.floor + retry::uniform(&mut self.rng, FOLLOW);
            self.arm_attempt(now, Timer::Gate, at, 1);
        }
    }
}

/// The others follow a successful probe within this time.
pub(super) const FOLLOW: Duration = Duration::from_secs(1);
/// Closings in a row that are met with backoff alone.
const RELAPSES_FREE: u32 = 3;
