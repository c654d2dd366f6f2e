//! Durable local writes.

use std::time::{Duration, Instant};

use evenkeel::store::Durability;
use evenkeel::wire::Record;
use rusqlite::params;

use crate::records::{fields, text};
use crate::{Best, ROUNDS, bare, open, row};

pub async fn run() {
    let mut best = Best::new();
    for _ in 0..ROUNDS {
        best.round([alone(), ours(0).await, ours(WAITING).await]);
    }
    let [alone, ours, behind] = best.0;
    row(
        "2,000 inserts, a transaction each: SQLite alone",
        PUTS as usize,
        alone,
        alone,
    );
    row("2,000 durable `put`s", PUTS as usize, ours, alone);
    row(
        "2,000 durable `put`s behind 20,000 that wait",
        PUTS as usize,
        behind,
        alone,
    );
}

fn alone() -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let db = bare::sqlite(dir.path());
    let begin = Instant::now();
    let mut insert = db.prepare(bare::INSERT).expect("a statement");
    for n in 0..PUTS {
        insert
            .execute(params![format!("n{n}"), 0, 1, 1, text(n)])
            .expect("a row");
    }
    begin.elapsed()
}

async fn ours(waiting: u64) -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), Durability::Full).await;
    let earlier = (0..waiting).map(|n| Record {
        id: format!("w{n}"),
        fields: fields(n),
        ..Record::default()
    });
    let taken = store.bootstrap(earlier.collect()).await;
    taken.expect("taken over");
    let begin = Instant::now();
    for n in 0..PUTS {
        store.put(format!("n{n}"), fields(n)).await.expect("a put");
    }
    begin.elapsed()
}

const PUTS: u64 = 2_000;
const WAITING: u64 = 20_000;
