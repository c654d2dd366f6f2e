//! Forgetting what is old, and going back to what was.

use std::time::Duration;

use deadpool_postgres::Transaction;
use evenkeel_proto::wire::Cursor;

use super::super::DatabaseError;
use super::super::sqlite::{millis, signed};
use crate::clock::Clock;

pub(super) async fn prune(
    tx: &Transaction<'_>,
    older_than: Duration,
    through: Cursor,
) -> Result<(), DatabaseError> {
    let before_ms = Clock::true_ms().saturating_sub(millis(older_than));
    tx.execute(
        "WITH gone AS (
             DELETE FROM changes WHERE at_ms < $1 OR cursor <= $2 RETURNING owner, cursor
         )
         INSERT INTO pruned SELECT owner, max(cursor) FROM gone GROUP BY owner ORDER BY owner
         ON CONFLICT (owner) DO UPDATE SET through = greatest(pruned.through, excluded.through)",
        &[&before_ms, &signed(through.0)],
    )
    .await?;
    Ok(())
}

pub(super) async fn restore(tx: &Transaction<'_>, to: Cursor) -> Result<(), DatabaseError> {
    let to = signed(to.0);
    // Nobody writes meanwhile; readers see all of it or nothing.
    tx.batch_execute(
        "LOCK TABLE changes, notes, outcomes, pruned IN EXCLUSIVE MODE;
         CREATE TEMP TABLE undone (owner TEXT, note_id TEXT) ON COMMIT DROP;",
    )
    .await?;
    tx.execute(
        "INSERT INTO undone SELECT DISTINCT owner, note_id FROM changes WHERE cursor > $1",
        &[&to],
    )
    .await?;
    for undo in [
        "DELETE FROM changes WHERE cursor > $1",
        "DELETE FROM outcomes WHERE cursor > $1",
        "UPDATE pruned SET through = $1 WHERE through > $1",
        "SELECT setval('change_numbers', greatest(least(last_value, $1), 1), $1 > 0 AND is_called)
         FROM change_numbers",
    ] {
        tx.execute(undo, &[&to]).await?;
    }
    tx.batch_execute(
        "DELETE FROM notes n USING undone u WHERE n.owner = u.owner AND n.id = u.note_id;
         INSERT INTO notes (owner, id, version, deleted, body)
         SELECT DISTINCT ON (c.owner, c.note_id) c.owner, c.note_id, c.version, c.op = 'delete', c.body
         FROM changes c JOIN undone u ON u.owner = c.owner AND u.note_id = c.note_id
         ORDER BY c.owner, c.note_id, c.version DESC;",
    )
    .await?;
    Ok(())
}
