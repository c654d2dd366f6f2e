//! Operations older than the service's memory for request ids (hazard 5 of the contract): never
//! replayed blindly, but compared with what was pulled since.

use evenkeel::store::{SqliteStore, StoreOptions, Verdict, WallClock};
use evenkeel::wire::Version;
use evenkeel::{Record, Replica};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::bench::{ALL, Bench, Place, fast, fields, record_of};

/// Everything that was sent is old at once.
fn forgetful() -> StoreOptions {
    let mut options = fast();
    options.idempotency_window = Duration::ZERO;
    options
}

async fn sent(place: &Place) -> (SqliteStore, String) {
    let store = place.open_with(forgetful()).await;
    store.pull(0, &[(1, base(1))], 1).await;
    store.patch("a", fields(json!({"x": 2}))).await.unwrap();
    let request_id = store.operation().await.request_id;
    // The answer is lost, and so is everything that is not in the file.
    store.close().await.unwrap();
    (place.open_with(forgetful()).await, request_id)
}

fn base(version: u64) -> Record {
    record_of("a", version, json!({"x": 1, "y": 1}))
}

#[tokio::test(start_paused = true)]
async fn an_old_operation_is_held_back_until_a_pull_has_ended() {
    let place = Place::new();
    let (store, request_id) = sent(&place).await;
    assert_eq!(store.take_batch(ALL).await.unwrap(), None);
    // A page with something in it is not the end.
    store.pull(1, &[(2, record_of("b", 1, json!({})))], 2).await;
    assert_eq!(store.take_batch(ALL).await.unwrap(), None);
    assert_eq!(store.backlog().waiting, 1);
    store.pull(2, &[], 2).await;
    let again = store.operation().await;
    assert_ne!(again.request_id, request_id);
    assert_eq!(again.base_version, Version(1));
    assert_eq!(again.auto_merge_attempted, None);
}

#[tokio::test]
async fn a_batch_that_waits_for_a_pull_comes_as_soon_as_it_has_ended() {
    let place = Place::new();
    let (store, _) = sent(&place).await;
    let (batch, ()) = tokio::join!(store.take_batch(ALL), store.pull(1, &[], 1));
    assert_eq!(batch.unwrap().unwrap().operations.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn others_do_not_wait_for_an_old_operation() {
    let place = Place::new();
    let (store, _) = sent(&place).await;
    assert!(Bench::put(&store, "b", "fresh").await);
    assert_eq!(store.operation().await.note_id, "b");
}

#[tokio::test]
async fn an_old_operation_that_the_server_has_is_an_acknowledgement() {
    let place = Place::new();
    let (store, _) = sent(&place).await;
    let handle = store.patch("a", fields(json!({"y": 5}))).await.unwrap();
    let theirs = json!({"x": 2, "y": 1});
    store.pull(1, &[(2, record_of("a", 2, theirs))], 2).await;
    store.pull(2, &[], 2).await;
    // What is left is the later edit, on top of it.
    let later = store.operation().await;
    assert_eq!(later.base_version, Version(2));
    assert_eq!(later.client_changed_fields.unwrap(), ["y"]);
    drop(handle);
}

#[tokio::test]
async fn an_old_operation_is_put_on_what_others_wrote_meanwhile() {
    let place = Place::new();
    let (store, _) = sent(&place).await;
    let theirs = json!({"x": 1, "y": 7});
    store.pull(1, &[(2, record_of("a", 2, theirs))], 2).await;
    store.pull(2, &[], 2).await;
    let again = store.operation().await;
    assert_eq!(again.base_version, Version(2));
    let note = again.note.unwrap().fields;
    assert_eq!(Value::Object(note), json!({"x": 2, "y": 7}));
}

#[tokio::test]
async fn an_old_operation_that_clashes_by_now_is_a_conflict() {
    let place = Place::new();
    let (store, _) = sent(&place).await;
    let handle = store.patch("a", fields(json!({"x": 3}))).await.unwrap();
    let theirs = json!({"x": 9, "y": 1});
    store.pull(1, &[(2, record_of("a", 2, theirs))], 2).await;
    store.pull(2, &[], 2).await;
    assert_eq!(store.take_batch(ALL).await.unwrap(), None);
    assert_eq!(store.conflicting().await, ["a"]);
    assert_eq!(handle.await, Ok(Verdict::Conflicted));
}

#[tokio::test]
async fn what_an_old_operation_left_at_the_server_is_taken_back_by_the_later_edit() {
    let place = Place::new();
    let store = place.open_with(forgetful()).await;
    store.pull(0, &[(1, base(1))], 1).await;
    store
        .patch("a", fields(json!({"x": 2, "y": 2})))
        .await
        .unwrap();
    store.operation().await;
    store
        .patch("a", fields(json!({"x": 1, "y": 1})))
        .await
        .unwrap();
    // It had been applied, and somebody wrote on top.
    let theirs = json!({"x": 2, "y": 7});
    store.pull(1, &[(3, record_of("a", 3, theirs))], 3).await;
    store.pull(3, &[], 3).await;
    let back = store.operation().await.note.unwrap().fields;
    assert_eq!(Value::Object(back), json!({"x": 1, "y": 7}));
}

#[tokio::test]
async fn a_deletion_after_an_old_creation_meets_what_others_made_of_it() {
    let place = Place::new();
    let store = place.open_with(forgetful()).await;
    assert!(Bench::put(&store, "a", "mine").await);
    store.operation().await;
    let handle = store.delete("a").await.unwrap();
    let theirs = json!({"content": "edited by another"});
    store.pull(0, &[(2, record_of("a", 2, theirs))], 2).await;
    store.pull(2, &[], 2).await;
    assert_eq!(store.take_batch(ALL).await.unwrap(), None);
    assert_eq!(handle.await, Ok(Verdict::Conflicted));
    assert_eq!(store.conflicting().await, ["a"]);
    assert_eq!(store.view("a").await, None);
}

#[tokio::test]
async fn an_operation_within_the_window_is_sent_again_as_it_was() {
    let place = Place::new();
    let store = place.open().await;
    assert!(Bench::put(&store, "a", "x").await);
    let first = store.batch().await;
    store.close().await.unwrap();
    assert_eq!(place.open().await.batch().await, first);
}

#[tokio::test(start_paused = true)]
async fn a_day_makes_an_operation_old() {
    let place = Place::new();
    let time = Arc::new(AtomicU64::new(1_700_000_000_000));
    let mut options = fast();
    options.wall_clock = WallClock::manual(Arc::clone(&time));
    let store = place.open_with(options).await;
    assert!(Bench::put(&store, "a", "x").await);
    let first = store.batch().await;
    time.fetch_add(22 * HOUR_MS, Ordering::SeqCst);
    assert_eq!(store.batch().await, first);
    time.fetch_add(2 * HOUR_MS, Ordering::SeqCst);
    assert_eq!(store.take_batch(ALL).await.unwrap(), None);
    store.pull(0, &[], 0).await;
    let request_id = store.operation().await.request_id;
    assert_ne!(request_id, first.operations[0].request_id);
}

/// An operation that grew old stays so when the clock goes back, whatever is sent at the new hour.
#[tokio::test(start_paused = true)]
async fn a_clock_set_back_does_not_make_an_operation_young_again() {
    let place = Place::new();
    let time = Arc::new(AtomicU64::new(1_700_000_000_000));
    let mut options = fast();
    options.wall_clock = WallClock::manual(Arc::clone(&time));
    let store = place.open_with(options).await;
    assert!(Bench::put(&store, "a", "x").await);
    store.batch().await;
    time.fetch_add(24 * HOUR_MS, Ordering::SeqCst);
    assert!(Bench::put(&store, "b", "y").await);
    let only_b = store.batch().await;
    assert_eq!(only_b.operations.len(), 1);
    time.fetch_sub(12 * HOUR_MS, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(store.batch().await, only_b);
    }
}

const HOUR_MS: u64 = 3_600_000;
