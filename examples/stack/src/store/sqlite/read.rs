//! Reading: pages, the snapshot, the devices.

use evenkeel_proto::wire::{Change, Cursor, Device, Op, PullPage, Record, UnixMillis, Version};
use rusqlite::{OptionalExtension, Transaction, params};

use super::super::{DatabaseError, batch};
use super::{signed, unsigned};

pub(super) fn pull(
    tx: &Transaction<'_>,
    user: &str,
    after: Cursor,
    changes_max: u64,
) -> Result<PullPage, DatabaseError> {
    if after < pruned_through(tx, user)? {
        let latest = latest_cursor(tx, user)?;
        let oldest: Option<i64> = tx
            .prepare_cached("SELECT min(cursor) FROM changes WHERE user = ?1")?
            .query_row([user], |row| row.get(0))?;
        return Ok(batch::too_old(oldest.map(|c| Cursor(unsigned(c))), latest));
    }
    let mut statement = tx.prepare_cached(
        "SELECT cursor, op, body, request_id FROM changes
         WHERE user = ?1 AND cursor > ?2 ORDER BY cursor LIMIT ?3",
    )?;
    let mut rows = statement.query(params![user, signed(after.0), signed(changes_max)])?;
    let mut changes = Vec::new();
    while let Some(row) = rows.next()? {
        changes.push(Change {
            cursor: Cursor(unsigned(row.get(0)?)),
            op: Op::from(row.get::<_, String>(1)?),
            note: Some(record(&row.get::<_, String>(2)?)?),
            request_id: row.get(3)?,
        });
    }
    Ok(PullPage {
        next_cursor: changes.last().map_or(after, |change| change.cursor),
        changes,
        ..PullPage::default()
    })
}

pub(super) fn snapshot(
    tx: &Transaction<'_>,
    user: &str,
    include_deleted: bool,
) -> Result<Vec<Record>, DatabaseError> {
    let mut statement = tx.prepare_cached(
        "SELECT body FROM notes WHERE user = ?1 AND (?2 OR NOT deleted) ORDER BY id",
    )?;
    let mut rows = statement.query(params![user, include_deleted])?;
    let mut notes = Vec::new();
    while let Some(row) = rows.next()? {
        notes.push(record(&row.get::<_, String>(0)?)?);
    }
    Ok(notes)
}

pub(super) fn latest_cursor(tx: &Transaction<'_>, user: &str) -> Result<Cursor, DatabaseError> {
    let latest: Option<i64> = tx
        .prepare_cached("SELECT max(cursor) FROM changes WHERE user = ?1")?
        .query_row([user], |row| row.get(0))?;
    let latest = Cursor(latest.map_or(0, unsigned));
    Ok(latest.max(pruned_through(tx, user)?))
}

pub(super) fn devices(tx: &Transaction<'_>, user: &str) -> Result<Vec<Device>, DatabaseError> {
    let mut statement = tx.prepare_cached(
        "SELECT id, created_at, last_seen_at, revoked_at FROM devices
         WHERE user = ?1 ORDER BY created_at, id",
    )?;
    let devices = statement.query_map([user], |row| {
        Ok(Device {
            id: row.get(0)?,
            created_at: Some(UnixMillis(row.get(1)?)),
            last_seen_at: Some(UnixMillis(row.get(2)?)),
            revoked_at: row.get::<_, Option<i64>>(3)?.map(UnixMillis),
            ..Device::default()
        })
    })?;
    Ok(devices.collect::<Result<_, _>>()?)
}

/// The record as it is now.
pub(super) fn current(
    tx: &Transaction<'_>,
    user: &str,
    id: &str,
) -> Result<Option<Record>, DatabaseError> {
    let body: Option<String> = tx
        .prepare_cached("SELECT body FROM notes WHERE user = ?1 AND id = ?2")?
        .query_row([user, id], |row| row.get(0))
        .optional()?;
    body.as_deref().map(record).transpose()
}

/// The record as it was at a version, where the log still has it.
pub(super) fn at_version(
    tx: &Transaction<'_>,
    user: &str,
    id: &str,
    version: Version,
) -> Result<Option<Record>, DatabaseError> {
    let body: Option<String> = tx
        .prepare_cached(
            "SELECT body FROM changes WHERE user = ?1 AND note_id = ?2 AND version = ?3",
        )?
        .query_row(params![user, id, signed(version.0)], |row| row.get(0))
        .optional()?;
    body.as_deref().map(record).transpose()
}

fn pruned_through(tx: &Transaction<'_>, user: &str) -> Result<Cursor, DatabaseError> {
    let through: Option<i64> = tx
        .prepare_cached("SELECT through FROM pruned WHERE user = ?1")?
        .query_row([user], |row| row.get(0))
        .optional()?;
    Ok(Cursor(through.map_or(0, unsigned)))
}

fn record(body: &str) -> Result<Record, DatabaseError> {
    Ok(serde_json::from_str(body)?)
}
