//! How a verdict comes to those who wait for it, in this open store and in others on the same file.
//!
//! Who settles an operation that another open store wrote leaves the verdict in a table, in the same
//! transaction, and the other one finds it there. An operation that its own writer settles leaves none.

use std::collections::HashMap;

use evenkeel_proto::wire::Version;
use rusqlite::{OptionalExtension as _, params};
use tokio::sync::oneshot;

use super::error::StoreError;
use super::rows::{Session, Waiting};
use super::types::Verdict;

/// Who waits here, by the operation's `requestId`.
#[derive(Default)]
pub(super) struct Waiters(HashMap<String, Awaited>);

struct Awaited {
    record_id: String,
    handles: Vec<oneshot::Sender<Verdict>>,
}

/// What became of an operation.
pub(super) enum Fate {
    /// It waits, as this operation.
    Waits(String),
    Settled(Verdict),
    /// The store was wiped.
    Gone,
}

/// A row of the table.
enum Word {
    Verdict(String),
    Moved(String),
}

impl Waiters {
    pub(super) fn add(
        &mut self,
        request_id: String,
        record_id: String,
        handle: oneshot::Sender<Verdict>,
    ) {
        self.join(request_id, record_id, vec![handle]);
    }

    fn join(
        &mut self,
        request_id: String,
        record_id: String,
        handles: Vec<oneshot::Sender<Verdict>>,
    ) {
        let awaited = self.0.entry(request_id).or_insert_with(|| Awaited {
            record_id,
            handles: Vec::new(),
        });
        awaited.handles.retain(|handle| !handle.is_closed());
        awaited.handles.extend(handles);
    }

    /// Whether anybody still waits.
    pub(super) fn are_there(&mut self) -> bool {
        self.0.retain(|_, awaited| {
            awaited.handles.retain(|handle| !handle.is_closed());
            !awaited.handles.is_empty()
        });
        !self.0.is_empty()
    }

    /// Whoever waits for the one operation waits for the other from now on.
    pub(super) fn follow(&mut self, from: &str, to: String) {
        if let Some(awaited) = self.0.remove(from) {
            self.join(to, awaited.record_id, awaited.handles);
        }
    }

    pub(super) fn tell(&mut self, request_id: &str, verdict: &Verdict) {
        let awaited = self.0.remove(request_id);
        for handle in awaited.into_iter().flat_map(|awaited| awaited.handles) {
            // Nobody has to wait.
            let _ = handle.send(verdict.clone());
        }
    }

    /// The operations that are waited for, each with its record.
    pub(super) fn awaited(&self) -> Vec<(String, String)> {
        let awaited = self.0.iter();
        awaited
            .map(|(request_id, awaited)| (request_id.clone(), awaited.record_id.clone()))
            .collect()
    }

    /// Passes on what other processes did.
    pub(super) fn learn(&mut self, request_id: &str, fate: Fate) {
        match fate {
            Fate::Waits(now) => {
                if now != request_id {
                    self.follow(request_id, now);
                }
            }
            Fate::Settled(verdict) => self.tell(request_id, &verdict),
            Fate::Gone => drop(self.0.remove(request_id)),
        }
    }

    /// None will come.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Session<'_> {
    /// The operation is settled.
    pub(super) fn tell(&mut self, op: &Waiting, verdict: Verdict) -> Result<(), StoreError> {
        if op.writer != self.me {
            let text = serde_json::to_string(&verdict).map_err(StoreError::corrupt)?;
            self.leave_word(&op.request_id, Some(&text), None)?;
        }
        self.news.verdicts.push((op.request_id.clone(), verdict));
        Ok(())
    }

    /// Whoever waits for the one operation waits for the other from now on, whose writer has to be
    /// [`joined`](Self::joined).
    pub(super) fn follow(&mut self, from: &Waiting, to: &str) -> Result<(), StoreError> {
        if from.writer != self.me {
            self.leave_word(&from.request_id, None, Some(to))?;
        }
        let moved = (from.request_id.clone(), to.to_owned());
        self.news.moved.push(moved);
        Ok(())
    }

    /// The writer of what two operations become: this open store if both were its own.
    pub(super) fn joined(&self, one: &str, other: &str) -> String {
        let ours = one == self.me && other == self.me;
        let writer = if ours { self.me } else { SEVERAL };
        writer.to_owned()
    }

    fn leave_word(
        &self,
        request_id: &str,
        verdict: Option<&str>,
        moved_to: Option<&str>,
    ) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO verdicts (request_id, verdict, moved_to) \
                   VALUES (?1, ?2, ?3)";
        let mut statement = self.db.prepare_cached(sql)?;
        statement.execute(params![request_id, verdict, moved_to])?;
        let old = self.db.last_insert_rowid() - VERDICTS_KEPT;
        let sql = "DELETE FROM verdicts WHERE seq <= ?1";
        self.db.prepare_cached(sql)?.execute([old])?;
        Ok(())
    }

    /// What became of an operation that another process may have settled.
    pub(super) fn fate(&self, request_id: &str, record_id: &str) -> Result<Fate, StoreError> {
        let mut now = request_id.to_owned();
        // Each step is a row: a damaged file must not lead in a circle.
        for _ in 0..=VERDICTS_KEPT {
            match self.word(&now)? {
                Some(Word::Moved(to)) => now = to,
                Some(Word::Verdict(verdict)) => match serde_json::from_str(&verdict) {
                    Ok(verdict) => return Ok(Fate::Settled(verdict)),
                    Err(_unreadable) => break,
                },
                None => break,
            }
        }
        let sql = "SELECT EXISTS (SELECT 1 FROM outbox WHERE request_id = ?1)";
        let mut statement = self.db.prepare_cached(sql)?;
        if statement.query_row([&now], |row| row.get(0))? {
            return Ok(Fate::Waits(now));
        }
        let sql = "SELECT coalesce(min(seq), 1) > 1 FROM verdicts";
        let forgotten: bool = self
            .db
            .prepare_cached(sql)?
            .query_row([], |row| row.get(0))?;
        if forgotten {
            self.traces(record_id).map(Fate::Settled)
        } else {
            Ok(Fate::Gone)
        }
    }

    fn word(&self, request_id: &str) -> Result<Option<Word>, StoreError> {
        let sql = "SELECT verdict, moved_to FROM verdicts WHERE request_id = ?1";
        let mut statement = self.db.prepare_cached(sql)?;
        let row = statement.query_row([request_id], |row| {
            Ok(match row.get(1)? {
                Some(to) => Word::Moved(to),
                None => Word::Verdict(row.get::<_, Option<String>>(0)?.unwrap_or_default()),
            })
        });
        Ok(row.optional()?)
    }

    /// The verdict on a record's last write, from what it left behind.
    fn traces(&self, id: &str) -> Result<Verdict, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM conflicts WHERE record_id = ?1)";
        let mut statement = self.db.prepare_cached(sql)?;
        if statement.query_row([id], |row| row.get(0))? {
            return Ok(Verdict::Conflicted);
        }
        let parked = self.parked()?.into_iter().find(|parked| parked.id == id);
        if let Some(parked) = parked {
            let reason = parked.reason;
            return Ok(Verdict::Rejected { reason });
        }
        let server = self.record(id)?;
        let version = server.map_or(Version::ZERO, |server| server.version);
        Ok(Verdict::Acknowledged { version })
    }
}

/// In the place of a writer: several open stores may wait for the operation.
pub(super) const SEVERAL: &str = "";
/// So many verdicts are kept for those who were frozen, or closed their eyes for long.
const VERDICTS_KEPT: i64 = 10_000;
