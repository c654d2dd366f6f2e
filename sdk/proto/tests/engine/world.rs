//! Two sides in virtual time: the engine, and a service that does what the scenario says. After each
//! step the promises that hold always are checked.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use evenkeel_proto::engine::{
    Backlog, Config, Engine, Input, Output, Pulled, RequestId, StreamEvent, TokenError,
};
use evenkeel_proto::policy::{self, Class, Scope};
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Cause, Failure, Lifecycle, Link, Request, SyncState, SyncStatus, Timestamp};

use super::replica::Replica;

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What the service does with one kind of request.
#[derive(Clone, Debug)]
pub enum Mood {
    Works,
    Fails(Failure),
    /// Never answers.
    Silent,
}

/// A client whose replica has come that far.
pub fn config_at(cursor: u64) -> Config {
    Config {
        cursor: Some(Cursor(cursor)),
        ..Config::default()
    }
}

pub fn fails(cause: Cause) -> Mood {
    let mut failure = Failure::local(cause, "scripted");
    if cause == Cause::AuthRequired {
        // As the service says it. Without an answer of the service it would be the app's word.
        failure.http_status = Some(401);
    }
    Mood::Fails(failure)
}

pub fn fails_after(cause: Cause, retry_after: Duration) -> Mood {
    let mut failure = Failure::local(cause, "scripted");
    failure.retry_after = Some(retry_after);
    Mood::Fails(failure)
}

/// The scripted service.
pub struct Service {
    pub latency: Duration,
    pub ticket: Mood,
    pub ticket_life: Duration,
    pub events: Mood,
    pub pull: Mood,
    pub snapshot: Mood,
    pub push: Mood,
    pub token: Result<(), TokenError>,
    /// Whether `ready` follows the headers of a stream.
    pub ready: bool,
    pub heartbeat: Option<Duration>,
    /// Whether a push takes anything off the outbox.
    pub settles: bool,
    /// The stream is closed properly after this long.
    pub stream_life: Option<Duration>,
    /// The last change's cursor.
    pub head: u64,
    /// Pulls from below this cursor are told to reset.
    pub pruned_below: u64,
    /// Whether it says its last change's cursor then, and with an empty page.
    pub shows_head: bool,
    /// Where the log of all users ends, which an empty page tells; 0 for a service that does not.
    pub log_end: u64,
}

impl Service {
    pub fn heal(&mut self) {
        *self = Self {
            latency: self.latency.min(secs(3)),
            head: self.head,
            ..Self::default()
        };
    }

    pub fn all(&mut self, mood: &Mood) {
        self.ticket = mood.clone();
        self.events = mood.clone();
        self.pull = mood.clone();
        self.snapshot = mood.clone();
        self.push = mood.clone();
    }
}

impl Default for Service {
    fn default() -> Self {
        Self {
            latency: ms(20),
            ticket: Mood::Works,
            ticket_life: secs(60),
            events: Mood::Works,
            pull: Mood::Works,
            snapshot: Mood::Works,
            push: Mood::Works,
            token: Ok(()),
            ready: true,
            heartbeat: Some(secs(20)),
            settles: true,
            stream_life: None,
            head: 7,
            pruned_below: 0,
            shows_head: true,
            log_end: 0,
        }
    }
}

/// A request as the service saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub at: Timestamp,
    pub request: Request,
    pub id: RequestId,
}

struct Due {
    at: Timestamp,
    order: u64,
    input: Input,
}

pub struct World {
    pub now: Timestamp,
    pub engine: Engine,
    pub service: Service,
    pub sent: Vec<Sent>,
    pub said: Vec<(Timestamp, SyncStatus)>,
    pub refreshes: Vec<Timestamp>,
    pub waiting: u32,
    /// How often the engine asked to be woken.
    pub wakes: u32,
    pub replica: Replica,
    /// Where each pull read from.
    pub read_from: Vec<(Timestamp, Cursor)>,
    due: Vec<Due>,
    order: u64,
    open: Option<RequestId>,
    ended: Vec<RequestId>,
    answered: Vec<RequestId>,
    tickets: Vec<(RequestId, Timestamp)>,
    promises: Promises,
}

/// What an onlooker can hold the engine to.
#[derive(Default)]
struct Promises {
    /// Nothing of this kind before that time.
    floors: Vec<(Option<Request>, Timestamp)>,
    /// The whole client was told to stay away, and nothing has worked since.
    closed: bool,
    /// Requests sent since then and not answered.
    probes: Vec<RequestId>,
    /// Requests that were already under way when it was told; one may have been a probe that an
    /// onlooker could not know for one.
    maybe: Vec<RequestId>,
    /// Rises with whatever demands a new proof.
    need: u64,
    live: bool,
    /// Need when each pull under way began.
    pulls: Vec<(RequestId, u64)>,
    proved: Option<u64>,
    cursor: Option<Cursor>,
    reset: bool,
    inputs_since_said: u32,
}

impl World {
    pub fn new() -> Self {
        Self::with(Config::default(), Service::default())
    }

    pub fn with(config: Config, service: Service) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        Self {
            now,
            waiting: config.backlog.waiting,
            replica: Replica::new(now, &config),
            engine: Engine::new(now, config),
            service,
            sent: Vec::new(),
            said: Vec::new(),
            refreshes: Vec::new(),
            wakes: 0,
            read_from: Vec::new(),
            due: Vec::new(),
            order: 0,
            open: None,
            ended: Vec::new(),
            answered: Vec::new(),
            tickets: Vec::new(),
            promises: Promises::default(),
        }
    }

    /// A client that has started and is synced, some time ago.
    pub fn synced() -> Self {
        Self::synced_with_seed(0)
    }

    pub fn synced_with_seed(seed: u64) -> Self {
        let config = Config {
            seed,
            ..Config::default()
        };
        let mut world = Self::with(config, Service::default());
        world.input(Input::Start);
        world.run_until("synced", secs(5), World::is_synced);
        world.run(secs(70));
        world
    }

    pub fn status(&self) -> SyncStatus {
        *self.engine.status()
    }

    pub fn is_synced(&self) -> bool {
        self.status().state == SyncState::Synced
    }

    pub fn is_degraded(&self) -> bool {
        self.status().state == SyncState::Degraded
    }

    pub fn polls(&self) -> bool {
        self.status().link == Link::Polling
    }

    pub fn input(&mut self, input: Input) {
        self.trace(&input);
        self.before(&input);
        self.promises.inputs_since_said += 1;
        self.engine.handle_input(self.now, input);
        self.drain(None);
    }

    pub fn local_writes(&mut self, count: u32) {
        self.waiting += count;
        self.input(Input::LocalChange(Backlog {
            waiting: self.waiting,
            ..Backlog::default()
        }));
    }

    /// A write every five seconds. Where these are pushed, it is not the whole client that fails.
    pub fn writes_on(&mut self, writes: u32) {
        for _ in 0..writes {
            self.local_writes(1);
            self.run(secs(5));
        }
    }

    /// A change on the server, announced on the stream.
    pub fn change(&mut self) {
        self.service.head += 1;
        self.announce(self.service.head);
    }

    pub fn announce(&mut self, cursor: u64) {
        if let Some(id) = self.open {
            let event = StreamEvent::Sync(Cursor(cursor));
            self.later(ms(1), Input::Event { id, event });
        }
    }

    pub fn event(&mut self, event: StreamEvent) {
        let id = self.open.expect("a stream is open");
        self.input(Input::Event { id, event });
    }

    /// Ends the open stream, properly or not.
    pub fn cut(&mut self, cause: Option<Cause>) {
        if let Some(id) = self.open.take() {
            let failure = cause.map(|cause| Failure::local(cause, "cut"));
            self.input(Input::Closed { id, failure });
        }
    }

    pub fn has_stream(&self) -> bool {
        self.open.is_some()
    }

    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// The device sleeps: what was due in between comes late, all at once.
    pub fn sleep(&mut self, span: Duration) {
        self.now = self.now + span;
        for due in &mut self.due {
            due.at = due.at.max(self.now);
        }
    }

    /// A clock that was set back tells the engine of a time that is over.
    pub fn wake_in_the_past(&mut self, ago: Duration) {
        self.engine.handle_timeout(self.now - ago);
        self.drain(None);
    }

    pub fn run_until(&mut self, what: &str, bound: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + bound;
        while !done(self) {
            assert!(
                self.step(end),
                "not {what} within {bound:?}: {:?}; sent at last: {:?}",
                self.status(),
                &self.sent[self.sent.len().saturating_sub(12)..]
            );
        }
    }

    /// Whether an answer (or, for a stream, more of it) may still come for this request.
    pub fn awaits(&self, id: RequestId) -> bool {
        let answered = self.answered.contains(&id) || self.ended.contains(&id);
        !answered || self.open == Some(id)
    }

    /// How many requests were sent from that time on.
    pub fn sent_since(&self, since: Timestamp) -> Vec<Sent> {
        let from = self.sent.partition_point(|sent| sent.at < since);
        self.sent[from..].to_vec()
    }

    pub fn later(&mut self, delay: Duration, input: Input) {
        self.order += 1;
        self.due.push(Due {
            at: self.now + delay,
            order: self.order,
            input,
        });
    }

    /// The next thing that happens before `end`, if any.
    fn step(&mut self, end: Timestamp) -> bool {
        let next = (0..self.due.len()).min_by_key(|&i| (self.due[i].at, self.due[i].order));
        let answer = next.map(|i| self.due[i].at);
        let asked = self.engine.poll_timeout();
        // After a sleep the engine may go on at once, which nobody can announce.
        let late = asked.is_some_and(|at| at < self.now);
        let timeout = asked.map(|at| at.max(self.now));
        match (answer, timeout) {
            (Some(at), timeout) if at <= end && timeout.is_none_or(|t| at <= t) => {
                self.now = at;
                let due = self.due.swap_remove(next.unwrap());
                self.deliver(due.input);
            }
            (_, Some(at)) if at <= end => {
                self.now = at;
                self.wakes += 1;
                let announced = (!late
                    && self.promises.inputs_since_said == 0
                    && self.status().state == SyncState::Degraded)
                    .then(|| self.status().next_attempt_at);
                self.engine.handle_timeout(at);
                self.drain(announced);
                let next = self.engine.poll_timeout();
                assert!(
                    next.is_none_or(|next| next > at),
                    "it asks for a time that is over"
                );
            }
            _ => return false,
        }
        true
    }

    fn deliver(&mut self, input: Input) {
        match &input {
            Input::Event { id, .. } if self.open != Some(*id) => return,
            Input::Event {
                id,
                event: StreamEvent::Heartbeat,
            } => {
                if let Some(every) = self.service.heartbeat {
                    let (id, event) = (*id, StreamEvent::Heartbeat);
                    self.later(every, Input::Event { id, event });
                } else {
                    return;
                }
            }
            Input::Closed { id, .. } => {
                if self.open != Some(*id) {
                    return;
                }
                self.open = None;
            }
            Input::Opened { id, result: Ok(()) } if !self.ended.contains(id) => {
                let id = *id;
                self.open = Some(id);
                if self.service.ready {
                    let event = StreamEvent::Ready;
                    self.later(ms(1), Input::Event { id, event });
                }
                if let Some(every) = self.service.heartbeat {
                    let event = StreamEvent::Heartbeat;
                    self.later(every, Input::Event { id, event });
                }
                if let Some(life) = self.service.stream_life {
                    self.later(life, Input::Closed { id, failure: None });
                }
            }
            _ => {}
        }
        self.input(input);
    }

    /// `announced`: this was a timeout, and that is when the status had said the next attempt comes.
    fn drain(&mut self, announced: Option<Option<Timestamp>>) {
        let before = self.sent.len() + self.refreshes.len();
        let mut gave_up = false;
        while let Some(output) = self.engine.poll_output() {
            self.trace(&output);
            match output {
                Output::Publish(status) => self.on_status(status),
                Output::Abort { id } => {
                    let held = [Request::Snapshot, Request::Push];
                    gave_up |= self
                        .sent
                        .iter()
                        .any(|s| s.id == id && held.contains(&s.request));
                    self.on_abort(id);
                }
                Output::RefreshToken { id } => {
                    self.refreshes.push(self.now);
                    let result = self.service.token;
                    self.later(self.service.latency, Input::TokenRefreshed { id, result });
                }
                Output::RequestTicket { id } => self.on_request(id, Request::Ticket),
                Output::OpenStream { id, ticket } => {
                    let at = self.tickets.iter().position(|&(t, _)| t == ticket);
                    let at = at.expect("a ticket that was never got, or used before");
                    let (_, expires_at) = self.tickets.swap_remove(at);
                    assert!(expires_at > self.now, "an expired ticket was used");
                    self.on_request(id, Request::Events);
                }
                Output::Pull { id, from, settles } => {
                    self.replica.asked(self.now, id, from, settles);
                    self.promises.pulls.push((id, self.promises.need));
                    self.read_from.push((self.now, from));
                    let page = self.page(from);
                    self.answer(id, Request::Pull, |id, result| Input::Pulled {
                        id,
                        result: result.map(|()| page),
                    });
                }
                Output::Snapshot { id, resume } => {
                    let cursor = resume.unwrap_or(Cursor(self.service.head));
                    self.answer(id, Request::Snapshot, |id, result| Input::Snapshotted {
                        id,
                        result: result.map(|()| cursor),
                    });
                }
                Output::Push { id, ops_max } => {
                    let taken = if self.service.settles { ops_max } else { 0 };
                    let left = self.waiting.saturating_sub(taken);
                    self.answer(id, Request::Push, |id, result| Input::Pushed {
                        id,
                        result: result.map(|()| Backlog {
                            waiting: left,
                            ..Backlog::default()
                        }),
                    });
                }
                other => panic!("an output that nobody serves: {other:?}"),
            }
        }
        if let Some(announced) = announced {
            let acted = self.sent.len() + self.refreshes.len() > before;
            // A push and a snapshot wait for each other: one that is given up lets the other go.
            if acted && !gave_up {
                assert_eq!(
                    announced,
                    Some(self.now),
                    "a request that was not announced"
                );
            } else if !acted && announced == Some(self.now) {
                // Announced, but put off: then the status must say so.
                let next = self.status().next_attempt_at;
                assert_ne!(next, announced, "an announced attempt did not happen");
            }
        }
    }

    /// A replayed seed shows what went in and out.
    fn trace(&self, what: &dyn std::fmt::Debug) {
        if std::env::var_os("EVENKEEL_SEED").is_some() {
            eprintln!("{:>12} {what:?}", self.now.as_millis());
        }
    }

    fn on_request(&mut self, id: RequestId, request: Request) {
        let life = self.service.ticket_life;
        let at = self.now;
        self.answer(id, request, |id, result| match request {
            Request::Ticket => Input::Ticket {
                id,
                result: result.map(|()| at + life),
            },
            _ => Input::Opened { id, result },
        });
    }

    fn answer(
        &mut self,
        id: RequestId,
        request: Request,
        input: impl FnOnce(RequestId, Result<(), Failure>) -> Input,
    ) {
        self.on_sent(id, request);
        let mood = match request {
            Request::Ticket => &self.service.ticket,
            Request::Events => &self.service.events,
            Request::Snapshot => &self.service.snapshot,
            Request::Push => &self.service.push,
            _ => &self.service.pull,
        };
        let result = match mood {
            Mood::Works => Ok(()),
            Mood::Fails(failure) => Err(failure.clone()),
            Mood::Silent => return,
        };
        self.later(self.service.latency, input(id, result));
    }

    fn page(&self, from: Cursor) -> Pulled {
        let head = self.service.head;
        if from.0 < self.service.pruned_below {
            return Pulled {
                changes: 0,
                next: Cursor(if self.service.shows_head { head } else { 0 }),
                reset_required: true,
            };
        }
        let changes = head.min(from.0 + 500).saturating_sub(from.0);
        Pulled {
            changes: u32::try_from(changes).unwrap(),
            next: match changes {
                0 if !self.service.shows_head => Cursor::ZERO,
                0 if self.service.log_end > 0 => Cursor(self.service.log_end),
                _ => Cursor(from.0 + changes),
            },
            reset_required: false,
        }
    }

    fn on_abort(&mut self, id: RequestId) {
        self.ended.push(id);
        self.promises.probes.retain(|&probe| probe != id);
        self.promises.pulls.retain(|&(pull, _)| pull != id);
        self.tickets.retain(|&(ticket, _)| ticket != id);
        if self.open == Some(id) {
            self.open = None;
            self.promises.live = false;
        }
        // Answers that are on their way arrive all the same: the engine has to ignore them.
    }

    fn on_sent(&mut self, id: RequestId, request: Request) {
        for &(kind, until) in &self.promises.floors {
            let hit = kind.is_none_or(|kind| lane_of(kind) == lane_of(request));
            assert!(
                !hit || self.now >= until,
                "{request:?} at {:?}, under a server's floor until {until:?}",
                self.now
            );
        }
        if self.promises.closed {
            assert!(
                self.promises.probes.is_empty(),
                "a second request beside the probe: {request:?}"
            );
            self.promises.probes.push(id);
        }
        let at = self.now;
        self.sent.push(Sent { at, request, id });
    }

    /// What the engine is about to learn.
    fn before(&mut self, input: &Input) {
        let (id, failure) = match input {
            Input::Ticket { id, result } => (*id, result.as_ref().err()),
            Input::Opened { id, result } => (*id, result.as_ref().err()),
            Input::Pulled { id, result } => (*id, result.as_ref().err()),
            Input::Snapshotted { id, result } => (*id, result.as_ref().err()),
            Input::Pushed { id, result } => (*id, result.as_ref().err()),
            Input::Closed { id, .. } => {
                if self.open.is_none_or(|open| open == *id) {
                    self.promises.live = false;
                }
                return;
            }
            Input::Event { id, .. } if self.open != Some(*id) => return,
            Input::Event { event, .. } => {
                match event {
                    // A stream that says so twice has missed nothing in between.
                    StreamEvent::Ready if !self.promises.live => {
                        self.promises.live = true;
                        self.promises.need += 1;
                    }
                    StreamEvent::Sync(cursor) if Some(*cursor) > self.promises.cursor => {
                        self.promises.need += 1;
                    }
                    _ => {}
                }
                return;
            }
            _ => return,
        };
        if self.ended.contains(&id) {
            return;
        }
        if self.answered.contains(&id) {
            return;
        }
        self.answered.push(id);
        let request = self.sent.iter().rev().find(|sent| sent.id == id);
        let Some(request) = request.map(|sent| sent.request) else {
            return;
        };
        let probe = self.promises.probes.contains(&id);
        self.promises.probes.retain(|&probe| probe != id);
        match failure {
            None => {
                if probe || self.promises.maybe.contains(&id) {
                    self.promises.closed = false;
                }
            }
            Some(failure) => self.note_failure(request, probe, failure),
        }
        match input {
            Input::Ticket {
                result: Ok(until), ..
            } => self.tickets.push((id, *until)),
            Input::Pulled {
                result: Ok(page), ..
            } => {
                let began = self.promises.pulls.iter().find(|&&(pull, _)| pull == id);
                if page.changes == 0 && !page.reset_required {
                    self.promises.proved = began.map(|&(_, need)| need);
                }
                self.promises.pulls.retain(|&(pull, _)| pull != id);
                self.replica.pulled(self.now, id, page);
            }
            Input::Snapshotted {
                result: Ok(cursor), ..
            } => {
                self.promises.reset = true;
                self.replica.replaced(self.now, *cursor);
            }
            Input::Pushed {
                result: Ok(backlog),
                ..
            } => self.waiting = backlog.waiting,
            _ => {}
        }
    }

    fn note_failure(&mut self, request: Request, probe: bool, failure: &Failure) {
        let rule = policy::rule(failure.cause, request);
        if rule.class == Class::Ask {
            return;
        }
        let whole = probe || rule.scope == Scope::Client;
        if whole && !self.promises.closed {
            self.promises.closed = true;
            let late = self.sent.len().saturating_sub(3);
            self.promises.maybe = self.sent[late..].iter().map(|sent| sent.id).collect();
        }
        if let Some(floor) = failure.retry_after {
            let kind = (!whole).then_some(request);
            self.promises.floors.push((kind, self.now + floor));
        }
    }

    fn on_status(&mut self, status: SyncStatus) {
        let last = self.said.last().map(|&(_, last)| last);
        assert_eq!(status.version, last.map_or(0, |last| last.version) + 1);
        if status.state == SyncState::Synced && last.is_none_or(|l| l.state != SyncState::Synced) {
            assert!(self.promises.live, "synced without a live stream");
            assert_eq!(
                self.promises.proved,
                Some(self.promises.need),
                "synced without proof"
            );
            assert_eq!(self.waiting, 0, "synced with operations waiting");
        }
        assert_eq!(
            status.cause.is_some(),
            status.state == SyncState::Degraded,
            "{status:?}"
        );
        let attempts = status.lifecycle == Lifecycle::Running && status.state != SyncState::Synced;
        assert!(
            attempts || status.next_attempt_at.is_none(),
            "there is nothing to try: {status:?}"
        );
        assert!(
            status.cursor >= self.promises.cursor || self.promises.reset,
            "the cursor went back: {status:?}"
        );
        self.promises.reset = false;
        self.promises.cursor = status.cursor;
        self.promises.inputs_since_said = 0;
        self.said.push((self.now, status));
    }
}

fn lane_of(request: Request) -> u8 {
    match request {
        Request::Ticket | Request::Events => 0,
        Request::Pull | Request::Snapshot => 1,
        _ => 2,
    }
}
