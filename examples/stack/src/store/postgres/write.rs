//! Writing: batches, the first import, the devices.
//!
//! A batch takes the locks of its records in one order, reads what it needs in three queries and writes
//! in three more, however many operations it holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use deadpool_postgres::{Object, Transaction};
use evenkeel_proto::wire::{
    Applied, BootstrapAnswer, Cursor, Operation, PushAnswer, Record, UnixMillis, Version,
};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

use super::super::batch::{self, Outcome, Ruling};
use super::super::sqlite::{millis, signed, unsigned};
use super::super::{Caller, DatabaseError, DeviceState, Push, Pushed};
use super::read::{self, latest_cursor};
use crate::clock::Clock;

pub(super) async fn push_batch(tx: &Transaction<'_>, push: &Push) -> Result<Pushed, DatabaseError> {
    let user = &push.caller.user;
    let now_ms = Clock::true_ms();
    let forgotten_ms = now_ms.saturating_sub(millis(push.idempotency));
    forget_outcomes(tx, forgotten_ms).await?;
    let ids: BTreeSet<&str> = push.operations.iter().map(|o| o.note_id.as_str()).collect();
    lock(tx, user, &ids).await?;
    let mut notes = current(tx, user, &ids).await?;
    let mut outcomes = remembered(tx, user, &push.operations, forgotten_ms).await?;
    let numbers = match push.numbers.is_empty() {
        true => take_numbers(tx, push.operations.len() as u64).await?,
        false => push.numbers.clone(),
    };
    let mut written = Written::default();
    let mut new = Vec::new();
    let mut answer = PushAnswer::default();
    let mut announce = None;
    let mut done = 0;
    let mut stopped = false;
    for (operation, number) in push.operations.iter().zip(numbers) {
        if push.stop_after == Some(done) {
            stopped = true;
            break;
        }
        if push.skip.contains(&operation.request_id) {
            continue;
        }
        let outcome = match outcomes.get(&operation.request_id) {
            Some(outcome) => outcome.clone(),
            None => {
                let note = notes.get(&operation.note_id);
                let now = UnixMillis(now_ms);
                let outcome = match batch::judge(&push.caller, operation, note, now) {
                    Ruling::Nothing => continue,
                    Ruling::Conflict => {
                        let base = base(tx, user, operation).await?;
                        let note = note.cloned();
                        Outcome::Conflict(batch::conflict(operation, base.as_ref(), note))
                    }
                    Ruling::Write(note) => {
                        written.note(number, &note, Some(&operation.request_id))?;
                        notes.insert(note.id.clone(), note.clone());
                        Outcome::Applied(Applied {
                            request_id: operation.request_id.clone(),
                            note: Some(note),
                            cursor: number,
                        })
                    }
                };
                outcomes.insert(operation.request_id.clone(), outcome.clone());
                new.push((operation.request_id.clone(), outcome.clone()));
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
    written.store(tx, user, now_ms).await?;
    remember(tx, user, &new, now_ms).await?;
    answer.next_cursor = latest_cursor(tx, user).await?;
    Ok(Pushed {
        answer,
        announce,
        stopped,
    })
}

/// What others hold is left for the next batch, so that two never wait for each other.
async fn forget_outcomes(tx: &Transaction<'_>, before_ms: i64) -> Result<(), DatabaseError> {
    let statement = tx
        .prepare_cached(
            "DELETE FROM outcomes WHERE (owner, request_id) IN
                 (SELECT owner, request_id FROM outcomes WHERE at_ms < $1
                  LIMIT 1000 FOR UPDATE SKIP LOCKED)",
        )
        .await?;
    tx.execute(&statement, &[&before_ms]).await?;
    Ok(())
}

/// One batch at a time for each record, whether it is there yet or not.
async fn lock(tx: &Transaction<'_>, user: &str, ids: &BTreeSet<&str>) -> Result<(), DatabaseError> {
    let statement = tx
        .prepare_cached(
            "SELECT pg_advisory_xact_lock(hashtextextended($1 || '/' || id, 0))
             FROM unnest($2::text[]) AS id",
        )
        .await?;
    let ids: Vec<&str> = ids.iter().copied().collect();
    tx.query(&statement, &[&user, &ids]).await?;
    Ok(())
}

async fn current(
    tx: &Transaction<'_>,
    user: &str,
    ids: &BTreeSet<&str>,
) -> Result<HashMap<String, Record>, DatabaseError> {
    let statement = tx
        .prepare_cached("SELECT id, body FROM notes WHERE owner = $1 AND id = ANY($2)")
        .await?;
    let ids: Vec<&str> = ids.iter().copied().collect();
    let rows = tx.query(&statement, &[&user, &ids]).await?;
    let pair = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, read::record(row.try_get(1)?)?));
    rows.iter().map(pair).collect()
}

async fn base(
    tx: &Transaction<'_>,
    user: &str,
    operation: &Operation,
) -> Result<Option<Record>, DatabaseError> {
    match &operation.base_note {
        Some(base) => Ok(Some(base.clone())),
        None => read::at_version(tx, user, &operation.note_id, operation.base_version).await,
    }
}

async fn remembered(
    tx: &Transaction<'_>,
    user: &str,
    operations: &[Operation],
    forgotten_ms: i64,
) -> Result<HashMap<String, Outcome>, DatabaseError> {
    let statement = tx
        .prepare_cached(
            "SELECT request_id, body FROM outcomes
             WHERE owner = $1 AND request_id = ANY($2) AND at_ms >= $3",
        )
        .await?;
    let ids: Vec<&str> = operations.iter().map(|o| o.request_id.as_str()).collect();
    let rows = tx.query(&statement, &[&user, &ids, &forgotten_ms]).await?;
    let pair = |row: &tokio_postgres::Row| {
        let outcome = serde_json::from_str(row.try_get(1)?)?;
        Ok((row.try_get(0)?, outcome))
    };
    rows.iter().map(pair).collect()
}

async fn remember(
    tx: &Transaction<'_>,
    user: &str,
    outcomes: &[(String, Outcome)],
    now_ms: i64,
) -> Result<(), DatabaseError> {
    let ids: Vec<&str> = outcomes.iter().map(|(id, _)| id.as_str()).collect();
    let cursor = |outcome: &Outcome| match outcome {
        Outcome::Applied(applied) => Some(signed(applied.cursor.0)),
        Outcome::Conflict(_) => None,
    };
    let cursors: Vec<Option<i64>> = outcomes.iter().map(|(_, o)| cursor(o)).collect();
    let bodies = outcomes.iter().map(|(_, o)| serde_json::to_string(o));
    let bodies = bodies.collect::<Result<Vec<_>, _>>()?;
    let statement = tx
        .prepare_cached(
            "INSERT INTO outcomes
             SELECT $1, id, cursor, body, $5 FROM unnest($2::text[], $3::bigint[], $4::text[])
                 AS new (id, cursor, body)
             ON CONFLICT (owner, request_id) DO UPDATE
             SET cursor = excluded.cursor, body = excluded.body, at_ms = excluded.at_ms",
        )
        .await?;
    tx.execute(&statement, &[&user, &ids, &cursors, &bodies, &now_ms])
        .await?;
    Ok(())
}

/// What a transaction writes: each change, and each record as it is in the end.
#[derive(Default)]
struct Written {
    notes: BTreeMap<String, usize>,
    cursors: Vec<i64>,
    ids: Vec<String>,
    versions: Vec<i64>,
    ops: Vec<String>,
    bodies: Vec<String>,
    request_ids: Vec<Option<String>>,
}

impl Written {
    fn note(
        &mut self,
        cursor: Cursor,
        note: &Record,
        request_id: Option<&str>,
    ) -> Result<(), DatabaseError> {
        self.bodies.push(serde_json::to_string(note)?);
        self.notes.insert(note.id.clone(), self.cursors.len());
        self.cursors.push(signed(cursor.0));
        self.ids.push(note.id.clone());
        self.versions.push(signed(note.version.0));
        self.ops.push(batch::op_of(note).as_str().to_owned());
        self.request_ids.push(request_id.map(str::to_owned));
        Ok(())
    }

    async fn store(
        &self,
        tx: &Transaction<'_>,
        user: &str,
        now_ms: i64,
    ) -> Result<(), DatabaseError> {
        let statement = tx
            .prepare_cached(
                "INSERT INTO changes
                 SELECT cursor, $1, id, version, op, body, request_id, $8
                 FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[])
                     AS new (cursor, id, version, op, body, request_id)",
            )
            .await?;
        tx.execute(
            &statement,
            &[
                &user,
                &self.cursors,
                &self.ids,
                &self.versions,
                &self.ops,
                &self.bodies,
                &self.request_ids,
                &now_ms,
            ],
        )
        .await?;
        let last: Vec<usize> = self.notes.values().copied().collect();
        let ids: Vec<&str> = last.iter().map(|i| self.ids[*i].as_str()).collect();
        let versions: Vec<i64> = last.iter().map(|i| self.versions[*i]).collect();
        let deleted: Vec<bool> = last.iter().map(|i| self.ops[*i] == "delete").collect();
        let bodies: Vec<&str> = last.iter().map(|i| self.bodies[*i].as_str()).collect();
        let statement = tx
            .prepare_cached(
                "INSERT INTO notes
                 SELECT $1, id, version, deleted, body
                 FROM unnest($2::text[], $3::bigint[], $4::boolean[], $5::text[])
                     AS new (id, version, deleted, body)
                 ON CONFLICT (owner, id) DO UPDATE
                 SET version = excluded.version, deleted = excluded.deleted, body = excluded.body",
            )
            .await?;
        tx.execute(&statement, &[&user, &ids, &versions, &deleted, &bodies])
            .await?;
        Ok(())
    }
}

pub(super) async fn take_numbers(
    tx: &Transaction<'_>,
    count: u64,
) -> Result<Vec<Cursor>, DatabaseError> {
    let statement = tx
        .prepare_cached("SELECT nextval('change_numbers') FROM generate_series(1, $1::bigint)")
        .await?;
    let rows = tx.query(&statement, &[&signed(count)]).await?;
    let number = |row: &tokio_postgres::Row| Ok(Cursor(unsigned(row.try_get(0)?)));
    rows.iter().map(number).collect()
}

pub(super) async fn bootstrap(
    tx: &Transaction<'_>,
    caller: &Caller,
    notes: Vec<Record>,
    fingerprint: &str,
) -> Result<BootstrapAnswer, DatabaseError> {
    let user = &caller.user;
    let now_ms = Clock::true_ms();
    let first = tx
        .execute(
            "INSERT INTO bootstraps VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            &[user, &fingerprint, &now_ms],
        )
        .await?;
    let mut imported = 0;
    if first == 1 {
        let ids: BTreeSet<&str> = notes.iter().map(|note| note.id.as_str()).collect();
        lock(tx, user, &ids).await?;
        let mut there = current(tx, user, &ids).await?;
        let numbers = take_numbers(tx, notes.len() as u64).await?;
        let mut written = Written::default();
        for (mut note, number) in notes.into_iter().zip(numbers) {
            if there.contains_key(&note.id) {
                continue;
            }
            note.version = Version(1);
            written.note(number, &note, None)?;
            there.insert(note.id.clone(), note);
            imported += 1;
        }
        written.store(tx, user, now_ms).await?;
    }
    Ok(BootstrapAnswer {
        imported,
        already_bootstrapped: first == 0,
        cursor: latest_cursor(tx, user).await?,
    })
}

pub(super) async fn greet(
    client: &mut Object,
    caller: &Caller,
    devices_max: u64,
) -> Result<DeviceState, DatabaseError> {
    let id = caller.device.to_string();
    let now = Clock::true_ms();
    let statement = client
        .prepare_cached("SELECT last_seen_at, revoked_at FROM devices WHERE owner = $1 AND id = $2")
        .await?;
    let known = client.query_opt(&statement, &[&caller.user, &id]).await?;
    if let Some(row) = &known {
        let (seen, revoked): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
        if revoked.is_some() {
            return Ok(DeviceState::Revoked);
        }
        if now.saturating_sub(seen) < SEEN_AGAIN_MS {
            return Ok(DeviceState::Welcome);
        }
    }
    let noted = client
        .execute(
            "INSERT INTO devices (owner, id, created_at, last_seen_at) VALUES ($1, $2, $3, $3)
             ON CONFLICT (owner, id) DO UPDATE SET last_seen_at = excluded.last_seen_at",
            &[&caller.user, &id, &now],
        )
        .await;
    match noted {
        // Whoever reads may do so while nothing can be written, seen or not.
        Err(error) if error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION) => {}
        Err(error) => return Err(error.into()),
        Ok(_) if known.is_none() => {
            client
                .execute(
                    "DELETE FROM devices WHERE owner = $1 AND revoked_at IS NULL AND id IN
                         (SELECT id FROM devices WHERE owner = $1 ORDER BY last_seen_at DESC
                          OFFSET $2)",
                    &[&caller.user, &signed(devices_max)],
                )
                .await?;
        }
        Ok(_) => {}
    }
    Ok(DeviceState::Welcome)
}

pub(super) async fn revoke(
    tx: &Transaction<'_>,
    user: &str,
    device: Uuid,
) -> Result<bool, DatabaseError> {
    let rows = tx
        .execute(
            "UPDATE devices SET revoked_at = coalesce(revoked_at, $3) WHERE owner = $1 AND id = $2",
            &[&user, &device.to_string(), &Clock::true_ms()],
        )
        .await?;
    Ok(rows == 1)
}

const SEEN_AGAIN_MS: i64 = 60_000;
