//! `verify`: what it must never call a recovery, and what it leaves behind.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::elsewhere::without_metrics;
use common::{Running, command, control, get, hostile, lines, stack, stderr, url, wait};
use serde_json::Value;

const SHORT: [&str; 7] = [
    "verify",
    "--window",
    "1s",
    "--interval",
    "200ms",
    "--heartbeat-within",
    "2s",
];

fn verify(urls: &[(String, String)], more: &[&str]) -> Command {
    let mut args = SHORT.to_vec();
    if more.contains(&"--window") {
        args.drain(1..3);
    }
    let mut command = command(&[&args[..], more].concat());
    command
        .args(["--edge", url(urls, "edge"), "--origin", url(urls, "origin")])
        .env("EVENKEEL_TOKEN", "demo-token");
    command
}

fn report(command: &mut Command) -> (Option<i32>, Value) {
    let output = command.args(["--format", "json"]).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    (output.status.code(), lines(&output).remove(0))
}

fn states(report: &Value) -> Vec<(&str, &str)> {
    let criteria = report["criteria"].as_array().unwrap().iter();
    criteria
        .map(|c| (c["id"].as_str().unwrap(), c["state"].as_str().unwrap()))
        .collect()
}

fn evidence<'a>(report: &'a Value, id: &str) -> &'a str {
    let mut criteria = report["criteria"].as_array().unwrap().iter();
    criteria.find(|c| c["id"] == id).unwrap()["evidence"]
        .as_str()
        .unwrap()
}

#[test]
fn a_service_that_is_well_has_recovered_and_keeps_nothing_of_the_scratch_record() {
    let (_stack, urls) = stack(&["--set", "heartbeat_ms=300"]);
    let (code, report) = report(&mut verify(&urls, &["--write-probe", "--deadline", "60s"]));
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["verdict"], "recovered");
    assert_eq!(
        states(&report),
        [
            ("ready", "pass"),
            ("circuit", "pass"),
            ("handshake", "pass"),
            ("client", "pass"),
            ("write", "pass")
        ]
    );
    assert!(report["samples"].as_u64().unwrap() >= 5, "{report}");
    for criterion in report["criteria"].as_array().unwrap() {
        assert!(criterion["since_ms"].as_u64().unwrap() > 1_600_000_000_000);
    }
    let notes = get(url(&urls, "origin"), "/api/v2/notes?includeDeleted=false");
    assert_eq!(notes["notes"], Value::Array(vec![]), "{notes}");
    let all = get(url(&urls, "origin"), "/api/v2/notes?includeDeleted=true");
    assert_eq!(all["notes"].as_array().unwrap().len(), 1, "{all}");
}

#[test]
fn a_scratch_record_is_deleted_after_lost_answers_too() {
    let (_stack, urls) = stack(&["--set", "heartbeat_ms=300"]);
    // The edge repeats a push itself; these are the first push and its repeat.
    control(
        url(&urls, "control"),
        "PUT",
        "/faults/push_answers_lost",
        "2",
    );
    let (code, report) = report(&mut verify(&urls, &["--write-probe", "--deadline", "60s"]));
    assert_eq!(code, Some(0), "{report}");
    let notes = get(url(&urls, "origin"), "/api/v2/notes?includeDeleted=false");
    assert_eq!(notes["notes"], Value::Array(vec![]), "{notes}");
}

#[test]
fn what_only_looks_like_a_recovery_is_none() {
    let cases = [
        // Opens and sends nothing.
        ("stream_silent", "true", "client"),
        // Ready came, and then nothing.
        ("stream_no_heartbeats", "true", "handshake"),
        // Answers 200 with a degraded dependency.
        ("ready_degraded", "true", "ready"),
        // Pulls work, streams do not.
        ("replay_store_down", "true", "client"),
    ];
    common::in_turns(cases.to_vec(), 4, |(fault, value, id)| {
        let (_stack, urls) = stack(&["--set", "heartbeat_ms=300"]);
        let path = format!("/faults/{fault}");
        control(url(&urls, "control"), "PUT", &path, value);
        let (code, report) = report(&mut verify(&urls, &["--deadline", "6s"]));
        assert_eq!(code, Some(1), "{fault}: {report}");
        assert_eq!(report["verdict"], "not_recovered");
        assert!(states(&report).contains(&(id, "fail")), "{fault}: {report}");
    });
}

#[test]
fn a_degraded_dependency_may_be_allowed_by_its_name() {
    let (_stack, urls) = stack(&["--set", "heartbeat_ms=300"]);
    control(
        url(&urls, "control"),
        "PUT",
        "/faults/ready_degraded",
        "true",
    );
    let allowed = ["--allow-degraded", "redis", "--deadline", "60s"];
    let (code, report) = report(&mut verify(&urls, &allowed));
    assert_eq!(code, Some(0), "{report}");
    assert!(evidence(&report, "ready").contains("DEGRADED"), "{report}");
}

#[test]
fn a_restart_of_the_edge_begins_the_window_again_and_is_said() {
    let (_stack, urls) = stack(&["--set", "heartbeat_ms=300"]);
    let mut child = verify(&urls, &["--window", "3s", "--deadline", "90s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let mut running = Running(child);
    let mut said = Vec::new();
    let mut restarted = false;
    for line in stdout.lines() {
        said.push(line.unwrap());
        let line = said.last().unwrap();
        if !restarted && line.contains("client") && line.contains("pass") {
            restarted = true;
            control(url(&urls, "control"), "POST", "/edge/restart", "");
        }
    }
    assert_eq!(
        wait(&mut running.0, Duration::from_secs(10)),
        Some(0),
        "{said:#?}"
    );
    assert!(
        said.iter().any(|line| line.contains("counters fell")),
        "{said:#?}"
    );
    assert!(said.last().unwrap().starts_with("recovered"), "{said:#?}");
}

#[test]
fn counters_that_are_kept_from_us_are_unknown_until_that_is_allowed() {
    let (_stack, urls) = stack(&["--set", "heartbeat_ms=300"]);
    let edge = without_metrics(url(&urls, "edge"));
    let urls = vec![
        ("edge".to_owned(), edge),
        urls[urls.iter().position(|(n, _)| n == "origin").unwrap()].clone(),
    ];
    let (code, seen) = report(&mut verify(&urls, &["--deadline", "60s"]));
    assert_eq!(code, Some(3), "{seen}");
    assert_eq!(seen["verdict"], "unknown");
    assert!(states(&seen).contains(&("circuit", "unknown")), "{seen}");
    let more = ["--deadline", "60s", "--allow-unknown", "metrics"];
    let (code, seen) = report(&mut verify(&urls, &more));
    assert_eq!(
        (code, seen["verdict"].as_str()),
        (Some(0), Some("recovered"))
    );
    let more = [
        "--deadline",
        "60s",
        "--allow-unknown",
        "metrics",
        "--format",
        "junit",
    ];
    let output = verify(&urls, &more).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let xml = String::from_utf8(output.stdout).unwrap();
    assert!(
        xml.contains("tests=\"4\" failures=\"0\" errors=\"0\" skipped=\"1\""),
        "{xml}"
    );
    assert!(xml.trim_end().ends_with("</testsuite>"), "{xml}");
}

#[test]
fn strangers_have_not_recovered() {
    common::in_turns(hostile::ALL.to_vec(), 9, |kind| {
        let (edge, origin) = (hostile::start(kind), hostile::start(kind));
        let args = [
            "--deadline",
            "4s",
            "--format",
            "json",
            "--edge",
            &edge,
            "--origin",
            &origin,
        ];
        let (output, peak_kb) = common::run_measured(
            command(&[&SHORT[..], &args].concat()).env("EVENKEEL_TOKEN", "demo-token"),
        );
        assert_eq!(
            output.status.code(),
            Some(1),
            "{kind:?}: {}",
            stderr(&output)
        );
        let report = lines(&output).remove(0);
        assert_eq!(report["verdict"], "not_recovered", "{kind:?}: {report}");
        assert!(peak_kb < 100_000, "{kind:?}: {peak_kb} kB");
    });
}

#[test]
#[cfg(unix)]
fn a_signal_ends_it_with_the_verdict_so_far() {
    let (_stack, urls) = stack(&[]);
    let mut child = verify(&urls, &["--window", "10m", "--deadline", "1h"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    stdout.read_line(&mut first).unwrap();
    let pid = child.id().to_string();
    let mut running = Running(child);
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(wait(&mut running.0, Duration::from_secs(10)), Some(1));
    assert!(rest.contains("not recovered ("), "{rest}");
    assert!(get(url(&urls, "control"), "/faults").is_object());
}
