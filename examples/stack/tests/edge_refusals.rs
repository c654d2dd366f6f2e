//! Each row of the contract's table that comes from the edge.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use std::time::Duration;

use evenkeel_stack::{
    CdnBody, CdnError, Cut, EdgeOptions, OriginErrors, Part, Unconfigured, run_edge,
};
use serde_json::{Value, json};
use support::{Device, expect_refusal, refusal, short, start, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const UNAVAILABLE: &str = "SERVICE_UNAVAILABLE";

#[tokio::test]
async fn an_edge_without_an_origin_says_so_in_both_forms_and_gives_no_time() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    for (form, status, code) in [
        (Unconfigured::ServiceUnavailable, 503, UNAVAILABLE),
        (Unconfigured::ConfigError, 500, "CONFIG_ERROR"),
    ] {
        stack.faults().update(|f| f.edge_unconfigured = Some(form));
        let response = device.try_pull(0).await.unwrap();
        let (got, retry_after, error) = refusal(response).await;
        assert_eq!((got, retry_after), (status, None));
        assert_eq!(error.code.as_deref(), Some(code));
        assert_eq!(error.cause.as_deref(), Some("origin_unconfigured"));
        assert_eq!(error.retryable, Some(false));
    }
    stack.faults().reset();
    device.pull(0).await;

    let bare = run_edge(EdgeOptions::default()).await.unwrap();
    let response = Device::at(&bare.url()).try_pull(0).await.unwrap();
    let cause = Some("origin_unconfigured");
    assert_eq!(
        expect_refusal(response, 503, UNAVAILABLE, cause).await,
        None
    );
    bare.stop().await;
}

#[tokio::test]
async fn an_origin_that_does_not_answer_is_a_timeout_with_the_open_window() {
    let stack = start(&[("circuit_open_ms", "20000")]).await;
    stack.faults().update(|f| f.origin_hangs = true);
    let response = Device::edge(&stack).try_pull(0).await.unwrap();
    let wait = expect_refusal(response, 503, UNAVAILABLE, Some("timeout")).await;
    assert_eq!(wait, Some(20), "even for the first failure");
    let records = stack.requests().at(Part::Edge);
    let took = records[0].answered_at_ms.unwrap() - records[0].at_ms;
    assert!((600..2_000).contains(&took), "twice 300 ms, not {took}");
    stack.stop().await;
}

#[tokio::test]
async fn an_edge_told_to_time_out_does_so_without_the_origin() {
    let stack = start(&[]).await;
    stack.faults().update(|f| f.edge_times_out = true);
    let response = Device::edge(&stack).try_pull(0).await.unwrap();
    expect_refusal(response, 503, UNAVAILABLE, Some("timeout")).await;
    assert!(stack.requests().at(Part::Origin).is_empty());
}

#[tokio::test]
async fn an_origin_that_cannot_be_reached_is_a_network_error_with_the_open_window() {
    type Break = fn(&mut evenkeel_stack::FaultSet);
    let breaks: [Break; 3] = [
        |f| f.origin_refuses = true,
        |f| f.origin_resets = true,
        |f| f.edge_path_down = true,
    ];
    for break_it in breaks {
        let stack = start(&[("circuit_open_ms", "7500")]).await;
        stack.faults().update(break_it);
        let response = Device::edge(&stack).try_pull(0).await.unwrap();
        let wait = expect_refusal(response, 503, UNAVAILABLE, Some("network_error")).await;
        assert_eq!(wait, Some(8), "rounded up");
    }
}

#[tokio::test]
async fn a_5xx_of_the_origin_loses_its_body_but_not_its_retry_after() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    for (status, retry_after_s) in [(500, None), (502, Some(33)), (599, None)] {
        let errors = OriginErrors {
            rate: 1.0,
            status,
            retry_after_s,
        };
        stack.faults().update(|f| f.origin_errors = Some(errors));
        let response = device.try_pull(0).await.unwrap();
        let wait = expect_refusal(response, 503, UNAVAILABLE, Some("upstream_5xx")).await;
        assert_eq!(wait, retry_after_s);
        stack.faults().reset();
        device.pull(0).await;
    }
}

#[tokio::test]
async fn session_storage_that_is_down_is_kv_unavailable_for_five_seconds() {
    let stack = start(&[]).await;
    stack.faults().update(|f| f.edge_kv_down = true);
    let response = Device::edge(&stack).try_pull(0).await.unwrap();
    let wait = expect_refusal(response, 503, UNAVAILABLE, Some("kv_unavailable")).await;
    assert_eq!(wait, Some(5));
    let metrics = metrics(&stack).await;
    assert_eq!(metrics["reliability"]["kvFailures"], 1);
}

#[tokio::test]
async fn something_in_front_can_answer_html_or_nothing_with_any_5xx() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    for status in [502, 520, 524, 530] {
        for body in [CdnBody::Html, CdnBody::Empty] {
            let fault = CdnError {
                status,
                body,
                retry_after_s: Some(9),
            };
            stack.faults().update(|f| f.cdn_error = Some(fault));
            let response = device.try_pull(0).await.unwrap();
            assert_eq!(response.status().as_u16(), status);
            assert_eq!(response.headers()["retry-after"], "9");
            let html = response.headers().get("content-type").cloned();
            let text = response.text().await.unwrap();
            match body {
                CdnBody::Html => {
                    assert!(html.unwrap().to_str().unwrap().starts_with("text/html"));
                    assert!(text.starts_with("<!DOCTYPE html>"));
                }
                CdnBody::Empty => assert!(text.is_empty()),
            }
        }
    }
    let metrics = metrics(&stack).await;
    assert_eq!(metrics["metrics"]["requests"], 0, "the edge saw none");
    assert!(stack.requests().at(Part::Origin).is_empty());
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused_and_never_reaches_the_origin() {
    let stack = start(&[("body_bytes_max", "32768")]).await;
    let device = Device::edge(&stack);
    for chars in [40_000, 3_000_000] {
        let body = "x".repeat(chars);
        let request = device.post("/api/v2/sync/push").body(body);
        let response = device.send(request).await;
        expect_refusal(response, 413, "PAYLOAD_TOO_LARGE", None).await;
    }
    assert!(stack.requests().at(Part::Origin).is_empty());
    let most = "x".repeat(32_768);
    let request = device.post("/api/v2/sync/push").body(most);
    assert_eq!(
        device.send(request).await.status(),
        415,
        "let through: the origin wants a content type"
    );
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    for path in [
        "/",
        "/ready",
        "/api/v1/auth/nothing",
        "/api/v1/ai/analyze",
        "/api/v2/nothing",
        "/api/v2/sync/push",
    ] {
        let response = device.send(device.get(path)).await;
        expect_refusal(response, 404, "NOT_FOUND", None).await;
    }
    let origin = stack.requests().at(Part::Origin);
    assert_eq!(origin.len(), 2, "only /api/v2 is proxied");
}

#[tokio::test]
async fn metrics_answer_only_callers_on_the_machine_itself() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    assert!(metrics(&stack).await["metrics"].is_object());
    for header in ["x-forwarded-for", "forwarded"] {
        let request = device.get("/api/v1/metrics").header(header, "203.0.113.9");
        expect_refusal(device.send(request).await, 404, "NOT_FOUND", None).await;
    }
}

#[tokio::test]
async fn only_the_allowed_headers_go_on_and_cookies_only_to_events() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin_url = format!("http://{}", listener.local_addr().unwrap());
    let edge = run_edge(EdgeOptions {
        origin_urls: vec![origin_url],
        settings: short(&[]),
        ..EdgeOptions::default()
    })
    .await
    .unwrap();
    let device = Device::at(&edge.url());
    let seen = async |path: &str| {
        let request = device
            .get(path)
            .header("x-request-id", "r-1")
            .header("accept", "text/event-stream")
            .header("cache-control", "no-cache")
            .header("content-type", "application/json")
            .header("cookie", "a=b")
            .header("x-forwarded-for", "203.0.113.9")
            .header("origin", "https://elsewhere.example");
        let serving = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let answer = b"HTTP/1.1 204 No Content\r\nx-mine: 1\r\nconnection: close\r\n\r\n";
            socket.write_all(answer).await.unwrap();
            String::from_utf8(head).unwrap()
        };
        let (head, response) = within(async { tokio::join!(serving, request.send()) }).await;
        let response = response.unwrap();
        assert_eq!(response.status(), 204);
        assert_eq!(response.headers()["x-mine"], "1");
        let mut lines: Vec<String> = head.to_lowercase().lines().map(str::to_owned).collect();
        let request_line = lines.remove(0);
        let mut names: Vec<String> = lines
            .iter()
            .filter_map(|line| Some(line.split_once(':')?.0.to_owned()))
            .collect();
        names.sort();
        (request_line, names)
    };
    let always = [
        "accept",
        "authorization",
        "cache-control",
        "content-type",
        "host",
        "x-device-id",
        "x-request-id",
    ];
    let (line, names) = seen("/api/v2/sync/pull?cursor=7").await;
    assert_eq!(line, "get /api/v2/sync/pull?cursor=7 http/1.1");
    assert_eq!(names, always);
    let (_, names) = seen("/api/v2/events").await;
    let with_cookie: Vec<&str> = names.iter().map(String::as_str).collect();
    assert!(with_cookie.contains(&"cookie"));
    assert_eq!(with_cookie.len(), always.len() + 1);
    edge.stop().await;
}

#[tokio::test]
async fn an_origin_that_dies_breaks_the_streams_behind_the_edge() {
    let stack = start(&[]).await;
    let mut broken = Device::edge(&stack).stream().await;
    broken.expect("ready").await;
    stack.faults().update(|f| f.origin_refuses = true);
    assert!(within(broken.try_next()).await.is_err());

    stack.faults().reset();
    let mut cut = Device::edge(&stack).stream().await;
    cut.expect("ready").await;
    stack.faults().cut_streams(Cut::Reset);
    assert!(within(cut.try_next()).await.is_err());

    let mut closed = Device::edge(&stack).stream().await;
    closed.expect("ready").await;
    stack.faults().cut_streams(Cut::Clean);
    assert_eq!(within(closed.try_next()).await.unwrap(), None);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_its_stream_with_it() {
    let stack = start(&[]).await;
    let mut events = Device::edge(&stack).stream().await;
    events.expect("ready").await;
    assert_eq!(stack.origin().streams_open(), 1);
    drop(events);
    support::eventually(async || stack.origin().streams_open() == 0).await;
}

#[tokio::test]
async fn an_edge_that_refuses_is_not_there_until_it_is_back_on_the_same_port() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    device.pull(0).await;
    stack.faults().update(|f| f.edge_refuses = true);
    support::eventually(async || {
        let refused = device.try_pull(0).await;
        refused.is_err_and(|error| error.is_connect())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    stack.faults().reset();
    support::eventually(async || device.try_pull(0).await.is_ok()).await;
}

async fn metrics(stack: &evenkeel_stack::Stack) -> Value {
    let device = Device::edge(stack);
    let response = device.send(device.get("/api/v1/metrics")).await;
    assert_eq!(response.status(), 200);
    let metrics: Value = response.json().await.unwrap();
    assert_ne!(metrics, json!({}));
    metrics
}
