//! Services that are none, and what the commands make of them that look for longer: they come to their end,
//! in bounded memory, and call nothing good.

#![allow(clippy::unwrap_used)]

mod common;

use std::process::Output;
use std::time::{Duration, Instant};

use common::hostile::{self, Hostile};
use common::rotation::Scene;
use common::{command, lines, run, run_measured, stderr};
use serde_json::Value;

/// As the user, with what it said and its exit code; it must neither hang nor panic nor take much.
fn bounded(kind: Hostile, args: &[&str]) -> Output {
    let begun = Instant::now();
    let mut command = command(args);
    command.env("EVENKEEL_TOKEN", "demo-token");
    let (output, peak_kb) = run_measured(command.env("EVENKEEL_AI_KEY", "sk-user-7"));
    let errors = stderr(&output);
    assert!(!errors.contains("panicked"), "{kind:?} {args:?}: {errors}");
    let took = begun.elapsed();
    assert!(took < TIME_MAX, "{kind:?} {args:?}: {took:?}");
    assert!(peak_kb < KB_MAX, "{kind:?} {args:?}: {peak_kb} kB");
    output
}

#[test]
fn a_client_of_a_stranger_is_degraded_and_a_recording_of_it_no_recovery() {
    let mut kinds = hostile::ALL.to_vec();
    kinds.push(Hostile::Absurd);
    common::in_turns(kinds, 5, |kind| {
        let (edge, origin) = (hostile::start(kind), hostile::start(kind));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.jsonl");
        let file = file.to_str().unwrap();
        let service = ["--edge", &edge, "--origin", &origin];

        let args = [
            "record",
            "--interval",
            "200ms",
            "--for",
            "4s",
            "--out",
            file,
        ];
        let output = bounded(kind, &[&args[..], &service].concat());
        assert_eq!(output.status.code(), Some(0), "{kind:?}");
        let page = folder.path().join("run.html");
        let output = run(&["report", file, "--out", page.to_str().unwrap()]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("not recovered"), "{kind:?}: {said}");

        let args = ["watch", "--format", "jsonl", "--for", "3s"];
        let output = bounded(kind, &[&args[..], &service].concat());
        assert_eq!(output.status.code(), Some(0), "{kind:?}");
        let last = lines(&output).pop().unwrap();
        assert_ne!(last["state"], "synced", "{kind:?}: {last}");

        let args = ["status", "--until", "synced", "--timeout", "2s"];
        let output = bounded(kind, &[&args[..], &service].concat());
        assert_eq!(output.status.code(), Some(1), "{kind:?}");
    });
}

#[test]
fn numbers_that_cannot_be_are_judged_and_not_added_up() {
    let (edge, origin) = (
        hostile::start(Hostile::Absurd),
        hostile::start(Hostile::Absurd),
    );
    let service = ["--edge", &edge, "--origin", &origin, "--format", "json"];
    let args = ["triage", "--sample", "0s"];
    let output = bounded(Hostile::Absurd, &[&args[..], &service].concat());
    assert_eq!(output.status.code(), Some(1));
    let report = lines(&output).remove(0);
    let findings = report["findings"].as_array().unwrap();
    for id in ["path", "circuit_open", "secrets", "upstream_other"] {
        assert!(findings.iter().any(|f| f["id"] == id), "{id}: {report}");
    }
    let args = [
        "verify",
        "--window",
        "1s",
        "--interval",
        "200ms",
        "--deadline",
        "3s",
    ];
    let output = bounded(Hostile::Absurd, &[&args[..], &service].concat());
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_drill_begins_nothing_with_a_stranger() {
    common::in_turns(hostile::ALL.to_vec(), 9, |kind| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("drill.json");
        let edge = hostile::start(kind);
        let args = [
            "drill", "rotation", "begin", "--format", "json", "--edge", &edge,
        ];
        let state = ["--state", file.to_str().unwrap()];
        let output = bounded(kind, &[&args[..], &state].concat());
        assert_eq!(
            output.status.code(),
            Some(3),
            "{kind:?}: {}",
            stderr(&output)
        );
        assert!(!file.exists(), "{kind:?}");
    });
}

#[test]
fn a_drill_whose_edge_became_a_stranger_is_not_passed() {
    let kinds = [
        Hostile::Garbage,
        Hostile::Html,
        Hostile::Redirect,
        Hostile::Huge,
        Hostile::Nothing,
    ];
    common::in_turns(kinds.to_vec(), 5, |kind| {
        let scene = Scene::new(&[]);
        let (code, report) = scene.step("begin", &[]);
        assert_eq!(code, Some(0), "{report}");
        let (edge, file) = (scene.edge().to_owned(), scene.file());
        let folder = scene.end();
        hostile::start_at(kind, edge.strip_prefix("http://").unwrap());
        for step in ["check", "finish"] {
            let args = [
                "drill", "rotation", step, "--format", "json", "--edge", &edge,
            ];
            let state = ["--state", file.to_str().unwrap()];
            let output = bounded(kind, &[&args[..], &state].concat());
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(3), "{kind:?}: {report}");
            assert_eq!(report["verdict"], "unknown", "{kind:?}: {report}");
        }
        drop(folder);
    });
}

const TIME_MAX: Duration = Duration::from_secs(120);
const KB_MAX: u64 = 120_000;
