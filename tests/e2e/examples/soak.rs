//! The soak test for as long as is asked for.
//!
//! `cargo run --release -p evenkeel-e2e --example soak -- [--minutes N] [--clients N] [--seed N]`

use std::process::ExitCode;
use std::time::Duration;

use evenkeel_e2e::servers;
use evenkeel_e2e::soak::{Soak, run};

#[tokio::main]
async fn main() -> ExitCode {
    let mut soak = Soak {
        lasts: Duration::from_secs(600),
        clients: 200,
        seed: fastrand::u64(..),
    };
    let args: Vec<String> = std::env::args().skip(1).collect();
    for pair in args.chunks(2) {
        let number = pair.get(1).and_then(|text| text.parse::<u64>().ok());
        match (pair[0].as_str(), number) {
            ("--minutes", Some(minutes)) => soak.lasts = Duration::from_secs(minutes * 60),
            ("--clients", Some(clients)) => soak.clients = usize::try_from(clients).unwrap_or(200),
            ("--seed", Some(seed)) => soak.seed = seed,
            _ => {
                eprintln!("usage: soak [--minutes N] [--clients N] [--seed N]");
                return ExitCode::from(2);
            }
        }
    }
    if !servers::here() {
        return ExitCode::from(3);
    }
    run(soak).await;
    ExitCode::SUCCESS
}
