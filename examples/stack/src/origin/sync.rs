//! Reading and writing records.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::{Extension, Query, Request, State};
use axum::response::Response;
use evenkeel_proto::wire::{
    BootstrapRequest, Cursor, Op, Operation, PushRequest, Record, Snapshot, UnixMillis, Version,
};
use http::{HeaderMap, Uri};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Origin, read, validate};
use crate::answer::Refusal;
use crate::clock::Clock;
use crate::net::Connection;
use crate::store::{Caller, DatabaseError, Push, Pushed};

#[derive(Deserialize)]
struct PullQuery {
    #[serde(default)]
    cursor: u64,
}

pub(super) async fn pull(
    State(origin): State<Arc<Origin>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let caller = origin.caller(&headers).await?;
    let wrong = || Refusal::bad_request("cursor is a whole number from 0 to 9223372036854775807");
    let Query(query) = Query::<PullQuery>::try_from_uri(&uri).map_err(|_| wrong())?;
    if i64::try_from(query.cursor).is_err() {
        return Err(wrong());
    }
    let changes_max = origin.settings.page_changes_max;
    let page = origin
        .database
        .pull(caller.user, Cursor(query.cursor), changes_max);
    origin.shaped(&page.await?)
}

#[derive(Deserialize)]
struct SnapshotQuery {
    #[serde(default, rename = "includeDeleted")]
    include_deleted: bool,
}

pub(super) async fn snapshot(
    State(origin): State<Arc<Origin>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let caller = origin.caller(&headers).await?;
    let Query(query) = Query::<SnapshotQuery>::try_from_uri(&uri)
        .map_err(|_| Refusal::bad_request("includeDeleted is true or false"))?;
    let user = caller.user;
    let rows = origin
        .database
        .snapshot(user.clone(), query.include_deleted);
    let notes = rows.await?;
    let gap = origin.faults.now().snapshot_gap.clone();
    if let Some(gap) = gap {
        tokio::time::sleep(Duration::from_millis(gap.delay_ms)).await;
        if gap.write {
            let id = format!("gap-{}", Uuid::new_v4());
            write_note(&origin, &user, &id, "written between rows and cursor").await?;
        }
    }
    let cursor = origin.database.latest_cursor(user).await?;
    origin.shaped(&Snapshot { notes, cursor })
}

pub(super) async fn push(
    State(origin): State<Arc<Origin>>,
    Extension(connection): Extension<Connection>,
    request: Request,
) -> Result<Response, Refusal> {
    let caller = origin.caller(request.headers()).await?;
    let PushRequest { operations } = read(request).await?;
    validate::operations(&operations, origin.settings.push_operations_max)?;
    // Once begun it is carried through: a client that goes away must not cost the others their
    // announcement.
    let carried = tokio::spawn(carry_through(Arc::clone(&origin), caller, operations));
    let pushed = carried
        .await
        .map_err(|_| Refusal::internal("something went wrong"))??;
    if origin.faults.take_one(|f| &mut f.push_answers_lost) {
        connection.reset();
        pending::<()>().await;
    }
    if pushed.stopped {
        return Err(Refusal::internal("something went wrong"));
    }
    origin.shaped(&pushed.answer)
}

async fn carry_through(
    origin: Arc<Origin>,
    caller: Caller,
    operations: Vec<Operation>,
) -> Result<Pushed, DatabaseError> {
    let faults = origin.faults.now();
    let number = origin.counters.pushes.fetch_add(1, Ordering::Relaxed);
    let late = faults.late_commits.as_ref();
    let numbers = match late.filter(|late| number.is_multiple_of(late.every.max(1))) {
        Some(late) => {
            let count = operations.len() as u64;
            let numbers = origin.database.take_numbers(count).await?;
            tokio::time::sleep(Duration::from_millis(late.delay_ms)).await;
            numbers
        }
        None => Vec::new(),
    };
    let skip = operations.iter().map(|operation| &operation.request_id);
    let skip = skip.filter(|_| origin.faults.take_one(|f| &mut f.operations_skipped));
    let skip = skip.cloned().collect();
    origin
        .write(Push {
            caller,
            operations,
            numbers,
            idempotency: Duration::from_millis(origin.settings.idempotency_ms),
            stop_after: faults.push_breaks_after,
            skip,
        })
        .await
}

pub(super) async fn bootstrap(
    State(origin): State<Arc<Origin>>,
    request: Request,
) -> Result<Response, Refusal> {
    let caller = origin.caller(request.headers()).await?;
    let body: BootstrapRequest = read(request).await?;
    let notes_max = origin.settings.bootstrap_notes_max;
    if body.notes.len() as u64 > notes_max {
        let message = format!("a bootstrap holds at most {notes_max} notes");
        return Err(Refusal::bad_request(message));
    }
    if body.source_fingerprint.is_empty() {
        return Err(Refusal::bad_request("sourceFingerprint is missing"));
    }
    for note in &body.notes {
        validate::note(note)?;
    }
    let user = caller.user.clone();
    let imported = origin
        .database
        .bootstrap(caller, body.notes, body.source_fingerprint);
    let answer = imported.await?;
    if answer.imported > 0 {
        origin.bus.publish(user, answer.cursor).await;
    }
    origin.shaped(&answer)
}

impl Origin {
    /// Carries out a batch and tells the streams.
    async fn write(&self, push: Push) -> Result<Pushed, DatabaseError> {
        let user = push.caller.user.clone();
        let pushed = self.database.push_batch(push).await?;
        let counters = &self.counters;
        let applied = pushed.answer.applied.len() as u64;
        counters
            .operations_applied
            .fetch_add(applied, Ordering::Relaxed);
        let conflicts = pushed.answer.conflicts.len() as u64;
        counters.conflicts.fetch_add(conflicts, Ordering::Relaxed);
        if let Some(cursor) = pushed.announce {
            self.bus.publish(user, cursor).await;
        }
        Ok(pushed)
    }
}

/// A write of somebody else's: replaces the record, whatever its version, and tells the streams.
pub(crate) async fn write_note(
    origin: &Origin,
    user: &str,
    id: &str,
    content: &str,
) -> Result<Cursor, DatabaseError> {
    let now = UnixMillis(Clock::true_ms());
    let mut note = Record {
        id: id.to_owned(),
        created_at: now,
        updated_at: now,
        ..Record::default()
    };
    note.fields
        .insert("content".to_owned(), Value::from(content));
    let mut base_version = Version::ZERO;
    loop {
        let operation = Operation {
            request_id: Uuid::new_v4().to_string(),
            op: Op::Upsert,
            note_id: id.to_owned(),
            base_version,
            note: Some(note.clone()),
            client_changed_fields: None,
            base_note: None,
            auto_merge_attempted: None,
        };
        let push = Push {
            caller: Caller {
                user: user.to_owned(),
                device: Uuid::new_v4(),
            },
            operations: vec![operation],
            numbers: Vec::new(),
            idempotency: Duration::from_millis(origin.settings.idempotency_ms),
            stop_after: None,
            skip: Vec::new(),
        };
        let answer = origin.write(push).await?.answer;
        if let Some(applied) = answer.applied.first() {
            return Ok(applied.cursor);
        }
        // Somebody wrote first: their version is the one to build on.
        match answer.conflicts.first() {
            Some(conflict) => base_version = conflict.current_version,
            None => return Err(DatabaseError::Failed("the write was skipped".to_owned())),
        }
    }
}
