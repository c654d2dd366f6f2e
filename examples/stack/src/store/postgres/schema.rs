//! The tables, in numbered steps.

use deadpool_postgres::Object;

use super::super::DatabaseError;

/// Brings the database up to the last step; several origins may try at once.
pub(super) async fn migrate(client: &mut Object) -> Result<(), DatabaseError> {
    let tx = client.transaction().await?;
    // Held until the end of the transaction: the others wait, and then find it done.
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION])
        .await?;
    tx.batch_execute(
        "CREATE SCHEMA IF NOT EXISTS evenkeel;
         CREATE TABLE IF NOT EXISTS evenkeel.steps (done BIGINT PRIMARY KEY);",
    )
    .await?;
    let row = tx
        .query_one("SELECT coalesce(max(done), 0) FROM evenkeel.steps", &[])
        .await?;
    let done: i64 = row.try_get(0)?;
    let done = usize::try_from(done).unwrap_or(0);
    if done > STEPS.len() {
        return Err(DatabaseError::Damaged(format!(
            "its tables are of a later build (step {done} of {})",
            STEPS.len()
        )));
    }
    for (index, step) in STEPS.iter().enumerate().skip(done) {
        tx.batch_execute(step).await?;
        let number = i64::try_from(index + 1).unwrap_or(i64::MAX);
        tx.execute("INSERT INTO evenkeel.steps VALUES ($1)", &[&number])
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Any number that nobody else locks by.
const MIGRATION: i64 = 0x6576_656e_6b65_656c;

/// Change numbers come from a sequence: they are taken before the commit, so that a lower one can become
/// visible after a higher one.
const STEPS: [&str; 1] = ["
    CREATE SEQUENCE change_numbers;
    CREATE TABLE notes (
        owner TEXT NOT NULL,
        id TEXT NOT NULL,
        version BIGINT NOT NULL,
        deleted BOOLEAN NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (owner, id)
    );
    CREATE TABLE changes (
        cursor BIGINT PRIMARY KEY,
        owner TEXT NOT NULL,
        note_id TEXT NOT NULL,
        version BIGINT NOT NULL,
        op TEXT NOT NULL,
        body TEXT NOT NULL,
        request_id TEXT,
        at_ms BIGINT NOT NULL
    );
    CREATE INDEX changes_by_owner ON changes (owner, cursor);
    CREATE INDEX changes_by_note ON changes (owner, note_id, version);
    CREATE INDEX changes_by_time ON changes (at_ms);
    CREATE TABLE pruned (owner TEXT PRIMARY KEY, through BIGINT NOT NULL);
    CREATE TABLE outcomes (
        owner TEXT NOT NULL,
        request_id TEXT NOT NULL,
        cursor BIGINT,
        body TEXT NOT NULL,
        at_ms BIGINT NOT NULL,
        PRIMARY KEY (owner, request_id)
    );
    CREATE INDEX outcomes_by_time ON outcomes (at_ms);
    CREATE TABLE devices (
        owner TEXT NOT NULL,
        id TEXT NOT NULL,
        created_at BIGINT NOT NULL,
        last_seen_at BIGINT NOT NULL,
        revoked_at BIGINT,
        PRIMARY KEY (owner, id)
    );
    CREATE TABLE bootstraps (
        owner TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        at_ms BIGINT NOT NULL
    );
"];
