//! Forgetting what is old, and going back to what was.

use std::time::Duration;

use evenkeel_proto::wire::Cursor;
use rusqlite::{Transaction, params};

use super::super::DatabaseError;
use super::{millis, signed};
use crate::clock::Clock;

pub(super) fn prune(
    tx: &Transaction<'_>,
    older_than: Duration,
    through: Cursor,
) -> Result<(), DatabaseError> {
    let before_ms = Clock::true_ms().saturating_sub(millis(older_than));
    let limits = params![before_ms, signed(through.0)];
    tx.execute(
        "INSERT INTO pruned
             SELECT user, max(cursor) FROM changes WHERE at_ms < ?1 OR cursor <= ?2 GROUP BY user
         ON CONFLICT (user) DO UPDATE SET through = max(through, excluded.through)",
        limits,
    )?;
    tx.execute(
        "DELETE FROM changes WHERE at_ms < ?1 OR cursor <= ?2",
        limits,
    )?;
    Ok(())
}

pub(super) fn restore(tx: &Transaction<'_>, to: Cursor) -> Result<(), DatabaseError> {
    let to = signed(to.0);
    tx.execute(
        "CREATE TEMP TABLE undone AS SELECT DISTINCT user, note_id FROM changes WHERE cursor > ?1",
        [to],
    )?;
    tx.execute("DELETE FROM changes WHERE cursor > ?1", [to])?;
    tx.execute("DELETE FROM outcomes WHERE cursor > ?1", [to])?;
    tx.execute("UPDATE pruned SET through = ?1 WHERE through > ?1", [to])?;
    tx.execute(
        "DELETE FROM notes WHERE (user, id) IN (SELECT user, note_id FROM undone)",
        [],
    )?;
    tx.execute(
        "INSERT INTO notes (user, id, version, deleted, body)
         SELECT c.user, c.note_id, c.version, c.op = 'delete', c.body
         FROM changes c JOIN undone u ON u.user = c.user AND u.note_id = c.note_id
         WHERE c.version = (SELECT max(version) FROM changes
                            WHERE user = c.user AND note_id = c.note_id)",
        [],
    )?;
    tx.execute("DROP TABLE undone", [])?;
    tx.execute("UPDATE numbers SET last = min(last, ?1)", [to])?;
    Ok(())
}
