//! Every kind of evidence with every other: what is called unhealthy has a finding that says why, and what
//! is called healthy has none.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::evidence::{Counters, Evidence};
use super::super::step::{StepState, steps};
use super::{Severity, Verdict, diagnose};
use crate::probe::{
    Counted, Kind, Phase, Proxied, Readiness, RedisLog, Refusal, Trouble, Validity, Way,
};

const NOW_MS: i64 = 1_800_000_000_000;

fn troubles() -> Vec<Trouble> {
    [
        (Phase::Dns, Kind::Failed),
        (Phase::Connect, Kind::Failed),
        (Phase::Tls, Kind::Certificate),
        (Phase::Http, Kind::TimedOut),
        (Phase::Body, Kind::NotTheService),
    ]
    .into_iter()
    .map(|(phase, kind)| Trouble::new(phase, kind, "seen"))
    .collect()
}

fn ready() -> Vec<Option<Result<Readiness, Trouble>>> {
    let told = |status: u16, dependencies: Value| {
        let ready = json!({ "ok": status == 200, "dependencies": dependencies });
        let ready = serde_json::from_value(ready).unwrap();
        Some(Ok(Readiness { status, ready }))
    };
    let mut all = vec![
        None,
        told(
            200,
            json!({ "database": { "ok": true }, "redis": { "ok": true } }),
        ),
        told(
            503,
            json!({ "database": { "ok": true }, "redis": { "ok": true } }),
        ),
        told(200, json!({})),
        told(503, json!({})),
        told(503, json!({ "redis": { "ok": false } })),
        told(
            200,
            json!({ "database": { "ok": true }, "redis": { "ok": true, "degraded": true } }),
        ),
        told(503, json!({ "database": { "ok": false } })),
        told(200, json!({ "streamTicket": { "degraded": true } })),
        told(200, json!({ "realtime": { "degraded": true } })),
        told(503, json!({ "realtime": { "degraded": true } })),
        Some(Err(Trouble::new(Phase::Http, Kind::ServerError, "seen"))),
    ];
    all.extend(troubles().into_iter().map(|trouble| Some(Err(trouble))));
    all
}

fn counters() -> Vec<Option<Result<Counters, Trouble>>> {
    let sampled = |before: Value, after: Value| {
        let read = |value: Value| Counted {
            metrics: serde_json::from_value(value).unwrap(),
        };
        Some(Ok(Counters {
            before: read(before),
            after: read(after),
            apart: Duration::from_secs(4),
        }))
    };
    let calm = || json!({ "metrics": {}, "failureCauses": {}, "reliability": {} });
    let mut all = vec![
        None,
        sampled(calm(), calm()),
        // After a restart.
        sampled(json!({ "metrics": { "requests": 9 } }), calm()),
        sampled(
            calm(),
            json!({ "metrics": { "vpsProxyCircuitOpens": 1 }, "vpsProxyCircuit": { "open": true } }),
        ),
        sampled(calm(), json!({ "metrics": { "providerFailures": 1 } })),
        sampled(
            calm(),
            json!({ "metrics": {}, "reliability": { "kvFailures": 1 } }),
        ),
        // An older build, which tells no causes, and one that counts what it does not name.
        sampled(
            json!({ "metrics": {} }),
            json!({ "metrics": { "vpsProxyFailures": 1 } }),
        ),
        sampled(
            calm(),
            json!({ "metrics": { "vpsProxyFailures": 1 }, "failureCauses": {} }),
        ),
        Some(Err(Trouble::new(Phase::Http, Kind::NotTold, "seen"))),
    ];
    for cause in ["network_error", "upstream_5xx", "of_a_later_version"] {
        let causes = json!({ "upstream": { cause: u64::MAX } });
        let totals = json!({ "vpsProxyFailures": u64::MAX, "vpsProxyCircuitRejects": u64::MAX,
            "vpsProxyCircuitOpens": u64::MAX });
        all.push(sampled(
            calm(),
            json!({ "metrics": totals, "failureCauses": causes }),
        ));
    }
    all.extend(troubles().into_iter().map(|trouble| Some(Err(trouble))));
    all
}

fn proxied() -> Vec<Vec<Result<Proxied, Trouble>>> {
    let refused = |status: u16, code: &str, cause: Option<&str>| {
        vec![Ok(Proxied::Refused(Refusal {
            status,
            cause: cause.map(str::to_owned),
            code: Some(code.to_owned()),
            message: String::new(),
            retry_after: None,
        }))]
    };
    let mut all = vec![
        vec![],
        vec![Ok(Proxied::Worked)],
        refused(401, "AUTH_REQUIRED", None),
        refused(403, "DEVICE_REVOKED", None),
        refused(429, "RATE_LIMITED", Some("rate_limited")),
        refused(404, "NOT_FOUND", None),
        refused(500, "CONFIG_ERROR", None),
        refused(500, "INTERNAL_ERROR", None),
    ];
    for cause in [
        "origin_unconfigured",
        "timeout",
        "upstream_5xx",
        "circuit_open",
        "kv_unavailable",
        "of_a_later_version",
    ] {
        all.push(refused(503, "SERVICE_UNAVAILABLE", Some(cause)));
    }
    all.extend(troubles().into_iter().map(|trouble| vec![Err(trouble)]));
    all
}

fn origins() -> Vec<Option<(Result<u16, Trouble>, Way)>> {
    let mut all = vec![Some((Ok(200), Way::default()))];
    let failed = troubles().into_iter();
    all.extend(failed.map(|trouble| Some((Err(trouble), Way::default()))));
    all
}

#[test]
fn no_verdict_is_without_its_reason() {
    let all = counters();
    let (mut judged, mut healthy) = (0, 0);
    for (n, ready) in ready().into_iter().enumerate() {
        // Both are asked of the same address.
        let origins = match ready {
            None => vec![None],
            Some(_) => origins(),
        };
        for (m, origin) in origins.into_iter().enumerate() {
            for (k, counters) in all.iter().enumerate() {
                // All of the edge's with a well origin, and all of the origin's with three of these.
                if k > 2 && (n > 2 || m > 0) {
                    continue;
                }
                for proxied in proxied() {
                    let evidence = Evidence {
                        ready: ready.clone(),
                        origin: origin.clone(),
                        counters: counters.clone(),
                        proxied,
                        with_token: k != 1,
                        now_ms: NOW_MS,
                        ..Evidence::default()
                    };
                    healthy += usize::from(judge(&evidence) == Verdict::Healthy);
                    judged += 1;
                }
            }
        }
    }
    assert!(judged > 5_000 && healthy > 0, "{judged}, {healthy}");
}

#[test]
fn a_log_and_a_certificate_say_why_too() {
    let well = json!({ "ok": true, "dependencies":
        { "database": { "ok": true }, "redis": { "ok": true } } });
    let mut recent = RedisLog::default();
    recent.connection_errors.count = 1;
    recent.connection_errors.last_at_ms = Some(NOW_MS);
    for log in [
        None,
        Some(Ok(recent)),
        Some(Err("it cannot be read".to_owned())),
    ] {
        for not_after_ms in [i64::MIN, NOW_MS - 1, NOW_MS + 1, i64::MAX] {
            judge(&Evidence {
                ready: Some(Ok(Readiness {
                    status: 200,
                    ready: serde_json::from_value(well.clone()).unwrap(),
                })),
                edge_way: Way {
                    certificate: Some(Validity {
                        not_before_ms: 0,
                        not_after_ms,
                    }),
                    ..Way::default()
                },
                log: log.clone(),
                now_ms: NOW_MS,
                ..Evidence::default()
            });
        }
    }
}

fn judge(evidence: &Evidence) -> Verdict {
    let (verdict, findings) = diagnose(evidence);
    let named = findings.iter().any(|f| f.severity < Severity::Info);
    let well = steps(evidence).iter().all(|s| s.state == StepState::Ok);
    match verdict {
        Verdict::Unhealthy => assert!(named, "nothing is named: {evidence:#?}"),
        Verdict::Healthy => assert!(well && !named, "{findings:#?} in {evidence:#?}"),
        Verdict::Unknown => assert!(!named && !well, "{findings:#?} in {evidence:#?}"),
    }
    let critical = |f: &&super::Finding| f.severity == Severity::Critical;
    let roots = findings.iter().take_while(critical).count();
    let all = findings.iter().filter(critical).count();
    assert_eq!(roots, all, "roots come first: {findings:#?}");
    verdict
}
