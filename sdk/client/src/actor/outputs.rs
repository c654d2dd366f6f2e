//! Does what the engine says.

use evenkeel_proto::engine::{Input, Output, RequestId};
use evenkeel_proto::{Cause, Failure, SyncStatus};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::tasks::{Requests, Work};
use super::{Driver, Flight};
use crate::clock;
use crate::diagnostics::Lane;
use crate::guard::locked;
use crate::shared::AtWork;
use crate::status::{Status, ms};

impl Driver {
    pub(super) fn feed(&mut self, input: Input) {
        self.engine.handle_input(clock::now(), input);
        self.drain();
    }

    pub(super) fn drain(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            let Some(output) = self.engine.poll_output() else {
                break;
            };
            self.execute(output);
        }
        self.keep_floors();
    }

    fn execute(&mut self, output: Output) {
        match output {
            Output::Publish(status) => self.publish(&status),
            Output::Abort { id } => self.abort(id),
            output if self.quiet => {
                tracing::error!(target: "evenkeel", ?output, "not sent: the client is at rest");
            }
            Output::RequestTicket { id } => {
                self.begin_request(id, Lane::Ticket, |r, hold| Box::pin(r.ticket(id, hold)))
            }
            Output::OpenStream { id, ticket } => {
                let ticket = self.tickets.remove(&ticket);
                self.begin_request(id, Lane::Stream, |r, hold| {
                    Box::pin(r.stream(id, ticket, hold))
                });
            }
            Output::Pull { id, from, settles } => {
                self.shared
                    .caught_up
                    .send_modify(|caught_up| caught_up.pulls_begun += 1);
                self.begin_request(id, Lane::Pull, |r, hold| {
                    Box::pin(r.pull(id, from, settles, hold))
                });
            }
            Output::Snapshot { id, resume } => self.begin_request(id, Lane::Snapshot, |r, hold| {
                Box::pin(r.snapshot(id, resume, hold))
            }),
            Output::Push { id, ops_max } => self.begin_request(id, Lane::Push, |r, hold| {
                Box::pin(r.push(id, ops_max, hold))
            }),
            Output::RefreshToken { id } => {
                self.begin_request(id, Lane::Token, |r, hold| Box::pin(r.token(id, hold)))
            }
            other => {
                tracing::error!(target: "evenkeel", output = ?other, "not understood");
            }
        }
    }

    fn begin_request(
        &mut self,
        id: RequestId,
        lane: Lane,
        work: impl FnOnce(Requests, oneshot::Receiver<()>) -> Work,
    ) {
        let (hold, held) = oneshot::channel();
        let attempt = self.engine.status().attempt;
        tracing::debug!(target: "evenkeel", lane = lane.as_str(), %id, attempt, "begun");
        let at_work = AtWork::begin(&self.shared, lane);
        let work = work(self.requests.clone(), held);
        let span = tracing::debug_span!(target: "evenkeel", "request", lane = lane.as_str(), %id);
        let work = async move {
            let _at_work = at_work;
            work.await
        };
        let task = self.tasks.spawn(work.instrument(span));
        let task = task.id();
        locked(&self.shared.journal).started(lane);
        let flight = Flight {
            lane,
            task,
            began: clock::now(),
            open: false,
            pull: self.shared.caught_up.borrow().pulls_begun,
            asked: self.shared.replica.lease().map_or(0, |lease| lease.asked()),
            _hold: hold,
        };
        self.flights.insert(id, flight);
    }

    pub(super) fn abort(&mut self, id: RequestId) {
        self.tickets.remove(&id);
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        if self.on_time {
            // A watchdog of the engine's: the request would say nothing about it itself.
            self.note_failure(id, &flight, &overdue(&flight));
        } else {
            tracing::debug!(target: "evenkeel", lane = flight.lane.as_str(), %id, "given up");
            locked(&self.shared.journal).aborted(flight.lane);
        }
        if flight.lane != Lane::Token {
            // It may have hung because its connection is dead; over HTTP/2 the next one would too.
            self.shared.transport.renew();
        }
    }

    /// Whatever the engine said: nothing goes on.
    pub(super) fn give_up_all(&mut self) {
        self.flights.clear();
        self.tickets.clear();
        self.shared.transport.renew();
    }

    pub(super) fn publish(&mut self, status: &SyncStatus) {
        let version = self.shared.status.borrow().version + 1;
        let status = Status::from_engine(status, version);
        tracing::info!(
            target: "evenkeel",
            state = status.state.as_str(),
            lifecycle = status.lifecycle.as_str(),
            link = status.link.as_str(),
            cause = status.cause.map(Cause::as_str),
            layer = status.layer.map(|layer| layer.as_str()),
            attempt = status.attempt,
            wait_ms = status.next_attempt_in().map(ms),
            pending = status.pending,
            "status"
        );
        locked(&self.shared.journal).published(&status);
        let lease = self.shared.replica.lease();
        if let Some(lease) = lease.filter(|_| self.rest.is_none())
            && !self
                .told
                .as_ref()
                .is_some_and(|told| told.tells_as(&status))
        {
            lease.publish(status.told());
            self.told = Some(status.clone());
        }
        self.shared.status.send_replace(status);
    }
}

fn overdue(flight: &Flight) -> Failure {
    match flight.lane {
        Lane::Token => Failure::local(Cause::TokenUnavailable, "no token in time"),
        _ if flight.open => Failure::local(Cause::StreamStalled, "nothing came in time"),
        _ => Failure::local(Cause::ResponseTimeout, "no answer in time"),
    }
}

/// No step of the engine says more; a bound for the day when one does.
const OUTPUTS_MAX: usize = 1_000;
