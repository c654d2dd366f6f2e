//! Damaged stores, and what is saved of them.

use std::fs;

use evenkeel::store::{OpenError, Recovery, Resolution, SqliteStore};
use evenkeel::{Cause, Cursor, Failure, Replica, Secret, SyncClient, SyncState};

use crate::bench::{ACCOUNT, Bench, Place, conflict, content, fast, record};
use crate::common::{Service, TOKEN, until};

async fn recover(place: &Place) -> Result<Recovery, OpenError> {
    SqliteStore::recover(place.path(), ACCOUNT).await
}

/// Overwrites the whole page that holds a text.
fn damage(place: &Place, text: &str) {
    let mut bytes = fs::read(place.path()).unwrap();
    let found = bytes.windows(text.len()).position(|w| w == text.as_bytes());
    let page = found.expect("the text is in no page") / PAGE;
    bytes[page * PAGE..(page + 1) * PAGE].fill(0xa5);
    fs::write(place.path(), bytes).unwrap();
}

/// Everything that can be local: waiting, sent, in conflict, parked, imported.
async fn filled(place: &Place) -> SqliteStore {
    let store = place.open_with(fast()).await;
    let theirs: Vec<_> = (0..200)
        .map(|n| {
            (
                n + 1,
                record(&format!("r{n}"), 1, &format!("copy {n} ").repeat(40)),
            )
        })
        .collect();
    store.pull(0, &theirs, 200).await;
    store.put("r0", content("conflicting")).await.unwrap();
    store.put("r1", content("refused")).await.unwrap();
    let first = store.batch().await;
    let answer = conflict(&first.operations[0], Some(record("r0", 2, "theirs")));
    let mut batches = (first.clone(), first);
    batches.0.operations.truncate(1);
    batches.1.operations.remove(0);
    store.apply_push(batches.0, answer).await.unwrap();
    let failure = Failure::local(Cause::BadRequest, "no");
    store.refuse_push(batches.1, failure).await.unwrap();
    store.put("sent", content("on its way")).await.unwrap();
    store.batch().await;
    for n in 0..50 {
        let text = format!("the app's own {n:02} {}", "words ".repeat(60));
        store
            .put(format!("own{n:02}"), content(&text))
            .await
            .unwrap();
    }
    store
}

#[tokio::test]
async fn all_that_the_app_wrote_is_kept_and_the_rest_comes_again() {
    let service = Service::start().await;
    for n in 0..200 {
        service.write(&format!("r{n}"), "the server's");
    }
    let place = Place::new();
    let store = filled(&place).await;
    let sent = store.batch().await;
    store.close().await.unwrap();
    damage(&place, "copy 100 ");
    let damaged = fs::read(place.path()).unwrap();
    let opened = SqliteStore::open(place.path(), ACCOUNT, fast()).await;
    let error = opened.unwrap_err();
    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");

    let recovery = recover(&place).await.unwrap();
    assert!(recovery.complete);
    let counts = (recovery.operations, recovery.conflicts, recovery.rejected);
    assert_eq!(counts, (51, 1, 1));
    assert_eq!(fs::read(&recovery.damaged).unwrap(), damaged);
    let store = place.open().await;
    assert_eq!(store.cursor().await.unwrap(), None);
    assert_eq!(store.conflicting().await, ["r0"]);
    assert_eq!(store.refused().await, ["r1"]);
    assert!(
        store
            .text("own49")
            .await
            .unwrap()
            .starts_with("the app's own 49")
    );
    let again = store.batch().await;
    let of =
        |batch: &evenkeel::wire::PushRequest| serde_json::to_string(&batch.operations[0]).unwrap();
    assert_eq!(of(&again), of(&sent), "what was sent keeps its bytes");

    let client = SyncClient::builder(&service.url)
        .token(Secret::new(TOKEN))
        .replica(store.clone())
        .build()
        .unwrap();
    client.start().unwrap();
    until(&client, "synced", |s| {
        s.state == SyncState::Synced && s.pending == 0
    })
    .await;
    assert_eq!(store.text("r199").await.unwrap(), "the server's");
    assert!(
        service
            .content("own49")
            .unwrap()
            .starts_with("the app's own 49")
    );
    store.resolve("r0", Resolution::KeepLocal).await.unwrap();
    until(&client, "decided", |s| s.conflicts == 0 && s.pending == 0).await;
    assert_eq!(service.content("r0").unwrap(), "conflicting");
    client.stop().await;
}

#[tokio::test]
async fn what_lies_around_the_damage_is_kept() {
    let place = Place::new();
    filled(&place).await.close().await.unwrap();
    damage(&place, "the app's own 25");
    let recovery = recover(&place).await.unwrap();
    assert!(!recovery.complete);
    assert!(recovery.operations < 51, "{recovery:?}");
    assert!(recovery.operations > 25, "{recovery:?}");
    let store = place.open().await;
    for kept in ["own00", "own49"] {
        assert!(store.text(kept).await.is_some(), "{kept} is gone");
    }
    assert_eq!(store.text("own25").await, None);
}

#[tokio::test]
async fn a_store_that_was_cut_short_gives_what_is_left() {
    let place = Place::new();
    filled(&place).await.close().await.unwrap();
    let whole = fs::read(place.path()).unwrap();
    fs::write(place.path(), &whole[..whole.len() - 3 * PAGE]).unwrap();
    let recovery = recover(&place).await.unwrap();
    assert!(recovery.operations > 0, "{recovery:?}");
    let store = place.open().await;
    assert_eq!(store.backlog().waiting, recovery.operations);
}

#[tokio::test]
async fn what_is_only_in_the_log_is_kept_too() {
    let (place, crashed) = (Place::new(), Place::new());
    let store = filled(&place).await;
    // As a process leaves it that is killed now.
    for suffix in ["db", "db-wal"] {
        let from = place.path().with_extension(suffix);
        fs::copy(from, crashed.path().with_extension(suffix)).unwrap();
    }
    drop(store);
    let recovery = recover(&crashed).await.unwrap();
    assert!(recovery.complete);
    assert_eq!(recovery.operations, 51);
    assert_eq!(crashed.open().await.backlog().waiting, 51);
    let log = format!("{}-wal", recovery.damaged.display());
    assert!(fs::metadata(log).unwrap().len() > 0);
}

#[tokio::test]
async fn a_recovered_store_works_like_any_other() {
    let place = Place::new();
    filled(&place).await.close().await.unwrap();
    damage(&place, "copy 100 ");
    recover(&place).await.unwrap();
    let (store, other) = (place.open().await, place.open().await);
    store.put("new", content("x")).await.unwrap();
    assert_eq!(other.text("new").await.unwrap(), "x");
    store.pull(0, &[(1, record("a", 1, "y"))], 1).await;
    assert_eq!(store.cursor().await.unwrap(), Some(Cursor(1)));
    store.close().await.unwrap();
    other.close().await.unwrap();
    // Once more, now that there is nothing wrong with it.
    let recovery = recover(&place).await.unwrap();
    assert!(recovery.complete);
    assert_eq!(recovery.operations, 52);
}

#[tokio::test]
async fn what_cannot_or_must_not_be_recovered_is_left_alone() {
    let place = Place::new();
    let missing = recover(&place).await.unwrap_err();
    assert!(matches!(missing, OpenError::Unusable { .. }), "{missing}");
    assert!(!place.path().exists());

    fs::write(
        place.path(),
        "a shopping list, and not a short one".repeat(200),
    )
    .unwrap();
    let foreign = recover(&place).await.unwrap_err();
    assert!(matches!(foreign, OpenError::NotAStore { .. }), "{foreign}");
    fs::remove_file(place.path()).unwrap();

    let store = filled(&place).await;
    assert_eq!(recover(&place).await, Err(OpenError::Busy));
    store.close().await.unwrap();
    damage(&place, "copy 100 ");
    let before = fs::read(place.path()).unwrap();
    let others = SqliteStore::recover(place.path(), "account-2").await;
    assert_eq!(others, Err(OpenError::WrongAccount));
    assert_eq!(fs::read(place.path()).unwrap(), before);
    let folder = fs::read_dir(place.path().parent().unwrap()).unwrap();
    let left: Vec<_> = folder.map(|entry| entry.unwrap().file_name()).collect();
    let copies = left
        .iter()
        .filter(|name| name.to_string_lossy().contains(".damaged"));
    assert_eq!(copies.count(), 0, "{left:?}");
}

const PAGE: usize = 4096;
