//! The AI capability beside sync, against the whole service: each has its own trouble.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use evenkeel::wire::AiProvider;
use evenkeel::{AiClient, AiError, AiStatus, Cause, Secret, SyncClient, SyncState};
use evenkeel_e2e::reach;
use evenkeel_stack::Stack;
use serde_json::Value;

const BOUND: Duration = Duration::from_secs(30);

const CASES: &[(&str, &str, Cause)] = &[
    ("provider_hangs", "true", Cause::ProviderTimeout),
    ("provider_refuses", "true", Cause::ProviderNetworkError),
    ("provider_resets", "true", Cause::ProviderNetworkError),
    (
        "provider_errors",
        r#"{"rate":1.0,"status":503,"retry_after_s":1}"#,
        Cause::Provider5xx,
    ),
    ("provider_garbage", r#""html""#, Cause::Provider5xx),
    (
        "provider_circuit_forced_open",
        "true",
        Cause::ProviderCircuitOpen,
    ),
    (
        "ai_rate_limited",
        r#"{"retry_after_s":1}"#,
        Cause::RateLimited,
    ),
];

async fn setup() -> (Stack, SyncClient, AiClient) {
    let stack = Stack::builder()
        .set("provider_timeout_ms", "300")
        .unwrap()
        .set("provider_circuit_open_ms", "1000")
        .unwrap()
        .start()
        .await
        .unwrap();
    let sync = SyncClient::builder(stack.edge_url())
        .token(Secret::new("demo-token"))
        .build()
        .unwrap();
    sync.start().unwrap();
    let ai = sync.ai().unwrap();
    ai.connect(AiProvider::Gemini, Secret::new("sk-7"))
        .await
        .unwrap();
    reach(&sync, "synced", BOUND, |s| s.state == SyncState::Synced).await;
    (stack, sync, ai)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_trouble_of_the_provider_shows_in_the_ai_status_and_never_in_sync() {
    let cases = CASES.iter().map(|&(fault, value, cause)| {
        tokio::spawn(async move {
            let (stack, sync, ai) = setup().await;
            let value: Value = serde_json::from_str(value).unwrap();
            stack.faults().set(fault, value).unwrap();
            let impatient = ai.with_deadline(Duration::from_millis(2_000));
            let error = impatient.analyze("todo: x").await.unwrap_err();
            let AiError::Failed { failure, .. } = error else {
                panic!("{fault}: {error:?}");
            };
            assert_eq!(failure.cause, cause, "{fault}");
            let AiStatus::Degraded(trouble) = ai.status() else {
                panic!("{fault}: {:?}", ai.status());
            };
            assert_eq!(trouble.cause, cause, "{fault}");
            assert!(trouble.next_attempt_in().is_some());
            let status = sync.status();
            assert_eq!(status.state, SyncState::Synced, "{fault}");
            assert_eq!(status.cause, None, "{fault}");

            stack.faults().reset();
            let analysis = ai.analyze("todo: x").await.unwrap();
            assert_eq!(analysis.title, "todo: x", "{fault}");
            assert_eq!(ai.status(), AiStatus::Available, "{fault}");
            sync.stop().await;
            stack.stop().await;
        })
    });
    let cases: Vec<_> = cases.collect();
    for case in cases {
        case.await.unwrap();
    }
}

#[tokio::test]
async fn an_origin_that_is_away_is_sync_s_trouble_alone() {
    let (stack, sync, ai) = setup().await;
    stack.faults().update(|f| f.origin_refuses = true);
    let degraded = |s: &evenkeel::Status| s.state == SyncState::Degraded;
    reach(&sync, "degraded", BOUND, degraded).await;
    assert_eq!(ai.cleanup(" a  b ").await.unwrap(), "a b");
    assert_eq!(ai.status(), AiStatus::Available);
    sync.stop().await;
    stack.stop().await;
}

#[tokio::test]
async fn a_device_s_session_lives_through_a_rotation_and_a_restart_and_ends_when_told() {
    let (stack, sync, account) = setup().await;
    let device = SyncClient::builder(stack.edge_url()).build_ai().unwrap();
    let error = device.analyze("x").await.unwrap_err();
    assert!(matches!(error, AiError::NotConnected), "{error:?}");
    device
        .connect(AiProvider::Openrouter, Secret::new("sk-8"))
        .await
        .unwrap();
    stack
        .secrets()
        .rotate(Secret::new("a new secret of more than thirty-two bytes"));
    stack.restart_edge();
    for ai in [&account, &device] {
        let found = ai.batch(vec!["one".into(), "two".into()]).await.unwrap();
        assert_eq!(found.len(), 2);
    }
    assert_eq!(
        device.transcribe([0; 6], "audio/mp4").await.unwrap(),
        "8 characters of audio/mp4"
    );

    stack.faults().update(|f| f.edge_kv_down = true);
    let impatient = device.with_deadline(Duration::from_secs(1));
    let error = impatient.session().await.unwrap_err();
    assert!(error.to_string().contains("kv_unavailable"), "{error}");
    stack.faults().reset();

    device.disconnect().await.unwrap();
    assert_eq!(device.status(), AiStatus::NotConnected);
    assert!(device.device_session().is_none());
    assert!(account.session().await.unwrap().connected);
    // The key that the provider does not take has to be connected anew.
    stack.faults().update(|f| f.provider_refuses_keys = true);
    let error = account.analyze("x").await.unwrap_err();
    assert!(matches!(error, AiError::NotConnected), "{error:?}");
    sync.stop().await;
    stack.stop().await;
}
