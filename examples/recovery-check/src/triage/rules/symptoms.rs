//! What follows from a root, and is a root only where none is seen.

use super::super::advice::{self, Advice};
use super::{Finding, Seen, Severity, finding};
use crate::probe::{Health, Kind};

pub(super) fn upstream_5xx(seen: &Seen<'_>, roots: bool) -> Option<Finding> {
    let cause = "upstream_5xx";
    let mut evidence = seen.upstream(cause);
    if let Some(Err(trouble)) = &seen.0.ready
        && trouble.kind == Kind::ServerError
    {
        evidence.push(format!("GET /ready: {trouble}"));
    }
    symptom(cause, evidence, roots, advice::UPSTREAM_5XX)
}

pub(super) fn circuit_open(seen: &Seen<'_>, roots: bool) -> Option<Finding> {
    let mut evidence = seen.upstream("circuit_open");
    let opens = seen.rise(|c| c.metrics.metrics.vps_proxy_circuit_opens);
    let rejects = seen.rise(|c| c.metrics.metrics.vps_proxy_circuit_rejects);
    if opens > 0 || rejects > 0 {
        evidence.push(format!(
            "the circuit opened {opens} and rejected {rejects} times more"
        ));
    } else if seen.is_open() && evidence.is_empty() {
        evidence.push("the circuit is open".to_owned());
    }
    let roots = roots || !seen.upstream("upstream_5xx").is_empty();
    symptom("circuit_open", evidence, roots, advice::CIRCUIT)
}

/// A later edge may know causes that we do not; what it counts or answers is trouble all the same.
pub(super) fn other_cause(seen: &Seen<'_>, roots: bool) -> Option<Finding> {
    let known = |cause: &str| UPSTREAM.contains(&cause);
    let mut evidence = Vec::new();
    let mut first = None;
    let refusals = seen
        .refusals()
        .filter(|refusal| !matches!(refusal.status, 401 | 403 | 429));
    for refusal in refusals {
        let Some(cause) = refusal.cause.as_deref().filter(|cause| !known(cause)) else {
            continue;
        };
        evidence.push(format!("a pull through the edge is answered {refusal}"));
        first.get_or_insert_with(|| cause.to_owned());
    }
    let mut named = false;
    if let Some(causes) = seen.counters().map(|c| &c.after.metrics.failure_causes) {
        let causes = causes.iter().flat_map(|causes| causes.upstream.keys());
        for cause in causes.take(CAUSES_MAX) {
            let rise = seen.rise(|c| c.upstream(cause));
            named |= rise > 0;
            if rise > 0 && !known(cause) {
                let cause = crate::probe::shown(cause);
                evidence.push(format!("the edge counted {rise} more {cause}"));
                first.get_or_insert(cause);
            }
        }
        let failures = seen.rise(|c| c.metrics.metrics.vps_proxy_failures);
        let told = seen
            .counters()
            .is_some_and(|c| c.after.metrics.failure_causes.is_some());
        if told && failures > 0 && !named {
            evidence.push(format!(
                "the edge counted {failures} more vpsProxyFailures, and no cause of them"
            ));
        }
    }
    let cause = first.unwrap_or_else(|| "not_told".to_owned());
    let mut finding = symptom("upstream_other", evidence, roots, advice::OTHER_CAUSE)?;
    finding.cause = cause;
    Some(finding)
}

pub(super) fn realtime(seen: &Seen<'_>, roots: bool) -> Option<Finding> {
    let Health::Degraded(why) = seen.health("realtime")? else {
        return None;
    };
    let evidence = vec![format!("/ready: realtime degraded ({why})")];
    let mut finding = symptom("realtime", evidence, roots, advice::REALTIME)?;
    finding.severity = Severity::Warning;
    Some(finding)
}

/// The causes that have rules of their own.
const UPSTREAM: [&str; 6] = [
    "origin_unconfigured",
    "timeout",
    "network_error",
    "upstream_5xx",
    "circuit_open",
    "kv_unavailable",
];
const CAUSES_MAX: usize = 100;

fn symptom(
    id: &'static str,
    evidence: Vec<String>,
    roots: bool,
    advice: Advice,
) -> Option<Finding> {
    if evidence.is_empty() {
        return None;
    }
    if !roots {
        return Some(finding(id, Severity::Critical, id, evidence, advice));
    }
    let mut finding = finding(id, Severity::Warning, id, evidence, advice);
    finding
        .explanation
        .push_str(" It follows from what is named above: mend that first.");
    Some(finding)
}
