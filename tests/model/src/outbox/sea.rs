//! A state: the clients' replicas, what is under way, and the service.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use evenkeel::wire::{PullPage, PushAnswer, PushRequest};
use evenkeel::{BatchLimits, Cause, Cursor, Failure, MemoryReplica, Replica};
use serde_json::{Map, Value};

use super::service::{Service, mark};
use super::{Limits, NO_ERROR};
use crate::Broken;
use crate::canon::{self, Canon};

/// What can happen; the number is the client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The app writes a record.
    Put(usize, &'static str),
    /// The app deletes one.
    Delete(usize, &'static str),
    /// The user takes the server's side of a conflict.
    KeepServer(usize, &'static str),
    /// A batch goes out.
    Push(usize),
    /// It is served, and its answer is under way.
    Serve(usize),
    /// So many of its operations are applied; then the service fails, or the answer is lost.
    Cut(usize, usize),
    /// It is served, but the answer leaves this operation out, applied or not.
    LeaveOut(usize, usize, bool),
    /// The client gives it up; it reaches the service later.
    GiveUp(usize),
    /// The service refuses its bytes.
    Refuse(usize),
    /// Its answer arrives.
    Answer(usize),
    /// A batch that was given up reaches the service after all.
    Ghost(usize),
    /// A page is read, and is under way.
    Pull(usize),
    /// It arrives.
    Page(usize),
    /// A snapshot takes the place of everything.
    Snapshot(usize),
    /// The service forgets which operations it has seen.
    Forget,
}

/// What became of a batch so far.
#[derive(Clone, Debug)]
struct Pushing {
    batch: PushRequest,
    answer: Option<PushAnswer>,
}

/// The last thing that the app wanted of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wish {
    Put(String),
    /// And how many deletions of this client had taken effect before.
    Delete(usize),
}

#[derive(Debug)]
struct Client {
    replica: MemoryReplica,
    pushing: Option<Pushing>,
    page: Option<(Cursor, PullPage)>,
    wishes: BTreeMap<&'static str, Wish>,
    written: u8,
    /// It took a snapshot, and has not read what lies before it again.
    rereads: bool,
}

impl Clone for Client {
    fn clone(&self) -> Self {
        Self {
            replica: self.replica.fork(),
            pushing: self.pushing.clone(),
            page: self.page.clone(),
            wishes: self.wishes.clone(),
            written: self.written,
            rereads: self.rereads,
        }
    }
}

/// One state.
#[derive(Clone)]
pub struct Sea {
    records: Vec<&'static str>,
    clients: Vec<Client>,
    ghosts: Vec<(usize, PushRequest)>,
    service: Service,
    left: Limits,
    broken: Broken,
    steps: u32,
    canon: Canon,
}

impl Sea {
    pub(super) fn new(records: &[&'static str], limits: Limits) -> Self {
        let client = |_: &u8| Client {
            replica: MemoryReplica::new(),
            pushing: None,
            page: None,
            wishes: BTreeMap::new(),
            written: 0,
            rereads: false,
        };
        let mut sea = Self {
            records: records.to_vec(),
            clients: limits.writes.iter().map(client).collect(),
            ghosts: Vec::new(),
            service: Service::default(),
            left: limits,
            broken: Broken::default(),
            steps: 0,
            canon: Canon::default(),
        };
        sea.settle();
        sea
    }

    pub(super) fn steps(&self) -> u32 {
        self.steps
    }

    pub(super) fn keeps(&self, promise: &'static str) -> bool {
        self.broken.holds(promise)
    }

    pub(super) fn drawn(&self, sample: u64) -> bool {
        self.canon[1].is_multiple_of(sample.max(1))
    }

    pub(super) fn has_conflict(&self) -> bool {
        self.clients
            .iter()
            .any(|client| client.replica.backlog().conflicts > 0)
    }

    pub(super) fn has_repeat(&self) -> bool {
        self.service.repeated
    }

    pub(super) fn has_forgotten_repeat(&self) -> bool {
        self.service.repeated_unknown
    }

    /// Everything that can happen next.
    pub(super) fn actions(&self, actions: &mut Vec<Action>) {
        for (who, client) in self.clients.iter().enumerate() {
            self.app_actions(who, client, actions);
            match &client.pushing {
                None if client.replica.backlog().waiting > 0 => actions.push(Action::Push(who)),
                None => {}
                Some(Pushing {
                    batch,
                    answer: None,
                }) => {
                    actions.push(Action::Serve(who));
                    if self.left.faults > 0 {
                        faults(who, batch.operations.len(), actions);
                    }
                }
                Some(_) => actions.push(Action::Answer(who)),
            }
            if client.page.is_some() {
                actions.push(Action::Page(who));
            } else if self.cursor(who) < self.service.end() {
                actions.push(Action::Pull(who));
                if self.left.snapshots > 0 {
                    actions.push(Action::Snapshot(who));
                }
            }
        }
        actions.extend((0..self.ghosts.len()).map(Action::Ghost));
        if self.left.forgets > 0 && self.service.remembers() {
            actions.push(Action::Forget);
        }
    }

    fn app_actions(&self, who: usize, client: &Client, actions: &mut Vec<Action>) {
        let conflicts = client.replica.conflicts();
        for &record in &self.records {
            if self.left.writes[who] > 0 {
                actions.push(Action::Put(who, record));
                if client.replica.get(record).is_some() {
                    actions.push(Action::Delete(who, record));
                }
            }
            if conflicts.iter().any(|conflict| conflict.id == record) {
                actions.push(Action::KeepServer(who, record));
            }
        }
    }

    /// The state that this leads to.
    pub(super) fn after(&self, action: Action) -> Option<Self> {
        let mut sea = self.clone();
        sea.steps += 1;
        let calm = catch_unwind(AssertUnwindSafe(|| sea.act(&action)));
        if calm.is_err() {
            sea.broken.note(NO_ERROR, format_args!("{action:?} panics"));
        }
        sea.settle();
        (sea.canon != self.canon).then_some(sea)
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Put(who, record) => {
                self.left.writes[who] -= 1;
                self.put(who, record);
            }
            Action::Delete(who, record) => {
                self.left.writes[who] -= 1;
                let before = self.deletions(who, record);
                let client = &mut self.clients[who];
                let taken = client.replica.delete(record);
                client.wishes.insert(record, Wish::Delete(before));
                self.expect(taken);
            }
            Action::KeepServer(who, record) => {
                let client = &mut self.clients[who];
                client.replica.keep_server(record);
                client.wishes.remove(record);
            }
            Action::Push(who) => self.push(who),
            Action::Serve(who) => self.serve(who),
            Action::Cut(who, served) => {
                self.left.faults -= 1;
                if let Some(pushing) = self.clients[who].pushing.take() {
                    for operation in &pushing.batch.operations[..served] {
                        self.service
                            .apply(who, operation, &mut PushAnswer::default());
                    }
                }
            }
            Action::LeaveOut(who, which, applied) => {
                self.left.faults -= 1;
                self.serve_but(who, Some((which, applied)));
            }
            Action::GiveUp(who) => {
                self.left.faults -= 1;
                let pushing = self.clients[who].pushing.take();
                self.ghosts
                    .extend(pushing.map(|pushing| (who, pushing.batch)));
            }
            Action::Refuse(who) => {
                self.left.faults -= 1;
                if let Some(Pushing { batch, .. }) = self.clients[who].pushing.take() {
                    let failure = Failure::local(Cause::PayloadTooLarge, "too large");
                    let refused = now(self.clients[who].replica.refuse_push(batch, failure));
                    self.expect(refused);
                }
            }
            Action::Answer(who) => self.answer(who),
            Action::Ghost(which) => {
                let (who, batch) = self.ghosts.remove(which);
                for operation in &batch.operations {
                    self.service
                        .apply(who, operation, &mut PushAnswer::default());
                }
            }
            Action::Pull(who) => self.pull(who),
            Action::Page(who) => self.page(who),
            Action::Snapshot(who) => {
                self.left.snapshots -= 1;
                let json = serde_json::to_vec(&self.service.snapshot()).unwrap_or_default();
                let end = Some(self.service.end());
                let replaced = now(self.clients[who].replica.replace(json.into(), end));
                self.clients[who].rereads = true;
                self.expect(replaced);
            }
            Action::Forget => {
                self.left.forgets -= 1;
                self.service.forget();
            }
        }
    }

    fn put(&mut self, who: usize, record: &'static str) {
        let client = &mut self.clients[who];
        client.written += 1;
        let mark = format!("{who}w{}", client.written);
        let fields: Map<_, _> = [(mark.clone(), Value::Bool(true))].into_iter().collect();
        let taken = client.replica.put(record, fields);
        client.wishes.insert(record, Wish::Put(mark));
        self.expect(taken);
    }

    fn push(&mut self, who: usize) {
        let limits = BatchLimits {
            ops_max: 2,
            bytes_max: 1 << 20,
        };
        let batch = now(self.clients[who].replica.take_batch(limits));
        self.clients[who].pushing = self.expect(batch).flatten().map(|batch| Pushing {
            batch,
            answer: None,
        });
    }

    fn serve(&mut self, who: usize) {
        self.serve_but(who, None);
    }

    fn serve_but(&mut self, who: usize, left_out: Option<(usize, bool)>) {
        let Some(pushing) = &mut self.clients[who].pushing else {
            return;
        };
        let mut answer = PushAnswer::default();
        for (at, operation) in pushing.batch.operations.iter().enumerate() {
            match left_out {
                Some((which, true)) if which == at => {
                    self.service
                        .apply(who, operation, &mut PushAnswer::default());
                }
                Some((which, false)) if which == at => {}
                _ => self.service.apply(who, operation, &mut answer),
            }
        }
        answer.next_cursor = self.service.end();
        pushing.answer = Some(answer);
    }

    fn answer(&mut self, who: usize) {
        let client = &mut self.clients[who];
        if let Some(Pushing {
            batch,
            answer: Some(answer),
        }) = client.pushing.take()
        {
            let settled = now(client.replica.apply_push(batch, answer));
            self.expect(settled);
        }
    }

    fn pull(&mut self, who: usize) {
        let from = self.cursor(who);
        self.clients[who].page = Some((from, self.service.page(from)));
    }

    fn page(&mut self, who: usize) {
        if let Some((from, page)) = self.clients[who].page.take() {
            let json = serde_json::to_vec(&page).unwrap_or_default();
            let applied = now(self.clients[who].replica.apply_page(from, json.into()));
            self.expect(applied);
        }
    }

    fn cursor(&self, who: usize) -> Cursor {
        let cursor = now(self.clients[who].replica.cursor());
        cursor.ok().flatten().unwrap_or_default()
    }

    fn expect<T, E: fmt::Display>(&mut self, result: Result<T, E>) -> Option<T> {
        result
            .map_err(|error| self.broken.note(NO_ERROR, error))
            .ok()
    }

    fn deletions(&self, who: usize, record: &str) -> usize {
        let past = self.service.past.iter();
        past.filter(|past| past.by == who && past.note_id == record && past.mark.is_none())
            .count()
    }

    /// What the app wanted last of each record is on its way, in front of the user, or was done.
    pub(super) fn loses_nothing(&self) -> bool {
        self.clients.iter().enumerate().all(|(who, client)| {
            client.wishes.iter().all(|(&record, wish)| {
                let seen = client.replica.get(record);
                match wish {
                    Wish::Put(wanted) => {
                        self.was(record, wanted)
                            || seen.is_some_and(|seen| mark(&seen).as_ref() == Some(wanted))
                    }
                    Wish::Delete(before) => seen.is_none() || self.deletions(who, record) > *before,
                }
            })
        })
    }

    fn was(&self, record: &str, wanted: &str) -> bool {
        let mut past = self.service.past.iter();
        past.any(|past| past.note_id == record && past.mark.as_deref() == Some(wanted))
    }

    pub(super) fn doubles_nothing(&self) -> bool {
        let mut marks: Vec<_> = self
            .service
            .past
            .iter()
            .filter_map(|past| past.mark.as_ref())
            .collect();
        let all = marks.len();
        marks.sort_unstable();
        marks.dedup();
        marks.len() == all && !self.service.doubled
    }

    pub(super) fn invents_nothing(&self) -> bool {
        self.clients.iter().all(|client| {
            let backlog = client.replica.backlog();
            let waits = backlog.waiting + backlog.conflicts + backlog.rejected > 0;
            client.replica.list().iter().all(|record| {
                let mark = mark(record).unwrap_or_default();
                let wished = client.wishes.get(record.id.as_str());
                self.was(&record.id, &mark) || (waits && wished == Some(&Wish::Put(mark)))
            })
        })
    }

    /// Finds out which state this is.
    fn settle(&mut self) {
        let text = format!(
            "{:?} {:?} {:?} {:?} {:?}",
            self.clients, self.ghosts, self.service, self.left, self.broken.0
        );
        self.canon = canon::of(&canon::replica_text(&text));
    }

    /// The service is healthy, everything under way arrives, users decide: after how many rounds all copies are
    /// the same, or what is left.
    pub(super) fn heal(&self) -> Result<u64, String> {
        let mut sea = self.clone();
        while !sea.ghosts.is_empty() {
            sea.act(&Action::Ghost(0));
        }
        for round in 0..ROUNDS_MAX {
            if sea.agree() {
                let kept = sea.loses_nothing() && sea.doubles_nothing() && sea.broken.0.is_empty();
                return if kept {
                    Ok(round)
                } else {
                    Err(format!("broken on the way to agreement: {sea:?}"))
                };
            }
            for who in 0..sea.clients.len() {
                sea.round(who);
            }
        }
        Err(format!("no agreement: {sea:?}"))
    }

    fn round(&mut self, who: usize) {
        if self.clients[who].pushing.is_none() {
            self.push(who);
        }
        if self.clients[who]
            .pushing
            .as_ref()
            .is_some_and(|pushing| pushing.answer.is_none())
        {
            self.serve(who);
        }
        self.answer(who);
        for conflict in self.clients[who].replica.conflicts() {
            let record = self.records.iter().find(|&&record| record == conflict.id);
            // The first user insists, the others give in.
            match record {
                Some(&record) if who == 0 => self.put(who, record),
                Some(&record) => self.act(&Action::KeepServer(who, record)),
                None => {}
            }
        }
        for refused in self.clients[who].replica.refused() {
            let record = self.records.iter().find(|&&record| record == refused.id);
            if let Some(&record) = record {
                self.put(who, record);
            }
        }
        self.page(who);
        if std::mem::take(&mut self.clients[who].rereads) {
            self.reread(who);
        }
        while self.cursor(who) < self.service.end() {
            let before = self.cursor(who);
            self.pull(who);
            self.page(who);
            if self.cursor(who) == before {
                return;
            }
        }
    }

    /// As the engine does 10 s after a snapshot: an answer that is older than it may have come in after it, and
    /// brought a record back that was deleted in between.
    fn reread(&mut self, who: usize) {
        let mut from = Cursor::ZERO;
        while from < self.service.end() {
            let page = self.service.page(from);
            let next = page.next_cursor;
            self.clients[who].page = Some((from, page));
            self.page(who);
            from = next;
        }
    }

    fn agree(&self) -> bool {
        let live = self.service.live();
        self.clients.iter().enumerate().all(|(who, client)| {
            let backlog = client.replica.backlog();
            let waits = backlog.waiting + backlog.conflicts + backlog.rejected;
            waits == 0
                && client.pushing.is_none()
                && client.page.is_none()
                && !client.rereads
                && self.cursor(who) == self.service.end()
                && client.replica.list() == live
        })
    }
}

/// What can go wrong with a batch of so many operations.
fn faults(who: usize, operations: usize, actions: &mut Vec<Action>) {
    actions.extend((1..=operations).map(|served| Action::Cut(who, served)));
    for which in 0..operations {
        actions.push(Action::LeaveOut(who, which, true));
        actions.push(Action::LeaveOut(who, which, false));
    }
    actions.extend([Action::GiveUp(who), Action::Refuse(who)]);
}

/// What a replica in memory answers at once.
fn now<T>(future: impl Future<Output = Result<T, evenkeel::ReplicaError>>) -> Result<T, String> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.map_err(|error| error.to_string()),
        Poll::Pending => Err("the replica does not answer at once".to_owned()),
    }
}

impl PartialEq for Sea {
    fn eq(&self, other: &Self) -> bool {
        self.canon == other.canon
    }
}

impl Eq for Sea {}

impl Hash for Sea {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canon.hash(state);
    }
}

impl fmt::Debug for Sea {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sea")
            .field("clients", &self.clients)
            .field("ghosts", &self.ghosts)
            .field("service", &self.service)
            .field("broken", &self.broken.0)
            .finish_non_exhaustive()
    }
}

const ROUNDS_MAX: u64 = 20;
