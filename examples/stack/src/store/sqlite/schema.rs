//! The tables, in numbered steps.

use rusqlite::Connection;

use super::super::DatabaseError;

/// Brings the file up to the last of `steps`.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> Result<(), DatabaseError> {
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000;",
    )?;
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let version: i64 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(0);
    if done > steps.len() {
        return Err(DatabaseError::Damaged(format!(
            "its tables are of a later build (step {done} of {})",
            steps.len()
        )));
    }
    for step in &steps[done..] {
        transaction.execute_batch(step)?;
    }
    let last = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    transaction.pragma_update(None, "user_version", last)?;
    transaction.commit()?;
    Ok(())
}

/// The records' tables.
pub(super) const STEPS: [&str; 1] = ["
    CREATE TABLE numbers (last INTEGER NOT NULL);
    INSERT INTO numbers VALUES (0);
    CREATE TABLE notes (
        user TEXT NOT NULL,
        id TEXT NOT NULL,
        version INTEGER NOT NULL,
        deleted INTEGER NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (user, id)
    ) WITHOUT ROWID;
    CREATE TABLE changes (
        cursor INTEGER PRIMARY KEY,
        user TEXT NOT NULL,
        note_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        op TEXT NOT NULL,
        body TEXT NOT NULL,
        request_id TEXT,
        at_ms INTEGER NOT NULL
    );
    CREATE INDEX changes_by_user ON changes (user, cursor);
    CREATE INDEX changes_by_note ON changes (user, note_id, version);
    CREATE INDEX changes_by_time ON changes (at_ms);
    CREATE TABLE pruned (user TEXT PRIMARY KEY, through INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE outcomes (
        user TEXT NOT NULL,
        request_id TEXT NOT NULL,
        cursor INTEGER,
        body TEXT NOT NULL,
        at_ms INTEGER NOT NULL,
        PRIMARY KEY (user, request_id)
    ) WITHOUT ROWID;
    CREATE INDEX outcomes_by_time ON outcomes (at_ms);
    CREATE TABLE devices (
        user TEXT NOT NULL,
        id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        last_seen_at INTEGER NOT NULL,
        revoked_at INTEGER,
        PRIMARY KEY (user, id)
    ) WITHOUT ROWID;
    CREATE TABLE bootstraps (
        user TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        at_ms INTEGER NOT NULL
    ) WITHOUT ROWID;
"];
