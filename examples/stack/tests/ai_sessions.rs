//! AI sessions and tasks at the edge, as the contract has them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use std::time::Duration;

use evenkeel_proto::wire::{
    AI_SESSION_COOKIE, AiProvider, AiScope, AiSession, SameSite, SetCookie,
};
use evenkeel_stack::{Part, ProviderOptions, RateLimited, SignIn, Stack, run_provider};
use serde_json::{Value, json};
use support::{Device, Visitor, edge_metrics, eventually, expect_refusal, short, start};

#[tokio::test]
async fn a_device_has_a_session_by_its_cookie_alone() {
    let stack = start(&[]).await;
    let mut visitor = Visitor::device(&stack);
    assert_eq!(visitor.status().await, AiSession::default());
    expect_refusal(visitor.analyze().await, 401, "AUTH_REQUIRED", None).await;

    let response = visitor.connect("gemini", "sk-user-7").await;
    assert_eq!(response.status(), 200);
    let cookie = SetCookie::find(response.headers(), AI_SESSION_COOKIE).unwrap();
    assert_eq!(cookie.path.as_deref(), Some("/"));
    assert_eq!(cookie.max_age, Some(Duration::from_secs(24 * 3_600)));
    assert!(cookie.http_only && !cookie.secure);
    assert_eq!(cookie.same_site, Some(SameSite::Lax));
    let session: AiSession = response.json().await.unwrap();
    assert_eq!(session.provider, Some(AiProvider::Gemini));
    assert_eq!(session.scope, Some(AiScope::Device));
    assert!(session.expires_at.is_some());
    assert_eq!(visitor.status().await, session);
    visitor.works().await;

    // A stranger has nothing of it, and connecting anew ends the old cookie.
    let stranger = Visitor::device(&stack);
    assert!(!stranger.status().await.connected);
    let old = visitor.clone();
    visitor.connect("openrouter", "sk-user-8").await;
    assert_ne!(visitor.cookie, old.cookie);
    assert!(!old.status().await.connected);
    visitor.works().await;

    let gone = visitor.post("/api/v1/auth/disconnect", json!({})).await;
    let cookie = SetCookie::find(gone.headers(), AI_SESSION_COOKIE).unwrap();
    assert_eq!(cookie.max_age, Some(Duration::ZERO));
    assert!(!visitor.status().await.connected);
}

#[tokio::test]
async fn a_device_session_ends_with_its_time_and_an_account_s_has_none() {
    let stack = start(&[("ai_session_ms", "300")]).await;
    let device = Visitor::device(&stack).connected("gemini").await;
    let account = Visitor::account(&stack).connected("gemini").await;
    eventually(async || !device.status().await.connected).await;
    expect_refusal(device.analyze().await, 401, "AUTH_REQUIRED", None).await;
    let session = account.status().await;
    assert_eq!(session.scope, Some(AiScope::Account));
    assert!(session.connected_at.is_some() && session.expires_at.is_none());
    account.works().await;
}

#[tokio::test]
async fn an_account_has_one_session_on_all_its_devices_and_only_there() {
    let stack = start(&[("tokens", "demo-token,b=bob")]).await;
    let first = Visitor::account(&stack).connected("gemini").await;
    assert_eq!(first.cookie, None);
    let second = Visitor::account(&stack);
    second.works().await;
    let mut bob = Visitor::account(&stack);
    bob.device.token = "b".to_owned();
    assert!(!bob.status().await.connected);
    bob.device.token = "nobody".to_owned();
    expect_refusal(bob.analyze().await, 401, "AUTH_REQUIRED", None).await;
    second.post("/api/v1/auth/disconnect", json!({})).await;
    assert!(!first.status().await.connected);
}

#[tokio::test]
async fn every_task_has_an_answer_of_its_own_shape() {
    let stack = start(&[]).await;
    let visitor = Visitor::device(&stack).connected("openrouter").await;
    let notes = json!([
        { "id": "a", "content": "Buy apples\nand pears" },
        { "id": "b", "content": "Call Ann" },
    ]);
    for (task, body, wanted) in [
        (
            "analyze",
            json!({ "content": "idea: an #app, urgent" }),
            json!({ "title": "idea: an #app, urgent", "tags": ["app,"], "type": "IDEA", "priority": "urgent" }),
        ),
        (
            "batch",
            json!({ "contents": ["one", "todo two"] }),
            json!([
                { "title": "one", "tags": [], "type": "NOTE" },
                { "title": "todo two", "tags": [], "type": "TASK" },
            ]),
        ),
        (
            "cleanup",
            json!({ "content": "  so   much \n\n room " }),
            json!({ "content": "so much\nroom" }),
        ),
        (
            "search",
            json!({ "query": "APPLES", "notes": notes.clone() }),
            json!({ "ids": ["a"] }),
        ),
        (
            "daily-brief",
            json!({ "notes": notes.clone() }),
            json!({ "summary": "2 notes: Buy apples; Call Ann" }),
        ),
        (
            "transcribe",
            json!({ "audio": "AAAA", "mimeType": "audio/mp4" }),
            json!({ "text": "4 characters of audio/mp4" }),
        ),
    ] {
        let response = visitor.post(&format!("/api/v1/ai/{task}"), body).await;
        assert_eq!(response.status(), 200, "{task}");
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer, json!({ "result": wanted }), "{task}");
    }
    for (path, body) in [
        ("/api/v1/ai/analyze", json!({ "text": "x" })),
        ("/api/v1/ai/batch", json!({ "contents": [] })),
        ("/api/v1/auth/connect", json!({ "provider": "gemini" })),
        (
            "/api/v1/auth/connect",
            json!({ "provider": "nobody", "apiKey": "k" }),
        ),
        (
            "/api/v1/auth/connect",
            json!({ "provider": "gemini", "apiKey": "two lines\nof it" }),
        ),
    ] {
        let response = visitor.post(path, body).await;
        expect_refusal(response, 400, "BAD_REQUEST", None).await;
    }
}

#[tokio::test]
async fn forty_five_requests_a_minute_and_then_no_more() {
    let stack = start(&[]).await;
    let visitor = Visitor::device(&stack).connected("gemini").await;
    for _ in 0..45 {
        visitor.works().await;
    }
    let response = visitor.analyze().await;
    let wait = expect_refusal(response, 429, "RATE_LIMITED", None).await;
    assert!((1..=60).contains(&wait.unwrap()), "{wait:?}");
    assert!(visitor.status().await.connected, "not for the session");
    assert_eq!(edge_metrics(&stack).await.metrics.rate_limited, 1);

    let other = Visitor::device(&stack).connected("gemini").await;
    other.works().await;
    stack
        .faults()
        .update(|f| f.ai_rate_limited = Some(RateLimited { retry_after_s: 30 }));
    let response = other.analyze().await;
    let wait = expect_refusal(response, 429, "RATE_LIMITED", None).await;
    assert_eq!(wait, Some(30));
}

#[tokio::test]
async fn storage_that_is_away_is_kv_unavailable_and_ends_nobody_s_session() {
    let stack = start(&[]).await;
    let mut visitor = Visitor::device(&stack).connected("gemini").await;
    stack.faults().update(|f| f.edge_kv_down = true);
    for path in ["/api/v1/ai/analyze", "/api/v1/auth/disconnect"] {
        let response = visitor.post(path, json!({ "content": "x" })).await;
        let cause = Some("kv_unavailable");
        let wait = expect_refusal(response, 503, "SERVICE_UNAVAILABLE", cause).await;
        assert_eq!(wait, Some(5));
    }
    stack.faults().reset();
    stack.faults().update(|f| f.edge_kv_read_only = true);
    visitor.works().await;
    let response = visitor.connect("gemini", "sk-user-9").await;
    let cause = Some("kv_unavailable");
    expect_refusal(response, 503, "SERVICE_UNAVAILABLE", cause).await;
    stack.faults().reset();
    visitor.works().await;
    let kv_failures = edge_metrics(&stack).await.reliability.unwrap().kv_failures;
    assert_eq!(kv_failures, 3);
}

#[tokio::test]
async fn a_sign_in_that_is_not_configured_is_counted_and_keeps_accounts_out_alone() {
    let stack = start(&[]).await;
    let device = Visitor::device(&stack).connected("gemini").await;
    let account = Visitor::account(&stack).connected("gemini").await;
    for wrong in [SignIn::Missing, SignIn::Partial, SignIn::Invalid] {
        stack.faults().update(|f| f.edge_sign_in = Some(wrong));
        expect_refusal(account.analyze().await, 500, "CONFIG_ERROR", None).await;
        device.works().await;
        Device::edge(&stack).pull(0).await;
    }
    let counted = edge_metrics(&stack).await.reliability.unwrap().auth_config;
    assert_eq!(counted.missing_clerk_config, 1);
    assert_eq!(counted.partial_clerk_config, 1);
    assert_eq!(counted.invalid_clerk_config, 1);
    stack.faults().reset();
    account.works().await;
}

#[tokio::test]
async fn the_provider_can_be_a_process_of_its_own() {
    let provider = run_provider(ProviderOptions::default()).await.unwrap();
    let stack = Stack::builder()
        .settings(short(&[]))
        .provider_url(provider.url())
        .start()
        .await
        .unwrap();
    let visitor = Visitor::device(&stack).connected("gemini").await;
    visitor.works().await;
    assert!(stack.requests().at(Part::Provider).is_empty());
    let direct = Device::at(&provider.url());
    let asked = json!({
        "model": "m",
        "messages": [
            { "role": "system", "content": "Task: cleanup\nAnswer with JSON." },
            { "role": "user", "content": r#"{"content":" a  b "}"# },
        ],
    });
    let response = direct
        .send(direct.post("/v1/chat/completions").json(&asked))
        .await;
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["object"], "chat.completion");
    assert_eq!(
        answer["choices"][0]["message"]["content"],
        r#"{"content":"a b"}"#
    );
    let response = direct
        .send(direct.post("/v1/chat/completions").body("{"))
        .await;
    assert_eq!(response.status(), 400);
    let bare = direct
        .http
        .post(format!("{}/v1/chat/completions", direct.url));
    assert_eq!(direct.send(bare.json(&asked)).await.status(), 401);
    provider.stop().await;
    let response = visitor.analyze().await;
    expect_refusal(response, 503, "NETWORK", Some("provider_network_error")).await;
}
