//! One suite for everything behind the origin's seam: SQLite and Postgres answer alike, and Redis does
//! what one process's memory does, for several.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use evenkeel_e2e::servers::{self, Postgres, Redis};
use evenkeel_proto::wire::{Cursor, Op, Operation, Record, UnixMillis, Version};
use evenkeel_stack::store::{
    Bus, Caller, Database, DatabaseError, DeviceState, PostgresDatabase, Push, Pushed, RedisBus,
    SqliteDatabase, TicketUse,
};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

const DAY: Duration = Duration::from_secs(24 * 3600);
const DEVICES_MAX: u64 = 3;

/// The databases to try: a Postgres goes with the value that keeps its server.
async fn databases() -> Vec<(&'static str, Arc<dyn Database>, Option<Postgres>)> {
    let sqlite = SqliteDatabase::open(None, DEVICES_MAX).unwrap();
    let mut all: Vec<(_, Arc<dyn Database>, _)> = vec![("SQLite", Arc::new(sqlite), None)];
    if servers::here() {
        let server = Postgres::start(40).await;
        let postgres = PostgresDatabase::new(&server.url(), 8, DEVICES_MAX).unwrap();
        all.push(("Postgres", Arc::new(postgres), Some(server)));
    }
    all
}

fn caller(user: &str) -> Caller {
    Caller {
        user: user.to_owned(),
        device: Uuid::new_v4(),
    }
}

fn upsert(request_id: &str, id: &str, base: u64, content: &str) -> Operation {
    let mut note = Record {
        id: id.to_owned(),
        created_at: UnixMillis(1_000),
        updated_at: UnixMillis(2_000),
        ..Record::default()
    };
    note.fields
        .insert("content".to_owned(), Value::from(content));
    Operation {
        request_id: request_id.to_owned(),
        op: Op::Upsert,
        note_id: id.to_owned(),
        base_version: Version(base),
        note: Some(note),
        client_changed_fields: None,
        base_note: None,
        auto_merge_attempted: None,
    }
}

fn delete(request_id: &str, id: &str, base: u64) -> Operation {
    Operation {
        op: Op::Delete,
        note: None,
        ..upsert(request_id, id, base, "")
    }
}

fn batch(caller: &Caller, operations: Vec<Operation>) -> Push {
    Push {
        caller: caller.clone(),
        operations,
        numbers: Vec::new(),
        idempotency: DAY,
        stop_after: None,
        skip: Vec::new(),
    }
}

async fn push(database: &Arc<dyn Database>, push: Push) -> Pushed {
    database.push_batch(push).await.unwrap()
}

fn contents(notes: &[Record]) -> Vec<(&str, u64, &str)> {
    let mut all = Vec::new();
    for note in notes {
        let content = note.fields.get("content").and_then(Value::as_str);
        all.push((note.id.as_str(), note.version.0, content.unwrap_or("")));
    }
    all
}

#[tokio::test]
async fn a_batch_is_applied_in_order_and_its_repeat_gets_the_first_answer() {
    for (name, database, _server) in databases().await {
        let ann = caller("ann");
        let operations = vec![
            upsert("request-1", "a", 0, "one"),
            upsert("request-2", "a", 1, "two"),
            upsert("request-3", "b", 0, "other"),
            upsert("request-4", "b", 7, "late"),
            delete("request-5", "b", 1),
            Operation {
                note: None,
                ..upsert("request-6", "c", 0, "")
            },
        ];
        let first = push(&database, batch(&ann, operations.clone())).await;
        let applied: Vec<_> = first
            .answer
            .applied
            .iter()
            .map(|a| a.request_id.as_str())
            .collect();
        assert_eq!(
            applied,
            ["request-1", "request-2", "request-3", "request-5"],
            "{name}"
        );
        assert_eq!(first.answer.conflicts.len(), 1, "{name}");
        let conflict = &first.answer.conflicts[0];
        assert_eq!(conflict.current_version, Version(1), "{name}");
        assert_eq!(conflict.changed_fields, ["content"], "{name}");
        let cursors: Vec<_> = first.answer.applied.iter().map(|a| a.cursor).collect();
        assert!(
            cursors.is_sorted() && first.announce == cursors.last().copied(),
            "{name}"
        );

        // The announcement goes out again too: the first one may not have.
        let again = push(&database, batch(&ann, operations)).await;
        assert_eq!(again, first, "{name}");
        let page = database
            .pull("ann".into(), Cursor::ZERO, 500)
            .await
            .unwrap();
        let ops: Vec<_> = page
            .changes
            .iter()
            .map(|change| change.op.as_str())
            .collect();
        assert_eq!(ops, ["upsert", "upsert", "upsert", "delete"], "{name}");
        assert_eq!(page.next_cursor, first.answer.next_cursor, "{name}");
        let notes = database.snapshot("ann".into(), false).await.unwrap();
        assert_eq!(contents(&notes), [("a", 2, "two")], "{name}");
        assert_eq!(
            database.snapshot("ann".into(), true).await.unwrap().len(),
            2,
            "{name}"
        );
        assert!(
            database
                .snapshot("bob".into(), true)
                .await
                .unwrap()
                .is_empty(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn what_is_forgotten_skipped_or_stopped_is_as_the_contract_says() {
    for (name, database, _server) in databases().await {
        let ann = caller("ann");
        push(
            &database,
            batch(&ann, vec![upsert("request-1", "a", 0, "one")]),
        )
        .await;
        sleep(Duration::from_millis(20)).await;
        // Its answer is forgotten: the same operation conflicts with itself.
        let forgotten = Push {
            idempotency: Duration::from_millis(1),
            ..batch(&ann, vec![upsert("request-1", "a", 0, "one")])
        };
        assert_eq!(
            push(&database, forgotten).await.answer.conflicts.len(),
            1,
            "{name}"
        );
        let skipped = Push {
            skip: vec!["request-2".to_owned()],
            stop_after: Some(1),
            ..batch(
                &ann,
                vec![
                    upsert("request-2", "b", 0, "skipped"),
                    upsert("request-3", "c", 0, "kept"),
                    upsert("request-4", "d", 0, "never"),
                ],
            )
        };
        let pushed = push(&database, skipped).await;
        assert!(pushed.stopped, "{name}");
        let notes = database.snapshot("ann".into(), true).await.unwrap();
        assert_eq!(
            contents(&notes),
            [("a", 1, "one"), ("c", 1, "kept")],
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_lower_number_may_become_visible_after_a_higher_one() {
    for (name, database, _server) in databases().await {
        let ann = caller("ann");
        let numbers = database.take_numbers(1).await.unwrap();
        let later = push(
            &database,
            batch(&ann, vec![upsert("request-1", "a", 0, "x")]),
        )
        .await;
        let late = Push {
            numbers: numbers.clone(),
            ..batch(&ann, vec![upsert("request-2", "b", 0, "y")])
        };
        let late = push(&database, late).await;
        assert!(late.announce < later.announce, "{name}");
        assert_eq!(late.announce, numbers.first().copied(), "{name}");
        let latest = database.latest_cursor("ann".into()).await.unwrap();
        assert_eq!(Some(latest), later.announce, "{name}");
    }
}

#[tokio::test]
async fn a_log_is_pruned_and_a_backup_restored() {
    for (name, database, _server) in databases().await {
        let ann = caller("ann");
        for version in 0..4 {
            let request = format!("request-{version}");
            let operation = upsert(&request, "a", version, &request);
            push(&database, batch(&ann, vec![operation])).await;
        }
        let all = database.pull("ann".into(), Cursor::ZERO, 2).await.unwrap();
        assert_eq!(all.changes.len(), 2, "{name}");
        let second = all.next_cursor;
        database.prune(DAY, second).await.unwrap();
        let page = database
            .pull("ann".into(), Cursor::ZERO, 500)
            .await
            .unwrap();
        assert!(page.reset_required && page.changes.is_empty(), "{name}");
        assert!(page.oldest_available_cursor > Some(second), "{name}");
        let third = database
            .pull("ann".into(), second, 1)
            .await
            .unwrap()
            .next_cursor;

        database.restore(third).await.unwrap();
        let latest = database.latest_cursor("ann".into()).await.unwrap();
        assert_eq!(latest, third, "{name}");
        let notes = database.snapshot("ann".into(), true).await.unwrap();
        assert_eq!(contents(&notes), [("a", 3, "request-2")], "{name}");
        // What was undone is not remembered either: the client that sends it again is right.
        let operation = upsert("request-3", "a", 3, "again");
        let again = push(&database, batch(&ann, vec![operation])).await;
        assert_eq!(again.answer.applied.len(), 1, "{name}");
        assert_eq!(again.announce, Some(Cursor(third.0 + 1)), "{name}");
    }
}

#[tokio::test]
async fn the_first_import_happens_once() {
    for (name, database, _server) in databases().await {
        let ann = caller("ann");
        push(
            &database,
            batch(&ann, vec![upsert("request-1", "a", 0, "there")]),
        )
        .await;
        let notes: Vec<Record> = ["a", "b", "c", "c"]
            .iter()
            .map(|id| upsert("", id, 0, "imported").note.unwrap())
            .collect();
        let first = database.bootstrap(ann.clone(), notes.clone(), "print".into());
        let first = first.await.unwrap();
        assert_eq!(
            (first.imported, first.already_bootstrapped),
            (2, false),
            "{name}"
        );
        let second = database
            .bootstrap(ann, notes, "print".into())
            .await
            .unwrap();
        assert_eq!(
            (second.imported, second.already_bootstrapped),
            (0, true),
            "{name}"
        );
        let notes = database.snapshot("ann".into(), true).await.unwrap();
        let wanted = [
            ("a", 1, "there"),
            ("b", 1, "imported"),
            ("c", 1, "imported"),
        ];
        assert_eq!(contents(&notes), wanted, "{name}");
    }
}

#[tokio::test]
async fn devices_are_known_counted_and_shut_out() {
    for (name, database, _server) in databases().await {
        let devices: Vec<Caller> = (0..=DEVICES_MAX).map(|_| caller("ann")).collect();
        for device in &devices {
            let state = database.greet(device.clone()).await.unwrap();
            assert_eq!(state, DeviceState::Welcome, "{name}");
            sleep(Duration::from_millis(3)).await;
        }
        let known = database.devices("ann".into()).await.unwrap();
        assert_eq!(known.len() as u64, DEVICES_MAX, "{name}");
        let last = devices.last().unwrap();
        assert!(
            database.revoke("ann".into(), last.device).await.unwrap(),
            "{name}"
        );
        assert!(
            !database.revoke("bob".into(), last.device).await.unwrap(),
            "{name}"
        );
        let state = database.greet(last.clone()).await.unwrap();
        assert_eq!(state, DeviceState::Revoked, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_write_at_once_one_wins_and_a_repeat_is_one_write() {
    for (name, database, _server) in databases().await {
        let ann = caller("ann");
        let mut rivals = Vec::new();
        for rival in 0..16 {
            let (database, ann) = (Arc::clone(&database), ann.clone());
            // Half of them are the same request, sent again before the first answer.
            let request = format!("request-{}", rival.max(8));
            rivals.push(tokio::spawn(async move {
                let operation = upsert(&request, "a", 0, &request);
                push(&database, batch(&ann, vec![operation])).await.answer
            }));
        }
        let mut winners = Vec::new();
        for rival in rivals {
            winners.extend(rival.await.unwrap().applied);
        }
        winners.dedup();
        assert_eq!(winners.len(), 1, "{name}: {winners:?}");
        let page = database
            .pull("ann".into(), Cursor::ZERO, 500)
            .await
            .unwrap();
        assert_eq!(page.changes.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn postgres_says_what_it_cannot_store_and_when_it_is_away() {
    if !servers::here() {
        return;
    }
    let mut server = Postgres::start(40).await;
    let database = PostgresDatabase::new(&server.url(), 2, DEVICES_MAX).unwrap();
    let database: Arc<dyn Database> = Arc::new(database);
    let ann = caller("ann");
    let unfit = batch(&ann, vec![upsert("request-1", "nul\0", 0, "x")]);
    let refused = database.push_batch(unfit).await;
    assert!(
        matches!(refused, Err(DatabaseError::Unfit(_))),
        "{refused:?}"
    );
    // Any text may stand in a record.
    let fine = upsert("request-2", "a", 0, "nul\0, \u{10ffff} and 👩‍👩‍👧‍👦");
    push(&database, batch(&ann, vec![fine])).await;
    let notes = database.snapshot("ann".into(), false).await.unwrap();
    assert_eq!(contents(&notes), [("a", 1, "nul\0, \u{10ffff} and 👩‍👩‍👧‍👦")]);
    server.kill().await;
    let away = database.health().await;
    assert!(matches!(away, Err(DatabaseError::Away(_))), "{away:?}");
    server.restart().await;
    assert_eq!(database.health().await, Ok(()));
}

#[test]
fn a_url_that_is_none_is_refused_without_repeating_it() {
    for url in [
        "postgres://user:hush@host:port/x",
        "mysql://user:hush@host/x",
        "",
    ] {
        let refused = PostgresDatabase::new(url, 1, 1);
        assert!(!format!("{refused:?}").contains("hush"), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_share_tickets_and_announcements_through_redis_while_it_is_there() {
    if !servers::here() {
        return;
    }
    let mut server = Redis::start().await;
    let [here, there] = [0, 1].map(|_| RedisBus::start(&server.url(), 8).unwrap());
    let minute = Duration::from_secs(60);
    healthy(&here).await;
    healthy(&there).await;
    let ticket = Uuid::new_v4();
    assert_eq!(here.consume_ticket(ticket, minute).await, TicketUse::Fresh);
    assert_eq!(
        there.consume_ticket(ticket, minute).await,
        TicketUse::Replayed
    );
    let (mut near, mut far) = (here.subscribe("ann"), there.subscribe("ann"));
    here.publish("ann".into(), Cursor(7)).await;
    for stream in [&mut near, &mut far] {
        let heard = timeout(Duration::from_secs(5), stream.next()).await;
        assert_eq!(heard, Ok(Some(Cursor(7))));
    }
    assert_eq!(there.listeners(), ["ann"]);

    let gaps = there.health().await.gaps;
    server.kill().await;
    let away = timeout(Duration::from_secs(20), async {
        while here.consume_ticket(Uuid::new_v4(), minute).await != TicketUse::Unavailable {}
    });
    away.await.unwrap();
    let health = here.health().await;
    assert!(
        health.replay_store.is_some() && health.fan_out.is_some(),
        "{health:?}"
    );
    here.publish("ann".into(), Cursor(8)).await;
    let heard = timeout(Duration::from_secs(5), near.next()).await;
    assert_eq!(heard, Ok(Some(Cursor(8))), "local fan-out goes on");

    server.restart().await;
    healthy(&here).await;
    healthy(&there).await;
    assert!(
        there.health().await.gaps > gaps,
        "what was missed is known to be"
    );
    here.publish("ann".into(), Cursor(9)).await;
    let heard = timeout(Duration::from_secs(5), far.next()).await;
    assert_eq!(heard, Ok(Some(Cursor(9))));
}

async fn healthy(bus: &RedisBus) {
    for _ in 0..200 {
        let health = bus.health().await;
        if health.replay_store.is_none() && health.fan_out.is_none() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("not healthy: {:?}", bus.health().await);
}
