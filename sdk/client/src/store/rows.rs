//! The tables, row by row. What a row means for another is not known here.

use std::sync::atomic::{AtomicBool, Ordering};

use evenkeel_proto::engine::Backlog;
use evenkeel_proto::merge::Fields;
use evenkeel_proto::wire::{Op, Operation, Record, UnixMillis, Version};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::error::StoreError;
use super::types::{Conflict, PendingWrite, Rejected, StoreOptions, Verdict};
use crate::changes::Change;

/// What one transaction works with, and what is to be told once it is committed.
pub(super) struct Session<'a> {
    pub(super) db: &'a Connection,
    pub(super) options: &'a StoreOptions,
    /// Names this open store.
    pub(super) me: &'a str,
    pub(super) now_ms: i64,
    /// The client is about to be suspended: long work ends here.
    pub(super) interrupted: &'a AtomicBool,
    pub(super) news: News,
}

#[derive(Default)]
pub(super) struct News {
    /// Handles that wait for one operation and shall wait for another; before the verdicts.
    pub(super) moved: Vec<(String, String)>,
    pub(super) verdicts: Vec<(String, Verdict)>,
    /// What the app did.
    pub(super) local: Vec<Change>,
    /// The app did something, with a record or without.
    pub(super) wrote: bool,
    /// What the app sees otherwise, though no copy of the server's was taken over just now.
    pub(super) merged: Vec<Change>,
}

/// What this app wants of a record, and what it is based on.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) id: String,
    pub(super) base_version: Version,
    /// `None` where there was no record, or a deleted one.
    pub(super) base: Option<Fields>,
    /// `None` for a deletion.
    pub(super) fields: Option<Fields>,
    pub(super) created_at: UnixMillis,
    pub(super) updated_at: UnixMillis,
}

/// A row of the outbox.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) wish: Wish,
    pub(super) seq: i64,
    pub(super) request_id: String,
    /// The open store that alone waits for the verdict; empty where there may be several.
    pub(super) writer: String,
    pub(super) merged: bool,
    pub(super) body: Option<String>,
    pub(super) left_out: u32,
}

/// What is looked at of a row of the outbox before it is read as a whole.
pub(super) struct Sketch {
    pub(super) seq: i64,
    pub(super) record_id: String,
    pub(super) sent: bool,
}

/// When an operation was sent for the first and for the last time.
pub(super) struct Sent {
    pub(super) seq: i64,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
}

/// How many operations there are.
pub(super) struct Counts {
    pub(super) waiting: u32,
    pub(super) conflicts: u32,
    pub(super) rejected: u32,
    /// How many of all of these count against the outbox's limits.
    pub(super) kept: u32,
}

impl Counts {
    pub(super) const fn backlog(&self, options: &StoreOptions) -> Backlog {
        Backlog {
            waiting: self.waiting,
            conflicts: self.conflicts,
            rejected: self.rejected,
            level: options.level(self.kept),
        }
    }
}

impl Wish {
    pub(super) fn record(&self, version: Version) -> Option<Record> {
        self.fields.as_ref().map(|fields| Record {
            id: self.id.clone(),
            version,
            created_at: self.created_at,
            updated_at: self.updated_at,
            deleted_at: None,
            fields: fields.clone(),
        })
    }

    /// There is no record, and none is wanted.
    pub(super) fn is_nothing(&self) -> bool {
        self.base.is_none() && self.fields.is_none()
    }
}

impl Waiting {
    pub(super) fn operation(&self) -> Operation {
        let nothing = Fields::new();
        let base = self.wish.base.as_ref().unwrap_or(&nothing);
        let changed = self.wish.fields.as_ref();
        let changed = changed.map(|fields| evenkeel_proto::merge::changed_fields(base, fields));
        Operation {
            request_id: self.request_id.clone(),
            op: match self.wish.fields {
                Some(_) => Op::Upsert,
                None => Op::Delete,
            },
            note_id: self.wish.id.clone(),
            base_version: self.wish.base_version,
            note: self.wish.record(self.wish.base_version),
            client_changed_fields: changed,
            // It would double each operation, and could bring a long record over the service's limit
            // for a body. The service has its own copy of the base.
            base_note: None,
            auto_merge_attempted: self.merged.then_some(true),
        }
    }
}

impl Session<'_> {
    pub(super) fn record(&self, id: &str) -> Result<Option<Record>, StoreError> {
        let sql = "SELECT id, version, created_at, updated_at, deleted_at, fields FROM records \
                   WHERE id = ?1";
        let mut statement = self.db.prepare_cached(sql)?;
        Ok(statement.query_row([id], record).optional()?)
    }

    /// Takes the server's copy over where it is newer than the one that is there; whether it was.
    pub(super) fn store_record(&self, record: &Record) -> Result<bool, StoreError> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(StoreError::Suspended);
        }
        let sql = "INSERT INTO records (id, version, created_at, updated_at, deleted_at, fields) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET \
                   version = excluded.version, created_at = excluded.created_at, \
                   updated_at = excluded.updated_at, deleted_at = excluded.deleted_at, \
                   fields = excluded.fields WHERE excluded.version > version";
        let rows = self.db.prepare_cached(sql)?.execute(params![
            record.id,
            signed(record.version.0),
            record.created_at.0,
            record.updated_at.0,
            record.deleted_at.map(|at| at.0),
            json(&record.fields)?,
        ])?;
        Ok(rows == 1)
    }

    /// The last operation that waits for a record: what the record will become.
    pub(super) fn latest(&self, id: &str) -> Result<Option<Waiting>, StoreError> {
        self.waiting("record_id = ?1 ORDER BY seq DESC LIMIT 1", &id)
    }

    /// The operation that waits for a record and was never sent.
    pub(super) fn unsent(&self, id: &str) -> Result<Option<Waiting>, StoreError> {
        self.waiting("record_id = ?1 AND body IS NULL", &id)
    }

    pub(super) fn by_request(&self, request_id: &str) -> Result<Option<Waiting>, StoreError> {
        self.waiting("request_id = ?1", &request_id)
    }

    pub(super) fn by_seq(&self, seq: i64) -> Result<Option<Waiting>, StoreError> {
        self.waiting("seq = ?1", &seq)
    }

    fn waiting(
        &self,
        which: &str,
        key: &dyn rusqlite::ToSql,
    ) -> Result<Option<Waiting>, StoreError> {
        let sql = format!(
            "SELECT {WISH}, seq, request_id, writer, merged, body, left_out FROM outbox \
             WHERE {which}"
        );
        let mut statement = self.db.prepare_cached(&sql)?;
        let row = statement.query_row([key], |row| {
            Ok(Waiting {
                wish: wish(row)?,
                seq: row.get(6)?,
                request_id: row.get(7)?,
                writer: row.get(8)?,
                merged: row.get(9)?,
                body: row.get(10)?,
                left_out: row.get(11)?,
            })
        });
        Ok(row.optional()?)
    }

    /// The outbox, oldest first, for as long as `wanted` says so; nothing is to be changed meanwhile.
    pub(super) fn sketches(
        &self,
        mut wanted: impl FnMut(Sketch) -> bool,
    ) -> Result<(), StoreError> {
        let sql = "SELECT seq, record_id, sent_first_ms IS NOT NULL FROM outbox ORDER BY seq";
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let sketch = Sketch {
                seq: row.get(0)?,
                record_id: row.get(1)?,
                sent: row.get(2)?,
            };
            if !wanted(sketch) {
                break;
            }
        }
        Ok(())
    }

    /// What was sent and is not settled, oldest first.
    pub(super) fn sent(&self) -> Result<Vec<Sent>, StoreError> {
        let sql = "SELECT seq, sent_first_ms, sent_last_ms FROM outbox INDEXED BY outbox_sent \
                   WHERE sent_first_ms IS NOT NULL ORDER BY seq";
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(Sent {
                seq: row.get(0)?,
                first_ms: row.get(1)?,
                last_ms: row.get(2)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn is_outbox_empty(&self) -> Result<bool, StoreError> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM outbox)";
        let mut statement = self.db.prepare_cached(sql)?;
        Ok(statement.query_row([], |row| row.get(0))?)
    }

    pub(super) fn pending(&self) -> Result<Vec<PendingWrite>, StoreError> {
        let sql = "SELECT record_id, fields IS NULL, body IS NOT NULL, updated_at FROM outbox \
                   ORDER BY seq";
        let mut statement = self.db.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            Ok(PendingWrite {
                id: row.get(0)?,
                deletion: row.get(1)?,
                sent: row.get(2)?,
                written_at: UnixMillis(row.get(3)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Puts an operation of this open store's at the end of the queue.
    pub(super) fn enqueue(&self, wish: &Wish) -> Result<String, StoreError> {
        self.insert(wish, None, false, self.me)
    }

    /// Puts an operation in the place of another that is gone.
    pub(super) fn replace_op(
        &self,
        gone: &Waiting,
        wish: &Wish,
        merged: bool,
    ) -> Result<String, StoreError> {
        self.insert(wish, Some(gone.seq), merged, &gone.writer)
    }

    fn insert(
        &self,
        wish: &Wish,
        seq: Option<i64>,
        merged: bool,
        writer: &str,
    ) -> Result<String, StoreError> {
        let request_id = uuid::Uuid::new_v4().to_string();
        let sql = format!(
            "INSERT INTO outbox ({WISH}, seq, request_id, merged, writer) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
        );
        self.db.prepare_cached(&sql)?.execute(params![
            wish.id,
            signed(wish.base_version.0),
            optional_json(wish.base.as_ref())?,
            optional_json(wish.fields.as_ref())?,
            wish.created_at.0,
            wish.updated_at.0,
            seq,
            request_id,
            merged,
            writer,
        ])?;
        Ok(request_id)
    }

    /// Gives an operation that was never sent another content or base.
    pub(super) fn rewrite(&self, op: &Waiting) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET base_version = ?2, base_fields = ?3, fields = ?4, \
                   updated_at = ?5, writer = ?6 WHERE seq = ?1 AND body IS NULL";
        self.db.prepare_cached(sql)?.execute(params![
            op.seq,
            signed(op.wish.base_version.0),
            optional_json(op.wish.base.as_ref())?,
            optional_json(op.wish.fields.as_ref())?,
            op.wish.updated_at.0,
            op.writer,
        ])?;
        Ok(())
    }

    /// Somebody else may wait for the operation than its writer.
    pub(super) fn share(&self, op: &Waiting) -> Result<(), StoreError> {
        if op.writer != self.me {
            let sql = "UPDATE outbox SET writer = '' WHERE seq = ?1";
            self.db.prepare_cached(sql)?.execute([op.seq])?;
        }
        Ok(())
    }

    /// An operation that does not count against the outbox's limits.
    pub(super) fn import(&self, wish: &Wish) -> Result<(), StoreError> {
        let request_id = self.enqueue(wish)?;
        let sql = "UPDATE outbox SET imported = 1 WHERE request_id = ?1";
        self.db.prepare_cached(sql)?.execute([request_id])?;
        Ok(())
    }

    /// Whether the app's earlier records were taken over already; from now on they are.
    pub(super) fn mark_bootstrapped(&self) -> Result<bool, StoreError> {
        let sql = "UPDATE meta SET bootstrapped_ms = ?1 WHERE bootstrapped_ms IS NULL";
        Ok(self.db.execute(sql, [self.now_ms])? == 0)
    }

    pub(super) fn mark_sent(&self, seq: i64, body: &str) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET body = ?2, sent_first_ms = coalesce(sent_first_ms, ?3), \
                   sent_last_ms = max(coalesce(sent_last_ms, ?3), ?3) WHERE seq = ?1";
        let mut statement = self.db.prepare_cached(sql)?;
        statement.execute(params![seq, body, self.now_ms])?;
        Ok(())
    }

    pub(super) fn mark_left_out(&self, seq: i64) -> Result<(), StoreError> {
        let sql = "UPDATE outbox SET left_out = left_out + 1 WHERE seq = ?1";
        self.db.prepare_cached(sql)?.execute([seq])?;
        Ok(())
    }

    pub(super) fn remove(&self, seq: i64) -> Result<(), StoreError> {
        let sql = "DELETE FROM outbox WHERE seq = ?1";
        self.db.prepare_cached(sql)?.execute([seq])?;
        Ok(())
    }

    pub(super) fn conflicts(&self) -> Result<Vec<(Wish, i64)>, StoreError> {
        let sql = format!("SELECT {WISH}, since_ms FROM conflicts ORDER BY since_ms, record_id");
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map([], |row| Ok((wish(row)?, row.get(6)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The app's view of a conflict.
    pub(super) fn conflict(&self, wish: Wish, since_ms: i64) -> Result<Conflict, StoreError> {
        let server = self.record(&wish.id)?;
        let theirs = server.as_ref().filter(|record| !record.is_deleted());
        let fields = theirs.map(|record| &record.fields);
        let clash = super::settle::merged(&wish, fields).err();
        Ok(Conflict {
            local: wish.record(server.as_ref().map_or(Version::ZERO, |s| s.version)),
            id: wish.id,
            base: wish.base,
            server,
            clash,
            since_ms: u64::try_from(since_ms).unwrap_or(0),
        })
    }

    pub(super) fn put_in_conflict(&self, wish: &Wish) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT OR REPLACE INTO conflicts ({WISH}, since_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
        );
        self.db.prepare_cached(&sql)?.execute(params![
            wish.id,
            signed(wish.base_version.0),
            optional_json(wish.base.as_ref())?,
            optional_json(wish.fields.as_ref())?,
            wish.created_at.0,
            wish.updated_at.0,
            self.now_ms,
        ])?;
        Ok(())
    }

    pub(super) fn take_conflict(&self, id: &str) -> Result<Option<Wish>, StoreError> {
        self.take_wish("conflicts", id)
    }

    pub(super) fn parked(&self) -> Result<Vec<Rejected>, StoreError> {
        let sql =
            format!("SELECT {WISH}, since_ms, reason FROM parked ORDER BY since_ms, record_id");
        let mut statement = self.db.prepare_cached(&sql)?;
        let rows = statement.query_map([], |row| {
            let wish = wish(row)?;
            let reason: String = row.get(7)?;
            Ok(Rejected {
                wanted: wish.record(wish.base_version),
                id: wish.id,
                reason: serde_json::from_str(&reason).map_err(|e| unreadable(7, e))?,
                since_ms: unsigned(row.get(6)?),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    pub(super) fn park(&self, wish: &Wish, reason: &str) -> Result<(), StoreError> {
        let sql = format!(
            "INSERT OR REPLACE INTO parked ({WISH}, since_ms, reason) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        );
        self.db.prepare_cached(&sql)?.execute(params![
            wish.id,
            signed(wish.base_version.0),
            optional_json(wish.base.as_ref())?,
            optional_json(wish.fields.as_ref())?,
            wish.created_at.0,
            wish.updated_at.0,
            self.now_ms,
            reason,
        ])?;
        Ok(())
    }

    pub(super) fn take_parked(&self, id: &str) -> Result<Option<Wish>, StoreError> {
        self.take_wish("parked", id)
    }

    fn take_wish(&self, table: &str, id: &str) -> Result<Option<Wish>, StoreError> {
        let sql = format!("DELETE FROM {table} WHERE record_id = ?1 RETURNING {WISH}");
        let mut statement = self.db.prepare_cached(&sql)?;
        Ok(statement.query_row([id], wish).optional()?)
    }

    pub(super) fn counts(&self) -> Result<Counts, StoreError> {
        counts(self.db)
    }

    /// When a record was last merged without asking.
    pub(super) fn merged_at(&self, id: &str) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT at_ms FROM merges WHERE record_id = ?1";
        let mut statement = self.db.prepare_cached(sql)?;
        Ok(statement.query_row([id], |row| row.get(0)).optional()?)
    }

    /// Remembers a merge, and forgets those that are too old to matter.
    pub(super) fn mark_merged(&self, id: &str, forget_ms: i64) -> Result<(), StoreError> {
        let sql = "DELETE FROM merges WHERE at_ms < ?1";
        self.db.prepare_cached(sql)?.execute([forget_ms])?;
        let sql = "INSERT OR REPLACE INTO merges VALUES (?1, ?2)";
        self.db
            .prepare_cached(sql)?
            .execute(params![id, self.now_ms])?;
        Ok(())
    }
}

pub(super) fn counts(db: &Connection) -> Result<Counts, StoreError> {
    let sql = "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM conflicts), \
               (SELECT count(*) FROM parked), (SELECT count(*) FROM outbox WHERE imported)";
    let mut statement = db.prepare_cached(sql)?;
    let counts = statement.query_row([], |row| {
        let imported: u32 = row.get(3)?;
        let counts = Counts {
            waiting: row.get(0)?,
            conflicts: row.get(1)?,
            rejected: row.get(2)?,
            kept: 0,
        };
        Ok(Counts {
            kept: counts.waiting + counts.conflicts + counts.rejected - imported,
            ..counts
        })
    });
    Ok(counts?)
}

pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        id: row.get(0)?,
        version: Version(unsigned(row.get(1)?)),
        created_at: UnixMillis(row.get(2)?),
        updated_at: UnixMillis(row.get(3)?),
        deleted_at: row.get::<_, Option<i64>>(4)?.map(UnixMillis),
        fields: fields(row, 5)?.unwrap_or_default(),
    })
}

/// Reads the columns named in [`WISH`].
fn wish(row: &Row<'_>) -> rusqlite::Result<Wish> {
    Ok(Wish {
        id: row.get(0)?,
        base_version: Version(unsigned(row.get(1)?)),
        base: fields(row, 2)?,
        fields: fields(row, 3)?,
        created_at: UnixMillis(row.get(4)?),
        updated_at: UnixMillis(row.get(5)?),
    })
}

pub(super) fn fields(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Fields>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    let parsed = text.map(serde_json::from_str).transpose();
    parsed.map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

fn json(fields: &Fields) -> Result<String, StoreError> {
    serde_json::to_string(fields).map_err(|error| StoreError::Shape {
        message: error.to_string(),
    })
}

fn optional_json(fields: Option<&Fields>) -> Result<Option<String>, StoreError> {
    fields.map(json).transpose()
}

/// SQLite's integers have a sign; a number beyond them is as good as the largest.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

const WISH: &str = "record_id, base_version, base_fields, fields, created_at, updated_at";
