//! What every replica does, run on each.

use evenkeel::wire::{PushAnswer, UnixMillis, Version};
use evenkeel::{BatchLimits, Cause, Cursor, Failure, MemoryReplica, Record, ReplicaError};

use serde_json::json;

use crate::bench::{
    ALL, Bench, Place, applied, conflict, only, page, page_of, record, snapshot, taken,
};

macro_rules! on_each_replica {
    ($($scenario:ident,)+) => {
        mod memory {
            use super::*;
            $(#[tokio::test]
            async fn $scenario() {
                super::$scenario(MemoryReplica::new()).await;
            })+
        }

        mod sqlite {
            use super::*;
            $(#[tokio::test]
            async fn $scenario() {
                let place = Place::new();
                super::$scenario(place.open().await).await;
            })+
        }
    };
}

on_each_replica! {
    a_page_is_applied_by_version_however_often_it_comes,
    a_page_that_would_leave_a_hole_changes_nothing,
    the_cursor_moves_with_the_pages_and_never_back,
    what_is_settled_is_noted_until_a_snapshot_replaces_it,
    a_page_that_asks_for_a_reset_changes_nothing,
    a_page_that_is_cut_anywhere_changes_nothing,
    a_snapshot_that_is_cut_anywhere_changes_nothing,
    a_tombstone_is_not_undone_by_an_older_change,
    local_writes_stay_on_top_of_pages_and_snapshots,
    a_snapshot_takes_the_place_of_everything,
    writes_go_out_in_order_and_are_acknowledged,
    writes_to_a_record_that_waits_fold_into_one_operation,
    a_record_has_one_operation_in_flight,
    an_operation_that_was_sent_keeps_its_bytes,
    an_operation_that_shows_up_in_a_page_is_acknowledged,
    an_answer_that_comes_twice_changes_nothing,
    batches_respect_count_and_bytes,
    an_operation_that_answers_leave_out_is_sent_once_more_and_then_kept,
    a_refused_operation_is_isolated_by_halving,
    a_new_write_replaces_a_refused_one,
    a_write_that_follows_a_refused_one_takes_its_place,
    both_sides_of_a_conflict_are_kept_until_a_write_decides,
    a_conflict_with_our_own_content_is_an_acknowledgement,
    a_full_outbox_says_so_and_takes_folds,
}

async fn a_page_is_applied_by_version_however_often_it_comes(replica: impl Bench) {
    let newer = || page(&[(2, record("a", 2, "two"))], 2);
    let (pulled, changes) = replica.apply_page(Cursor(0), newer()).await.unwrap();
    assert_eq!((pulled.changes, pulled.next), (1, Cursor(2)));
    assert_eq!(changes.len(), 1);
    let (pulled, changes) = replica.apply_page(Cursor(0), newer()).await.unwrap();
    assert_eq!(pulled.changes, 1);
    assert!(changes.is_empty());
    replica.pull(0, &[(1, record("a", 1, "one"))], 1).await;
    assert_eq!(replica.text("a").await.unwrap(), "two");
}

async fn a_page_that_would_leave_a_hole_changes_nothing(replica: impl Bench) {
    let page = page(&[(9, record("a", 1, "x"))], 9);
    let error = replica.apply_page(Cursor(5), page).await.unwrap_err();
    assert!(matches!(error, ReplicaError::Gap { .. }), "{error}");
    assert_eq!(replica.view("a").await, None);
    assert_eq!(replica.cursor().await.unwrap(), None);
}

async fn the_cursor_moves_with_the_pages_and_never_back(replica: impl Bench) {
    assert_eq!(replica.cursor().await.unwrap(), None);
    replica.pull(0, &[(7, record("a", 1, "x"))], 7).await;
    assert_eq!(replica.cursor().await.unwrap(), Some(Cursor(7)));
    // An overlap is read again, and holds a change that was committed late.
    replica.pull(3, &[(5, record("late", 1, "y"))], 6).await;
    assert_eq!(replica.cursor().await.unwrap(), Some(Cursor(7)));
    assert_eq!(replica.text("late").await.unwrap(), "y");
}

async fn what_is_settled_is_noted_until_a_snapshot_replaces_it(replica: impl Bench) {
    assert_eq!(replica.settled().await.unwrap(), Cursor::ZERO);
    replica.pull(0, &[(7, record("a", 1, "x"))], 7).await;
    assert_eq!(replica.settled().await.unwrap(), Cursor::ZERO);
    let of = |body: serde_json::Value| page_of(&body).settling(Some(Cursor(7)));
    // Read again as far as 5, there is more to come.
    let change = json!({"cursor": 5, "op": "upsert", "note": record("late", 1, "y")});
    let page = of(json!({"changes": [change], "nextCursor": 5}));
    replica.apply_page(Cursor(3), page).await.unwrap();
    assert_eq!(replica.settled().await.unwrap(), Cursor::ZERO);
    let page = of(json!({"changes": [], "nextCursor": 7, "resetRequired": true}));
    replica.apply_page(Cursor(3), page).await.unwrap();
    assert_eq!(replica.settled().await.unwrap(), Cursor::ZERO);
    // The log ends before that: it is not the one that led there.
    let page = of(json!({"changes": [], "nextCursor": 5}));
    replica.apply_page(Cursor(5), page).await.unwrap();
    assert_eq!(replica.settled().await.unwrap(), Cursor::ZERO);
    let page = of(json!({"changes": [], "nextCursor": 8}));
    replica.apply_page(Cursor(5), page).await.unwrap();
    assert_eq!(replica.settled().await.unwrap(), Cursor(7));
    replica.pull(8, &[(9, record("a", 2, "z"))], 9).await;
    assert_eq!(replica.settled().await.unwrap(), Cursor(7));
    let change = json!({"cursor": 9, "op": "upsert", "note": record("a", 2, "z")});
    let page = page_of(&json!({"changes": [change], "nextCursor": 9}));
    let page = page.settling(Some(Cursor(9)));
    replica.apply_page(Cursor(7), page).await.unwrap();
    assert_eq!(replica.settled().await.unwrap(), Cursor(9));
    replica.replace(snapshot(&[], 9), None).await.unwrap();
    assert_eq!(replica.settled().await.unwrap(), Cursor::ZERO);
}

async fn a_page_that_asks_for_a_reset_changes_nothing(replica: impl Bench) {
    replica.pull(0, &[(7, record("a", 1, "x"))], 7).await;
    // What asks for the reset may come last, and after changes.
    let change = json!({"cursor": 9, "op": "upsert", "note": record("b", 1, "y")});
    let body = json!({"changes": [change], "nextCursor": 90, "resetRequired": true});
    let applied = replica.apply_page(Cursor(7), page_of(&body)).await;
    let (pulled, changes) = applied.unwrap();
    assert!(pulled.reset_required);
    assert!(changes.is_empty());
    assert_eq!(replica.view("b").await, None);
    assert_eq!(replica.cursor().await.unwrap(), Some(Cursor(7)));
}

async fn a_page_that_is_cut_anywhere_changes_nothing(replica: impl Bench) {
    replica.pull(0, &[(7, record("a", 1, "x"))], 7).await;
    let changes = [8, 9].map(|n| {
        let note = record(&format!("n{n}"), 1, "y");
        json!({"cursor": n, "op": "upsert", "note": note})
    });
    let body = json!({"changes": changes, "nextCursor": 9}).to_string();
    for end in 0..body.len() {
        let page = body.as_bytes()[..end].to_vec();
        let error = replica.apply_page(Cursor(7), page.into()).await;
        unreadable(error.unwrap_err());
        assert_eq!(replica.cursor().await.unwrap(), Some(Cursor(7)));
    }
    assert_eq!(replica.view("n8").await, None);
    replica
        .apply_page(Cursor(7), body.into_bytes().into())
        .await
        .unwrap();
    assert_eq!(replica.text("n9").await.unwrap(), "y");
}

async fn a_snapshot_that_is_cut_anywhere_changes_nothing(replica: impl Bench) {
    replica.pull(0, &[(7, record("a", 1, "x"))], 7).await;
    let notes = [record("b", 1, "y"), record("c", 1, "z")];
    let body = json!({"notes": notes, "cursor": 9}).to_string();
    for end in 0..body.len() {
        let snapshot = body.as_bytes()[..end].to_vec();
        let error = replica.replace(snapshot.into(), None).await;
        unreadable(error.unwrap_err());
        assert_eq!(replica.cursor().await.unwrap(), Some(Cursor(7)));
    }
    assert_eq!(replica.text("a").await.unwrap(), "x");
    assert_eq!(replica.view("b").await, None);
}

/// The service's fault, and said without a word of what is in the record.
fn unreadable(error: ReplicaError) {
    let ReplicaError::Unreadable(failure) = error else {
        panic!("{error}");
    };
    assert_eq!(failure.cause, Cause::BadResponse);
    let message = failure.message;
    assert!(
        message.starts_with("the answer cannot be read: it ends too soon at line 1 column"),
        "{message}"
    );
}

async fn a_tombstone_is_not_undone_by_an_older_change(replica: impl Bench) {
    let tombstone = Record {
        deleted_at: Some(UnixMillis(5)),
        ..record("a", 3, "x")
    };
    replica.pull(0, &[(3, tombstone)], 3).await;
    replica.pull(0, &[(2, record("a", 2, "back"))], 3).await;
    assert_eq!(replica.view("a").await, None);
}

async fn local_writes_stay_on_top_of_pages_and_snapshots(replica: impl Bench) {
    replica.pull(0, &[(1, record("a", 1, "base"))], 1).await;
    assert!(replica.put("a", "ours").await);
    replica.delete("b").await;
    replica.pull(1, &[(2, record("other", 1, "x"))], 2).await;
    assert_eq!(replica.text("a").await.unwrap(), "ours");
    let notes = vec![record("a", 1, "base"), record("other", 1, "x")];
    let snapshot = snapshot(&notes, 9);
    replica.replace(snapshot, Some(Cursor(2))).await.unwrap();
    assert_eq!(replica.text("a").await.unwrap(), "ours");
    assert_eq!(replica.cursor().await.unwrap(), Some(Cursor(2)));
    let batch = replica.batch().await;
    assert_eq!(batch.operations[0].note_id, "a");
}

async fn a_snapshot_takes_the_place_of_everything(replica: impl Bench) {
    let before = [(4, record("gone", 1, "x")), (9, record("a", 9, "later"))];
    replica.pull(0, &before, 9).await;
    // A restored database counts anew: lower versions are the truth here.
    let snapshot = snapshot(&[record("a", 2, "restored")], 3);
    replica.replace(snapshot, None).await.unwrap();
    assert_eq!(replica.view("gone").await, None);
    assert_eq!(replica.text("a").await.unwrap(), "restored");
    assert_eq!(replica.cursor().await.unwrap(), Some(Cursor(3)));
}

async fn writes_go_out_in_order_and_are_acknowledged(replica: impl Bench) {
    for id in ["c", "a", "b"] {
        assert!(replica.put(id, id).await);
    }
    assert_eq!(replica.backlog().waiting, 3);
    let batch = replica.batch().await;
    let ids: Vec<_> = batch
        .operations
        .iter()
        .map(|o| o.note_id.as_str())
        .collect();
    assert_eq!(ids, ["c", "a", "b"]);
    let answer = PushAnswer {
        applied: batch.operations.iter().map(|o| applied(o, 1)).collect(),
        next_cursor: Cursor(3),
        ..PushAnswer::default()
    };
    let changes = replica.apply_push(batch, answer).await.unwrap();
    assert_eq!(changes.len(), 3);
    assert_eq!(replica.backlog().waiting, 0);
    assert_eq!(replica.take_batch(ALL).await.unwrap(), None);
    assert_eq!(replica.view("a").await.unwrap().version, Version(1));
}

async fn writes_to_a_record_that_waits_fold_into_one_operation(replica: impl Bench) {
    replica.pull(0, &[(1, record("a", 4, "base"))], 1).await;
    for text in ["one", "two", "three"] {
        assert!(replica.put("a", text).await);
    }
    assert_eq!(replica.backlog().waiting, 1);
    let operation = replica.operation().await;
    assert_eq!(operation.base_version, Version(4));
    assert_eq!(operation.note.unwrap().fields["content"], "three");
}

async fn a_record_has_one_operation_in_flight(replica: impl Bench) {
    assert!(replica.put("a", "one").await);
    let first = replica.operation().await;
    assert!(replica.put("a", "two").await);
    assert_eq!(replica.text("a").await.unwrap(), "two");
    assert_eq!(replica.batch().await, only(&first));
    replica
        .apply_push(only(&first), taken(&first, 1))
        .await
        .unwrap();
    assert_eq!(replica.text("a").await.unwrap(), "two");
    let second = replica.operation().await;
    assert_ne!(second.request_id, first.request_id);
    assert_eq!(second.base_version, Version(1));
    assert_eq!(second.note.unwrap().fields["content"], "two");
}

async fn an_operation_that_was_sent_keeps_its_bytes(replica: impl Bench) {
    assert!(replica.put("a", "one").await);
    let bytes = serde_json::to_vec(&replica.batch().await).unwrap();
    assert!(replica.put("a", "two").await);
    replica.pull(0, &[(1, record("a", 1, "theirs"))], 1).await;
    assert_eq!(serde_json::to_vec(&replica.batch().await).unwrap(), bytes);
}

async fn an_operation_that_shows_up_in_a_page_is_acknowledged(replica: impl Bench) {
    assert!(replica.put("a", "one").await);
    let sent = replica.operation().await;
    assert!(replica.put("a", "two").await);
    let change = json!({"cursor": 1, "op": "upsert", "note": record("a", 1, "one"),
        "requestId": sent.request_id});
    let page = page_of(&json!({"changes": [change], "nextCursor": 1}));
    replica.apply_page(Cursor(0), page).await.unwrap();
    assert_eq!(replica.backlog().waiting, 1);
    let next = replica.operation().await;
    assert_eq!(next.base_version, Version(1));
    assert_eq!(next.note.unwrap().fields["content"], "two");
    // The answer comes after all, and finds everything settled.
    replica
        .apply_push(only(&sent), taken(&sent, 1))
        .await
        .unwrap();
    assert_eq!(replica.backlog().waiting, 1);
}

async fn an_answer_that_comes_twice_changes_nothing(replica: impl Bench) {
    assert!(replica.put("a", "one").await);
    let sent = replica.operation().await;
    replica
        .apply_push(only(&sent), taken(&sent, 1))
        .await
        .unwrap();
    assert!(replica.put("a", "two").await);
    let again = replica.apply_push(only(&sent), taken(&sent, 1)).await;
    assert!(again.unwrap().is_empty());
    assert_eq!(replica.backlog().waiting, 1);
    assert_eq!(replica.text("a").await.unwrap(), "two");
}

async fn batches_respect_count_and_bytes(replica: impl Bench) {
    for n in 0..5 {
        assert!(replica.put(&format!("n{n}"), &"x".repeat(1_000)).await);
    }
    let some = BatchLimits { ops_max: 3, ..ALL };
    let batch = replica.take_batch(some).await.unwrap().unwrap();
    assert_eq!(batch.operations.len(), 3);
    let small = BatchLimits {
        bytes_max: 3_000,
        ..ALL
    };
    let batch = replica.take_batch(small).await.unwrap().unwrap();
    assert_eq!(batch.operations.len(), 2);
    assert!(serde_json::to_vec(&batch).unwrap().len() <= 3_000);
    let tiny = BatchLimits {
        bytes_max: 10,
        ..ALL
    };
    let batch = replica.take_batch(tiny).await.unwrap().unwrap();
    assert_eq!(batch.operations.len(), 1);
}

async fn an_operation_that_answers_leave_out_is_sent_once_more_and_then_kept(replica: impl Bench) {
    assert!(replica.put("a", "one").await);
    let batch = replica.batch().await;
    let nothing = PushAnswer::default();
    replica
        .apply_push(batch.clone(), nothing.clone())
        .await
        .unwrap();
    assert_eq!(replica.backlog().waiting, 1);
    assert_eq!(replica.batch().await, batch);
    replica.apply_push(batch, nothing).await.unwrap();
    assert_eq!(replica.backlog().waiting, 0);
    assert_eq!(replica.refused().await, ["a"]);
    assert_eq!(replica.text("a").await.unwrap(), "one");
}

async fn a_refused_operation_is_isolated_by_halving(replica: impl Bench) {
    for n in 0..8 {
        assert!(replica.put(&format!("n{n}"), "x").await);
    }
    let mut version = 0;
    for _ in 0..20 {
        let Some(batch) = replica.take_batch(ALL).await.unwrap() else {
            break;
        };
        if batch.operations.iter().any(|o| o.note_id == "n5") {
            let refusal = Failure::local(Cause::BadRequest, "no");
            replica.refuse_push(batch, refusal).await.unwrap();
            continue;
        }
        version += 1;
        let applied = batch
            .operations
            .iter()
            .map(|o| applied(o, version))
            .collect();
        let answer = PushAnswer {
            applied,
            ..PushAnswer::default()
        };
        replica.apply_push(batch, answer).await.unwrap();
    }
    assert_eq!(replica.backlog().waiting, 0);
    assert_eq!(replica.refused().await, ["n5"]);
    assert_eq!(replica.backlog().rejected, 1);
}

async fn a_new_write_replaces_a_refused_one(replica: impl Bench) {
    assert!(replica.put("a", "bad").await);
    let batch = replica.batch().await;
    let refusal = Failure::local(Cause::BadRequest, "no");
    replica.refuse_push(batch, refusal).await.unwrap();
    assert_eq!(replica.refused().await, ["a"]);
    assert!(replica.put("a", "good").await);
    assert!(replica.refused().await.is_empty());
    let operation = replica.operation().await;
    assert_eq!(operation.note.unwrap().fields["content"], "good");
}

async fn a_write_that_follows_a_refused_one_takes_its_place(replica: impl Bench) {
    assert!(replica.put("a", "bad").await);
    let batch = replica.batch().await;
    assert!(replica.put("a", "good").await);
    let refusal = Failure::local(Cause::BadRequest, "no");
    replica.refuse_push(batch, refusal).await.unwrap();
    assert!(replica.refused().await.is_empty());
    let later = replica.operation().await;
    let answer = taken(&later, 1);
    replica.apply_push(only(&later), answer).await.unwrap();
    assert_eq!(replica.backlog().rejected, 0);
    assert_eq!(replica.text("a").await.unwrap(), "good");
}

async fn both_sides_of_a_conflict_are_kept_until_a_write_decides(replica: impl Bench) {
    replica.pull(0, &[(1, record("a", 1, "base"))], 1).await;
    assert!(replica.put("a", "ours").await);
    let sent = replica.operation().await;
    let answer = conflict(&sent, Some(record("a", 2, "theirs")));
    replica.apply_push(only(&sent), answer).await.unwrap();
    assert_eq!(replica.conflicting().await, ["a"]);
    assert_eq!(replica.backlog().conflicts, 1);
    assert_eq!(replica.text("a").await.unwrap(), "ours");
    assert_eq!(replica.take_batch(ALL).await.unwrap(), None);
    assert!(replica.put("a", "both").await);
    assert!(replica.conflicting().await.is_empty());
    let decision = replica.operation().await;
    assert_eq!(decision.base_version, Version(2));
    assert_eq!(decision.note.unwrap().fields["content"], "both");
}

async fn a_conflict_with_our_own_content_is_an_acknowledgement(replica: impl Bench) {
    assert!(replica.put("a", "ours").await);
    let sent = replica.operation().await;
    let answer = conflict(&sent, Some(record("a", 1, "ours")));
    replica.apply_push(only(&sent), answer).await.unwrap();
    assert!(replica.conflicting().await.is_empty());
    assert_eq!(replica.backlog().waiting, 0);
    assert_eq!(replica.view("a").await.unwrap().version, Version(1));
}

async fn a_full_outbox_says_so_and_takes_folds(replica: impl Bench) {
    for n in 0..1_000 {
        assert!(replica.put(&format!("n{n}"), "x").await, "{n}");
    }
    assert!(!replica.put("one too many", "x").await);
    assert_eq!(replica.view("one too many").await, None);
    assert!(replica.put("n7", "folded").await);
    assert_eq!(replica.backlog().waiting, 1_000);
}
