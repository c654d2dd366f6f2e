//! A replica that forgets everything when the process ends.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex};

use evenkeel_proto::Failure;
use evenkeel_proto::engine::Backlog;
use evenkeel_proto::wire::{
    Cursor, Op, Operation, PullPage, PushAnswer, PushRequest, Record, Snapshot, UnixMillis, Version,
};
use serde_json::{Map, Value};

use super::outbox::{LeftOut, Outbox, carries};
use super::{BatchLimits, Replica, ReplicaError, ReplicaFuture, ReplicaSignal};
use crate::changes::{Change, Origin};
use crate::guard::locked;
use crate::state::wall_ms;

/// Records in memory, for demos, tools and tests. **Not durable**: local writes that were not sent
/// are gone when the process ends. Clones share the same records.
///
/// ```
/// use evenkeel::MemoryReplica;
/// let notes = MemoryReplica::new();
/// let mut fields = serde_json::Map::new();
/// fields.insert("content".into(), "milk".into());
/// notes.put("n1", fields)?;
/// assert_eq!(notes.get("n1").unwrap().fields["content"], "milk");
/// # Ok::<(), evenkeel::WriteError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryReplica(Arc<Mutex<State>>);

/// A record that changed here and on the server. Both sides are kept until the app decides:
/// [`MemoryReplica::put`] or [`MemoryReplica::delete`] sends the app's decision, based on the server's
/// side; [`MemoryReplica::keep_server`] takes the server's.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConflictingRecord {
    /// Which record.
    pub id: String,
    /// What this app wants; `None` for a deletion.
    pub local: Option<Record>,
    /// What the server has; `None` where it has no such record.
    pub server: Option<Record>,
}

/// A write that the server does not take. It stays in the app's view; a new write to the record
/// replaces it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RefusedWrite {
    /// Which record.
    pub id: String,
    /// What this app wanted; `None` for a deletion.
    pub wanted: Option<Record>,
    /// What the server said.
    pub reason: String,
}

/// A local write was not taken; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// As many writes wait (or are in conflict, or refused) as are kept. Wait until some are sent, or
    /// decide some.
    #[error("the outbox is full")]
    OutboxFull,
    /// A record's id must have 1 to 128 characters.
    #[error("a record's id must have 1 to 128 characters")]
    Id,
}

#[derive(Debug, Default)]
struct State {
    /// The server's copies, tombstones included: an older change must not bring them back.
    records: BTreeMap<String, Record>,
    cursor: Option<Cursor>,
    outbox: Outbox,
    conflicts: BTreeMap<String, ConflictingRecord>,
    refused: BTreeMap<String, RefusedWrite>,
    signal: Option<ReplicaSignal>,
}

impl MemoryReplica {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The record as this app sees it: with the local writes that wait. `None` if there is none, or
    /// it was deleted.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Record> {
        locked(&self.0).view(id)
    }

    /// All records as this app sees them, by id.
    #[must_use]
    pub fn list(&self) -> Vec<Record> {
        let state = locked(&self.0);
        state.ids().iter().filter_map(|id| state.view(id)).collect()
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let state = locked(&self.0);
        let ids = state.ids();
        ids.iter().filter(|id| state.view(id).is_some()).count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes a record and queues the write for the server. Settles a conflict over the record.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub fn put(&self, id: &str, fields: Map<String, Value>) -> Result<(), WriteError> {
        self.write(id, Some(fields))
    }

    /// Deletes a record and queues that for the server. Settles a conflict over the record.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub fn delete(&self, id: &str) -> Result<(), WriteError> {
        self.write(id, None)
    }

    /// The records that wait for a decision, by id.
    #[must_use]
    pub fn conflicts(&self) -> Vec<ConflictingRecord> {
        locked(&self.0).conflicts.values().cloned().collect()
    }

    /// Settles a conflict for the server's side. Whether there was one.
    pub fn keep_server(&self, id: &str) -> bool {
        let settled = locked(&self.0).conflicts.remove(id).is_some();
        if settled {
            self.signal(None);
        }
        settled
    }

    /// The writes that the server does not take, by record.
    #[must_use]
    pub fn refused(&self) -> Vec<RefusedWrite> {
        locked(&self.0).refused.values().cloned().collect()
    }

    fn write(&self, id: &str, fields: Option<Map<String, Value>>) -> Result<(), WriteError> {
        if !(1..=ID_CHARS_MAX).contains(&id.chars().count()) {
            return Err(WriteError::Id);
        }
        let change = locked(&self.0).write(id, fields)?;
        self.signal(Some(change));
        Ok(())
    }

    /// Outside the lock: the client may look at the backlog at once.
    fn signal(&self, change: Option<Change>) {
        let signal = locked(&self.0).signal.clone();
        if let Some(signal) = signal {
            signal.wrote(change);
        }
    }
}

impl State {
    fn write(
        &mut self,
        id: &str,
        fields: Option<Map<String, Value>>,
    ) -> Result<Change, WriteError> {
        let kept = self.outbox.len() + self.conflicts.len() + self.refused.len();
        let replaces = self.outbox.would_fold(id)
            || self.conflicts.contains_key(id)
            || self.refused.contains_key(id);
        if kept >= WRITES_KEPT_MAX && !replaces {
            return Err(WriteError::OutboxFull);
        }
        let now = UnixMillis(i64::try_from(wall_ms()).unwrap_or(i64::MAX));
        let created_at = self.view(id).map_or(now, |record| record.created_at);
        self.conflicts.remove(id);
        self.refused.remove(id);
        let base = self.records.get(id).map_or(Version::ZERO, |r| r.version);
        let op = if fields.is_some() {
            Op::Upsert
        } else {
            Op::Delete
        };
        let note = fields.map(|fields| Record {
            id: id.to_owned(),
            version: base,
            created_at,
            updated_at: now,
            deleted_at: None,
            fields,
        });
        let change = change(id, base, note.is_none(), Origin::Local);
        self.outbox.push(Operation {
            request_id: uuid::Uuid::new_v4().to_string(),
            op,
            note_id: id.to_owned(),
            base_version: base,
            note,
            client_changed_fields: None,
            base_note: None,
            auto_merge_attempted: None,
        });
        Ok(change)
    }

    /// With the local writes on top.
    fn view(&self, id: &str) -> Option<Record> {
        if let Some(operation) = self.outbox.latest(id) {
            return operation.note.clone();
        }
        if let Some(conflict) = self.conflicts.get(id) {
            return conflict.local.clone();
        }
        if let Some(refused) = self.refused.get(id) {
            return refused.wanted.clone();
        }
        self.records.get(id).filter(|r| !r.is_deleted()).cloned()
    }

    /// Of everything that may be seen, in order.
    fn ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.records.keys().cloned().collect();
        ids.extend(self.conflicts.keys().cloned());
        ids.extend(self.refused.keys().cloned());
        ids.extend(self.outbox.ids().map(str::to_owned));
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Takes the server's copy over if it is newer.
    fn take(&mut self, record: Record) -> Option<Change> {
        let known = self.records.get(&record.id);
        if known.is_some_and(|known| known.version >= record.version) {
            return None;
        }
        let change = change(
            &record.id,
            record.version,
            record.is_deleted(),
            Origin::Remote,
        );
        self.records.insert(record.id.clone(), record);
        Some(change)
    }

    fn apply_page(&mut self, from: Cursor, page: PullPage) -> Result<Vec<Change>, ReplicaError> {
        let cursor = self.cursor.unwrap_or_default();
        if from > cursor {
            return Err(ReplicaError::Gap { from, cursor });
        }
        if page.reset_required {
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        for entry in page.changes {
            let Some(mut record) = entry.note else {
                continue;
            };
            if entry.op == Op::Delete && record.deleted_at.is_none() {
                record.deleted_at = Some(record.updated_at);
            }
            // Our own write, whose answer may have been lost.
            if let Some(request_id) = &entry.request_id
                && self.outbox.settle(request_id).is_some()
            {
                self.outbox.rebase(&record.id, record.version);
            }
            changes.extend(self.take(record));
        }
        self.cursor = Some(cursor.max(page.next_cursor));
        Ok(changes)
    }

    fn replace(&mut self, snapshot: Snapshot, resume: Option<Cursor>) -> Vec<Change> {
        self.cursor = Some(resume.unwrap_or(snapshot.cursor));
        self.records = snapshot
            .notes
            .into_iter()
            .map(|record| (record.id.clone(), record))
            .collect();
        let records = self.records.values().filter(|r| !r.is_deleted()).count() as u64;
        vec![Change::Replaced { records }]
    }

    fn apply_push(&mut self, batch: &PushRequest, answer: PushAnswer) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut open: BTreeMap<&str, ()> = batch
            .operations
            .iter()
            .map(|operation| (operation.request_id.as_str(), ()))
            .collect();
        for applied in answer.applied {
            open.remove(applied.request_id.as_str());
            let settled = self.outbox.settle(&applied.request_id).is_some();
            if let Some(record) = applied.note {
                if settled {
                    self.outbox.rebase(&record.id, record.version);
                }
                changes.extend(self.take(record));
            }
        }
        for conflict in answer.conflicts {
            open.remove(conflict.request_id.as_str());
            let Some(operation) = self.outbox.settle(&conflict.request_id) else {
                continue;
            };
            changes.extend(self.conflict(operation, conflict.server_note));
        }
        for request_id in open.into_keys() {
            if self.outbox.left_out(request_id) == Some(LeftOut::GiveUp)
                && let Some(operation) = self.outbox.settle(request_id)
            {
                self.refuse(operation, "the server's answers leave this write out");
            }
        }
        self.outbox.grow_batches();
        changes
    }

    fn conflict(&mut self, operation: Operation, server: Option<Record>) -> Option<Change> {
        if let Some(record) = &server
            && carries(record, &operation)
        {
            // It was applied before, and forgotten: both sides agree.
            self.outbox.rebase(&record.id, record.version);
            return server.and_then(|record| self.take(record));
        }
        let id = operation.note_id.clone();
        let later = self.outbox.drain_record(&id).into_iter().next();
        let local = later.unwrap_or(operation).note;
        let conflict = ConflictingRecord {
            id: id.clone(),
            local,
            server: server.clone(),
        };
        self.conflicts.insert(id, conflict);
        server.and_then(|record| self.take(record))
    }

    fn refuse(&mut self, operation: Operation, reason: &str) {
        let refused = RefusedWrite {
            id: operation.note_id.clone(),
            wanted: operation.note,
            reason: reason.to_owned(),
        };
        self.refused.insert(operation.note_id, refused);
    }

    fn refuse_push(&mut self, mut batch: PushRequest, failure: &Failure) {
        if let [_] = batch.operations.as_slice() {
            if let Some(operation) = batch.operations.pop()
                && self.outbox.settle(&operation.request_id).is_some()
            {
                self.refuse(operation, &failure.message);
            }
            self.outbox.grow_batches();
        } else {
            self.outbox.shrink_batches(batch.operations.len());
        }
    }
}

fn change(id: &str, version: Version, deleted: bool, origin: Origin) -> Change {
    let id = id.to_owned();
    if deleted {
        Change::Deleted {
            id,
            version,
            origin,
        }
    } else {
        Change::Upserted {
            id,
            version,
            origin,
        }
    }
}

fn done<'a, T: Send + 'a>(result: Result<T, ReplicaError>) -> ReplicaFuture<'a, T> {
    Box::pin(ready(result))
}

impl Replica for MemoryReplica {
    fn attach(&self, signal: ReplicaSignal) {
        locked(&self.0).signal = Some(signal);
    }

    fn cursor(&self) -> ReplicaFuture<'_, Option<Cursor>> {
        done(Ok(locked(&self.0).cursor))
    }

    fn backlog(&self) -> Backlog {
        let state = locked(&self.0);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Backlog {
            waiting: count(state.outbox.len()),
            conflicts: count(state.conflicts.len()),
            rejected: count(state.refused.len()),
        }
    }

    fn apply_page(&self, from: Cursor, page: PullPage) -> ReplicaFuture<'_, Vec<Change>> {
        done(locked(&self.0).apply_page(from, page))
    }

    fn replace(
        &self,
        snapshot: Snapshot,
        resume: Option<Cursor>,
    ) -> ReplicaFuture<'_, Vec<Change>> {
        done(Ok(locked(&self.0).replace(snapshot, resume)))
    }

    fn take_batch(&self, limits: BatchLimits) -> ReplicaFuture<'_, Option<PushRequest>> {
        done(Ok(locked(&self.0).outbox.take_batch(limits)))
    }

    fn apply_push(&self, batch: PushRequest, answer: PushAnswer) -> ReplicaFuture<'_, Vec<Change>> {
        done(Ok(locked(&self.0).apply_push(&batch, answer)))
    }

    fn refuse_push(&self, batch: PushRequest, failure: Failure) -> ReplicaFuture<'_, ()> {
        locked(&self.0).refuse_push(batch, &failure);
        done(Ok(()))
    }
}

const ID_CHARS_MAX: usize = 128;
const WRITES_KEPT_MAX: usize = 1_000;

#[cfg(test)]
mod tests;
