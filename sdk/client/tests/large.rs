//! The largest page that the contract allows, and a snapshot four times as large, come through a real
//! socket into the durable store: memory does not grow with them. A test binary of its own, since it
//! measures the whole process.

#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Reply, Seen, Service, answer, builder, made, synced};
use evenkeel::store::{Durability, SqliteStore, StoreOptions};
use evenkeel::{Change, Changes, Cursor, Replica as _};
use serde_json::json;

const MIB: usize = 1 << 20;
const CHANGES: u64 = 500;
const CONTENT_CHARS: usize = 100_000;
const NOTES: u64 = 200_000;
const NOTE_CHARS: usize = 1_000;
/// Blocks on their way to a file and back, one record, and what SQLite keeps of its file.
const GROWTH_MAX: usize = 8 * MIB;
const LONG: Duration = Duration::from_secs(180);

/// What the service has in store: nothing, the page, a reset with the snapshot, nothing.
#[derive(Default)]
struct Stage(AtomicU8);

impl Stage {
    fn reply(&self, seen: &Seen) -> Reply {
        let from = seen.query.strip_prefix("cursor=");
        match (seen.path.as_str(), self.0.load(Ordering::SeqCst)) {
            ("/api/v2/sync/pull", 1) if from == Some("0") => Reply::Full(made(page())),
            ("/api/v2/sync/pull", 2) => {
                self.0.store(3, Ordering::SeqCst);
                Reply::Full(answer(&json!({"changes": [], "resetRequired": true,
                    "nextCursor": from, "latestCursor": CHANGES + NOTES})))
            }
            ("/api/v2/sync/pull", _) => {
                Reply::Full(answer(&json!({"changes": [], "nextCursor": from})))
            }
            ("/api/v2/notes", _) => Reply::Full(made(snapshot())),
            _ => Reply::Healthy,
        }
    }
}

#[tokio::test]
async fn a_page_of_50_mb_and_a_snapshot_of_200_mb_are_applied_in_bounded_memory() {
    the_measure_sees_what_is_used();
    let service = Service::start().await;
    let stage = Arc::new(Stage::default());
    let script = Arc::clone(&stage);
    service.script(move |seen| script.reply(seen));
    let dir = tempfile::tempdir().unwrap();
    let mut options = StoreOptions::default();
    options.durability = Durability::Fast;
    let store = SqliteStore::open(dir.path().join("store.db"), "account", options).await;
    let store = store.unwrap();
    let client = builder(&service.url).replica(store.clone());
    let client = client.build().unwrap();
    let mut changes = client.changes();
    client.start().unwrap();
    synced(&client).await;

    let before = peak_from_here();
    stage.0.store(1, Ordering::SeqCst);
    service.emit("event: sync\ndata: {\"cursor\":500}\n\n");
    for n in 1..=CHANGES {
        let expected = format!("n{n}");
        assert!(matches!(next(&mut changes).await, Change::Upserted { id, .. } if id == expected));
    }
    bounded("the page", before);
    synced(&client).await;
    assert_eq!(store.cursor().await.unwrap(), Some(Cursor(CHANGES)));
    let last = store.get("n500").await.unwrap().unwrap();
    assert_eq!(
        last.fields["content"].as_str().unwrap().len(),
        CONTENT_CHARS
    );

    let before = peak_from_here();
    stage.0.store(2, Ordering::SeqCst);
    service.emit("event: sync\ndata: {\"cursor\":501}\n\n");
    let replaced = next(&mut changes).await;
    assert_eq!(replaced, Change::Replaced { records: NOTES });
    bounded("the snapshot", before);
    assert_eq!(store.get("n500").await.unwrap(), None);
    let last = store.get(format!("s{NOTES}")).await.unwrap().unwrap();
    assert_eq!(last.fields["content"].as_str().unwrap().len(), NOTE_CHARS);

    client.stop().await;
    store.close().await.unwrap();
    let mut left: Vec<_> = dir
        .path()
        .read_dir()
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["store.db", "store.db-lease"]);
}

async fn next(changes: &mut Changes) -> Change {
    let next = tokio::time::timeout(LONG, changes.next()).await;
    next.expect("no change in time").unwrap().unwrap()
}

type Chunk = io::Result<Bytes>;

fn page() -> impl Iterator<Item = Chunk> + Send + Sync + Unpin {
    let content = "x".repeat(CONTENT_CHARS);
    let changes = (1..=CHANGES).map(move |n| {
        let comma = if n > 1 { "," } else { "" };
        format!(
            r#"{comma}{{"cursor":{n},"op":"upsert","note":{{"id":"n{n}","version":1,"content":"{content}"}}}}"#
        )
    });
    around(r#"{"changes":["#, changes, r#"],"nextCursor":500}"#)
}

fn snapshot() -> impl Iterator<Item = Chunk> + Send + Sync + Unpin {
    let content = "y".repeat(NOTE_CHARS);
    let notes = (1..=NOTES).map(move |n| {
        let comma = if n > 1 { "," } else { "" };
        format!(r#"{comma}{{"id":"s{n}","version":1,"updatedAt":{n},"content":"{content}"}}"#)
    });
    around(r#"{"cursor":"900","notes":["#, notes, "]}")
}

fn around(
    head: &'static str,
    items: impl Iterator<Item = String> + Send + Sync + Unpin,
    tail: &'static str,
) -> impl Iterator<Item = Chunk> + Send + Sync + Unpin {
    let head = std::iter::once(head.to_owned());
    let tail = std::iter::once(tail.to_owned());
    head.chain(items).chain(tail).map(|text| Ok(text.into()))
}

fn the_measure_sees_what_is_used() {
    let before = peak_from_here();
    drop(std::hint::black_box(vec![1_u8; 4 * GROWTH_MAX]));
    let grown = peak() - before;
    assert!(grown >= 3 * GROWTH_MAX, "{grown}");
}

fn bounded(what: &str, before: usize) {
    let grown = peak().saturating_sub(before);
    assert!(grown < GROWTH_MAX, "{what}: {grown} bytes more at its peak");
}

/// What the process has in memory now; [`peak`] counts anew from here.
fn peak_from_here() -> usize {
    // 5: forget the peak so far.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    resident("VmRSS:")
}

fn peak() -> usize {
    resident("VmHWM:")
}

fn resident(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kib: usize = line
        .unwrap()
        .trim()
        .strip_suffix(" kB")
        .unwrap()
        .parse()
        .unwrap();
    kib << 10
}
