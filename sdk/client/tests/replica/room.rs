//! A full disk, played by a limit on the file.

use evenkeel::store::{SqliteStore, StoreError, StoreOptions};
use evenkeel::{Cursor, Replica, ReplicaError};

use crate::bench::{ACCOUNT, Bench, Place, content, fast, page, record};

const LIMIT: u64 = 1 << 20;

fn narrow() -> StoreOptions {
    let mut options = fast();
    options.bytes_max = Some(LIMIT);
    options
}

/// Writes until nothing fits any more; how many writes did.
async fn fill(store: &SqliteStore) -> usize {
    for n in 0..500 {
        match store
            .put(format!("n{n}"), content(&"x".repeat(10_000)))
            .await
        {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, StoreError::Full);
                return n;
            }
        }
    }
    panic!("the limit does not hold");
}

#[tokio::test]
async fn a_full_disk_is_told_and_nothing_is_half_written() {
    let place = Place::new();
    let store = place.open_with(narrow()).await;
    let written = fill(&store).await;
    assert!(written > 20, "{written}");
    assert_eq!(store.backlog().waiting as usize, written);
    assert_eq!(store.view(&format!("n{written}")).await, None);
    assert_eq!(store.text("n0").await.unwrap().len(), 10_000);

    let records: Vec<_> = (1..50)
        .map(|n| (n, record(&format!("r{n}"), 1, &"y".repeat(10_000))))
        .collect();
    let error = store.apply_page(Cursor(0), page(&records, 50)).await;
    assert!(matches!(error, Err(ReplicaError::Full)), "{error:?}");
    assert_eq!(store.cursor().await.unwrap(), None);
    assert_eq!(store.view("r1").await, None);
    store.close().await.unwrap();
    assert!(std::fs::metadata(place.path()).unwrap().len() <= LIMIT);
}

#[tokio::test]
async fn the_store_goes_on_when_there_is_room_again() {
    let place = Place::new();
    let store = place.open_with(narrow()).await;
    let written = fill(&store).await;
    for n in 0..written / 2 {
        store.delete(format!("n{n}")).await.unwrap();
    }
    store
        .put("again", content(&"z".repeat(10_000)))
        .await
        .unwrap();
    store.pull(0, &[(1, record("r", 1, "y"))], 1).await;
    assert_eq!(store.cursor().await.unwrap(), Some(Cursor(1)));
    store.close().await.unwrap();

    // A larger limit does as well.
    let store = SqliteStore::open(place.path(), ACCOUNT, fast())
        .await
        .unwrap();
    for n in 0..written {
        store
            .put(format!("m{n}"), content(&"x".repeat(10_000)))
            .await
            .unwrap();
    }
}
