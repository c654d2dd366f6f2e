//! The engine that ships, with its default settings.

use std::time::Duration;

use evenkeel_proto::engine::{
    Backlog, Config, Engine, Input, Output, Pulled, RequestId, StreamEvent,
};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Failure, Timestamp};

use crate::client::{Action, Client, Lane, News, Request, Trouble};
use crate::wheel::Ms;

/// How long a ticket lives (the contract's default).
const TICKET_LIFE: Duration = Duration::from_secs(60);

/// One engine, and the names of what it has under way.
#[derive(Debug)]
pub struct Evenkeel {
    engine: Engine,
    ids: [Option<RequestId>; 3],
    /// What the stream's lane asked for last.
    asked_ticket: bool,
}

impl Evenkeel {
    fn id(&self, lane: Lane) -> Option<RequestId> {
        self.ids[lane as usize]
    }
}

impl Client for Evenkeel {
    fn new(seed: u64) -> Self {
        let config = Config {
            seed,
            cursor: Some(Cursor::ZERO),
            ..Config::default()
        };
        Self {
            engine: Engine::new(Timestamp::default(), config),
            ids: [None; 3],
            asked_ticket: false,
        }
    }

    fn hear(&mut self, now: Ms, news: News) {
        let Some(input) = self.input(now, news) else {
            return;
        };
        self.engine.handle_input(time(now), input);
    }

    fn tick(&mut self, now: Ms) {
        self.engine.handle_timeout(time(now));
    }

    fn act(&mut self) -> Option<Action> {
        loop {
            let (lane, id, action) = match self.engine.poll_output()? {
                Output::RequestTicket { id } => {
                    self.asked_ticket = true;
                    (Lane::Stream, id, Action::Send(Request::Ticket, 0))
                }
                Output::OpenStream { id, .. } => {
                    self.asked_ticket = false;
                    (Lane::Stream, id, Action::Send(Request::Events, 0))
                }
                Output::Pull { id, from, .. } => {
                    let from = u32::try_from(from.0).unwrap_or(u32::MAX);
                    (Lane::Pull, id, Action::Send(Request::Pull, from))
                }
                Output::Push { id, .. } => (Lane::Push, id, Action::Send(Request::Push, 0)),
                Output::Abort { id } => {
                    let lanes = [Lane::Stream, Lane::Pull, Lane::Push];
                    let Some(lane) = lanes.into_iter().find(|&lane| self.id(lane) == Some(id))
                    else {
                        continue;
                    };
                    self.ids[lane as usize] = None;
                    return Some(Action::Abort(lane));
                }
                _ => continue,
            };
            self.ids[lane as usize] = Some(id);
            return Some(action);
        }
    }

    fn wake(&self) -> Option<Ms> {
        let at = self.engine.poll_timeout()?.as_millis();
        Some(Ms::try_from(at).unwrap_or(Ms::MAX))
    }
}

impl Evenkeel {
    fn input(&self, now: Ms, news: News) -> Option<Input> {
        Some(match news {
            News::Start => Input::Start,
            News::Wrote(waiting) => Input::LocalChange(backlog(waiting)),
            News::Stream(result) if self.asked_ticket => Input::Ticket {
                id: self.id(Lane::Stream)?,
                result: result.map(|()| time(now) + TICKET_LIFE).map_err(failure),
            },
            News::Stream(result) => Input::Opened {
                id: self.id(Lane::Stream)?,
                result: result.map_err(failure),
            },
            News::Ready => self.event(StreamEvent::Ready)?,
            News::Heartbeat => self.event(StreamEvent::Heartbeat)?,
            News::Sync(cursor) => self.event(StreamEvent::Sync(Cursor(cursor.into())))?,
            News::Retry(field) => self.event(StreamEvent::Retry(field))?,
            News::Closed(trouble) => Input::Closed {
                id: self.id(Lane::Stream)?,
                failure: trouble.map(failure),
            },
            News::Pulled(result) => Input::Pulled {
                id: self.id(Lane::Pull)?,
                result: result.map_err(failure).map(|(changes, next)| Pulled {
                    changes,
                    next: Cursor(next.into()),
                    reset_required: false,
                }),
            },
            News::Pushed(result) => Input::Pushed {
                id: self.id(Lane::Push)?,
                result: result.map(backlog).map_err(failure),
            },
        })
    }

    fn event(&self, event: StreamEvent) -> Option<Input> {
        let id = self.id(Lane::Stream)?;
        Some(Input::Event { id, event })
    }
}

fn time(now: Ms) -> Timestamp {
    Timestamp::from_millis(now.into())
}

fn backlog(waiting: u32) -> Backlog {
    Backlog {
        waiting,
        ..Backlog::default()
    }
}

fn failure(trouble: Trouble) -> Failure {
    let mut failure = Failure::local(trouble.cause, "");
    // Dates are read against the answer's own `Date` (proto's `failure`), so the device's clock has no say.
    failure.retry_after = trouble.retry_after;
    failure
}
