//! Who may ask, how often, and what the origin says when it is in trouble itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use std::time::{Duration, Instant};

use evenkeel_proto::wire::Ready;
use evenkeel_stack::{DatabaseFault, Lane, OriginErrors, RateLimited, Selection, Stack};
use reqwest::Response;
use serde_json::{Value, json};
use support::{Device, eventually, expect_refusal, refusal, start, upsert, within};

#[tokio::test]
async fn without_a_good_token_there_is_nothing() {
    let stack = start(&[]).await;
    let mut device = Device::edge(&stack);
    stack
        .faults()
        .update(|f| f.tokens_expired = Some(Selection::Only(vec!["demo-token".to_owned()])));
    let response = device.try_pull(0).await.unwrap();
    expect_refusal(response, 401, "AUTH_REQUIRED", None).await;
    stack.faults().reset();
    device.pull(0).await;
    "someone-elses".clone_into(&mut device.token);
    let response = device.try_pull(0).await.unwrap();
    expect_refusal(response, 401, "AUTH_REQUIRED", None).await;
    let url = format!("{}/api/v2/sync/pull", device.url);
    let response = device.send(device.http.get(url)).await;
    expect_refusal(response, 401, "AUTH_REQUIRED", None).await;
}

#[tokio::test]
async fn an_expired_token_can_be_replaced_by_another_of_the_same_user() {
    let stack = start(&[("tokens", "old=ann,new=ann")]).await;
    let mut device = Device::edge(&stack);
    "old".clone_into(&mut device.token);
    device.write("n", 0, "x").await;
    stack
        .faults()
        .update(|f| f.tokens_expired = Some(Selection::Only(vec!["old".to_owned()])));
    let response = device.try_pull(0).await.unwrap();
    expect_refusal(response, 401, "AUTH_REQUIRED", None).await;
    "new".clone_into(&mut device.token);
    assert_eq!(device.pull(0).await.changes.len(), 1);
}

#[tokio::test]
async fn a_device_can_be_revoked_by_a_fault_and_forgiven() {
    let stack = start(&[]).await;
    let (one, two) = (Device::edge(&stack), Device::edge(&stack));
    let only = Selection::Only(vec![one.id.clone()]);
    stack.faults().update(|f| f.devices_revoked = Some(only));
    let response = one.try_pull(0).await.unwrap();
    expect_refusal(response, 403, "DEVICE_REVOKED", None).await;
    two.pull(0).await;
    stack.faults().reset();
    one.pull(0).await;
}

#[tokio::test]
async fn a_chatty_client_is_limited_in_the_frameworks_words_and_others_are_not() {
    let stack = start(&[
        ("rate_limit_requests", "5"),
        ("rate_limit_window_ms", "900"),
    ])
    .await;
    let (chatty, quiet) = (Device::edge(&stack), Device::edge(&stack));
    for left in (0..5).rev() {
        let response = chatty.try_pull(0).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(header(&response, "x-ratelimit-remaining"), left.to_string());
        assert_eq!(header(&response, "x-ratelimit-limit"), "5");
    }
    let response = chatty.try_pull(0).await.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(header(&response, "retry-after"), "1");
    assert_eq!(header(&response, "x-ratelimit-remaining"), "0");
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["statusCode"], 429);
    assert_eq!(body["error"], "Too Many Requests");
    assert!(body["message"].is_string());
    quiet.pull(0).await;
    tokio::time::sleep(Duration::from_millis(920)).await;
    chatty.pull(0).await;
    let metrics = chatty.send(chatty.get("/api/v1/metrics")).await;
    let metrics: Value = metrics.json().await.unwrap();
    assert_eq!(metrics["metrics"]["rateLimited"], 1);
}

#[tokio::test]
async fn the_other_form_of_the_limit_counts_as_an_upstream_failure() {
    let stack = start(&[("rate_limit_form", "internal_error")]).await;
    let limit = RateLimited { retry_after_s: 54 };
    stack.faults().update(|f| f.rate_limited = Some(limit));
    let direct = Device::direct(&stack);
    let response = direct.try_pull(0).await.unwrap();
    assert_eq!(header(&response, "x-ratelimit-remaining"), "0");
    assert_eq!(header(&response, "x-ratelimit-reset"), "54");
    let (status, wait, error) = refusal(response).await;
    assert_eq!((status, wait), (500, Some(54)));
    assert_eq!(error.code.as_deref(), Some("INTERNAL_ERROR"));
    assert_eq!(error.retryable, Some(false));

    let edge = Device::edge(&stack);
    for _ in 0..3 {
        let response = edge.try_pull(0).await.unwrap();
        assert_eq!(header(&response, "x-ratelimit-remaining"), "0");
        let cause = Some("upstream_5xx");
        let wait = expect_refusal(response, 503, "SERVICE_UNAVAILABLE", cause).await;
        assert_eq!(wait, Some(54));
    }
    let innocent = Device::edge(&stack);
    let response = innocent.try_pull(0).await.unwrap();
    let cause = Some("circuit_open");
    expect_refusal(response, 503, "SERVICE_UNAVAILABLE", cause).await;
}

#[tokio::test]
async fn an_origin_that_refuses_really_closes_its_port_and_reopens_the_same() {
    let stack = start(&[]).await;
    let device = Device::direct(&stack);
    let mut events = device.stream().await;
    events.expect("ready").await;
    for _ in 0..20 {
        stack.faults().update(|f| f.origin_refuses = true);
        assert!(device.try_pull(0).await.is_err(), "from that moment on");
        eventually(async || device.try_pull(0).await.is_err_and(|e| e.is_connect())).await;
        stack.faults().reset();
        eventually(async || device.try_pull(0).await.is_ok()).await;
    }
    assert!(within(events.try_next()).await.is_err());
}

#[tokio::test]
async fn an_origin_that_hangs_answers_when_it_goes_on() {
    let stack = start(&[]).await;
    let device = Device::direct(&stack);
    stack.faults().update(|f| f.origin_hangs = true);
    let going_on = async {
        tokio::time::sleep(Duration::from_millis(120)).await;
        stack.faults().reset();
    };
    let begun = Instant::now();
    let (page, ()) = tokio::join!(device.pull(0), going_on);
    assert!(page.changes.is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(120));
}

#[tokio::test]
async fn an_origin_that_resets_really_does() {
    let stack = start(&[]).await;
    let device = Device::direct(&stack);
    stack.faults().update(|f| f.origin_resets = true);
    let error = format!("{:?}", device.try_pull(0).await.unwrap_err());
    assert!(error.contains("ConnectionReset"), "{error}");
    let lanes: Vec<Lane> = stack.requests().all().iter().map(|r| r.lane).collect();
    assert_eq!(lanes, [Lane::Pull], "it had arrived");
    assert_eq!(stack.requests().all()[0].status, None);
}

#[tokio::test]
async fn errors_come_at_their_rate_and_answers_at_their_latency() {
    let stack = start(&[]).await;
    let device = Device::direct(&stack);
    let errors = OriginErrors {
        rate: 0.25,
        status: 503,
        retry_after_s: None,
    };
    stack.faults().update(|f| f.origin_errors = Some(errors));
    let mut statuses = Vec::new();
    for _ in 0..8 {
        statuses.push(device.try_pull(0).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [200, 200, 200, 503, 200, 200, 200, 503]);
    stack.faults().reset();
    stack.faults().update(|f| f.origin_latency_ms = 80);
    let begun = Instant::now();
    device.pull(0).await;
    assert!(begun.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn a_database_that_is_away_is_an_internal_error_and_loses_nothing() {
    let stack = start(&[]).await;
    let device = Device::direct(&stack);
    device.write("n", 0, "x").await;
    let down = |what| stack.faults().update(|f| f.database_down = Some(what));
    let write = async || device.push(json!([upsert("m", 0, "x")])).await;

    down(DatabaseFault::Reads);
    let response = device.try_pull(0).await.unwrap();
    expect_refusal(response, 500, "INTERNAL_ERROR", None).await;
    assert_eq!(write().await.status(), 200);

    down(DatabaseFault::Writes);
    device.pull(0).await;
    expect_refusal(write().await, 500, "INTERNAL_ERROR", None).await;
    assert_eq!(ready(&stack).await.0, 200);

    down(DatabaseFault::All);
    expect_refusal(write().await, 500, "INTERNAL_ERROR", None).await;
    let response = device.send(device.post("/api/v2/events/ticket")).await;
    expect_refusal(response, 500, "INTERNAL_ERROR", None).await;
    let (status, ready_now) = ready(&stack).await;
    assert_eq!(status, 503);
    assert_eq!(ready_now.ready_cause.unwrap().as_str(), "database");
    assert!(!ready_now.dependencies.database.unwrap().ok);

    stack.faults().reset();
    assert_eq!(device.pull(0).await.changes.len(), 2);
}

#[tokio::test]
async fn ready_tells_strict_from_degraded() {
    let stack = start(&[]).await;
    let (status, healthy) = ready(&stack).await;
    assert_eq!(status, 200);
    assert!(healthy.ok && healthy.ready_cause.is_none());
    assert_eq!(healthy.ready_mode.unwrap().as_str(), "strict");
    let dependencies = healthy.dependencies;
    assert_eq!(
        dependencies.realtime.unwrap().mode.unwrap().as_str(),
        "distributed"
    );
    assert_eq!(
        dependencies.stream_ticket.unwrap().replay_store_available,
        Some(true)
    );

    stack.faults().update(|f| f.redis_down = true);
    let (status, away) = ready(&stack).await;
    assert_eq!(status, 503);
    assert_eq!(away.ready_cause.unwrap().as_str(), "redis");
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (_, away) = ready(&stack).await;
    let redis = away.dependencies.redis.unwrap();
    assert!(!redis.ok && redis.degraded);
    assert!(redis.degraded_for_ms.unwrap() >= 20);
    assert!(redis.consecutive_failures.unwrap() >= 2);
    assert_eq!(redis.required_for_ready, Some(true));
    assert!(redis.last_error_message.is_some());
    let realtime = away.dependencies.realtime.unwrap();
    assert_eq!(realtime.mode.unwrap().as_str(), "local-fallback");
    assert_eq!(realtime.publisher_ready, Some(false));

    let degraded = start(&[("ready_mode", "degraded")]).await;
    degraded.faults().update(|f| f.redis_down = true);
    let (status, payload) = ready(&degraded).await;
    assert_eq!(status, 200, "with a degraded dependency");
    assert!(payload.ok && payload.dependencies.redis.unwrap().degraded);
}

#[tokio::test]
async fn ready_can_show_a_degraded_dependency_while_all_is_well() {
    let stack = start(&[]).await;
    stack.faults().update(|f| f.ready_degraded = true);
    let (status, payload) = ready(&stack).await;
    let redis = payload.dependencies.redis.unwrap();
    assert_eq!((status, redis.ok, redis.degraded), (200, true, true));
    stack.faults().update(|f| f.replay_store_down = true);
    let (status, payload) = ready(&stack).await;
    let tickets = payload.dependencies.stream_ticket.unwrap();
    assert_eq!(status, 200);
    assert_eq!(tickets.replay_store_available, Some(false));
    assert!(tickets.degraded);
}

#[tokio::test]
async fn a_redis_that_is_away_leaves_announcements_within_this_origin() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let mut events = device.stream().await;
    events.expect("ready").await;
    stack.faults().update(|f| f.redis_down = true);
    device.write("n", 0, "x").await;
    events.expect("sync").await;
}

#[tokio::test]
async fn health_and_metrics_are_there_directly_even_over_the_limit() {
    let stack = start(&[("rate_limit_requests", "1")]).await;
    let device = Device::direct(&stack);
    device.pull(0).await;
    for _ in 0..3 {
        let health: Value = text(&device, "/health").await.1.parse().unwrap();
        assert_eq!(health["ok"], true);
    }
    let (kind, metrics) = text(&device, "/metrics").await;
    assert!(kind.starts_with("text/plain; version=0.0.4"));
    assert!(metrics.contains("# TYPE stack_requests_total counter\nstack_requests_total 5\n"));
    assert!(metrics.contains("stack_dependency_up{dependency=\"redis\"} 1\n"));
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let (_, value) = line.rsplit_once(' ').unwrap();
        value.parse::<u64>().unwrap();
    }
}

async fn text(device: &Device, path: &str) -> (String, String) {
    let response = device.send(device.get(path)).await;
    assert_eq!(response.status(), 200);
    let kind = header(&response, "content-type").to_owned();
    (kind, response.text().await.unwrap())
}

async fn ready(stack: &Stack) -> (u16, Ready) {
    let device = Device::direct(stack);
    let response = device.send(device.get("/ready")).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}
