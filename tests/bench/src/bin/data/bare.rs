//! The limits: SQLite alone, and reqwest alone.

use std::path::Path;

use rusqlite::Connection;

/// The table of the store's records with its pragmas and indices, and nothing else.
pub fn sqlite(dir: &Path) -> Connection {
    let db = Connection::open(dir.join("bare.db")).expect("a database");
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = ON;
         CREATE TABLE records (id TEXT PRIMARY KEY NOT NULL, version INTEGER NOT NULL,
             created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, deleted_at INTEGER,
             fields TEXT NOT NULL) STRICT;
         CREATE INDEX by_update ON records (updated_at, id) WHERE deleted_at IS NULL;
         CREATE INDEX by_creation ON records (created_at, id) WHERE deleted_at IS NULL;
         CREATE TABLE outbox (seq INTEGER PRIMARY KEY, record_id TEXT NOT NULL,
             request_id TEXT UNIQUE NOT NULL, fields TEXT NOT NULL, body TEXT, sent_ms INTEGER) STRICT;
         CREATE INDEX by_record ON outbox (record_id, seq);",
    )
    .expect("tables");
    db
}

pub fn http() -> sdk_reqwest::Client {
    sdk_reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client")
}

pub const INSERT: &str = "INSERT INTO records VALUES (?1, ?2, ?3, ?4, NULL, ?5)";
