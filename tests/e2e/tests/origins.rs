//! Origins die, freeze and are replaced under write load.

use std::time::Duration;

use evenkeel::{Cause, MemoryReplica, Secret, SyncClient, SyncState};
use evenkeel_e2e::reach;
use evenkeel_e2e::scenario::{Expect, Scenario};
use evenkeel_e2e::servers;
use evenkeel_e2e::service::Service;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};

fn expect(fault: &'static str, total: bool) -> Expect {
    Expect {
        fault,
        causes: &[
            Cause::NetworkError,
            Cause::CircuitOpen,
            Cause::Timeout,
            Cause::StreamClosed,
            Cause::StreamStalled,
            Cause::ConnectionLost,
        ],
        total,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_origin_is_killed_and_started_again() {
    let begun = Scenario::on_a_service(1, expect("Origin: SIGKILL, restart", true)).await;
    let Some((mut service, scenario)) = begun else {
        return;
    };
    service.origins[0].kill().await;
    sleep(Duration::from_secs(12)).await;
    service.origins[0].restart().await;
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_origins_are_restarted_one_after_the_other() {
    let fault = "Origin: rolling restart of two";
    let begun = Scenario::on_a_service(2, expect(fault, false)).await;
    let Some((mut service, scenario)) = begun else {
        return;
    };
    for origin in &mut service.origins {
        let ended = origin.end().await;
        assert!(ended.success(), "{ended}");
        sleep(Duration::from_secs(2)).await;
        origin.restart().await;
        sleep(Duration::from_secs(2)).await;
    }
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_origin_is_frozen() {
    let begun = Scenario::on_a_service(1, expect("Origin: SIGSTOP for 15 s", true)).await;
    let Some((service, scenario)) = begun else {
        return;
    };
    service.origins[0].signal(Signal::STOP);
    sleep(Duration::from_secs(15)).await;
    service.origins[0].signal(Signal::CONT);
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_streams_come_back_after_a_restart() {
    if !servers::here() {
        return;
    }
    let mut service = Service::start(1, async |url| url.to_owned()).await;
    let bound = Duration::from_secs(120);
    let mut clients = Vec::new();
    for _ in 0..STREAMS {
        let client = SyncClient::builder(service.url())
            .token(Secret::new("demo-token"))
            .replica(MemoryReplica::new())
            .build();
        let client = client.unwrap_or_else(|error| panic!("{error}"));
        client.start().unwrap_or_else(|error| panic!("{error}"));
        clients.push(client);
    }
    for client in &clients {
        reach(client, "synced at first", bound, |s| {
            s.state == SyncState::Synced
        })
        .await;
    }
    assert_eq!(service.streams_open(0).await, STREAMS);
    service.origins[0].kill().await;
    sleep(Duration::from_secs(5)).await;
    service.origins[0].restart().await;
    let begun = Instant::now();
    for client in &clients {
        reach(client, "synced again", bound, |s| {
            s.state == SyncState::Synced
        })
        .await;
    }
    println!("{STREAMS} streams were back after {:?}", begun.elapsed());
    assert_eq!(service.streams_open(0).await, STREAMS);
    // Nobody knocks more often than it may, and not all at once: each in its own moment of the spread.
    let most = clients.iter().map(|client| {
        let lanes = client.diagnostics().lanes;
        lanes.values().map(|lane| lane.started).sum::<u64>()
    });
    let most = most.max().unwrap_or(0);
    assert!(most <= 16, "{most} requests of one client");
}

const STREAMS: u64 = 500;
