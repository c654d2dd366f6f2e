//! A state: the engine, what is under way, the service's mode, and what the onlooker knows.

mod acts;
mod ways;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use evenkeel_proto::engine::{Backlog, Config, Engine, Input, Output, RequestId};
use evenkeel_proto::{Ask, Cause, Lifecycle, Link, Request, SyncState, SyncStatus, Timestamp};

use super::onlooker::Onlooker;
use super::service::{Asked, Flight, Mode};
use super::{ANNOUNCED, Bounds, GOES_ON, NO_PANIC, PAUSED, PROOF, TICKETS};
use crate::Broken;
use crate::canon::{self, Canon};

/// Where a way begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// A client that never synced has just started.
    Fresh,
    /// A client has been synced for a minute.
    Synced,
    /// A synced client lost its stream to an open circuit: the gate is closed.
    Outage,
    /// Streams have failed for minutes: the client polls.
    Polling,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The service changes.
    Mode(Mode),
    /// This request is answered as the mode says.
    Answer(Request),
    /// The answer to this request is lost: only the watchdog ends it.
    Lose(Request),
    /// The open stream says `ready`.
    Ready,
    /// It says that it is alive.
    Heartbeat,
    /// It announces the last change.
    Announce,
    /// It ends properly.
    Close,
    /// It breaks.
    Break,
    /// Somebody else changes something on the server.
    Change,
    /// The app writes.
    Write,
    /// App or system.
    App(App),
    /// The time comes that the engine waits for; nothing else moves the clock.
    Time,
    /// It comes again and again until something is to be seen of it.
    Wait,
}

/// What app and system can do beside writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the engine's inputs")]
pub enum App {
    RetryNow,
    SyncNow,
    NetworkDown,
    NetworkUp,
    Suspend,
    Resume,
    /// The process ends, and begins with the floors that it kept.
    Restart,
    TokenChanged,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    id: RequestId,
    ready: bool,
    heard: Timestamp,
    /// The highest cursor that it announced.
    told: u64,
}

/// One state.
#[derive(Clone)]
pub struct World {
    now: Timestamp,
    engine: Engine,
    seed: u64,
    mode: Mode,
    flights: Vec<Flight>,
    /// The latest requests whose answers would come too late now.
    ended: Vec<(RequestId, Asked)>,
    tickets: Vec<(RequestId, Timestamp)>,
    open: Option<Open>,
    head: u64,
    /// How far the replica has come.
    cursor: Option<u64>,
    waiting: u32,
    offline: bool,
    left: Bounds,
    onlooker: Onlooker,
    /// Inputs have come since the last status.
    unsaid: bool,
    broken: Broken,
    steps: u32,
    canon: Canon,
}

impl World {
    pub(super) fn new(start: Start, seed: u64, bounds: Bounds) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let config = Config {
            seed,
            ..Config::default()
        };
        let mut world = Self {
            now,
            engine: Engine::new(now, config),
            seed,
            mode: Mode::Up,
            flights: Vec::new(),
            ended: Vec::new(),
            tickets: Vec::new(),
            open: None,
            head: 7,
            cursor: None,
            waiting: 0,
            offline: false,
            left: bounds,
            onlooker: Onlooker::new(now),
            unsaid: false,
            broken: Broken::default(),
            steps: 0,
            canon: Canon::default(),
        };
        world.input(Input::Start);
        match start {
            Start::Fresh => {}
            Start::Synced => world.live(Mode::Up, SYNCED_FOR),
            Start::Outage => {
                world.live(Mode::Up, SYNCED_FOR);
                world.close(Some(Cause::ConnectionLost));
                world.live(Mode::CircuitOpen, Duration::from_secs(10));
            }
            Start::Polling => {
                world.live(Mode::Up, SYNCED_FOR);
                world.close(Some(Cause::ConnectionLost));
                world.live(Mode::TicketsFail, Duration::from_secs(200));
            }
        }
        world.settle();
        world
    }

    pub(super) fn steps(&self) -> u32 {
        self.steps
    }

    pub(super) fn keeps(&self, promise: &'static str) -> bool {
        self.broken.holds(promise)
    }

    pub(super) fn is_synced(&self) -> bool {
        self.status().state == SyncState::Synced
    }

    pub(super) fn is_told_to_wait(&self) -> bool {
        self.onlooker.is_told_to_wait()
    }

    pub(super) fn polls(&self) -> bool {
        self.status().link == Link::Polling
    }

    /// Whether this is one of every `sample` states; which ones, their identity says.
    pub(super) fn drawn(&self, sample: u64) -> bool {
        self.canon[1].is_multiple_of(sample.max(1))
    }

    fn status(&self) -> SyncStatus {
        *self.engine.status()
    }

    fn backlog(&self) -> Backlog {
        Backlog {
            waiting: self.waiting,
            ..Backlog::default()
        }
    }

    fn end(&mut self, id: RequestId, asked: Asked) {
        self.ended.push((id, asked));
        if self.ended.len() > ENDED_MAX {
            self.ended.remove(0);
        }
    }

    fn input(&mut self, input: Input) {
        self.unsaid = true;
        let now = self.now;
        let engine = &mut self.engine;
        let calm = catch_unwind(AssertUnwindSafe(|| engine.handle_input(now, input)));
        if calm.is_err() {
            self.broken.note(NO_PANIC, "at an input");
        }
        self.drain();
    }

    /// The engine's next timeout comes; whether there was anything to be seen of it.
    fn time(&mut self) -> bool {
        let Some(at) = self.engine.poll_timeout() else {
            return false;
        };
        self.now = self.now.max(at);
        let now = self.now;
        let status = self.status();
        let announces = status.state == SyncState::Degraded && !self.unsaid;
        let engine = &mut self.engine;
        let calm = catch_unwind(AssertUnwindSafe(|| engine.handle_timeout(now)));
        if calm.is_err() {
            self.broken.note(NO_PANIC, "at a timeout");
        }
        let (seen, sent) = self.drain();
        if announces {
            let announced = status.next_attempt_at;
            if sent && announced != Some(now) {
                self.broken.note(
                    ANNOUNCED,
                    format_args!("sent at {now:?}, said {announced:?}"),
                );
            } else if !sent && announced == Some(now) && self.status().next_attempt_at == announced
            {
                self.broken.note(ANNOUNCED, "nothing came of it");
            }
        }
        if self.engine.poll_timeout().is_some_and(|next| next <= now) {
            self.broken.note(GOES_ON, "it asks for a time that is over");
        }
        seen
    }

    /// Carries out what the engine wants; whether it did anything, and whether it sent something.
    fn drain(&mut self) -> (bool, bool) {
        let (mut seen, mut sent) = (false, false);
        while let Some(output) = self.engine.poll_output() {
            seen = true;
            let (id, asked) = match output {
                Output::Publish(status) => {
                    self.on_status(status);
                    continue;
                }
                Output::Abort { id } => {
                    self.on_abort(id);
                    continue;
                }
                Output::RefreshToken { id } => (id, Asked::Token),
                Output::RequestTicket { id } => (id, Asked::Ticket),
                Output::OpenStream { id, ticket } => {
                    self.use_ticket(ticket);
                    (id, Asked::Events)
                }
                Output::Pull { id, from, .. } => (id, Asked::Pull(from)),
                Output::Snapshot { id, resume } => (id, Asked::Snapshot(resume)),
                Output::Push { id, ops_max } => (id, Asked::Push(self.waiting.min(ops_max))),
                _ => continue,
            };
            sent = true;
            self.on_sent(id, asked);
        }
        (seen, sent)
    }

    fn on_sent(&mut self, id: RequestId, asked: Asked) {
        let status = self.status();
        if self.offline || status.lifecycle != Lifecycle::Running || status.ask == Ask::SignIn {
            self.broken.note(PAUSED, format_args!("{asked:?}"));
        }
        let flight = Flight {
            id,
            asked,
            lost: false,
            fresh: true,
        };
        self.onlooker
            .on_sent(self.now, flight, &self.flights, &mut self.broken);
        self.flights.push(flight);
    }

    fn use_ticket(&mut self, ticket: RequestId) {
        match self.tickets.iter().position(|&(got, _)| got == ticket) {
            None => self
                .broken
                .note(TICKETS, "never got, used or aborted before"),
            Some(at) => {
                let (_, until) = self.tickets.remove(at);
                if until <= self.now {
                    self.broken.note(TICKETS, "expired");
                }
            }
        }
    }

    fn on_abort(&mut self, id: RequestId) {
        self.tickets.retain(|&(ticket, _)| ticket != id);
        self.onlooker.on_abort(id);
        if self.open.is_some_and(|open| open.id == id) {
            self.open = None;
            self.onlooker.live = false;
            self.end(id, Asked::Events);
        }
        if let Some(at) = self.flights.iter().position(|flight| flight.id == id) {
            let flight = self.flights.remove(at);
            self.end(id, flight.asked);
        }
    }

    fn on_status(&mut self, status: SyncStatus) {
        self.unsaid = false;
        let says_synced =
            status.state == SyncState::Synced && status.lifecycle == Lifecycle::Running;
        if says_synced && let Some(objection) = self.objection() {
            self.broken.note(PROOF, objection);
        }
    }

    fn objection(&self) -> Option<&'static str> {
        self.onlooker
            .objection(self.waiting, self.cursor.unwrap_or_default())
    }

    /// Looks at what has come of it, and finds out which state this is.
    fn settle(&mut self) {
        self.look_on();
        let text = format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.engine,
            (self.mode, self.head, self.cursor, self.waiting),
            self.flights,
            self.tickets,
            self.open,
            self.offline,
            self.left,
            self.onlooker,
            self.unsaid,
            self.broken.0,
        );
        self.canon = canon::of(&canon::engine_text(&text, self.now.as_millis()));
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.canon == other.canon
    }
}

impl Eq for World {}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canon.hash(state);
    }
}

/// What a counterexample needs.
impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status();
        f.debug_struct("World")
            .field("now", &self.now)
            .field("mode", &self.mode)
            .field("state", &status.state)
            .field("cause", &status.cause)
            .field("next", &status.next_attempt_at)
            .field("timeout", &self.engine.poll_timeout())
            .field("flights", &self.flights)
            .field("open", &self.open)
            .field("waiting", &self.waiting)
            .field("onlooker", &self.onlooker)
            .field("broken", &self.broken.0)
            .finish_non_exhaustive()
    }
}

const SYNCED_FOR: Duration = Duration::from_secs(75);
const TICKET_LIFE: Duration = Duration::from_secs(60);
/// The engine's own; see `Config::quiet`.
const QUIET: Duration = Duration::from_millis(300);
const ENDED_MAX: usize = 3;
