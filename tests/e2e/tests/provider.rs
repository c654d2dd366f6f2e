//! The AI provider as a process of its own, killed while an app uses it: the AI status says so and comes back
//! by itself, and sync hears nothing of it.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use evenkeel::wire::AiProvider;
use evenkeel::{AiError, AiStatus, Cause, Secret, SyncClient, SyncState};
use evenkeel_e2e::{Diary, StackProcess, reach};

const BOUND: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_killed_and_started_again_degrades_the_ai_alone() {
    let origin = StackProcess::start(&["--role", "origin"]).await;
    let mut provider = StackProcess::start(&["--role", "provider"]).await;
    let edge = StackProcess::start(&[
        "--role",
        "edge",
        "--origin-url",
        origin.said("origin"),
        "--provider-url",
        provider.said("provider"),
        "--set",
        "provider_circuit_open_ms=1000",
    ])
    .await;
    let sync = SyncClient::builder(edge.said("edge"))
        .token(Secret::new("demo-token"))
        .build()
        .unwrap();
    sync.start().unwrap();
    reach(&sync, "synced", BOUND, |s| s.state == SyncState::Synced).await;
    let diary = Diary::of(&sync);
    let ai = sync.ai().unwrap();
    ai.connect(AiProvider::Gemini, Secret::new("sk-7"))
        .await
        .unwrap();
    assert_eq!(ai.cleanup(" a  b ").await.unwrap(), "a b");
    assert_eq!(ai.status(), AiStatus::Available);

    provider.kill().await;
    let impatient = ai.with_deadline(Duration::from_secs(2));
    let error = impatient.cleanup("x").await.unwrap_err();
    let AiError::Failed { failure, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(failure.cause, Cause::ProviderNetworkError);
    let AiStatus::Degraded(trouble) = ai.status() else {
        panic!("{:?}", ai.status());
    };
    assert_eq!(trouble.cause, Cause::ProviderNetworkError);
    assert_eq!(sync.status().state, SyncState::Synced);

    provider.restart().await;
    let until = Instant::now() + BOUND;
    while ai.status() != AiStatus::Available {
        assert!(Instant::now() < until, "{:?}", ai.status());
        let _ = ai.cleanup("x").await;
    }
    // The session outlived it: nobody has to connect again.
    assert_eq!(ai.cleanup(" c  d ").await.unwrap(), "c d");
    for (_, status) in diary.pages() {
        assert_eq!(status.state, SyncState::Synced, "{status:?}");
        assert_eq!(status.cause, None);
    }
    sync.stop().await;
}
