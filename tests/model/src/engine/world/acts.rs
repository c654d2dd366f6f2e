//! What can happen in a state, and what becomes of it.

use std::time::Duration;

use evenkeel_proto::engine::{Config, Engine, Hint, Input, Pulled, StreamEvent};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Ask, Cause, Failure, Lifecycle, Request};

use super::{Action, App, Open, TICKET_LIFE, World};
use crate::engine::service::{Asked, Flight, Mode};

impl World {
    /// Everything that can happen next.
    pub(in crate::engine) fn actions(&self, actions: &mut Vec<Action>) {
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
    pub(super) fn way_back(&self) -> Option<App> {
        let status = self.status();
        match status.ask {
            _ if self.offline => Some(App::NetworkUp),
            _ if status.lifecycle == Lifecycle::Suspended => Some(App::Resume),
            Ask::SignIn => Some(App::TokenChanged),
            _ => None,
        }
    }

    /// The state that this leads to.
    pub(in crate::engine) fn after(&self, action: Action) -> Option<Self> {
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

    pub(super) fn app(&mut self, app: App) {
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

    /// The mode decides what is answered.
    pub(super) fn answer(&mut self, request: Request) {
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

    pub(super) fn event(&mut self, event: StreamEvent) {
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

    pub(super) fn close(&mut self, cause: Option<Cause>) {
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
}

/// Timeouts in a row of which nothing is to be seen.
const WAIT_MAX: u32 = 12;
