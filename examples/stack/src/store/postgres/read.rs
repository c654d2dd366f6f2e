//! Reading: pages, the snapshot, the devices.

use deadpool_postgres::Transaction;
use evenkeel_proto::wire::{Change, Cursor, Device, Op, PullPage, Record, UnixMillis, Version};

use super::super::sqlite::{signed, unsigned};
use super::super::{DatabaseError, batch};

pub(super) async fn pull(
    tx: &Transaction<'_>,
    user: &str,
    after: Cursor,
    changes_max: u64,
) -> Result<PullPage, DatabaseError> {
    if after < pruned_through(tx, user).await? {
        let latest = latest_cursor(tx, user).await?;
        let oldest = tx
            .query_one("SELECT min(cursor) FROM changes WHERE owner = $1", &[&user])
            .await?;
        let oldest: Option<i64> = oldest.try_get(0)?;
        return Ok(batch::too_old(oldest.map(|c| Cursor(unsigned(c))), latest));
    }
    let statement = tx
        .prepare_cached(
            "SELECT cursor, op, body, request_id FROM changes
             WHERE owner = $1 AND cursor > $2 ORDER BY cursor LIMIT $3",
        )
        .await?;
    let (after_number, most) = (signed(after.0), signed(changes_max));
    let rows = tx.query(&statement, &[&user, &after_number, &most]).await?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in &rows {
        changes.push(Change {
            cursor: Cursor(unsigned(row.try_get(0)?)),
            op: Op::from(row.try_get::<_, String>(1)?),
            note: Some(record(row.try_get(2)?)?),
            request_id: row.try_get(3)?,
        });
    }
    Ok(PullPage {
        next_cursor: changes.last().map_or(after, |change| change.cursor),
        changes,
        ..PullPage::default()
    })
}

pub(super) async fn snapshot(
    tx: &Transaction<'_>,
    user: &str,
    include_deleted: bool,
) -> Result<Vec<Record>, DatabaseError> {
    let rows = tx
        .query(
            "SELECT body FROM notes WHERE owner = $1 AND ($2 OR NOT deleted) ORDER BY id",
            &[&user, &include_deleted],
        )
        .await?;
    rows.iter().map(|row| record(row.try_get(0)?)).collect()
}

pub(super) async fn latest_cursor(
    tx: &Transaction<'_>,
    user: &str,
) -> Result<Cursor, DatabaseError> {
    let statement = tx
        .prepare_cached(
            "SELECT greatest((SELECT max(cursor) FROM changes WHERE owner = $1),
                             (SELECT through FROM pruned WHERE owner = $1))",
        )
        .await?;
    let latest: Option<i64> = tx.query_one(&statement, &[&user]).await?.try_get(0)?;
    Ok(Cursor(latest.map_or(0, unsigned)))
}

pub(super) async fn devices(
    tx: &Transaction<'_>,
    user: &str,
) -> Result<Vec<Device>, DatabaseError> {
    let rows = tx
        .query(
            "SELECT id, created_at, last_seen_at, revoked_at FROM devices
             WHERE owner = $1 ORDER BY created_at, id",
            &[&user],
        )
        .await?;
    let device = |row: &tokio_postgres::Row| {
        Ok(Device {
            id: row.try_get(0)?,
            created_at: Some(UnixMillis(row.try_get(1)?)),
            last_seen_at: Some(UnixMillis(row.try_get(2)?)),
            revoked_at: row.try_get::<_, Option<i64>>(3)?.map(UnixMillis),
            ..Device::default()
        })
    };
    rows.iter().map(device).collect()
}

/// The record as it was at a version, where the log still has it.
pub(super) async fn at_version(
    tx: &Transaction<'_>,
    user: &str,
    id: &str,
    version: Version,
) -> Result<Option<Record>, DatabaseError> {
    let row = tx
        .query_opt(
            "SELECT body FROM changes WHERE owner = $1 AND note_id = $2 AND version = $3",
            &[&user, &id, &signed(version.0)],
        )
        .await?;
    row.map(|row| record(row.try_get(0)?)).transpose()
}

/// A server that only answers questions is not well.
pub(super) async fn takes_writes(tx: &Transaction<'_>) -> Result<(), DatabaseError> {
    let row = tx
        .query_one("SELECT current_setting('transaction_read_only')", &[])
        .await?;
    match row.try_get(0)? {
        "off" => Ok(()),
        _ => Err(DatabaseError::Away("it takes no writes now".to_owned())),
    }
}

pub(super) fn record(body: &str) -> Result<Record, DatabaseError> {
    Ok(serde_json::from_str(body)?)
}

async fn pruned_through(tx: &Transaction<'_>, user: &str) -> Result<Cursor, DatabaseError> {
    let statement = tx
        .prepare_cached("SELECT through FROM pruned WHERE owner = $1")
        .await?;
    let row = tx.query_opt(&statement, &[&user]).await?;
    let through = row.map(|row| row.try_get(0)).transpose()?;
    Ok(Cursor(through.map_or(0, unsigned)))
}
