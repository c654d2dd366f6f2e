//! The data path in random lives: two or three clients, each with the real engine and the real store,
//! and a service that does to them whatever the contract warns of. Then all heals, and nothing may have
//! been lost, done twice, or told wrongly.
//!
//! A failing run prints its seed and what happened; `EVENKEEL_SEED=n EVENKEEL_RUNS=1` replays it alone,
//! `EVENKEEL_RUNS=n` makes more of them.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod app;
mod client;
mod faults;
mod ghost;
mod heal;
mod server;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use world::{Life, World};

#[test]
fn every_write_meets_its_fate() {
    let number = |name: &str| Some(std::env::var(name).ok()?.parse::<u64>().unwrap());
    let first = number("EVENKEEL_SEED").unwrap_or(0);
    let runs = number("EVENKEEL_RUNS").unwrap_or(RUNS);
    println!("{runs} lives from seed {first} on");
    let next = AtomicU64::new(first);
    let failed = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let bench = Bench::new();
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if seed - first >= runs || failed.lock().unwrap().is_some() {
                        break;
                    }
                    if bench.run(seed, ACTS_MAX, false).is_err() {
                        failed.lock().unwrap().get_or_insert(seed);
                    }
                }
            });
        }
    });
    if let Some(seed) = failed.into_inner().unwrap() {
        explain(seed);
    }
}

/// Finds out after how few of its acts the life fails already, and shows that one.
fn explain(seed: u64) -> ! {
    let bench = Bench::new();
    let fails = |&acts: &u32| bench.run(seed, acts, false).is_err();
    let acts = (0..ACTS_MAX).find(fails).unwrap_or(ACTS_MAX);
    let ended = bench.run(seed, acts, true);
    let why = ended
        .err()
        .unwrap_or_else(|| "it did not fail again".into());
    panic!("after {acts} acts: {why}\nreplay with EVENKEEL_SEED={seed} EVENKEEL_RUNS=1");
}

/// What one thread lives its lives with.
struct Bench {
    runtime: tokio::runtime::Runtime,
    home: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let home = if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        };
        // The world has its own time; what a store would wait for is over at once.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        Self {
            runtime: runtime.unwrap(),
            home: home.unwrap(),
        }
    }

    fn run(&self, seed: u64, acts_max: u32, trace: bool) -> Result<(), String> {
        let home = tempfile::tempdir_in(self.home.path()).unwrap();
        let life = Life {
            seed,
            acts_max,
            trace,
        };
        let living = || {
            self.runtime.block_on(async {
                let mut world = World::begin(home.path(), life).await;
                let ended = world.live().await;
                world.end().await;
                ended
            })
        };
        catch_unwind(AssertUnwindSafe(living)).unwrap_or_else(|_| Err("it panicked".into()))
    }
}

const RUNS: u64 = 10_000;
const THREADS: usize = 2;
const ACTS_MAX: u32 = 40;
