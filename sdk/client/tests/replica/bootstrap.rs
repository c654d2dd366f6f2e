//! What an app had before there was a service.

use evenkeel::store::{Bootstrap, SignOut, StoreError, Verdict};
use evenkeel::wire::UnixMillis;
use evenkeel::{OutboxLevel, Record, Replica, Secret, SyncClient, SyncState};
use serde_json::json;

use crate::bench::{Bench, Place, content, fast, fields, record, record_of};
use crate::common::{Service, TOKEN, until};

fn notes(count: u64) -> Vec<Record> {
    let note = |n| record(&format!("n{n:05}"), 7, "from before");
    (0..count).map(note).collect()
}

#[tokio::test]
async fn all_of_it_goes_to_the_server_beyond_the_outboxs_limits() {
    let service = Service::start().await;
    service.write("n00003", "the server's own");
    service.write("n00004", "from before");
    let place = Place::new();
    let mut options = fast();
    (options.outbox_soft_max, options.outbox_hard_max) = (2, 3);
    let store = place.open_with(options).await;
    let done = store.bootstrap(notes(250)).await.unwrap();
    assert_eq!(done, Bootstrap::Taken { records: 250 });
    assert_eq!(store.pending().await.unwrap().level, OutboxLevel::Normal);
    // The app goes on writing, within limits of its own.
    let edit = store.put("n00001", content("edited")).await.unwrap();
    for id in ["x", "y", "z"] {
        store.put(id, content("new")).await.unwrap();
    }
    let refused = store.put("w", content("too many")).await.unwrap_err();
    assert_eq!(refused, StoreError::OutboxFull { kept: 3 });

    let client = SyncClient::builder(&service.url)
        .token(Secret::new(TOKEN))
        .replica(store.clone())
        .build()
        .unwrap();
    client.start().unwrap();
    until(&client, "sent", |s| {
        s.state == SyncState::Synced && s.pending == 0
    })
    .await;
    assert!(matches!(edit.await, Ok(Verdict::Acknowledged { .. })));
    assert_eq!(service.content("n00001").unwrap(), "edited");
    assert_eq!(service.content("n00249").unwrap(), "from before");
    assert_eq!(store.conflicting().await, ["n00003"]);
    client.stop().await;
}

#[tokio::test]
async fn it_is_done_once_per_store() {
    let place = Place::new();
    let store = place.open_with(fast()).await;
    store.bootstrap(notes(2)).await.unwrap();
    store.delete("n00000").await.unwrap();
    store.close().await.unwrap();
    let store = place.open().await;
    let again = store.bootstrap(notes(5)).await.unwrap();
    assert_eq!(again, Bootstrap::DoneBefore);
    assert_eq!(store.view("n00000").await, None, "it was deleted since");
    assert_eq!(store.view("n00004").await, None);
    // Another user of the device begins anew.
    store.sign_out(SignOut::Wipe).await.unwrap();
    let store = place.open().await;
    let done = store.bootstrap(notes(5)).await.unwrap();
    assert_eq!(done, Bootstrap::Taken { records: 5 });
}

#[tokio::test]
async fn what_the_store_knows_better_is_left_alone() {
    let place = Place::new();
    let store = place.open().await;
    let gone = Record {
        deleted_at: Some(UnixMillis(5)),
        ..record("n00001", 3, "x")
    };
    store
        .pull(0, &[(1, record("n00000", 1, "server's")), (2, gone)], 2)
        .await;
    store.put("n00002", content("newer")).await.unwrap();
    let deleted = Record {
        deleted_at: Some(UnixMillis(1)),
        ..record("n00009", 1, "deleted long ago")
    };
    let dated = Record {
        created_at: UnixMillis(11),
        updated_at: UnixMillis(22),
        ..record_of(
            "dated",
            4,
            json!({"content": "x", "version": 9, "tags": ["a"]}),
        )
    };
    let mut records = notes(3);
    records.extend([deleted, dated.clone(), dated]);
    let done = store.bootstrap(records).await.unwrap();
    assert_eq!(done, Bootstrap::Taken { records: 1 });
    assert_eq!(store.text("n00000").await.unwrap(), "server's");
    assert_eq!(store.view("n00001").await, None);
    assert_eq!(store.text("n00002").await.unwrap(), "newer");
    assert_eq!(store.view("n00009").await, None);
    let taken = store.view("dated").await.unwrap();
    assert_eq!((taken.created_at.0, taken.updated_at.0), (11, 22));
    assert_eq!(taken.version.0, 0);
    assert_eq!(taken.fields, fields(json!({"content": "x", "tags": ["a"]})));
    assert_eq!(store.backlog().waiting, 2);
}

#[tokio::test]
async fn one_bad_record_and_none_is_taken() {
    let place = Place::new();
    let store = place.open().await;
    let mut records = notes(3);
    records.push(record(&"x".repeat(129), 1, "bad id"));
    assert_eq!(store.bootstrap(records).await, Err(StoreError::Id));
    assert_eq!(store.backlog().waiting, 0);
    let done = store.bootstrap(notes(3)).await.unwrap();
    assert_eq!(done, Bootstrap::Taken { records: 3 });
    assert_eq!(store.backlog().waiting, 3);
}
