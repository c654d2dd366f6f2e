//! Each line of the runbook: the fault is made, `triage` names it first with the right next step, `verify`
//! refuses until it is mended and passes afterwards.

#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use common::outages::{OUTAGES, Outage};
use common::{ask, ask_verify, control, exchange, in_turns, lines, stack, stderr, url};

#[test]
fn each_outage_is_named_with_what_to_do_and_is_over_when_it_is_mended() {
    in_turns(OUTAGES.to_vec(), 4, outage);
}

fn outage(outage: Outage) {
    let (_stack, urls) = stack(&[
        "--set",
        "circuit_open_ms=700",
        "--set",
        "circuit_threshold=1",
        "--set",
        "proxy_timeout_ms=400",
        "--set",
        "heartbeat_ms=300",
    ]);
    for (fault, value) in outage.faults {
        let path = format!("/faults/{fault}");
        control(url(&urls, "control"), "PUT", &path, value);
    }
    named_first(&outage, &urls);
    let verify = |deadline: &str| {
        let output = ask_verify(&urls, "5s", deadline);
        (output.status.code(), lines(&output).remove(0))
    };
    let (code, report) = verify("3s");
    assert_eq!(code, Some(1), "{outage:?}: {report}");
    control(url(&urls, "control"), "POST", "/reset", "");
    let (code, report) = verify("90s");
    assert_eq!(code, Some(0), "{outage:?}: {report}");
}

fn named_first(outage: &Outage, urls: &[(String, String)]) {
    let output = ask(urls, &["triage", "--sample", "300ms"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{outage:?}: {}",
        stderr(&output)
    );
    let report = lines(&output).remove(0);
    let findings = report["findings"].as_array().unwrap();
    let ids: Vec<_> = findings.iter().map(|f| f["id"].as_str().unwrap()).collect();
    let first = &findings[0];
    assert_eq!(ids[0], outage.findings[0], "{outage:?}: {report}");
    for id in outage.findings {
        assert!(ids.contains(id), "{outage:?}: {ids:?}");
    }
    assert_eq!(first["cause"], outage.cause, "{outage:?}: {first}");
    let next = first["next_steps"][0].as_str().unwrap();
    assert!(next.contains(outage.next), "{outage:?}: {next}");
}

#[test]
fn an_incident_of_the_ai_provider_is_named_and_comes_after_what_sync_needs() {
    let cases: [(&str, &str, &str); 4] = [
        (
            "provider_errors",
            "{\"rate\":1.0,\"status\":503}",
            "provider_5xx",
        ),
        ("provider_hangs", "true", "provider_timeout"),
        ("provider_refuses", "true", "provider_network_error"),
        (
            "provider_circuit_forced_open",
            "true",
            "provider_circuit_open",
        ),
    ];
    in_turns(cases.to_vec(), 2, incident);
}

fn incident((fault, value, cause): (&'static str, &'static str, &'static str)) {
    let (_stack, urls) = stack(&[
        "--set",
        "ai_rate_limit_requests=100000",
        "--set",
        "provider_timeout_ms=100",
        "--set",
        "provider_circuit_threshold=20",
        "--set",
        "heartbeat_ms=300",
    ]);
    let control_url = url(&urls, "control");
    control(url(&urls, "edge"), "POST", "/api/v1/auth/connect", KEY);
    control(control_url, "PUT", &format!("/faults/{fault}"), value);
    let using = Using::start(url(&urls, "edge"));
    let triage = || {
        let output = ask(&urls, &["triage", "--sample", "2s"]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{fault}: {}",
            stderr(&output)
        );
        lines(&output).remove(0)
    };
    let report = triage();
    let first = &report["findings"][0];
    assert_eq!(
        (&first["id"], &first["cause"]),
        (&"provider".into(), &cause.into()),
        "{report}"
    );
    let next = first["next_steps"].to_string();
    for words in ["Keep retries bounded", "Communicate degraded mode"] {
        assert!(next.contains(words), "{next}");
    }
    // Sync is none of the provider's business.
    let verify = |deadline: &str| {
        let output = ask_verify(&urls, "5s", deadline);
        output.status.code()
    };
    assert_eq!(verify("60s"), Some(0), "{fault}");

    let unconfigured = "/faults/edge_unconfigured";
    control(control_url, "PUT", unconfigured, "\"config_error\"");
    let report = triage();
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings[0]["id"], "origin_unconfigured", "{report}");
    assert!(findings.iter().any(|f| f["id"] == "provider"), "{report}");
    assert_eq!(verify("3s"), Some(1), "{fault}");
    control(control_url, "DELETE", unconfigured, "");
    assert_eq!(verify("60s"), Some(0), "{fault}");
    using.stop();
}

#[test]
fn secrets_and_session_storage_that_fail_are_named_by_their_counters() {
    let cases = [
        // An active secret that is too short to encrypt with.
        Configured {
            changes: &[("/secrets/KEY_ENCRYPTION_SECRET", "\"short\"")],
            counter: "invalidEncryptionSecret",
            id: "secrets",
            next: &[
                "Validate KEY_ENCRYPTION_SECRET",
                "KEY_ENCRYPTION_SECRET_PREV",
                "overlap",
            ],
        },
        // A new active secret, and what was stored under the old one cannot be opened any more.
        Configured {
            changes: &[("/secrets/KEY_ENCRYPTION_SECRET", ANOTHER_SECRET)],
            counter: "decryptFailures",
            id: "secrets",
            next: &[
                "Validate KEY_ENCRYPTION_SECRET",
                "KEY_ENCRYPTION_SECRET_PREV",
                "overlap",
            ],
        },
        // The overlap is there, and is no secret.
        Configured {
            changes: &[
                ("/secrets/KEY_ENCRYPTION_SECRET_PREV", "\"short\""),
                ("/secrets/KEY_ENCRYPTION_SECRET", ANOTHER_SECRET),
            ],
            counter: "invalidRotationSecret",
            id: "secrets",
            next: &["KEY_ENCRYPTION_SECRET_PREV", "overlap"],
        },
        // With a good overlap, what is opened cannot be written back.
        Configured {
            changes: &[
                ("/secrets/KEY_ENCRYPTION_SECRET_PREV", FIRST_SECRET),
                ("/secrets/KEY_ENCRYPTION_SECRET", ANOTHER_SECRET),
                ("/faults/edge_kv_read_only", "true"),
            ],
            counter: "reencryptFailures",
            id: "secrets",
            next: &["KEY_ENCRYPTION_SECRET_PREV"],
        },
        sign_in(
            &[("/faults/edge_sign_in", "\"missing\"")],
            "missingClerkConfig",
        ),
        sign_in(
            &[("/faults/edge_sign_in", "\"partial\"")],
            "partialClerkConfig",
        ),
        sign_in(
            &[("/faults/edge_sign_in", "\"invalid\"")],
            "invalidClerkConfig",
        ),
        // Sessions cannot be kept.
        Configured {
            changes: &[("/faults/edge_kv_read_only", "true")],
            counter: "kvFailures",
            id: "kv_unavailable",
            next: &["KV"],
        },
    ];
    in_turns(cases.to_vec(), 3, misconfigured);
}

const fn sign_in(
    changes: &'static [(&'static str, &'static str)],
    counter: &'static str,
) -> Configured {
    Configured {
        changes,
        counter,
        id: "auth_config",
        next: &["Clerk", "Redeploy the edge"],
    }
}

#[derive(Clone, Copy, Debug)]
struct Configured {
    changes: &'static [(&'static str, &'static str)],
    /// What rises in the edge.
    counter: &'static str,
    id: &'static str,
    next: &'static [&'static str],
}

fn misconfigured(case: Configured) {
    let first = format!("encryption_secret={}", FIRST_SECRET.trim_matches('"'));
    let (_stack, urls) = stack(&[
        "--set",
        &first,
        "--set",
        "ai_rate_limit_requests=100000",
        "--set",
        "heartbeat_ms=300",
    ]);
    let (edge, control_url) = (url(&urls, "edge"), url(&urls, "control"));
    control(edge, "POST", "/api/v1/auth/connect", KEY);
    for (path, body) in case.changes {
        control(control_url, "PUT", path, body);
    }
    let triage = || {
        let output = ask(&urls, &["triage", "--sample", "1s"]);
        (output.status.code(), lines(&output).remove(0))
    };
    // Connecting is what writes; using is what reads.
    let (path, body) = match case.counter {
        "kvFailures" => ("/api/v1/auth/connect", KEY),
        _ => ("/api/v1/ai/analyze", r#"{"content":"milk"}"#),
    };
    let using = Using::start_with(edge, path, body);
    let (code, report) = triage();
    using.stop();
    assert_eq!(code, Some(1), "{case:?}: {report}");
    let first = &report["findings"][0];
    assert_eq!(first["id"], case.id, "{case:?}: {report}");
    let evidence = first["evidence"].to_string();
    assert!(evidence.contains(case.counter), "{case:?}: {evidence}");
    let next = first["next_steps"].to_string();
    for words in case.next {
        assert!(next.contains(words), "{case:?}: {next}");
    }
    // What was counted once and stands still is over.
    let (code, report) = triage();
    assert_eq!(code, Some(0), "{case:?}: {report}");
}

/// Streams fail one after the other, their 5xx open the circuit, and its rejects are what most see.
#[test]
fn a_redis_that_is_away_is_named_before_the_5xx_and_the_circuit_that_follow_from_it() {
    let (_stack, urls) = stack(&[
        "--set",
        "circuit_open_ms=300",
        "--set",
        "circuit_threshold=1",
        "--set",
        "heartbeat_ms=300",
    ]);
    control(url(&urls, "control"), "PUT", "/faults/redis_down", "true");
    let over = Arc::new(AtomicBool::new(false));
    let streams = {
        let (over, urls) = (Arc::clone(&over), urls.clone());
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                ask(&urls, &["handshake"]);
            }
        })
    };
    let output = ask(&urls, &["triage", "--sample", "3s"]);
    over.store(true, Ordering::Relaxed);
    streams.join().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report = lines(&output).remove(0);
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(findings[0]["id"], "redis", "{report}");
    let next = findings[0]["next_steps"][0].as_str().unwrap();
    assert!(next.contains("Redis first"), "{next}");
    for id in ["upstream_5xx", "circuit_open"] {
        let found = findings.iter().find(|f| f["id"] == id);
        let found = found.unwrap_or_else(|| panic!("no {id}: {report}"));
        assert_eq!(found["severity"], "warning", "{found}");
        let why = found["explanation"].as_str().unwrap();
        assert!(why.contains("It follows from what is named above"), "{why}");
    }
    control(url(&urls, "control"), "POST", "/reset", "");
    let output = ask_verify(&urls, "5s", "60s");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        lines(&output).remove(0)
    );
}

/// Somebody who uses the AI all the time.
struct Using(Arc<AtomicBool>, JoinHandle<()>);

impl Using {
    fn start(edge: &str) -> Self {
        Self::start_with(edge, "/api/v1/ai/analyze", r#"{"content":"milk"}"#)
    }

    fn start_with(edge: &str, path: &'static str, body: &'static str) -> Self {
        let (edge, over) = (edge.to_owned(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                exchange(&edge, "POST", path, body);
            }
        });
        Self(over, thread)
    }

    fn stop(self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.join().unwrap();
    }
}

const KEY: &str = r#"{"provider":"gemini","apiKey":"sk-user-7"}"#;
const FIRST_SECRET: &str = "\"the-first-secret-that-is-long-enough\"";
const ANOTHER_SECRET: &str = "\"another-secret-that-is-long-enough-32\"";
