//! Reading: pages of changes, the snapshot; and the first import.

use serde::{Deserialize, Serialize};

use super::lenient::or_default;
use super::open::open_enum;
use super::{Cursor, Record};

/// The most changes that a page holds.
pub const PULL_CHANGES_MAX: usize = 500;

/// The most records that a bootstrap may carry.
pub const BOOTSTRAP_NOTES_MAX: usize = 5_000;

open_enum! {
    /// What was done to a record.
    Op {
        /// Written: new or changed.
        Upsert = "upsert",
        /// Deleted.
        Delete = "delete",
    }
}

/// One entry of the server's log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// Its place in the log.
    pub cursor: Cursor,
    /// What was done.
    pub op: Op,
    /// The record as it is since then; absent only beside an `op` that this build does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Record>,
    /// The operation that did it, where a push did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

open_enum! {
    /// Why the server cannot go on from our cursor.
    ResetReason {
        /// The log before it has been pruned.
        CursorTooOld = "CURSOR_TOO_OLD",
    }
}

/// The answer to `GET /api/v2/sync/pull?cursor=N`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullPage {
    /// What happened after the cursor asked for, oldest first; none says that there is nothing more.
    #[serde(default, deserialize_with = "or_default")]
    pub changes: Vec<Change>,
    /// Where the next page begins.
    pub next_cursor: Cursor,
    /// The cursor asked for is too old: take a snapshot.
    #[serde(
        default,
        deserialize_with = "or_default",
        skip_serializing_if = "is_false"
    )]
    pub reset_required: bool,
    /// Why, where a reset is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_reason: Option<ResetReason>,
    /// The oldest cursor that could still be pulled from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_available_cursor: Option<Cursor>,
    /// The end of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_cursor: Option<Cursor>,
}

/// The answer to `GET /api/v2/notes`. Rows and cursor are read one after the other, not atomically:
/// resume from a cursor known before this was asked for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Every record, tombstones only where they were asked for.
    #[serde(default, deserialize_with = "or_default")]
    pub notes: Vec<Record>,
    /// The end of the log at about that time.
    pub cursor: Cursor,
}

/// The body of `POST /api/v2/sync/bootstrap`: what a user had before there was a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapRequest {
    /// At most [`BOOTSTRAP_NOTES_MAX`].
    pub notes: Vec<Record>,
    /// Names the source, so that a repeat can be told from another import.
    pub source_fingerprint: String,
}

/// The answer to a bootstrap; it works once per user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootstrapAnswer {
    /// How many records were taken.
    #[serde(default, deserialize_with = "or_default")]
    pub imported: u64,
    /// It had been done before; nothing was taken.
    #[serde(default, deserialize_with = "or_default")]
    pub already_bootstrapped: bool,
    /// The end of the log afterwards.
    pub cursor: Cursor,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}
