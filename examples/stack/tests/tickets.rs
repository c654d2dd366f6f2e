//! Tickets: issued to a user on a device, spent on arrival.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use std::time::Duration;

use evenkeel_proto::wire::{SameSite, SetCookie, TICKET_COOKIE, TicketAnswer};
use reqwest::StatusCode;
use support::{Device, Events, expect_refusal, refusal, start};

#[tokio::test]
async fn the_cookie_has_the_contracts_attributes() {
    let stack = start(&[]).await;
    for device in [Device::edge(&stack), Device::direct(&stack)] {
        let response = device.send(device.post("/api/v2/events/ticket")).await;
        let cookie = SetCookie::find(response.headers(), TICKET_COOKIE).unwrap();
        assert_eq!(cookie.path.as_deref(), Some("/api/v2/events"));
        assert_eq!(cookie.max_age, Some(Duration::from_secs(60)));
        assert_eq!(cookie.same_site, Some(SameSite::Lax));
        assert!(cookie.http_only && !cookie.secure);
        let date = response.headers()["date"].to_str().unwrap();
        let date = httpdate::parse_http_date(date).unwrap();
        let date_ms = date.duration_since(std::time::UNIX_EPOCH).unwrap();
        let answer: TicketAnswer = response.json().await.unwrap();
        let expires_ms = answer.expires_at().unwrap().0;
        let ttl_ms = expires_ms - i64::try_from(date_ms.as_millis()).unwrap();
        assert!((59_000..=61_000).contains(&ttl_ms), "{ttl_ms}");
    }
}

#[tokio::test]
async fn a_ticket_is_good_for_one_stream_without_any_token() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let ticket = device.ticket().await;
    let mut events = Events::of(device.open(&ticket).await.unwrap());
    events.expect("ready").await;
    for _ in 0..2 {
        let response = device.open(&ticket).await.unwrap();
        expect_refusal(response, 401, "STREAM_TICKET_REPLAYED", None).await;
    }
    events.expect_silence(Duration::from_millis(30)).await;
}

#[tokio::test]
async fn each_way_that_a_ticket_can_be_wrong_has_its_code() {
    let stack = start(&[("ticket_ttl_ms", "300")]).await;
    let (device, other) = (Device::edge(&stack), Device::edge(&stack));
    let none = device.send(device.get("/api/v2/events")).await;
    expect_refusal(none, 401, "STREAM_TICKET_REQUIRED", None).await;
    for forged in ["nonsense", "00.00", "7b7d.ff"] {
        let response = device.open(forged).await.unwrap();
        expect_refusal(response, 401, "STREAM_TICKET_INVALID", None).await;
    }
    let ticket = device.ticket().await;
    let request = other
        .get("/api/v2/events")
        .header("cookie", format!("pb_stream_ticket={ticket}"));
    expect_refusal(
        other.send(request).await,
        401,
        "STREAM_TICKET_INVALID",
        None,
    )
    .await;
    tokio::time::sleep(Duration::from_millis(310)).await;
    let response = device.open(&ticket).await.unwrap();
    expect_refusal(response, 401, "STREAM_TICKET_EXPIRED", None).await;
}

#[tokio::test]
async fn a_ticket_is_spent_even_when_its_stream_never_comes() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    stack.faults().update(|f| f.stream_headers_never = true);
    let ticket = device.ticket().await;
    let response = device.open(&ticket).await.unwrap();
    expect_refusal(response, 503, "SERVICE_UNAVAILABLE", Some("timeout")).await;
    stack.faults().reset();
    let response = device.open(&ticket).await.unwrap();
    expect_refusal(response, 401, "STREAM_TICKET_REPLAYED", None).await;
}

#[tokio::test]
async fn the_body_carrier_answers_either_status_and_travels_in_the_query() {
    for status in ["200", "201"] {
        let stack = start(&[("ticket_carrier", "body"), ("ticket_body_status", status)]).await;
        let device = Device::edge(&stack);
        let response = device.send(device.post("/api/v2/events/ticket")).await;
        assert_eq!(response.status().as_str(), status);
        assert!(response.headers().get("set-cookie").is_none());
        let TicketAnswer::Body { ticket, .. } = response.json().await.unwrap() else {
            panic!("no ticket in the body");
        };
        let url = format!("{}/api/v2/events?ticket={}", device.url, ticket.expose());
        let mut events = Events::of(device.send(device.http.get(&url)).await);
        events.expect("ready").await;
        let again = device.send(device.http.get(&url)).await;
        expect_refusal(again, 401, "STREAM_TICKET_REPLAYED", None).await;
        let logged = format!("{:?}", stack.requests().all());
        assert!(!logged.contains(ticket.expose()), "no ticket in the log");
    }
}

#[tokio::test]
async fn without_the_replay_store_there_are_tickets_but_no_streams_and_pulls_go_on() {
    for redis in [false, true] {
        let stack = start(&[("circuit_threshold", "20")]).await;
        let (edge, direct) = (Device::edge(&stack), Device::direct(&stack));
        stack.faults().update(|f| match redis {
            true => f.redis_down = true,
            false => f.replay_store_down = true,
        });
        let ticket = edge.ticket().await;
        let response = edge.open(&ticket).await.unwrap();
        let cause = Some("upstream_5xx");
        expect_refusal(response, 503, "SERVICE_UNAVAILABLE", cause).await;
        let ticket = direct.ticket().await;
        let response = direct.open(&ticket).await.unwrap();
        let code = "STREAM_TICKET_STORAGE_UNAVAILABLE";
        expect_refusal(response, 503, code, None).await;
        edge.write("n", 0, "still works").await;
        assert_eq!(edge.pull(0).await.changes.len(), 1);
        stack.faults().reset();
        edge.stream().await.expect("ready").await;
    }
}

#[tokio::test]
async fn tickets_need_a_token_and_a_device_that_is_welcome() {
    let stack = start(&[]).await;
    let mut device = Device::edge(&stack);
    let ticket = device.ticket().await;
    let revoke = format!("/api/v2/devices/{}/revoke", device.id);
    let response = device.send(device.post(&revoke)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let response = device.send(device.post("/api/v2/events/ticket")).await;
    expect_refusal(response, 403, "DEVICE_REVOKED", None).await;
    let response = device.open(&ticket).await.unwrap();
    expect_refusal(response, 403, "DEVICE_REVOKED", None).await;
    "wrong".clone_into(&mut device.token);
    let response = device.send(device.post("/api/v2/events/ticket")).await;
    let (status, _, error) = refusal(response).await;
    assert_eq!(
        (status, error.code.as_deref()),
        (401, Some("AUTH_REQUIRED"))
    );
}
