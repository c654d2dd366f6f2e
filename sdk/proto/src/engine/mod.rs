//! The state machine that decides everything: what to send, when, and what to tell the app.
//!
//! Three lanes (stream, pull, push) send one request at a time each; one gate stands before all of
//! them. [`policy::rule`](crate::policy::rule) says what a failure means, [`retry`](crate::retry) how
//! long to wait. A wait is an armed timer: a lane whose timer is not armed may send.

mod account;
mod gate;
mod hints;
mod io;
mod lane;
mod pull;
mod push;
mod report;
mod stream;
mod timers;

use std::collections::VecDeque;
use std::time::Duration;

use account::{Account, Standing};
use gate::{Gate, Passage};
pub use io::{Backlog, Floors, Hint, Input, Output, Pulled, RequestId, StreamEvent, TokenError};
use lane::{Lane, LaneId};
use pull::Pull;
use push::Push;
use stream::Stream;
use timers::{Timer, TimerTable};

use crate::failure::RETRY_AFTER_MAX;
use crate::retry::Bucket;
use crate::status::{Lifecycle, SyncState, SyncStatus};
use crate::time::Timestamp;
use crate::wire::Cursor;

/// What the engine starts with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Seed of all jitter; two clients must not share one.
    pub seed: u64,
    /// How far the replica has come; `None` for one that never synced.
    pub cursor: Option<Cursor>,
    /// Up to this cursor the log has been read again, after the time for late commits: what the replica noted of
    /// [`Output::Pull`]'s `settles`. What lies between it and `cursor` is read again 10 s after the start; with 0,
    /// the default, the last 500 numbers.
    pub settled: Cursor,
    /// What waits in the outbox.
    pub backlog: Backlog,
    /// What the last run had to respect.
    pub floors: Floors,
    /// How long `syncing` must last before it is published after another state. 300 ms.
    pub quiet: Duration,
    /// Limit from a ticket's or stream's request to its headers. 15 s.
    pub stream_headers_timeout: Duration,
    /// Limit from a pull's, snapshot's or push's request to its answer. 65 s.
    pub data_timeout: Duration,
    /// Limit from a stream's headers to its `ready` event. 10 s.
    pub ready_timeout: Duration,
    /// A stream is never called silent before this, however fast its heartbeats come. 15 s.
    pub silence_min: Duration,
    /// The pace of what is tried without much prospect: polls come this often while the stream does
    /// not work (and up to a sixth later), the stream itself is tried half as often, and in a long
    /// outage all lanes together send no more than two requests in that time. 30 s.
    pub poll_every: Duration,
    /// Requests a minute that the client does not exceed in the long run, with bursts of half as
    /// many; well under the origin's limit of 180. 80.
    pub requests_per_minute: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            seed: 0,
            cursor: None,
            settled: Cursor::ZERO,
            backlog: Backlog::default(),
            floors: Floors::default(),
            quiet: Duration::from_millis(300),
            stream_headers_timeout: Duration::from_secs(15),
            data_timeout: Duration::from_secs(65),
            ready_timeout: Duration::from_secs(10),
            silence_min: Duration::from_secs(15),
            poll_every: Duration::from_secs(30),
            requests_per_minute: 80,
        }
    }
}

/// What stays of [`Config`] once the engine stands.
#[derive(Clone, Debug)]
struct Timing {
    quiet: Duration,
    stream_headers_timeout: Duration,
    data_timeout: Duration,
    ready_timeout: Duration,
    silence_min: Duration,
    poll_every: Duration,
}

/// One client's brain. Methods come in three kinds: `handle_*` (something happened), `poll_*` (what to
/// do now, and when to come back), and getters. After each `handle_*`, drain [`Engine::poll_output`],
/// then sleep until [`Engine::poll_timeout`].
///
/// ```
/// use evenkeel_proto::Timestamp;
/// use evenkeel_proto::engine::{Config, Engine, Input, Output};
///
/// let now = Timestamp::from_millis(0);
/// let mut engine = Engine::new(now, Config::default());
/// engine.handle_input(now, Input::Start);
/// let first = engine.poll_output();
/// assert!(matches!(first, Some(Output::Pull { .. })));
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    config: Timing,
    now: Timestamp,
    rng: fastrand::Rng,
    lifecycle: Lifecycle,
    timers: TimerTable,
    outputs: VecDeque<Output>,
    last_id: u32,
    lanes: [Lane; 3],
    gate: Gate,
    account: Account,
    stream: Stream,
    pull: Pull,
    push: Push,
    budget: Bucket,
    pace: Bucket,
    offline: bool,
    metered: bool,
    hidden: bool,
    /// When hints may cut a wait short again, by who hints.
    hints_from: [Timestamp; 2],
    published: SyncStatus,
    state_now: SyncState,
    state_since: Timestamp,
    last_proof_at: Option<Timestamp>,
    /// The need that the present proof answers.
    proof: Option<u32>,
}

impl Engine {
    /// An engine that does nothing until [`Input::Start`].
    #[must_use]
    pub fn new(now: Timestamp, config: Config) -> Self {
        let floors = config.floors;
        let mut lanes = [Lane::default(); 3];
        lanes[LaneId::Stream as usize].floor = now + floors.stream.min(RETRY_AFTER_MAX);
        lanes[LaneId::Pull as usize].floor = now + floors.pull.min(RETRY_AFTER_MAX);
        lanes[LaneId::Push as usize].floor = now + floors.push.min(RETRY_AFTER_MAX);
        let gate_floor = floors.gate.min(RETRY_AFTER_MAX);
        let per_minute = config.requests_per_minute.max(2);
        let poll_every = config.poll_every.clamp(POLL_EVERY_MIN, POLL_EVERY_MAX);
        Self {
            now,
            rng: fastrand::Rng::with_seed(config.seed),
            lifecycle: Lifecycle::Stopped,
            timers: TimerTable::new(),
            outputs: VecDeque::new(),
            last_id: 0,
            lanes,
            gate: Gate {
                passage: Passage::Closed,
                attempt: 0,
                floor: now + gate_floor,
                cause: floors.cause.filter(|_| !gate_floor.is_zero()),
            },
            account: Account {
                standing: Standing::Good,
                epoch: 0,
                refreshed: false,
            },
            stream: Stream::new(),
            pull: Pull::new(config.cursor, config.settled),
            push: Push {
                backlog: config.backlog,
                idle: 0,
            },
            budget: Bucket::new(BUDGET_TOKENS, poll_every / 2),
            pace: Bucket::new(per_minute / 2, Duration::from_secs(60) / per_minute),
            offline: false,
            metered: false,
            hidden: false,
            hints_from: [Timestamp::default(); 2],
            published: SyncStatus::initial(now),
            state_now: SyncState::Syncing,
            state_since: now,
            last_proof_at: None,
            proof: None,
            config: Timing {
                quiet: config.quiet,
                stream_headers_timeout: config.stream_headers_timeout,
                data_timeout: config.data_timeout,
                ready_timeout: config.ready_timeout,
                silence_min: config.silence_min,
                poll_every,
            },
        }
    }

    /// Something happened.
    pub fn handle_input(&mut self, now: Timestamp, input: Input) {
        let now = self.clock(now);
        match input {
            Input::Start => {
                if self.lifecycle == Lifecycle::Stopped {
                    self.trust_account();
                }
                self.go(now);
            }
            Input::Resume => {
                if self.lifecycle == Lifecycle::Suspended {
                    self.go(now);
                }
            }
            Input::Stop => {
                self.lifecycle = Lifecycle::Stopped;
                self.abort_all();
            }
            Input::Suspend => {
                if self.lifecycle == Lifecycle::Running {
                    self.lifecycle = Lifecycle::Suspended;
                    self.abort_all();
                }
            }
            Input::Progress { id } => self.on_progress(now, id),
            Input::Ticket { id, result } => self.on_ticket(now, id, result),
            Input::Opened { id, result } => self.on_opened(now, id, result),
            Input::Event { id, event } => self.on_event(now, id, event),
            Input::Closed { id, failure } => self.on_closed(now, id, failure),
            Input::Pulled { id, result } => self.on_pulled(now, id, result),
            Input::Snapshotted { id, result } => self.on_snapshotted(now, id, result),
            Input::Pushed { id, result } => self.on_pushed(now, id, result),
            Input::TokenRefreshed { id, result } => self.on_token(now, id, result),
            Input::LocalChange(backlog) => {
                self.push.idle = 0;
                self.set_backlog(backlog);
            }
            Input::Hint(hint) => self.on_hint(now, hint),
        }
        self.advance(now);
        self.report(now);
    }

    /// The time that [`Engine::poll_timeout`] named has come (harmless when it has not).
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let now = self.clock(now);
        while let Some((timer, due)) = self.timers.next().filter(|&(_, due)| due <= now) {
            self.timers.stop(timer);
            self.on_timer(now, timer, due);
        }
        self.advance(now);
        self.report(now);
    }

    /// The next thing to do; `None` when there is nothing now.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            // A quiet engine holds no memory but its own.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When to call [`Engine::handle_timeout`]; `None` for "not before the next input".
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.next().map(|(_, at)| at)
    }

    /// The status published last.
    #[must_use]
    pub fn status(&self) -> &SyncStatus {
        &self.published
    }

    /// What to keep over a restart.
    #[must_use]
    pub fn floors(&self, now: Timestamp) -> Floors {
        let left = |lane: LaneId| self.lanes[lane as usize].floor.since(now);
        Floors {
            gate: self.gate.floor.since(now),
            stream: left(LaneId::Stream),
            pull: left(LaneId::Pull),
            push: left(LaneId::Push),
            cause: self.gate.cause,
        }
    }

    /// Sends whatever may be sent.
    fn advance(&mut self, now: Timestamp) {
        if !self.may_send() {
            return;
        }
        match self.gate.passage {
            Passage::Open => {
                self.advance_pull(now);
                self.advance_push(now);
                self.advance_stream(now);
            }
            Passage::Closed if !self.timers.armed(Timer::Gate) => {
                if self.account.standing == Standing::Stale {
                    self.refresh(now);
                } else if self.in_pace(now) {
                    self.probe(now);
                }
            }
            Passage::Closed | Passage::HalfOpen(_) => {}
        }
    }

    fn may_send(&self) -> bool {
        self.lifecycle == Lifecycle::Running
            && !self.offline
            && matches!(self.account.standing, Standing::Good | Standing::Stale)
    }

    /// Whether the client's own pace allows one more request now; if not, it comes back for it.
    fn in_pace(&mut self, now: Timestamp) -> bool {
        let at = self.pace.earliest(now);
        if at > now {
            self.timers.arm(Timer::Pace, at);
        }
        at <= now
    }

    fn on_timer(&mut self, now: Timestamp, timer: Timer, due: Timestamp) {
        match timer {
            // A wait that is over: `advance` does the rest.
            Timer::Gate | Timer::StreamRetry | Timer::PullRetry => {}
            Timer::PushRetry | Timer::Pace | Timer::AwaitStream => {}
            Timer::StreamWatch => self.on_stream_watch(now, due),
            Timer::PullWatch => self.on_pull_watch(now, due),
            Timer::PushWatch => self.on_push_watch(now, due),
            Timer::TokenWatch => self.on_token_watch(now),
            Timer::Poll => self.on_poll(),
            Timer::Settle => self.on_settle(),
            Timer::Steady => self.on_steady(now),
            Timer::Grace => self.on_grace(),
            Timer::NoStream => self.on_no_stream(now),
            Timer::Quiet => self.on_quiet(now),
        }
    }

    fn go(&mut self, now: Timestamp) {
        if self.lifecycle != Lifecycle::Running {
            self.lifecycle = Lifecycle::Running;
            self.come_back(now);
        }
    }

    /// Goes on after a time of sending nothing, as far as the rest allows.
    fn come_back(&mut self, now: Timestamp) {
        if self.may_send() {
            self.need_proof();
            if !matches!(self.gate.passage, Passage::HalfOpen(_)) {
                self.probe_from(now);
            }
            self.settle_later(now);
        }
    }

    /// Gives up all that is under way, and every wait; floors stay.
    fn abort_all(&mut self) {
        let costs = [(Timer::Gate, 1), (Timer::Poll, 1)];
        let lanes = LaneId::ALL.map(|lane| (lane.retry(), lane.cost()));
        for (timer, cost) in costs.into_iter().chain(lanes) {
            if self.timers.armed(timer) {
                self.budget.give_back(cost);
            }
        }
        self.timers.stop_all();
        for lane in LaneId::ALL {
            if let Some(flight) = self.lane(lane).flight.take() {
                self.outputs.push_back(Output::Abort { id: flight.id });
            }
        }
        if let Standing::Refreshing(id) = self.account.standing {
            self.outputs.push_back(Output::Abort { id });
            self.account.standing = Standing::Stale;
        }
        self.reset_stream();
        self.reset_pull();
        self.gate.passage = Passage::Closed;
    }

    fn fresh_id(&mut self) -> RequestId {
        self.last_id = self.last_id.wrapping_add(1);
        RequestId(self.last_id)
    }

    /// A clock that stands still rather than going back.
    fn clock(&mut self, now: Timestamp) -> Timestamp {
        self.now = self.now.max(now);
        self.now
    }
}

/// Retries, probes and polls that may go out in a row; half a poll's interval earns one more.
const BUDGET_TOKENS: u32 = 10;
/// A pace beyond these would be a loop without a pause, or never.
const POLL_EVERY_MIN: Duration = Duration::from_millis(1);
const POLL_EVERY_MAX: Duration = Duration::from_secs(24 * 3_600);
