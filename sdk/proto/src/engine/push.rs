//! The push lane: asks for a batch while something waits. What is in it is the outbox's affair.

use super::lane::LaneId;
use super::{Backlog, Engine, Output, RequestId};
use crate::cause::Cause;
use crate::failure::{Failure, Request};
use crate::time::Timestamp;

#[derive(Clone, Debug)]
pub(super) struct Push {
    pub(super) backlog: Backlog,
    /// Answers in a row after which no less waited, without a word from the app.
    pub(super) idle: u8,
}

impl Engine {
    pub(super) fn advance_push(&mut self, now: Timestamp) {
        let pulling = self.lanes[LaneId::Pull as usize].flight;
        let replaced = pulling.is_some_and(|flight| flight.request == Request::Snapshot);
        if self.push.backlog.waiting > 0
            && !replaced
            && self.lane_ready(LaneId::Push)
            && self.in_pace(now)
        {
            self.begin_push(now);
        }
    }

    pub(super) fn begin_push(&mut self, now: Timestamp) -> RequestId {
        let id = self.begin(now, LaneId::Push, Request::Push);
        let ops_max = PUSH_OPS_MAX;
        self.outputs.push_back(Output::Push { id, ops_max });
        id
    }

    pub(super) fn on_pushed(
        &mut self,
        now: Timestamp,
        id: RequestId,
        result: Result<Backlog, Failure>,
    ) {
        let Some(flight) = self.take_flight(LaneId::Push, id) else {
            return;
        };
        match result {
            Ok(backlog) => {
                let idle = backlog.waiting >= self.push.backlog.waiting;
                self.push.idle = if idle {
                    self.push.idle.saturating_add(1)
                } else {
                    0
                };
                if self.push.idle < IDLE_MAX {
                    self.succeed(now, LaneId::Push, flight);
                } else {
                    let stuck = Failure::local(Cause::BadResponse, "the answers settle nothing");
                    self.fail(now, LaneId::Push, flight, &stuck);
                }
                self.set_backlog(backlog);
            }
            Err(failure) => self.fail(now, LaneId::Push, flight, &failure),
        }
    }

    pub(super) fn set_backlog(&mut self, backlog: Backlog) {
        self.push.backlog = backlog;
        if backlog.waiting == 0 {
            // With nothing to send there is nothing that could fail.
            self.lane(LaneId::Push).failing = None;
            self.lane(LaneId::Push).refused = false;
        }
    }

    pub(super) fn on_push_watch(&mut self, now: Timestamp, due: Timestamp) {
        if let Some((flight, late)) = self.give_up(now, LaneId::Push, due) {
            self.fail(now, LaneId::Push, flight, &late);
        }
    }
}

/// Pushes that settle nothing before that is a failure.
const IDLE_MAX: u8 = 3;
/// The contract's limit for one batch.
const PUSH_OPS_MAX: u32 = 100;
