//! Where AI sessions are kept: a small key-value store that outlives the edge's instance, in SQLite.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use evenkeel_proto::wire::{AiProvider, AiScope};
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::store::DatabaseError;
use crate::store::sqlite::Worker;

/// The store; every clone is the same one.
#[derive(Clone, Debug)]
pub(crate) struct Sessions(Arc<Worker>);

/// One session, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) provider: AiProvider,
    pub(super) scope: AiScope,
    pub(super) connected_at_ms: i64,
    /// An account's has none.
    pub(super) expires_at_ms: Option<i64>,
    /// The user's key, encrypted.
    pub(super) sealed: String,
}

impl Sessions {
    /// In a file, or in memory.
    pub(crate) fn open(file: Option<&Path>) -> Result<Self, DatabaseError> {
        Ok(Self(Arc::new(Worker::start(file, &STEPS)?)))
    }

    /// Returns once the file is closed.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.0.closed()
    }

    /// The session at a place, unless it has ended.
    pub(super) async fn find(
        &self,
        place: String,
        now_ms: i64,
    ) -> Result<Option<Session>, DatabaseError> {
        let found = self.0.transact(move |tx| {
            let sql = "SELECT body FROM sessions WHERE place = ?1 \
                       AND (ends_at_ms IS NULL OR ends_at_ms > ?2)";
            let row = |row: &rusqlite::Row<'_>| row.get::<_, String>(0);
            Ok(tx.query_row(sql, params![place, now_ms], row).optional()?)
        });
        let found = found.await?;
        Ok(found.map(|body| serde_json::from_str(&body)).transpose()?)
    }

    /// Keeps a session, in place of the one that was there. Those that have ended are forgotten.
    pub(super) async fn keep(
        &self,
        place: String,
        session: &Session,
        now_ms: i64,
    ) -> Result<(), DatabaseError> {
        let body = serde_json::to_string(session)?;
        let ends_at_ms = session.expires_at_ms;
        let keeping = self.0.transact(move |tx| {
            tx.execute("DELETE FROM sessions WHERE ends_at_ms <= ?1", [now_ms])?;
            let count = "SELECT COUNT(*) FROM sessions";
            let kept: i64 = tx.query_row(count, [], |row| row.get(0))?;
            if kept >= SESSIONS_MAX {
                return Err(DatabaseError::Failed("there is no room".to_owned()));
            }
            let sql = "INSERT OR REPLACE INTO sessions VALUES (?1, ?2, ?3)";
            tx.execute(sql, params![place, body, ends_at_ms])?;
            Ok(())
        });
        keeping.await
    }

    /// Puts `new` in the place of `old`, unless something else has taken it meanwhile; says whether.
    pub(super) async fn exchange(
        &self,
        place: String,
        old: &Session,
        new: &Session,
    ) -> Result<bool, DatabaseError> {
        let (old, new) = (serde_json::to_string(old)?, serde_json::to_string(new)?);
        let exchanging = self.0.transact(move |tx| {
            let sql = "UPDATE sessions SET body = ?3 WHERE place = ?1 AND body = ?2";
            Ok(tx.execute(sql, params![place, old, new])? == 1)
        });
        exchanging.await
    }

    pub(super) async fn forget(&self, place: String) -> Result<(), DatabaseError> {
        let forgetting = self.0.transact(move |tx| {
            tx.execute("DELETE FROM sessions WHERE place = ?1", [place])?;
            Ok(())
        });
        forgetting.await
    }
}

const STEPS: [&str; 1] = ["
    CREATE TABLE sessions (
        place TEXT PRIMARY KEY,
        body TEXT NOT NULL,
        ends_at_ms INTEGER
    ) WITHOUT ROWID;
    CREATE INDEX sessions_by_end ON sessions (ends_at_ms);
"];
const SESSIONS_MAX: i64 = 100_000;
