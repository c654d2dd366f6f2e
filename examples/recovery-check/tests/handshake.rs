//! `handshake`, against the real service and against things that are none.

#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::hostile::{self, Hostile};
use common::{command, control, lines, run, stack, stderr, url};
use serde_json::Value;

fn handshake(edge: &str, more: &[&str]) -> (Option<i32>, Value) {
    let output = command(&[&["handshake", "--format", "json", "--edge", edge], more].concat())
        .env("EVENKEEL_TOKEN", "demo-token")
        .output()
        .unwrap();
    let errors = stderr(&output);
    assert!(errors.is_empty(), "{errors}");
    (output.status.code(), lines(&output).remove(0))
}

fn ids(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter()
        .map(|item| item["id"].as_str().unwrap())
        .collect()
}

fn last(report: &Value) -> &Value {
    report["attempts"][0]["phases"]
        .as_array()
        .unwrap()
        .last()
        .unwrap()
}

#[test]
fn each_phase_is_timed_and_a_ticket_is_good_for_one_stream() {
    for carrier in ["cookie", "body"] {
        let setting = format!("ticket_carrier={carrier}");
        let (_stack, urls) = stack(&["--set", "heartbeat_ms=300", "--set", &setting]);
        let (code, report) = handshake(url(&urls, "edge"), &["--count", "2"]);
        assert_eq!(code, Some(0), "{report}");
        assert_eq!(report["verdict"], "ok");
        assert_eq!(report["attempts"].as_array().unwrap().len(), 2);
        for attempt in report["attempts"].as_array().unwrap() {
            assert_eq!(
                ids(&attempt["phases"]),
                [
                    "dns",
                    "connect",
                    "tls",
                    "ticket",
                    "headers",
                    "ready",
                    "first_heartbeat"
                ]
            );
            assert_eq!(ids(&attempt["checks"]), ["cookie", "replay"]);
            for phase in attempt["phases"].as_array().unwrap() {
                assert_eq!(phase["state"], "pass");
                assert_eq!(phase["took_ms"].is_f64(), phase["id"] != "tls", "{phase}");
            }
            let beat = attempt["phases"][6]["took_ms"].as_f64().unwrap();
            assert!(beat >= 250.0, "{beat}");
            let replay = attempt["checks"][1]["evidence"].as_str().unwrap();
            assert!(replay.contains("STREAM_TICKET_REPLAYED"), "{replay}");
        }
    }
}

#[test]
fn the_phase_that_fails_is_the_last_one_and_says_why() {
    let (_stack, urls) = stack(&["--set", "heartbeat_ms=300", "--set", "proxy_timeout_ms=500"]);
    let edge = url(&urls, "edge");
    for (fault, value, phase, word) in [
        ("origin_refuses", "true", "ticket", "network_error"),
        (
            "edge_unconfigured",
            r#""config_error""#,
            "ticket",
            "origin_unconfigured",
        ),
        ("tokens_expired", r#""all""#, "ticket", "AUTH_REQUIRED"),
        ("replay_store_down", "true", "headers", "upstream_5xx"),
        ("stream_headers_never", "true", "headers", "timeout"),
        ("stream_silent", "true", "ready", "0 bytes came"),
        ("stream_no_heartbeats", "true", "first_heartbeat", "within"),
        (
            "cdn_error",
            r#"{"status":520,"body":"html"}"#,
            "ticket",
            "520 with a page of HTML",
        ),
    ] {
        control(
            url(&urls, "control"),
            "PUT",
            &format!("/faults/{fault}"),
            value,
        );
        let (code, report) = handshake(edge, &["--heartbeat-within", "1s"]);
        assert_eq!(code, Some(1), "{fault}: {report}");
        assert_eq!(report["verdict"], "failed");
        let failed = last(&report);
        assert_eq!(failed["id"], phase, "{fault}: {report}");
        assert_eq!(failed["state"], "fail");
        let why = failed["evidence"].as_str().unwrap();
        assert!(why.contains(word), "{fault}: {why}");
        // So that no circuit stands between this fault and the next.
        control(
            url(&urls, "control"),
            "PUT",
            "/faults/circuit_forced_open",
            "true",
        );
        let _ = handshake(edge, &["--heartbeat-within", "1s"]);
        control(url(&urls, "control"), "POST", "/reset", "");
    }
    assert_eq!(handshake(edge, &[]).0, Some(0));
}

#[test]
fn an_edge_that_is_not_there_fails_in_the_phase_where_it_is_missing() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = unused.local_addr().unwrap().port();
    drop(unused);
    let (code, report) = handshake(&format!("http://127.0.0.1:{port}"), &[]);
    assert_eq!(
        (code, last(&report)["id"].as_str()),
        (Some(1), Some("connect"))
    );
    let (code, report) = handshake("https://no-such-host.invalid", &[]);
    assert_eq!((code, last(&report)["id"].as_str()), (Some(1), Some("dns")));
    let (_stack, urls) = stack(&[]);
    let tls = url(&urls, "edge").replace("http:", "https:");
    let (code, report) = handshake(&tls, &[]);
    assert_eq!((code, last(&report)["id"].as_str()), (Some(1), Some("tls")));
}

#[test]
fn whatever_answers_the_end_comes_soon_and_is_clear() {
    let runs: Vec<_> = hostile::ALL
        .into_iter()
        .map(|kind| {
            std::thread::spawn(move || {
                let begun = Instant::now();
                let edge = hostile::start(kind);
                let (output, peak_kb) = common::run_measured(
                    command(&["handshake", "--format", "json", "--edge", &edge])
                        .env("EVENKEEL_TOKEN", "demo-token"),
                );
                assert!(output.stderr.is_empty(), "{kind:?}: {}", stderr(&output));
                let (code, report) = (output.status.code(), lines(&output).remove(0));
                assert_eq!(code, Some(1), "{kind:?}: {report}");
                assert!(peak_kb < 60_000, "{kind:?}: {peak_kb} kB");
                let failed = last(&report);
                assert_eq!(failed["id"], "ticket", "{kind:?}: {report}");
                let why = failed["evidence"].as_str().unwrap();
                assert!(
                    !why.is_empty() && !why.contains('\u{1b}'),
                    "{kind:?}: {why}"
                );
                match kind {
                    Hostile::Redirect => assert!(why.contains("302"), "{why}"),
                    Hostile::Html => assert!(why.contains("HTML"), "{why}"),
                    Hostile::Huge | Hostile::Endless => assert!(why.contains("more than"), "{why}"),
                    _ => {}
                }
                assert!(begun.elapsed() < Duration::from_secs(40), "{kind:?}");
            })
        })
        .collect();
    runs.into_iter().for_each(|run| run.join().unwrap());
}

#[test]
fn tokens_and_tickets_are_not_told() {
    let (_stack, urls) = stack(&["--set", "heartbeat_ms=100"]);
    let output = command(&["handshake", "--edge", url(&urls, "edge")])
        .env("EVENKEEL_TOKEN", "demo-token")
        .env("RUST_LOG", "trace")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let all = String::from_utf8(output.stdout.clone()).unwrap() + &stderr(&output);
    assert!(all.contains("first_heartbeat"), "{all}");
    assert!(!all.contains("demo-token"));
    // A ticket of the reference service is hexadecimal, long, and begins as JSON does.
    assert!(!all.contains("7b22"), "a ticket shows");
    let output = run(&["handshake", "--edge", url(&urls, "edge")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("EVENKEEL_TOKEN"));
}
