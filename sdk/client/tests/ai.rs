//! The AI client: how often it asks, what it waits for, and what it keeps to itself.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod common;

use std::future::Future as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Body, Reply, Service, TOKEN, answer, builder, client, full, refusal, unavailable};
use evenkeel::wire::AiProvider;
use evenkeel::{AiClient, AiError, AiStatus, Cause, Secret, SyncClient};
use http::Response;
use serde_json::json;

const KEY: &str = "sk-s3cret-k3y";
const ANALYZE: &str = "/api/v1/ai/analyze";
const CONNECT: &str = "/api/v1/auth/connect";
const STATUS: &str = "/api/v1/auth/status";

fn ai(service: &Service) -> AiClient {
    let builder = SyncClient::builder(&service.url).seed(7);
    builder.build_ai().unwrap()
}

fn analyzed() -> Reply {
    Reply::Full(answer(&json!({"result": {"title": "t", "tags": null}})))
}

fn connected() -> Response<Body> {
    let mut response = answer(&json!({"connected": true, "provider": "gemini"}));
    let cookie = "pb_ai_session=c00kie-s3cret; Path=/; HttpOnly; Max-Age=86400";
    let headers = response.headers_mut();
    headers.insert("set-cookie", cookie.parse().unwrap());
    response
}

fn failure(error: AiError) -> (Cause, u32) {
    match error {
        AiError::Failed { failure, attempts } => (failure.cause, attempts),
        error => panic!("{error:?}"),
    }
}

fn trouble(ai: &AiClient) -> Option<Cause> {
    match ai.status() {
        AiStatus::Degraded(trouble) => Some(trouble.cause),
        _ => None,
    }
}

#[tokio::test]
async fn three_attempts_at_most_and_a_refusal_is_not_repeated() {
    let service = Service::start().await;
    service.script(|_| Reply::Full(full(502, "text/html", "<html>")));
    let ai = ai(&service);
    let error = ai.analyze("x").await.unwrap_err();
    assert_eq!(failure(error), (Cause::ServerError, 3));
    assert_eq!(service.requests(), 3);
    assert_eq!(trouble(&ai), Some(Cause::ServerError));

    for (status, cause) in [(400, Cause::BadRequest), (413, Cause::PayloadTooLarge)] {
        service.script(move |_| Reply::Full(refusal(status, "NO")));
        let before = service.requests();
        let error = ai.analyze("x").await.unwrap_err();
        assert_eq!(failure(error), (cause, 1));
        assert_eq!(service.requests(), before + 1);
    }
    service.script(|_| analyzed());
    assert_eq!(ai.analyze("x").await.unwrap().title, "t");
    assert_eq!(ai.status(), AiStatus::Available);
}

#[tokio::test]
async fn a_floor_beyond_the_deadline_is_told_at_once_and_nothing_is_sent_before_it() {
    let service = Service::start().await;
    service.script(|_| Reply::Full(unavailable("provider_circuit_open", Some(30))));
    let ai = ai(&service).with_deadline(Duration::from_secs(10));
    let error = ai.analyze("x").await.unwrap_err();
    assert_eq!(failure(error), (Cause::ProviderCircuitOpen, 1));
    for _ in 0..5 {
        let error = ai.analyze("x").await.unwrap_err();
        let AiError::Held { wait, cause } = error else {
            panic!("{error:?}");
        };
        assert_eq!(cause, Cause::ProviderCircuitOpen);
        assert!((20..=45).contains(&wait.as_secs()), "{wait:?}");
    }
    assert_eq!(service.requests(), 1);
    let AiStatus::Degraded(told) = ai.status() else {
        panic!("{:?}", ai.status());
    };
    assert!(told.next_attempt_in().unwrap() > Duration::from_secs(20));
    // The session is the edge's, which has said nothing of itself.
    service.script(|_| Reply::Full(connected()));
    assert!(ai.session().await.unwrap().connected);
    // Nor does the provider's name, known by now, open its gate.
    assert_eq!(trouble(&ai), Some(Cause::ProviderCircuitOpen));
    let error = ai.analyze("x").await.unwrap_err();
    assert!(matches!(error, AiError::Held { .. }), "{error:?}");
}

#[tokio::test]
async fn a_floor_within_the_deadline_is_waited_for() {
    let service = Service::start().await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    service.script(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Full(unavailable("provider_5xx", Some(1))),
        _ => analyzed(),
    });
    let ai = ai(&service);
    let begun = std::time::Instant::now();
    ai.analyze("x").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn one_call_finds_out_and_the_others_wait_for_it() {
    let service = Service::start().await;
    service.script(|_| Reply::Full(unavailable("provider_timeout", Some(1))));
    let ai = ai(&service);
    let impatient = ai.with_deadline(Duration::from_millis(500));
    impatient.analyze("x").await.unwrap_err();
    service.script(|_| Reply::Hang);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let ai = ai.with_deadline(Duration::from_secs(4));
            tokio::spawn(async move { ai.analyze("x").await })
        })
        .collect();
    let mut held = 0;
    for call in calls {
        match call.await.unwrap().unwrap_err() {
            AiError::Held { .. } => held += 1,
            error => assert_eq!(failure(error), (Cause::ResponseTimeout, 1)),
        }
    }
    assert_eq!(held, 7);
    assert_eq!(service.requests(), 2);
}

#[tokio::test]
async fn a_probe_that_is_dropped_lets_the_next_one_go() {
    let service = Service::start().await;
    service.script(|_| Reply::Full(unavailable("provider_timeout", Some(1))));
    let ai = ai(&service);
    let impatient = ai.with_deadline(Duration::from_millis(500));
    impatient.analyze("x").await.unwrap_err();
    service.script(|_| Reply::Hang);
    let probe = tokio::spawn({
        let ai = ai.clone();
        async move { ai.analyze("x").await }
    });
    while service.requests() < 2 {
        tokio::task::yield_now().await;
    }
    let waiting = tokio::spawn({
        let ai = ai.clone();
        async move { ai.analyze("x").await }
    });
    service.script(|_| analyzed());
    probe.abort();
    waiting.await.unwrap().unwrap();
    assert_eq!(service.requests(), 3);
}

#[tokio::test]
async fn a_key_is_handed_over_again_only_where_it_cannot_have_been_taken() {
    let service = Service::start().await;
    service.script(|_| Reply::Full(full(502, "text/html", "<html>")));
    let ai = ai(&service);
    let connect = || ai.connect(AiProvider::Gemini, Secret::new(KEY));
    let error = connect().await.unwrap_err();
    assert_eq!(failure(error), (Cause::ServerError, 1));

    let count = AtomicUsize::new(0);
    service.script(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::Full(unavailable("kv_unavailable", Some(1))),
        _ => Reply::Full(connected()),
    });
    assert!(connect().await.unwrap().connected);
    assert_eq!(service.seen(CONNECT).len(), 3);
    assert_eq!(ai.status(), AiStatus::Available);
}

#[tokio::test]
async fn the_session_s_cookie_goes_to_the_ai_s_paths_alone_and_can_be_put_away() {
    let service = Service::start().await;
    service.script(|seen| match seen.path.as_str() {
        CONNECT | STATUS => Reply::Full(connected()),
        ANALYZE => analyzed(),
        _ => Reply::Healthy,
    });
    let (sync, _) = client(&service.url);
    let ai = sync.ai().unwrap();
    ai.connect(AiProvider::Gemini, Secret::new(KEY))
        .await
        .unwrap();
    sync.ai().unwrap().analyze("x").await.unwrap();
    sync.start().unwrap();
    common::until(&sync, "synced", |s| s.state == evenkeel::SyncState::Synced).await;
    let seen = service.seen(ANALYZE);
    assert_eq!(seen[0].header("cookie"), "pb_ai_session=c00kie-s3cret");
    assert_eq!(seen[0].header("authorization"), format!("Bearer {TOKEN}"));
    assert_eq!(seen[0].header("x-device-id"), sync.device_id());
    let all = service.state.seen.lock().unwrap().clone();
    let others = all.iter().filter(|s| s.path.starts_with("/api/v2/"));
    assert!(others.clone().count() >= 3);
    for seen in others {
        assert!(!seen.header("cookie").contains("pb_ai_session"), "{seen:?}");
    }
    sync.stop().await;

    let kept = ai.device_session().unwrap();
    let later = builder(&service.url).build_ai().unwrap();
    later.set_device_session(kept);
    assert!(later.session().await.unwrap().connected);
    let seen = service.seen(STATUS);
    assert_eq!(seen[0].header("cookie"), "pb_ai_session=c00kie-s3cret");
}

#[tokio::test]
async fn neither_key_nor_token_nor_cookie_is_in_an_error() {
    let service = Service::start().await;
    service.script(|seen| {
        let said = format!(
            "{} {} {}",
            String::from_utf8_lossy(&seen.body),
            seen.header("authorization"),
            seen.header("cookie")
        );
        let body = json!({"error": {"code": "BAD_REQUEST", "message": said}});
        Reply::Full(full(400, "application/json", body.to_string()))
    });
    let ai = builder(&service.url).build_ai().unwrap();
    ai.set_device_session(Secret::new("c00kie-s3cret"));
    let connecting = ai.connect(AiProvider::Gemini, Secret::new(KEY));
    let text = format!("{:?} {ai:?}", connecting.await.unwrap_err());
    assert!(text.contains("***"), "{text}");
    for secret in [KEY, TOKEN, "c00kie-s3cret"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[tokio::test]
async fn a_refused_token_is_refreshed_once_and_a_missing_session_is_told_from_a_sign_in() {
    let service = Service::start().await;
    service.script(|seen| match seen.path.as_str() {
        STATUS => Reply::Full(answer(&json!({"connected": false}))),
        _ => Reply::Full(refusal(401, "AUTH_REQUIRED")),
    });
    let ai = builder(&service.url).build_ai().unwrap();
    let error = ai.analyze("x").await.unwrap_err();
    assert!(matches!(error, AiError::NotConnected), "{error:?}");
    assert_eq!(service.seen(ANALYZE).len(), 2);
    assert_eq!(ai.status(), AiStatus::NotConnected);

    service.script(|_| Reply::Full(refusal(401, "AUTH_REQUIRED")));
    let error = ai.analyze("x").await.unwrap_err();
    assert_eq!(failure(error).0, Cause::AuthRequired);
    assert_eq!(trouble(&ai), Some(Cause::AuthRequired));
    ai.set_token_changed();
    assert_eq!(ai.status(), AiStatus::NotConnected);
}

#[tokio::test]
async fn the_statuses_come_as_a_stream_that_ends_with_the_client() {
    let service = Service::start().await;
    service.script(|_| Reply::Full(connected()));
    let ai = ai(&service);
    let mut statuses = ai.status_changes();
    assert_eq!(statuses.next().await, Some(AiStatus::NotConnected));
    ai.session().await.unwrap();
    assert_eq!(statuses.next().await, Some(AiStatus::Available));
    let json = serde_json::to_value(ai.status()).unwrap();
    assert_eq!(json["state"], "available");
    drop(ai);
    assert_eq!(statuses.next().await, None);
}

#[test]
fn outside_of_a_runtime_a_call_says_so() {
    let ai = SyncClient::builder("http://127.0.0.1:1")
        .build_ai()
        .unwrap();
    let mut call = std::pin::pin!(ai.session());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let answered = call.as_mut().poll(&mut context);
    let std::task::Poll::Ready(Err(AiError::NoRuntime)) = answered else {
        panic!("{answered:?}");
    };
}
