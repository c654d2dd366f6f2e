//! The edge's circuit breaker, its repeats and its counters.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use std::time::Duration;

use evenkeel_proto::wire::EdgeMetrics;
use evenkeel_stack::{Lane, OriginErrors, Part, Stack};
use support::{Device, expect_refusal, refusal, start};

const UNAVAILABLE: &str = "SERVICE_UNAVAILABLE";

#[tokio::test]
async fn three_failures_in_a_row_open_it_and_it_rejects_without_touching_the_origin() {
    let stack = start(&[("circuit_open_ms", "2500")]).await;
    let device = Device::edge(&stack);
    break_origin(&stack);
    for _ in 0..3 {
        expect_cause(&device, "upstream_5xx").await;
    }
    let touched = stack.requests().at(Part::Origin).len();
    assert_eq!(touched, 6, "each request was repeated once");
    stack.faults().reset();
    for _ in 0..5 {
        let response = device.try_pull(0).await.unwrap();
        let wait = expect_refusal(response, 503, UNAVAILABLE, Some("circuit_open")).await;
        assert_eq!(wait, Some(3), "what remains of 2.5 s, rounded up");
    }
    assert_eq!(stack.requests().at(Part::Origin).len(), touched);

    let metrics = metrics(&stack).await;
    let counters = metrics.metrics;
    assert_eq!(counters.requests, 8);
    assert_eq!(counters.vps_proxy_failures, 3);
    assert_eq!(counters.vps_proxy_retries, 3);
    assert_eq!(counters.vps_proxy_5xx_passthrough, 3);
    assert_eq!(counters.vps_proxy_circuit_opens, 1);
    assert_eq!(counters.vps_proxy_circuit_rejects, 5);
    assert_eq!(counters.vps_proxy_retry_after_honored, 0);
    assert_eq!(counters.vps_proxy_timeouts, 0);
    let causes = metrics.failure_causes.unwrap().upstream;
    assert_eq!(causes["upstream_5xx"], 3);
    assert_eq!(causes["circuit_open"], 5);
    let circuit = metrics.vps_proxy_circuit.unwrap();
    assert!(circuit.open && (1..=2_500).contains(&circuit.remaining_ms));
    assert!(circuit.open_until.is_some());
}

#[tokio::test]
async fn traffic_goes_through_once_the_window_has_passed_and_success_closes_it() {
    let stack = start(&[("circuit_open_ms", "400")]).await;
    let device = Device::edge(&stack);
    break_origin(&stack);
    for _ in 0..3 {
        expect_cause(&device, "upstream_5xx").await;
    }
    expect_cause(&device, "circuit_open").await;
    stack.faults().reset();
    tokio::time::sleep(Duration::from_millis(420)).await;
    device.pull(0).await;
    assert!(!metrics(&stack).await.vps_proxy_circuit.unwrap().open);

    // The count begins again at zero, so that two failures do not open it.
    break_origin(&stack);
    expect_cause(&device, "upstream_5xx").await;
    expect_cause(&device, "upstream_5xx").await;
    stack.faults().reset();
    device.pull(0).await;
}

#[tokio::test]
async fn the_first_failure_after_the_window_opens_it_again() {
    let stack = start(&[("circuit_open_ms", "300")]).await;
    let device = Device::edge(&stack);
    break_origin(&stack);
    for _ in 0..3 {
        expect_cause(&device, "upstream_5xx").await;
    }
    tokio::time::sleep(Duration::from_millis(320)).await;
    expect_cause(&device, "upstream_5xx").await;
    expect_cause(&device, "circuit_open").await;
    assert_eq!(metrics(&stack).await.metrics.vps_proxy_circuit_opens, 2);
}

#[tokio::test]
async fn any_answer_below_500_sets_the_count_back() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    for _ in 0..3 {
        break_origin(&stack);
        expect_cause(&device, "upstream_5xx").await;
        expect_cause(&device, "upstream_5xx").await;
        stack.faults().reset();
        let response = device.send(device.get("/api/v2/nothing")).await;
        expect_refusal(response, 404, "NOT_FOUND", None).await;
    }
    assert_eq!(metrics(&stack).await.metrics.vps_proxy_circuit_opens, 0);
}

#[tokio::test]
async fn one_repeat_hides_a_single_failure_and_counts_as_none() {
    let stack = start(&[("proxy_retry_backoff_ms", "50")]).await;
    let device = Device::edge(&stack);
    let every_second = OriginErrors {
        rate: 0.5,
        ..OriginErrors::default()
    };
    stack
        .faults()
        .update(|f| f.origin_errors = Some(every_second));
    for _ in 0..4 {
        device.pull(0).await;
    }
    let metrics = metrics(&stack).await.metrics;
    assert!(metrics.vps_proxy_retries >= 1);
    assert_eq!(metrics.vps_proxy_failures, 0);
    let times: Vec<u64> = stack
        .requests()
        .at(Part::Origin)
        .iter()
        .map(|r| r.at_ms)
        .collect();
    assert!(
        times.windows(2).any(|pair| pair[1] - pair[0] >= 50),
        "the pause before the repeat"
    );
}

#[tokio::test]
async fn tickets_and_streams_are_never_repeated() {
    let stack = start(&[("circuit_threshold", "20")]).await;
    let device = Device::edge(&stack);
    break_origin(&stack);
    let response = device.send(device.post("/api/v2/events/ticket")).await;
    expect_refusal(response, 503, UNAVAILABLE, Some("upstream_5xx")).await;
    let response = device.open("x").await.unwrap();
    expect_refusal(response, 503, UNAVAILABLE, Some("upstream_5xx")).await;
    let lanes: Vec<Lane> = stack
        .requests()
        .at(Part::Origin)
        .iter()
        .map(|r| r.lane)
        .collect();
    assert_eq!(lanes, [Lane::Ticket, Lane::Stream]);
    let metrics = metrics(&stack).await.metrics;
    assert_eq!(metrics.vps_proxy_no_retry_path_hits, 2);
    assert_eq!(metrics.vps_proxy_retries, 0);
}

#[tokio::test]
async fn forced_open_it_rejects_until_it_is_let_go() {
    let stack = start(&[("circuit_open_ms", "100")]).await;
    let device = Device::edge(&stack);
    stack.faults().update(|f| f.circuit_forced_open = true);
    let response = device.try_pull(0).await.unwrap();
    let wait = expect_refusal(response, 503, UNAVAILABLE, Some("circuit_open")).await;
    assert_eq!(wait, Some(1));
    tokio::time::sleep(Duration::from_millis(120)).await;
    expect_cause(&device, "circuit_open").await;
    assert!(stack.requests().at(Part::Origin).is_empty());
    stack.faults().clear("circuit_forced_open").unwrap();
    device.pull(0).await;
    assert_eq!(metrics(&stack).await.metrics.vps_proxy_circuit_opens, 2);
}

#[tokio::test]
async fn timeouts_and_network_errors_are_counted_by_their_causes() {
    let stack = start(&[("circuit_threshold", "20"), ("proxy_timeout_ms", "50")]).await;
    let device = Device::edge(&stack);
    stack.faults().update(|f| f.origin_hangs = true);
    expect_cause(&device, "timeout").await;
    stack.faults().reset();
    stack.faults().update(|f| f.origin_refuses = true);
    expect_cause(&device, "network_error").await;
    let metrics = metrics(&stack).await;
    assert_eq!(metrics.metrics.vps_proxy_timeouts, 2, "each attempt");
    assert_eq!(metrics.metrics.vps_proxy_failures, 2, "each request");
    let causes = metrics.failure_causes.unwrap().upstream;
    assert_eq!((causes["timeout"], causes["network_error"]), (1, 1));
}

#[tokio::test]
async fn retry_after_can_be_a_date_against_a_clock_that_is_wrong() {
    let stack = start(&[("circuit_open_ms", "20000")]).await;
    let device = Device::edge(&stack);
    for skew in [0, -36_000, 36_000] {
        stack.faults().update(|f| {
            f.retry_after_as_date = true;
            f.edge_path_down = true;
            f.clock_skew_s = skew;
        });
        let response = device.try_pull(0).await.unwrap();
        let read = |name: &str| {
            let text = response.headers()[name].to_str().unwrap();
            httpdate::parse_http_date(text).unwrap()
        };
        let ahead = read("retry-after").duration_since(read("date")).unwrap();
        assert!((20..=21).contains(&ahead.as_secs()), "{ahead:?}");
        let now = std::time::SystemTime::now();
        let shown = read("date");
        let off = match shown.duration_since(now) {
            Ok(ahead) => ahead.as_secs() as i64,
            Err(behind) => -(behind.duration().as_secs() as i64),
        };
        assert!((off - skew).abs() <= 2, "{off} instead of {skew}");
    }
}

#[tokio::test]
async fn the_origins_retry_after_is_honoured_in_both_forms() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let errors = OriginErrors {
        rate: 1.0,
        status: 503,
        retry_after_s: Some(40),
    };
    stack.faults().update(|f| f.origin_errors = Some(errors));
    let (_, wait, _) = refusal(device.try_pull(0).await.unwrap()).await;
    assert_eq!(wait, Some(40));
    stack.faults().update(|f| f.retry_after_as_date = true);
    let response = device.try_pull(0).await.unwrap();
    let body: serde_json::Value = response.json().await.unwrap();
    let hint = body["error"]["retryAfterSeconds"].as_f64().unwrap();
    assert!((40.0..=41.0).contains(&hint), "{hint}");
    assert_eq!(
        metrics(&stack).await.metrics.vps_proxy_retry_after_honored,
        2
    );
}

#[tokio::test]
async fn the_log_shows_who_was_told_to_wait_and_when() {
    let stack = start(&[("circuit_open_ms", "3000")]).await;
    let (one, other) = (Device::edge(&stack), Device::edge(&stack));
    stack.faults().update(|f| f.circuit_forced_open = true);
    expect_cause(&one, "circuit_open").await;
    stack.faults().reset();
    other.pull(0).await;
    one.pull(0).await;
    let mine = stack.requests().of_device(&one.id);
    assert_eq!(mine.len(), 2);
    let refused = &mine[0];
    assert_eq!(refused.lane, Lane::Pull);
    assert_eq!(refused.status, Some(503));
    assert_eq!(refused.code, Some("SERVICE_UNAVAILABLE"));
    assert_eq!(refused.cause, Some("circuit_open"));
    let wait_ms = refused.retry_after_ms.unwrap();
    assert_eq!(wait_ms, 3_000);
    let too_early = mine[1].at_ms < refused.answered_at_ms.unwrap() + wait_ms;
    assert!(too_early, "this client did not wait, and it shows");
    assert_eq!(mine[1].retry_after_ms, None);
    assert!(stack.requests().now_ms() >= mine[1].at_ms);
}

fn break_origin(stack: &Stack) {
    let errors = OriginErrors::default();
    stack.faults().update(|f| f.origin_errors = Some(errors));
}

async fn expect_cause(device: &Device, cause: &str) {
    let response = device.try_pull(0).await.unwrap();
    expect_refusal(response, 503, UNAVAILABLE, Some(cause)).await;
}

async fn metrics(stack: &Stack) -> EdgeMetrics {
    let device = Device::edge(stack);
    let response = device.send(device.get("/api/v1/metrics")).await;
    response.json().await.unwrap()
}
