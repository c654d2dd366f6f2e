//! A device that wrote for a long time without a network.

use std::time::{Duration, Instant};

use evenkeel::Replica as _;
use evenkeel::store::Durability;
use evenkeel_proto::wire::{Op, Operation, PushAnswer, PushRequest, Record, Version};
use rusqlite::params;

use crate::records::{fields, text};
use crate::service::Service;
use crate::{Best, REQUESTS_A_CLIENT, ROUNDS, bare, client, open, row};

pub async fn run() {
    let service = Service::start(Vec::new());
    let mut best = Best::new();
    for _ in 0..ROUNDS {
        best.round([
            post(&service).await,
            rows(),
            ours(&service, FEW).await,
            ours(&service, OPERATIONS).await,
        ]);
    }
    let [post, rows, few, ours] = best.0;
    row(
        "10,000 operations, 100 a request: reqwest alone",
        OPERATIONS,
        post,
        post,
    );
    row(
        "the same in SQLite alone: 100 marked as sent, then 100 taken out and 100 records put in",
        OPERATIONS,
        rows,
        post,
    );
    row("both, one after the other", OPERATIONS, post + rows, post);
    row(
        "push of 1,000 operations: `SyncClient` on `SqliteStore`",
        FEW,
        few,
        post / 10,
    );
    row("push of 10,000 operations", OPERATIONS, ours, post);
}

fn operation(n: usize) -> Operation {
    let id = format!("n{n}");
    let mut note = Record::default();
    note.id.clone_from(&id);
    note.fields = fields(n as u64);
    Operation {
        request_id: format!("01234567-89ab-cdef-0123-{n:012}"),
        op: Op::Upsert,
        note_id: id,
        base_version: Version::ZERO,
        client_changed_fields: Some(note.fields.keys().cloned().collect()),
        note: Some(note),
        base_note: None,
        auto_merge_attempted: None,
    }
}

/// The bodies are ready; the answers are read as the client reads them.
async fn post(service: &Service) -> Duration {
    let all: Vec<_> = (0..OPERATIONS).map(operation).collect();
    let bodies: Vec<_> = all
        .chunks(BATCH)
        .map(|batch| {
            let operations = batch.to_vec();
            serde_json::to_vec(&PushRequest { operations }).expect("JSON")
        })
        .collect();
    let http = bare::http();
    let url = format!("{}/api/v2/sync/push", service.url);
    let begin = Instant::now();
    for body in bodies {
        let request = http.post(&url).header("content-type", "application/json");
        let answer = request.body(body).send().await.expect("an answer");
        let answer = answer.bytes().await.expect("an answer");
        let answer: PushAnswer = serde_json::from_slice(&answer).expect("an answer");
        assert_eq!(answer.applied.len(), BATCH);
    }
    begin.elapsed()
}

/// What has to be durable before a batch goes out, and once it was answered.
fn rows() -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let mut db = bare::sqlite(dir.path());
    let tx = db.transaction().expect("a transaction");
    for n in 0..OPERATIONS {
        let sql = "INSERT INTO outbox VALUES (?1, ?2, ?3, ?4, NULL, NULL)";
        let mut insert = tx.prepare_cached(sql).expect("a statement");
        let request_id = format!("01234567-89ab-cdef-0123-{n:012}");
        let row = params![n as i64, format!("n{n}"), request_id, text(n as u64)];
        insert.execute(row).expect("a row");
    }
    tx.commit().expect("a commit");
    let texts: Vec<_> = (0..OPERATIONS)
        .map(|n| {
            let body = serde_json::to_string(&operation(n)).expect("JSON");
            (n as i64, format!("n{n}"), body, text(n as u64))
        })
        .collect();
    let begin = Instant::now();
    for batch in texts.chunks(BATCH) {
        let tx = db.transaction().expect("a transaction");
        for (seq, _, body, _) in batch {
            let sql = "UPDATE outbox SET body = ?2, sent_ms = 1 WHERE seq = ?1";
            let mut mark = tx.prepare_cached(sql).expect("a statement");
            mark.execute(params![seq, body]).expect("a row");
        }
        tx.commit().expect("a commit");
        let tx = db.transaction().expect("a transaction");
        for (seq, id, _, text) in batch {
            let mut take = tx
                .prepare_cached("DELETE FROM outbox WHERE seq = ?1")
                .expect("a statement");
            take.execute([seq]).expect("a row");
            let mut put = tx.prepare_cached(bare::INSERT).expect("a statement");
            put.execute(params![id, 1, 1, 1, text]).expect("a row");
        }
        tx.commit().expect("a commit");
    }
    begin.elapsed()
}

/// From each client's start until nothing waits, or it has sent its share.
async fn ours(service: &Service, operations: usize) -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), Durability::Fast).await;
    for n in 0..operations {
        let put = store.put(format!("n{n}"), fields(n as u64)).await;
        put.expect("a put");
    }
    store.close().await.expect("closed");
    let store = open(dir.path(), Durability::Full).await;
    let mut time = Duration::ZERO;
    let mut waiting = operations;
    while waiting > 0 {
        let left = waiting.saturating_sub(REQUESTS_A_CLIENT * BATCH);
        let client = client(&service.url, &store);
        let begin = Instant::now();
        client.start().expect("started");
        while waiting > left {
            tokio::time::sleep(Duration::from_millis(1)).await;
            waiting = store.backlog().waiting as usize;
        }
        time += begin.elapsed();
        client.stop().await;
    }
    time
}

const OPERATIONS: usize = 10_000;
const FEW: usize = 1_000;
const BATCH: usize = 100;
