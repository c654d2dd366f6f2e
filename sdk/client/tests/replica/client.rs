//! The store under a client, against a service on a real socket.

use std::time::{Duration, Instant};

use evenkeel::store::{Resolution, SqliteStore, Verdict};
use evenkeel::{Change, Cursor, Origin, OutboxLevel, Replica as _, Secret, SyncClient, SyncState};
use serde_json::json;

use crate::bench::{Bench, Place, content, fast};
use crate::common::{Reply, Service, TOKEN, answer, eventually, refusal, until};

pub(crate) fn client(service: &Service, store: &SqliteStore) -> SyncClient {
    let client = SyncClient::builder(&service.url)
        .token(Secret::new(TOKEN))
        .replica(store.clone())
        .build()
        .unwrap();
    client.start().unwrap();
    client
}

async fn settled(client: &SyncClient) {
    until(client, "settled", |s| {
        s.state == SyncState::Synced && s.pending == 0
    })
    .await;
}

#[tokio::test]
async fn what_was_written_offline_goes_out_after_a_restart() {
    let service = Service::start().await;
    let place = Place::new();
    let store = place.open().await;
    for n in 0..150 {
        store.put(format!("n{n}"), content("milk")).await.unwrap();
    }
    store.close().await.unwrap();

    service.write("theirs", "x");
    let store = place.open().await;
    let client = client(&service, &store);
    assert_eq!(client.status().pending, 150);
    let handle = store.put("n7", content("eggs")).await.unwrap();
    let verdict = tokio::time::timeout(Duration::from_secs(20), handle).await;
    let verdict = verdict.unwrap().unwrap();
    assert!(
        matches!(verdict, Verdict::Acknowledged { .. }),
        "{verdict:?}"
    );
    settled(&client).await;
    assert_eq!(service.content("n149").unwrap(), "milk");
    assert_eq!(service.content("n7").unwrap(), "eggs");
    assert_eq!(store.text("theirs").await.unwrap(), "x");
    client.stop().await;
}

#[tokio::test]
async fn what_was_settled_is_not_read_again_after_the_next_start() {
    let service = Service::start().await;
    service.write("theirs", "x");
    let pulls = || service.seen("/api/v2/sync/pull").len();
    let place = Place::new();
    let store = place.open().await;
    let first = client(&service, &store);
    let last = Instant::now() + Duration::from_secs(60);
    while store.settled().await.unwrap() < Cursor(1) {
        assert!(Instant::now() < last, "nothing was settled");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    first.stop().await;
    store.close().await.unwrap();

    let store = place.open().await;
    assert_eq!(store.settled().await.unwrap(), Cursor(1));
    let before = pulls();
    let second = client(&service, &store);
    settled(&second).await;
    let asked = &service.seen("/api/v2/sync/pull")[before..];
    assert_eq!(asked[0].query, "cursor=0", "what came last is looked at");
    // Twice the time after which it would be.
    let synced = pulls();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(pulls(), synced);
    second.stop().await;
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_bytes() {
    let service = Service::start().await;
    let place = Place::new();
    let store = place.open().await;
    service.script(|seen| match seen.path.as_str() {
        "/api/v2/sync/push" => Reply::Full(refusal(503, "SERVICE_UNAVAILABLE")),
        _ => Reply::Healthy,
    });
    let first = client(&service, &store);
    store.put("a", content("x")).await.unwrap();
    eventually("a push", || !service.seen("/api/v2/sync/push").is_empty()).await;
    first.stop().await;
    drop(first);
    store.close().await.unwrap();

    service.heal();
    let store = place.open().await;
    let second = client(&service, &store);
    settled(&second).await;
    let pushes = service.seen("/api/v2/sync/push");
    assert!(pushes.len() >= 2);
    assert!(pushes.iter().all(|push| push.body == pushes[0].body));
    second.stop().await;
}

#[tokio::test]
async fn a_conflict_is_decided_and_the_decision_sent() {
    let service = Service::start().await;
    service.write("n", "base");
    let place = Place::new();
    let store = place.open().await;
    let client = client(&service, &store);
    settled(&client).await;
    // Both sides write while neither hears of the other.
    client.stop().await;
    service.write("n", "theirs");
    let handle = store.put("n", content("ours")).await.unwrap();
    service.script(|seen| match seen.path.as_str() {
        "/api/v2/sync/pull" => Reply::Full(answer(&json!({"changes": [], "nextCursor": 1}))),
        _ => Reply::Healthy,
    });
    client.start().unwrap();
    until(&client, "in conflict", |s| s.conflicts == 1).await;
    assert_eq!(handle.await, Ok(Verdict::Conflicted));
    service.heal();
    let mut changes = client.changes();
    let both = Resolution::Merged(content("both"));
    let handle = store.resolve("n", both).await.unwrap();
    let change = changes.next().await.unwrap().unwrap();
    assert!(
        matches!(&change, Change::Upserted { id, origin: Origin::Local, .. } if id == "n"),
        "{change:?}"
    );
    assert!(matches!(handle.await, Ok(Verdict::Acknowledged { .. })));
    until(&client, "decided", |s| s.conflicts == 0 && s.pending == 0).await;
    assert_eq!(service.content("n").unwrap(), "both");
    client.stop().await;
}

#[tokio::test]
async fn the_status_says_how_full_the_outbox_is() {
    let service = Service::start().await;
    let place = Place::new();
    let mut options = fast();
    (options.outbox_soft_max, options.outbox_hard_max) = (2, 3);
    let store = place.open_with(options).await;
    service.script(|seen| match seen.path.as_str() {
        "/api/v2/sync/push" => Reply::Full(refusal(503, "SERVICE_UNAVAILABLE")),
        _ => Reply::Healthy,
    });
    let client = client(&service, &store);
    let levels = [
        ("a", OutboxLevel::Normal),
        ("b", OutboxLevel::Backlog),
        ("c", OutboxLevel::Blocked),
    ];
    for (id, level) in levels {
        store.put(id, content("x")).await.unwrap();
        until(&client, level.as_str(), |s| s.outbox == level).await;
    }
    service.heal();
    client.retry_now();
    let status = until(&client, "sent", |s| s.pending == 0).await;
    assert_eq!(status.outbox, OutboxLevel::Normal);
    client.stop().await;
}
