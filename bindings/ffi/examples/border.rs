//! What reads and writes cost in Rust, beside which `bindings/*/build.sh bench` shows what they cost
//! through the border. Prints a name and nanoseconds a line.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use evenkeel::store::{Durability, Order, Query, SqliteStore, StoreOptions};
use evenkeel_ffi::CancelToken;
use serde_json::{Map, Value, json};

const LIST: usize = 1_000;

#[tokio::main]
async fn main() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = StoreOptions::default();
    options.durability = Durability::Fast;
    options.outbox_soft_max = 100_000;
    options.outbox_hard_max = 100_000;
    let store = SqliteStore::open(dir.path().join("store"), "demo", options)
        .await
        .unwrap();
    for n in 0..LIST {
        store.put(format!("r{n:04}"), note(n)).await.unwrap();
    }
    let token = CancelToken::new();
    time("noop", 1_000_000, async |_| black_box(&token).cancel()).await;
    time("get", 5_000, async |n| {
        store.get(format!("r{:04}", n % LIST)).await.unwrap();
    })
    .await;
    time("put", 1_000, async |n| {
        store
            .put(format!("r{:04}", n % LIST), note(n))
            .await
            .unwrap();
    })
    .await;
    time("list", 50, async |_| {
        let query = Query {
            order: Order::Id,
            limit: LIST,
            after: None,
        };
        assert_eq!(store.list(query).await.unwrap().items.len(), LIST);
    })
    .await;
    store.close().await.unwrap();
}

fn note(n: usize) -> Map<String, Value> {
    let text = format!("note {n}, about as long as a line of text is that somebody types");
    Map::from_iter([("content".to_owned(), json!(text))])
}

/// The best of some rounds.
async fn time(name: &str, calls: usize, mut call: impl AsyncFnMut(usize)) {
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let begun = Instant::now();
        for n in 0..calls {
            call(n).await;
        }
        best = best.min(begun.elapsed());
    }
    println!("{name} {}", best.as_nanos() / calls as u128);
}
