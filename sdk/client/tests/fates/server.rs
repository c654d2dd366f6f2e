//! The service's side of the contract, with its hazards: operations are transactions of their own that
//! take their cursor first and commit later, a repeat of a `requestId` returns the first answer for a
//! day, and a snapshot reads its rows before its cursor.

use std::collections::{BTreeMap, HashMap, HashSet};

use evenkeel::wire::{
    Applied, Change, Conflict, Op, Operation, PullPage, PushAnswer, Record, ResetReason,
    UnixMillis, Version,
};
use evenkeel::{Cause, Cursor, Failure};
use evenkeel_proto::Request;
use fastrand::Rng;
use http::HeaderMap;
use serde_json::{Map, Value};

use crate::faults::{Faults, happens};

/// What a service may do one way or the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    pub(crate) page_max: usize,
    /// A repeat of an operation that met a conflict returns that conflict.
    pub(crate) remembers_conflicts: bool,
    pub(crate) tombstones_keep_fields: bool,
    /// Writes into each record which device changed it last.
    pub(crate) stamps: bool,
    /// An empty page's `nextCursor` is the end of the log, not the cursor asked for.
    pub(crate) names_the_end: bool,
    /// An applied operation's answer has the record.
    pub(crate) shows_applied: bool,
    /// Batches larger than this are refused with 413.
    pub(crate) body_bytes_max: usize,
    /// The log is pruned, and then nothing is committed late: a log that is pruned within seconds of a
    /// late commit, while a client sleeps, hides that commit from it, and is none of the contract's.
    pub(crate) prunes: bool,
    /// Records with [`POISON`] in them are refused with 400.
    pub(crate) refuses_poison: bool,
}

/// One writing of a record, kept for the checks.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    pub(crate) version: u64,
    /// Which client wrote it.
    pub(crate) by: Option<usize>,
    /// `None` for a deletion.
    pub(crate) fields: Option<Map<String, Value>>,
}

#[derive(Clone, Debug)]
struct Entry {
    change: Change,
    committed_at: u64,
}

#[derive(Clone, Debug)]
enum Remembered {
    Applied(Applied),
    Conflict(Conflict),
}

struct Tables {
    records: BTreeMap<String, Record>,
    log: Vec<Entry>,
    last_cursor: u64,
    pruned_to: u64,
    memory: HashMap<String, (u64, Remembered)>,
}

pub(crate) struct Server {
    pub(crate) habits: Habits,
    tables: Tables,
    locked: HashSet<String>,
    /// Every writing there ever was, by record.
    pub(crate) past: BTreeMap<String, Vec<Past>>,
    /// Operations that are left out of an answer: once, or always.
    skipped: HashMap<String, Skip>,
    /// Every operation that had an effect.
    effects: HashSet<String>,
    /// Cursors committed since this was last looked at.
    pub(crate) news: Vec<u64>,
    /// What must never happen, and did.
    pub(crate) wrong: Option<String>,
    /// Clients and records where the app decided that an older content comes back.
    pub(crate) decided: HashSet<(usize, String)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Skip {
    Never,
    Once,
    Always,
}

/// A push that is being worked on.
pub(crate) struct Job {
    pub(crate) by: usize,
    operations: std::vec::IntoIter<Operation>,
    /// The operation whose transaction is open, and the cursor it took.
    open: Option<(Operation, u64)>,
    answer: PushAnswer,
    late: bool,
}

pub(crate) enum Step {
    /// Go on after so many milliseconds.
    Later(u64),
    Done(Result<PushAnswer, Failure>),
}

impl Server {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let habits = Habits {
            page_max: *rng.choice(&[2, 5, 500]).unwrap(),
            remembers_conflicts: rng.bool(),
            tombstones_keep_fields: rng.bool(),
            stamps: rng.bool(),
            names_the_end: rng.bool(),
            shows_applied: rng.u8(0..4) > 0,
            body_bytes_max: if rng.bool() { 1_500 } else { 500_000 },
            prunes: rng.bool(),
            refuses_poison: rng.bool(),
        };
        let tables = Tables {
            records: BTreeMap::new(),
            log: Vec::new(),
            last_cursor: 0,
            pruned_to: 0,
            memory: HashMap::new(),
        };
        Self {
            habits,
            tables,
            locked: HashSet::new(),
            past: BTreeMap::new(),
            skipped: HashMap::new(),
            effects: HashSet::new(),
            news: Vec::new(),
            wrong: None,
            decided: HashSet::new(),
        }
    }

    pub(crate) fn page(&self, from: Cursor) -> PullPage {
        let tables = &self.tables;
        let end = tables
            .log
            .last()
            .map_or(tables.pruned_to, |entry| entry.change.cursor.0);
        if from.0 < tables.pruned_to {
            let oldest = tables
                .log
                .first()
                .map_or(end, |entry| entry.change.cursor.0);
            return PullPage {
                changes: Vec::new(),
                next_cursor: Cursor(end),
                reset_required: true,
                reset_reason: Some(ResetReason::CursorTooOld),
                oldest_available_cursor: Some(Cursor(oldest)),
                latest_cursor: Some(Cursor(end)),
            };
        }
        let after = tables.log.partition_point(|e| e.change.cursor <= from);
        let rest = tables.log[after..].iter().take(self.habits.page_max);
        let changes: Vec<_> = rest.map(|entry| entry.change.clone()).collect();
        let next = match changes.last() {
            Some(last) => last.cursor,
            None if self.habits.names_the_end => Cursor(end),
            None => from,
        };
        PullPage {
            changes,
            next_cursor: next,
            ..PullPage::default()
        }
    }

    pub(crate) fn notes(&self) -> Vec<Record> {
        self.tables.records.values().cloned().collect()
    }

    pub(crate) fn end_of_log(&self) -> Cursor {
        let last = self.tables.log.last();
        Cursor(last.map_or(self.tables.pruned_to, |entry| entry.change.cursor.0))
    }

    /// The record as the app's fields, where it is there.
    pub(crate) fn live(&self) -> BTreeMap<String, Map<String, Value>> {
        let live = self.tables.records.values().filter(|r| !r.is_deleted());
        live.map(|r| (r.id.clone(), r.fields.clone())).collect()
    }

    /// Looks at a push before anything is done about it.
    pub(crate) fn accept(
        &mut self,
        by: usize,
        operations: Vec<Operation>,
        now: u64,
    ) -> Result<Job, Failure> {
        let body = |op: &Operation| serde_json::to_string(op).unwrap();
        let bodies: Vec<_> = operations.iter().map(body).collect();
        let bytes: usize = bodies.iter().map(String::len).sum();
        if bytes > self.habits.body_bytes_max {
            return Err(answer(413, "PAYLOAD_TOO_LARGE"));
        }
        if self.habits.refuses_poison && bodies.iter().any(|body| body.contains(POISON)) {
            return Err(answer(400, "BAD_REQUEST"));
        }
        self.tables.memory.retain(|_, (at, _)| now - *at < DAY_MS);
        for operation in &operations {
            let id = &operation.request_id;
            let forgotten = !self.tables.memory.contains_key(id);
            if self.effects.contains(id) && forgotten {
                self.fault(format!("{} is replayed after a day", operation.note_id));
            }
        }
        Ok(Job {
            by,
            operations: operations.into_iter(),
            open: None,
            answer: PushAnswer::default(),
            late: false,
        })
    }

    pub(crate) fn step(&mut self, job: &mut Job, faults: &Faults, rng: &mut Rng, now: u64) -> Step {
        loop {
            let (operation, cursor) = match job.open.take() {
                Some(open) => open,
                None => {
                    let Some(operation) = job.operations.as_slice().first() else {
                        job.answer.next_cursor = self.end_of_log();
                        return Step::Done(Ok(std::mem::take(&mut job.answer)));
                    };
                    if self.locked.contains(&operation.note_id) {
                        return Step::Later(rng.u64(1..500));
                    }
                    let operation = job.operations.next().unwrap();
                    if let Some((_, known)) = self.tables.memory.get(&operation.request_id) {
                        match known.clone() {
                            Remembered::Applied(applied) => job.answer.applied.push(applied),
                            Remembered::Conflict(conflict) => job.answer.conflicts.push(conflict),
                        }
                        continue;
                    }
                    if happens(rng, faults.batch_cut) {
                        return Step::Done(Err(answer(503, "SERVICE_UNAVAILABLE")));
                    }
                    let empty = operation.op == Op::Upsert && operation.note.is_none();
                    if empty || self.skips(&operation.request_id, faults, rng) {
                        continue;
                    }
                    self.tables.last_cursor += 1;
                    let cursor = self.tables.last_cursor;
                    self.locked.insert(operation.note_id.clone());
                    let may_be_late = !job.late && !self.habits.prunes;
                    if may_be_late && happens(rng, faults.late_commit) {
                        job.late = true;
                        job.open = Some((operation, cursor));
                        return Step::Later(rng.u64(1..9_000));
                    }
                    (operation, cursor)
                }
            };
            self.locked.remove(&operation.note_id);
            self.commit(job, operation, cursor, now);
        }
    }

    /// An operation that is left out for good is left out whenever it comes.
    fn skips(&mut self, request_id: &str, faults: &Faults, rng: &mut Rng) -> bool {
        let skip = self.skipped.get(request_id).copied();
        let skip = skip.unwrap_or_else(|| match happens(rng, faults.left_out) {
            true if rng.bool() => Skip::Once,
            true => Skip::Always,
            false => Skip::Never,
        });
        let next = if skip == Skip::Once {
            Skip::Never
        } else {
            skip
        };
        self.skipped.insert(request_id.to_owned(), next);
        skip != Skip::Never
    }

    fn commit(&mut self, job: &mut Job, operation: Operation, cursor: u64, now: u64) {
        let id = operation.note_id.clone();
        let there = self.tables.records.get(&id).cloned();
        let version = there.as_ref().map_or(0, |record| record.version.0);
        let request_id = operation.request_id.clone();
        if operation.base_version.0 != version {
            let conflict = Conflict {
                request_id: request_id.clone(),
                note_id: id,
                base_version: operation.base_version,
                current_version: Version(version),
                server_note: there,
                changed_fields: Vec::new(),
            };
            if self.habits.remembers_conflicts {
                let known = Remembered::Conflict(conflict.clone());
                self.tables.memory.insert(request_id, (now, known));
            }
            job.answer.conflicts.push(conflict);
            return;
        }
        if !self.effects.insert(request_id.clone()) {
            self.fault(format!("an operation on {id} had its effect twice"));
        }
        let fields = operation.note.map(|note| note.fields);
        self.look_for_repeats(job.by, &id, fields.as_ref(), there.as_ref());
        let record = self.write(&id, fields, Some(job.by), cursor, Some(&request_id), now);
        let applied = Applied {
            request_id: request_id.clone(),
            note: self.habits.shows_applied.then_some(record),
            cursor: Cursor(cursor),
        };
        let known = Remembered::Applied(applied.clone());
        self.tables.memory.insert(request_id, (now, known));
        job.answer.applied.push(applied);
    }

    fn write(
        &mut self,
        id: &str,
        fields: Option<Map<String, Value>>,
        by: Option<usize>,
        cursor: u64,
        request_id: Option<&str>,
        now: u64,
    ) -> Record {
        let before = self.tables.records.get(id);
        let at = UnixMillis(i64::try_from(now).unwrap());
        let mut record = Record {
            id: id.to_owned(),
            version: Version(before.map_or(0, |r| r.version.0) + 1),
            created_at: before.map_or(at, |r| r.created_at),
            updated_at: at,
            deleted_at: fields.is_none().then_some(at),
            fields: Map::new(),
        };
        let past = Past {
            version: record.version.0,
            by,
            fields: fields.clone(),
        };
        self.past.entry(id.to_owned()).or_default().push(past);
        let op = if fields.is_some() {
            Op::Upsert
        } else {
            Op::Delete
        };
        match (fields, before) {
            (Some(fields), _) => record.fields = fields,
            (None, Some(before)) if self.habits.tombstones_keep_fields => {
                record.fields = before.fields.clone();
            }
            _ => {}
        }
        if self.habits.stamps {
            let device = by.map_or_else(|| "service".to_owned(), |by| format!("device-{by}"));
            record.fields.insert(STAMP.into(), device.into());
        }
        self.tables.records.insert(id.to_owned(), record.clone());
        let change = Change {
            cursor: Cursor(cursor),
            op,
            note: Some(record.clone()),
            request_id: request_id.map(str::to_owned),
        };
        let place = self
            .tables
            .log
            .partition_point(|e| e.change.cursor.0 < cursor);
        let committed_at = now;
        self.tables.log.insert(
            place,
            Entry {
                change,
                committed_at,
            },
        );
        self.news.push(cursor);
        record
    }

    /// A write of the service's own: another device, or a process of its own.
    pub(crate) fn write_itself(&mut self, id: &str, field: &str, token: String, now: u64) -> bool {
        if self.locked.contains(id) {
            return false;
        }
        let there = self.tables.records.get(id).filter(|r| !r.is_deleted());
        let mut fields = there
            .map(|record| record.fields.clone())
            .unwrap_or_default();
        fields.insert(field.to_owned(), token.into());
        self.tables.last_cursor += 1;
        let cursor = self.tables.last_cursor;
        self.write(id, Some(fields), None, cursor, None, now);
        true
    }

    /// Forgets changes that everyone who was there has seen.
    pub(crate) fn prune(&mut self, now: u64, keep: usize) {
        if !self.habits.prunes {
            return;
        }
        let log = &mut self.tables.log;
        let old = log
            .iter()
            .take_while(|e| now - e.committed_at > OLD_MS)
            .count();
        let gone = old.min(log.len().saturating_sub(keep));
        if let Some(last) = log.drain(..gone).next_back() {
            self.tables.pruned_to = last.change.cursor.0;
        }
    }

    /// A content that was there before and was overwritten comes back only if an app decided so.
    fn look_for_repeats(
        &mut self,
        by: usize,
        id: &str,
        fields: Option<&Map<String, Value>>,
        before: Option<&Record>,
    ) {
        if self.decided.contains(&(by, id.to_owned())) {
            return;
        }
        let live = before.filter(|record| !record.is_deleted());
        let (Some(fields), Some(past)) = (fields, self.past.get(id)) else {
            if before.is_some() && live.is_none() {
                self.fault(format!("{id} was deleted twice"));
            }
            return;
        };
        let mut new = false;
        let mut again = None;
        for (name, value) in fields.iter().filter(|(name, _)| *name != STAMP) {
            if live.is_some_and(|live| live.fields.get(name) == Some(value)) {
                continue;
            }
            new = true;
            let seen = |past: &Past| {
                past.fields
                    .as_ref()
                    .is_some_and(|f| f.get(name) == Some(value))
            };
            if past.iter().any(seen) {
                again = Some(format!("{id}.{name} = {value} came back"));
            }
        }
        if let Some(live) = live {
            new |= live
                .fields
                .keys()
                .any(|name| name != STAMP && !fields.contains_key(name));
        }
        if let Some(again) = again {
            self.fault(again);
        } else if !new && live.is_some() {
            self.fault(format!("{id} was written again as it was"));
        }
    }

    fn fault(&mut self, what: String) {
        self.wrong.get_or_insert(what);
    }
}

pub(crate) fn answer(status: u16, code: &str) -> Failure {
    let body = format!(r#"{{"error":{{"code":"{code}","message":"scripted","retryable":false}}}}"#);
    Failure::from_response(Request::Push, status, &HeaderMap::new(), body.as_bytes())
}

pub(crate) fn broken() -> Failure {
    Failure::local(Cause::ConnectionLost, "scripted")
}

/// In a value, it makes the service refuse the record.
pub(crate) const POISON: &str = "poison";
pub(crate) const STAMP: &str = "lastModifiedByDeviceId";
const DAY_MS: u64 = 24 * 3_600_000;
/// Beyond what may still be in the making.
const OLD_MS: u64 = 60_000;
