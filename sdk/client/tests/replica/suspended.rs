//! Suspending a client leaves nothing of its store open.

use std::path::Path;
use std::time::Duration;

use evenkeel::store::{StoreError, Verdict};
use evenkeel::{Lane, Lifecycle, SuspendError, SyncState};
use rusqlite::{Connection, TransactionBehavior};

use crate::bench::{Bench, Place, content};
use crate::client::client;
use crate::common::{Reply, Service, eventually, until};

const SOON: Duration = Duration::from_secs(5);

/// What of the store this process has open.
#[cfg(target_os = "linux")]
fn descriptors(place: &Place) -> Vec<String> {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let open = open.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
    let dir = place.path();
    let dir = dir.parent().map(Path::to_owned).unwrap();
    let ours = open.filter(|path| path.starts_with(&dir));
    ours.map(|path| path.display().to_string()).collect()
}

/// Fails at once where anybody has a lock.
fn take_for_oneself(place: &Place) {
    let mut db = Connection::open(place.path()).unwrap();
    db.busy_timeout(Duration::ZERO).unwrap();
    db.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    let tx = db.transaction_with_behavior(TransactionBehavior::Exclusive);
    tx.unwrap().commit().unwrap();
    drop(db);
    let lease = format!("{}-lease", place.path().display());
    std::fs::File::open(lease).unwrap().try_lock().unwrap();
}

#[tokio::test]
async fn a_suspended_store_has_no_file_open_and_goes_on_where_it_was() {
    let service = Service::start().await;
    let place = Place::new();
    let store = place.open().await;
    let client = client(&service, &store);
    for round in 0..5 {
        service.write("theirs", &round.to_string());
        assert!(Bench::put(&store, "ours", &round.to_string()).await);
        let handle = store.put("more", content("x")).await.unwrap();
        if round % 2 == 0 {
            synced(&client).await;
        }
        let suspended = client.suspend(SOON).await;
        suspended.unwrap();
        #[cfg(target_os = "linux")]
        assert_eq!(descriptors(&place), Vec::<String>::new());
        take_for_oneself(&place);
        assert_eq!(client.status().lifecycle, Lifecycle::Suspended);
        assert_eq!(store.get("ours").await.unwrap_err(), StoreError::Suspended);
        let put = store.put("ours", content("y")).await;
        assert_eq!(put.unwrap_err(), StoreError::Suspended);
        let moved = place.path().with_extension("elsewhere");
        std::fs::rename(place.path(), &moved).unwrap();
        std::fs::rename(&moved, place.path()).unwrap();
        client.resume();
        synced(&client).await;
        assert_eq!(store.text("theirs").await.unwrap(), round.to_string());
        assert_eq!(service.content("ours").unwrap(), round.to_string());
        let verdict = tokio::time::timeout(SOON, handle).await.unwrap();
        assert!(
            matches!(verdict, Ok(Verdict::Acknowledged { .. })),
            "{verdict:?}"
        );
    }
    client.stop().await;
    assert_eq!(
        store.text("ours").await.unwrap(),
        "4",
        "a stop leaves it open"
    );
}

async fn synced(client: &evenkeel::SyncClient) {
    until(client, "synced", |s| {
        s.lifecycle == Lifecycle::Running && s.state == SyncState::Synced && s.pending == 0
    })
    .await;
}

#[tokio::test]
async fn what_holds_the_store_up_is_named() {
    let service = Service::start().await;
    let place = Place::new();
    let store = place.open().await;
    let client = client(&service, &store);
    synced(&client).await;
    // Another process writes, and a write of ours waits for that.
    let mut db = Connection::open(place.path()).unwrap();
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate);
    let tx = tx.unwrap();
    let writing = tokio::spawn({
        let store = store.clone();
        async move { store.put("a", content("x")).await.map(drop) }
    });
    tokio::task::yield_now().await;
    let error = client
        .suspend(Duration::from_millis(200))
        .await
        .unwrap_err();
    let SuspendError::Unfinished { left } = error else {
        panic!("{error}");
    };
    assert_eq!(left, [Lane::Store]);
    drop(tx);
    drop(db);
    writing.await.unwrap().unwrap();
    client.suspend(SOON).await.unwrap();
    take_for_oneself(&place);
    client.resume();
    synced(&client).await;
    assert_eq!(service.content("a").unwrap(), "x");
}

#[tokio::test]
async fn a_wait_that_the_server_asked_for_outlives_a_suspension() {
    let service = Service::start().await;
    service.script(|_| Reply::Full(crate::common::unavailable("circuit_open", Some(600))));
    let place = Place::new();
    let store = place.open().await;
    let client = client(&service, &store);
    let degraded =
        |s: &evenkeel::Status| s.lifecycle == Lifecycle::Running && s.state == SyncState::Degraded;
    let before = until(&client, "degraded", degraded).await;
    client.suspend(SOON).await.unwrap();
    let sent = service.requests();
    client.resume();
    let after = until(&client, "degraded again", degraded).await;
    assert_eq!((after.cause, after.attempt), (before.cause, before.attempt));
    assert!(after.next_attempt_in().unwrap() > Duration::from_secs(500));
    assert_eq!(service.requests(), sent);
}

#[tokio::test]
async fn a_page_that_is_being_applied_ends_with_the_suspension() {
    let service = Service::start().await;
    for n in 0..499 {
        service.write(&format!("n{n}"), &"x".repeat(1_000));
    }
    let place = Place::new();
    let store = place.open().await;
    for round in 0..20 {
        let client = client(&service, &store);
        let pulled = || service.seen("/api/v2/sync/pull").len() > round;
        eventually("a pull", pulled).await;
        client.suspend(SOON).await.unwrap();
        take_for_oneself(&place);
        client.resume();
        client.stop().await;
        drop(client);
    }
    let client = client(&service, &store);
    synced(&client).await;
    assert_eq!(store.text("n498").await.unwrap().len(), 1_000);
}

#[tokio::test]
async fn a_suspended_store_that_is_damaged_meanwhile_says_so_and_comes_back() {
    let service = Service::start().await;
    let place = Place::new();
    let store = place.open().await;
    let client = client(&service, &store);
    synced(&client).await;
    client.suspend(SOON).await.unwrap();
    let whole = std::fs::read(place.path()).unwrap();
    std::fs::write(place.path(), "a shopping list".repeat(1_000)).unwrap();
    client.resume();
    let status = until(&client, "without a store", |s| s.cause.is_some()).await;
    assert_eq!(status.cause, Some(evenkeel::Cause::StoreFailed));
    assert_eq!(status.lifecycle, Lifecycle::Running);
    assert_eq!(store.get("a").await.unwrap_err(), StoreError::Suspended);
    std::fs::write(place.path(), whole).unwrap();
    synced(&client).await;
}
