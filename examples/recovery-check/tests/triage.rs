//! `triage` where there is no outage to diagnose: what it needs, what it cannot know, and strangers.

#![allow(clippy::unwrap_used)]

mod common;

use std::process::Output;
use std::time::{Duration, Instant};

use common::hostile::{self, Hostile};
use common::{command, lines, stack, stderr, url};
use serde_json::Value;

fn triage(edge: &str, origin: &str, more: &[&str]) -> Output {
    let args = [
        "triage", "--sample", "300ms", "--edge", edge, "--origin", origin,
    ];
    command(&[&args[..], more].concat())
        .env("EVENKEEL_TOKEN", "demo-token")
        .output()
        .unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.stderr.is_empty(), "{}", stderr(output));
    lines(output).remove(0)
}

fn states(report: &Value) -> Vec<(&str, &str)> {
    let steps = report["steps"].as_array().unwrap().iter();
    steps
        .map(|step| {
            (
                step["id"].as_str().unwrap(),
                step["state"].as_str().unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_healthy_service_is_healthy_in_every_format() {
    let (_stack, urls) = stack(&[]);
    let (edge, origin) = (url(&urls, "edge"), url(&urls, "origin"));
    let output = triage(edge, origin, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let report = json(&output);
    assert_eq!(report["verdict"], "healthy");
    assert_eq!(report["findings"], Value::Array(vec![]));
    assert_eq!(
        states(&report),
        [
            ("ready", "ok"),
            ("edge", "ok"),
            ("reachability", "ok"),
            ("redis", "ok")
        ]
    );
    let way = &report["steps"][2]["details"]["origin"];
    for phase in ["dns_ms", "connect_ms", "http_ms"] {
        assert!(way[phase].is_f64(), "{way}");
    }
    for (format, word) in [("text", "healthy"), ("markdown", "# Triage: healthy")] {
        let output = triage(edge, origin, &["--format", format]);
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains(word) && !text.contains("demo-token"),
            "{text}"
        );
    }
}

#[test]
fn what_was_not_seen_is_unknown_and_not_fine() {
    let (_stack, urls) = stack(&[]);
    let (edge, origin) = (url(&urls, "edge"), url(&urls, "origin"));
    for (args, step) in [
        (vec!["--edge", edge], "ready"),
        (vec!["--origin", origin], "edge"),
        (vec!["--edge", edge, "--origin", origin], "reachability"),
    ] {
        let mut command =
            command(&[&["triage", "--sample", "0s", "--format", "json"][..], &args].concat());
        if step != "reachability" {
            command.env("EVENKEEL_TOKEN", "demo-token");
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        let report = json(&output);
        assert_eq!(report["verdict"], "unknown");
        assert!(states(&report).contains(&(step, "unknown")), "{report}");
    }
    let output = command(&["triage"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--origin"));
}

#[test]
fn a_server_log_is_read_whatever_stands_in_it() {
    let (_stack, urls) = stack(&[]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.jsonl");
    let now = std::time::SystemTime::now();
    let now_ms = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let mut text = b"\xff\xfe not a line\n{\"msg\":\n".to_vec();
    for _ in 0..3 {
        let line = format!("{{\"time\":{now_ms},\"msg\":\"redis: connect ECONNREFUSED\"}}\n");
        text.extend_from_slice(line.as_bytes());
    }
    std::fs::write(&path, text).unwrap();
    let more = ["--format", "json", "--server-log", path.to_str().unwrap()];
    let output = triage(url(&urls, "edge"), url(&urls, "origin"), &more);
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    assert_eq!(report["findings"][0]["id"], "redis_log");
    assert_eq!(
        report["steps"][3]["details"]["connection_errors"]["count"],
        3
    );
    let more = ["--format", "json", "--server-log", "/nonexistent"];
    let output = triage(url(&urls, "edge"), url(&urls, "origin"), &more);
    assert_eq!(output.status.code(), Some(3), "{}", json(&output));
}

#[test]
fn whatever_answers_there_is_a_finding_in_bounded_time_and_memory() {
    let runs: Vec<_> = hostile::ALL
        .into_iter()
        .map(|kind| std::thread::spawn(move || stranger(kind)))
        .collect();
    runs.into_iter().for_each(|run| run.join().unwrap());
}

fn stranger(kind: Hostile) {
    let begun = Instant::now();
    let (edge, origin) = (hostile::start(kind), hostile::start(kind));
    let args = ["triage", "--sample", "0s", "--format", "json"];
    let (output, peak_kb) = common::run_measured(
        command(&[&args[..], &["--edge", &edge, "--origin", &origin]].concat())
            .env("EVENKEEL_TOKEN", "demo-token"),
    );
    assert_eq!(
        output.status.code(),
        Some(1),
        "{kind:?}: {}",
        stderr(&output)
    );
    let report = json(&output);
    assert_eq!(report["verdict"], "unhealthy", "{kind:?}");
    let first = report["findings"][0]["id"].as_str().unwrap();
    let expected: &[&str] = match kind {
        Hostile::Drip | Hostile::Nothing | Hostile::Closes => &["edge_unreachable", "path"],
        _ => &["not_the_service"],
    };
    assert!(expected.contains(&first), "{kind:?}: {report}");
    assert!(!report.to_string().contains("\\u001b"), "{kind:?}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{kind:?}");
    assert!(peak_kb < 60_000, "{kind:?}: {peak_kb} kB");
}
