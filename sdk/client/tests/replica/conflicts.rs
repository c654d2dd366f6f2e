//! Conflicts in the durable store: merged where nothing clashes, kept where something does.

use evenkeel::store::{Conflict, Resolution, SqliteStore, StoreError, Verdict, WriteHandle};
use evenkeel::wire::{Operation, UnixMillis, Version};
use evenkeel::{Change, Origin, Record, Replica};
use evenkeel_proto::merge::Clash;
use serde_json::{Value, json};

use crate::bench::{ALL, Bench, Place, conflict, content, fields, only, record, record_of, taken};

fn base() -> Record {
    record_of(
        "a",
        1,
        json!({"content": "milk", "done": false, "tag": "x"}),
    )
}

fn theirs(version: u64, change: Value) -> Record {
    let mut record = base();
    record.version = Version(version);
    record.fields.extend(fields(change));
    record
}

fn tombstone(version: u64) -> Record {
    Record {
        deleted_at: Some(UnixMillis(9)),
        ..theirs(version, json!({}))
    }
}

async fn patched(store: &SqliteStore, change: Value) -> WriteHandle {
    store.patch("a", fields(change)).await.unwrap()
}

/// Sends what waits; the server has this in its stead.
async fn meet(store: &SqliteStore, server: Option<Record>) -> Operation {
    let sent = store.operation().await;
    store
        .apply_push(only(&sent), conflict(&sent, server))
        .await
        .unwrap();
    sent
}

async fn the_conflict(store: &SqliteStore) -> Conflict {
    let mut conflicts = store.conflicts().await.unwrap();
    assert_eq!(conflicts.len(), 1);
    conflicts.remove(0)
}

async fn acknowledge(store: &SqliteStore, version: u64) -> Operation {
    let sent = store.operation().await;
    store
        .apply_push(only(&sent), taken(&sent, version))
        .await
        .unwrap();
    sent
}

async fn with_base(place: &Place) -> SqliteStore {
    let store = place.open().await;
    store.pull(0, &[(1, base())], 1).await;
    store
}

#[tokio::test]
async fn different_fields_merge_by_themselves() {
    let place = Place::new();
    let store = with_base(&place).await;
    let handle = patched(&store, json!({"content": "milk, eggs"})).await;
    let first = meet(&store, Some(theirs(2, json!({"done": true})))).await;
    assert_eq!(first.client_changed_fields, Some(vec!["content".into()]));
    assert!(store.conflicting().await.is_empty());
    let second = acknowledge(&store, 3).await;
    assert_ne!(second.request_id, first.request_id);
    assert_eq!(second.base_version, Version(2));
    assert_eq!(second.auto_merge_attempted, Some(true));
    let merged = second.note.unwrap().fields;
    assert_eq!(
        Value::Object(merged),
        json!({"content": "milk, eggs", "done": true, "tag": "x"})
    );
    let version = Version(3);
    assert_eq!(handle.await, Ok(Verdict::Acknowledged { version }));
}

#[tokio::test]
async fn what_the_service_stamps_on_each_change_is_no_clash() {
    let place = Place::new();
    let store = place.open().await;
    let stamped = record_of(
        "a",
        1,
        json!({"content": "milk", "lastModifiedByDeviceId": "d1"}),
    );
    store.pull(0, &[(1, stamped)], 1).await;
    // A whole record from the app, which knows nothing of the stamp.
    assert!(Bench::put(&store, "a", "eggs").await);
    let theirs = json!({"content": "milk", "done": true, "lastModifiedByDeviceId": "d2"});
    meet(&store, Some(record_of("a", 2, theirs))).await;
    let merged = store.operation().await.note.unwrap().fields;
    let expected = json!({"content": "eggs", "done": true, "lastModifiedByDeviceId": "d2"});
    assert_eq!(Value::Object(merged), expected);
}

#[tokio::test]
async fn a_second_merge_of_a_record_within_five_minutes_is_taken_for_a_loop() {
    let place = Place::new();
    let store = with_base(&place).await;
    let handle = patched(&store, json!({"content": "milk, eggs"})).await;
    meet(&store, Some(theirs(2, json!({"done": true})))).await;
    meet(&store, Some(theirs(3, json!({"done": true, "tag": "y"})))).await;
    assert_eq!(handle.await, Ok(Verdict::Conflicted));
    let conflict = the_conflict(&store).await;
    assert_eq!(conflict.clash, None);
    assert_eq!(conflict.local.unwrap().fields["content"], "milk, eggs");
}

#[tokio::test]
async fn the_same_field_on_both_sides_waits_for_the_app() {
    let place = Place::new();
    let store = with_base(&place).await;
    let handle = patched(&store, json!({"content": "ours", "done": true})).await;
    meet(&store, Some(theirs(2, json!({"content": "theirs"})))).await;
    assert_eq!(handle.await, Ok(Verdict::Conflicted));
    let conflict = the_conflict(&store).await;
    assert_eq!(conflict.clash, Some(Clash::Fields(vec!["content".into()])));
    assert_eq!(conflict.base.unwrap()["content"], "milk");
    assert_eq!(conflict.local.unwrap().fields["content"], "ours");
    assert_eq!(conflict.server.unwrap().fields["content"], "theirs");
    assert_eq!(store.text("a").await.unwrap(), "ours");
    // Others are not held up, and the conflict survives a restart.
    assert!(Bench::put(&store, "b", "x").await);
    assert_eq!(store.operation().await.note_id, "b");
    store.close().await.unwrap();
    assert_eq!(place.open().await.conflicting().await, ["a"]);
}

#[tokio::test]
async fn a_later_edit_is_the_local_side_of_a_conflict() {
    let place = Place::new();
    let store = with_base(&place).await;
    let first = patched(&store, json!({"content": "one"})).await;
    let sent = store.operation().await;
    let second = patched(&store, json!({"content": "two"})).await;
    let server = theirs(2, json!({"content": "theirs"}));
    let answer = conflict(&sent, Some(server));
    store.apply_push(only(&sent), answer).await.unwrap();
    assert_eq!(first.await, Ok(Verdict::Conflicted));
    assert_eq!(second.await, Ok(Verdict::Conflicted));
    let conflict = the_conflict(&store).await;
    assert_eq!(conflict.local.unwrap().fields["content"], "two");
    assert_eq!(conflict.base.unwrap()["content"], "milk");
    assert_eq!(store.backlog().waiting, 0);
}

#[tokio::test]
async fn a_deletion_meets_an_edit() {
    let place = Place::new();
    let store = with_base(&place).await;
    Bench::delete(&store, "a").await;
    meet(&store, Some(theirs(2, json!({"content": "theirs"})))).await;
    let conflict = the_conflict(&store).await;
    assert_eq!(conflict.clash, Some(Clash::DeleteAgainstEdit));
    assert_eq!(conflict.local, None);
    assert_eq!(store.view("a").await, None);
    store.resolve("a", Resolution::KeepLocal).await.unwrap();
    let decision = acknowledge(&store, 3).await;
    assert_eq!(decision.base_version, Version(2));
    assert_eq!(decision.note, None);
}

#[tokio::test]
async fn an_edit_meets_a_deletion() {
    let place = Place::new();
    let store = with_base(&place).await;
    patched(&store, json!({"content": "ours"})).await;
    meet(&store, Some(tombstone(2))).await;
    let conflict = the_conflict(&store).await;
    assert_eq!(conflict.clash, Some(Clash::EditAgainstDelete));
    store.resolve("a", Resolution::KeepLocal).await.unwrap();
    let decision = acknowledge(&store, 3).await;
    assert_eq!(decision.base_version, Version(2));
    assert_eq!(decision.note.unwrap().fields["content"], "ours");
    assert_eq!(store.text("a").await.unwrap(), "ours");
}

#[tokio::test]
async fn a_deletion_of_what_only_moved_on_goes_through() {
    let place = Place::new();
    let store = with_base(&place).await;
    Bench::delete(&store, "a").await;
    meet(&store, Some(theirs(2, json!({})))).await;
    let again = store.operation().await;
    assert_eq!((again.base_version, again.note), (Version(2), None));
}

#[tokio::test]
async fn both_deleted_is_an_acknowledgement() {
    let place = Place::new();
    let store = with_base(&place).await;
    let handle = store.delete("a").await.unwrap();
    meet(&store, Some(tombstone(2))).await;
    let version = Version(2);
    assert_eq!(handle.await, Ok(Verdict::Acknowledged { version }));
    assert_eq!(store.take_batch(ALL).await.unwrap(), None);
}

#[tokio::test]
async fn a_record_that_the_server_lost_can_be_written_anew() {
    let place = Place::new();
    let store = with_base(&place).await;
    patched(&store, json!({"content": "ours"})).await;
    meet(&store, None).await;
    let conflict = the_conflict(&store).await;
    assert_eq!(conflict.server, None);
    store.resolve("a", Resolution::KeepLocal).await.unwrap();
    assert_eq!(acknowledge(&store, 1).await.base_version, Version(0));
    assert_eq!(store.text("a").await.unwrap(), "ours");
}

#[tokio::test]
async fn keeping_the_servers_side_needs_no_request() {
    let place = Place::new();
    let store = with_base(&place).await;
    patched(&store, json!({"content": "ours"})).await;
    meet(&store, Some(theirs(2, json!({"content": "theirs"})))).await;
    let handle = store.resolve("a", Resolution::KeepServer).await.unwrap();
    let version = Version(2);
    assert_eq!(handle.await, Ok(Verdict::Acknowledged { version }));
    assert_eq!(store.text("a").await.unwrap(), "theirs");
    assert_eq!(store.backlog(), Default::default());
}

#[tokio::test]
async fn a_merged_record_is_a_durable_write_on_the_servers_latest() {
    let place = Place::new();
    let store = with_base(&place).await;
    patched(&store, json!({"content": "ours"})).await;
    meet(&store, Some(theirs(2, json!({"content": "theirs"})))).await;
    // The server's side moves on while the user looks at the two.
    store
        .pull(1, &[(3, theirs(3, json!({"content": "theirs, later"})))], 3)
        .await;
    let server = the_conflict(&store).await.server.unwrap();
    assert_eq!(server.version, Version(3));
    let merged = Resolution::Merged(content("both"));
    store.resolve("a", merged).await.unwrap();
    store.close().await.unwrap();
    let store = place.open().await;
    assert!(store.conflicting().await.is_empty());
    let decision = store.operation().await;
    assert_eq!(decision.base_version, Version(3));
    assert_eq!(decision.note.unwrap().fields, content("both"));
}

#[tokio::test]
async fn there_is_nothing_to_resolve_without_a_conflict() {
    let place = Place::new();
    let store = with_base(&place).await;
    let resolved = store.resolve("a", Resolution::KeepLocal).await;
    assert_eq!(resolved.unwrap_err(), StoreError::NotFound);
}

#[tokio::test]
async fn a_restored_database_is_no_base_for_what_was_never_sent() {
    let place = Place::new();
    let store = place.open().await;
    store
        .pull(0, &[(1, record("a", 2, "before the restore"))], 1)
        .await;
    assert!(Bench::put(&store, "a", "ours").await);
    // The same version, with another content: sent as it is, the write would undo a stranger's.
    let notes = vec![record("a", 2, "after the restore")];
    store
        .replace(crate::bench::snapshot(&notes, 1), None)
        .await
        .unwrap();
    assert_eq!(store.conflicting().await, ["a"]);
}

#[tokio::test]
async fn an_app_hears_of_what_is_merged_into_its_record() {
    let place = Place::new();
    let store = with_base(&place).await;
    patched(&store, json!({"content": "ours"})).await;
    let server = theirs(2, json!({"done": true}));
    // Pulled before, when the local write still hid it.
    store.pull(1, &[(2, server.clone())], 2).await;
    let sent = store.operation().await;
    let answer = conflict(&sent, Some(server));
    let changes = store.apply_push(only(&sent), answer).await.unwrap();
    let merged = Change::Upserted {
        id: "a".into(),
        version: Version(2),
        origin: Origin::Remote,
    };
    assert_eq!(changes, [merged]);
    let seen = store.view("a").await.unwrap().fields;
    assert_eq!(
        (&seen["content"], &seen["done"]),
        (&json!("ours"), &json!(true))
    );
}
