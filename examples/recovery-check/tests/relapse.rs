//! `verify` over an outage as it goes on: between two rejects of a circuit, with an edge that is restarted
//! again and again, with a client that only polls. None is a recovery, whatever stands still meanwhile.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::{Running, ask_verify, command, control, get, lines, stack, stderr, url, wait};
use serde_json::Value;

/// A `verify` that is under way, and the lines it writes.
struct Verify {
    running: Running,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Verify {
    fn start(urls: &[(String, String)], window: &str) -> Self {
        let mut child = command(&["verify", "--interval", "100ms", "--window", window])
            .args(["--deadline", "5m", "--heartbeat-within", "5s"])
            .args(["--edge", url(urls, "edge"), "--origin", url(urls, "origin")])
            .env("EVENKEEL_TOKEN", "demo-token")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            running: Running(child),
            lines,
            said: Vec::new(),
        }
    }

    /// Waits for a line with all of this.
    fn says(&mut self, words: &[&str]) {
        let until = Instant::now() + BOUND;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no {words:?} in {:#?}", self.said));
            let found = words.iter().all(|word| line.contains(word));
            self.said.push(line);
            if found {
                return;
            }
        }
    }

    /// It goes on for all of this time.
    fn goes_on_for(&mut self, span: Duration) {
        let ended = wait(&mut self.running.0, span);
        self.said.extend(self.lines.try_iter());
        assert_eq!(ended, None, "{:#?}", self.said);
    }

    fn ends(&mut self) -> Option<i32> {
        let code = wait(&mut self.running.0, BOUND);
        self.said.extend(self.lines.iter());
        code
    }
}

fn verify(urls: &[(String, String)], deadline: &str) -> (Option<i32>, Value) {
    let output = ask_verify(urls, "2s", deadline);
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    (output.status.code(), lines(&output).remove(0))
}

fn criterion<'a>(report: &'a Value, id: &str) -> &'a Value {
    let mut criteria = report["criteria"].as_array().unwrap().iter();
    criteria.find(|criterion| criterion["id"] == id).unwrap()
}

#[test]
fn a_half_open_circuit_between_two_rejects_is_no_recovery() {
    let (_stack, urls) = stack(&[
        "--set",
        "circuit_open_ms=300",
        "--set",
        "circuit_threshold=1",
        "--set",
        "heartbeat_ms=300",
    ]);
    let mut verify = Verify::start(&urls, "4s");
    verify.says(&["client", "pass"]);
    let control_url = url(&urls, "control");
    // The origin is well, /ready says so, and the edge cannot reach it.
    control(control_url, "PUT", "/faults/edge_path_down", "true");
    verify.says(&["circuit", "FAIL"]);
    stands_still_for(url(&urls, "edge"), Duration::from_millis(700));
    verify.goes_on_for(Duration::from_secs(1));

    // The same, asked by one whose whole window fits between two rejects.
    let mut hasty = Verify::start(&urls, "600ms");
    hasty.says(&["circuit", "FAIL"]);
    stands_still_for(url(&urls, "edge"), Duration::from_millis(700));
    hasty.goes_on_for(Duration::from_secs(6));
    verify.goes_on_for(Duration::from_millis(1));

    let mended = Instant::now();
    control(control_url, "DELETE", "/faults/edge_path_down", "");
    assert_eq!(hasty.ends(), Some(0), "{:#?}", hasty.said);
    assert_eq!(verify.ends(), Some(0), "{:#?}", verify.said);
    assert!(mended.elapsed() >= Duration::from_secs(4), "a whole window");
}

/// Waits until the edge's circuit has been closed for this long with its counters at rest, after it was
/// open: all that anybody sees who looks at the counters alone.
fn stands_still_for(edge: &str, span: Duration) {
    let until = Instant::now() + BOUND;
    let mut since: Option<(Instant, String)> = None;
    let mut opened = false;
    while Instant::now() < until {
        let seen = get(edge, "/api/v1/metrics");
        let open = seen["vpsProxyCircuit"]["open"].as_bool().unwrap();
        opened |= open;
        let totals = &seen["metrics"];
        let now = format!(
            "{} {}",
            totals["vpsProxyCircuitOpens"], totals["vpsProxyCircuitRejects"]
        );
        match &since {
            Some((from, was)) if !open && opened && *was == now => {
                if from.elapsed() >= span {
                    return;
                }
            }
            _ => since = Some((Instant::now(), now)),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the circuit is never at rest for {span:?}");
}

/// Open for longer than the window, so that nothing is rejected in it where nobody asks.
#[test]
fn a_circuit_that_stays_open_has_not_recovered() {
    let (_stack, urls) = stack(&["--set", "heartbeat_ms=300", "--set", "circuit_open_ms=4000"]);
    let fault = |value: &str| {
        let path = "/faults/edge_path_down";
        control(url(&urls, "control"), "PUT", path, value);
    };
    fault("true");
    let (code, report) = verify(&urls, "10s");
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(report["verdict"], "not_recovered");
    let circuit = criterion(&report, "circuit");
    assert_ne!(circuit["state"], "pass", "{report}");
    assert_eq!(criterion(&report, "ready")["state"], "pass", "{report}");
    // Mended while it is open: over as soon as a pull has closed it.
    fault("false");
    let (code, report) = verify(&urls, "60s");
    assert_eq!(code, Some(0), "{report}");
}

/// Counters that are at zero each time somebody looks.
#[test]
fn an_edge_that_is_restarted_again_and_again_has_not_recovered() {
    let (_stack, urls) = stack(&["--set", "heartbeat_ms=300"]);
    let mut running = Verify::start(&urls, "2s");
    // Oftener, and the client takes to polling for a while.
    for _ in 0..2 {
        running.says(&["client", "pass"]);
        control(url(&urls, "control"), "POST", "/edge/restart", "");
        running.says(&["circuit", "FAIL", "counters fell", "new baseline"]);
    }
    running.goes_on_for(Duration::from_millis(1));
    let last = Instant::now();
    assert_eq!(running.ends(), Some(0), "{:#?}", running.said);
    assert!(last.elapsed() >= Duration::from_secs(2), "a whole window");
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

const BOUND: Duration = Duration::from_secs(120);
