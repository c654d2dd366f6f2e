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
    let faults = [
        // A proxy that holds the stream back.
        ("stream_headers_never", "true"),
        // Tickets cannot be used up.
        ("replay_store_down", "true"),
        // Streams that break at once.
        ("stream_flaps", r#"{"after_ms":1,"how":"reset"}"#),
    ];
    common::in_turns(faults.to_vec(), 3, |(fault, value)| {
        let (_stack, urls) = stack(&["--set", "heartbeat_ms=300"]);
        let (control_url, path) = (url(&urls, "control"), format!("/faults/{fault}"));
        control(control_url, "PUT", &path, value);
        let (code, report) = verify(&urls, "20s");
        assert_eq!(code, Some(1), "{fault}: {report}");
        let client = criterion(&report, "client");
        assert_eq!(client["state"], "fail", "{fault}: {report}");
        let evidence = client["evidence"].as_str().unwrap();
        // While a held stream runs into its deadline the status tells that instead.
        let told = ["link polling", "timeout (path)"];
        let polls = told.iter().any(|words| evidence.contains(words));
        assert!(polls, "{fault}: {evidence}");
        let circuit = &criterion(&report, "circuit")["state"];
        assert_eq!(circuit, "pass", "{fault}: {report}");
        control(control_url, "DELETE", &path, "");
        let (code, report) = verify(&urls, "90s");
        assert_eq!(code, Some(0), "{fault}: {report}");
    });
}
