//! Tells the engine what came, and the journal how it went.

use evenkeel_proto::Failure;
use evenkeel_proto::engine::{Input, RequestId};
use tokio::task::JoinError;

use super::tasks::{self, Answer, Finished};
use super::{Driver, Flight};
use crate::clock;
use crate::guard::locked;
use crate::status::ms;

impl Driver {
    pub(super) fn on_event(&mut self, input: Input) {
        match &input {
            Input::Opened { id, result } => match result {
                Ok(()) => self.opened(*id),
                Err(failure) => self.closed(*id, Some(failure)),
            },
            Input::Event { event, .. } => locked(&self.shared.journal).event(event),
            Input::Closed { id, failure } => self.closed(*id, failure.as_ref()),
            _ => {}
        }
        self.feed(input);
    }

    pub(super) fn on_finished(&mut self, finished: Result<(tokio::task::Id, Finished), JoinError>) {
        let (id, answer) = match finished {
            Ok((_, Finished { id, answer })) => (id, answer),
            // Its runtime is ending, and the client with it.
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                let task = error.id();
                let flown = self.flights.iter().find(|(_, flight)| flight.task == task);
                let Some((id, lane)) = flown.map(|(id, flight)| (*id, flight.lane)) else {
                    return;
                };
                tracing::error!(target: "evenkeel", lane = lane.as_str(), "a request panicked");
                (id, tasks::panicked(lane))
            }
        };
        // Without an answer it was given up, or is a stream, whose last word comes as an event.
        let Some(answer) = answer else {
            return;
        };
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        if let Some(failure) = answer.failure() {
            self.note_failure(id, &flight, &failure);
        } else {
            self.note_success(id, &flight);
        }
        let input = self.input(id, &flight, answer);
        self.feed(input);
    }

    fn input(&mut self, id: RequestId, flight: &Flight, answer: Answer) -> Input {
        match answer {
            Answer::Ticket(result) => Input::Ticket {
                id,
                result: result.map(|(ticket, life)| {
                    // One stream, one ticket: an older one has no use any more.
                    self.tickets.clear();
                    self.tickets.insert(id, ticket);
                    // From its request on: how long the answer took is not ours to use.
                    flight.began + life
                }),
            },
            Answer::Pulled(result) => {
                if matches!(&result, Ok(page) if page.changes == 0 && !page.reset_required) {
                    let pull = flight.pull;
                    self.shared.caught_up.send_modify(|c| c.emptied = pull);
                    if let Some(lease) = self.shared.replica.lease() {
                        lease.answer(flight.asked);
                    }
                }
                Input::Pulled { id, result }
            }
            Answer::Snapshotted(result) => Input::Snapshotted { id, result },
            // What waits now, not what waited when the answer was settled: a write in between has
            // announced itself already, and must not be forgotten again.
            Answer::Pushed(result) => Input::Pushed {
                id,
                result: result.map(|()| self.shared.backlog()),
            },
            Answer::Token(result) => Input::TokenRefreshed { id, result },
            Answer::StreamBroke(failure) => Input::Closed {
                id,
                failure: Some(failure),
            },
        }
    }

    fn opened(&mut self, id: RequestId) {
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.open = true;
        }
        if let Some(flight) = self.flights.get(&id) {
            self.note_success(id, flight);
        }
    }

    fn closed(&mut self, id: RequestId, failure: Option<&Failure>) {
        let Some(flight) = self.flights.remove(&id) else {
            return;
        };
        match failure {
            Some(failure) => self.note_failure(id, &flight, failure),
            None => tracing::debug!(target: "evenkeel", %id, "the stream ended"),
        }
    }

    fn note_success(&self, id: RequestId, flight: &Flight) {
        let took_ms = ms(clock::now().since(flight.began));
        tracing::debug!(target: "evenkeel", lane = flight.lane.as_str(), %id, took_ms, "went well");
        locked(&self.shared.journal).succeeded(flight.lane);
    }

    pub(super) fn note_failure(&self, id: RequestId, flight: &Flight, failure: &Failure) {
        tracing::warn!(
            target: "evenkeel",
            lane = flight.lane.as_str(),
            %id,
            cause = failure.cause.as_str(),
            layer = failure.layer.as_str(),
            http_status = failure.http_status,
            code = failure.code.as_deref(),
            retry_after_ms = failure.retry_after.map(ms),
            took_ms = ms(clock::now().since(flight.began)),
            message = failure.message,
            "failed"
        );
        locked(&self.shared.journal).failed(flight.lane, failure);
    }
}
