//! What goes wrong says what to do about it, has a code of its own, and damages nothing.

#![allow(clippy::unwrap_used, reason = "a test that fails")]

mod common;

use std::fs;
use std::process::Stdio;

use common::{Bench, Ran, notes};
use serde_json::Value;

/// Runs it; the exit code, the error's name and its message.
fn fails(mut command: std::process::Command) -> (i32, String, String) {
    let ran = Ran::of(command.output().unwrap());
    assert!(ran.lines.is_empty(), "{ran:?}");
    (ran.code, ran.error(), ran.errors)
}

#[test]
fn usage_and_configuration_errors_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("a.db");
    let long = "a".repeat(257);
    for (args, word) in [
        (
            &["add", "x", "--url", "https://sync.example.com"][..],
            "EVENKEEL_TOKEN",
        ),
        (
            &["add", "x", "--token-file", "/nonexistent"],
            "/nonexistent",
        ),
        (&["edit", "some-id"], "--title"),
        (&["resolve", "some-id"], "--keep"),
        (&["list", "--account", &long], "--account"),
        (&[], "terminal"),
    ] {
        let (code, name, message) = fails(notes(&store, args));
        assert_eq!((code, name.as_str()), (2, "usage"), "{args:?}: {message}");
        assert!(message.contains(word), "{args:?}: {message}");
    }
    for url in ["http://sync.example.com", "nonsense"] {
        let mut command = notes(&store, &["add", "x", "--url", url]);
        command.env("EVENKEEL_TOKEN", "demo-token");
        let (code, name, message) = fails(command);
        assert_eq!((code, name.as_str()), (2, "usage"), "{message}");
        assert!(message.contains("--url"), "{message}");
        assert!(message.contains("https://sync.example.com"), "{message}");
    }
    for args in [
        &["frobnicate"][..],
        &["add"],
        &["add", "x", "--wait", "soon"],
    ] {
        let (code, ..) = fails(notes(&store, args));
        assert_eq!(code, 2);
    }
    let output = notes(&store, &["list"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(0), 0));
}

#[test]
fn what_is_not_there_is_code_6() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("a.db");
    for args in [
        &["edit", "nobody", "--title", "x", "--offline"][..],
        &["rm", "nobody", "--offline"],
        &["resolve", "nobody", "--keep", "mine", "--offline"],
        &["retry", "nobody", "--offline"],
        &["discard", "nobody"],
    ] {
        let (code, name, message) = fails(notes(&store, args));
        assert_eq!((code, name.as_str()), (6, "not_found"), "{message}");
        assert!(message.contains("nobody"), "{message}");
    }
}

#[test]
fn a_store_that_cannot_be_opened_is_code_7_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("text.db"), "dear diary").unwrap();
    let store = path("a.db");
    let added = notes(&store, &["add", "x", "--offline"]).output().unwrap();
    assert_eq!(added.status.code(), Some(0));
    // Everything but the first page is overwritten.
    let mut bytes = fs::read(&store).unwrap();
    bytes[5_000..].fill(0xa5);
    fs::write(path("damaged.db"), &bytes).unwrap();
    for (name, args, error) in [
        ("a.db", &["list", "--account", "ann"][..], "wrong_account"),
        ("text.db", &["list"], "not_a_store"),
        ("damaged.db", &["list"], "store_damaged"),
        ("no/such/folder/a.db", &["list"], "store_unusable"),
        (".", &["list"], "store_unusable"),
    ] {
        let before = fs::read(path(name)).ok();
        let (code, kind, message) = fails(notes(&path(name), args));
        assert_eq!((code, kind.as_str()), (7, error), "{message}");
        assert_eq!(fs::read(path(name)).ok(), before, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_told_and_the_note_kept() {
    let bench = Bench::new().await;
    let mut command = bench.command("a.db", &["add", "milk", "--wait", "60"]);
    command.env("EVENKEEL_TOKEN", "stolen-token");
    let ran = Ran::of(command.output().unwrap());
    assert_eq!((ran.code, ran.verdict()), (1, "waiting"), "{ran:?}");
    let why = ran.lines[1]["why"].as_str().unwrap();
    assert!(why.contains("token"), "{why}");
    assert!(!format!("{ran:?}").contains("stolen-token"));
    // With a token that is taken, from a file, it goes out.
    let file = bench.path("token");
    fs::write(&file, "demo-token\n").unwrap();
    let mut command = bench.command("a.db", &["sync"]);
    command
        .arg("--token-file")
        .arg(&file)
        .env_remove("EVENKEEL_TOKEN");
    let ran = Ran::of(command.output().unwrap());
    assert_eq!(ran.code, 0, "{ran:?}");
    let list = bench.ok("a.db", &["list"]);
    assert_eq!(list[0]["state"], "synced");
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("a.db");
    for n in 0..3 {
        let text = format!("note {n}");
        let added = notes(&store, &["add", &text, "--offline"])
            .output()
            .unwrap();
        assert_eq!(added.status.code(), Some(0));
    }
    let mut child = notes(&store, &["list"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn words_for_people_name_the_same_things() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("a.db");
    let plain = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_notes"));
        command
            .args(args)
            .arg("--store")
            .arg(&store)
            .env_remove("EVENKEEL_EDGE");
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (text, String::from_utf8(output.stderr).unwrap())
    };
    let (text, _) = plain(&["add", "milk\neggs", "--pin", "--offline"]);
    let id = text.split_whitespace().next().unwrap().to_owned();
    assert!(text.contains("safe on this device"), "{text}");
    let (text, _) = plain(&["list"]);
    assert_eq!(text, format!("{id} * milk  [waiting]\n"));
    let (_, errors) = plain(&["rm", "nobody", "--offline"]);
    assert_eq!(errors, "notes: there is no note nobody\n");
    assert!(serde_json::from_str::<Value>(&text).is_err());
}
