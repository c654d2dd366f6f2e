//! The edge dies, and comes back with its counters at zero; its configuration goes and is put back.

use std::time::Duration;

use evenkeel::Cause;
use evenkeel_e2e::scenario::{Expect, Scenario};
use tokio::time::sleep;

fn expect(fault: &'static str) -> Expect {
    Expect {
        fault,
        causes: &[
            Cause::ConnectFailed,
            Cause::ConnectionLost,
            Cause::StreamClosed,
            Cause::OriginUnconfigured,
        ],
        total: true,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_is_killed_and_starts_with_its_counters_at_zero() {
    let begun = Scenario::on_a_service(1, expect("Edge: SIGKILL, restart")).await;
    let Some((mut service, scenario)) = begun else {
        return;
    };
    let before = service.edge_requests().await;
    service.edge.kill().await;
    sleep(Duration::from_secs(12)).await;
    service.edge.restart().await;
    let after = service.edge_requests().await;
    assert!(
        after < before,
        "{after} requests counted after a restart, {before} before"
    );
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edge_loses_its_configuration_and_gets_it_back() {
    let begun = Scenario::on_a_service(1, expect("Edge: config removed, put back")).await;
    let Some((mut service, scenario)) = begun else {
        return;
    };
    let configured = service.edge.args().to_vec();
    let mut without = configured.clone();
    if let Some(at) = without.iter().position(|arg| arg == "--origin-url") {
        without.drain(at..at + 2);
    }
    service.edge.kill().await;
    service.edge.restart_as(&without).await;
    sleep(Duration::from_secs(12)).await;
    service.edge.kill().await;
    service.edge.restart_as(&configured).await;
    scenario.mended(&service.postgres).await;
}
