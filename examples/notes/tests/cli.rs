//! The commands as a script sees them: real processes, exit codes, fields.

#![allow(clippy::unwrap_used, reason = "a test that fails")]

mod common;

use std::io::Write as _;
use std::process::Stdio;

use common::{Bench, Ran, notes};
use serde_json::{Value, json};

#[test]
fn help_teaches_and_needs_no_service() {
    for (args, words) in [
        (
            &["--help"][..],
            &[
                "recovery-check stack",
                "Exit codes",
                "EVENKEEL_TOKEN",
                "--store",
                "add",
            ][..],
        ),
        (&["add", "--help"], &["durable", "seq 100", "--offline"]),
        (&["list", "--help"], &["created_at_ms", "parked"]),
        (&["resolve", "--help"], &["--keep mine", "theirs"]),
        (&["sync", "--help"], &["Exit codes"]),
    ] {
        let output = notes("unused".as_ref(), args)
            .env("EVENKEEL_EDGE", "https://me:pw@example.com")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        for word in words {
            assert!(text.contains(word), "{word} is missing in:\n{text}");
        }
        assert!(!text.contains("pw@"), "the environment is not told");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn notes_go_from_one_store_to_the_other() {
    let bench = Bench::new().await;
    let ran = bench.run("a.db", &["add", "milk", "--title", "Shopping", "--pin"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let id = ran.lines[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(ran.lines[0], json!({"event": "written", "id": id}));
    assert_eq!(
        ran.lines[1],
        json!({"event": "verdict", "id": id, "verdict": "acknowledged", "version": 1})
    );
    let up_to_date = bench.ok("b.db", &["sync"]);
    assert_eq!(up_to_date[0]["event"], "status");
    assert_eq!(up_to_date[0]["up_to_date"], true);
    let note = bench.note("b.db", &id).unwrap();
    let fields = ["version", "state", "title", "content", "pinned"].map(|name| note[name].clone());
    assert_eq!(
        fields,
        [
            json!(1),
            json!("synced"),
            json!("Shopping"),
            json!("milk"),
            json!(true)
        ]
    );
    assert!(note["created_at_ms"].as_i64().unwrap() > 1_600_000_000_000);
    assert!(note["updated_at_ms"].is_i64());

    bench.ok("b.db", &["edit", &id, "--title", "Groceries", "--unpin"]);
    bench.ok("a.db", &["sync"]);
    let note = bench.note("a.db", &id).unwrap();
    assert_eq!(
        (&note["title"], &note["pinned"]),
        (&json!("Groceries"), &json!(false))
    );
    assert_eq!(note["content"], "milk", "what was not named stays");
    bench.ok("a.db", &["rm", &id]);
    bench.ok("b.db", &["sync"]);
    assert!(bench.note("b.db", &id).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_offline_goes_out_later() {
    let bench = Bench::new().await;
    // Neither a service nor a token is needed to write.
    let store = bench.path("a.db");
    let ran = Ran::of(
        notes(&store, &["add", "milk", "--offline"])
            .output()
            .unwrap(),
    );
    assert_eq!((ran.code, ran.lines.len()), (0, 1), "{ran:?}");
    let id = ran.lines[0]["id"].as_str().unwrap();
    assert_eq!(bench.note("a.db", id).unwrap()["state"], "waiting");
    assert_eq!(bench.note("a.db", id).unwrap()["version"], 0);

    bench
        .stack
        .faults()
        .update(|faults| faults.edge_refuses = true);
    let ran = bench.run("a.db", &["add", "eggs", "--wait", "5"]);
    assert_eq!((ran.code, ran.verdict()), (1, "waiting"), "{ran:?}");
    assert!(ran.lines[1]["why"].is_string(), "{ran:?}");
    let ran = bench.run("a.db", &["sync", "--wait", "1"]);
    assert_eq!(
        (ran.code, &ran.lines[0]["pending"]),
        (1, &json!(2)),
        "{ran:?}"
    );

    bench.stack.faults().reset();
    bench.ok("a.db", &["sync", "--wait", "60"]);
    bench.ok("b.db", &["sync"]);
    let there = bench.ok("b.db", &["list"]);
    assert_eq!(there.len(), 2);
    assert!(there.iter().all(|note| note["state"] == "synced"));
}

/// One note on both devices, changed on `a` and, unheard of that, on `b`.
fn disagree(bench: &Bench, a: &[&str], b: &[&str]) -> String {
    let id = bench.add("a.db", &["milk", "--title", "Shopping"]);
    bench.ok("b.db", &["sync"]);
    bench.ok("a.db", &[&["edit", &id], a].concat());
    bench.ok("b.db", &[&["edit", &id, "--offline"], b].concat());
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn different_fields_merge_and_the_same_one_is_decided() {
    let bench = Bench::new().await;
    let id = disagree(&bench, &["--title", "Groceries"], &["--content", "eggs"]);
    bench.ok("b.db", &["sync"]);
    let note = bench.note("b.db", &id).unwrap();
    assert_eq!(
        (&note["title"], &note["content"]),
        (&json!("Groceries"), &json!("eggs"))
    );
    assert!(bench.ok("b.db", &["conflicts"]).is_empty());

    for (how, title) in [
        (&["--keep", "mine"][..], "Market"),
        (&["--keep", "theirs"], "Groceries"),
        (&["--title", "Market groceries"], "Market groceries"),
    ] {
        let ours = ["--title", "Market", "--content", "bread"];
        let id = disagree(&bench, &["--title", "Groceries"], &ours);
        bench.ok("b.db", &["sync"]);
        let conflict = &bench.ok("b.db", &["conflicts"])[0];
        assert_eq!(conflict["id"], id);
        assert_eq!(
            conflict["clash"],
            json!({"kind": "fields", "fields": ["title"]})
        );
        assert_eq!(conflict["base"]["title"], "Shopping");
        assert_eq!(conflict["mine"]["title"], "Market");
        assert_eq!(conflict["theirs"]["title"], "Groceries");
        assert_eq!(bench.note("b.db", &id).unwrap()["state"], "conflict");
        let ran = bench.run("b.db", &[&["resolve", &id], how].concat());
        assert_eq!((ran.code, ran.verdict()), (0, "acknowledged"), "{ran:?}");
        assert!(bench.ok("b.db", &["conflicts"]).is_empty());
        bench.ok("a.db", &["sync"]);
        for store in ["a.db", "b.db"] {
            let note = bench.note(store, &id).unwrap();
            let content = if title == "Groceries" {
                "milk"
            } else {
                "bread"
            };
            assert_eq!(
                (&note["title"], &note["content"]),
                (&json!(title), &json!(content))
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_meets_anothers_is_told_as_a_conflict() {
    let bench = Bench::new().await;
    let id = disagree(&bench, &["--title", "Groceries"], &["--title", "Market"]);
    let ran = bench.run("b.db", &["edit", &id, "--content", "bread"]);
    assert_eq!((ran.code, ran.verdict()), (4, "conflict"), "{ran:?}");
    // A deletion against an edit.
    let id = bench.add("a.db", &["milk"]);
    bench.ok("b.db", &["sync"]);
    bench.ok("b.db", &["edit", &id, "--content", "eggs"]);
    bench.ok("a.db", &["rm", &id, "--offline"]);
    bench.ok("a.db", &["sync"]);
    let conflict = &bench.ok("a.db", &["conflicts"])[0];
    assert_eq!(conflict["clash"]["kind"], "delete_against_edit");
    assert!(conflict["mine"].is_null());
    assert_eq!(conflict["theirs"]["content"], "eggs");
    bench.ok("a.db", &["resolve", &id, "--keep", "mine"]);
    bench.ok("b.db", &["sync"]);
    assert!(bench.note("b.db", &id).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_is_parked_until_somebody_decides() {
    let bench = Bench::new().await;
    let long = "t".repeat(513);
    let ran = bench.run("a.db", &["add", "milk", "--title", &long]);
    assert_eq!((ran.code, ran.verdict()), (5, "rejected"), "{ran:?}");
    let reason = &ran.lines[1]["reason"];
    assert_eq!(
        (&reason["kind"], &reason["http_status"]),
        (&json!("refused"), &json!(400))
    );
    let id = ran.lines[0]["id"].as_str().unwrap();
    let parked = bench.ok("a.db", &["parked"]);
    assert_eq!((parked.len(), &parked[0]["id"]), (1, &json!(id)));
    assert_eq!(parked[0]["wanted"]["content"], "milk");
    assert_eq!(bench.note("a.db", id).unwrap()["state"], "parked");
    let ran = bench.run("a.db", &["retry", id]);
    assert_eq!((ran.code, ran.verdict()), (5, "rejected"), "{ran:?}");
    // A write that fits takes its place.
    bench.ok("a.db", &["edit", id, "--title", "Shopping"]);
    assert!(bench.ok("a.db", &["parked"]).is_empty());

    let ran = bench.run("a.db", &["edit", id, "--title", &long]);
    assert_eq!(ran.code, 5);
    bench.ok("a.db", &["discard", id]);
    assert_eq!(bench.note("a.db", id).unwrap()["title"], "Shopping");
    assert_eq!(bench.run("a.db", &["discard", id]).code, 6);
}

fn add_lines(bench: &Bench, store: &str, args: &[&str], lines: &str) -> Ran {
    let mut child = bench
        .command(store, &[&["add", "-"], args].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines = lines.to_owned();
    let feeding = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let ran = Ran::of(child.wait_with_output().unwrap());
    // It may have ended before it read all of it.
    let _ = feeding.join().unwrap();
    ran
}

fn count(lines: &[Value], name: &str, value: &str) -> usize {
    lines.iter().filter(|line| line[name] == value).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_of_the_input_becomes_a_note() {
    let bench = Bench::new().await;
    let lines: String = (0..250).map(|n| format!("line {n} ä\r\n\n")).collect();
    let ran = add_lines(&bench, "a.db", &["--wait", "30"], &lines);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(count(&ran.lines, "event", "written"), 250);
    assert_eq!(count(&ran.lines, "verdict", "acknowledged"), 250);
    bench.ok("b.db", &["sync"]);
    let there = bench.ok("b.db", &["list"]);
    assert_eq!(there.len(), 250);
    assert!(there.iter().any(|note| note["content"] == "line 249 ä"));
    assert_eq!(bench.ok("b.db", &["list", "--limit", "7"]).len(), 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_outbox_stops_a_script_offline_and_paces_it_online() {
    let bench = Bench::new().await;
    let lines: String = (0..1_100).map(|n| format!("line {n}\n")).collect();
    let ran = add_lines(&bench, "a.db", &["--offline"], &lines);
    assert_eq!(
        (ran.code, ran.error().as_str()),
        (3, "outbox_full"),
        "{}",
        ran.errors
    );
    assert_eq!(count(&ran.lines, "event", "written"), 1_000);
    assert_eq!(
        bench.ok("a.db", &["list"]).len(),
        1_000,
        "what was accepted is there"
    );
    // With a service the same waits until there is room.
    let ran = add_lines(&bench, "a.db", &["--wait", "60"], "one\ntwo\nthree\n");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(count(&ran.lines, "verdict", "acknowledged"), 3);
}
