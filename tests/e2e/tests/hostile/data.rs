//! Answers in the contract's form that cannot be true.

use std::time::Duration;

use evenkeel::{Cause, Cursor, Replica as _};
use serde_json::{Value, json};

use crate::scene::{MIB, REQUESTS_MAX, Scene};
use crate::server::{NOTES, PULL, PUSH, Reply, good};

mod run {
    crate::scenarios! {
        cursors_that_are_none
        a_cursor_at_the_end_of_all_numbers
        pages_that_lead_nowhere
        pages_without_an_end
        one_reset_after_the_other
        acknowledgements_of_what_was_never_sent
        operations_that_are_left_out_for_ever
        an_answer_that_contradicts_itself
        huge_ids
        versions_that_go_down
    }
}

fn page(next: &Value) -> Reply {
    let note = json!({"id": "x", "version": 1, "content": "y"});
    let change = json!({"cursor": 3, "op": "upsert", "note": note});
    Reply::Bytes(good(&json!({"changes": [change], "nextCursor": next})))
}

async fn cursors_that_are_none() {
    for next in [
        json!(u64::MAX),
        json!("18446744073709551615"),
        json!(-1),
        json!("-1"),
        json!(1.5),
        json!(1e30),
        json!("next"),
        json!(""),
        json!([1]),
        Value::Null,
    ] {
        let scene = Scene::start().await;
        scene.survive(PULL, page(&next), Cause::BadResponse).await;
        scene.finish(4 * MIB, REQUESTS_MAX).await;
    }
    for cursor in [json!(u64::MAX), json!(-1), json!("x")] {
        let scene = Scene::start().await;
        let snapshot = Reply::Bytes(good(&json!({"notes": [], "cursor": cursor})));
        scene.survive(NOTES, snapshot, Cause::BadResponse).await;
        scene.finish(4 * MIB, REQUESTS_MAX).await;
        let scene = Scene::start().await;
        let answer = json!({"applied": [], "conflicts": [], "nextCursor": cursor});
        scene
            .survive(PUSH, Reply::Bytes(good(&answer)), Cause::BadResponse)
            .await;
        scene.finish(4 * MIB, REQUESTS_MAX).await;
    }
}

/// The last number a store can hold: nothing comes after it, and what comes before it is found again.
async fn a_cursor_at_the_end_of_all_numbers() {
    let scene = Scene::start().await;
    scene.service.answer(PULL, page(&json!(i64::MAX)));
    scene.service.write("theirs", "again");
    let last = Some(Cursor(i64::MAX as u64));
    while scene.store.cursor().await.unwrap() != last {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    scene.write().await;
    scene.recover().await;
    scene.service.write("theirs", "the truth");
    let found = async {
        while content(&scene, "theirs").await != Some("the truth".into()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), found)
        .await
        .unwrap();
    scene.synced("with the truth").await;
    scene.finish(4 * MIB, 60).await;
}

async fn content(scene: &Scene, id: &str) -> Option<String> {
    let record = scene.store.get(id).await.unwrap()?;
    record.fields["content"].as_str().map(str::to_owned)
}

async fn pages_that_lead_nowhere() {
    for next in [json!(1), json!(0), json!("2")] {
        let scene = Scene::start().await;
        scene.survive(PULL, page(&next), Cause::BadResponse).await;
        scene.finish(4 * MIB, REQUESTS_MAX).await;
    }
}

/// Each page leads one step on, for ever: read at the client's own pace.
async fn pages_without_an_end() {
    let scene = Scene::start().await;
    scene.service.script(|seen| match seen.path.as_str() {
        PULL => {
            let from: u64 = seen.query.trim_start_matches("cursor=").parse().unwrap();
            page(&json!(from + 1))
        }
        _ => Reply::Healthy,
    });
    scene.service.write("theirs", "again");
    tokio::time::sleep(Duration::from_secs(4)).await;
    let pulls = scene.service.requests_to(PULL);
    assert!(pulls <= 50, "{pulls} pulls");
    scene.write().await;
    scene.service.heal();
    scene.service.write("theirs", "the truth");
    scene.recover().await;
    assert_eq!(
        content(&scene, "theirs").await.as_deref(),
        Some("the truth")
    );
    scene.finish(4 * MIB, 80).await;
}

async fn one_reset_after_the_other() {
    let scene = Scene::start().await;
    scene.service.script(|seen| match seen.path.as_str() {
        PULL => {
            let from = seen.query.trim_start_matches("cursor=");
            Reply::Bytes(good(
                &json!({"changes": [], "resetRequired": true, "nextCursor": from}),
            ))
        }
        _ => Reply::Healthy,
    });
    scene.provoke(PULL).await;
    scene.degraded("resets", Cause::BadResponse).await;
    assert!(scene.service.requests_to(NOTES) <= 4);
    scene.write().await;
    scene.recover().await;
    scene.finish(4 * MIB, REQUESTS_MAX).await;
}

fn applied(request_id: &str, id: &str, version: u64) -> Value {
    let note = json!({"id": id, "version": version, "content": "theirs"});
    json!({"requestId": request_id, "note": note, "cursor": 7})
}

async fn acknowledgements_of_what_was_never_sent() {
    let scene = Scene::start().await;
    let first = std::sync::atomic::AtomicBool::new(true);
    scene.service.script(move |seen| match seen.path.as_str() {
        PUSH if first.swap(false, std::sync::atomic::Ordering::SeqCst) => {
            let answer = json!({"applied": [applied("never-sent-1", "ghost", 1)],
                "conflicts": [{"requestId": "never-sent-2", "noteId": "ours-2", "currentVersion": 9}],
                "nextCursor": 2});
            Reply::Bytes(good(&answer))
        }
        _ => Reply::Healthy,
    });
    scene.write().await;
    scene.recover_unhealed().await;
    scene.recover().await;
    scene.finish(4 * MIB, REQUESTS_MAX).await;
}

/// Parked with a reason rather than sent for ever; the app has them sent again.
async fn operations_that_are_left_out_for_ever() {
    let scene = Scene::start().await;
    let nothing = json!({"applied": [], "conflicts": [], "nextCursor": 2});
    scene.service.answer(PUSH, Reply::Bytes(good(&nothing)));
    scene.write().await;
    let parked = async {
        loop {
            let rejected = scene.store.rejected().await.unwrap();
            if !rejected.is_empty() {
                return rejected;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let rejected = tokio::time::timeout(Duration::from_secs(15), parked)
        .await
        .unwrap();
    assert!(scene.service.requests_to(PUSH) <= 5);
    scene.service.heal();
    for write in rejected {
        drop(scene.store.retry(write.id).await.unwrap());
    }
    scene.recover().await;
    scene.finish(4 * MIB, REQUESTS_MAX).await;
}

/// The same operation applied and in conflict, twice each: the write is not lost.
async fn an_answer_that_contradicts_itself() {
    let scene = Scene::start().await;
    let state = std::sync::Arc::clone(&scene.service.state);
    scene.service.script(move |seen| {
        if seen.path != PUSH {
            return Reply::Healthy;
        }
        let told = String::from_utf8(state.healthy(seen).unwrap()).unwrap();
        let (_, body) = told.split_once("\r\n\r\n").unwrap();
        let mut answer: Value = serde_json::from_str(body).unwrap();
        let mut all = answer["applied"].as_array().unwrap().clone();
        let conflicts: Vec<_> = all
            .iter()
            .map(|applied| {
                json!({"requestId": applied["requestId"], "noteId": applied["note"]["id"],
                "baseVersion": 0, "currentVersion": applied["note"]["version"],
                "serverNote": applied["note"], "changedFields": ["content"]})
            })
            .collect();
        all.extend(all.clone());
        answer["applied"] = all.into();
        answer["conflicts"] = [conflicts.clone(), conflicts].concat().into();
        Reply::Bytes(good(&answer))
    });
    scene.write().await;
    scene.recover_unhealed().await;
    assert!(scene.store.conflicts().await.unwrap().is_empty());
    scene.recover().await;
    scene.finish(4 * MIB, REQUESTS_MAX).await;
}

/// The contract's ids have at most 128 characters. A longer one is one record's trouble, not a page's.
async fn huge_ids() {
    let scene = Scene::start().await;
    let id = "x".repeat(MIB);
    let note = json!({"id": id, "version": 1, "content": "y"});
    let change = json!({"cursor": 3, "op": "upsert", "note": note});
    let first = std::sync::atomic::AtomicBool::new(true);
    scene.service.script(move |seen| match seen.path.as_str() {
        PULL if first.swap(false, std::sync::atomic::Ordering::SeqCst) => {
            Reply::Bytes(good(&json!({"changes": [change], "nextCursor": 2_000})))
        }
        _ => Reply::Healthy,
    });
    scene.service.write("theirs", "again");
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.service.heal();
    scene.service.write("theirs", "the truth");
    scene.write().await;
    scene.recover().await;
    scene.finish(20 * MIB, REQUESTS_MAX).await;
}

/// An older writing of a record is old news, however new its place in the log is.
async fn versions_that_go_down() {
    let scene = Scene::start().await;
    scene.service.write("theirs", "second");
    scene.service.write("theirs", "third");
    let third = async {
        while content(&scene, "theirs").await != Some("third".into()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), third)
        .await
        .unwrap();
    let first = std::sync::atomic::AtomicBool::new(true);
    scene.service.script(move |seen| match seen.path.as_str() {
        PULL if first.swap(false, std::sync::atomic::Ordering::SeqCst) => {
            let note = |version| json!({"id": "theirs", "version": version, "content": "older"});
            let change = |version| json!({"cursor": 6, "op": "upsert", "note": note(version)});
            Reply::Bytes(good(
                &json!({"changes": [change(2), change(1), change(0)], "nextCursor": 6}),
            ))
        }
        _ => Reply::Healthy,
    });
    scene.service.announce(6);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(content(&scene, "theirs").await.as_deref(), Some("third"));
    scene.write().await;
    scene.recover().await;
    scene.finish(4 * MIB, REQUESTS_MAX).await;
}
