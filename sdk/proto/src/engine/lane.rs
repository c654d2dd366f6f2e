//! What every lane has: a request under way, a count of failures, a floor.

use std::time::Duration;

use super::timers::Timer;
use super::{Engine, Output, RequestId};
use crate::cause::Cause;
use crate::failure::{Failure, RETRY_AFTER_MAX, Request};
use crate::policy::{self, Class, Scope};
use crate::retry;
use crate::time::Timestamp;

/// The three ways in which requests go out, each one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LaneId {
    Stream,
    Pull,
    Push,
}

impl LaneId {
    pub(super) const ALL: [Self; 3] = [Self::Stream, Self::Pull, Self::Push];

    pub(super) const fn retry(self) -> Timer {
        match self {
            Self::Stream => Timer::StreamRetry,
            Self::Pull => Timer::PullRetry,
            Self::Push => Timer::PushRetry,
        }
    }

    pub(super) const fn watch(self) -> Timer {
        match self {
            Self::Stream => Timer::StreamWatch,
            Self::Pull => Timer::PullWatch,
            Self::Push => Timer::PushWatch,
        }
    }

    /// What one attempt costs of the budget: a stream takes a ticket and the stream itself.
    pub(super) const fn cost(self) -> u32 {
        match self {
            Self::Stream => 2,
            Self::Pull | Self::Push => 1,
        }
    }
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) id: RequestId,
    pub(super) request: Request,
    /// Which of the app's tokens it carries.
    pub(super) token_epoch: u32,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    pub(super) flight: Option<Flight>,
    /// Failures in a row.
    pub(super) attempt: u32,
    /// The server's own "not before" for this lane.
    pub(super) floor: Timestamp,
    /// Why it does not work at present.
    pub(super) failing: Option<Cause>,
    pub(super) worked_at: Option<Timestamp>,
    /// A token was refused here, and this lane has not been served since.
    pub(super) refused: bool,
}

impl Engine {
    pub(super) fn lane(&mut self, lane: LaneId) -> &mut Lane {
        &mut self.lanes[lane as usize]
    }

    /// Nothing under way, and no wait of its own.
    pub(super) fn lane_ready(&self, lane: LaneId) -> bool {
        self.lanes[lane as usize].flight.is_none() && !self.timers.armed(lane.retry())
    }

    /// Books one request: its id, its watchdog, its place in the client's pace.
    pub(super) fn begin(&mut self, now: Timestamp, lane: LaneId, request: Request) -> RequestId {
        let id = self.fresh_id();
        self.pace.reserve(now, now, 1);
        self.timers.stop(lane.retry());
        self.timers.arm(lane.watch(), now + self.limit(request));
        let token_epoch = self.account.epoch;
        self.lane(lane).flight = Some(Flight {
            id,
            request,
            token_epoch,
        });
        id
    }

    /// A part of the answer came: what matters is that it does not stand still.
    pub(super) fn on_progress(&mut self, now: Timestamp, id: RequestId) {
        for lane in LaneId::ALL {
            if let Some(flight) = self.lanes[lane as usize].flight.filter(|f| f.id == id) {
                let limit = self.limit(flight.request);
                self.timers.arm(lane.watch(), now + limit);
            }
        }
    }

    fn limit(&self, request: Request) -> Duration {
        match request {
            Request::Ticket | Request::Events => self.config.stream_headers_timeout,
            _ => self.config.data_timeout,
        }
    }

    /// The request that this answer belongs to; `None` for a late one.
    pub(super) fn take_flight(&mut self, lane: LaneId, id: RequestId) -> Option<Flight> {
        let flight = self.lane(lane).flight.take_if(|flight| flight.id == id)?;
        self.timers.stop(lane.watch());
        Some(flight)
    }

    /// No answer came in time. `None` where this device slept: the lane just asks again then.
    pub(super) fn give_up(
        &mut self,
        now: Timestamp,
        lane: LaneId,
        due: Timestamp,
    ) -> Option<(Flight, Failure)> {
        let flight = self.lane(lane).flight.take()?;
        self.outputs.push_back(Output::Abort { id: flight.id });
        if now.since(due) > OVERSLEPT {
            if self.gate.is_probe(flight.id) {
                self.probe_from(now);
            }
            return None;
        }
        let late = Failure::local(Cause::ResponseTimeout, "no answer in time");
        Some((flight, late))
    }

    /// The service answered this request as it should.
    pub(super) fn succeed(&mut self, now: Timestamp, lane: LaneId, flight: Flight) {
        let fresh_token = flight.token_epoch == self.account.epoch;
        if fresh_token {
            self.account.refreshed = false;
        }
        let state = self.lane(lane);
        state.refused &= !fresh_token;
        state.worked_at = Some(now);
        if lane != LaneId::Stream {
            // A stream proves itself by living, not by being accepted.
            state.failing = None;
            state.attempt = 0;
        }
        if self.gate.is_probe(flight.id) {
            self.open_gate(now);
        }
    }

    /// The request failed: who waits, and how long.
    pub(super) fn fail(&mut self, now: Timestamp, lane: LaneId, flight: Flight, failure: &Failure) {
        let rule = policy::rule(failure.cause, flight.request);
        if rule.class == Class::Ask {
            self.ask(now, lane, flight, failure);
            return;
        }
        let probe = self.gate.is_probe(flight.id);
        // What is refused for good where streams are asked for says nothing about the data.
        let streams_alone = probe
            && flight.request == Request::Ticket
            && rule.class == Class::Slow
            && rule.scope != Scope::Client
            && failure.retry_after.is_none();
        let whole_client = match rule.scope {
            _ if probe => !streams_alone,
            Scope::Client => true,
            Scope::Lane => false,
            Scope::LaneWhileOthersWork => !self.others_work(now, lane),
        };
        self.lane(lane).failing = Some(failure.cause);
        let floor = failure.retry_after.map(|floor| floor.min(RETRY_AFTER_MAX));
        if whole_client {
            self.close_gate(now, probe, rule.class, failure.cause, floor);
        } else {
            self.hold_back(now, lane, rule.class, floor);
        }
        if lane == LaneId::Stream {
            // What every request would have met says nothing about streams. A probe that may have met the ticket's
            // own trouble does: the next ones are pulls then.
            self.stream_failed(now, !whole_client || (probe && rule.scope != Scope::Client));
        }
        if streams_alone {
            self.stream.distrust();
            self.budget.reserve(now, now, 1);
            self.probe_from(now);
        }
    }

    /// This lane alone waits.
    fn hold_back(&mut self, now: Timestamp, lane: LaneId, class: Class, floor: Option<Duration>) {
        let state = &mut self.lanes[lane as usize];
        state.attempt = state.attempt.saturating_add(1);
        if let Some(floor) = floor {
            state.floor = state.floor.max(now + floor);
        }
        let at = now + retry::delay(&mut self.rng, class, state.attempt, floor);
        let at = at.max(state.floor);
        if lane == LaneId::Stream && self.stream.polling {
            self.park_stream(now, at);
        } else {
            self.arm_attempt(now, lane.retry(), at, lane.cost());
        }
    }

    /// Arms a retry, probe or poll for the earliest time that budget and pace allow.
    pub(super) fn arm_attempt(&mut self, now: Timestamp, timer: Timer, at: Timestamp, cost: u32) {
        let at = self.book(now, at, cost);
        self.timers.arm(timer, at);
    }

    /// The earliest time from `at` on that budget and pace allow for a retry, probe or poll.
    pub(super) fn book(&mut self, now: Timestamp, at: Timestamp, cost: u32) -> Timestamp {
        self.budget.reserve(now, self.pace.earliest(at), cost)
    }

    fn others_work(&self, now: Timestamp, lane: LaneId) -> bool {
        LaneId::ALL.into_iter().any(|other| {
            let state = &self.lanes[other as usize];
            other != lane
                && state.failing.is_none()
                && state
                    .worked_at
                    .is_some_and(|at| now.since(at) <= OTHERS_WORK)
        })
    }
}

/// A timer that goes off this late has slept with the device.
pub(super) const OVERSLEPT: Duration = Duration::from_secs(10);
/// How long another lane's success speaks for the service.
const OTHERS_WORK: Duration = Duration::from_secs(30);
