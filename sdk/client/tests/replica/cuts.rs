//! Pages that do not come as a whole, and processes that do not live to apply them: the store is as it
//! was, and the next pull goes on from there. The pages are large enough to go through a file.

use std::io::{self, BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use evenkeel::store::{Query, SqliteStore};
use evenkeel::{Cause, Cursor, Replica as _};
use serde_json::json;

use crate::bench::{ACCOUNT, Place, fast};
use crate::common::{
    PATIENCE, Reply, Seen, Service, builder, degraded, eventually, full, made, synced,
};

const CHANGES: u64 = 20;
const PAGES: u64 = 12;
const CUTS: u64 = 20;
const KILLS: u64 = 10;
const CHILD_PATH: &str = "EVENKEEL_CUT_TEST_STORE";
const CHILD_URL: &str = "EVENKEEL_CUT_TEST_URL";

/// The page behind a cursor of a log with so many pages, about 1.2 MB each; after them it is empty.
fn page(from: u64, pages: u64) -> String {
    let end = (from + CHANGES).min(pages * CHANGES);
    let changes: Vec<_> = (from + 1..=end)
        .map(|n| {
            let note =
                json!({"id": format!("n{n:03}"), "version": 1, "content": "x".repeat(60_000)});
            json!({"cursor": n, "op": "upsert", "note": note})
        })
        .collect();
    json!({"changes": changes, "nextCursor": end.max(from)}).to_string()
}

fn from(seen: &Seen) -> Option<u64> {
    let pull = seen.path == "/api/v2/sync/pull";
    let from = seen.query.strip_prefix("cursor=").filter(|_| pull);
    from.map(|from| from.parse().unwrap())
}

/// The store holds the first so many changes of the log, and nothing else.
async fn holds(store: &SqliteStore, changes: u64) {
    let cursor = store.cursor().await.unwrap();
    assert_eq!(cursor.unwrap_or_default(), Cursor(changes));
    let query = Query {
        limit: 1_000,
        ..Query::default()
    };
    let page = store.list(query).await.unwrap();
    let mut ids: Vec<_> = page.items.into_iter().map(|record| record.id).collect();
    ids.sort_unstable();
    let expected: Vec<_> = (1..=changes).map(|n| format!("n{n:03}")).collect();
    assert_eq!(ids, expected);
}

#[tokio::test]
async fn a_page_that_is_cut_at_any_byte_leaves_the_store_as_it_was() {
    let mut random = fastrand::Rng::with_seed(11);
    let len = page(0, 1).len();
    for round in 0..CUTS {
        // The connection breaks, or a proxy ends the answer properly where it should not.
        let cut = random.usize(1..len);
        let (properly, cause) = match round % 2 {
            0 => (false, Cause::ConnectionLost),
            _ => (true, Cause::BadResponse),
        };
        let service = Service::start().await;
        service.script(move |seen| match from(seen) {
            Some(from) => {
                let mut text = page(from, 1);
                text.truncate(cut);
                let chunks = text.as_bytes().chunks(50_000).map(Bytes::copy_from_slice);
                let mut chunks: Vec<_> = chunks.map(Ok).collect();
                if !properly {
                    chunks.push(Err(io::Error::other("cut")));
                }
                Reply::Full(made(chunks.into_iter()))
            }
            None => Reply::Healthy,
        });
        let place = Place::new();
        let store = place.open().await;
        let client = builder(&service.url).replica(store.clone());
        let client = client.build().unwrap();
        client.start().unwrap();
        let status = degraded(&client).await;
        assert_eq!(status.cause, Some(cause), "cut at {cut}");
        holds(&store, 0).await;
        let stores = |name: &String| name.starts_with("store.db");
        assert!(place.files().iter().all(stores), "{:?}", place.files());

        service.script(|seen| whole(seen, 1));
        client.retry_now();
        synced(&client).await;
        holds(&store, CHANGES).await;
        client.stop().await;
    }
}

fn whole(seen: &Seen, pages: u64) -> Reply {
    match from(seen) {
        Some(from) => Reply::Full(full(200, "application/json", page(from, pages))),
        None => Reply::Healthy,
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_to_is_the_stores_failure_and_not_the_services() {
    let service = Service::start().await;
    service.script(|seen| whole(seen, 1));
    let place = Place::new();
    let store = place.open().await;
    // Its file stays open, but nothing can be made beside it.
    std::fs::rename(place.dir(), place.dir().with_extension("away")).unwrap();
    let client = builder(&service.url).replica(store.clone());
    let client = client.build().unwrap();
    client.start().unwrap();
    let status = degraded(&client).await;
    assert_eq!(status.cause, Some(Cause::StoreFailed));
    holds(&store, 0).await;
    std::fs::rename(place.dir().with_extension("away"), place.dir()).unwrap();
    client.retry_now();
    synced(&client).await;
    holds(&store, CHANGES).await;
    client.stop().await;
}

#[tokio::test]
async fn a_process_that_is_killed_while_it_pulls_goes_on_from_its_last_whole_page() {
    let service = Service::start().await;
    service.script(|seen| whole(seen, PAGES));
    let place = Place::new();
    let mut random = fastrand::Rng::with_seed(12);
    let (mut before, mut between) = (0, 0);
    for round in 0..=KILLS {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "cuts::child", "--ignored", "--nocapture"])
            .env(CHILD_PATH, place.path())
            .env(CHILD_URL, &service.url)
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        if round < KILLS {
            let wanted = pulls(&service) + random.usize(1..4);
            eventually("a pull", || pulls(&service) >= wanted).await;
            tokio::time::sleep(Duration::from_millis(random.u64(0..100))).await;
        } else {
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let done = move || lines.any(|line| line.unwrap().contains("done"));
            let done = tokio::time::timeout(PATIENCE, tokio::task::spawn_blocking(done)).await;
            assert!(done.unwrap().unwrap(), "the last one was not killed");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = SqliteStore::open(place.path(), ACCOUNT, fast()).await;
        let store = store.unwrap_or_else(|error| panic!("{error}, round {round}"));
        let cursor = store.cursor().await.unwrap().unwrap_or_default().0;
        assert!(
            cursor >= before && cursor.is_multiple_of(CHANGES),
            "{before} {cursor}"
        );
        holds(&store, cursor).await;
        store.close().await.unwrap();
        between += u32::from(cursor > before && cursor < PAGES * CHANGES);
        before = cursor;
    }
    assert_eq!(before, PAGES * CHANGES);
    assert!(
        between > 0,
        "no child was killed between its first page and its last"
    );
}

fn pulls(service: &Service) -> usize {
    service.seen("/api/v2/sync/pull").len()
}

/// Not a test: what the killed process does.
#[tokio::test]
#[ignore = "run by the test above as a process of its own"]
async fn child() {
    let (Ok(path), Ok(url)) = (std::env::var(CHILD_PATH), std::env::var(CHILD_URL)) else {
        return;
    };
    let store = SqliteStore::open(path, ACCOUNT, fast()).await.unwrap();
    let client = builder(&url).replica(store).build().unwrap();
    client.start().unwrap();
    synced(&client).await;
    println!("done");
    std::future::pending().await
}
