//! Reading and writing records, as the contract has it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use std::time::Duration;

use evenkeel_proto::wire::{BootstrapAnswer, DeviceList, PullPage, ResetReason, Snapshot};
use serde_json::{Value, json};
use support::{Device, expect_refusal, start, upsert};

#[tokio::test]
async fn pages_end_where_they_should() {
    let stack = start(&[("page_changes_max", "3")]).await;
    let device = Device::edge(&stack);
    let batch: Vec<Value> = (0..7).map(|n| upsert(&format!("n{n}"), 0, "x")).collect();
    assert_eq!(device.pushed(json!(batch)).await.applied.len(), 7);
    let mut cursor = 0;
    let mut sizes = Vec::new();
    loop {
        let page = device.pull(cursor).await;
        sizes.push(page.changes.len());
        cursor = page.next_cursor.0;
        if page.changes.is_empty() {
            break;
        }
    }
    assert_eq!(sizes, [3, 3, 1, 0]);
    let response = device
        .send(device.get("/api/v2/sync/pull?cursor=minus"))
        .await;
    expect_refusal(response, 400, "BAD_REQUEST", None).await;
}

#[tokio::test]
async fn a_pruned_cursor_must_take_a_snapshot() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    for version in 0..5 {
        device.write("n", version, "x").await;
    }
    stack
        .origin()
        .prune_through(evenkeel_proto::wire::Cursor(3))
        .await;
    let page = device.pull(2).await;
    assert!(page.reset_required && page.changes.is_empty());
    assert_eq!(page.reset_reason, Some(ResetReason::CursorTooOld));
    assert_eq!(page.oldest_available_cursor.unwrap().0, 4);
    assert_eq!((page.latest_cursor.unwrap().0, page.next_cursor.0), (5, 5));
    assert_eq!(device.pull(3).await.changes.len(), 2);
    assert_eq!(snapshot(&device, true).await.notes.len(), 1);
}

#[tokio::test]
async fn changes_older_than_the_retention_are_pruned() {
    let stack = start(&[("retention_ms", "1000")]).await;
    let device = Device::edge(&stack);
    device.write("n", 0, "x").await;
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    // Pruning is due once a minute, and whenever it is asked for.
    stack
        .origin()
        .prune_through(evenkeel_proto::wire::Cursor(0))
        .await;
    assert!(device.pull(0).await.reset_required);
}

#[tokio::test]
async fn a_stale_base_is_a_conflict_that_names_the_changed_fields() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    device.write("n", 0, "first").await;
    device.write("n", 1, "second").await;
    let answer = device.write("n", 1, "third").await;
    assert!(answer.applied.is_empty());
    let conflict = &answer.conflicts[0];
    assert_eq!(
        (conflict.base_version.0, conflict.current_version.0),
        (1, 2)
    );
    assert_eq!(conflict.changed_fields, ["content"]);
    let server = conflict.server_note.as_ref().unwrap();
    assert_eq!(server.fields["content"], "second");
    let unknown = device.write("other", 4, "x").await;
    let conflict = &unknown.conflicts[0];
    assert_eq!(conflict.current_version.0, 0);
    assert!(conflict.server_note.is_none());
}

#[tokio::test]
async fn a_deletion_is_a_tombstone_that_can_be_written_again() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    device.write("n", 0, "x").await;
    let delete = json!([{
        "requestId": "delete-it", "op": "delete", "noteId": "n", "baseVersion": 1
    }]);
    let answer = device.pushed(delete).await;
    let tombstone = answer.applied[0].note.as_ref().unwrap();
    assert!(tombstone.is_deleted());
    assert_eq!(tombstone.version.0, 2);
    let page = device.pull(1).await;
    assert_eq!(page.changes[0].op.as_str(), "delete");
    assert!(snapshot(&device, false).await.notes.is_empty());
    assert_eq!(snapshot(&device, true).await.notes.len(), 1);
    let again = device.write("n", 2, "back").await;
    assert!(!again.applied[0].note.as_ref().unwrap().is_deleted());
}

#[tokio::test]
async fn a_repeated_request_id_gets_the_first_answer_until_it_is_forgotten() {
    let stack = start(&[("idempotency_ms", "400")]).await;
    let device = Device::edge(&stack);
    let operation = json!([upsert("n", 0, "once")]);
    let first = device.pushed(operation.clone()).await;
    let second = device.pushed(operation.clone()).await;
    assert_eq!(first, second);
    assert_eq!(device.pull(0).await.changes.len(), 1);
    tokio::time::sleep(Duration::from_millis(450)).await;
    let third = device.pushed(operation).await;
    assert_eq!(third.conflicts.len(), 1, "it conflicts with itself");
}

#[tokio::test]
async fn bad_batches_are_refused_whole() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let many: Vec<Value> = (0..101).map(|n| upsert(&format!("n{n}"), 0, "x")).collect();
    let mut short_id = upsert("n", 0, "x");
    short_id["requestId"] = json!("short");
    let mut other_id = upsert("n", 0, "x");
    other_id["noteId"] = json!("m");
    let mut op = upsert("n", 0, "x");
    op["op"] = json!("explode");
    for batch in [
        json!([]),
        json!(many),
        json!([upsert("ok", 0, "x"), short_id]),
        json!([other_id]),
        json!([op]),
        json!([upsert("", 0, "x")]),
        json!([upsert(&"i".repeat(129), 0, "x")]),
        json!("no list"),
        json!([{"op": 1}]),
    ] {
        let response = device.push(batch).await;
        expect_refusal(response, 400, "BAD_REQUEST", None).await;
    }
    let request = device.post("/api/v2/sync/push").body("{}");
    expect_refusal(device.send(request).await, 415, "BAD_REQUEST", None).await;
    let request = device
        .post("/api/v2/sync/push")
        .header("content-type", "application/json")
        .body(&b"{\"operations\":[\xff\xfe"[..]);
    expect_refusal(device.send(request).await, 400, "BAD_REQUEST", None).await;
    assert!(device.pull(0).await.changes.is_empty());
}

#[tokio::test]
async fn a_full_page_of_the_longest_notes_is_served() {
    let stack = start(&[
        ("rate_limit_requests", "1000"),
        ("proxy_timeout_ms", "9000"),
    ])
    .await;
    let device = Device::edge(&stack);
    let content = "x".repeat(100_000);
    for batch in 0..25 {
        let notes = (0..4).map(|n| upsert(&format!("n{batch}-{n}"), 0, &content));
        let answer = device.pushed(json!(notes.collect::<Vec<_>>())).await;
        assert_eq!(answer.applied.len(), 4);
    }
    let response = device.try_pull(0).await.unwrap();
    let bytes = response.bytes().await.unwrap();
    assert!(bytes.len() > 10_000_000);
    let page: PullPage = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(page.changes.len(), 100);
}

#[tokio::test]
async fn unknown_fields_are_kept() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let mut operation = upsert("n", 0, "x");
    operation["note"]["colour"] = json!({"hue": [1, 2.5, null]});
    device.pushed(json!([operation])).await;
    let page = device.pull(0).await;
    let note = page.changes[0].note.as_ref().unwrap();
    assert_eq!(note.fields["colour"], json!({"hue": [1, 2.5, null]}));
}

#[tokio::test]
async fn cursors_and_versions_can_be_strings() {
    let stack = start(&[("cursor_as", "string")]).await;
    let device = Device::edge(&stack);
    let mut events = device.stream().await;
    events.expect("ready").await;
    let response = device.push(json!([upsert("n", 0, "x")])).await;
    let raw: Value = response.json().await.unwrap();
    assert_eq!(raw["nextCursor"], "1");
    assert_eq!(raw["applied"][0]["cursor"], "1");
    assert_eq!(raw["applied"][0]["note"]["version"], "1");
    assert_eq!(events.expect("sync").await["cursor"], "1");
    let raw: Value = device.try_pull(0).await.unwrap().json().await.unwrap();
    assert_eq!(raw["changes"][0]["cursor"], "1");

    let stack = start(&[("cursor_as", "mixed")]).await;
    let device = Device::edge(&stack);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let raw: Value = device.try_pull(0).await.unwrap().json().await.unwrap();
        seen.push(raw["nextCursor"].clone());
    }
    assert_eq!(seen, [json!(0), json!("0")]);
}

#[tokio::test]
async fn a_bootstrap_works_once() {
    let stack = start(&[("bootstrap_notes_max", "3")]).await;
    let device = Device::edge(&stack);
    let mut events = device.stream().await;
    events.expect("ready").await;
    let notes = |count: u64| -> Vec<Value> {
        let note = |n| {
            json!({"id": format!("b{n}"), "version": 1, "createdAt": 1, "updatedAt": 2,
            "content": "old"})
        };
        (0..count).map(note).collect()
    };
    let bootstrap = async |count: u64| {
        let body = json!({"notes": notes(count), "sourceFingerprint": "f1"});
        let request = device.post("/api/v2/sync/bootstrap").json(&body);
        device.send(request).await
    };
    expect_refusal(bootstrap(4).await, 400, "BAD_REQUEST", None).await;
    let first: BootstrapAnswer = bootstrap(3).await.json().await.unwrap();
    assert_eq!((first.imported, first.already_bootstrapped), (3, false));
    assert_eq!(events.expect("sync").await["cursor"], json!(3));
    let second: BootstrapAnswer = bootstrap(3).await.json().await.unwrap();
    assert_eq!((second.imported, second.already_bootstrapped), (0, true));
    assert_eq!(device.pull(0).await.changes.len(), 3);
}

#[tokio::test]
async fn devices_are_listed_and_can_be_revoked_and_nameless_ones_multiply() {
    let stack = start(&[]).await;
    let (phone, mut laptop) = (Device::edge(&stack), Device::edge(&stack));
    phone.pull(0).await;
    laptop.pull(0).await;
    let raw: Value = phone
        .send(phone.get("/api/v2/devices"))
        .await
        .json()
        .await
        .unwrap();
    for device in raw["devices"].as_array().unwrap() {
        let names: Vec<_> = device.as_object().unwrap().keys().collect();
        assert_eq!(
            names,
            [
                "id",
                "label",
                "platform",
                "lastSeenAt",
                "createdAt",
                "revokedAt"
            ]
        );
    }
    let list = devices(&phone).await;
    assert_eq!(list.devices.len(), 2);
    assert_eq!(list.current_device_id.as_deref(), Some(phone.id.as_str()));
    let path = format!("/api/v2/devices/{}/revoke", laptop.id);
    let response = phone.send(phone.post(&path)).await;
    let done: Value = response.json().await.unwrap();
    assert_eq!(done, json!({"ok": true, "revokedDeviceId": laptop.id}));
    let refused = laptop.try_pull(0).await.unwrap();
    expect_refusal(refused, 403, "DEVICE_REVOKED", None).await;
    let list = devices(&phone).await;
    let revoked = list.devices.iter().find(|d| d.id == laptop.id).unwrap();
    assert!(revoked.revoked_at.is_some());
    for id in ["", "not-a-uuid", "00000000-0000-0000-0000-000000000000"] {
        id.clone_into(&mut laptop.id);
        laptop.pull(0).await;
    }
    assert_eq!(
        devices(&phone).await.devices.len(),
        5,
        "a new one each time"
    );
    for path in [
        "/api/v2/devices/nobody/revoke",
        "/api/v2/devices/6f1c5a0e-8a3b-4c57-9d1e-0123456789ab/revoke",
    ] {
        let response = phone.send(phone.post(path)).await;
        expect_refusal(response, 404, "NOT_FOUND", None).await;
    }
}

async fn devices(device: &Device) -> DeviceList {
    let response = device.send(device.get("/api/v2/devices")).await;
    response.json().await.unwrap()
}

async fn snapshot(device: &Device, include_deleted: bool) -> Snapshot {
    let path = format!("/api/v2/notes?includeDeleted={include_deleted}");
    device.send(device.get(&path)).await.json().await.unwrap()
}
