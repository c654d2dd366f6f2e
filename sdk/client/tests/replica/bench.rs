//! What the scenarios are made with.

use std::path::{Path, PathBuf};

use evenkeel::store::{Durability, StoreOptions};
use evenkeel::wire::{Applied, Conflict, Operation, PushAnswer, PushRequest, Version};
use evenkeel::{
    BatchLimits, Cursor, MemoryReplica, PageBody, Record, Replica, SnapshotBody, SqliteStore,
};
use serde_json::{Map, Value, json};

pub(crate) const ALL: BatchLimits = BatchLimits {
    ops_max: 100,
    bytes_max: 1 << 20,
};

/// A replica that a test can write to.
pub(crate) trait Bench: Replica {
    async fn put(&self, id: &str, text: &str) -> bool;
    async fn delete(&self, id: &str);
    async fn view(&self, id: &str) -> Option<Record>;
    async fn conflicting(&self) -> Vec<String>;
    async fn refused(&self) -> Vec<String>;

    async fn text(&self, id: &str) -> Option<String> {
        let record = self.view(id).await;
        record.map(|record| record.fields["content"].as_str().unwrap().to_owned())
    }

    async fn batch(&self) -> PushRequest {
        self.take_batch(ALL).await.unwrap().expect("a batch")
    }

    /// The one operation that can be sent.
    async fn operation(&self) -> Operation {
        let mut batch = self.batch().await;
        assert_eq!(batch.operations.len(), 1);
        batch.operations.remove(0)
    }

    async fn pull(&self, from: u64, changes: &[(u64, Record)], next: u64) {
        let page = page(changes, next);
        self.apply_page(Cursor(from), page).await.unwrap();
    }
}

impl Bench for MemoryReplica {
    async fn put(&self, id: &str, text: &str) -> bool {
        Self::put(self, id, content(text)).is_ok()
    }

    async fn delete(&self, id: &str) {
        Self::delete(self, id).unwrap();
    }

    async fn view(&self, id: &str) -> Option<Record> {
        self.get(id)
    }

    async fn conflicting(&self) -> Vec<String> {
        self.conflicts().into_iter().map(|c| c.id).collect()
    }

    async fn refused(&self) -> Vec<String> {
        Self::refused(self).into_iter().map(|r| r.id).collect()
    }
}

impl Bench for SqliteStore {
    async fn put(&self, id: &str, text: &str) -> bool {
        Self::put(self, id, content(text)).await.is_ok()
    }

    async fn delete(&self, id: &str) {
        Self::delete(self, id).await.unwrap();
    }

    async fn view(&self, id: &str) -> Option<Record> {
        self.get(id).await.unwrap()
    }

    async fn conflicting(&self) -> Vec<String> {
        let conflicts = self.conflicts().await.unwrap();
        conflicts.into_iter().map(|c| c.id).collect()
    }

    async fn refused(&self) -> Vec<String> {
        let rejected = self.rejected().await.unwrap();
        rejected.into_iter().map(|r| r.id).collect()
    }
}

/// A directory for one store, gone with it.
pub(crate) struct Place(tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("store.db")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn files(&self) -> Vec<String> {
        let entries = self.dir().read_dir().unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names
    }

    pub(crate) async fn open(&self) -> SqliteStore {
        self.open_with(fast()).await
    }

    pub(crate) async fn open_with(&self, options: StoreOptions) -> SqliteStore {
        let opened = SqliteStore::open(self.path(), ACCOUNT, options).await;
        opened.unwrap()
    }
}

pub(crate) const ACCOUNT: &str = "account-1";

/// Without waiting for the disk, which no test here can cut the power of.
pub(crate) fn fast() -> StoreOptions {
    let mut options = StoreOptions::default();
    options.durability = Durability::Fast;
    options
}

pub(crate) fn fields(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub(crate) fn content(text: &str) -> Map<String, Value> {
    fields(json!({ "content": text }))
}

pub(crate) fn record(id: &str, version: u64, text: &str) -> Record {
    record_of(id, version, json!({ "content": text }))
}

pub(crate) fn record_of(id: &str, version: u64, value: Value) -> Record {
    Record {
        id: id.into(),
        version: Version(version),
        fields: fields(value),
        ..Record::default()
    }
}

pub(crate) fn page(changes: &[(u64, Record)], next: u64) -> PageBody {
    let changes = changes.iter().map(|(cursor, note)| {
        let op = if note.is_deleted() {
            "delete"
        } else {
            "upsert"
        };
        json!({"cursor": cursor, "op": op, "note": note})
    });
    let changes: Vec<_> = changes.collect();
    page_of(&json!({"changes": changes, "nextCursor": next}))
}

pub(crate) fn page_of(body: &Value) -> PageBody {
    body.to_string().into_bytes().into()
}

pub(crate) fn snapshot(notes: &[Record], cursor: u64) -> SnapshotBody {
    let body = json!({"notes": notes, "cursor": cursor});
    body.to_string().into_bytes().into()
}

/// The server takes the operation as this version.
pub(crate) fn applied(operation: &Operation, version: u64) -> Applied {
    let note = operation.note.clone().map(|note| Record {
        version: Version(version),
        ..note
    });
    Applied {
        request_id: operation.request_id.clone(),
        note,
        cursor: Cursor(version),
    }
}

pub(crate) fn taken(operation: &Operation, version: u64) -> PushAnswer {
    PushAnswer {
        applied: vec![applied(operation, version)],
        ..PushAnswer::default()
    }
}

/// The server has something else.
pub(crate) fn conflict(operation: &Operation, server: Option<Record>) -> PushAnswer {
    let current_version = server.as_ref().map_or(Version::ZERO, |s| s.version);
    PushAnswer {
        conflicts: vec![Conflict {
            request_id: operation.request_id.clone(),
            note_id: operation.note_id.clone(),
            base_version: operation.base_version,
            current_version,
            server_note: server,
            changed_fields: Vec::new(),
        }],
        ..PushAnswer::default()
    }
}

pub(crate) fn only(operation: &Operation) -> PushRequest {
    PushRequest {
        operations: vec![operation.clone()],
    }
}
