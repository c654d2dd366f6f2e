//! What an operation does to a record, and what is answered: the same whatever database keeps it.

use evenkeel_proto::wire::{
    Applied, Conflict, Cursor, Op, Operation, PullPage, Record, ResetReason, UnixMillis, Version,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Caller;

/// What is remembered of an operation.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Applied(Applied),
    Conflict(Conflict),
}

/// What has to be done about an operation.
#[derive(Debug)]
pub(super) enum Ruling {
    /// It says nothing to do.
    Nothing,
    /// It was made for another version than the present one.
    Conflict,
    /// The record as it is from now on.
    Write(Record),
}

/// Looks at an operation beside the record as it is now.
pub(super) fn judge(
    caller: &Caller,
    operation: &Operation,
    current: Option<&Record>,
    now: UnixMillis,
) -> Ruling {
    if operation.op == Op::Upsert && operation.note.is_none() {
        return Ruling::Nothing;
    }
    let version = version_of(current);
    if operation.base_version != version {
        return Ruling::Conflict;
    }
    let mut note = match (&operation.op, &operation.note) {
        (Op::Upsert, Some(note)) => Record {
            created_at: current.map_or(note.created_at, |current| current.created_at),
            updated_at: note.updated_at,
            ..note.clone()
        },
        _ => Record {
            deleted_at: Some(now),
            updated_at: now,
            ..current.cloned().unwrap_or_default()
        },
    };
    note.id.clone_from(&operation.note_id);
    note.version = Version(version.0 + 1);
    for time in [&mut note.created_at, &mut note.updated_at] {
        if time.0 == 0 {
            *time = now;
        }
    }
    let device = Value::from(caller.device.to_string());
    note.fields.insert(MODIFIED_BY.to_owned(), device);
    Ruling::Write(note)
}

/// The conflict of an operation; `base` is what it was made from, as far as that is known.
pub(super) fn conflict(
    operation: &Operation,
    base: Option<&Record>,
    current: Option<Record>,
) -> Conflict {
    Conflict {
        request_id: operation.request_id.clone(),
        note_id: operation.note_id.clone(),
        base_version: operation.base_version,
        current_version: version_of(current.as_ref()),
        changed_fields: changed_fields(base.or(operation.note.as_ref()), current.as_ref()),
        server_note: current,
    }
}

/// What somebody gets who asks for changes that have been pruned.
pub(super) fn too_old(oldest: Option<Cursor>, latest: Cursor) -> PullPage {
    PullPage {
        next_cursor: latest,
        reset_required: true,
        reset_reason: Some(ResetReason::CursorTooOld),
        oldest_available_cursor: Some(oldest.unwrap_or(latest)),
        latest_cursor: Some(latest),
        ..PullPage::default()
    }
}

/// A record's kind of entry in the log.
pub(super) const fn op_of(note: &Record) -> Op {
    match note.is_deleted() {
        true => Op::Delete,
        false => Op::Upsert,
    }
}

fn version_of(note: Option<&Record>) -> Version {
    note.map_or(Version::ZERO, |note| note.version)
}

/// Which of the app's fields the server has otherwise than the base of an operation had them.
fn changed_fields(base: Option<&Record>, current: Option<&Record>) -> Vec<String> {
    let (Some(base), Some(current)) = (base, current) else {
        return Vec::new();
    };
    let mut changed = differing(&base.fields, &current.fields);
    if base.is_deleted() != current.is_deleted() {
        changed.push("deletedAt".to_owned());
    }
    changed
}

fn differing(base: &Map<String, Value>, current: &Map<String, Value>) -> Vec<String> {
    let gone = base.keys().filter(|name| !current.contains_key(*name));
    let names = current.keys().chain(gone);
    names
        .filter(|name| *name != MODIFIED_BY && base.get(*name) != current.get(*name))
        .cloned()
        .collect()
}

const MODIFIED_BY: &str = "lastModifiedByDeviceId";
