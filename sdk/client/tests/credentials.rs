//! Token and ticket: fresh when needed, never where they do not belong.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use common::{Reply, Service, TICKET, TOKEN, builder, client, degraded, full, synced, until};
use evenkeel::{Ask, Cause, Lane, Secret, SyncState, TicketCarrier, TokenError, TokenReason};

#[tokio::test]
async fn every_request_carries_what_the_contract_asks_for_and_no_more() {
    let service = Service::start().await;
    let (client, notes) = client(&service.url);
    notes.put("a", serde_json::Map::new()).unwrap();
    client.start().unwrap();
    synced(&client).await;
    let seen = service.state.seen.lock().unwrap().clone();
    assert!(seen.len() >= 4);
    for request in seen {
        assert_eq!(request.header("x-device-id"), client.device_id());
        assert!(request.header("user-agent").starts_with("evenkeel/"));
        assert!(request.header("x-request-id").len() >= 8);
        for unwanted in ["referer", "accept-encoding"] {
            assert_eq!(request.header(unwanted), "", "{unwanted}");
        }
        let on_stream = request.path == "/api/v2/events";
        let cookie = request.header("cookie");
        assert_eq!(cookie.starts_with("pb_stream_ticket="), on_stream);
        let bearer = request.header("authorization");
        assert_eq!(bearer == format!("Bearer {TOKEN}"), !on_stream);
    }
}

#[tokio::test]
async fn each_stream_has_a_ticket_of_its_own() {
    let service = Service::start().await;
    let (client, _) = client(&service.url);
    client.start().unwrap();
    synced(&client).await;
    service.cut_streams(true);
    until(&client, "reconnecting", |s| s.state != SyncState::Synced).await;
    synced(&client).await;
    let streams = service.seen("/api/v2/events");
    assert_eq!(streams.len(), 2);
    assert_ne!(streams[0].header("cookie"), streams[1].header("cookie"));
}

#[tokio::test]
async fn a_ticket_in_the_body_travels_as_a_query_parameter() {
    for carrier in [TicketCarrier::Auto, TicketCarrier::Query] {
        let service = Service::start().await;
        *service.state.ticket_in_body.lock().unwrap() = true;
        let builder = builder(&service.url).ticket_carrier(carrier);
        let client = builder.build().unwrap();
        client.start().unwrap();
        synced(&client).await;
        let streams = service.seen("/api/v2/events");
        assert!(streams[0].query.starts_with(&format!("ticket={TICKET}")));
        assert_eq!(streams[0].header("cookie"), "");
    }
}

#[tokio::test]
async fn a_carrier_that_the_service_does_not_serve_is_bad_response() {
    for (carrier, in_body) in [(TicketCarrier::Cookie, true), (TicketCarrier::Query, false)] {
        let service = Service::start().await;
        *service.state.ticket_in_body.lock().unwrap() = in_body;
        let builder = builder(&service.url).ticket_carrier(carrier);
        let client = builder.build().unwrap();
        client.start().unwrap();
        assert_eq!(degraded(&client).await.cause, Some(Cause::BadResponse));
        assert!(service.seen("/api/v2/events").is_empty());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_credentials() {
    let elsewhere = Service::start().await;
    for path in [
        "/api/v2/sync/pull",
        "/api/v2/events/ticket",
        "/api/v2/events",
    ] {
        let service = Service::start().await;
        let target = elsewhere.url.clone();
        service.script(move |seen| {
            if seen.path != path {
                return Reply::Healthy;
            }
            let mut response = full(302, "text/plain", "");
            let location = format!("{target}{path}").parse().unwrap();
            response.headers_mut().insert("location", location);
            Reply::Full(response)
        });
        let (client, _) = client(&service.url);
        client.start().unwrap();
        let status = degraded(&client).await;
        assert_eq!(status.cause, Some(Cause::Redirected), "{path}");
        client.stop().await;
    }
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn a_refused_token_is_refreshed_once_and_the_sync_goes_on() {
    let service = Service::start().await;
    service.set_token("second");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&asked);
    let provider = move |reason| {
        told.lock().unwrap().push(reason);
        async move {
            Ok::<_, TokenError>(match reason {
                TokenReason::Refused => Secret::new("second"),
                _ => Secret::new("first"),
            })
        }
    };
    let builder = builder(&service.url).token_provider(provider);
    let client = builder.build().unwrap();
    client.start().unwrap();
    synced(&client).await;
    let expected = [TokenReason::Needed, TokenReason::Refused];
    assert_eq!(*asked.lock().unwrap(), expected);
}

#[tokio::test]
async fn two_refused_tokens_ask_the_app_and_a_changed_token_is_tried_at_once() {
    let service = Service::start().await;
    service.set_token("right");
    let current = Arc::new(Mutex::new("wrong"));
    let given = Arc::clone(&current);
    let provider = move |_: TokenReason| {
        let token = *given.lock().unwrap();
        async move { Ok::<_, TokenError>(Secret::new(token)) }
    };
    let builder = builder(&service.url).token_provider(provider);
    let client = builder.build().unwrap();
    client.start().unwrap();
    let status = until(&client, "asking", |s| s.ask == Ask::SignIn).await;
    assert_eq!(status.cause, Some(Cause::AuthRequired));
    let sent = service.requests();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(service.requests(), sent, "nothing until the app acts");
    *current.lock().unwrap() = "right";
    client.set_token_changed();
    synced(&client).await;
}

#[tokio::test]
async fn the_word_of_the_app_that_the_user_is_signed_out_holds_until_it_says_otherwise() {
    let service = Service::start().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    // From the second question on there would be a token.
    let provider = move |_: TokenReason| {
        let call = count.fetch_add(1, Ordering::SeqCst);
        async move {
            match call {
                0 => Err(TokenError::SignedOut),
                _ => Ok(Secret::new(TOKEN)),
            }
        }
    };
    let builder = builder(&service.url).token_provider(provider);
    let client = builder.build().unwrap();
    client.start().unwrap();
    let status = until(&client, "asking", |s| s.ask == Ask::SignIn).await;
    assert_eq!(status.state, SyncState::Degraded);
    assert_eq!(status.cause, Some(Cause::AuthRequired));
    client.retry_now();
    client.set_foreground(true);
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(client.status().ask, Ask::SignIn);
    assert_eq!(calls.load(Ordering::SeqCst), 1, "asked once");
    assert_eq!(service.requests(), 0);
    client.set_token_changed();
    synced(&client).await;
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_provider_that_fails_or_panics_is_asked_again_later() {
    let service = Service::start().await;
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let provider = move |_: TokenReason| {
        let call = count.fetch_add(1, Ordering::SeqCst);
        async move {
            match call {
                0 => Err(TokenError::Unavailable),
                1 => panic!("the app's own bug"),
                _ => Ok(Secret::new(TOKEN)),
            }
        }
    };
    let builder = builder(&service.url).token_provider(provider);
    let client = builder.build().unwrap();
    client.start().unwrap();
    assert_eq!(degraded(&client).await.cause, Some(Cause::TokenUnavailable));
    synced(&client).await;
}

#[tokio::test]
async fn a_token_that_no_header_can_carry_is_not_sent() {
    let service = Service::start().await;
    let client = builder(&service.url)
        .token(Secret::new("a\r\nx-evil: 1"))
        .build()
        .unwrap();
    client.start().unwrap();
    assert_eq!(degraded(&client).await.cause, Some(Cause::TokenUnavailable));
    assert_eq!(service.requests(), 0);
}

#[tokio::test]
async fn what_the_service_says_back_of_token_and_ticket_is_taken_out() {
    for in_body in [false, true] {
        let service = Service::start().await;
        *service.state.ticket_in_body.lock().unwrap() = in_body;
        service.script(|seen| match seen.path.as_str() {
            "/api/v2/events" => {
                let message = format!(
                    "Route GET:{}?{} {} not found",
                    seen.path,
                    seen.query,
                    seen.header("cookie")
                );
                let body = serde_json::json!({"statusCode": 404, "message": message});
                Reply::Full(full(404, "application/json", body.to_string()))
            }
            // So long that a message cut to its length ends within the token.
            "/api/v2/sync/push" => {
                let message = format!("{} {}", "x".repeat(240), seen.header("authorization"));
                let body = serde_json::json!({"error": {"code": TOKEN, "message": message}});
                Reply::Full(full(500, "application/json", body.to_string()))
            }
            _ => Reply::Healthy,
        });
        let (client, notes) = client(&service.url);
        notes.put("a", serde_json::Map::new()).unwrap();
        client.start().unwrap();
        for lane in [Lane::Stream, Lane::Push] {
            common::eventually("a refusal", || {
                let failures = client.diagnostics().failures;
                failures.iter().any(|failure| failure.lane == lane)
            })
            .await;
        }
        let told = serde_json::to_string(&client.diagnostics()).unwrap();
        assert!(told.contains("not found"), "{told}");
        for secret in [&TOKEN[..6], &TICKET[..6]] {
            assert!(!told.contains(secret), "{secret} is in {told}");
        }
        client.stop().await;
    }
}

#[tokio::test]
async fn a_refresh_that_fails_is_counted_as_a_failure() {
    let service = Service::start().await;
    let provider = |reason: TokenReason| async move {
        match reason {
            TokenReason::Needed => Ok(Secret::new("stale")),
            _ => Err(TokenError::Unavailable),
        }
    };
    let builder = builder(&service.url).token_provider(provider);
    let client = builder.build().unwrap();
    client.start().unwrap();
    common::eventually("a refresh that failed", || {
        let lanes = client.diagnostics().lanes;
        lanes.get(&Lane::Token).is_some_and(|token| {
            token.succeeded == 0 && token.failed.get("token_unavailable") == Some(&1)
        })
    })
    .await;
}
