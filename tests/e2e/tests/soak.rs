//! Two minutes of the soak test; `examples/soak.rs` runs it for longer.

use std::time::Duration;

use evenkeel_e2e::servers;
use evenkeel_e2e::soak::{Soak, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_survive_two_minutes_of_faults() {
    if !servers::here() {
        return;
    }
    let seed = std::env::var("EVENKEEL_SEED").ok();
    let seed = seed.and_then(|seed| seed.parse().ok());
    run(Soak {
        lasts: Duration::from_secs(120),
        clients: 200,
        seed: seed.unwrap_or(SEED),
    })
    .await;
}

/// The same six faults each time; `examples/soak.rs` draws anew.
const SEED: u64 = 14_999_772_850_739_554_186;
