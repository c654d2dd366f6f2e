//! Redis goes away under write load: data goes on, by polls, and streams come back by themselves.

use std::time::Duration;

use evenkeel::Cause;
use evenkeel_e2e::crew::Crew;
use evenkeel_e2e::scenario::{Expect, Scenario};
use evenkeel_e2e::servers;
use evenkeel_e2e::service::Service;
use rustix::process::Signal;
use tokio::time::sleep;

const CAUSES: &[Cause] = &[
    Cause::Upstream5xx,
    Cause::CircuitOpen,
    Cause::Timeout,
    Cause::StreamClosed,
    Cause::StreamStalled,
    Cause::NetworkError,
];

async fn begin(fault: &'static str) -> (Service, Scenario) {
    let service = Service::start(2, async |url| url.to_owned()).await;
    let crew = Crew::board(3, &service.url(), None).await;
    let expect = Expect {
        fault,
        causes: CAUSES,
        total: false,
    };
    let scenario = Scenario::begin(expect, crew).await;
    (service, scenario)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_started_again() {
    if !servers::here() {
        return;
    }
    let (mut service, scenario) = begin("Redis: SIGKILL, restart").await;
    service.redis.kill().await;
    sleep(Duration::from_secs(10)).await;
    service.redis.restart().await;
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_frozen_for_half_a_minute() {
    if !servers::here() {
        return;
    }
    let (service, scenario) = begin("Redis: SIGSTOP for 30 s").await;
    service.redis.signal(Signal::STOP);
    sleep(Duration::from_secs(30)).await;
    service.redis.signal(Signal::CONT);
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_loses_its_data() {
    if !servers::here() {
        return;
    }
    let (service, scenario) = begin("Redis: data flushed").await;
    for _ in 0..5 {
        let said = service.redis.tell("FLUSHALL").await;
        assert!(said.is_ok_and(|said| said.contains("OK")));
        sleep(Duration::from_secs(1)).await;
    }
    scenario.mended(&service.postgres).await;
}
