//! The one task that owns the engine: feeds it what happens, and does what it says.

mod tasks;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_proto::engine::{Config, Engine, Hint, Input, Output, RequestId};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Cause, Failure, Lifecycle, SyncStatus, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tracing::Instrument as _;

use crate::alarm::Alarm;
use crate::clock;
use crate::diagnostics::Lane;
use crate::guard::locked;
use crate::mailbox::{Command, Network};
use crate::shared::{AtWork, Shared};
use crate::state::{Until, wall_ms};
use crate::status::{Status, ms};
use crate::transport::Ticket;
use tasks::{Answer, Finished, Requests};

/// Runs the client until it is stopped or its last handle is dropped.
pub(crate) async fn run(running: Running) {
    let shared = &running.shared;
    loop {
        let Some(mut driver) = Driver::begin(shared).await else {
            return;
        };
        while driver.turn().await == Turn::GoOn {}
        let stopped = driver.settling.take();
        drop(driver);
        if shared.mailbox.end() {
            return;
        }
        // Started again meanwhile; the stop had its whole effect nevertheless.
        shared.mailbox.settle(stopped.unwrap_or(0));
    }
}

/// However the actor's future ends, with its runtime for instance, this says so.
pub(crate) struct Running {
    pub(crate) shared: Arc<Shared>,
    pub(crate) run: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let Self { shared, run } = self;
        shared.mailbox.abandon(*run, || {
            if shared.status.borrow().lifecycle != Lifecycle::Stopped {
                shared.status.send_modify(Status::end);
            }
        });
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    GoOn,
    End,
}

/// A request or stream under way.
struct Flight {
    lane: Lane,
    task: tokio::task::Id,
    began: Timestamp,
    /// The stream's headers came.
    open: bool,
    /// Which pull this is, among all.
    pull: u64,
    /// Dropped to make it give up.
    _hold: oneshot::Sender<()>,
}

struct Driver {
    shared: Arc<Shared>,
    engine: Engine,
    requests: Requests,
    tasks: JoinSet<Finished>,
    events: mpsc::Receiver<Input>,
    flights: HashMap<RequestId, Flight>,
    tickets: HashMap<RequestId, Ticket>,
    alarm: Alarm,
    /// When the alarm last rang: not at once again, whatever the engine asks for.
    rang_at: Option<Timestamp>,
    /// What the engine says now, it says because time has passed.
    on_time: bool,
    saving: Option<JoinHandle<std::io::Result<Until>>>,
    /// Commands up to this number are done as soon as nothing is under way.
    settling: Option<u64>,
    quiet: bool,
    stopping: bool,
}

impl Driver {
    /// Reads where the replica stands; `None` if the client was dropped meanwhile.
    async fn begin(shared: &Arc<Shared>) -> Option<Self> {
        let cursor = read_cursor(shared).await?;
        let mut floors = shared.floors_left();
        if floors.gate.is_zero() {
            floors.cause = None;
        }
        let config = Config {
            seed: locked(&shared.seed).u64(..),
            cursor,
            backlog: shared.replica.backlog(),
            floors,
            quiet: shared.timeouts.quiet,
            stream_headers_timeout: shared.timeouts.stream_headers,
            data_timeout: shared.timeouts.data,
            ready_timeout: shared.timeouts.ready,
            silence_min: shared.timeouts.silence_min,
            poll_every: shared.timeouts.poll_every,
            requests_per_minute: shared.limits.requests_per_minute,
        };
        let (sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
        let mut driver = Self {
            engine: Engine::new(clock::now(), config),
            requests: Requests::new(Arc::clone(shared), sender),
            tasks: JoinSet::new(),
            events,
            flights: HashMap::new(),
            tickets: HashMap::new(),
            alarm: Alarm::new(),
            rang_at: None,
            on_time: false,
            saving: None,
            settling: None,
            quiet: false,
            stopping: false,
            shared: Arc::clone(shared),
        };
        driver.repeat_hints();
        Some(driver)
    }

    /// Waits for one thing to happen, and handles it.
    async fn turn(&mut self) -> Turn {
        if self.settle() == Turn::End {
            return Turn::End;
        }
        let at = self.engine.poll_timeout();
        let soonest = self.rang_at.map(|rang| rang + Duration::from_millis(1));
        self.alarm
            .set(at.map(|at| soonest.map_or(at, |s| at.max(s))));
        tokio::select! {
            () = self.shared.mailbox.posted() => {
                if self.shared.mailbox.is_closed() {
                    self.stop();
                    return Turn::End;
                }
                if !self.stopping {
                    self.obey();
                }
            }
            Some(input) = self.events.recv() => self.on_event(input),
            Some(finished) = self.tasks.join_next_with_id(), if !self.tasks.is_empty() => {
                self.on_finished(finished);
            }
            saved = join(&mut self.saving), if self.saving.is_some() => self.on_saved(saved),
            () = self.alarm.ring() => {
                let now = clock::now();
                self.rang_at = Some(now);
                self.engine.handle_timeout(now);
                self.on_time = true;
                self.drain();
                self.on_time = false;
            }
        }
        Turn::GoOn
    }

    fn obey(&mut self) {
        let (commands, number) = self.shared.mailbox.take();
        for command in commands {
            tracing::debug!(target: "evenkeel", ?command, "told by the app");
            match command {
                Command::Start => {
                    self.quiet = false;
                    self.feed(Input::Start);
                }
                Command::Resume => {
                    self.quiet = false;
                    self.shared.transport.renew();
                    self.feed(Input::Resume);
                }
                Command::Suspend => {
                    self.quiet = true;
                    self.feed(Input::Suspend);
                    self.give_up_all();
                }
                Command::Stop => self.stop(),
                Command::Network(network) => self.network(network),
                Command::Foreground(true) => self.feed(Input::Hint(Hint::Foreground)),
                Command::Foreground(false) => self.feed(Input::Hint(Hint::Background)),
                Command::TokenChanged => self.feed(Input::Hint(Hint::TokenChanged)),
                Command::RetryNow => self.feed(Input::Hint(Hint::RetryNow)),
                Command::SyncNow => self.feed(Input::Hint(Hint::SyncNow)),
                Command::LocalWrite => {
                    self.feed(Input::LocalChange(self.shared.replica.backlog()));
                }
            }
        }
        // A wake-up without news must not make earlier commands forgotten.
        self.settling = self.settling.max(Some(number));
    }

    fn repeat_hints(&mut self) {
        let hints = *locked(&self.shared.hints);
        if let Some(network) = hints.network {
            self.network(network);
        }
        if hints.foreground == Some(false) {
            self.feed(Input::Hint(Hint::Background));
        }
        // What was posted before the start was noticed by nobody.
        self.obey();
    }

    fn network(&mut self, network: Network) {
        let hint = match network {
            Network::Up => Hint::NetworkUp,
            Network::Metered => Hint::NetworkMetered,
            Network::Down => Hint::NetworkDown,
        };
        if network != Network::Down {
            self.shared.transport.renew();
        }
        self.feed(Input::Hint(hint));
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.quiet = true;
        self.feed(Input::Stop);
        self.give_up_all();
    }

    /// Whether everything that was asked for is done, and if so says so.
    fn settle(&mut self) -> Turn {
        let idle = self.tasks.is_empty() && self.saving.is_none();
        if self.quiet && !idle {
            return Turn::GoOn;
        }
        if self.stopping {
            return Turn::End;
        }
        if let Some(number) = self.settling.take() {
            self.shared.mailbox.settle(number);
        }
        Turn::GoOn
    }

    fn feed(&mut self, input: Input) {
        self.engine.handle_input(clock::now(), input);
        self.drain();
    }

    fn drain(&mut self) {
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
            Output::Pull { id, from } => {
                self.shared
                    .caught_up
                    .send_modify(|caught_up| caught_up.pulls_begun += 1);
                self.begin_request(id, Lane::Pull, |r, hold| Box::pin(r.pull(id, from, hold)));
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
        work: impl FnOnce(Requests, oneshot::Receiver<()>) -> tasks::Work,
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
            _hold: hold,
        };
        self.flights.insert(id, flight);
    }

    fn abort(&mut self, id: RequestId) {
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
    fn give_up_all(&mut self) {
        self.flights.clear();
        self.tickets.clear();
        self.shared.transport.renew();
    }

    fn on_event(&mut self, input: Input) {
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

    fn on_finished(&mut self, finished: Result<(tokio::task::Id, Finished), JoinError>) {
        let (id, answer) = match finished {
            Ok((_, Finished { id, answer })) => (id, answer),
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
            self.note_failure(id, &flight, failure);
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
                }
                Input::Pulled { id, result }
            }
            Answer::Snapshotted(result) => Input::Snapshotted { id, result },
            // What waits now, not what waited when the answer was settled: a write in between has
            // announced itself already, and must not be forgotten again.
            Answer::Pushed(result) => Input::Pushed {
                id,
                result: result.map(|()| self.shared.replica.backlog()),
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

    fn note_failure(&self, id: RequestId, flight: &Flight, failure: &Failure) {
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

    fn publish(&mut self, status: &SyncStatus) {
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
        self.shared.status.send_replace(status);
    }

    /// Remembers what the server asked for; on disk too, where there is one.
    fn keep_floors(&mut self) {
        let now_ms = wall_ms();
        let until = Until::at(now_ms, &self.engine.floors(clock::now()));
        let mut known = locked(&self.shared.floors);
        if until.agrees(&known) || (until.is_over(now_ms) && known.is_over(now_ms)) {
            return;
        }
        *known = until;
        drop(known);
        self.save_floors();
    }

    fn save_floors(&mut self) {
        let Some(file) = &self.shared.floor_file else {
            return;
        };
        if self.saving.is_some() {
            // It looks again when it is done.
            return;
        }
        let file = file.clone();
        let until = *locked(&self.shared.floors);
        self.saving = Some(tokio::task::spawn_blocking(move || {
            file.save(&until).map(|()| until)
        }));
    }

    fn on_saved(&mut self, saved: Option<Until>) {
        self.saving = None;
        match saved {
            Some(saved) => {
                if saved != *locked(&self.shared.floors) {
                    self.save_floors();
                }
            }
            None => {
                tracing::warn!(target: "evenkeel", "the floors could not be saved");
                locked(&self.shared.journal).floor_save_failures += 1;
            }
        }
    }
}

/// The cursor, or none where it cannot be read: pages from the beginning are applied just as well,
/// and the store's trouble shows as soon as it has to write one.
async fn read_cursor(shared: &Arc<Shared>) -> Option<Option<Cursor>> {
    let reading = shared.replica.cursor();
    tokio::pin!(reading);
    loop {
        tokio::select! {
            cursor = &mut reading => {
                return Some(cursor.unwrap_or_else(|error| {
                    tracing::warn!(target: "evenkeel", %error, "the replica's cursor is unknown");
                    None
                }));
            }
            () = shared.mailbox.posted() => {
                if shared.mailbox.is_closed() {
                    return None;
                }
            }
        }
    }
}

fn overdue(flight: &Flight) -> Failure {
    match flight.lane {
        Lane::Token => Failure::local(Cause::TokenUnavailable, "no token in time"),
        _ if flight.open => Failure::local(Cause::StreamStalled, "nothing came in time"),
        _ => Failure::local(Cause::ResponseTimeout, "no answer in time"),
    }
}

async fn join<T>(handle: &mut Option<JoinHandle<std::io::Result<T>>>) -> Option<T> {
    match handle {
        Some(handle) => handle.await.ok()?.ok(),
        None => std::future::pending().await,
    }
}

const EVENTS_WAITING_MAX: usize = 64;

/// No step of the engine says more; a bound for the day when one does.
const OUTPUTS_MAX: usize = 1_000;
