//! `verify` between two rejects of a circuit, and with a client that only polls: neither is a recovery.

#![allow(clippy::unwrap_used)]

mod common;

use common::{ask_verify, control, lines, stack, stderr, url};
use serde_json::Value;

fn verify(urls: &[(String, String)], deadline: &str) -> (Option<i32>, Value) {
    let output = ask_verify(urls, "2s", deadline);
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    (output.status.code(), lines(&output).remove(0))
}

fn criterion<'a>(report: &'a Value, id: &str) -> &'a Value {
    let mut criteria = report["criteria"].as_array().unwrap().iter();
    criteria.find(|criterion| criterion["id"] == id).unwrap()
}

/// The window is shorter than the time between two rejects, so that the counters stand still for all of it.
#[test]
fn a_circuit_between_two_rejects_has_not_recovered() {
    // Half-open most of the time, and open for longer than the window.
    common::in_turns(vec!["300", "4000"], 2, |open_ms| {
        let open = format!("circuit_open_ms={open_ms}");
        let settings = ["--set", "heartbeat_ms=300", "--set", &open];
        let (_stack, urls) = stack(&settings);
        let fault = |value: &str| {
            let path = "/faults/edge_path_down";
            control(url(&urls, "control"), "PUT", path, value);
        };
        fault("true");
        let (code, report) = verify(&urls, "10s");
        assert_eq!(code, Some(1), "{open_ms}: {report}");
        assert_eq!(report["verdict"], "not_recovered");
        let circuit = criterion(&report, "circuit");
        assert_ne!(circuit["state"], "pass", "{open_ms}: {report}");
        assert_eq!(criterion(&report, "ready")["state"], "pass", "{report}");
        // Mended while it is open: over as soon as a pull has closed it.
        fault("false");
        let (code, report) = verify(&urls, "60s");
        assert_eq!(code, Some(0), "{open_ms}: {report}");
    });
}

/// Pulls work and the data is up to date, but only because the client asks again and again.
#[test]
fn a_client_that_only_polls_has_not_recovered() {
    let settings = ["--set", "heartbeat_ms=300"];
    let (_stack, urls) = stack(&settings);
    let path = "/faults/replay_store_down";
    control(url(&urls, "control"), "PUT", path, "true");
    let (code, report) = verify(&urls, "20s");
    assert_eq!(code, Some(1), "{report}");
    let client = criterion(&report, "client");
    assert_eq!(client["state"], "fail", "{report}");
    let evidence = client["evidence"].as_str().unwrap();
    assert!(evidence.contains("polling"), "{evidence}");
    assert_eq!(criterion(&report, "circuit")["state"], "pass", "{report}");
    control(url(&urls, "control"), "PUT", path, "false");
    let (code, report) = verify(&urls, "90s");
    assert_eq!(code, Some(0), "{report}");
}
