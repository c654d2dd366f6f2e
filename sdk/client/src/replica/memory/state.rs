//! What the replica in memory knows, and how each thing that happens changes it.

use std::collections::BTreeMap;

use evenkeel_proto::engine::Pulled;
use evenkeel_proto::wire::{
    Cursor, Op, Operation, PullPage, PushAnswer, PushRequest, Record, Snapshot, UnixMillis, Version,
};
use evenkeel_proto::{Failure, OutboxLevel};
use serde_json::{Map, Value};

use super::{ConflictingRecord, RefusedWrite, WriteError};
use crate::changes::{Change, Origin};
use crate::replica::outbox::{LeftOut, Outbox, carries};
use crate::replica::{ReplicaError, ReplicaSignal};
use crate::state::wall_ms;

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The server's copies, tombstones included: an older change must not bring them back.
    records: BTreeMap<String, Record>,
    pub(super) cursor: Option<Cursor>,
    pub(super) settled: Cursor,
    pub(super) outbox: Outbox,
    pub(super) conflicts: BTreeMap<String, ConflictingRecord>,
    pub(super) refused: BTreeMap<String, RefusedWrite>,
    pub(super) signal: Option<ReplicaSignal>,
}

impl State {
    pub(super) fn level(&self) -> OutboxLevel {
        match self.outbox.len() + self.conflicts.len() + self.refused.len() {
            WRITES_KEPT_MAX.. => OutboxLevel::Blocked,
            BACKLOG_MIN.. => OutboxLevel::Backlog,
            _ => OutboxLevel::Normal,
        }
    }

    pub(super) fn write(
        &mut self,
        id: &str,
        fields: Option<Map<String, Value>>,
    ) -> Result<Change, WriteError> {
        let replaces = self.outbox.would_fold(id)
            || self.conflicts.contains_key(id)
            || self.refused.contains_key(id);
        if self.level() == OutboxLevel::Blocked && !replaces {
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
        let change = Change::of(id, base, note.is_none(), Origin::Local);
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
    pub(super) fn view(&self, id: &str) -> Option<Record> {
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
    pub(super) fn ids(&self) -> Vec<String> {
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
        let change = Change::of(
            &record.id,
            record.version,
            record.is_deleted(),
            Origin::Remote,
        );
        self.records.insert(record.id.clone(), record);
        Some(change)
    }

    pub(super) fn apply_page(
        &mut self,
        from: Cursor,
        page: PullPage,
        settles: Option<Cursor>,
    ) -> Result<(Pulled, Vec<Change>), ReplicaError> {
        let cursor = self.cursor.unwrap_or_default();
        if from > cursor {
            return Err(ReplicaError::Gap { from, cursor });
        }
        let pulled = Pulled {
            changes: u32::try_from(page.changes.len()).unwrap_or(u32::MAX),
            next: page.next_cursor,
            reset_required: page.reset_required,
        };
        if page.reset_required {
            return Ok((pulled, Vec::new()));
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
        if let Some(settles) = settles.filter(|&settles| pulled.reaches(from, settles)) {
            self.settled = self.settled.max(settles);
        }
        Ok((pulled, changes))
    }

    pub(super) fn replace(
        &mut self,
        snapshot: Snapshot,
        resume: Option<Cursor>,
    ) -> (Cursor, Vec<Change>) {
        let cursor = resume.unwrap_or(snapshot.cursor);
        self.cursor = Some(cursor);
        self.settled = Cursor::ZERO;
        self.records = snapshot
            .notes
            .into_iter()
            .map(|record| (record.id.clone(), record))
            .collect();
        let records = self.records.values().filter(|r| !r.is_deleted()).count() as u64;
        (cursor, vec![Change::Replaced { records }])
    }

    pub(super) fn apply_push(&mut self, batch: &PushRequest, answer: PushAnswer) -> Vec<Change> {
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

    /// The server does not take it: it waits for the app, unless the app has written the record anew since then.
    fn refuse(&mut self, operation: Operation, reason: &str) {
        if self.outbox.latest(&operation.note_id).is_some() {
            return;
        }
        let refused = RefusedWrite {
            id: operation.note_id.clone(),
            wanted: operation.note,
            reason: reason.to_owned(),
        };
        self.refused.insert(operation.note_id, refused);
    }

    pub(super) fn refuse_push(&mut self, mut batch: PushRequest, failure: &Failure) {
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

pub(super) const WRITES_KEPT_MAX: usize = 1_000;
const BACKLOG_MIN: usize = 500;
