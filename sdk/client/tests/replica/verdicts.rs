//! A handle waits in one open store for what another one settles.

use std::time::Duration;

use evenkeel::store::{RejectReason, Resolution, SignOut, StoreError, Verdict, WriteHandle};
use evenkeel::wire::{PushAnswer, Version};
use evenkeel::{Cause, Failure, Hold, Lease, Replica, SqliteStore};
use rusqlite::Connection;
use serde_json::json;

use crate::bench::{
    Bench, Place, conflict, content, fields, only, record, record_of, snapshot, taken,
};
use crate::client::client;
use crate::common::Service;

/// A store that writes, and one that syncs.
async fn pair(place: &Place) -> (SqliteStore, SqliteStore) {
    let (writer, holder) = (place.open().await, place.open().await);
    hold(&holder).await;
    (writer, holder)
}

async fn hold(store: &SqliteStore) {
    let hold = Lease::hold(store).await.unwrap();
    assert!(matches!(hold, Hold::Ours { .. }), "{hold:?}");
}

async fn put(store: &SqliteStore, id: &str, text: &str) -> WriteHandle {
    store.put(id, content(text)).await.unwrap()
}

async fn end(handle: WriteHandle) -> Result<Verdict, StoreError> {
    let end = tokio::time::timeout(Duration::from_secs(5), handle).await;
    end.expect("a verdict")
}

async fn verdict(handle: WriteHandle) -> Verdict {
    end(handle).await.unwrap()
}

const fn acknowledged(version: u64) -> Verdict {
    Verdict::Acknowledged {
        version: Version(version),
    }
}

async fn take(holder: &SqliteStore, version: u64) {
    let sent = holder.operation().await;
    let answer = taken(&sent, version);
    holder.apply_push(only(&sent), answer).await.unwrap();
}

async fn refuse(holder: &SqliteStore) {
    let sent = holder.operation().await;
    let failure = Failure::local(Cause::BadRequest, "no");
    holder.refuse_push(only(&sent), failure).await.unwrap();
}

/// How many verdicts lie there for others.
fn left(place: &Place) -> u32 {
    let db = Connection::open(place.path()).unwrap();
    let sql = "SELECT count(*) FROM verdicts";
    db.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn the_servers_word_comes_to_whoever_wrote() {
    let place = Place::new();
    let (writer, holder) = pair(&place).await;
    let handle = put(&writer, "a", "x").await;
    take(&holder, 7).await;
    assert_eq!(verdict(handle).await, acknowledged(7));

    let handle = put(&writer, "a", "ours").await;
    let sent = holder.operation().await;
    let answer = conflict(&sent, Some(record("a", 8, "theirs")));
    holder.apply_push(only(&sent), answer).await.unwrap();
    assert_eq!(verdict(handle).await, Verdict::Conflicted);

    let handle = put(&writer, "b", "x").await;
    refuse(&holder).await;
    let refused = verdict(handle).await;
    let Verdict::Rejected {
        reason: RejectReason::Refused { cause, message, .. },
    } = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!((cause, message.as_str()), (Cause::BadRequest, "no"));

    let handle = put(&writer, "c", "x").await;
    for _ in 0..2 {
        let sent = holder.operation().await;
        let nothing = PushAnswer::default();
        holder.apply_push(only(&sent), nothing).await.unwrap();
    }
    let reason = RejectReason::LeftOut;
    assert_eq!(verdict(handle).await, Verdict::Rejected { reason });

    let handle = writer.delete("a").await.unwrap();
    // The answer was lost, and a pull shows what became of it.
    let sent = holder.operation().await;
    let gone = json!({"changes": [{"cursor": 9, "op": "delete", "requestId": sent.request_id,
        "note": {"id": "a", "version": 9}}], "nextCursor": 9});
    let page = crate::bench::page_of(&gone);
    holder.apply_page(evenkeel::Cursor(0), page).await.unwrap();
    assert_eq!(verdict(handle).await, acknowledged(9));
}

#[tokio::test]
async fn who_settles_its_own_writes_leaves_no_word() {
    let place = Place::new();
    let (other, holder) = pair(&place).await;
    for (n, handle) in [put(&holder, "a", "x").await, put(&holder, "b", "x").await]
        .into_iter()
        .enumerate()
    {
        let mut sent = holder.batch().await;
        let sent = sent.operations.remove(0);
        let answer = taken(&sent, n as u64);
        holder.apply_push(only(&sent), answer).await.unwrap();
        assert_eq!(verdict(handle).await, acknowledged(n as u64));
    }
    // A fold, a merge and a refusal among its own.
    holder.pull(0, &[(1, both("m", 1, "t", "b"))], 1).await;
    holder.put("m", title("ours")).await.unwrap();
    let handle = holder.put("m", title("still ours")).await.unwrap();
    let sent = holder.operation().await;
    let answer = conflict(&sent, Some(both("m", 2, "t", "theirs")));
    holder.apply_push(only(&sent), answer).await.unwrap();
    refuse(&holder).await;
    assert!(matches!(verdict(handle).await, Verdict::Rejected { .. }));
    assert_eq!(left(&place), 0);
    drop(other);
}

fn both(id: &str, version: u64, title: &str, body: &str) -> evenkeel::Record {
    record_of(id, version, json!({"title": title, "body": body}))
}

fn title(title: &str) -> serde_json::Map<String, serde_json::Value> {
    fields(json!({"title": title, "body": "b"}))
}

#[tokio::test]
async fn handles_of_one_record_in_several_stores_end_together() {
    // Whoever of them syncs in the end.
    for who in 0..3 {
        let place = Place::new();
        let stores = [place.open().await, place.open().await, place.open().await];
        hold(&stores[who]).await;
        let one = put(&stores[0], "a", "one").await;
        let other = put(&stores[1], "a", "other").await;
        let sent = stores[who].operation().await;
        assert_eq!(sent.note.as_ref().unwrap().fields, content("other"));
        let later = put(&stores[0], "a", "later").await;
        let latest = put(&stores[1], "a", "latest").await;
        let answer = taken(&sent, 1);
        stores[who].apply_push(only(&sent), answer).await.unwrap();
        assert_eq!(verdict(one).await, acknowledged(1), "{who}");
        assert_eq!(verdict(other).await, acknowledged(1), "{who}");
        take(&stores[who], 2).await;
        assert_eq!(verdict(later).await, acknowledged(2), "{who}");
        assert_eq!(verdict(latest).await, acknowledged(2), "{who}");
    }
}

#[tokio::test]
async fn a_write_that_takes_another_ones_back_waits_for_what_was_sent() {
    let place = Place::new();
    let (writer, holder) = pair(&place).await;
    let new = put(&writer, "a", "x").await;
    // Never sent, and nothing is left of it.
    let undone = holder.delete("a").await.unwrap();
    assert_eq!(verdict(undone).await, acknowledged(0));
    assert_eq!(verdict(new).await, acknowledged(0));

    let sending = writer.delete("b").await.unwrap();
    assert_eq!(verdict(sending).await, acknowledged(0), "there is none");
    holder.pull(0, &[(1, record("b", 1, "x"))], 1).await;
    let sending = writer.delete("b").await.unwrap();
    let sent = holder.operation().await;
    // The other store's handle waits for an operation that is not its own.
    let again = holder.delete("b").await.unwrap();
    assert!(Lease::release(&holder).await.is_ok());
    hold(&writer).await;
    let answer = taken(&sent, 2);
    writer.apply_push(only(&sent), answer).await.unwrap();
    assert!(matches!(
        verdict(sending).await,
        Verdict::Acknowledged { .. }
    ));
    assert!(matches!(verdict(again).await, Verdict::Acknowledged { .. }));
}

#[tokio::test]
async fn a_handle_follows_its_write_through_merges_in_another_process() {
    let place = Place::new();
    let (writer, holder) = pair(&place).await;
    holder.pull(0, &[(1, both("m", 1, "t", "b"))], 1).await;
    let sent_first = writer.put("m", title("ours")).await.unwrap();
    let sent = holder.operation().await;
    let later = writer.put("m", title("ours still")).await.unwrap();
    let answer = conflict(&sent, Some(both("m", 2, "t", "theirs")));
    holder.apply_push(only(&sent), answer).await.unwrap();
    let merged = holder.operation().await;
    let wanted = fields(json!({"title": "ours still", "body": "theirs"}));
    assert_eq!(merged.note.as_ref().unwrap().fields, wanted);
    // The writer settles what it has hardly had the time to look at.
    Lease::release(&holder).await.unwrap();
    hold(&writer).await;
    let last = writer.put("m", title("last")).await.unwrap();
    let answer = taken(&merged, 3);
    writer.apply_push(only(&merged), answer).await.unwrap();
    assert_eq!(verdict(sent_first).await, acknowledged(3));
    assert_eq!(verdict(later).await, acknowledged(3));
    take(&writer, 4).await;
    assert_eq!(verdict(last).await, acknowledged(4));
}

#[tokio::test]
async fn a_refused_write_goes_on_in_the_later_one() {
    for refused_by_writer in [false, true] {
        let place = Place::new();
        let (writer, holder) = pair(&place).await;
        let first = put(&writer, "a", "first").await;
        let sent = holder.operation().await;
        let second = put(&holder, "a", "second").await;
        let failure = Failure::local(Cause::BadRequest, "no");
        let syncs = if refused_by_writer {
            Lease::release(&holder).await.unwrap();
            hold(&writer).await;
            &writer
        } else {
            &holder
        };
        syncs.refuse_push(only(&sent), failure).await.unwrap();
        take(syncs, 1).await;
        assert_eq!(verdict(first).await, acknowledged(1));
        assert_eq!(verdict(second).await, acknowledged(1));
    }
}

#[tokio::test]
async fn a_decision_in_another_process_changes_no_verdict_that_was_given() {
    let place = Place::new();
    let (writer, holder) = pair(&place).await;
    let handles = [
        put(&writer, "kept", "ours").await,
        put(&writer, "left", "ours").await,
        put(&writer, "retried", "ours").await,
        put(&writer, "discarded", "ours").await,
        put(&writer, "replaced", "ours").await,
    ];
    Lease::suspend(&writer).await.unwrap();
    let sent = holder.batch().await.operations;
    for sent in &sent[..2] {
        let theirs = record(&sent.note_id, 1, "theirs");
        let answer = conflict(sent, Some(theirs));
        holder.apply_push(only(sent), answer).await.unwrap();
    }
    for sent in &sent[2..] {
        let failure = Failure::local(Cause::BadRequest, "no");
        holder.refuse_push(only(sent), failure).await.unwrap();
    }
    let decided = [
        holder.resolve("kept", Resolution::KeepLocal).await.unwrap(),
        holder
            .resolve("left", Resolution::KeepServer)
            .await
            .unwrap(),
        holder.retry("retried").await.unwrap(),
        put(&holder, "replaced", "again").await,
    ];
    holder.discard("discarded").await.unwrap();
    let sent = holder.batch().await;
    assert_eq!(sent.operations.len(), 3);
    for (n, sent) in sent.operations.iter().enumerate() {
        let answer = taken(sent, n as u64 + 5);
        holder.apply_push(only(sent), answer).await.unwrap();
    }
    for handle in decided {
        assert!(matches!(
            verdict(handle).await,
            Verdict::Acknowledged { .. }
        ));
    }
    let theirs = Lease::hold(&writer).await.unwrap();
    assert!(matches!(theirs, Hold::Theirs { .. }));
    let mut verdicts = Vec::new();
    for handle in handles {
        verdicts.push(verdict(handle).await);
    }
    assert_eq!(verdicts[..2], [Verdict::Conflicted, Verdict::Conflicted]);
    let rejected = |v: &Verdict| matches!(v, Verdict::Rejected { .. });
    assert!(verdicts[2..].iter().all(rejected), "{verdicts:?}");
}

#[tokio::test]
async fn a_decision_made_here_is_settled_there() {
    let place = Place::new();
    let (writer, holder) = pair(&place).await;
    holder.pull(0, &[(1, record("a", 1, "base"))], 1).await;
    put(&writer, "a", "ours").await;
    let sent = holder.operation().await;
    let answer = conflict(&sent, Some(record("a", 2, "theirs")));
    holder.apply_push(only(&sent), answer).await.unwrap();
    let resolved = writer.resolve("a", Resolution::KeepLocal).await.unwrap();
    refuse(&holder).await;
    assert!(matches!(verdict(resolved).await, Verdict::Rejected { .. }));
    let retried = writer.retry("a").await.unwrap();
    take(&holder, 3).await;
    assert_eq!(verdict(retried).await, acknowledged(3));
}

#[tokio::test]
async fn a_snapshot_in_another_process_settles_what_was_never_sent() {
    let place = Place::new();
    let (writer, holder) = pair(&place).await;
    let records = [
        both("same", 1, "t", "b"),
        both("clash", 1, "t", "b"),
        both("merge", 1, "t", "b"),
    ];
    let log: Vec<_> = (1..).zip(records).collect();
    holder.pull(0, &log, 3).await;
    let same = writer.put("same", title("x")).await.unwrap();
    let clash = writer.put("clash", title("x")).await.unwrap();
    let merge = writer.put("merge", title("x")).await.unwrap();
    let restored = [
        both("same", 5, "x", "b"),
        both("clash", 5, "y", "b"),
        both("merge", 5, "t", "theirs"),
    ];
    holder.replace(snapshot(&restored, 9), None).await.unwrap();
    assert_eq!(verdict(same).await, acknowledged(5));
    assert_eq!(verdict(clash).await, Verdict::Conflicted);
    take(&holder, 6).await;
    assert_eq!(verdict(merge).await, acknowledged(6));
}

#[tokio::test]
async fn no_verdict_comes_from_a_store_that_was_wiped() {
    for signed_in_again in [false, true] {
        let place = Place::new();
        let (writer, other) = (place.open().await, place.open().await);
        let handle = put(&writer, "a", "x").await;
        Lease::suspend(&writer).await.unwrap();
        other.sign_out(SignOut::Wipe).await.unwrap();
        if signed_in_again {
            let again = place.open().await;
            hold(&again).await;
            again.pull(0, &[(1, record("a", 1, "x"))], 1).await;
            let held = Lease::hold(&writer).await.unwrap();
            assert!(matches!(held, Hold::Theirs { .. }));
        } else {
            // It opens the store of nobody, which makes it this account's.
            hold(&writer).await;
        }
        assert_eq!(end(handle).await, Err(StoreError::Closed));
    }
    let place = Place::new();
    let (writer, other) = (place.open().await, place.open().await);
    let handle = put(&writer, "a", "x").await;
    other.sign_out(SignOut::Wipe).await.unwrap();
    assert_eq!(end(handle).await, Err(StoreError::Closed));
    assert_eq!(writer.get("a").await, Err(StoreError::Closed));
}

#[tokio::test]
async fn so_many_verdicts_are_kept_and_the_outcome_tells_for_the_rest() {
    let place = Place::new();
    let (writer, holder) = pair(&place).await;
    let handles = [
        put(&writer, "taken", "x").await,
        put(&writer, "clash", "x").await,
        put(&writer, "refused", "x").await,
    ];
    Lease::suspend(&writer).await.unwrap();
    let sent = holder.batch().await.operations;
    let answer = taken(&sent[0], 4);
    holder.apply_push(only(&sent[0]), answer).await.unwrap();
    let answer = conflict(&sent[1], Some(record("clash", 1, "theirs")));
    holder.apply_push(only(&sent[1]), answer).await.unwrap();
    let failure = Failure::local(Cause::BadRequest, "no");
    holder.refuse_push(only(&sent[2]), failure).await.unwrap();
    assert_eq!(left(&place), 3);
    // Many more came after these, all but the last two of which stand for themselves here.
    let db = Connection::open(place.path()).unwrap();
    let sql = "INSERT INTO verdicts VALUES (4, 'too old', '{}', NULL), (5, 'just not', '{}', NULL), \
               (10003, 'new', '{}', NULL)";
    db.execute(sql, []).unwrap();
    put(&place.open().await, "another", "x").await;
    take(&holder, 1).await;
    let sql = "SELECT group_concat(request_id) FROM (SELECT * FROM verdicts WHERE verdict = '{}' \
               ORDER BY seq)";
    let kept: String = db.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(kept, "just not,new");
    assert_eq!(left(&place), 3);

    Lease::hold(&writer).await.unwrap();
    let mut verdicts = Vec::new();
    for handle in handles {
        verdicts.push(verdict(handle).await);
    }
    assert_eq!(verdicts[..2], [acknowledged(4), Verdict::Conflicted]);
    assert!(matches!(verdicts[2], Verdict::Rejected { .. }));
}

#[tokio::test]
async fn a_client_in_one_store_answers_the_handles_of_another() {
    let service = Service::start().await;
    let place = Place::new();
    let (writer, holder) = (place.open().await, place.open().await);
    let client = client(&service, &holder);
    let mut handles = Vec::new();
    for n in 0..50 {
        handles.push(put(&writer, &format!("n{n}"), "x").await);
    }
    for handle in handles {
        assert_eq!(verdict(handle).await, acknowledged(1));
    }
    assert_eq!(service.content("n49").unwrap(), "x");
    client.stop().await;
}
