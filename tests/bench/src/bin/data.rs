//! The store's data path beside its limits, in one run: what SQLite alone takes for the same rows with
//! the same pragmas.

use std::path::Path;
use std::time::{Duration, Instant};

use evenkeel::store::{SqliteStore, StoreOptions};
use evenkeel::wire::PullPage;
use evenkeel::{Cursor, PageBody, Replica as _};
use rusqlite::{Connection, params};
use serde_json::{Map, Value, json};

const PUTS: usize = 2_000;
const CHANGES: u64 = 100_000;
const PAGE_CHANGES: u64 = 500;
const ROUNDS: usize = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("| what | best time | per second | time, limit = 1 |");
    println!("|---|--:|--:|--:|");
    let mut times = [Duration::MAX; 5];
    for _ in 0..ROUNDS {
        let round = [
            bare_puts(),
            puts().await,
            bare_pages(),
            parse_pages(),
            pages().await,
        ];
        for (best, time) in times.iter_mut().zip(round) {
            *best = time.min(*best);
        }
    }
    let [bare_puts, puts, bare_pages, parsed, pages] = times;
    let changes = CHANGES as usize;
    row(
        "2,000 inserts, a transaction each: SQLite alone",
        PUTS,
        bare_puts,
        bare_puts,
    );
    row("2,000 durable `put`s", PUTS, puts, bare_puts);
    row(
        "100,000 changes, a transaction per 500: SQLite alone",
        changes,
        bare_pages,
        bare_pages,
    );
    row(
        "100,000 changes read from JSON, and no more",
        changes,
        parsed,
        bare_pages,
    );
    row(
        "100,000 changes in 200 pages, through `apply_page`",
        changes,
        pages,
        bare_pages,
    );
}

fn row(what: &str, count: usize, time: Duration, limit: Duration) {
    let seconds = time.as_secs_f64();
    println!(
        "| {what} | {:.0} ms | {:.0} | {:.2} |",
        seconds * 1e3,
        count as f64 / seconds,
        seconds / limit.as_secs_f64()
    );
}

async fn open(dir: &Path) -> SqliteStore {
    let mut options = StoreOptions::default();
    // All writes wait: nobody sends them here.
    options.outbox_hard_max = 1_000_000;
    let store = SqliteStore::open(dir.join("ours.db"), "account", options);
    store.await.expect("a store")
}

/// The table of the store's records with its pragmas and indices, and nothing else.
fn bare(dir: &Path) -> Connection {
    let db = Connection::open(dir.join("bare.db")).expect("a database");
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
         CREATE TABLE records (id TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL,
             created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, deleted_at INTEGER,
             fields TEXT NOT NULL) STRICT;
         CREATE INDEX by_update ON records (updated_at, id) WHERE deleted_at IS NULL;
         CREATE INDEX by_creation ON records (created_at, id) WHERE deleted_at IS NULL;",
    )
    .expect("tables");
    db
}

const INSERT: &str = "INSERT INTO records VALUES (?1, ?2, ?3, ?4, NULL, ?5)";

fn fields(n: u64) -> Map<String, Value> {
    let value = json!({"content": format!("a note with some words in it, number {n}, {}", "x".repeat(150)),
        "title": "milk and eggs", "tags": ["shop", "today"], "isPinned": false, "priority": "normal"});
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn bare_puts() -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let db = bare(dir.path());
    let begin = Instant::now();
    let mut insert = db.prepare(INSERT).expect("a statement");
    for n in 0..PUTS as u64 {
        let text = serde_json::to_string(&fields(n)).expect("JSON");
        insert
            .execute(params![format!("n{n}"), 0, 1, 1, text])
            .expect("a row");
    }
    begin.elapsed()
}

async fn puts() -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path()).await;
    let begin = Instant::now();
    for n in 0..PUTS as u64 {
        store.put(format!("n{n}"), fields(n)).await.expect("a put");
    }
    begin.elapsed()
}

fn page(from: u64) -> Vec<u8> {
    let changes = (from + 1..=from + PAGE_CHANGES).map(|n| {
        let mut note =
            json!({"id": format!("note-{n:08}"), "version": 1, "createdAt": n, "updatedAt": n});
        if let Value::Object(note) = &mut note {
            note.extend(fields(n));
        }
        json!({"cursor": n, "op": "upsert", "note": note, "requestId": format!("request-{n:012}")})
    });
    let changes: Vec<_> = changes.collect();
    json!({"changes": changes, "nextCursor": from + PAGE_CHANGES})
        .to_string()
        .into_bytes()
}

fn all_pages() -> Vec<(u64, Vec<u8>)> {
    let starts = (0..CHANGES).step_by(PAGE_CHANGES as usize);
    starts.map(|from| (from, page(from))).collect()
}

fn bare_pages() -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let mut db = bare(dir.path());
    let mut rows = Vec::new();
    for n in 1..=CHANGES {
        let text = serde_json::to_string(&fields(n)).expect("JSON");
        rows.push((format!("note-{n:08}"), n as i64, text));
    }
    let begin = Instant::now();
    for rows in rows.chunks(PAGE_CHANGES as usize) {
        let tx = db.transaction().expect("a transaction");
        {
            let mut insert = tx.prepare_cached(INSERT).expect("a statement");
            for (id, at, text) in rows {
                insert.execute(params![id, 1, at, at, text]).expect("a row");
            }
        }
        tx.commit().expect("a commit");
    }
    begin.elapsed()
}

fn parse_pages() -> Duration {
    let pages = all_pages();
    let begin = Instant::now();
    for (_, page) in &pages {
        let page: PullPage = serde_json::from_slice(page).expect("a page");
        std::hint::black_box(page);
    }
    begin.elapsed()
}

async fn pages() -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path()).await;
    let pages = all_pages();
    let begin = Instant::now();
    for (from, page) in pages {
        let applied = store.apply_page(Cursor(from), PageBody::from(page)).await;
        let (pulled, changes) = applied.expect("applied");
        assert_eq!((pulled.changes as usize, changes.len()), (500, 500));
    }
    begin.elapsed()
}
