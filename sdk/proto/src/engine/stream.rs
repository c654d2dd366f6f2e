//! The stream lane: ticket, open, `ready`, alive; and the fallback to polling when that fails.

use std::time::Duration;

use super::gate::FOLLOW;
use super::lane::{Flight, LaneId, OVERSLEPT};
use super::timers::Timer;
use super::{Engine, Output, RequestId, StreamEvent};
use crate::cause::Cause;
use crate::failure::{Failure, Request};
use crate::policy::{self, Class};
use crate::retry;
use crate::time::{Timestamp, millis};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    /// A ticket or the stream has been asked for.
    Asking,
    /// Headers came; `ready` has not.
    Accepted(RequestId),
    Live {
        id: RequestId,
        since: Timestamp,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Stream {
    phase: Phase,
    /// The server's `retry:` field.
    retry_field: Option<Duration>,
    /// Failures in a row, proper closes aside.
    failures: u32,
    /// The one fast reconnect has been spent; living for a while earns another.
    again_used: bool,
    /// The stream does not work: pulls go out at intervals instead.
    pub(super) polling: bool,
    /// While polling: no attempt before this time, and then only after a poll that worked.
    pub(super) parked: Option<Timestamp>,
    attempted_at: Timestamp,
    /// Seconds of proven life, in steps.
    steps: u32,
    last_beat: Option<Timestamp>,
    /// The latest heartbeat intervals in ms, oldest overwritten first.
    beats: [u32; 4],
    beat_count: u8,
}

impl Stream {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Idle,
            retry_field: None,
            failures: 0,
            again_used: false,
            polling: false,
            parked: None,
            attempted_at: Timestamp::default(),
            steps: 0,
            last_beat: None,
            beats: [0; 4],
            beat_count: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.phase == Phase::Idle
    }

    /// Nothing speaks against opening one: it is not open, and did not fail by itself of late.
    pub(super) fn is_sound(&self) -> bool {
        self.is_idle() && !self.polling && self.failures < FAILURES_UNSOUND
    }

    /// Until a stream lives, no ticket is a probe.
    pub(super) fn distrust(&mut self) {
        self.failures = self.failures.max(FAILURES_UNSOUND);
    }

    pub(super) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live { .. })
    }

    /// How long the stream may be silent: a multiple of what the server showed to be its habit.
    fn silence_max(&self, least: Duration) -> Duration {
        let largest = self.beats.into_iter().max().unwrap_or(0);
        if largest == 0 {
            return SILENCE_DEFAULT;
        }
        (Duration::from_millis(u64::from(largest)) * 9 / 4)
            .clamp(least.min(SILENCE_MAX), SILENCE_MAX)
    }
}

impl Engine {
    pub(super) fn advance_stream(&mut self, now: Timestamp) {
        if self.stream.is_idle()
            && self.stream.parked.is_none()
            && self.lane_ready(LaneId::Stream)
            && self.in_pace(now)
        {
            self.begin_ticket(now);
        }
    }

    pub(super) fn begin_ticket(&mut self, now: Timestamp) -> RequestId {
        let id = self.begin(now, LaneId::Stream, Request::Ticket);
        self.stream.phase = Phase::Asking;
        self.stream.attempted_at = now;
        self.stream.parked = None;
        self.outputs.push_back(Output::RequestTicket { id });
        id
    }

    pub(super) fn on_ticket(
        &mut self,
        now: Timestamp,
        id: RequestId,
        result: Result<Timestamp, Failure>,
    ) {
        let Some(flight) = self.take_flight(LaneId::Stream, id) else {
            return;
        };
        match result {
            Ok(expires_at) => {
                if self.gate.is_probe(id) {
                    // The stream follows, and what comes after it answers the pull: three requests, not four.
                    self.budget.reserve(now, now, 1);
                    if !self.pull.urgent {
                        self.timers.arm(Timer::AwaitStream, now + AWAIT_STREAM);
                    }
                }
                self.succeed(now, LaneId::Stream, flight);
                self.stream.phase = Phase::Idle;
                if !self.gate.is_open() {
                    // The others learnt meanwhile that nobody may send: the ticket goes unused.
                    self.timers.stop(Timer::AwaitStream);
                    self.outputs.push_back(Output::Abort { id });
                } else if expires_at <= now {
                    self.outputs.push_back(Output::Abort { id });
                    let late = Failure::local(Cause::TicketExpired, "the ticket came expired");
                    self.stream_refused(now, flight, &late, Duration::ZERO);
                } else {
                    let ticket = id;
                    let id = self.begin(now, LaneId::Stream, Request::Events);
                    self.stream.phase = Phase::Asking;
                    self.outputs.push_back(Output::OpenStream { id, ticket });
                }
            }
            Err(failure) => {
                self.stream.phase = Phase::Idle;
                self.stream_refused(now, flight, &failure, Duration::ZERO);
            }
        }
    }

    pub(super) fn on_opened(&mut self, now: Timestamp, id: RequestId, result: Result<(), Failure>) {
        let Some(flight) = self.take_flight(LaneId::Stream, id) else {
            return;
        };
        self.stream.phase = Phase::Idle;
        match result {
            Ok(()) => {
                self.stream.phase = Phase::Accepted(id);
                self.timers
                    .arm(Timer::StreamWatch, now + self.config.ready_timeout);
            }
            Err(failure) => self.stream_refused(now, flight, &failure, Duration::ZERO),
        }
    }

    pub(super) fn on_event(&mut self, now: Timestamp, id: RequestId, event: StreamEvent) {
        match self.stream.phase {
            Phase::Accepted(open) if open == id => {
                if let StreamEvent::Retry(field) = event {
                    self.stream.retry_field = Some(field);
                }
                if event != StreamEvent::Ready {
                    return;
                }
                self.stream.phase = Phase::Live { id, since: now };
                self.stream.last_beat = None;
                let lane = self.lane(LaneId::Stream);
                lane.worked_at = Some(now);
                if lane.failing.take().is_some() {
                    // The pull that follows belongs to this attempt.
                    self.budget.reserve(now, now, 1);
                }
                self.timers.stop(Timer::Grace);
                self.timers.stop(Timer::NoStream);
                self.timers.stop(Timer::AwaitStream);
                self.prove_steady(now);
                self.pull.forget_seen();
                self.need_proof();
            }
            Phase::Live { id: open, .. } if open == id => {
                self.lane(LaneId::Stream).worked_at = Some(now);
                match event {
                    StreamEvent::Heartbeat => self.beat(now),
                    StreamEvent::Sync(cursor) => self.announced(cursor),
                    StreamEvent::Retry(field) => self.stream.retry_field = Some(field),
                    StreamEvent::Ready | StreamEvent::Other => {}
                }
            }
            _ => return,
        }
        let silence_max = self.stream.silence_max(self.config.silence_min);
        self.timers.arm(Timer::StreamWatch, now + silence_max);
    }

    pub(super) fn on_closed(&mut self, now: Timestamp, id: RequestId, failure: Option<Failure>) {
        let failure =
            failure.unwrap_or_else(|| Failure::local(Cause::StreamClosed, "the stream was closed"));
        self.lose_stream(now, id, &failure);
    }

    /// The watchdog went off: an answer, `ready` or a sign of life is overdue.
    pub(super) fn on_stream_watch(&mut self, now: Timestamp, due: Timestamp) {
        if self.stream.phase == Phase::Asking {
            self.stream.phase = Phase::Idle;
            if let Some((flight, late)) = self.give_up(now, LaneId::Stream, due) {
                self.stream_refused(now, flight, &late, Duration::ZERO);
            }
        } else if let Phase::Accepted(id) | Phase::Live { id, .. } = self.stream.phase {
            self.outputs.push_back(Output::Abort { id });
            let failure = if now.since(due) > OVERSLEPT {
                // This device slept: the silence is its own, and no reason for alarm.
                Failure::local(Cause::StreamClosed, "the device slept through the stream")
            } else {
                Failure::local(
                    Cause::StreamStalled,
                    "nothing came through the stream in time",
                )
            };
            self.lose_stream(now, id, &failure);
        }
    }

    fn lose_stream(&mut self, now: Timestamp, lost: RequestId, failure: &Failure) {
        let lived = match self.stream.phase {
            Phase::Accepted(id) if id == lost => Duration::ZERO,
            Phase::Live { id, since } if id == lost => now.since(since),
            _ => return,
        };
        self.stream.phase = Phase::Idle;
        self.timers.stop(Timer::StreamWatch);
        self.timers.stop(Timer::Steady);
        if let Some(field) = self.stream.retry_field {
            // Everybody's stream may have ended: the server says how slowly all are to come back.
            let spread = retry::uniform(&mut self.rng, retry::reconnect_spread(field));
            let lane = self.lane(LaneId::Stream);
            lane.floor = lane.floor.max(now + spread);
        }
        self.expect_stream(now);
        let flight = Flight {
            id: lost,
            request: Request::Events,
            token_epoch: self.account.epoch,
        };
        self.stream_refused(now, flight, failure, lived);
    }

    /// One fast reconnect where the cause is harmless, else what the policy says.
    fn stream_refused(
        &mut self,
        now: Timestamp,
        flight: Flight,
        failure: &Failure,
        lived: Duration,
    ) {
        self.timers.stop(Timer::AwaitStream);
        let again = policy::rule(failure.cause, flight.request).class == Class::Again
            && (failure.cause != Cause::StreamClosed || lived >= STEADY)
            && failure.retry_after.is_none()
            && !self.stream.again_used
            && !self.gate.is_probe(flight.id);
        if !again {
            self.fail(now, LaneId::Stream, flight, failure);
            return;
        }
        self.stream.again_used = true;
        let at = now + retry::uniform(&mut self.rng, FOLLOW);
        let at = at.max(self.lane(LaneId::Stream).floor);
        self.arm_attempt(now, Timer::StreamRetry, at, LaneId::Stream.cost());
        if self.lane(LaneId::Stream).failing.is_none() {
            self.timers.arm(Timer::Grace, now + GRACE);
        }
    }

    /// After a failure: if it counts, is it time to poll?
    pub(super) fn stream_failed(&mut self, now: Timestamp, counts: bool) {
        self.timers.stop(Timer::Grace);
        self.stream.failures += u32::from(counts);
        if self.stream.failures >= FAILURES_MAX {
            self.start_polling(now);
        }
    }

    pub(super) fn on_no_stream(&mut self, now: Timestamp) {
        self.start_polling(now);
        if !self.stream.polling {
            // The data does not come either.
            self.timers
                .arm(Timer::NoStream, now + self.config.poll_every);
        }
    }

    /// Time without a stream counts from when there may be one again.
    pub(super) fn expect_stream(&mut self, now: Timestamp) {
        let from = now.max(self.lanes[LaneId::Stream as usize].floor);
        self.timers.arm(Timer::NoStream, from + NO_STREAM_MAX);
    }

    pub(super) fn on_grace(&mut self) {
        let lane = self.lane(LaneId::Stream);
        lane.failing = lane.failing.or(Some(Cause::StreamClosed));
    }

    fn start_polling(&mut self, now: Timestamp) {
        let pulls_work = self.lane(LaneId::Pull).failing.is_none();
        if self.stream.polling || self.stream.is_live() || !self.gate.is_open() || !pulls_work {
            return;
        }
        self.stream.polling = true;
        if let Some(at) = self.timers.at(Timer::StreamRetry) {
            self.timers.stop(Timer::StreamRetry);
            self.stream.parked = Some(at.max(self.earliest_beside_polls()));
        }
        let lane = self.lane(LaneId::Stream);
        lane.failing = lane.failing.or(Some(Cause::StreamStalled));
        let soon = now + Duration::from_millis(1) + retry::uniform(&mut self.rng, FOLLOW);
        self.arm_attempt(now, Timer::Poll, soon, 1);
    }

    pub(super) fn stop_polling(&mut self) {
        self.stream.polling = false;
        self.timers.stop(Timer::Poll);
    }

    /// Like arming an attempt, but it goes out after a poll that worked: then a failing ticket cannot
    /// look like the whole client's failure.
    pub(super) fn park_stream(&mut self, now: Timestamp, at: Timestamp) {
        let at = at.max(self.earliest_beside_polls());
        let cost = LaneId::Stream.cost();
        self.stream.parked = Some(self.book(now, at, cost));
    }

    pub(super) fn unpark_stream(&mut self) {
        if self.stream.parked.take().is_some() {
            self.budget.give_back(LaneId::Stream.cost());
        }
    }

    fn earliest_beside_polls(&self) -> Timestamp {
        self.stream.attempted_at + self.config.poll_every * 2
    }

    /// A poll worked: the next one is due, and perhaps a try of the stream as well.
    pub(super) fn poll_worked(&mut self, now: Timestamp) {
        if !self.stream.polling {
            return;
        }
        self.stream.parked = self.stream.parked.filter(|&at| at > now);
        if !self.timers.armed(Timer::Poll) {
            self.forgive_one();
            let patience = if self.metered || self.hidden { 4 } else { 1 };
            let every = self.config.poll_every;
            let at = now + every * patience + retry::uniform(&mut self.rng, every / 6);
            self.arm_attempt(now, Timer::Poll, at, 1);
        }
    }

    /// Stability counts from now on: a stream began to live, or lives on after a time when nobody could send.
    pub(super) fn prove_steady(&mut self, now: Timestamp) {
        self.stream.steps = 0;
        self.timers.arm(Timer::Steady, now + STEADY);
    }

    /// The stream has lived for one more step: backoff is forgiven by stability alone.
    pub(super) fn on_steady(&mut self, now: Timestamp) {
        self.stream.steps += 1;
        self.stream.again_used = false;
        self.stream.failures = 0;
        self.forgive_one();
        if self.stream.steps >= STEPS_TO_RESET {
            if self.gate.is_open() {
                self.gate.attempt = 0;
            }
            self.lane(LaneId::Stream).attempt = 0;
        } else {
            self.timers.arm(Timer::Steady, now + STEADY);
        }
    }

    pub(super) fn reset_stream(&mut self) {
        if let Phase::Accepted(id) | Phase::Live { id, .. } = self.stream.phase {
            self.outputs.push_back(Output::Abort { id });
        }
        self.stream.phase = Phase::Idle;
        self.unpark_stream();
        self.stop_polling();
    }

    fn forgive_one(&mut self) {
        if self.gate.is_open() {
            // A stream that lives on while every request fails is no stability.
            self.gate.attempt = self.gate.attempt.saturating_sub(1);
        }
        let lane = self.lane(LaneId::Stream);
        lane.attempt = lane.attempt.saturating_sub(1);
    }

    fn beat(&mut self, now: Timestamp) {
        if let Some(last) = self.stream.last_beat.replace(now) {
            let slot = usize::from(self.stream.beat_count) % self.stream.beats.len();
            self.stream.beats[slot] = u32::try_from(millis(now.since(last))).unwrap_or(u32::MAX);
            self.stream.beat_count = self.stream.beat_count.wrapping_add(1);
        }
    }
}

/// A stream that lived this long was a stream.
const STEADY: Duration = Duration::from_secs(10);
const STEPS_TO_RESET: u32 = 6;
const GRACE: Duration = Duration::from_secs(10);
const FAILURES_MAX: u32 = 3;
/// The loss of a stream that lived is one failure; an attempt that fails after it is the second.
const FAILURES_UNSOUND: u32 = 2;
/// Two answers of an edge that tries the origin for a while.
const AWAIT_STREAM: Duration = Duration::from_secs(5);
const NO_STREAM_MAX: Duration = Duration::from_secs(90);
const SILENCE_DEFAULT: Duration = Duration::from_secs(45);
const SILENCE_MAX: Duration = Duration::from_secs(120);
