//! A device that has everything yet to come.

use std::time::{Duration, Instant};

use evenkeel::store::Durability;
use evenkeel::wire::PullPage;
use evenkeel::{Cursor, PageBody, Replica as _};
use rusqlite::params;

use crate::records::{PAGE_CHANGES, page, text};
use crate::service::Service;
use crate::{Best, REQUESTS_A_CLIENT, ROUNDS, bare, client, open, row};

pub async fn run() {
    let pages: Vec<_> = (0..PAGES as u64).map(|n| page(n * PAGE_CHANGES)).collect();
    let mib = pages.iter().map(Vec::len).sum::<usize>() as f64 / f64::from(1 << 20);
    let service = Service::start(pages.clone());
    let mut best = Best::new();
    for _ in 0..ROUNDS {
        best.round([
            rows(),
            transfer(&service).await,
            parse(&pages),
            apply(&pages).await,
            ours(&service).await,
        ]);
    }
    let [rows, transfer, parsed, applied, ours] = best.0;
    let limit = rows + transfer;
    let line = |what: &str, time| row(what, CHANGES, time, limit);
    line("100,000 rows, a transaction per 500: SQLite alone", rows);
    line(
        &format!("200 pages of 500 changes, {mib:.0} MiB, received: reqwest alone"),
        transfer,
    );
    line("both, one after the other: the limit", limit);
    line(
        "for comparison: the same pages read from JSON, and no more",
        parsed,
    );
    line(
        "for comparison: the same pages through `apply_page`, no network",
        applied,
    );
    line(
        "catch-up of 100,000 changes: `SyncClient` on `SqliteStore`",
        ours,
    );
}

fn rows() -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let mut db = bare::sqlite(dir.path());
    let rows: Vec<_> = (1..=CHANGES as u64)
        .map(|n| (format!("note-{n:08}"), n as i64, text(n)))
        .collect();
    let begin = Instant::now();
    for rows in rows.chunks(PAGE_CHANGES as usize) {
        let tx = db.transaction().expect("a transaction");
        {
            let mut insert = tx.prepare_cached(bare::INSERT).expect("a statement");
            for (id, at, text) in rows {
                insert.execute(params![id, 1, at, at, text]).expect("a row");
            }
        }
        tx.commit().expect("a commit");
    }
    begin.elapsed()
}

async fn transfer(service: &Service) -> Duration {
    service.show(PAGES);
    let http = bare::http();
    let begin = Instant::now();
    for n in 0..PAGES as u64 {
        let url = format!(
            "{}/api/v2/sync/pull?cursor={}",
            service.url,
            n * PAGE_CHANGES
        );
        let answer = http.get(url).send().await.expect("an answer");
        std::hint::black_box(answer.bytes().await.expect("a page"));
    }
    begin.elapsed()
}

fn parse(pages: &[Vec<u8>]) -> Duration {
    let begin = Instant::now();
    for page in pages {
        let page: PullPage = serde_json::from_slice(page).expect("a page");
        std::hint::black_box(page);
    }
    begin.elapsed()
}

async fn apply(pages: &[Vec<u8>]) -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), Durability::Full).await;
    let mut time = Duration::ZERO;
    for (from, page) in (0..).step_by(PAGE_CHANGES as usize).zip(pages) {
        let page = PageBody::from(page.clone());
        let begin = Instant::now();
        let applied = store.apply_page(Cursor(from), page).await;
        time += begin.elapsed();
        let (pulled, changes) = applied.expect("applied");
        assert_eq!((pulled.changes as usize, changes.len()), (500, 500));
    }
    time
}

/// From each client's start until it asks for what comes after the last page.
async fn ours(service: &Service) -> Duration {
    let dir = tempfile::tempdir().expect("a directory");
    let store = open(dir.path(), Durability::Full).await;
    let mut time = Duration::ZERO;
    let mut shown = 0;
    while shown < PAGES {
        shown = PAGES.min(shown + REQUESTS_A_CLIENT);
        service.show(shown);
        let end = service.end();
        let client = client(&service.url, &store);
        let begin = Instant::now();
        client.start().expect("started");
        time += end.await.expect("the end").duration_since(begin);
        client.stop().await;
    }
    let cursor = store.cursor().await.expect("a cursor");
    assert_eq!(cursor, Some(Cursor(CHANGES as u64)));
    time
}

const CHANGES: usize = 100_000;
const PAGES: usize = CHANGES / PAGE_CHANGES as usize;
