//! `verify` over an outage as it goes on: what stands still for longer than the window, and is no recovery.

#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::{Running, command, control, get, stack, url, wait};

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

const BOUND: Duration = Duration::from_secs(120);
