//! Changing the secret under which the keys of AI sessions are kept.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use evenkeel_proto::wire::{Secret, SecretRotation};
use evenkeel_stack::{SecretName, SecretState, Stack};
use serde_json::{Value, json};
use support::{Device, Visitor, edge_metrics, expect_refusal, short, start};

const NEW: &str = "the new secret, of more than thirty-two bytes";
const OTHER: &str = "another secret, of more than thirty-two bytes";

#[tokio::test]
async fn sessions_work_through_a_rotation_and_move_to_the_new_secret_when_they_are_used() {
    let stack = start(&[]).await;
    let device = Visitor::device(&stack).connected("gemini").await;
    let account = Visitor::account(&stack).connected("gemini").await;
    let idle = Visitor::device(&stack).connected("gemini").await;
    device.works().await;
    assert_eq!(rotation(&stack).await, SecretRotation::default());

    stack.secrets().rotate(Secret::new(NEW));
    device.works().await;
    account.works().await;
    let moved = rotation(&stack).await;
    assert_eq!(moved.fallback_decrypts, 2);
    assert_eq!(moved.reencrypt_successes, 2);
    device.works().await;
    account.works().await;
    assert_eq!(rotation(&stack).await, moved, "no fallback a second time");

    stack.secrets().set(SecretName::Previous, None);
    device.works().await;
    account.works().await;
    // It was not used in the overlap.
    assert!(idle.status().await.connected, "the status opens no key");
    expect_refusal(idle.analyze().await, 401, "AUTH_REQUIRED", None).await;
    let lost = rotation(&stack).await;
    assert_eq!(lost.decrypt_failures, 1);
    assert_eq!(lost.reencrypt_failures, 0);
}

#[tokio::test]
async fn a_restart_sets_the_counters_to_zero_and_keeps_the_sessions() {
    let stack = start(&[]).await;
    let visitor = Visitor::account(&stack).connected("gemini").await;
    stack.secrets().rotate(Secret::new(NEW));
    visitor.works().await;
    let mut events = Device::edge(&stack).stream().await;
    events.expect("ready").await;
    stack.restart_edge();
    assert_eq!(events.try_next().await.unwrap(), None, "a proper end");
    let metrics = edge_metrics(&stack).await;
    assert_eq!(metrics.metrics.requests, 0);
    assert_eq!(rotation(&stack).await, SecretRotation::default());
    visitor.works().await;
    assert_eq!(rotation(&stack).await, SecretRotation::default());
}

#[tokio::test]
async fn a_new_secret_without_the_old_one_beside_it_loses_the_sessions_until_it_is_back() {
    let stack = start(&[("encryption_secret", OTHER)]).await;
    let visitor = Visitor::account(&stack).connected("gemini").await;
    stack
        .secrets()
        .set(SecretName::Active, Some(Secret::new(NEW)));
    expect_refusal(visitor.analyze().await, 401, "AUTH_REQUIRED", None).await;
    stack
        .secrets()
        .set(SecretName::Previous, Some(Secret::new(OTHER)));
    visitor.works().await;
    let counted = rotation(&stack).await;
    assert_eq!(counted.decrypt_failures, 1);
    assert_eq!(counted.reencrypt_successes, 1);
}

#[tokio::test]
async fn storage_that_takes_no_writes_leaves_the_key_under_the_old_secret() {
    let stack = start(&[]).await;
    let visitor = Visitor::account(&stack).connected("gemini").await;
    stack.secrets().rotate(Secret::new(NEW));
    stack.faults().update(|f| f.edge_kv_read_only = true);
    visitor.works().await;
    let counted = rotation(&stack).await;
    assert_eq!(counted.reencrypt_failures, 1);
    assert_eq!(counted.reencrypt_successes, 0);
    stack.faults().reset();
    visitor.works().await;
    assert_eq!(rotation(&stack).await.reencrypt_successes, 1);
}

#[tokio::test]
async fn secrets_that_cannot_be_used_are_counted_and_not_used() {
    let stack = start(&[]).await;
    let visitor = Visitor::account(&stack).connected("gemini").await;
    stack.secrets().rotate(Secret::new("too short"));
    expect_refusal(visitor.analyze().await, 500, "CONFIG_ERROR", None).await;
    stack
        .secrets()
        .set(SecretName::Active, Some(Secret::new(NEW)));
    stack
        .secrets()
        .set(SecretName::Previous, Some(Secret::new("too short")));
    expect_refusal(visitor.analyze().await, 401, "AUTH_REQUIRED", None).await;
    let runtime = edge_metrics(&stack)
        .await
        .reliability
        .unwrap()
        .runtime_config;
    assert_eq!(runtime.invalid_encryption_secret, 1);
    assert_eq!(runtime.invalid_rotation_secret, 1);
}

#[tokio::test]
async fn an_operator_rotates_over_http_and_cannot_read_a_secret_back() {
    let stack = start(&[("encryption_secret", OTHER)]).await;
    let visitor = Visitor::device(&stack).connected("gemini").await;
    let control = Device::at(stack.control_url());
    let url = |path: &str| format!("{}{path}", control.url);
    let put = async |name: &str, secret: &str| -> Value {
        let request = control.http.put(url(&format!("/secrets/{name}")));
        let response = control.send(request.json(secret)).await;
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    };
    put("KEY_ENCRYPTION_SECRET_PREV", OTHER).await;
    let told = put("KEY_ENCRYPTION_SECRET", NEW).await;
    let both = json!({ "KEY_ENCRYPTION_SECRET": "set", "KEY_ENCRYPTION_SECRET_PREV": "set" });
    assert_eq!(told, both);
    let response = control.send(control.post("/edge/restart")).await;
    assert_eq!(response.status(), 200);
    visitor.works().await;
    assert_eq!(rotation(&stack).await.reencrypt_successes, 1);
    let delete = control
        .http
        .delete(url("/secrets/KEY_ENCRYPTION_SECRET_PREV"));
    assert_eq!(control.send(delete).await.status(), 200);
    assert_eq!(
        stack.secrets().state(SecretName::Previous),
        SecretState::Unset
    );
    visitor.works().await;

    let request = control.http.put(url("/secrets/SOMETHING"));
    let response = control.send(request.json("x")).await;
    assert_eq!(response.status(), 404);
    let request = control.http.put(url("/secrets/KEY_ENCRYPTION_SECRET"));
    let response = control.send(request.body(NEW)).await;
    assert_eq!(response.status(), 400);
    assert!(!response.text().await.unwrap().contains("the new secret"));
}

#[tokio::test]
async fn sessions_outlive_the_process_and_lie_encrypted_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let stack_in = || {
        let settings = short(&[("encryption_secret", OTHER)]);
        let builder = Stack::builder().settings(settings).data(folder.path());
        builder.start()
    };
    let stack = stack_in().await.unwrap();
    let device = Visitor::device(&stack).connected("gemini").await;
    let cookie = device.cookie.clone().unwrap();
    stack.stop().await;
    let kept = std::fs::read(folder.path().join("edge.db")).unwrap();
    for secret in ["sk-user-7", cookie.as_str(), OTHER] {
        let found = kept.windows(secret.len()).any(|w| w == secret.as_bytes());
        assert!(!found, "in the file as it is");
    }
    let stack = stack_in().await.unwrap();
    let mut again = Visitor::device(&stack);
    again.cookie = Some(cookie);
    again.works().await;
    stack.stop().await;
}

async fn rotation(stack: &Stack) -> SecretRotation {
    edge_metrics(stack)
        .await
        .reliability
        .unwrap()
        .secret_rotation
}
