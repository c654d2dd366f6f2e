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
    if opens + rejects > 0 {
        evidence.push(format!(
            "the circuit opened {opens} and rejected {rejects} times more"
        ));
    } else if seen.is_open() && evidence.is_empty() {
        evidence.push("the circuit is open".to_owned());
    }
    let roots = roots || !seen.upstream("upstream_5xx").is_empty();
    symptom("circuit_open", evidence, roots, advice::CIRCUIT)
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
