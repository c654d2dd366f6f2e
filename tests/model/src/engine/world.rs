//! A state: the engine, what is under way, the service's mode, and what the onlooker knows.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use evenkeel_proto::engine::{
    Backlog, Config, Engine, Hint, Input, Output, Pulled, RequestId, StreamEvent, TokenError,
};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{
    Ask, Cause, Failure, Lifecycle, Link, Request, SyncState, SyncStatus, Timestamp,
};

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

    /// Everything that can happen next.
    pub(super) fn actions(&self, actions: &mut Vec<Action>) {
        let left = &self.left;
        for flight in self.flights.iter().filter(|flight| !flight.lost) {
            let request = flight.asked.request();
            actions.push(Action::Answer(request));
            if left.losses > 0 {
                actions.push(Action::Lose(request));
            }
        }
        if let Some(open) = self.open {
            if !open.ready {
                actions.push(Action::Ready);
            } else if open.heard < self.now {
                actions.push(Action::Heartbeat);
            }
            if open.ready && open.told < self.head {
                actions.push(Action::Announce);
            }
            if left.breaks > 0 {
                actions.extend([Action::Close, Action::Break]);
            }
        }
        if self.engine.poll_timeout().is_some() {
            actions.extend([Action::Time, Action::Wait]);
        }
        if left.modes > 0 {
            let others = Mode::ALL.into_iter().filter(|&mode| mode != self.mode);
            actions.extend(others.map(Action::Mode));
        }
        if left.changes > 0 {
            actions.push(Action::Change);
        }
        if left.writes > 0 {
            actions.push(Action::Write);
        }
        self.app_actions(actions);
    }

    fn app_actions(&self, actions: &mut Vec<Action>) {
        if let Some(way_back) = self.way_back() {
            actions.push(Action::App(way_back));
        } else if self.left.app > 0 {
            let all = [
                App::RetryNow,
                App::SyncNow,
                App::NetworkDown,
                App::Suspend,
                App::Restart,
            ];
            actions.extend(all.map(Action::App));
        }
    }

    /// What only app or system can end.
    fn way_back(&self) -> Option<App> {
        let status = self.status();
        match status.ask {
            _ if self.offline => Some(App::NetworkUp),
            _ if status.lifecycle == Lifecycle::Suspended => Some(App::Resume),
            Ask::SignIn => Some(App::TokenChanged),
            _ => None,
        }
    }

    /// The state that this leads to.
    pub(super) fn after(&self, action: Action) -> Option<Self> {
        let mut world = self.clone();
        world.steps += 1;
        world.act(action);
        world.settle();
        (world.canon != self.canon).then_some(world)
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Mode(mode) => {
                self.left.modes -= 1;
                self.mode = mode;
            }
            Action::Answer(request) => self.answer(request),
            Action::Lose(request) => {
                self.left.losses -= 1;
                let flight = self
                    .flights
                    .iter_mut()
                    .find(|flight| flight.asked.request() == request);
                if let Some(flight) = flight {
                    flight.lost = true;
                }
            }
            Action::Ready => self.event(StreamEvent::Ready),
            Action::Heartbeat => self.event(StreamEvent::Heartbeat),
            Action::Announce => self.event(StreamEvent::Sync(Cursor(self.head))),
            Action::Close | Action::Break => {
                self.left.breaks -= 1;
                self.close((action == Action::Break).then_some(Cause::ConnectionLost));
            }
            Action::Change => {
                self.left.changes -= 1;
                self.head += 1;
            }
            Action::Write => {
                self.left.writes -= 1;
                self.waiting += 1;
                self.input(Input::LocalChange(self.backlog()));
            }
            Action::App(app) => self.app(app),
            Action::Time => {
                self.time();
            }
            Action::Wait => {
                for _ in 0..WAIT_MAX {
                    if self.time() || self.engine.poll_timeout().is_none() {
                        break;
                    }
                }
            }
        }
    }

    fn app(&mut self, app: App) {
        let ends = matches!(app, App::NetworkUp | App::Resume | App::TokenChanged);
        self.left.app -= u8::from(!ends);
        match app {
            App::RetryNow => self.input(Input::Hint(Hint::RetryNow)),
            App::SyncNow => {
                self.onlooker.need(0, &mut self.flights);
                self.input(Input::Hint(Hint::SyncNow));
            }
            App::NetworkDown => {
                self.offline = true;
                self.onlooker.pause();
                self.input(Input::Hint(Hint::NetworkDown));
            }
            App::NetworkUp => {
                self.offline = false;
                self.input(Input::Hint(Hint::NetworkUp));
            }
            App::Suspend => {
                self.onlooker.pause();
                self.input(Input::Suspend);
            }
            App::Resume => self.input(Input::Resume),
            App::Restart => self.restart(),
            App::TokenChanged => {
                self.onlooker.pause();
                self.input(Input::Hint(Hint::TokenChanged));
            }
        }
    }

    fn restart(&mut self) {
        let config = Config {
            seed: self.seed,
            cursor: self.cursor.map(Cursor),
            backlog: self.backlog(),
            floors: self.engine.floors(self.now),
            ..Config::default()
        };
        self.engine = Engine::new(self.now, config);
        self.flights.clear();
        self.ended.clear();
        self.tickets.clear();
        self.open = None;
        self.onlooker.restart(self.now);
        self.input(Input::Start);
    }

    fn backlog(&self) -> Backlog {
        Backlog {
            waiting: self.waiting,
            ..Backlog::default()
        }
    }

    /// The mode decides what is answered.
    fn answer(&mut self, request: Request) {
        let of = |flight: &Flight| !flight.lost && flight.asked.request() == request;
        let Some(at) = self.flights.iter().position(of) else {
            return;
        };
        let flight = self.flights.remove(at);
        self.end(flight.id, flight.asked);
        let id = flight.id;
        let failure = self.mode.refuses(request);
        let flights = &self.flights;
        self.onlooker
            .on_answer(self.now, flight, failure.as_ref(), flights);
        let result = failure.map_or(Ok(()), Err);
        let input = match flight.asked {
            Asked::Ticket => {
                let life = match self.mode {
                    Mode::TicketsExpired => Duration::ZERO,
                    _ => TICKET_LIFE,
                };
                let until = self.now + life;
                if result.is_ok() {
                    self.tickets.push((id, until));
                }
                Input::Ticket {
                    id,
                    result: result.map(|()| until),
                }
            }
            Asked::Events => {
                if result.is_ok() {
                    self.open = Some(Open {
                        id,
                        ready: false,
                        heard: self.now,
                        told: 0,
                    });
                }
                Input::Opened { id, result }
            }
            Asked::Pull(from) => {
                let result = result.map(|()| self.page(from, flight.fresh));
                Input::Pulled { id, result }
            }
            Asked::Snapshot(resume) => {
                let cursor = resume.map_or(self.head, |resume| resume.0);
                if result.is_ok() {
                    self.cursor = Some(cursor);
                }
                Input::Snapshotted {
                    id,
                    result: result.map(|()| Cursor(cursor)),
                }
            }
            Asked::Push(count) => {
                if result.is_ok() {
                    self.waiting = self.waiting.saturating_sub(count);
                    self.head += 1;
                }
                Input::Pushed {
                    id,
                    result: result.map(|()| self.backlog()),
                }
            }
            Asked::Token => Input::TokenRefreshed { id, result: Ok(()) },
        };
        self.input(input);
    }

    fn page(&mut self, from: Cursor, fresh: bool) -> Pulled {
        let reset_required = self.mode == Mode::Reset;
        let next = self.head.max(from.0);
        let changes = match reset_required {
            true => 0,
            false => u32::try_from(next - from.0).unwrap_or(u32::MAX),
        };
        if !reset_required {
            self.cursor = self.cursor.max(Some(next));
            self.onlooker.proved |= fresh && changes == 0;
        }
        Pulled {
            changes,
            next: Cursor(next),
            reset_required,
        }
    }

    fn event(&mut self, event: StreamEvent) {
        let Some(open) = &mut self.open else {
            return;
        };
        let id = open.id;
        open.heard = self.now;
        match event {
            StreamEvent::Ready => {
                open.ready = true;
                self.onlooker.live = true;
                self.onlooker.need(self.head, &mut self.flights);
            }
            StreamEvent::Sync(Cursor(cursor)) => {
                open.told = cursor;
                if Some(cursor) > self.cursor {
                    self.onlooker.need(cursor, &mut self.flights);
                }
            }
            _ => {}
        }
        self.input(Input::Event { id, event });
    }

    fn close(&mut self, cause: Option<Cause>) {
        if let Some(open) = self.open.take() {
            self.onlooker.live = false;
            self.end(open.id, Asked::Events);
            let failure = cause.map(|cause| Failure::local(cause, "the stream ended"));
            self.input(Input::Closed {
                id: open.id,
                failure,
            });
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
                Output::Pull { id, from } => (id, Asked::Pull(from)),
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

    /// Whether answers to requests that are over change anything: they are all given to a copy of the engine.
    pub(super) fn ignores_late_answers(&self) -> bool {
        if self.ended.is_empty() {
            return true;
        }
        let mut engine = self.engine.clone();
        for &(id, asked) in &self.ended {
            for input in self.late(id, asked) {
                engine.handle_input(self.now, input);
                if engine.poll_output().is_some() {
                    return false;
                }
            }
        }
        untimed(&engine) == untimed(&self.engine)
    }

    fn late(&self, id: RequestId, asked: Asked) -> Vec<Input> {
        let failure = || Failure::local(Cause::CircuitOpen, "late");
        match asked {
            Asked::Ticket => vec![
                Input::Ticket {
                    id,
                    result: Ok(self.now + TICKET_LIFE),
                },
                Input::Ticket {
                    id,
                    result: Err(failure()),
                },
            ],
            Asked::Events => {
                let result = Ok(());
                let mut inputs = vec![Input::Opened { id, result }];
                if self.open.is_none_or(|open| open.id != id) {
                    let sync = StreamEvent::Sync(Cursor(self.head + 5));
                    let events = [StreamEvent::Ready, sync];
                    inputs.extend(events.map(|event| Input::Event { id, event }));
                    let failure = Some(failure());
                    inputs.push(Input::Closed { id, failure });
                }
                inputs
            }
            Asked::Pull(_) => {
                let page = Pulled {
                    changes: 0,
                    next: Cursor(self.head + 5),
                    reset_required: false,
                };
                vec![
                    Input::Pulled {
                        id,
                        result: Ok(page),
                    },
                    Input::Pulled {
                        id,
                        result: Err(failure()),
                    },
                ]
            }
            Asked::Snapshot(_) => vec![Input::Snapshotted {
                id,
                result: Ok(Cursor(self.head + 5)),
            }],
            Asked::Push(_) => vec![
                Input::Pushed {
                    id,
                    result: Ok(Backlog::default()),
                },
                Input::Pushed {
                    id,
                    result: Err(failure()),
                },
            ],
            Asked::Token => vec![Input::TokenRefreshed {
                id,
                result: Err(TokenError::SignedOut),
            }],
        }
    }

    /// From here the service is healthy and everything is answered that is not lost already: how long `synced`
    /// takes, or what it stopped at.
    pub(super) fn heal(&self) -> Result<Duration, String> {
        let mut world = self.clone();
        world.mode = Mode::Up;
        while let Some(way_back) = world.way_back() {
            world.app(way_back);
        }
        for _ in 0..HEAL_STEPS_MAX {
            let took = world.now.since(self.now);
            if world.is_synced() && world.flights.is_empty() && world.objection().is_none() {
                return match world.broken.0.first() {
                    None => Ok(took),
                    Some(broken) => Err(format!("on the way back: {broken:?}")),
                };
            }
            if took > HEAL_MAX {
                break;
            }
            world.go_on();
            world.look_on();
        }
        Err(format!(
            "not synced after {:?}: {world:?}",
            world.now.since(self.now)
        ))
    }

    /// The service works through everything as it comes; then time passes.
    fn go_on(&mut self) {
        if let Some(flight) = self.flights.iter().find(|flight| !flight.lost) {
            self.answer(flight.asked.request());
            return;
        }
        let beat = match self.open {
            Some(open) if !open.ready => return self.event(StreamEvent::Ready),
            Some(open) if open.told < self.head => {
                return self.event(StreamEvent::Sync(Cursor(self.head)));
            }
            Some(open) => open.heard + HEARTBEAT,
            None => Timestamp::from_millis(u64::MAX),
        };
        if self.engine.poll_timeout().is_some_and(|at| at <= beat) {
            self.time();
        } else if self.open.is_some() {
            self.now = self.now.max(beat);
            self.event(StreamEvent::Heartbeat);
        }
    }

    fn look_on(&mut self) {
        let cursor = self.cursor.unwrap_or_default();
        let outlived = self.onlooker.look(self.now, self.waiting, cursor, QUIET);
        let status = self.status();
        if outlived && status.state == SyncState::Synced && status.lifecycle == Lifecycle::Running {
            self.broken.note(PROOF, "longer than its proof lasts");
        }
    }

    /// So long in this mode, with every answer given.
    fn live(&mut self, mode: Mode, span: Duration) {
        self.mode = mode;
        let until = self.now + span;
        for _ in 0..HEAL_STEPS_MAX {
            if self.now >= until {
                return;
            }
            self.go_on();
            self.look_on();
        }
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

/// An engine's debug text, but for the moment at which it last looked at its state: nothing follows from that one
/// until the state changes.
fn untimed(engine: &Engine) -> String {
    let text = format!("{engine:?}");
    let (before, rest) = text.split_once(" state_since: ").unwrap_or((&text, ""));
    let (_, after) = rest.split_once(')').unwrap_or_default();
    format!("{before}{after}")
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
const HEARTBEAT: Duration = Duration::from_secs(20);
/// The engine's own; see `Config::quiet`.
const QUIET: Duration = Duration::from_millis(300);
/// Timeouts in a row of which nothing is to be seen.
const WAIT_MAX: u32 = 12;
const ENDED_MAX: usize = 3;
/// The slow class's longest wait and a request that has to run into its watchdog, with room.
const HEAL_MAX: Duration = Duration::from_secs(15 * 60);
const HEAL_STEPS_MAX: u32 = 2_000;
