//! Redis goes away under write load: data goes on, open streams stay, whoever needs a new stream polls
//! until tickets can be used up again.

use std::time::Duration;

use evenkeel::{Cause, Link};
use evenkeel_e2e::reach;
use evenkeel_e2e::scenario::{Expect, Scenario};
use rustix::process::Signal;
use tokio::time::sleep;

fn expect(fault: &'static str) -> Expect {
    Expect {
        fault,
        causes: &[
            Cause::Upstream5xx,
            Cause::CircuitOpen,
            Cause::Timeout,
            Cause::StreamClosed,
        ],
        total: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_killed_and_started_again() {
    let begun = Scenario::on_a_service(2, expect("Redis: SIGKILL, restart")).await;
    let Some((mut service, mut scenario)) = begun else {
        return;
    };
    service.redis.kill().await;
    scenario.crew().restart(0).await;
    let client = &scenario.crew().devices[0].client;
    let bound = Duration::from_secs(40);
    reach(client, "polling", bound, |s| s.link == Link::Polling).await;
    let ready = service.ready(0).await;
    assert!(ready.contains(r#""readyCause":"redis""#), "{ready}");
    assert!(ready.contains(r#""mode":"local-fallback""#), "{ready}");
    sleep(Duration::from_secs(10)).await;
    service.redis.restart().await;
    scenario.mended(&service.postgres).await;
    let ready = service.ready(0).await;
    assert!(
        ready.contains(r#""ok":true,"readyMode":"strict""#),
        "{ready}"
    );
    assert!(ready.contains(r#""mode":"distributed""#), "{ready}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_frozen_for_half_a_minute() {
    let begun = Scenario::on_a_service(2, expect("Redis: SIGSTOP for 30 s")).await;
    let Some((service, mut scenario)) = begun else {
        return;
    };
    service.redis.signal(Signal::STOP);
    scenario.crew().restart(0).await;
    sleep(Duration::from_secs(30)).await;
    let ready = service.ready(1).await;
    assert!(ready.contains(r#""readyCause":"redis""#), "{ready}");
    service.redis.signal(Signal::CONT);
    scenario.mended(&service.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_loses_its_data() {
    let begun = Scenario::on_a_service(2, expect("Redis: data flushed")).await;
    let Some((service, mut scenario)) = begun else {
        return;
    };
    for device in 0..3 {
        let said = service.redis.tell("FLUSHALL").await;
        assert!(said.is_ok_and(|said| said.contains("OK")));
        scenario.crew().restart(device).await;
        sleep(Duration::from_secs(1)).await;
    }
    scenario.mended(&service.postgres).await;
}
