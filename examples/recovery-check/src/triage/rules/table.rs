//! The rules as a table: what was seen, and what is named.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::evidence::{Counters, Evidence};
use super::{Severity, Verdict, diagnose};
use crate::probe::{
    Counted, Kind, Phase, Proxied, Readiness, RedisLog, Refusal, Trouble, Validity, Way,
};

const NOW_MS: i64 = 1_800_000_000_000;

fn readiness(status: u16, dependencies: Value) -> Option<Result<Readiness, Trouble>> {
    let ready = json!({ "ok": status == 200, "dependencies": dependencies });
    let ready = serde_json::from_value(ready).unwrap();
    Some(Ok(Readiness { status, ready }))
}

fn well() -> Value {
    json!({ "database": { "ok": true }, "redis": { "ok": true },
            "realtime": { "mode": "distributed" }, "streamTicket": { "replayStoreAvailable": true } })
}

fn redis_down() -> Value {
    json!({ "database": { "ok": true }, "redis": { "ok": false, "status": "reconnecting" },
            "realtime": { "degraded": true }, "streamTicket": { "degraded": true } })
}

fn counted(value: Value) -> Counted {
    Counted {
        metrics: serde_json::from_value(value).unwrap(),
    }
}

fn counters(before: Value, after: Value) -> Option<Result<Counters, Trouble>> {
    Some(Ok(Counters {
        before: counted(before),
        after: counted(after),
        apart: Duration::from_secs(4),
    }))
}

fn calm() -> Value {
    json!({ "metrics": {}, "failureCauses": {}, "vpsProxyCircuit": { "open": false } })
}

fn rose(whose: &str, causes: &[(&str, u64)], open: bool) -> Option<Result<Counters, Trouble>> {
    let causes: serde_json::Map<_, _> = causes
        .iter()
        .map(|(name, n)| ((*name).to_owned(), json!(n)))
        .collect();
    let after = json!({ "metrics": {}, "failureCauses": { whose: causes },
                        "vpsProxyCircuit": { "open": open } });
    counters(calm(), after)
}

fn refused(status: u16, code: &str, cause: Option<&str>) -> Vec<Result<Proxied, Trouble>> {
    vec![Ok(Proxied::Refused(Refusal {
        status,
        cause: cause.map(str::to_owned),
        code: Some(code.to_owned()),
        message: String::new(),
        retry_after: None,
    }))]
}

fn unavailable(cause: &str) -> Vec<Result<Proxied, Trouble>> {
    refused(503, "SERVICE_UNAVAILABLE", Some(cause))
}

fn trouble(phase: Phase, kind: Kind) -> Trouble {
    Trouble::new(phase, kind, "seen")
}

fn healthy() -> Evidence {
    Evidence {
        ready: readiness(200, well()),
        counters: counters(calm(), calm()),
        origin: Some((Ok(200), Way::default())),
        proxied: vec![Ok(Proxied::Worked)],
        with_token: true,
        now_ms: NOW_MS,
        ..Evidence::default()
    }
}

/// What is found, in order, with `id/cause`.
fn found(evidence: &Evidence) -> (Verdict, Vec<String>) {
    let (verdict, findings) = diagnose(evidence);
    for finding in &findings {
        assert!(!finding.evidence.is_empty(), "{finding:?}");
        assert!(!finding.next_steps.is_empty(), "{finding:?}");
    }
    let names = findings.iter().map(|f| format!("{}/{}", f.id, f.cause));
    (verdict, names.collect())
}

#[test]
fn each_kind_of_evidence_leads_to_its_root() {
    let unreachable = || Some((Err(trouble(Phase::Connect, Kind::Failed)), Way::default()));
    let stuck = || Some((Err(trouble(Phase::Http, Kind::TimedOut)), Way::default()));
    let html = || Err(trouble(Phase::Body, Kind::NotTheService));
    let cases: Vec<(&str, Evidence, &[&str])> = vec![
        (
            "redis behind 5xx",
            Evidence {
                ready: readiness(503, redis_down()),
                counters: rose(
                    "upstream",
                    &[("upstream_5xx", 3), ("circuit_open", 9)],
                    true,
                ),
                proxied: unavailable("circuit_open"),
                ..healthy()
            },
            &[
                "redis/redis",
                "upstream_5xx/upstream_5xx",
                "circuit_open/circuit_open",
                "realtime/realtime",
            ],
        ),
        (
            "the path behind a circuit",
            Evidence {
                counters: rose(
                    "upstream",
                    &[("network_error", 1), ("circuit_open", 50)],
                    true,
                ),
                proxied: unavailable("circuit_open"),
                ..healthy()
            },
            &["path/network_error", "circuit_open/circuit_open"],
        ),
        (
            "redis and path",
            Evidence {
                ready: readiness(503, redis_down()),
                proxied: unavailable("timeout"),
                ..healthy()
            },
            &["redis/redis", "path/timeout", "realtime/realtime"],
        ),
        (
            "config and provider",
            Evidence {
                counters: rose(
                    "provider",
                    &[("provider_5xx", 4), ("provider_circuit_open", 2)],
                    false,
                ),
                proxied: unavailable("origin_unconfigured"),
                ..healthy()
            },
            &[
                "origin_unconfigured/origin_unconfigured",
                "provider/provider_5xx",
            ],
        ),
        (
            "config in the other form",
            Evidence {
                proxied: refused(500, "CONFIG_ERROR", None),
                ..healthy()
            },
            &["origin_unconfigured/origin_unconfigured"],
        ),
        (
            "database",
            Evidence {
                ready: readiness(
                    503,
                    json!({ "database": { "ok": false }, "redis": { "ok": true } }),
                ),
                proxied: unavailable("upstream_5xx"),
                ..healthy()
            },
            &["database/database", "upstream_5xx/upstream_5xx"],
        ),
        (
            "a circuit alone",
            Evidence {
                proxied: unavailable("circuit_open"),
                ..healthy()
            },
            &["circuit_open/circuit_open"],
        ),
        (
            "nobody listens",
            Evidence {
                ready: Some(Err(trouble(Phase::Connect, Kind::Failed))),
                origin: unreachable(),
                proxied: unavailable("network_error"),
                ..healthy()
            },
            &["path/network_error"],
        ),
        (
            "the edge's counters are old, what is direct is new",
            Evidence {
                ready: Some(Err(trouble(Phase::Http, Kind::TimedOut))),
                origin: stuck(),
                proxied: unavailable("circuit_open"),
                ..healthy()
            },
            &["path/timeout", "circuit_open/circuit_open"],
        ),
        (
            "only from here",
            Evidence {
                ready: Some(Err(trouble(Phase::Connect, Kind::Failed))),
                origin: unreachable(),
                ..healthy()
            },
            &["origin_from_here/network_error"],
        ),
        (
            "no edge",
            Evidence {
                counters: Some(Err(trouble(Phase::Dns, Kind::Failed))),
                proxied: vec![Err(trouble(Phase::Dns, Kind::Failed))],
                ..healthy()
            },
            &["edge_unreachable/dns_failed"],
        ),
        (
            "a page in its place",
            Evidence {
                proxied: vec![html()],
                ..healthy()
            },
            &["not_the_service/not_the_service"],
        ),
        (
            "a certificate that ended",
            Evidence {
                counters: Some(Err(trouble(Phase::Tls, Kind::Certificate))),
                proxied: vec![Err(trouble(Phase::Tls, Kind::Certificate))],
                ..healthy()
            },
            &["certificate/tls"],
        ),
        (
            "session storage",
            Evidence {
                proxied: unavailable("kv_unavailable"),
                ..healthy()
            },
            &["kv_unavailable/kv_unavailable"],
        ),
        (
            "secrets",
            Evidence {
                counters: counters(
                    calm(),
                    json!({ "metrics": {}, "failureCauses": {}, "reliability":
                        { "secretRotation": { "decryptFailures": 2 } } }),
                ),
                ..healthy()
            },
            &["secrets/secret_config"],
        ),
        (
            "sign-in",
            Evidence {
                counters: counters(
                    calm(),
                    json!({ "metrics": {}, "failureCauses": {}, "reliability":
                        { "authConfig": { "partialClerkConfig": 1 } } }),
                ),
                ..healthy()
            },
            &["auth_config/auth_config"],
        ),
        (
            "a token",
            Evidence {
                proxied: refused(401, "AUTH_REQUIRED", None),
                ..healthy()
            },
            &["account/auth_required"],
        ),
        (
            "an older build that tells no causes",
            Evidence {
                counters: counters(
                    json!({ "metrics": {} }),
                    json!({ "metrics": { "vpsProxyFailures": 2, "vpsProxyTimeouts": 2 } }),
                ),
                ..healthy()
            },
            &["path/timeout"],
        ),
    ];
    for (name, evidence, expected) in cases {
        let (verdict, names) = found(&evidence);
        assert_eq!(names, expected, "{name}");
        assert_eq!(verdict, Verdict::Unhealthy, "{name}");
    }
}

#[test]
fn healthy_only_where_everything_was_seen() {
    assert_eq!(found(&healthy()), (Verdict::Healthy, vec![]));
    let cases = [
        Evidence {
            counters: Some(Err(trouble(Phase::Http, Kind::NotTold))),
            ..healthy()
        },
        Evidence {
            ready: None,
            ..healthy()
        },
        Evidence {
            ready: readiness(200, json!({})),
            ..healthy()
        },
        Evidence {
            proxied: vec![],
            ..healthy()
        },
        Evidence {
            proxied: refused(401, "AUTH_REQUIRED", None),
            with_token: false,
            ..healthy()
        },
        Evidence {
            log: Some(Err("gone".to_owned())),
            ..healthy()
        },
    ];
    for evidence in cases {
        assert_eq!(found(&evidence), (Verdict::Unknown, vec![]), "{evidence:?}");
    }
}

#[test]
fn what_stands_still_is_old_and_what_fell_is_a_restart() {
    let old = json!({ "metrics": { "requests": 9 },
        "failureCauses": { "upstream": { "network_error": 7 } }, "vpsProxyCircuit": {} });
    let evidence = Evidence {
        counters: counters(old.clone(), old.clone()),
        ..healthy()
    };
    let (verdict, findings) = diagnose(&evidence);
    assert_eq!(verdict, Verdict::Healthy);
    assert_eq!(findings[0].id, "earlier_failures");
    assert_eq!(findings[0].severity, Severity::Info);

    let young = json!({ "metrics": { "requests": 2 },
        "failureCauses": { "upstream": { "network_error": 1 } } });
    let evidence = Evidence {
        counters: counters(old, young),
        ..healthy()
    };
    let (verdict, names) = found(&evidence);
    assert_eq!(names, ["path/network_error", "edge_restarted/restart"]);
    assert_eq!(verdict, Verdict::Unhealthy);
}

#[test]
fn a_certificate_that_ends_soon_and_a_log_full_of_errors_are_told() {
    let mut log = RedisLog::default();
    log.connection_errors.count = 3;
    log.connection_errors.last_at_ms = Some(NOW_MS - 60_000);
    let ends = Way {
        certificate: Some(Validity {
            not_before_ms: 0,
            not_after_ms: NOW_MS + 3 * 86_400_000,
        }),
        ..Way::default()
    };
    let evidence = Evidence {
        log: Some(Ok(log.clone())),
        edge_way: ends,
        ..healthy()
    };
    let (verdict, names) = found(&evidence);
    assert_eq!(names, ["redis_log/redis", "certificate_ends/tls"]);
    assert_eq!(verdict, Verdict::Unhealthy);
    log.connection_errors.last_at_ms = Some(NOW_MS - 3_600_000);
    let evidence = Evidence {
        log: Some(Ok(log)),
        ..healthy()
    };
    assert_eq!(diagnose(&evidence).0, Verdict::Healthy);
}
