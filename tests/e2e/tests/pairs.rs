//! Two things break at once.

use std::time::Duration;

use evenkeel::Cause;
use evenkeel_e2e::crew::{Crew, Way};
use evenkeel_e2e::proxy::{FaultProxy, Weather};
use evenkeel_e2e::scenario::{Expect, Scenario};
use evenkeel_e2e::servers;
use evenkeel_e2e::service::{Service, address};
use tokio::time::sleep;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_away_and_the_edge_is_restarted() {
    let expect = Expect {
        fault: "Redis away and edge restarted",
        causes: &[
            Cause::ConnectFailed,
            Cause::ConnectionLost,
            Cause::StreamClosed,
            Cause::Upstream5xx,
            Cause::CircuitOpen,
        ],
        total: false,
    };
    let Some((mut service, scenario)) = Scenario::on_a_service(2, expect).await else {
        return;
    };
    service.redis.kill().await;
    sleep(Duration::from_secs(2)).await;
    service.edge.kill().await;
    sleep(Duration::from_secs(1)).await;
    service.edge.restart().await;
    sleep(Duration::from_secs(9)).await;
    service.redis.restart().await;
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_killed_and_the_network_is_cut() {
    if !servers::here() {
        return;
    }
    let expect = Expect {
        fault: "Postgres killed and network cut",
        causes: &[
            Cause::Upstream5xx,
            Cause::CircuitOpen,
            Cause::Timeout,
            Cause::ConnectFailed,
            Cause::ConnectionLost,
        ],
        total: true,
    };
    let mut service = Service::start(1, async |url| url.to_owned()).await;
    let proxy = FaultProxy::start(address(&service.url())).await;
    let crew = Crew::board(3, &Way::to(&proxy.url_http())).await;
    let scenario = Scenario::begin(expect, crew).await;
    service.postgres.kill().await;
    sleep(Duration::from_secs(3)).await;
    proxy.set(Weather::Refuse);
    sleep(Duration::from_secs(6)).await;
    // The network comes back first: then the edge says what else is wrong.
    proxy.set(Weather::Through);
    sleep(Duration::from_secs(4)).await;
    service.postgres.restart().await;
    scenario.mended(&service.postgres).await;
}
