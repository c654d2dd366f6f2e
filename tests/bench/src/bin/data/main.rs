//! The data path beside its limits, in one run: SQLite alone for the same rows with the same pragmas,
//! reqwest alone for the same bytes.

mod bare;
mod catch_up;
mod memory;
mod push;
mod puts;
mod records;
mod service;

use std::path::Path;
use std::time::Duration;

use evenkeel::store::{Durability, SqliteStore, StoreOptions};
use evenkeel::{Limits, Secret, SyncClient};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("the first provider");
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [measured, url] = args.as_slice() {
        return memory::child(measured, url).await;
    }
    let wanted = |part: &str| args.is_empty() || args.iter().any(|arg| arg == part);
    if wanted("puts") {
        head();
        puts::run().await;
    }
    if wanted("catch-up") {
        head();
        catch_up::run().await;
    }
    if wanted("push") {
        head();
        push::run().await;
    }
    if wanted("memory") {
        memory::run();
    }
}

fn head() {
    println!("\n| what | best time | per second | time, limit = 1 |");
    println!("|---|--:|--:|--:|");
}

/// `time` is for `count` of them, `limit` for as many.
fn row(what: &str, count: usize, time: Duration, limit: Duration) {
    let seconds = time.as_secs_f64();
    println!(
        "| {what} | {:.0} ms | {:.0} | {:.2} |",
        seconds * 1e3,
        count as f64 / seconds,
        seconds / limit.as_secs_f64()
    );
}

/// The best of all rounds, each of which measures everything once, so that what else the machine does
/// meets all alike.
struct Best<const N: usize>([Duration; N]);

impl<const N: usize> Best<N> {
    const fn new() -> Self {
        Self([Duration::MAX; N])
    }

    fn round(&mut self, times: [Duration; N]) {
        for (best, time) in self.0.iter_mut().zip(times) {
            *best = time.min(*best);
        }
    }
}

async fn open(dir: &Path, durability: Durability) -> SqliteStore {
    let mut options = StoreOptions::default();
    options.durability = durability;
    // Far more wait here than an app lets wait.
    options.outbox_hard_max = 1_000_000;
    let store = SqliteStore::open(dir.join("ours.db"), "account", options);
    store.await.expect("a store")
}

fn client(url: &str, store: &SqliteStore) -> SyncClient {
    let mut limits = Limits::default();
    // As many as the settings take.
    limits.requests_per_minute = 180;
    let client = SyncClient::builder(url)
        .token(Secret::new("a token"))
        .replica(store.clone())
        .limits(limits);
    client.build().expect("a client")
}

const ROUNDS: usize = 5;
/// A client sends so many at once and then three a second, so as not to wear the service's limit out.
/// What is measured is the client, not this wait: after so many another client goes on.
const REQUESTS_A_CLIENT: usize = 80;
