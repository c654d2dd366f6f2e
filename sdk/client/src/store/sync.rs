//! What the server says: each function is the body of one transaction.

use std::collections::HashSet;

use evenkeel_proto::engine::Pulled;
use evenkeel_proto::wire::{
    self, Conflict, Cursor, Op, Operation, PUSH_OPERATIONS_MAX, PushAnswer, PushRequest, Record,
    Version,
};
use evenkeel_proto::{Cause, Failure};
use rusqlite::OptionalExtension as _;

use super::error::StoreError;
use super::rows::{Session, signed, unsigned};
use super::settle::Guard;
use super::types::RejectReason;
use crate::changes::{Change, Origin};
use crate::replica::{BatchLimits, PageBody, ReplicaError, SnapshotBody};

/// What is learned from refusals, and how fresh the copies are; not kept over a restart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How many operations the next batch may hold; halved when a batch is refused.
    ops_max: usize,
    /// How many bytes, once the service found a batch too large.
    bytes_max: usize,
    /// When a pull last ended with nothing more to pull.
    caught_up_ms: Option<i64>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            ops_max: PUSH_OPERATIONS_MAX,
            bytes_max: usize::MAX,
            caught_up_ms: None,
        }
    }
}

/// A page was not applied.
pub(super) enum Undone {
    /// It asks for a reset, as may show only at its end.
    Reset(Pulled),
    Failed(ReplicaError),
}

impl<E: Into<ReplicaError>> From<E> for Undone {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What can be sent.
pub(super) enum Batch {
    Operations(PushRequest),
    Nothing,
    /// All that waits is so old that a pull has to show first what became of it.
    AfterPull,
}

impl Pace {
    fn grow(&mut self) {
        self.ops_max = (self.ops_max * 2).min(PUSH_OPERATIONS_MAX);
    }
}

impl Session<'_> {
    pub(super) fn cursor(&self) -> Result<Option<Cursor>, StoreError> {
        let sql = "SELECT cursor FROM meta";
        let mut statement = self.db.prepare_cached(sql)?;
        let cursor: Option<Option<i64>> = statement.query_row([], |row| row.get(0)).optional()?;
        Ok(cursor.flatten().map(|cursor| Cursor(unsigned(cursor))))
    }

    pub(super) fn settled(&self) -> Result<Cursor, StoreError> {
        let mut statement = self.db.prepare_cached("SELECT settled FROM meta")?;
        let settled: Option<i64> = statement.query_row([], |row| row.get(0)).optional()?;
        Ok(settled.map_or(Cursor::ZERO, |settled| Cursor(unsigned(settled))))
    }

    fn set_cursor(&self, cursor: Cursor) -> Result<(), StoreError> {
        let mut statement = self.db.prepare_cached("UPDATE meta SET cursor = ?1")?;
        statement.execute([signed(cursor.0)])?;
        Ok(())
    }

    fn set_settled(&self, settled: Cursor) -> Result<(), StoreError> {
        let mut statement = self.db.prepare_cached("UPDATE meta SET settled = ?1")?;
        statement.execute([signed(settled.0)])?;
        Ok(())
    }

    pub(super) fn apply_page(
        &mut self,
        pace: &mut Pace,
        from: Cursor,
        page: PageBody,
    ) -> Result<(Pulled, Vec<Change>), Undone> {
        let cursor = self.cursor()?.unwrap_or_default();
        if from > cursor {
            return Err(ReplicaError::Gap { from, cursor }.into());
        }
        let settles = page.settles();
        let mut changes = Vec::new();
        // Applying a page adds nothing to it.
        let nothing_waits = self.is_outbox_empty()?;
        let pulled = page.read(|entry| self.apply_entry(entry, nothing_waits, &mut changes))?;
        if pulled.reset_required {
            return Err(Undone::Reset(pulled));
        }
        if pulled.changes == 0 && from == cursor {
            pace.caught_up_ms = Some(self.now_ms);
        }
        self.set_cursor(cursor.max(pulled.next))?;
        if let Some(settles) = settles.filter(|&settles| pulled.reaches(from, settles)) {
            self.set_settled(self.settled()?.max(settles))?;
        }
        changes.append(&mut self.news.merged);
        Ok((pulled, changes))
    }

    fn apply_entry(
        &mut self,
        entry: wire::Change,
        nothing_waits: bool,
        changes: &mut Vec<Change>,
    ) -> Result<(), ReplicaError> {
        let Some(mut record) = entry.note else {
            return Ok(());
        };
        if entry.op == Op::Delete && record.deleted_at.is_none() {
            record.deleted_at = Some(record.updated_at);
        }
        changes.extend(self.take(&record)?);
        // Our own write, whose answer may have been lost.
        if !nothing_waits
            && let Some(request_id) = &entry.request_id
            && let Some(op) = self.by_request(request_id)?
        {
            self.acknowledge(&op, Some(&record))?;
        }
        Ok(())
    }

    pub(super) fn replace(
        &mut self,
        snapshot: SnapshotBody,
        resume: Option<Cursor>,
    ) -> Result<(Cursor, Vec<Change>), ReplicaError> {
        let deleted = self.db.execute("DELETE FROM records", []);
        deleted.map_err(StoreError::from)?;
        let mut records = 0;
        let cursor = snapshot.read(|record| {
            self.store_record(&record)?;
            records += u64::from(!record.is_deleted());
            Ok::<_, ReplicaError>(())
        })?;
        let cursor = resume.unwrap_or(cursor);
        self.set_cursor(cursor)?;
        self.set_settled(Cursor::ZERO)?;
        self.rebase_unsent()?;
        // Everything is read again anyway.
        self.news.merged.clear();
        Ok((cursor, vec![Change::Replaced { records }]))
    }

    /// After a snapshot a version may name another content than the one that a write is based on (a
    /// restored database counts anew): writes that were never sent are put on the server's copies.
    fn rebase_unsent(&mut self) -> Result<(), StoreError> {
        let mut sketches = Vec::new();
        self.sketches(|sketch| {
            sketches.push(sketch);
            true
        })?;
        let sent = sketches.iter().filter(|sketch| sketch.sent);
        let busy: HashSet<_> = sent.map(|sketch| &sketch.record_id).collect();
        for sketch in sketches.iter().filter(|s| !busy.contains(&s.record_id)) {
            let Some(op) = self.by_seq(sketch.seq)? else {
                continue;
            };
            let server = self.record(&op.wish.id)?;
            let live = server.as_ref().filter(|record| !record.is_deleted());
            let version = server.as_ref().map_or(Version::ZERO, |s| s.version);
            let same = op.wish.base_version == version
                && op.wish.base.as_ref() == live.map(|record| &record.fields);
            if !same {
                self.meet(op, server.as_ref(), Guard::Off)?;
            }
        }
        Ok(())
    }

    /// Takes the server's copy over if it is newer.
    fn take(&mut self, record: &Record) -> Result<Option<Change>, StoreError> {
        if !self.store_record(record)? {
            return Ok(None);
        }
        let deleted = record.is_deleted();
        let change = Change::of(&record.id, record.version, deleted, Origin::Remote);
        Ok(Some(change))
    }

    /// The server has no such record (any more).
    fn forget(&mut self, id: &str) -> Result<Option<Change>, StoreError> {
        let known = self.record(id)?;
        self.db.execute("DELETE FROM records WHERE id = ?1", [id])?;
        let known = known.filter(|known| !known.is_deleted());
        Ok(known.map(|known| Change::Deleted {
            id: known.id,
            version: Version::ZERO,
            origin: Origin::Remote,
        }))
    }

    pub(super) fn take_batch(
        &mut self,
        pace: &Pace,
        limits: BatchLimits,
    ) -> Result<Batch, StoreError> {
        let ops_max = limits.ops_max.min(pace.ops_max);
        let ops_max = ops_max.clamp(1, PUSH_OPERATIONS_MAX);
        let bytes_max = limits.bytes_max.min(pace.bytes_max);
        let held = self.settle_old(pace)?;
        let mut oldest = Vec::new();
        let mut busy = HashSet::new();
        self.sketches(|sketch| {
            // The second write to a record is based on what the first one leads to.
            if busy.insert(sketch.record_id) && !held.contains(&sketch.seq) {
                oldest.push(sketch.seq);
            }
            oldest.len() < ops_max
        })?;
        let mut operations: Vec<Operation> = Vec::new();
        let mut bytes = ENVELOPE_BYTES;
        for seq in oldest {
            let Some(op) = self.by_seq(seq)? else {
                continue;
            };
            let (operation, body) = match op.body {
                Some(body) => (serde_json::from_str(&body), body),
                None => {
                    let operation = op.operation();
                    let body = serde_json::to_string(&operation).map_err(StoreError::corrupt)?;
                    (Ok(operation), body)
                }
            };
            bytes += body.len() + 1;
            if bytes > bytes_max && !operations.is_empty() {
                break;
            }
            self.mark_sent(seq, &body)?;
            operations.push(operation.map_err(StoreError::corrupt)?);
        }
        Ok(match (operations.is_empty(), held.is_empty()) {
            (false, _) => Batch::Operations(PushRequest { operations }),
            (true, true) => Batch::Nothing,
            (true, false) => Batch::AfterPull,
        })
    }

    /// Compares operations that the service may have forgotten with what was pulled since they were
    /// sent, and gives back those for which that has yet to happen.
    fn settle_old(&mut self, pace: &Pace) -> Result<HashSet<i64>, StoreError> {
        let window = millis(self.options.idempotency_window);
        let mut held = HashSet::new();
        let sent = self.sent()?;
        // A clock that was set back does not make an operation young again.
        let now = sent.iter().map(|s| s.last_ms).fold(self.now_ms, i64::max);
        for op in sent {
            if now.saturating_sub(op.first_ms) < window {
                continue;
            }
            let settled = op.last_ms.saturating_add(ON_ITS_WAY_MS.min(window));
            if pace.caught_up_ms.is_none_or(|at| at < settled) {
                held.insert(op.seq);
            } else if let Some(op) = self.by_seq(op.seq)? {
                let server = self.record(&op.wish.id)?;
                self.meet(op, server.as_ref(), Guard::Off)?;
            }
        }
        Ok(held)
    }

    pub(super) fn apply_push(
        &mut self,
        pace: &mut Pace,
        batch: &PushRequest,
        answer: PushAnswer,
    ) -> Result<Vec<Change>, StoreError> {
        let mut changes = Vec::new();
        let mut open: HashSet<_> = batch.operations.iter().map(|op| &op.request_id).collect();
        for applied in &answer.applied {
            open.remove(&applied.request_id);
            if let Some(record) = &applied.note {
                changes.extend(self.take(record)?);
            }
            if let Some(op) = self.by_request(&applied.request_id)? {
                self.acknowledge(&op, applied.note.as_ref())?;
            }
        }
        for conflict in answer.conflicts {
            open.remove(&conflict.request_id);
            changes.extend(self.conflicted(conflict)?);
        }
        for operation in &batch.operations {
            if !open.contains(&operation.request_id) {
                continue;
            }
            let Some(op) = self.by_request(&operation.request_id)? else {
                continue;
            };
            if op.left_out >= RESENDS_MAX {
                self.give_up(&op, RejectReason::LeftOut)?;
            } else {
                self.mark_left_out(op.seq)?;
            }
        }
        changes.append(&mut self.news.merged);
        pace.grow();
        Ok(changes)
    }

    fn conflicted(&mut self, conflict: Conflict) -> Result<Option<Change>, StoreError> {
        let Some(op) = self.by_request(&conflict.request_id)? else {
            return Ok(None);
        };
        let change = match &conflict.server_note {
            Some(record) => self.take(record)?,
            None if conflict.current_version == Version::ZERO => self.forget(&op.wish.id)?,
            None => None,
        };
        // A later version may have been pulled already; an older one than that decides nothing.
        let known = self.record(&op.wish.id)?;
        let known = known.filter(|known| known.version >= conflict.current_version);
        let server = known.or(conflict.server_note);
        self.meet(op, server.as_ref(), Guard::On)?;
        Ok(change)
    }

    pub(super) fn refuse_push(
        &mut self,
        pace: &mut Pace,
        batch: &PushRequest,
        failure: Failure,
    ) -> Result<(), StoreError> {
        if let [operation] = batch.operations.as_slice() {
            if let Some(op) = self.by_request(&operation.request_id)? {
                self.give_up(&op, RejectReason::refused(failure))?;
            }
            pace.grow();
        } else if failure.cause == Cause::PayloadTooLarge {
            let sizes = batch.operations.iter().map(serde_json::to_vec);
            let bytes: usize = sizes.flatten().map(|body| body.len() + 1).sum();
            pace.bytes_max = ENVELOPE_BYTES + bytes / 2;
        } else {
            pace.ops_max = (batch.operations.len() / 2).max(1);
        }
        Ok(())
    }
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

const ENVELOPE_BYTES: usize = r#"{"operations":[]}"#.len();
const RESENDS_MAX: u32 = 1;
/// A request that was given up may still arrive.
const ON_ITS_WAY_MS: i64 = 30_000;
