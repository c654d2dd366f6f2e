//! What the app sees, told whenever it looks different.

use std::time::Duration;

use evenkeel::Record;
use evenkeel::store::{Observed, Order, Page, Query, StoreError};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::bench::{Bench, Place, content, fields, record};

/// The next look; it must come.
async fn next<T>(observed: &mut Observed<T>) -> T {
    let next = tokio::time::timeout(Duration::from_secs(20), observed.next());
    let next = next.await.expect("nothing was told");
    next.expect("the stream ended").unwrap()
}

/// Nothing is told about what has happened until now. The store works in order: once it has answered
/// for another read, a look that was due had its turn.
async fn nothing<T>(observed: &mut Observed<T>, store: &evenkeel::SqliteStore) {
    for _ in 0..3 {
        store.get("-").await.unwrap();
        let next = tokio::time::timeout(Duration::ZERO, observed.next()).await;
        assert!(next.is_err(), "told something");
    }
}

fn text(record: Option<&Record>) -> &str {
    record.map_or("-", |r| r.fields["content"].as_str().unwrap())
}

fn ids(page: &Page<Record>) -> String {
    page.items.iter().map(|record| record.id.as_str()).collect()
}

#[tokio::test]
async fn a_record_is_told_at_once_and_whenever_it_looks_different() {
    let place = Place::new();
    let store = place.open().await;
    let mut observed = store.observe("a");
    assert_eq!(next(&mut observed).await, None);
    store.put("a", content("ours")).await.unwrap();
    assert_eq!(text(next(&mut observed).await.as_ref()), "ours");
    store.put("b", content("another")).await.unwrap();
    store.pull(0, &[(1, record("c", 1, "x"))], 1).await;
    nothing(&mut observed, &store).await;
    store.delete("a").await.unwrap();
    assert_eq!(next(&mut observed).await, None);
    store.pull(0, &[(2, record("a", 1, "theirs"))], 2).await;
    assert_eq!(text(next(&mut observed).await.as_ref()), "theirs");
    store.close().await.unwrap();
    assert_eq!(observed.next().await, None);
    assert_eq!(observed.next().await, None);
}

#[tokio::test]
async fn a_reader_that_is_slow_sees_the_latest() {
    let place = Place::new();
    let store = place.open().await;
    let mut observed = store.observe("a");
    for n in 0..100 {
        store.put("a", content(&n.to_string())).await.unwrap();
    }
    assert_eq!(text(next(&mut observed).await.as_ref()), "99");
    nothing(&mut observed, &store).await;
}

#[tokio::test]
async fn a_list_is_told_when_what_is_in_it_changes() {
    let place = Place::new();
    let store = place.open().await;
    let first_two = Query {
        order: Order::Id,
        limit: 2,
        after: None,
    };
    let mut observed = store.observe_list(first_two);
    assert_eq!(ids(&next(&mut observed).await), "");
    store.put("b", content("x")).await.unwrap();
    assert_eq!(ids(&next(&mut observed).await), "b");
    let remote = [(1, record("c", 1, "x")), (2, record("d", 1, "x"))];
    store.pull(0, &remote, 2).await;
    let page = next(&mut observed).await;
    assert_eq!(ids(&page), "bc");
    assert!(page.next.is_some());
    store.put("e", content("beyond")).await.unwrap();
    nothing(&mut observed, &store).await;
    store.put("a", content("in front")).await.unwrap();
    assert_eq!(ids(&next(&mut observed).await), "ab");
}

#[tokio::test]
async fn what_another_process_writes_is_told_too() {
    let place = Place::new();
    let (here, there) = (place.open().await, place.open().await);
    let mut observed = here.observe("a");
    assert_eq!(next(&mut observed).await, None);
    there.put("a", content("from there")).await.unwrap();
    assert_eq!(text(next(&mut observed).await.as_ref()), "from there");
}

#[tokio::test]
async fn a_value_that_does_not_fit_its_type_is_told_and_the_stream_goes_on() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Note {
        content: String,
    }
    let place = Place::new();
    let store = place.open().await;
    let notes = store.collection::<Note>();
    store.put("a", content("x")).await.unwrap();
    let (mut one, mut all) = (notes.observe("a"), notes.observe_list(Query::default()));
    assert_eq!(next(&mut one).await.unwrap().value.content, "x");
    assert_eq!(next(&mut all).await.items[0].value.content, "x");
    store.put("a", fields(json!({"content": 7}))).await.unwrap();
    let misfit = one.next().await.unwrap();
    assert!(matches!(misfit, Err(StoreError::Shape { .. })));
    let misfit = all.next().await.unwrap();
    assert!(matches!(misfit, Err(StoreError::Shape { .. })));
    store.put("a", content("y")).await.unwrap();
    assert_eq!(next(&mut one).await.unwrap().value.content, "y");
    assert_eq!(next(&mut all).await.items[0].value.content, "y");
}

#[tokio::test]
async fn a_look_that_is_given_up_loses_nothing() {
    let place = Place::new();
    let store = place.open().await;
    let mut observed = store.observe("a");
    assert_eq!(next(&mut observed).await, None);
    for n in 0..50 {
        store.put("a", content(&n.to_string())).await.unwrap();
        let _ = tokio::time::timeout(Duration::ZERO, observed.next()).await;
    }
    store.put("a", content("last")).await.unwrap();
    while text(next(&mut observed).await.as_ref()) != "last" {}
}
