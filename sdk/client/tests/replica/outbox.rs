//! The durable outbox: folding, parking, limits, verdicts.

use evenkeel::OutboxLevel;
use evenkeel::store::{RejectReason, StoreError, Verdict};
use evenkeel::wire::{PushAnswer, Version};
use evenkeel::{Cause, Failure, Replica};
use serde_json::{Value, json};

use crate::bench::{
    ALL, Bench, Place, applied, content, fast, fields, only, record, record_of, taken,
};

fn refusal(cause: Cause) -> Failure {
    Failure::local(cause, "not like this")
}

#[tokio::test]
async fn folding_keeps_the_base_and_counts_all_changed_fields() {
    let place = Place::new();
    let store = place.open().await;
    let base = record_of("a", 4, json!({"x": 1, "y": 1, "z": 1}));
    store.pull(0, &[(1, base)], 1).await;
    store.patch("a", fields(json!({"x": 2}))).await.unwrap();
    // A newer copy comes in between: the write is still based on the one it was made on.
    store
        .pull(
            1,
            &[(2, record_of("a", 5, json!({"x": 1, "y": 1, "z": 9})))],
            2,
        )
        .await;
    store.patch("a", fields(json!({"y": 2}))).await.unwrap();
    let operation = store.operation().await;
    assert_eq!(operation.base_version, Version(4));
    let changed = operation.client_changed_fields.unwrap();
    assert_eq!(changed, ["x", "y"]);
    let note = operation.note.unwrap().fields;
    assert_eq!(Value::Object(note), json!({"x": 2, "y": 2, "z": 1}));
}

#[tokio::test]
async fn what_is_nested_too_deep_to_be_read_again_is_refused_when_it_is_written() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| Value::Array(vec![inner]));
    let place = Place::new();
    let store = place.open().await;
    let deepest = fields(json!({"x": nested(100)}));
    store.put("a", deepest.clone()).await.unwrap();
    let there = store.get("a").await.unwrap().unwrap();
    assert_eq!(there.fields, deepest);
    // The server's answer holds it too, and so does a page.
    let operation = store.operation().await;
    let mut back = operation.note.unwrap();
    back.version = Version(1);
    store.pull(0, &[(1, back)], 1).await;
    assert_eq!(store.get("a").await.unwrap().unwrap().fields, deepest);
    for write in [
        store.put("b", fields(json!({"x": nested(101)}))).await,
        store.patch("a", fields(json!({"y": nested(300)}))).await,
    ] {
        assert!(matches!(write, Err(StoreError::Shape { .. })));
    }
    assert_eq!(store.get("b").await, Ok(None));
}

#[tokio::test]
async fn a_later_edit_is_put_on_what_the_server_made_of_the_first() {
    let place = Place::new();
    let store = place.open().await;
    store
        .put("a", fields(json!({"x": 1, "y": 1})))
        .await
        .unwrap();
    let sent = store.operation().await;
    store.patch("a", fields(json!({"y": 2}))).await.unwrap();
    let mut answer = taken(&sent, 1);
    let made = fields(json!({"x": 1, "y": 1, "hash": "h1"}));
    answer.applied[0].note.as_mut().unwrap().fields = made;
    store.apply_push(only(&sent), answer).await.unwrap();
    let later = store.operation().await;
    assert_eq!(later.client_changed_fields.unwrap(), ["y"]);
    let note = later.note.unwrap().fields;
    assert_eq!(Value::Object(note), json!({"x": 1, "y": 2, "hash": "h1"}));
}

#[tokio::test]
async fn a_record_that_never_left_is_deleted_without_a_request() {
    let place = Place::new();
    let store = place.open().await;
    let written = store.put("a", content("x")).await.unwrap();
    let deleted = store.delete("a").await.unwrap();
    let version = Version(0);
    assert_eq!(written.await, Ok(Verdict::Acknowledged { version }));
    assert_eq!(deleted.await, Ok(Verdict::Acknowledged { version }));
    assert_eq!(store.take_batch(ALL).await.unwrap(), None);
    assert_eq!(store.backlog().waiting, 0);
    assert_eq!(store.view("a").await, None);
}

#[tokio::test]
async fn bytes_and_request_id_of_what_was_sent_survive_a_restart() {
    let place = Place::new();
    let store = place.open().await;
    store
        .put(
            "a",
            fields(json!({"n": 1.5e300, "s": "ä\u{2028}", "big": u64::MAX})),
        )
        .await
        .unwrap();
    let bytes = serde_json::to_vec(&store.batch().await).unwrap();
    store
        .patch("a", fields(json!({"s": "later"})))
        .await
        .unwrap();
    store.close().await.unwrap();
    let store = place.open().await;
    assert_eq!(serde_json::to_vec(&store.batch().await).unwrap(), bytes);
    assert_eq!(store.pending().await.unwrap().operations.len(), 2);
}

#[tokio::test]
async fn every_folded_write_hears_the_verdict() {
    let place = Place::new();
    let store = place.open().await;
    let one = store.put("a", content("one")).await.unwrap();
    let two = store.put("a", content("two")).await.unwrap();
    let sent = store.operation().await;
    let three = store.put("a", content("three")).await.unwrap();
    store
        .apply_push(only(&sent), taken(&sent, 1))
        .await
        .unwrap();
    let version = Version(1);
    assert_eq!(one.await, Ok(Verdict::Acknowledged { version }));
    assert_eq!(two.await, Ok(Verdict::Acknowledged { version }));
    store.close().await.unwrap();
    assert_eq!(three.await, Err(StoreError::Closed));
}

#[tokio::test]
async fn a_parked_write_keeps_its_reason_over_a_restart_and_can_be_sent_again() {
    let place = Place::new();
    let store = place.open().await;
    let handle = store.put("a", content("bad")).await.unwrap();
    let batch = store.batch().await;
    store
        .refuse_push(batch.clone(), refusal(Cause::PayloadTooLarge))
        .await
        .unwrap();
    let verdict = handle.await.unwrap();
    store.close().await.unwrap();
    let store = place.open().await;
    let rejected = store.rejected().await.unwrap();
    let reason = rejected[0].reason.clone();
    assert!(
        matches!(
            &reason,
            RejectReason::Refused {
                cause: Cause::PayloadTooLarge,
                ..
            }
        ),
        "{reason:?}"
    );
    assert_eq!(verdict, Verdict::Rejected { reason });
    assert_eq!(store.text("a").await.unwrap(), "bad");
    let handle = store.retry("a").await.unwrap();
    let again = store.operation().await;
    assert_ne!(again.request_id, batch.operations[0].request_id);
    store
        .apply_push(only(&again), taken(&again, 1))
        .await
        .unwrap();
    let version = Version(1);
    assert_eq!(handle.await, Ok(Verdict::Acknowledged { version }));
    assert_eq!(store.retry("a").await.unwrap_err(), StoreError::NotFound);
}

#[tokio::test]
async fn a_retry_is_put_on_what_the_server_has_by_now() {
    let place = Place::new();
    let store = place.open().await;
    store
        .pull(0, &[(1, record_of("a", 1, json!({"x": 1, "y": 1})))], 1)
        .await;
    store.patch("a", fields(json!({"x": 2}))).await.unwrap();
    let batch = store.batch().await;
    store
        .refuse_push(batch, refusal(Cause::BadRequest))
        .await
        .unwrap();
    store
        .pull(1, &[(2, record_of("a", 2, json!({"x": 1, "y": 2})))], 2)
        .await;
    let handle = store.retry("a").await.unwrap();
    let sent = store.operation().await;
    assert_eq!(sent.base_version, Version(2));
    let note = sent.note.clone().unwrap().fields;
    assert_eq!(Value::Object(note), json!({"x": 2, "y": 2}));
    store
        .apply_push(only(&sent), taken(&sent, 3))
        .await
        .unwrap();
    let version = Version(3);
    assert_eq!(handle.await, Ok(Verdict::Acknowledged { version }));
}

#[tokio::test]
async fn a_discarded_write_gives_way_to_the_servers_record() {
    let place = Place::new();
    let store = place.open().await;
    store.pull(0, &[(1, record("a", 1, "theirs"))], 1).await;
    store.put("a", content("ours")).await.unwrap();
    let batch = store.batch().await;
    store
        .refuse_push(batch, refusal(Cause::BadRequest))
        .await
        .unwrap();
    store.discard("a").await.unwrap();
    assert_eq!(store.text("a").await.unwrap(), "theirs");
    assert_eq!(store.backlog(), Default::default());
    assert_eq!(store.discard("a").await, Err(StoreError::NotFound));
}

#[tokio::test]
async fn a_refused_operation_lives_on_in_the_later_edit() {
    let place = Place::new();
    let store = place.open().await;
    let first = store.put("a", content("too long")).await.unwrap();
    let batch = store.batch().await;
    store.put("a", content("short")).await.unwrap();
    store
        .refuse_push(batch, refusal(Cause::BadRequest))
        .await
        .unwrap();
    assert!(store.refused().await.is_empty());
    let sent = store.operation().await;
    assert_eq!(sent.base_version, Version(0));
    assert_eq!(sent.note.as_ref().unwrap().fields, content("short"));
    store
        .apply_push(only(&sent), taken(&sent, 1))
        .await
        .unwrap();
    let version = Version(1);
    assert_eq!(first.await, Ok(Verdict::Acknowledged { version }));
}

#[tokio::test]
async fn what_is_too_large_together_is_sent_in_smaller_batches_from_then_on() {
    let place = Place::new();
    let store = place.open().await;
    for n in 0..8 {
        assert!(Bench::put(&store, &format!("n{n}"), &"x".repeat(1_000)).await);
    }
    let batch = store.batch().await;
    assert_eq!(batch.operations.len(), 8);
    store
        .refuse_push(batch, refusal(Cause::PayloadTooLarge))
        .await
        .unwrap();
    for expected in [4, 4] {
        let batch = store.batch().await;
        assert_eq!(batch.operations.len(), expected);
        let answer = PushAnswer {
            applied: batch.operations.iter().map(|o| applied(o, 1)).collect(),
            ..PushAnswer::default()
        };
        store.apply_push(batch, answer).await.unwrap();
    }
    assert_eq!(store.backlog().rejected, 0);
}

#[tokio::test]
async fn the_outbox_tells_how_full_it_is() {
    let place = Place::new();
    let mut options = fast();
    (options.outbox_soft_max, options.outbox_hard_max) = (2, 3);
    let store = place.open_with(options).await;
    let mut levels = Vec::new();
    for id in ["a", "b", "c"] {
        store.put(id, content("x")).await.unwrap();
        levels.push(store.pending().await.unwrap().level);
    }
    use OutboxLevel::{Backlog, Blocked, Normal};
    assert_eq!(levels, [Normal, Backlog, Blocked]);
    let refused = store.put("d", content("x")).await;
    assert_eq!(refused.unwrap_err(), StoreError::OutboxFull { kept: 3 });
    assert_eq!(store.view("d").await, None);
    store.put("c", content("folded")).await.unwrap();
}

#[tokio::test]
async fn an_id_out_of_range_is_refused() {
    let place = Place::new();
    let store = place.open().await;
    for id in [String::new(), "x".repeat(129)] {
        let put = store.put(id, content("x")).await;
        assert_eq!(put.unwrap_err(), StoreError::Id);
    }
}

#[tokio::test]
async fn a_write_whose_future_is_dropped_happens_as_a_whole_or_not_at_all() {
    let place = Place::new();
    let store = place.open().await;
    for n in 0..50 {
        let write = store.put(format!("n{n}"), content("x"));
        // Polled at most once: the job may be handed over, its answer is never read.
        let _ = tokio::time::timeout(std::time::Duration::ZERO, write).await;
    }
    let there = store.list(Default::default()).await.unwrap().items.len();
    let pending = store.pending().await.unwrap().operations.len();
    assert_eq!(there, pending);
    assert_eq!(store.backlog().waiting as usize, pending);
}

#[tokio::test]
async fn the_services_own_names_are_no_fields() {
    let place = Place::new();
    let store = place.open().await;
    let put = json!({"id": "b", "version": 9, "deletedAt": 1, "content": "x"});
    store.put("a", fields(put)).await.unwrap();
    let sent = store.operation().await;
    assert_eq!(sent.client_changed_fields.unwrap(), ["content"]);
    assert_eq!(store.get("a").await.unwrap().unwrap().fields, content("x"));
}
