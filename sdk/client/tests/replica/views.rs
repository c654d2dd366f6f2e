//! What the app reads: lists in order and in pages, typed values, patches.

use evenkeel::store::{Order, Query, SqliteStore, StoreError};
use evenkeel::wire::{UnixMillis, Version};
use evenkeel::{Record, Replica};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bench::{Bench, Place, content, fields, record, record_of};

fn dated(id: &str, created: i64, updated: i64) -> Record {
    Record {
        created_at: UnixMillis(created),
        updated_at: UnixMillis(updated),
        ..record(id, 1, id)
    }
}

async fn filled(place: &Place) -> SqliteStore {
    let store = place.open().await;
    let records = [
        (1, dated("a", 1, 30)),
        (2, dated("b", 2, 20)),
        (3, dated("c", 3, 10)),
        (4, dated("d", 3, 10)),
    ];
    store.pull(0, &records, 4).await;
    store
}

/// All pages, so many at a time.
async fn ids(store: &SqliteStore, order: Order, limit: usize) -> String {
    let mut query = Query {
        order,
        limit,
        after: None,
    };
    let mut ids = String::new();
    loop {
        let page = store.list(query.clone()).await.unwrap();
        assert!(page.items.len() <= limit);
        for record in page.items {
            ids += &record.id;
        }
        match page.next {
            Some(next) => query.after = Some(next),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn lists_come_in_every_order_whatever_the_page() {
    let place = Place::new();
    let store = filled(&place).await;
    for limit in 1..6 {
        assert_eq!(ids(&store, Order::NewestUpdate, limit).await, "abdc");
        assert_eq!(ids(&store, Order::OldestUpdate, limit).await, "cdba");
        assert_eq!(ids(&store, Order::NewestCreation, limit).await, "dcba");
        assert_eq!(ids(&store, Order::OldestCreation, limit).await, "abcd");
        assert_eq!(ids(&store, Order::Id, limit).await, "abcd");
    }
}

#[tokio::test]
async fn lists_show_local_writes_in_their_place() {
    let place = Place::new();
    let store = filled(&place).await;
    assert!(Bench::put(&store, "b", "changed").await);
    assert!(Bench::put(&store, "new", "x").await);
    Bench::delete(&store, "c").await;
    for limit in 1..6 {
        assert_eq!(ids(&store, Order::OldestCreation, limit).await, "abdnew");
        assert_eq!(ids(&store, Order::Id, limit).await, "abdnew");
    }
    let page = store
        .list(Query {
            order: Order::Id,
            ..Query::default()
        })
        .await
        .unwrap();
    assert_eq!(page.items[1].fields, content("changed"));
    assert_eq!(page.items[1].version, Version(1));
    assert_eq!(page.items[1].created_at, UnixMillis(2));
}

#[tokio::test]
async fn a_patch_changes_its_fields_alone() {
    let place = Place::new();
    let store = place.open().await;
    store
        .pull(0, &[(1, record_of("a", 1, json!({"x": 1, "y": 1})))], 1)
        .await;
    store
        .patch("a", fields(json!({"y": null, "z": 2})))
        .await
        .unwrap();
    let patched = store.get("a").await.unwrap().unwrap().fields;
    assert_eq!(patched, fields(json!({"x": 1, "y": null, "z": 2})));
    let missing = store.patch("b", fields(json!({"x": 1}))).await;
    assert_eq!(missing.unwrap_err(), StoreError::NotFound);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Note {
    content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_date: Option<u32>,
}

#[tokio::test]
async fn a_type_reads_and_writes_its_fields_and_keeps_those_it_does_not_know() {
    let place = Place::new();
    let store = place.open().await;
    let fresh = json!({"content": "milk", "dueDate": 7, "colour": "red"});
    store.pull(0, &[(1, record_of("a", 1, fresh))], 1).await;
    let notes = store.collection::<Note>();
    let mut note = notes.get("a").await.unwrap().unwrap();
    assert_eq!((note.version, note.value.due_date), (Version(1), Some(7)));
    note.value.due_date = None;
    note.value.content = "eggs".into();
    notes.put("a", &note.value).await.unwrap();
    let stored = store.get("a").await.unwrap().unwrap().fields;
    assert_eq!(stored, fields(json!({"colour": "red", "content": "eggs"})));
    let listed = notes.list(Query::default()).await.unwrap().items;
    assert_eq!(listed[0].value, note.value);
}

#[tokio::test]
async fn a_value_that_does_not_fit_says_so() {
    let place = Place::new();
    let store = place.open().await;
    let put = store.collection::<u32>().put("a", &7).await;
    assert!(matches!(put, Err(StoreError::Shape { .. })), "{put:?}");
    store.put("a", fields(json!({"content": 7}))).await.unwrap();
    let read = store.collection::<Note>().get("a").await;
    assert!(matches!(read, Err(StoreError::Shape { .. })), "{read:?}");
    assert_eq!(store.backlog().waiting, 1);
}
