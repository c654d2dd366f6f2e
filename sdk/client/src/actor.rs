//! The one task that owns the engine: feeds it what happens, and does what it says.

mod answers;
mod floors;
mod outputs;
mod rest;
mod standby;
mod tasks;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use evenkeel_proto::engine::{Config, Engine, Hint, Input, RequestId};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Lifecycle, Timestamp};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::alarm::Alarm;
use crate::clock;
use crate::diagnostics::Lane;
use crate::guard::{caught, locked};
use crate::mailbox::{Command, Network};
use crate::replica::ReplicaError;
use crate::shared::Shared;
use crate::state::Until;
use crate::status::Status;
use crate::transport::Ticket;
use rest::{Lost, Rest};
use tasks::{Finished, Requests};

/// Runs the client until it is stopped or its last handle is dropped.
pub(crate) async fn run(running: Running) {
    let shared = &running.shared;
    let mut settling = None;
    loop {
        let stopped = match standby::begin(shared, settling.take()).await {
            Begun::At(position, number) => {
                let mut driver = Driver::begin(shared, &position, number);
                let mut turn = Turn::GoOn;
                while turn == Turn::GoOn {
                    turn = driver.turn().await;
                }
                if turn == Turn::Anew {
                    settling = driver.settling.take();
                    continue;
                }
                driver.settling.take()
            }
            Begun::Stopped(number) => Some(number),
            Begun::Dropped => return,
        };
        standby::release(shared).await;
        shared.status.send_if_modified(|status| {
            let ended = status.lifecycle != Lifecycle::Stopped;
            if ended {
                status.end();
            }
            ended
        });
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
            standby::release_unheard(shared);
            if shared.status.borrow().lifecycle != Lifecycle::Stopped {
                shared.status.send_modify(Status::end);
            }
        });
    }
}

/// What came of asking the replica where it stands.
enum Begun {
    /// With the commands that are done as soon as the engine has begun.
    At(Position, Option<u64>),
    /// The app stopped the client meanwhile, with the command of this number.
    Stopped(u64),
    Dropped,
}

/// How far the replica has come.
#[derive(Default)]
struct Position {
    cursor: Option<Cursor>,
    settled: Cursor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    GoOn,
    End,
    /// Another process has synced meanwhile, or does so now.
    Anew,
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
    /// The last question of another process that came before it.
    asked: u64,
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
    /// Resolves when another process took the store over.
    lost: Lost,
    rest: Rest,
    /// What the other processes were last told.
    told: Option<Status>,
    /// Commands up to this number are done as soon as nothing is under way.
    settling: Option<u64>,
    quiet: bool,
    stopping: bool,
}

impl Driver {
    fn begin(shared: &Arc<Shared>, position: &Position, settling: Option<u64>) -> Self {
        let mut floors = shared.floors_left();
        if floors.gate.is_zero() {
            floors.cause = None;
        }
        let config = Config {
            seed: locked(&shared.seed).u64(..),
            cursor: position.cursor,
            settled: position.settled,
            backlog: shared.backlog(),
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
            lost: rest::lost(shared),
            rest: Rest::None,
            told: None,
            settling,
            quiet: false,
            stopping: false,
            shared: Arc::clone(shared),
        };
        driver.repeat_hints();
        driver
    }

    /// Waits for one thing to happen, and handles it.
    async fn turn(&mut self) -> Turn {
        let turn = self.settle();
        if turn != Turn::GoOn {
            return turn;
        }
        let at = self.engine.poll_timeout();
        let soonest = self.rang_at.map(|rang| rang + Duration::from_millis(1));
        self.alarm
            .set(at.map(|at| soonest.map_or(at, |s| at.max(s))));
        tokio::select! {
            () = self.shared.mailbox.posted(), if !self.rest.is_over() => {
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
                // It may have failed for this very reason.
                if self.rest.is_none() && rest::is_ready(&mut self.lost).await {
                    self.lose();
                }
                self.on_finished(finished);
            }
            () = &mut self.lost, if self.rest.is_none() => self.lose(),
            rested = self.rest.next() => self.on_rested(rested),
            saved = floors::join(&mut self.saving), if self.saving.is_some() => self.on_saved(saved),
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
                Command::Start if self.rest.is_none() => {
                    self.quiet = false;
                    self.feed(Input::Start);
                }
                Command::Resume if self.rest.is_none() => self.resume(),
                Command::Start | Command::Resume => self.wake(),
                Command::Suspend => {
                    self.quiet = true;
                    self.feed(Input::Suspend);
                    self.give_up_all();
                    self.lie_down();
                }
                Command::Stop => self.stop(),
                Command::Network(network) => self.network(network),
                Command::Foreground(true) => self.feed(Input::Hint(Hint::Foreground)),
                Command::Foreground(false) => self.feed(Input::Hint(Hint::Background)),
                Command::TokenChanged => self.feed(Input::Hint(Hint::TokenChanged)),
                Command::RetryNow => self.feed(Input::Hint(Hint::RetryNow)),
                Command::SyncNow => self.feed(Input::Hint(Hint::SyncNow)),
                Command::LocalWrite => {
                    self.feed(Input::LocalChange(self.shared.backlog()));
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
        self.feed(Input::Start);
        // What was posted meanwhile was noticed by nobody.
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
        if self.rest.is_over() {
            return Turn::Anew;
        }
        if self.rest.is_changing() {
            return Turn::GoOn;
        }
        if let Some(number) = self.settling.take() {
            self.shared.mailbox.settle(number);
        }
        Turn::GoOn
    }
}

/// The replica's position, or none where it cannot be read: pages from the beginning are applied just as
/// well, and the store's trouble shows as soon as it has to write one.
async fn read_position(shared: &Arc<Shared>, settling: Option<u64>) -> Begun {
    let reading = caught(async {
        let cursor = shared.replica.cursor().await?;
        // Where it is unknown, a little is read once more.
        let settled = shared.replica.settled().await.unwrap_or_default();
        Ok::<_, ReplicaError>(Position { cursor, settled })
    });
    tokio::pin!(reading);
    loop {
        tokio::select! {
            position = &mut reading => {
                let position = match position {
                    Ok(Ok(position)) => position,
                    Ok(Err(error)) => {
                        tracing::warn!(target: "evenkeel", %error, "the replica's cursor is unknown");
                        Position::default()
                    }
                    Err(_panicked) => {
                        tracing::error!(target: "evenkeel", "the replica panicked");
                        Position::default()
                    }
                };
                return Begun::At(position, settling);
            }
            () = shared.mailbox.posted() => {
                if shared.mailbox.is_closed() {
                    return Begun::Dropped;
                }
                // A store that never answers must not keep a stop waiting.
                if let Some(number) = shared.mailbox.take_stop() {
                    return Begun::Stopped(number);
                }
            }
        }
    }
}

const EVENTS_WAITING_MAX: usize = 64;
