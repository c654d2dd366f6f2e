//! Writing: batches, the first import, the devices.

use evenkeel_proto::wire::{
    Applied, BootstrapAnswer, Cursor, Operation, PushAnswer, Record, UnixMillis, Version,
};
use rusqlite::{OptionalExtension, Transaction, params};
use uuid::Uuid;

use super::super::batch::{self, Outcome, Ruling};
use super::super::{Caller, DatabaseError, DeviceState, Push, Pushed};
use super::{millis, read, signed, unsigned};
use crate::clock::Clock;

pub(super) fn push_batch(tx: &Transaction<'_>, push: &Push) -> Result<Pushed, DatabaseError> {
    let user = &push.caller.user;
    let forgotten_ms = Clock::true_ms().saturating_sub(millis(push.idempotency));
    tx.prepare_cached("DELETE FROM outcomes WHERE at_ms < ?1")?
        .execute([forgotten_ms])?;
    let mut answer = PushAnswer::default();
    let mut announce = None;
    let mut done = 0;
    let mut stopped = false;
    for (index, operation) in push.operations.iter().enumerate() {
        if push.stop_after == Some(done) {
            stopped = true;
            break;
        }
        if push.skip.contains(&operation.request_id) {
            continue;
        }
        let outcome = match remembered(tx, user, &operation.request_id)? {
            Some(outcome) => outcome,
            None => {
                let number = push.numbers.get(index).copied();
                let Some(outcome) = carry_out(tx, &push.caller, operation, number)? else {
                    continue;
                };
                remember(tx, user, &operation.request_id, &outcome)?;
                outcome
            }
        };
        done += 1;
        match outcome {
            Outcome::Applied(applied) => {
                announce = announce.max(Some(applied.cursor));
                answer.applied.push(applied);
            }
            Outcome::Conflict(conflict) => answer.conflicts.push(conflict),
        }
    }
    answer.next_cursor = read::latest_cursor(tx, user)?;
    Ok(Pushed {
        answer,
        announce,
        stopped,
    })
}

/// One operation; `None` for one that says nothing to do.
fn carry_out(
    tx: &Transaction<'_>,
    caller: &Caller,
    operation: &Operation,
    number: Option<Cursor>,
) -> Result<Option<Outcome>, DatabaseError> {
    let current = read::current(tx, &caller.user, &operation.note_id)?;
    let now = UnixMillis(Clock::true_ms());
    let note = match batch::judge(caller, operation, current.as_ref(), now) {
        Ruling::Nothing => return Ok(None),
        Ruling::Conflict => {
            let base = match &operation.base_note {
                Some(base) => Some(base.clone()),
                None => {
                    let (id, version) = (&operation.note_id, operation.base_version);
                    read::at_version(tx, &caller.user, id, version)?
                }
            };
            let conflict = batch::conflict(operation, base.as_ref(), current);
            return Ok(Some(Outcome::Conflict(conflict)));
        }
        Ruling::Write(note) => note,
    };
    let cursor = match number {
        Some(number) => number,
        None => take_number(tx)?,
    };
    let request_id = Some(operation.request_id.as_str());
    store(tx, &caller.user, cursor, &note, request_id)?;
    Ok(Some(Outcome::Applied(Applied {
        request_id: operation.request_id.clone(),
        note: Some(note),
        cursor,
    })))
}

pub(super) fn take_numbers(tx: &Transaction<'_>, count: u64) -> Result<Vec<Cursor>, DatabaseError> {
    (0..count).map(|_| take_number(tx)).collect()
}

fn take_number(tx: &Transaction<'_>) -> Result<Cursor, DatabaseError> {
    let last: i64 = tx
        .prepare_cached("UPDATE numbers SET last = last + 1 RETURNING last")?
        .query_row([], |row| row.get(0))?;
    Ok(Cursor(unsigned(last)))
}

pub(super) fn bootstrap(
    tx: &Transaction<'_>,
    caller: &Caller,
    notes: Vec<Record>,
    fingerprint: &str,
) -> Result<BootstrapAnswer, DatabaseError> {
    let first = tx.execute(
        "INSERT INTO bootstraps VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        params![caller.user, fingerprint, Clock::true_ms()],
    )?;
    let mut imported = 0;
    if first == 1 {
        for mut note in notes {
            if read::current(tx, &caller.user, &note.id)?.is_some() {
                continue;
            }
            note.version = Version(1);
            let cursor = take_number(tx)?;
            store(tx, &caller.user, cursor, &note, None)?;
            imported += 1;
        }
    }
    Ok(BootstrapAnswer {
        imported,
        already_bootstrapped: first == 0,
        cursor: read::latest_cursor(tx, &caller.user)?,
    })
}

pub(super) fn greet(
    tx: &Transaction<'_>,
    caller: &Caller,
    devices_max: u64,
) -> Result<DeviceState, DatabaseError> {
    let id = caller.device.to_string();
    let now = Clock::true_ms();
    let known: Option<(i64, Option<i64>)> = tx
        .prepare_cached("SELECT last_seen_at, revoked_at FROM devices WHERE user = ?1 AND id = ?2")?
        .query_row([&caller.user, &id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    match known {
        Some((_, Some(_))) => return Ok(DeviceState::Revoked),
        Some((seen, None)) if now.saturating_sub(seen) < SEEN_AGAIN_MS => {}
        Some(_) => {
            tx.prepare_cached("UPDATE devices SET last_seen_at = ?3 WHERE user = ?1 AND id = ?2")?
                .execute(params![caller.user, id, now])?;
        }
        None => {
            tx.prepare_cached(
                "INSERT INTO devices (user, id, created_at, last_seen_at) VALUES (?1, ?2, ?3, ?3)",
            )?
            .execute(params![caller.user, id, now])?;
            tx.prepare_cached(
                "DELETE FROM devices WHERE user = ?1 AND revoked_at IS NULL AND id NOT IN
                     (SELECT id FROM devices WHERE user = ?1 ORDER BY last_seen_at DESC LIMIT ?2)",
            )?
            .execute(params![caller.user, signed(devices_max)])?;
        }
    }
    Ok(DeviceState::Welcome)
}

pub(super) fn revoke(
    tx: &Transaction<'_>,
    user: &str,
    device: Uuid,
) -> Result<bool, DatabaseError> {
    let rows = tx.execute(
        "UPDATE devices SET revoked_at = coalesce(revoked_at, ?3) WHERE user = ?1 AND id = ?2",
        params![user, device.to_string(), Clock::true_ms()],
    )?;
    Ok(rows == 1)
}

/// Writes a record and its entry in the log.
fn store(
    tx: &Transaction<'_>,
    user: &str,
    cursor: Cursor,
    note: &Record,
    request_id: Option<&str>,
) -> Result<(), DatabaseError> {
    let body = serde_json::to_string(note)?;
    let version = signed(note.version.0);
    tx.prepare_cached("INSERT OR REPLACE INTO notes VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![user, note.id, version, note.is_deleted(), body])?;
    tx.prepare_cached("INSERT INTO changes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
        .execute(params![
            signed(cursor.0),
            user,
            note.id,
            version,
            batch::op_of(note).as_str(),
            body,
            request_id,
            Clock::true_ms(),
        ])?;
    Ok(())
}

fn remembered(
    tx: &Transaction<'_>,
    user: &str,
    request_id: &str,
) -> Result<Option<Outcome>, DatabaseError> {
    let body: Option<String> = tx
        .prepare_cached("SELECT body FROM outcomes WHERE user = ?1 AND request_id = ?2")?
        .query_row([user, request_id], |row| row.get(0))
        .optional()?;
    Ok(body.as_deref().map(serde_json::from_str).transpose()?)
}

fn remember(
    tx: &Transaction<'_>,
    user: &str,
    request_id: &str,
    outcome: &Outcome,
) -> Result<(), DatabaseError> {
    let cursor = match outcome {
        Outcome::Applied(applied) => Some(signed(applied.cursor.0)),
        Outcome::Conflict(_) => None,
    };
    let body = serde_json::to_string(outcome)?;
    tx.prepare_cached("INSERT INTO outcomes VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![user, request_id, cursor, body, Clock::true_ms()])?;
    Ok(())
}

const SEEN_AGAIN_MS: i64 = 60_000;
