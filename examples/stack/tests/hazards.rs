//! The contract's hazards, each made to happen.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails")]

mod support;

use std::time::Duration;

use evenkeel_proto::wire::{Cursor, Snapshot};
use evenkeel_stack::{LateCommits, SnapshotGap};
use serde_json::{Value, json};
use support::{Device, eventually, expect_refusal, start, upsert};

#[tokio::test]
async fn hazard_2_a_lower_cursor_becomes_visible_after_a_higher_one() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let mut events = device.stream().await;
    events.expect("ready").await;
    let late = LateCommits {
        delay_ms: 150,
        every: 2,
    };
    stack.faults().update(|f| f.late_commits = Some(late));
    let slow = device.push(json!([upsert("slow", 0, "late")]));
    let quick = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let cursor = device.write("quick", 0, "early").await.next_cursor.0;
        let page = device.pull(0).await;
        assert_eq!(page.changes.len(), 1, "only the later number is visible");
        assert_eq!(page.next_cursor.0, cursor);
        cursor
    };
    let (answer, higher) = tokio::join!(slow, quick);
    let answer: Value = answer.json().await.unwrap();
    let lower = answer["applied"][0]["cursor"].as_u64().unwrap();
    assert!(lower < higher, "{lower} and {higher}");
    assert!(
        device.pull(higher).await.changes.is_empty(),
        "missed for ever"
    );
    assert_eq!(device.pull(lower - 1).await.changes.len(), 2);
    assert_eq!(events.expect("sync").await["cursor"], json!(higher));
    assert_eq!(events.expect("sync").await["cursor"], json!(lower));
}

#[tokio::test]
async fn hazard_3_a_write_between_rows_and_cursor_is_in_neither() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let before = device.write("n", 0, "x").await.next_cursor.0;
    let gap = SnapshotGap {
        delay_ms: 20,
        write: true,
    };
    stack.faults().update(|f| f.snapshot_gap = Some(gap));
    let response = device.send(device.get("/api/v2/notes")).await;
    let snapshot: Snapshot = response.json().await.unwrap();
    assert_eq!(snapshot.notes.len(), 1);
    assert_eq!(snapshot.cursor.0, before + 1);
    assert!(device.pull(snapshot.cursor.0).await.changes.is_empty());
    let missed = device.pull(before).await;
    assert_eq!(missed.changes.len(), 1);
    stack.faults().reset();
    let response = device.send(device.get("/api/v2/notes")).await;
    let whole: Snapshot = response.json().await.unwrap();
    assert_eq!(whole.notes.len(), 2);
}

#[tokio::test]
async fn hazard_4_an_operation_is_in_neither_list() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    let without_note = json!({
        "requestId": "no-note-here", "op": "upsert", "noteId": "empty", "baseVersion": 0
    });
    let answer = device
        .pushed(json!([without_note, upsert("a", 0, "x")]))
        .await;
    assert_eq!((answer.applied.len(), answer.conflicts.len()), (1, 0));

    stack.faults().update(|f| f.operations_skipped = 1);
    let skipped = upsert("b", 0, "x");
    let batch = json!([skipped, upsert("c", 0, "x")]);
    let answer = device.pushed(batch).await;
    assert_eq!((answer.applied.len(), answer.conflicts.len()), (1, 0));
    assert_eq!(device.pull(0).await.changes.len(), 2);
    let again = device.pushed(json!([skipped])).await;
    assert_eq!(again.applied.len(), 1, "only that once");
}

#[tokio::test]
async fn hazard_6_an_answer_is_lost_after_the_push_was_applied() {
    let stack = start(&[]).await;
    let direct = Device::direct(&stack);
    let operation = json!([upsert("n", 0, "x")]);
    stack.faults().update(|f| f.push_answers_lost = 1);
    let body = json!({ "operations": operation });
    let request = direct.post("/api/v2/sync/push").json(&body);
    assert!(support::within(request.send()).await.is_err());
    assert_eq!(direct.pull(0).await.changes.len(), 1);
    let repeated = direct.pushed(operation).await;
    assert_eq!(repeated.applied[0].cursor.0, 1, "the first answer");

    // Through the edge: its own repeat gets the first answer, unless that is lost too.
    let edge = Device::edge(&stack);
    stack.faults().update(|f| f.push_answers_lost = 1);
    assert_eq!(edge.write("m", 0, "x").await.applied.len(), 1);
    stack.faults().update(|f| f.push_answers_lost = 2);
    let response = edge.push(json!([upsert("o", 0, "x")])).await;
    let cause = Some("network_error");
    expect_refusal(response, 503, "SERVICE_UNAVAILABLE", cause).await;
    assert_eq!(edge.pull(0).await.changes.len(), 3);
}

#[tokio::test]
async fn a_5xx_in_mid_batch_leaves_the_earlier_operations_applied() {
    let stack = start(&[]).await;
    let device = Device::direct(&stack);
    stack.faults().update(|f| f.push_breaks_after = Some(2));
    let batch: Vec<Value> = (0..4).map(|n| upsert(&format!("n{n}"), 0, "x")).collect();
    let response = device.push(json!(batch)).await;
    expect_refusal(response, 500, "INTERNAL_ERROR", None).await;
    assert_eq!(device.pull(0).await.changes.len(), 2);
    stack.faults().reset();
    let answer = device.pushed(json!(batch)).await;
    assert_eq!(answer.applied.len(), 4);
    assert_eq!(device.pull(0).await.changes.len(), 4, "none twice");
}

#[tokio::test]
async fn a_push_whose_client_went_away_is_still_announced() {
    let stack = start(&[]).await;
    let device = Device::direct(&stack);
    let mut events = device.stream().await;
    events.expect("ready").await;
    let late = LateCommits {
        delay_ms: 100,
        every: 1,
    };
    stack.faults().update(|f| f.late_commits = Some(late));
    let push = device.push(json!([upsert("n", 0, "x")]));
    let cut_short = tokio::time::timeout(Duration::from_millis(40), push).await;
    assert!(cut_short.is_err());
    assert_eq!(events.expect("sync").await["cursor"], json!(1));
}

#[tokio::test]
async fn hazard_10_a_restored_database_has_lower_cursors() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    device.write("kept", 0, "kept").await;
    device.write("changed", 0, "before").await;
    device.write("changed", 1, "after").await;
    let lost = device.write("lost", 0, "lost").await.next_cursor;
    stack.origin().restore_to(Cursor(2)).await;
    assert!(device.pull(lost.0).await.changes.is_empty());
    let response = device.send(device.get("/api/v2/notes")).await;
    let snapshot: Snapshot = response.json().await.unwrap();
    assert_eq!(snapshot.cursor, Cursor(2));
    let contents: Vec<&Value> = snapshot
        .notes
        .iter()
        .map(|n| &n.fields["content"])
        .collect();
    assert_eq!(contents, ["before", "kept"]);
    let again = device.write("changed", 1, "once more").await;
    assert_eq!(again.next_cursor, Cursor(3));
}

#[tokio::test]
async fn a_restore_that_is_asked_for_by_name_is_done_once() {
    let stack = start(&[]).await;
    let device = Device::edge(&stack);
    device.write("n", 0, "x").await;
    let faults = stack.faults();
    faults.set("database_restored_to", json!(0)).unwrap();
    eventually(async || faults.now().database_restored_to.is_none()).await;
    assert!(device.pull(0).await.changes.is_empty());
    device.write("n", 0, "y").await;
    assert_eq!(device.pull(0).await.changes.len(), 1);
}
