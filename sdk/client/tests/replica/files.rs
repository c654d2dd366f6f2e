//! Files: what is opened, what is refused, and that what is refused stays as it is.

use std::fs;

use evenkeel::store::{OpenError, SignOut, SqliteStore, StoreError, StoreOptions};
use evenkeel::{Cursor, Replica};
use rusqlite::Connection;

use crate::bench::{ACCOUNT, Bench, Place, content, fast, page, record};

async fn refusal(place: &Place, account: &str) -> OpenError {
    let opened = SqliteStore::open(place.path(), account, fast()).await;
    opened.expect_err("it was opened")
}

/// Everything that lies there: the file and those beside it.
fn bytes(place: &Place) -> Vec<u8> {
    fs::read(place.path()).unwrap()
}

async fn filled(place: &Place) {
    let store = place.open().await;
    store.pull(0, &[(3, record("theirs", 3, "x"))], 3).await;
    for n in 0..200 {
        assert!(Bench::put(&store, &format!("n{n}"), &"milk ".repeat(100)).await);
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let place = Place::new();
    filled(&place).await;
    let store = place.open().await;
    assert_eq!(store.backlog().waiting, 200);
    assert_eq!(store.cursor().await.unwrap(), Some(Cursor(3)));
    assert_eq!(store.text("theirs").await.unwrap(), "x");
    assert!(store.text("n199").await.unwrap().starts_with("milk"));
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let place = Place::new();
    fs::write(
        place.path(),
        "a shopping list, and not a short one".repeat(100),
    )
    .unwrap();
    let before = bytes(&place);
    let error = refusal(&place, ACCOUNT).await;
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    assert_eq!(bytes(&place), before);
}

#[tokio::test]
async fn a_foreign_database_is_refused_and_left_alone() {
    let place = Place::new();
    let db = Connection::open(place.path()).unwrap();
    db.execute_batch("CREATE TABLE birds (name TEXT); INSERT INTO birds VALUES ('wren')")
        .unwrap();
    drop(db);
    let before = bytes(&place);
    let error = refusal(&place, ACCOUNT).await;
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    assert_eq!(bytes(&place), before);
}

#[tokio::test]
async fn a_foreign_database_with_a_log_beside_it_is_left_alone() {
    let place = Place::new();
    let db = Connection::open(place.path()).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE birds (name TEXT)")
        .unwrap();
    // As after a crash: the log still holds what the file does not.
    let wal = place.path().with_extension("db-wal");
    let (file, log) = (bytes(&place), fs::read(&wal).unwrap());
    drop(db);
    fs::write(place.path(), &file).unwrap();
    fs::write(&wal, &log).unwrap();
    let error = refusal(&place, ACCOUNT).await;
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    assert_eq!(bytes(&place), file);
    assert_eq!(fs::read(&wal).unwrap(), log);
}

#[tokio::test]
async fn a_store_of_a_later_release_is_refused_and_left_alone() {
    let place = Place::new();
    filled(&place).await;
    let db = Connection::open(place.path()).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let before = bytes(&place);
    let error = refusal(&place, ACCOUNT).await;
    assert_eq!(
        error,
        OpenError::Newer {
            found: 99,
            known: 5
        }
    );
    assert_eq!(bytes(&place), before);
}

#[tokio::test]
async fn a_damaged_store_is_refused_and_left_alone() {
    let place = Place::new();
    filled(&place).await;
    let mut damaged = bytes(&place);
    // The pages after the first, which tells that it is a store.
    for byte in damaged.iter_mut().skip(4096).step_by(7) {
        *byte ^= 0x5a;
    }
    fs::write(place.path(), &damaged).unwrap();
    let error = refusal(&place, ACCOUNT).await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert_eq!(bytes(&place), damaged);
}

#[tokio::test]
async fn a_store_that_was_cut_short_is_refused_and_left_alone() {
    let place = Place::new();
    filled(&place).await;
    let whole = bytes(&place);
    let half = &whole[..whole.len() / 2];
    fs::write(place.path(), half).unwrap();
    let error = refusal(&place, ACCOUNT).await;
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
    assert_eq!(bytes(&place), half);
}

#[tokio::test]
async fn another_account_never_sees_the_first_ones_records() {
    let place = Place::new();
    filled(&place).await;
    let before = bytes(&place);
    assert_eq!(refusal(&place, "account-2").await, OpenError::WrongAccount);
    assert_eq!(bytes(&place), before);
    assert_eq!(place.open().await.backlog().waiting, 200);
}

/// As the first release wrote it.
fn filled_by_the_first_release(place: &Place) -> Connection {
    let db = Connection::open(place.path()).unwrap();
    db.execute_batch(include_str!("../../src/store/migrations/0001_store.sql"))
        .unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA application_id = 1165388652; PRAGMA user_version = 1;
         UPDATE meta SET account_id = 'account-1', cursor = 7;
         INSERT INTO records VALUES ('theirs', 3, 1, 1, NULL, '{\"content\":\"x\"}');
         INSERT INTO outbox VALUES ('ours', 0, NULL, '{\"content\":\"y\"}', 1, 1, 9, 'request-1', 0,
             NULL, NULL, NULL, 0);
         INSERT INTO conflicts VALUES ('torn', 1, NULL, '{}', 1, 1, 1);
         INSERT INTO parked VALUES ('bad', 1, NULL, '{}', 1, 1, 1, '{\"kind\":\"left_out\"}');",
    )
    .unwrap();
    db
}

#[tokio::test]
async fn a_store_of_the_first_release_is_brought_to_this_format_with_everything_in_it() {
    let place = Place::new();
    drop(filled_by_the_first_release(&place));
    for _ in 0..2 {
        let store = place.open().await;
        let backlog = store.backlog();
        let counts = (backlog.waiting, backlog.conflicts, backlog.rejected);
        assert_eq!(counts, (1, 1, 1));
        assert_eq!(store.cursor().await.unwrap(), Some(Cursor(7)));
        assert_eq!(store.settled().await.unwrap(), Cursor::ZERO);
        assert_eq!(store.text("theirs").await.unwrap(), "x");
        assert_eq!(store.text("ours").await.unwrap(), "y");
        assert_eq!(store.operation().await.request_id, "request-1");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_crash_before_a_new_format_is_whole_leaves_the_old_one() {
    let place = Place::new();
    let mut db = filled_by_the_first_release(&place);
    let half = include_str!("../../src/store/migrations/0002_processes.sql");
    let half = half.split_inclusive(';').take(2).collect::<String>();
    let tx = db.transaction().unwrap();
    tx.execute_batch(&half).unwrap();
    // What lies on the disk while the transaction is open is what a crash leaves.
    let copy = Place::new();
    for suffix in ["", "-wal"] {
        let name = |place: &Place| format!("{}{suffix}", place.path().display());
        fs::copy(name(&place), name(&copy)).unwrap();
    }
    let store = copy.open().await;
    assert_eq!(store.backlog().waiting, 1);
    assert_eq!(store.text("ours").await.unwrap(), "y");
    drop(tx);
}

#[tokio::test]
async fn a_store_can_be_open_several_times() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    assert!(Bench::put(&one, "a", "x").await);
    assert!(Bench::put(&other, "b", "y").await);
    assert_eq!(other.text("a").await.unwrap(), "x");
    assert_eq!(one.text("b").await.unwrap(), "y");
}

#[tokio::test]
async fn many_that_open_a_new_store_at_the_same_moment_all_get_it() {
    for _ in 0..10 {
        let place = Place::new();
        let opens = (0..8).map(|_| {
            let path = place.path();
            tokio::spawn(SqliteStore::open(path, ACCOUNT, fast()))
        });
        for open in opens.collect::<Vec<_>>() {
            open.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_store_that_another_keeps_to_itself_is_waited_for_and_then_busy() {
    let place = Place::new();
    filled(&place).await;
    let store = place.open().await;
    let mut db = Connection::open(place.path()).unwrap();
    let tx = db
        .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
        .unwrap();
    let put = store.put("a", content("x")).await;
    assert_eq!(put.unwrap_err(), StoreError::Busy);
    drop(tx);
    assert_eq!(store.text("a").await, None);
    assert!(Bench::put(&store, "a", "x").await);
}

#[tokio::test]
async fn a_path_that_cannot_be_opened_says_so() {
    let path = "/nowhere/at/all/store.db";
    let error = SqliteStore::open(path, ACCOUNT, fast()).await.unwrap_err();
    assert!(matches!(error, OpenError::Unusable { .. }), "{error}");
}

#[tokio::test]
async fn settings_out_of_range_are_named() {
    let place = Place::new();
    let error = refusal(&place, "").await;
    assert_eq!(error, OpenError::Setting { name: "account_id" });
    let mut options = StoreOptions::default();
    options.outbox_soft_max = 2_000;
    let opened = SqliteStore::open(place.path(), ACCOUNT, options).await;
    let name = "outbox_soft_max";
    assert_eq!(opened.unwrap_err(), OpenError::Setting { name });
    assert!(!place.path().exists());
}

#[tokio::test]
async fn a_crash_between_making_the_file_and_filling_it_is_survived() {
    let place = Place::new();
    fs::write(place.path(), "").unwrap();
    let store = place.open().await;
    assert!(Bench::put(&store, "a", "x").await);
}

#[tokio::test]
async fn signing_out_keeps_the_data_for_the_same_account() {
    let place = Place::new();
    filled(&place).await;
    let store = place.open().await;
    store.sign_out(SignOut::Keep).await.unwrap();
    let put = store.put("a", content("x")).await;
    assert_eq!(put.unwrap_err(), StoreError::Closed);
    assert_eq!(refusal(&place, "account-2").await, OpenError::WrongAccount);
    assert_eq!(place.open().await.backlog().waiting, 200);
}

#[tokio::test]
async fn a_wiped_store_holds_nothing_and_takes_another_account() {
    let place = Place::new();
    filled(&place).await;
    let store = place.open().await;
    let page = page(&[], 7).settling(Some(Cursor(7)));
    store.apply_page(Cursor(0), page).await.unwrap();
    assert_eq!(store.settled().await.unwrap(), Cursor(7));
    store.sign_out(SignOut::Wipe).await.unwrap();
    assert_eq!(store.get("n1").await.unwrap_err(), StoreError::Closed);
    assert_eq!(store.backlog().waiting, 0);
    let left = bytes(&place);
    assert!(!left.windows(4).any(|window| window == b"milk"));
    let other = SqliteStore::open(place.path(), "account-2", fast())
        .await
        .unwrap();
    assert_eq!(other.cursor().await.unwrap(), None);
    assert_eq!(other.settled().await.unwrap(), Cursor::ZERO);
    assert_eq!(other.list(Default::default()).await.unwrap().items, []);
}

#[tokio::test]
async fn a_store_that_was_wiped_elsewhere_is_closed() {
    let place = Place::new();
    filled(&place).await;
    let (one, other) = (place.open().await, place.open().await);
    let handle = other.put("n0", content("eggs")).await.unwrap();
    one.sign_out(SignOut::Wipe).await.unwrap();
    let next = SqliteStore::open(place.path(), "account-2", fast()).await;
    let next = next.unwrap();
    assert!(Bench::put(&next, "n0", "not yours").await);
    assert_eq!(other.get("n0").await.unwrap_err(), StoreError::Closed);
    let put = other.put("n1", content("x")).await;
    assert_eq!(put.unwrap_err(), StoreError::Closed);
    assert_eq!(handle.await.unwrap_err(), StoreError::Closed);
    assert_eq!(next.pending().await.unwrap().operations.len(), 1);
}
