//! Each way in which an AI provider fails, and the circuit in front of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use std::time::Duration;

use evenkeel_stack::{FaultSet, Garbage, OriginErrors, Part, RateLimited, Stack};
use support::{Device, Visitor, edge_metrics, expect_refusal, start};

async fn broken(
    changes: &[(&str, &str)],
    break_it: impl FnOnce(&mut FaultSet),
) -> (Stack, Visitor) {
    let quick = [
        ("provider_timeout_ms", "300"),
        ("provider_retry_backoff_ms", "10"),
    ];
    let changes: Vec<(&str, &str)> = quick.into_iter().chain(changes.iter().copied()).collect();
    let stack = start(&changes).await;
    let visitor = Visitor::device(&stack).connected("gemini").await;
    visitor.works().await;
    stack.faults().update(break_it);
    (stack, visitor)
}

fn asked(stack: &Stack) -> usize {
    stack.requests().at(Part::Provider).len()
}

#[tokio::test]
async fn one_that_is_slow_is_a_timeout_and_is_not_asked_again() {
    type Break = fn(&mut FaultSet);
    let breaks: [Break; 2] = [
        |f| f.provider_hangs = true,
        |f| f.provider_latency_ms = 5_000,
    ];
    for break_it in breaks {
        let (stack, visitor) = broken(&[], break_it).await;
        let response = visitor.analyze().await;
        let cause = Some("provider_timeout");
        let wait = expect_refusal(response, 504, "TIMEOUT", cause).await;
        assert_eq!(wait, Some(5));
        assert_eq!(asked(&stack), 2);
        let metrics = edge_metrics(&stack).await;
        assert_eq!(metrics.metrics.timeouts, 1);
        assert_eq!(metrics.metrics.provider_failures, 1);
        assert_eq!(
            metrics.failure_causes.unwrap().provider["provider_timeout"],
            1
        );
        stack.faults().reset();
        visitor.works().await;
    }
}

#[tokio::test]
async fn one_that_cannot_be_reached_is_a_network_error() {
    type Break = fn(&mut FaultSet);
    let breaks: [Break; 2] = [|f| f.provider_refuses = true, |f| f.provider_resets = true];
    for break_it in breaks {
        let (stack, visitor) = broken(&[], break_it).await;
        let response = visitor.analyze().await;
        let cause = Some("provider_network_error");
        assert_eq!(expect_refusal(response, 503, "NETWORK", cause).await, None);
        assert_eq!(edge_metrics(&stack).await.metrics.retries, 1);
    }
}

#[tokio::test]
async fn its_own_status_comes_through_and_what_it_says_of_when_to_come_back() {
    for (status, retry_after_s, repeats) in [(500, None, 1), (503, Some(7), 0), (529, None, 1)] {
        let errors = OriginErrors {
            rate: 1.0,
            status,
            retry_after_s,
        };
        let (stack, visitor) = broken(&[], |f| f.provider_errors = Some(errors)).await;
        let response = visitor.analyze().await;
        let cause = Some("provider_5xx");
        let wait = expect_refusal(response, status, "PROVIDER_UNAVAILABLE", cause).await;
        assert_eq!(wait, retry_after_s);
        assert_eq!(edge_metrics(&stack).await.metrics.retries, repeats);
    }
}

#[tokio::test]
async fn one_bad_answer_is_hidden_by_a_repeat() {
    let errors = OriginErrors {
        rate: 0.5,
        ..OriginErrors::default()
    };
    let (stack, visitor) = broken(&[], |f| f.provider_errors = Some(errors)).await;
    for _ in 0..4 {
        visitor.works().await;
    }
    let metrics = edge_metrics(&stack).await.metrics;
    assert!(metrics.retries >= 1);
    assert_eq!(metrics.provider_failures, 0);
}

#[tokio::test]
async fn words_that_are_not_the_contract_s_are_a_bad_gateway() {
    for kind in [
        Garbage::Html,
        Garbage::Prose,
        Garbage::Shape,
        Garbage::Endless,
    ] {
        let changes = [("provider_timeout_ms", "10000")];
        let (_stack, visitor) = broken(&changes, |f| f.provider_garbage = Some(kind)).await;
        let response = visitor.analyze().await;
        let cause = Some("provider_5xx");
        expect_refusal(response, 502, "PROVIDER_UNAVAILABLE", cause).await;
    }
}

#[tokio::test]
async fn five_failures_in_a_row_open_its_circuit_and_only_its_own() {
    let changes = [
        ("provider_circuit_open_ms", "2500"),
        ("ai_rate_limit_requests", "100000"),
    ];
    let (stack, visitor) = broken(&changes, |f| f.provider_refuses = true).await;
    let other = Visitor::device(&stack).connected("openrouter").await;
    for _ in 0..5 {
        let response = visitor.analyze().await;
        let cause = Some("provider_network_error");
        expect_refusal(response, 503, "NETWORK", cause).await;
    }
    let response = visitor.analyze().await;
    let open = Some("provider_circuit_open");
    let wait = expect_refusal(response, 503, "PROVIDER_UNAVAILABLE", open).await;
    assert_eq!(wait, Some(3), "what remains of 2.5 s, rounded up");
    stack.faults().reset();
    support::eventually(async || other.analyze().await.status() == 200).await;
    expect_refusal(visitor.analyze().await, 503, "PROVIDER_UNAVAILABLE", open).await;
    Device::edge(&stack).pull(0).await;

    let metrics = edge_metrics(&stack).await;
    assert_eq!(metrics.metrics.circuit_opens, 1);
    assert_eq!(metrics.metrics.provider_failures, 5);
    assert_eq!(metrics.metrics.vps_proxy_circuit_opens, 0);
    assert!(!metrics.vps_proxy_circuit.unwrap().open);
    let causes = metrics.failure_causes.unwrap();
    assert!(causes.upstream.is_empty());
    assert_eq!(causes.provider["provider_circuit_open"], 2);
    support::eventually(async || visitor.analyze().await.status() == 200).await;
}

#[tokio::test]
async fn forced_open_it_rejects_until_it_is_let_go() {
    let (stack, visitor) = broken(&[], |f| f.provider_circuit_forced_open = true).await;
    let before = asked(&stack);
    let response = visitor.analyze().await;
    let open = Some("provider_circuit_open");
    let wait = expect_refusal(response, 503, "PROVIDER_UNAVAILABLE", open).await;
    assert_eq!(wait, Some(30));
    assert_eq!(asked(&stack), before);
    stack.faults().reset();
    visitor.works().await;
}

#[tokio::test]
async fn what_it_does_not_take_is_not_its_fault() {
    let changes = [("provider_circuit_threshold", "1")];
    let (stack, visitor) = broken(&changes, |f| f.provider_refuses_keys = true).await;
    expect_refusal(visitor.analyze().await, 401, "AUTH_REQUIRED", None).await;
    stack.faults().reset();
    let limited = RateLimited { retry_after_s: 20 };
    stack
        .faults()
        .update(|f| f.provider_rate_limited = Some(limited));
    let wait = expect_refusal(visitor.analyze().await, 429, "RATE_LIMITED", None).await;
    assert_eq!(wait, Some(20));
    stack.faults().reset();
    visitor.works().await;
    assert_eq!(edge_metrics(&stack).await.metrics.provider_failures, 0);
}

#[tokio::test]
async fn a_caller_who_leaves_takes_the_request_with_them() {
    let changes = [("provider_timeout_ms", "60000")];
    let (stack, visitor) = broken(&changes, |f| f.provider_hangs = true).await;
    let impatient = tokio::time::timeout(Duration::from_millis(300), visitor.analyze()).await;
    assert!(impatient.is_err());
    stack.faults().reset();
    visitor.works().await;
    let metrics = edge_metrics(&stack).await.metrics;
    assert_eq!(metrics.provider_failures, 0);
    stack.stop().await;
}
