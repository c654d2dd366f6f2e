use evenkeel_proto::Cause;
use evenkeel_proto::wire::{Applied, Conflict, Operation, Version};
use serde_json::json;

use super::state::WRITES_KEPT_MAX;
use super::*;

fn fields(text: &str) -> Map<String, Value> {
    let mut fields = Map::new();
    fields.insert("content".into(), text.into());
    fields
}

fn record(id: &str, version: u64, text: &str) -> Record {
    Record {
        id: id.into(),
        version: Version(version),
        fields: fields(text),
        ..Record::default()
    }
}

fn page(changes: &[(u64, Record)], next: u64) -> PageBody {
    let changes = changes
        .iter()
        .map(|(cursor, note)| json!({"cursor": cursor, "op": "upsert", "note": note}));
    let changes: Vec<_> = changes.collect();
    body(&json!({"changes": changes, "nextCursor": next})).into()
}

fn body(json: &Value) -> Vec<u8> {
    json.to_string().into_bytes()
}

fn text(notes: &MemoryReplica, id: &str) -> Option<String> {
    notes
        .get(id)
        .map(|record| record.fields["content"].as_str().unwrap().to_owned())
}

const ALL: BatchLimits = BatchLimits {
    ops_max: 100,
    bytes_max: 1 << 20,
};

async fn batch(notes: &MemoryReplica) -> PushRequest {
    notes.take_batch(ALL).await.unwrap().unwrap()
}

fn applied(operation: &Operation, version: u64) -> Applied {
    let note = operation.note.clone().map(|note| Record {
        version: Version(version),
        ..note
    });
    Applied {
        request_id: operation.request_id.clone(),
        note,
        cursor: Cursor(version),
    }
}

#[tokio::test]
async fn a_page_is_applied_by_version_however_often_it_comes() {
    let notes = MemoryReplica::new();
    let newer = || page(&[(2, record("a", 2, "two"))], 2);
    let late = page(&[(1, record("a", 1, "one"))], 1);
    for (page, changed) in [(newer(), 1), (newer(), 0), (late, 0)] {
        let (_, changes) = notes.apply_page(Cursor(0), page).await.unwrap();
        assert_eq!(changes.len(), changed);
    }
    assert_eq!(text(&notes, "a").unwrap(), "two");
    assert_eq!(notes.cursor().await.unwrap(), Some(Cursor(2)));
}

#[tokio::test]
async fn a_page_that_would_leave_a_hole_changes_nothing() {
    let notes = MemoryReplica::new();
    let page = page(&[(9, record("a", 1, "x"))], 9);
    let error = notes.apply_page(Cursor(5), page).await.unwrap_err();
    assert!(matches!(error, ReplicaError::Gap { .. }), "{error}");
    assert!(notes.is_empty());
    assert_eq!(notes.cursor().await.unwrap(), None);
}

#[tokio::test]
async fn a_deleted_record_is_not_brought_back_by_an_older_change() {
    let notes = MemoryReplica::new();
    let gone = json!({"changes": [{"cursor": 2, "op": "delete",
        "note": {"id": "a", "version": 2}}], "nextCursor": 2});
    notes
        .apply_page(Cursor(0), body(&gone).into())
        .await
        .unwrap();
    let late = page(&[(1, record("a", 1, "one"))], 2);
    notes.apply_page(Cursor(0), late).await.unwrap();
    assert_eq!(notes.get("a"), None);
}

#[tokio::test]
async fn a_snapshot_replaces_everything_but_the_waiting_writes() {
    let notes = MemoryReplica::new();
    let old = page(&[(9, record("old", 1, "x"))], 9);
    notes.apply_page(Cursor(0), old).await.unwrap();
    notes.put("mine", fields("waiting")).unwrap();
    let snapshot = body(&json!({"notes": [record("new", 3, "y")], "cursor": 12}));
    let replaced = notes.replace(snapshot.into(), Some(Cursor(7))).await;
    let (_, changes) = replaced.unwrap();
    assert_eq!(changes, [Change::Replaced { records: 1 }]);
    assert_eq!(notes.cursor().await.unwrap(), Some(Cursor(7)));
    let ids: Vec<_> = notes.list().into_iter().map(|record| record.id).collect();
    assert_eq!(ids, ["mine", "new"]);
}

#[tokio::test]
async fn later_writes_fold_until_the_first_was_sent_and_are_based_on_its_outcome() {
    let notes = MemoryReplica::new();
    notes.put("a", fields("1")).unwrap();
    notes.put("a", fields("2")).unwrap();
    assert_eq!(notes.backlog().waiting, 1);
    let first = batch(&notes).await;
    notes.put("a", fields("3")).unwrap();
    notes.put("a", fields("4")).unwrap();
    assert_eq!(notes.backlog().waiting, 2);
    assert_eq!(
        batch(&notes).await,
        first,
        "one per record, bytes unchanged"
    );
    let answer = PushAnswer {
        applied: vec![applied(&first.operations[0], 1)],
        ..PushAnswer::default()
    };
    notes.apply_push(first, answer).await.unwrap();
    let second = batch(&notes).await;
    assert_eq!(second.operations[0].base_version, Version(1));
    assert_eq!(text(&notes, "a").unwrap(), "4");
}

#[tokio::test]
async fn an_answer_that_was_lost_is_found_in_the_log() {
    let notes = MemoryReplica::new();
    notes.put("a", fields("1")).unwrap();
    let sent = batch(&notes).await;
    let request_id = &sent.operations[0].request_id;
    let log = json!({"changes": [{"cursor": 1, "op": "upsert", "requestId": request_id,
        "note": record("a", 1, "1")}], "nextCursor": 1});
    notes
        .apply_page(Cursor(0), body(&log).into())
        .await
        .unwrap();
    assert_eq!(notes.backlog().waiting, 0);
}

#[tokio::test]
async fn a_conflict_with_our_own_content_is_an_acknowledgement() {
    for (theirs, conflicts) in [("same", 0), ("other", 1)] {
        let notes = MemoryReplica::new();
        notes.put("a", fields("same")).unwrap();
        let sent = batch(&notes).await;
        let mut server = record("a", 5, theirs);
        server.fields.insert("contentHash".into(), "h".into());
        let answer = PushAnswer {
            conflicts: vec![Conflict {
                request_id: sent.operations[0].request_id.clone(),
                note_id: "a".into(),
                base_version: Version(0),
                current_version: Version(5),
                server_note: Some(server),
                changed_fields: vec![],
            }],
            ..PushAnswer::default()
        };
        notes.apply_push(sent, answer).await.unwrap();
        assert_eq!(notes.backlog().waiting, 0);
        assert_eq!(notes.backlog().conflicts, conflicts, "{theirs}");
        if conflicts == 1 {
            assert_eq!(text(&notes, "a").unwrap(), "same");
            assert!(notes.keep_server("a") && !notes.keep_server("a"));
        }
        assert_eq!(text(&notes, "a").unwrap(), theirs);
    }
}

#[tokio::test]
async fn batches_stay_within_their_limits_but_never_stall() {
    let notes = MemoryReplica::new();
    for n in 0..5 {
        notes
            .put(&format!("n{n}"), fields(&"x".repeat(1000)))
            .unwrap();
    }
    let limits = |ops_max, bytes_max| BatchLimits { ops_max, bytes_max };
    for (limits, ops) in [
        (limits(2, 1 << 20), 2),
        (limits(100, 1 << 20), 5),
        (limits(100, 3_000), 2),
        (limits(100, 10), 1),
    ] {
        let batch = notes.take_batch(limits).await.unwrap().unwrap();
        assert_eq!(batch.operations.len(), ops, "{limits:?}");
        if ops > 1 {
            assert!(serde_json::to_vec(&batch).unwrap().len() <= limits.bytes_max);
        }
    }
}

#[tokio::test]
async fn a_refused_batch_is_halved_down_to_the_culprit() {
    let notes = MemoryReplica::new();
    for n in 0..8 {
        notes.put(&format!("n{n}"), fields("x")).unwrap();
    }
    let failure = Failure::local(Cause::BadRequest, "no");
    let mut sizes = Vec::new();
    while notes.backlog().rejected == 0 {
        let batch = batch(&notes).await;
        sizes.push(batch.operations.len());
        notes.refuse_push(batch, failure.clone()).await.unwrap();
    }
    assert_eq!(sizes, [8, 4, 2, 1]);
    assert_eq!(notes.refused()[0].id, "n0");
    assert_eq!(notes.refused()[0].reason, "no");
    assert_eq!(notes.backlog().waiting, 7);
    notes.put("n0", fields("better")).unwrap();
    assert_eq!(notes.backlog().rejected, 0);
}

#[test]
fn a_full_outbox_takes_no_new_record_but_goes_on_folding() {
    let notes = MemoryReplica::new();
    for n in 0..WRITES_KEPT_MAX {
        notes.put(&format!("n{n}"), fields("x")).unwrap();
    }
    assert_eq!(notes.put("more", fields("x")), Err(WriteError::OutboxFull));
    assert_eq!(notes.get("more"), None);
    notes.put("n7", fields("y")).unwrap();
    assert_eq!(text(&notes, "n7").unwrap(), "y");
    for id in ["", &"x".repeat(129)] {
        assert_eq!(notes.delete(id), Err(WriteError::Id));
    }
}
