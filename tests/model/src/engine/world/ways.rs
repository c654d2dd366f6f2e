//! What is tried from a state: answers that come too late, and the whole way back.

use std::time::Duration;

use evenkeel_proto::engine::{Backlog, Engine, Input, Pulled, RequestId, StreamEvent, TokenError};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Cause, Failure, Lifecycle, SyncState, Timestamp};

use super::{QUIET, TICKET_LIFE, World};
use crate::engine::PROOF;
use crate::engine::service::{Asked, Mode};

impl World {
    /// Whether answers to requests that are over change anything: they are all given to a copy of the engine.
    pub(in crate::engine) fn ignores_late_answers(&self) -> bool {
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
    pub(in crate::engine) fn heal(&self) -> Result<Duration, String> {
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
    pub(super) fn go_on(&mut self) {
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

    pub(super) fn look_on(&mut self) {
        let cursor = self.cursor.unwrap_or_default();
        let outlived = self.onlooker.look(self.now, self.waiting, cursor, QUIET);
        let status = self.status();
        if outlived && status.state == SyncState::Synced && status.lifecycle == Lifecycle::Running {
            self.broken.note(PROOF, "longer than its proof lasts");
        }
    }

    /// So long in this mode, with every answer given.
    pub(super) fn live(&mut self, mode: Mode, span: Duration) {
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

/// An engine's debug text, but for the moment at which it last looked at its state: nothing follows from that one
/// until the state changes.
fn untimed(engine: &Engine) -> String {
    let text = format!("{engine:?}");
    let (before, rest) = text.split_once(" state_since: ").unwrap_or((&text, ""));
    let (_, after) = rest.split_once(')').unwrap_or_default();
    format!("{before}{after}")
}

const HEARTBEAT: Duration = Duration::from_secs(20);
/// The slow class's longest wait and a request that has to run into its watchdog, with room.
const HEAL_MAX: Duration = Duration::from_secs(15 * 60);
const HEAL_STEPS_MAX: u32 = 2_000;
