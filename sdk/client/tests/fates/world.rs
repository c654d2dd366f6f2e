//! Time, the network, and what the driver of each engine does: the same as the client's own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

use evenkeel::store::Verdict;
use evenkeel::wire::{PullPage, PushAnswer, PushRequest, Record, Snapshot};
use evenkeel::{BatchLimits, Cause, Cursor, Failure, Replica};
use evenkeel_proto::Timestamp;
use evenkeel_proto::engine::{Input, Output, RequestId, StreamEvent};
use fastrand::Rng;

use crate::client::{Client, Life as Process};
use crate::faults::{Faults, happens};
use crate::server::{Job, Server, Step, answer, broken};

/// One life of the world.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) seed: u64,
    pub(crate) acts_max: u32,
    /// Print what happens.
    pub(crate) trace: bool,
}

/// Who asked; an answer to an earlier life reaches nobody.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    client: usize,
    life: u32,
    id: RequestId,
}

enum Ask {
    Ticket,
    Stream,
    Pull(Cursor),
    Snapshot(Option<Cursor>),
    Push(PushRequest),
    Token,
}

enum Answer {
    Input(Input),
    Page(Cursor, Result<PullPage, Failure>),
    Snapshot(Option<Cursor>, Result<Snapshot, Failure>),
    Push(PushRequest, Result<PushAnswer, Failure>),
}

/// What the asker will hear.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Answered,
    Failed,
    Silent,
}

enum What {
    // At the client, before it is sent.
    Post(Asker, Ask),
    // At the server.
    Arrive(Asker, Ask, Fate),
    Work(Asker, Box<Job>, PushRequest, Fate),
    SnapshotEnd(Asker, Option<Cursor>, Vec<Record>, Fate),
    // At the client.
    Came(Asker, Answer),
    Apply(Asker, Answer),
    Tell(Asker, Input),
    HeldTooLong(Asker),
    Cut(Asker, Option<Failure>),
    Event(Asker, StreamEvent),
    Wrote(usize, u32),
    // The world's.
    Restart(usize),
}

struct Due {
    at: u64,
    order: u64,
    what: What,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub(crate) struct World {
    pub(crate) life: Life,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) server: Server,
    pub(crate) clients: Vec<Client>,
    pub(crate) faults: Faults,
    /// Every device sleeps: only the server goes on.
    pub(crate) tokens: u64,
    asleep: bool,
    queue: BinaryHeap<Reverse<Due>>,
    order: u64,
    /// What must never happen, and did.
    wrong: Option<String>,
}

impl World {
    pub(crate) async fn begin(home: &Path, life: Life) -> Self {
        let mut rng = Rng::with_seed(life.seed);
        let clients = (0..rng.usize(2..4)).map(|me| {
            let wrong_by = if rng.bool() {
                0
            } else {
                rng.i64(-5..5) * 3_600_000
            };
            Client::new(me, home, wrong_by)
        });
        let clients = clients.collect();
        let mut world = Self {
            life,
            now: 1_000_000,
            server: Server::new(&mut rng),
            clients,
            faults: Faults::default(),
            tokens: 0,
            asleep: false,
            queue: BinaryHeap::new(),
            order: 0,
            wrong: None,
            rng,
        };
        world.trace(|world| format!("{:?}", world.server.habits));
        for client in 0..world.clients.len() {
            world.start(client).await;
        }
        world
    }

    pub(crate) async fn end(&mut self) {
        for client in &mut self.clients {
            client.stop().await;
        }
    }

    pub(crate) async fn start(&mut self, client: usize) {
        let (now, seed) = (self.now, self.rng.u64(..));
        self.trace(|_| format!("{client} starts"));
        self.clients[client].begin(now, seed).await;
        self.look(client).await;
        self.feed(client, Input::Start).await;
    }

    pub(crate) fn restart_in(&mut self, client: usize, ms: u64) {
        self.at(ms, What::Restart(client));
    }

    /// The store says that the app wrote.
    pub(crate) fn wrote(&mut self, client: usize) {
        let life = self.clients[client].lives;
        let delay = self.rng.u64(0..3);
        self.at(delay, What::Wrote(client, life));
    }

    pub(crate) fn fault(&mut self, what: String) {
        self.trace(|_| what.clone());
        self.wrong.get_or_insert(what);
    }

    /// What went wrong, if anything did.
    pub(crate) fn check(&mut self) -> Result<(), String> {
        let wrong = self.wrong.take().or_else(|| self.server.wrong.take());
        wrong.map_or(Ok(()), Err)
    }

    pub(crate) fn trace(&self, what: impl FnOnce(&Self) -> String) {
        if self.life.trace {
            eprintln!("{:>9} {}", self.now, what(self));
        }
    }

    pub(crate) async fn run(&mut self, ms: u64) -> Result<(), String> {
        let end = self.now + ms;
        while self.one(end).await {
            self.check()?;
        }
        self.pass(end);
        Ok(())
    }

    /// Every device sleeps for so long.
    pub(crate) async fn sleep(&mut self, ms: u64) -> Result<(), String> {
        for client in 0..self.clients.len() {
            self.cut(client, Some(broken()));
        }
        self.asleep = true;
        let mut slept = Vec::new();
        let end = self.now + ms;
        while let Some(due) = self.pop(end) {
            match due.what {
                What::Arrive(..) | What::Work(..) | What::SnapshotEnd(..) => {
                    self.pass(due.at);
                    self.happen(due.what).await;
                }
                what => slept.push(what),
            }
            self.check()?;
        }
        self.pass(end);
        self.asleep = false;
        for what in slept {
            let delay = self.rng.u64(0..100);
            self.at(delay, what);
        }
        Ok(())
    }

    fn pass(&mut self, now: u64) {
        self.now = self.now.max(now);
        for client in &self.clients {
            client.set_clock(self.now);
        }
    }

    fn at(&mut self, delay: u64, what: What) {
        self.order += 1;
        let (at, order) = (self.now + delay, self.order);
        self.queue.push(Reverse(Due { at, order, what }));
    }

    fn pop(&mut self, end: u64) -> Option<Due> {
        let next = self.queue.peek().filter(|next| next.0.at <= end);
        next.is_some().then(|| self.queue.pop().unwrap().0)
    }

    /// Has the next thing happen, if there is one until then.
    async fn one(&mut self, end: u64) -> bool {
        let alarms = self.clients.iter().filter_map(|client| {
            let at = client.life.as_ref()?.engine.poll_timeout()?;
            Some((at.as_millis().max(self.now), client.me))
        });
        let alarm = alarms.min();
        let next = self.queue.peek().map(|due| due.0.at);
        match alarm {
            Some((at, client)) if at <= end && next.is_none_or(|next| at < next) => {
                self.pass(at);
                let at = Timestamp::from_millis(self.now);
                self.process(client).unwrap().engine.handle_timeout(at);
                self.drain(client).await;
            }
            _ => match self.pop(end) {
                Some(due) => {
                    self.pass(due.at);
                    self.happen(due.what).await;
                }
                None => return false,
            },
        }
        self.spread();
        true
    }

    pub(crate) fn process(&mut self, client: usize) -> Option<&mut Process> {
        self.clients[client].life.as_mut()
    }

    /// The process that asked, if it lives.
    fn asker(&mut self, at: Asker) -> Option<&mut Process> {
        let client = &mut self.clients[at.client];
        client.life.as_mut().filter(|_| client.lives == at.life)
    }

    /// The process that asked, if it still waits for this.
    fn waiting(&mut self, at: Asker) -> Option<&mut Process> {
        let process = self.asker(at)?;
        process.flights.contains(&at.id).then_some(process)
    }

    pub(crate) async fn feed(&mut self, client: usize, input: Input) {
        let now = Timestamp::from_millis(self.now);
        if let Some(process) = self.process(client) {
            process.engine.handle_input(now, input);
            self.drain(client).await;
        }
    }

    async fn drain(&mut self, client: usize) {
        let life = self.clients[client].lives;
        while let Some(output) = self.process(client).and_then(|p| p.engine.poll_output()) {
            let asker = |id| Asker { client, life, id };
            match output {
                Output::Publish(status) => {
                    self.trace(|_| format!("{client} {} {:?}", status.state, status.cause));
                }
                Output::Abort { id } => {
                    let process = self.process(client).unwrap();
                    process.flights.retain(|&flight| flight != id);
                    process.stream = process.stream.filter(|&stream| stream != id);
                }
                Output::RequestTicket { id } => self.post(asker(id), Ask::Ticket),
                Output::OpenStream { id, .. } => self.post(asker(id), Ask::Stream),
                Output::Pull { id, from } => self.post(asker(id), Ask::Pull(from)),
                Output::Snapshot { id, resume } => self.post(asker(id), Ask::Snapshot(resume)),
                Output::RefreshToken { id } => self.post(asker(id), Ask::Token),
                Output::Push { id, .. } => {
                    self.process(client).unwrap().flights.push(id);
                    self.take_batch(asker(id)).await;
                }
                other => self.fault(format!("an output that is not understood: {other:?}")),
            }
        }
    }

    fn post(&mut self, at: Asker, ask: Ask) {
        self.asker(at).unwrap().flights.push(at.id);
        let delay = self.rng.u64(0..3);
        self.at(delay, What::Post(at, ask));
    }

    async fn take_batch(&mut self, at: Asker) {
        let process = self.asker(at).unwrap();
        let limits = BatchLimits {
            ops_max: 100,
            bytes_max: 256 * 1024,
        };
        let batch = process.store.take_batch(limits).await.unwrap();
        let waiting = process.store.backlog().waiting;
        self.verdicts(at.client).await;
        match batch {
            Some(batch) => {
                self.trace(|_| format!("{} takes {}", at.client, named(&batch)));
                self.asker(at).unwrap().held = None;
                let delay = self.rng.u64(0..3);
                self.at(delay, What::Post(at, Ask::Push(batch)));
            }
            // The store itself would wait, which here is over at once.
            None if waiting > 0 => {
                let process = self.asker(at).unwrap();
                let first = process.held.replace(at.id) != Some(at.id);
                if first {
                    self.at(HELD_MAX_MS, What::HeldTooLong(at));
                }
            }
            None => {
                self.asker(at).unwrap().held = None;
                self.pushed(at, Ok(()));
            }
        }
    }

    /// Tells the engine how a push ended.
    fn pushed(&mut self, at: Asker, result: Result<(), Failure>) {
        let Some(process) = self.asker(at) else {
            return;
        };
        let backlog = process.store.backlog();
        let result = result.map(|()| backlog);
        let delay = self.rng.u64(0..3);
        self.at(delay, What::Tell(at, Input::Pushed { id: at.id, result }));
    }

    async fn happen(&mut self, what: What) {
        match what {
            What::Post(at, ask) => self.on_post(at, ask),
            What::Arrive(at, ask, fate) => self.on_arrive(at, ask, fate),
            What::Work(at, job, batch, fate) => self.on_work(at, job, batch, fate),
            What::SnapshotEnd(at, resume, notes, fate) => {
                let cursor = self.server.end_of_log();
                let snapshot = Snapshot { notes, cursor };
                self.reply(at, fate, Answer::Snapshot(resume, Ok(snapshot)));
            }
            What::Came(at, answer) => self.on_came(at, answer).await,
            What::Apply(at, answer) => self.on_apply(at, answer).await,
            What::Tell(at, input) => self.on_tell(at, input).await,
            What::HeldTooLong(at) => {
                if let Some(process) = self.asker(at)
                    && process.held == Some(at.id)
                {
                    process.held = None;
                    self.pushed(at, Ok(()));
                }
            }
            What::Cut(at, failure) => {
                if self.asker(at).is_some_and(|p| p.stream == Some(at.id)) {
                    let process = self.asker(at).unwrap();
                    process.stream = None;
                    process.flights.retain(|&id| id != at.id);
                    self.feed(at.client, Input::Closed { id: at.id, failure })
                        .await;
                }
            }
            What::Event(at, event) => {
                if self.asker(at).is_some_and(|p| p.stream == Some(at.id)) {
                    if event == StreamEvent::Heartbeat {
                        self.at(HEARTBEAT_MS, What::Event(at, event));
                    }
                    self.feed(at.client, Input::Event { id: at.id, event })
                        .await;
                }
            }
            What::Wrote(client, life) => {
                if self.clients[client].lives == life
                    && let Some(process) = self.process(client)
                {
                    let backlog = process.store.backlog();
                    self.feed(client, Input::LocalChange(backlog)).await;
                }
            }
            What::Restart(client) => {
                if self.clients[client].life.is_none() {
                    self.start(client).await;
                }
            }
        }
    }

    fn on_post(&mut self, at: Asker, ask: Ask) {
        if self.waiting(at).is_none() {
            return;
        }
        self.clients[at.client].requests += 1;
        let faults = self.faults;
        let latency = if happens(&mut self.rng, faults.slow) {
            self.rng.u64(1_000..25_000)
        } else {
            self.rng.u64(2..300)
        };
        self.trace(|_| format!("{} asks {}", at.client, ask.name()));
        if matches!(ask, Ask::Token) {
            let (id, result) = (at.id, Ok(()));
            return self.at(
                latency,
                What::Tell(at, Input::TokenRefreshed { id, result }),
            );
        }
        if !self.clients[at.client].online || happens(&mut self.rng, faults.request_lost) {
            let lost = ask.failed(Failure::local(Cause::ConnectFailed, "scripted"), at.id);
            return self.at(latency, What::Came(at, lost));
        }
        let mut fate = Fate::Answered;
        if happens(&mut self.rng, faults.answer_lost) {
            fate = Fate::Failed;
        }
        if happens(&mut self.rng, faults.silence) {
            fate = Fate::Silent;
            if self.rng.bool() {
                return;
            }
        }
        if happens(&mut self.rng, faults.twice)
            && let Some(copy) = ask.copy()
        {
            let delay = self.rng.u64(2..25_000);
            self.at(delay, What::Arrive(at, copy, Fate::Silent));
        }
        self.at(latency, What::Arrive(at, ask, fate));
    }

    fn on_arrive(&mut self, at: Asker, ask: Ask, fate: Fate) {
        if happens(&mut self.rng, self.faults.refused) {
            let failed = ask.failed(answer(503, "SERVICE_UNAVAILABLE"), at.id);
            return self.reply(at, fate, failed);
        }
        let id = at.id;
        match ask {
            Ask::Token => {}
            Ask::Ticket => {
                let result = Ok(Timestamp::from_millis(self.now + 60_000));
                self.reply(at, fate, Answer::Input(Input::Ticket { id, result }));
            }
            Ask::Stream => {
                let opened = Input::Opened { id, result: Ok(()) };
                self.reply(at, fate, Answer::Input(opened));
            }
            Ask::Pull(from) => {
                let page = self.server.page(from);
                self.reply(at, fate, Answer::Page(from, Ok(page)));
            }
            Ask::Snapshot(resume) => {
                let notes = self.server.notes();
                let delay = self.rng.u64(1..2_000);
                self.at(delay, What::SnapshotEnd(at, resume, notes, fate));
            }
            Ask::Push(batch) => {
                let operations = batch.operations.clone();
                match self.server.accept(at.client, operations, self.now) {
                    Ok(job) => self.on_work(at, Box::new(job), batch, fate),
                    Err(failure) => self.reply(at, fate, Answer::Push(batch, Err(failure))),
                }
            }
        }
    }

    fn on_work(&mut self, at: Asker, mut job: Box<Job>, batch: PushRequest, fate: Fate) {
        let (faults, now) = (self.faults, self.now);
        match self.server.step(&mut job, &faults, &mut self.rng, now) {
            Step::Later(ms) => self.at(ms, What::Work(at, job, batch, fate)),
            Step::Done(answer) => {
                self.trace(|_| match &answer {
                    Ok(a) => format!(
                        "{} is told of {} applied, {} conflicts",
                        at.client,
                        a.applied.len(),
                        a.conflicts.len()
                    ),
                    Err(failure) => format!("{} is told {failure}", at.client),
                });
                self.reply(at, fate, Answer::Push(batch, answer));
            }
        }
    }

    /// Sends the answer on its way, or what the asker hears instead.
    fn reply(&mut self, at: Asker, fate: Fate, answer: Answer) {
        let answer = match fate {
            Fate::Answered => answer,
            Fate::Failed => answer.replaced(broken(), at.id),
            Fate::Silent => return,
        };
        let slow = happens(&mut self.rng, self.faults.slow);
        let latency = self.rng.u64(2..if slow { 25_000 } else { 300 });
        self.at(latency, What::Came(at, answer));
    }

    async fn on_came(&mut self, at: Asker, answer: Answer) {
        let Some(process) = self.waiting(at) else {
            return;
        };
        if let Answer::Input(input) = answer {
            return self.on_tell(at, input).await;
        }
        // From here on it is applied, whoever gives it up.
        let begin = process.applying_until;
        let slow = happens(&mut self.rng, self.faults.slow_apply);
        let takes = self.rng.u64(0..if slow { 20_000 } else { 3 });
        let end = begin.max(self.now) + takes;
        self.process(at.client).unwrap().applying_until = end;
        self.at(end - self.now, What::Apply(at, answer));
    }

    async fn on_apply(&mut self, at: Asker, answer: Answer) {
        let Some(process) = self.asker(at) else {
            return;
        };
        let id = at.id;
        let store = process.store.clone();
        let twice = happens(&mut self.rng, self.faults.applied_twice);
        match answer {
            Answer::Input(_) => {}
            Answer::Page(from, Ok(page)) => {
                self.trace(|_| {
                    let (changes, next) = (page.changes.len(), page.next_cursor);
                    format!(
                        "{} applies {changes} changes after {from}, to {next}",
                        at.client
                    )
                });
                let ended = page.changes.is_empty();
                let body = serde_json::to_vec(&page).unwrap();
                if twice {
                    let _ = store.apply_page(from, body.clone().into()).await;
                }
                let result = match store.apply_page(from, body.into()).await {
                    Ok((pulled, _)) => Ok(pulled),
                    Err(e) => Err(Failure::local(Cause::StoreFailed, e.to_string())),
                };
                self.tell(at, Input::Pulled { id, result });
                let held = self.process(at.client).unwrap().held;
                if ended && let Some(id) = held {
                    self.take_batch(Asker { id, ..at }).await;
                }
            }
            Answer::Page(_, Err(failure)) => {
                let result = Err(failure);
                self.tell(at, Input::Pulled { id, result });
            }
            Answer::Snapshot(resume, Ok(snapshot)) => {
                self.trace(|_| format!("{} takes a snapshot", at.client));
                let body = serde_json::to_vec(&snapshot).unwrap();
                if twice {
                    store.replace(body.clone().into(), resume).await.unwrap();
                }
                let replaced = store.replace(body.into(), resume).await;
                let result = Ok(replaced.unwrap().0);
                self.tell(at, Input::Snapshotted { id, result });
            }
            Answer::Snapshot(_, Err(failure)) => {
                let result = Err(failure);
                self.tell(at, Input::Snapshotted { id, result });
            }
            Answer::Push(batch, Ok(answer)) => {
                self.trace(|_| format!("{} applies the answer to {}", at.client, named(&batch)));
                // What was left out is counted by answers.
                let all = answer.applied.len() + answer.conflicts.len() == batch.operations.len();
                if twice && all {
                    let again = answer.clone();
                    store.apply_push(batch.clone(), again).await.unwrap();
                }
                store.apply_push(batch, answer).await.unwrap();
                self.pushed(at, Ok(()));
            }
            Answer::Push(batch, Err(failure)) => {
                if matches!(failure.cause, Cause::BadRequest | Cause::PayloadTooLarge) {
                    store.refuse_push(batch, failure.clone()).await.unwrap();
                }
                self.pushed(at, Err(failure));
            }
        }
        self.look(at.client).await;
    }

    fn tell(&mut self, at: Asker, input: Input) {
        let delay = self.rng.u64(0..3);
        self.at(delay, What::Tell(at, input));
    }

    async fn on_tell(&mut self, at: Asker, mut input: Input) {
        let Some(process) = self.waiting(at) else {
            return;
        };
        if let Input::Pushed { result, .. } = &mut input {
            // What waits now: a write since the answer has announced itself already.
            *result = result.clone().map(|_| process.store.backlog());
        }
        let opened = matches!(input, Input::Opened { result: Ok(()), .. });
        if opened {
            process.stream = Some(at.id);
        } else {
            process.flights.retain(|&id| id != at.id);
        }
        self.feed(at.client, input).await;
        if opened {
            self.at(1, What::Event(at, StreamEvent::Ready));
            self.at(HEARTBEAT_MS, What::Event(at, StreamEvent::Heartbeat));
        }
    }

    /// Ends a client's stream, if it has one.
    pub(crate) fn cut(&mut self, client: usize, failure: Option<Failure>) {
        if let Some(at) = self.stream_of(client) {
            self.at(0, What::Cut(at, failure));
        }
    }

    fn stream_of(&self, client: usize) -> Option<Asker> {
        let client = &self.clients[client];
        let id = client.life.as_ref()?.stream?;
        let (client, life) = (client.me, client.lives);
        Some(Asker { client, life, id })
    }

    /// Announces what was committed, as badly as the faults want it.
    fn spread(&mut self) {
        for cursor in std::mem::take(&mut self.server.news) {
            for client in 0..self.clients.len() {
                let Some(at) = self.stream_of(client) else {
                    continue;
                };
                let faults = self.faults;
                if happens(&mut self.rng, faults.stream_cut) {
                    let failure = self.rng.bool().then(broken);
                    self.cut(client, failure);
                }
                if happens(&mut self.rng, faults.news_lost) {
                    continue;
                }
                let repeats = 1 + u8::from(happens(&mut self.rng, faults.news_repeated));
                for _ in 0..repeats {
                    let late = happens(&mut self.rng, faults.news_late);
                    let delay = self.rng.u64(1..if late { 20_000 } else { 50 });
                    self.at(delay, What::Event(at, StreamEvent::Sync(Cursor(cursor))));
                }
            }
        }
    }

    /// After something was applied: what the app sees of its own writes, and what it was told.
    pub(crate) async fn look(&mut self, client: usize) {
        self.verdicts(client).await;
        let open = self.clients[client].ghost.open(&self.server, client);
        let Some(process) = self.process(client) else {
            return;
        };
        let store = process.store.clone();
        for (id, intents) in open {
            let view = store.get(&id).await.unwrap().map(|record| record.fields);
            if let Some(lost) = intents.iter().find(|intent| !intent.shows(view.as_ref())) {
                let text = format!("{client} lost {lost:?}: the app sees {view:?}");
                self.fault(text);
            }
        }
    }

    async fn verdicts(&mut self, client: usize) {
        let Some(process) = self.process(client) else {
            return;
        };
        let came = process.verdicts();
        let store = process.store.clone();
        for (write, id, verdict) in came {
            self.trace(|_| format!("{client} hears {verdict:?} for {id}, write {write}"));
            let open = self.clients[client]
                .ghost
                .waits(&self.server, client, write);
            let waits = open.cloned();
            let true_word = match (&verdict, &waits) {
                (_, None) => true,
                (Verdict::Acknowledged { .. }, Some(_)) => false,
                (Verdict::Conflicted, _) => {
                    store.conflicts().await.unwrap().iter().any(|c| c.id == id)
                }
                (Verdict::Rejected { .. }, _) => {
                    store.rejected().await.unwrap().iter().any(|r| r.id == id)
                }
                _ => false,
            };
            if !true_word {
                self.fault(format!(
                    "{client} was told {verdict:?}, and {waits:?} is open"
                ));
            }
        }
    }
}

impl Ask {
    fn name(&self) -> String {
        match self {
            Self::Ticket => "for a ticket".into(),
            Self::Stream => "for the stream".into(),
            Self::Pull(from) => format!("for changes from {from}"),
            Self::Snapshot(resume) => format!("for a snapshot, resuming at {resume:?}"),
            Self::Push(batch) => format!("to take {}", named(batch)),
            Self::Token => "for a token".into(),
        }
    }

    fn copy(&self) -> Option<Self> {
        match self {
            Self::Push(batch) => Some(Self::Push(batch.clone())),
            _ => None,
        }
    }

    fn failed(self, failure: Failure, id: RequestId) -> Answer {
        let result = Err(failure);
        match self {
            Self::Ticket => Answer::Input(Input::Ticket {
                id,
                result: result.map(|()| Timestamp::default()),
            }),
            Self::Pull(from) => Answer::Page(from, result.map(|()| PullPage::default())),
            Self::Snapshot(resume) => {
                Answer::Snapshot(resume, result.map(|()| Snapshot::default()))
            }
            Self::Push(batch) => Answer::Push(batch, result.map(|()| PushAnswer::default())),
            Self::Stream | Self::Token => Answer::Input(Input::Opened { id, result }),
        }
    }
}

impl Answer {
    /// The same, broken off.
    fn replaced(self, failure: Failure, id: RequestId) -> Self {
        match self {
            Self::Input(Input::Ticket { .. }) => Ask::Ticket.failed(failure, id),
            Self::Input(_) => Ask::Stream.failed(failure, id),
            Self::Page(from, _) => Self::Page(from, Err(failure)),
            Self::Snapshot(resume, _) => Self::Snapshot(resume, Err(failure)),
            Self::Push(batch, _) => Self::Push(batch, Err(failure)),
        }
    }
}

fn named(batch: &PushRequest) -> String {
    let named = batch.operations.iter().map(|op| {
        let fields = op
            .note
            .as_ref()
            .map(|note| format!("{:?}", note.fields.values()));
        format!("{} {} on {} {fields:?}", op.op, op.note_id, op.base_version)
    });
    named.collect::<Vec<_>>().join(", ")
}

/// As long as the store waits for a pull.
const HELD_MAX_MS: u64 = 5_000;
const HEARTBEAT_MS: u64 = 40_000;
