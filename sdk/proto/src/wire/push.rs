//! Writing: a batch of operations and what became of each.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use super::lenient::or_default;
use super::{Cursor, Op, Record, Version};

/// The most operations that a batch may hold; the origin answers 400 beyond.
pub const PUSH_OPERATIONS_MAX: usize = 100;

/// How many characters a `requestId` may have.
pub const REQUEST_ID_CHARS: RangeInclusive<usize> = 8..=128;

/// The body of `POST /api/v2/sync/push`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PushRequest {
    /// In the order of the local writes; 1 to [`PUSH_OPERATIONS_MAX`].
    pub operations: Vec<Operation>,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// The idempotency key, remembered by the server for 24 h; see [`REQUEST_ID_CHARS`].
    pub request_id: String,
    /// What to do.
    pub op: Op,
    /// To which record.
    pub note_id: String,
    /// The version that this write is based on; 0 for a new record.
    pub base_version: Version,
    /// The record as it should become; the origin skips an upsert without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Record>,
    /// Which fields this write changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_changed_fields: Option<Vec<String>>,
    /// The record that this write is based on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_note: Option<Record>,
    /// Whether this is already the outcome of an automatic merge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_merge_attempted: Option<bool>,
}

/// The answer to a push. An operation can be in neither list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushAnswer {
    /// What the server took.
    #[serde(default, deserialize_with = "or_default")]
    pub applied: Vec<Applied>,
    /// What it did not take, since the record had moved on.
    #[serde(default, deserialize_with = "or_default")]
    pub conflicts: Vec<Conflict>,
    /// The end of the log afterwards.
    pub next_cursor: Cursor,
}

/// An operation that the server took, now or at an earlier sending.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// Which operation.
    pub request_id: String,
    /// The record as the server has it since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Record>,
    /// Its place in the log.
    pub cursor: Cursor,
}

/// An operation whose `baseVersion` was not the server's version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// Which operation.
    pub request_id: String,
    /// Which record.
    pub note_id: String,
    /// The version that the operation was based on.
    #[serde(default, deserialize_with = "or_default")]
    pub base_version: Version,
    /// The server's version; 0 where it has no such record.
    #[serde(default, deserialize_with = "or_default")]
    pub current_version: Version,
    /// The record as the server has it, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_note: Option<Record>,
    /// Which fields changed on the server since the base.
    #[serde(default, deserialize_with = "or_default")]
    pub changed_fields: Vec<String>,
}
