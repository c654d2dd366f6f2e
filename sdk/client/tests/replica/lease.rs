//! Who syncs a store that several have open, seen from the replica.

use std::time::Duration;

use evenkeel::wire::PushAnswer;
use evenkeel::{Cause, Cursor, Failure, Hold, Lease, Replica, ReplicaError, SqliteStore};
use rusqlite::Connection;

use crate::bench::{ALL, Bench, Place, only, page, record, snapshot, taken};

async fn hold(store: &SqliteStore) -> Hold {
    Lease::hold(store).await.unwrap()
}

const OURS: Hold = Hold::Ours { undisturbed: false };
const STILL_OURS: Hold = Hold::Ours { undisturbed: true };
const THEIRS: Hold = Hold::Theirs {
    status: None,
    answered: 0,
};

const fn theirs(status: Option<String>) -> Hold {
    Hold::Theirs {
        status,
        answered: 0,
    }
}

/// What a thief does: another process that found the holder frozen.
fn steal(place: &Place) {
    let db = Connection::open(place.path()).unwrap();
    let sql = "UPDATE lease SET epoch = epoch + 1, holder = 'another process', locked = 0";
    assert_eq!(db.execute(sql, []).unwrap(), 1);
}

#[tokio::test]
async fn one_holds_the_lease_until_it_lets_go() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    assert_eq!(hold(&one).await, OURS);
    assert_eq!(hold(&one).await, STILL_OURS);
    assert_eq!(hold(&other).await, THEIRS);
    one.release().await.unwrap();
    assert_eq!(hold(&other).await, OURS);
    assert_eq!(hold(&one).await, THEIRS);
    other.release().await.unwrap();
    assert_eq!(hold(&one).await, OURS, "another held it in between");
    one.release().await.unwrap();
    assert_eq!(hold(&one).await, STILL_OURS);
    one.close().await.unwrap();
    assert_eq!(hold(&other).await, OURS);
    drop(other);
    let mut third = place.open().await;
    while hold(&third).await != OURS {
        // The thread of a dropped store ends a moment later.
        tokio::task::yield_now().await;
        third = place.open().await;
    }
}

#[tokio::test]
async fn many_that_ask_at_the_same_moment_get_one_holder() {
    for _ in 0..20 {
        let place = Place::new();
        let mut asks = Vec::new();
        for _ in 0..6 {
            let store = place.open().await;
            asks.push(tokio::spawn(async move { (hold(&store).await, store) }));
        }
        let mut holders = 0;
        let mut open = Vec::new();
        for ask in asks {
            let (hold, store) = ask.await.unwrap();
            holders += u32::from(hold == OURS);
            open.push(store);
        }
        assert!(holders <= 1, "{holders} holders");
        if holders == 0 {
            // All were in each other's way; somebody gets it with the next look.
            assert_eq!(hold(&open[3]).await, OURS);
        }
    }
}

#[tokio::test]
async fn the_holders_status_is_read_by_the_others() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    hold(&one).await;
    for status in ["one", "two"] {
        one.publish(status.into());
        // The next call waits for what was said before.
        hold(&one).await;
        let status = Some(status.to_owned());
        assert_eq!(hold(&other).await, theirs(status));
    }
    other.publish("not mine to say".into());
    hold(&other).await;
    let status = Some("two".to_owned());
    assert_eq!(hold(&other).await, theirs(status));
    one.release().await.unwrap();
    assert_eq!(hold(&other).await, OURS);
    assert_eq!(hold(&one).await, THEIRS, "a new holder, an old status");
}

#[tokio::test]
async fn who_lost_the_lease_changes_nothing_with_what_it_began() {
    let place = Place::new();
    let store = place.open().await;
    hold(&store).await;
    store.pull(0, &[(1, record("theirs", 1, "old"))], 1).await;
    assert!(Bench::put(&store, "ours", "x").await);
    let sent = store.operation().await;
    steal(&place);
    let before = dump(&place);
    let newer = page(&[(2, record("theirs", 2, "new"))], 2);
    lost(store.apply_page(Cursor(1), newer).await);
    lost(store.apply_page(Cursor(1), page(&[], 1)).await);
    lost(store.replace(snapshot(&[], 9), None).await);
    lost(store.take_batch(ALL).await);
    lost(store.apply_push(only(&sent), taken(&sent, 1)).await);
    lost(store.apply_push(only(&sent), PushAnswer::default()).await);
    let refusal = Failure::local(Cause::BadRequest, "no");
    lost(store.refuse_push(only(&sent), refusal).await);
    assert_eq!(dump(&place), before);
    tokio::time::timeout(Duration::from_secs(5), store.lost())
        .await
        .expect("nobody was told");
    // It is a writer like any other now.
    assert!(Bench::put(&store, "more", "y").await);
    assert!(matches!(hold(&store).await, Hold::Theirs { .. }));
}

fn lost<T: std::fmt::Debug>(done: Result<T, ReplicaError>) {
    assert!(matches!(done, Err(ReplicaError::LeaseLost)), "{done:?}");
}

/// Everything that the store holds.
fn dump(place: &Place) -> Vec<String> {
    let db = Connection::open(place.path()).unwrap();
    let mut rows = Vec::new();
    for table in [
        "meta",
        "records",
        "outbox",
        "conflicts",
        "parked",
        "merges",
        "lease",
        "verdicts",
    ] {
        let mut statement = db.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let found = statement.query_map([], |row| {
            let values = (0..columns).map(|n| row.get::<_, rusqlite::types::Value>(n).unwrap());
            Ok(format!("{table} {:?}", values.collect::<Vec<_>>()))
        });
        rows.extend(found.unwrap().map(Result::unwrap));
    }
    rows
}

#[tokio::test]
async fn a_holder_is_told_of_its_loss_without_asking() {
    let place = Place::new();
    let store = place.open().await;
    hold(&store).await;
    // Somebody has to listen, as a client or a waiting handle does.
    let _handle = store.put("a", crate::bench::content("x")).await.unwrap();
    steal(&place);
    tokio::time::timeout(Duration::from_secs(5), store.lost())
        .await
        .expect("nobody was told");
}

#[tokio::test]
async fn who_lost_it_and_finds_it_free_again_does_not_go_on_by_itself() {
    let place = Place::new();
    let (one, thief) = (place.open().await, place.open().await);
    hold(&one).await;
    steal(&place);
    let db = Connection::open(place.path()).unwrap();
    db.execute("UPDATE lease SET holder = NULL", []).unwrap();
    for _ in 0..2 {
        let stale = snapshot(&[record("a", 1, "stale")], 1);
        lost(one.replace(stale, None).await);
    }
    assert_eq!(hold(&thief).await, OURS, "the lock is free too");
}

#[tokio::test]
async fn a_store_without_a_client_syncs_where_nobody_else_does() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    one.pull(0, &[(1, record("a", 1, "x"))], 1).await;
    lost(other.take_batch(ALL).await);
    assert!(Bench::put(&other, "b", "y").await);
    assert_eq!(one.operation().await.note_id, "b");
}
