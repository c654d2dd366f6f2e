//! Data both ways, on real sockets.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod common;

use std::time::Duration;

use common::{Reply, Service, answer, client, eventually, refusal, synced, until};
use evenkeel::{Change, Cursor, Origin, SyncOnceError, SyncState};
use serde_json::{Map, Value, json};

fn content(text: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("content".into(), text.into());
    fields
}

#[tokio::test]
async fn what_others_write_arrives_and_what_the_app_writes_goes_out() {
    let service = Service::start().await;
    service.write("theirs", "one");
    let (client, notes) = client(&service.url);
    notes.put("ours", content("milk")).unwrap();
    assert_eq!(client.status().pending, 1);
    client.start().unwrap();
    let status = synced(&client).await;
    assert_eq!(status.pending, 0);
    assert_eq!(notes.get("theirs").unwrap().fields["content"], "one");
    assert_eq!(service.content("ours").unwrap(), "milk");
    assert_eq!(notes.get("ours").unwrap().version.0, 1);

    service.write("theirs", "two");
    eventually("the announced change", || {
        notes.get("theirs").unwrap().fields["content"] == "two"
    })
    .await;
    notes.put("ours", content("cheese")).unwrap();
    eventually("the write at the server", || {
        service.content("ours").as_deref() == Some("cheese")
    })
    .await;
    let status = until(&client, "synced again", |s| {
        s.state == SyncState::Synced && s.pending == 0
    })
    .await;
    assert!(status.cursor >= Some(Cursor(3)), "{status:?}");
    client.stop().await;
}

#[tokio::test]
async fn changes_tell_who_did_what() {
    let service = Service::start().await;
    let (client, notes) = client(&service.url);
    let mut changes = client.changes();
    notes.put("a", content("x")).unwrap();
    client.start().unwrap();
    let first = changes.next().await.unwrap().unwrap();
    assert!(
        matches!(&first, Change::Upserted { id, origin: Origin::Local, .. } if id == "a"),
        "{first:?}"
    );
    service.write("b", "y");
    loop {
        if let Change::Upserted { id, origin, .. } = changes.next().await.unwrap().unwrap()
            && id == "b"
        {
            assert_eq!(origin, Origin::Remote);
            break;
        }
    }
}

#[tokio::test]
async fn a_conflict_keeps_both_sides_until_the_app_decides() {
    let service = Service::start().await;
    service.write("n", "base");
    let (client, notes) = client(&service.url);
    client.start().unwrap();
    synced(&client).await;
    // Both sides write while neither hears of the other.
    client.suspend(Duration::from_secs(5)).await.unwrap();
    service.write("n", "theirs");
    notes.put("n", content("ours")).unwrap();
    service.script(|seen| match seen.path.as_str() {
        "/api/v2/sync/pull" => Reply::Full(answer(&json!({"changes": [], "nextCursor": 1}))),
        _ => Reply::Healthy,
    });
    client.resume();
    until(&client, "in conflict", |s| s.conflicts == 1).await;
    let conflicts = notes.conflicts();
    let [conflict] = conflicts.as_slice() else {
        panic!("{conflicts:?}");
    };
    assert_eq!(conflict.local.as_ref().unwrap().fields["content"], "ours");
    assert_eq!(
        conflict.server.as_ref().unwrap().fields["content"],
        "theirs"
    );
    assert_eq!(notes.get("n").unwrap().fields["content"], "ours");
    service.heal();
    notes.put("n", content("both")).unwrap();
    until(&client, "settled", |s| s.conflicts == 0 && s.pending == 0).await;
    assert_eq!(service.content("n").unwrap(), "both");
}

#[tokio::test]
async fn a_write_that_answers_leave_out_is_sent_twice_and_then_kept_as_refused() {
    let service = Service::start().await;
    let (client, notes) = client(&service.url);
    notes.put("skip-me", content("x")).unwrap();
    notes.put("fine", content("y")).unwrap();
    client.start().unwrap();
    let status = until(&client, "refused", |s| s.rejected == 1).await;
    assert_eq!(status.pending, 0);
    let with_it = service.seen("/api/v2/sync/push");
    let with_it = with_it
        .iter()
        .filter(|seen| String::from_utf8_lossy(&seen.body).contains("skip-me"))
        .count();
    assert_eq!(with_it, 2);
    assert_eq!(notes.refused()[0].id, "skip-me");
    assert_eq!(service.content("fine").unwrap(), "y");
}

#[tokio::test]
async fn one_operation_that_the_service_refuses_is_isolated() {
    let service = Service::start().await;
    service.script(|seen| {
        let poisoned = String::from_utf8_lossy(&seen.body).contains("poison");
        if seen.path == "/api/v2/sync/push" && poisoned {
            return Reply::Full(refusal(400, "BAD_REQUEST"));
        }
        Reply::Healthy
    });
    let (client, notes) = client(&service.url);
    notes.put("a", content("1")).unwrap();
    notes.put("b", content("poison")).unwrap();
    notes.put("c", content("3")).unwrap();
    client.start().unwrap();
    until(&client, "isolated", |s| s.rejected == 1 && s.pending == 0).await;
    assert_eq!(service.content("a").unwrap(), "1");
    assert_eq!(service.content("c").unwrap(), "3");
    assert_eq!(notes.refused()[0].id, "b");
}

#[tokio::test]
async fn a_lost_answer_is_repeated_with_the_same_id_and_bytes() {
    let service = Service::start().await;
    let lost = std::sync::atomic::AtomicBool::new(false);
    service.script(move |seen| {
        let first = seen.path == "/api/v2/sync/push"
            && !lost.swap(true, std::sync::atomic::Ordering::SeqCst);
        if first {
            return Reply::Full(common::unavailable("upstream_5xx", None));
        }
        Reply::Healthy
    });
    let (client, notes) = client(&service.url);
    notes.put("a", content("1")).unwrap();
    client.start().unwrap();
    until(&client, "sent", |s| {
        s.pending == 0 && s.state == SyncState::Synced
    })
    .await;
    let pushes = service.seen("/api/v2/sync/push");
    assert_eq!(pushes.len(), 2);
    assert_eq!(pushes[0].body, pushes[1].body);
}

#[tokio::test]
async fn a_cursor_that_is_too_old_leads_to_a_snapshot() {
    let service = Service::start().await;
    service.write("a", "1");
    let reset = std::sync::atomic::AtomicBool::new(false);
    service.script(move |seen| {
        let first = seen.path == "/api/v2/sync/pull"
            && !reset.swap(true, std::sync::atomic::Ordering::SeqCst);
        if first {
            return Reply::Full(answer(&json!({"changes": [], "resetRequired": true,
                "resetReason": "CURSOR_TOO_OLD", "nextCursor": 1})));
        }
        Reply::Healthy
    });
    let (client, notes) = client(&service.url);
    let mut changes = client.changes();
    client.start().unwrap();
    synced(&client).await;
    assert_eq!(service.seen("/api/v2/notes").len(), 1);
    assert_eq!(
        service.seen("/api/v2/notes")[0].query,
        "includeDeleted=true"
    );
    assert_eq!(notes.len(), 1);
    let change = changes.next().await.unwrap().unwrap();
    assert_eq!(change, Change::Replaced { records: 1 });
}

#[tokio::test]
async fn sync_once_brings_a_stopped_client_up_to_date_and_back_to_rest() {
    let service = Service::start().await;
    service.write("a", "1");
    let (client, notes) = client(&service.url);
    notes.put("b", content("2")).unwrap();
    let report = client.sync_once(Duration::from_secs(10)).await.unwrap();
    assert_eq!(notes.get("a").unwrap().fields["content"], "1");
    assert_eq!(service.content("b").unwrap(), "2");
    assert!(report.changes_applied >= 2, "{report:?}");
    assert_eq!(client.status().lifecycle, evenkeel::Lifecycle::Stopped);
    let sent = service.requests();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(service.requests(), sent);
}

#[tokio::test]
async fn sync_once_resumes_a_suspended_client_and_suspends_it_again() {
    let service = Service::start().await;
    let (client, notes) = client(&service.url);
    client.start().unwrap();
    synced(&client).await;
    client.suspend(Duration::from_secs(5)).await.unwrap();
    service.write("a", "1");
    client.sync_once(Duration::from_secs(10)).await.unwrap();
    assert_eq!(notes.len(), 1);
    assert_eq!(client.status().lifecycle, evenkeel::Lifecycle::Suspended);
    client.resume();
    synced(&client).await;
}

#[tokio::test]
async fn sync_once_gives_up_as_soon_as_the_deadline_cannot_be_met() {
    let service = Service::start().await;
    service.script(|_| Reply::Full(common::unavailable("circuit_open", Some(60))));
    let (client, _) = client(&service.url);
    let begin = std::time::Instant::now();
    let error = client
        .sync_once(Duration::from_secs(30))
        .await
        .expect_err("the circuit is open");
    assert!(begin.elapsed() < Duration::from_secs(5));
    let SyncOnceError::Failed { status } = error else {
        panic!("{error}");
    };
    assert_eq!(status.cause, Some(evenkeel::Cause::CircuitOpen));
    service.script(|_| Reply::Hang);
    let (client, _) = common::client(&service.url);
    let error = client.sync_once(Duration::from_millis(100)).await;
    assert!(matches!(error, Err(SyncOnceError::Deadline { .. })));
}
