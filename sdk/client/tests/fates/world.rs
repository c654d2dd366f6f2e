//! Time, and what the driver of each engine does: the same as the client's own.

mod message;
mod network;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

use evenkeel::store::Verdict;
use evenkeel::wire::Snapshot;
use evenkeel::{BatchLimits, Failure, Replica};
use evenkeel_proto::Timestamp;
use evenkeel_proto::engine::{Input, Output, RequestId, StreamEvent};
use fastrand::Rng;

use crate::client::{Client, Life as Process};
use crate::faults::Faults;
use crate::server::{Server, broken};
use message::{Answer, Ask, Due, What, named};

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
                Output::Pull { id, from, settles } => {
                    self.post(asker(id), Ask::Pull(from, settles));
                }
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

/// As long as the store waits for a pull.
const HELD_MAX_MS: u64 = 5_000;
const HEARTBEAT_MS: u64 = 40_000;
