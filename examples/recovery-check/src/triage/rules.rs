//! From evidence to findings: pure functions, one for each root, in the order in which they are to be
//! mended when several are there.

mod aside;
mod config;
#[cfg(test)]
mod exhaustive;
mod roots;
mod symptoms;
#[cfg(test)]
mod table;

use serde::Serialize;

use super::advice::Advice;
use super::evidence::{Counters, Evidence};
use super::step::{StepState, steps};
use crate::probe::{Counted, Health, Proxied, Refusal, Trouble};

/// What is wrong, why we think so, and what to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// In the service's words where it has one (`network_error`).
    pub(crate) cause: String,
    pub(crate) evidence: Vec<String>,
    pub(crate) explanation: String,
    pub(crate) next_steps: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Severity {
    /// A root of what users notice.
    Critical,
    /// It does not work as intended, or follows from a root above.
    Warning,
    /// Worth knowing, nothing to mend.
    Info,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Healthy,
    Unhealthy,
    Unknown,
}

/// The findings, most likely root first.
pub(crate) fn diagnose(evidence: &Evidence) -> (Verdict, Vec<Finding>) {
    let seen = Seen(evidence);
    let mut findings: Vec<Finding> = ROOTS.iter().filter_map(|rule| rule(&seen)).collect();
    let roots = findings
        .iter()
        .any(|finding| finding.severity == Severity::Critical);
    findings.extend(SYMPTOMS.iter().filter_map(|rule| rule(&seen, roots)));
    findings.extend(ASIDE.iter().filter_map(|rule| rule(&seen)));
    findings.sort_by_key(|finding| finding.severity);
    let wrong = findings.iter().any(|f| f.severity < Severity::Info);
    let steps = steps(evidence);
    let verdict = if wrong || steps.iter().any(|s| s.state == StepState::Failed) {
        Verdict::Unhealthy
    } else if steps.iter().any(|s| s.state == StepState::Unknown) {
        Verdict::Unknown
    } else {
        Verdict::Healthy
    };
    (verdict, findings)
}

type Rule = fn(&Seen<'_>) -> Option<Finding>;

/// Redis first, then the database, then what lies before the origin.
const ROOTS: [Rule; 14] = [
    roots::redis,
    roots::ticket_store,
    roots::database,
    config::origin_unconfigured,
    config::kv_unavailable,
    config::secrets,
    config::auth_config,
    roots::certificate,
    roots::edge_unreachable,
    roots::not_the_service,
    roots::path,
    roots::not_ready,
    roots::ready_silent,
    roots::refused,
];

/// What can follow from a root: told after it, and not as one.
const SYMPTOMS: [fn(&Seen<'_>, bool) -> Option<Finding>; 4] = [
    symptoms::upstream_5xx,
    symptoms::other_cause,
    symptoms::circuit_open,
    symptoms::realtime,
];

const ASIDE: [Rule; 6] = [
    aside::provider,
    aside::redis_log,
    aside::origin_from_here,
    aside::certificate_ends,
    aside::earlier,
    aside::restarted,
];

struct Seen<'e>(&'e Evidence);

impl Seen<'_> {
    fn counters(&self) -> Option<&Counters> {
        self.0.counters.as_ref()?.as_ref().ok()
    }

    fn rise(&self, of: impl Fn(&Counted) -> u64) -> u64 {
        self.counters().map_or(0, |counters| counters.rise(of))
    }

    fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        let answers = self.0.proxied.iter();
        answers.filter_map(|answer| answer.as_ref().ok()?.refusal())
    }

    /// Why we think that this cause is behind failures now; empty if we do not.
    fn upstream(&self, cause: &str) -> Vec<String> {
        let mut evidence = Vec::new();
        for refusal in self
            .refusals()
            .filter(|r| r.cause.as_deref() == Some(cause))
        {
            evidence.push(format!("a pull through the edge is answered {refusal}"));
        }
        let rise = self.rise(|c| failures(c, cause));
        if rise > 0 {
            evidence.push(format!("the edge counted {rise} more {cause}"));
        } else if self.is_open() && cause != "circuit_open" {
            // While the circuit is open nothing else can rise; what opened it stands in the totals.
            let total = self.counters().map_or(0, |c| failures(&c.after, cause));
            if total > 0 {
                evidence.push(format!(
                    "the circuit is open, and the edge has counted {total} {cause}"
                ));
            }
        }
        evidence
    }

    fn is_open(&self) -> bool {
        self.counters()
            .is_some_and(|c| c.after.circuit_open() == Some(true))
            || matches!(self.0.proxied.last(), Some(Ok(Proxied::Refused(r)))
                if r.cause.as_deref() == Some("circuit_open"))
    }

    fn proxied_works(&self) -> bool {
        matches!(self.0.proxied.last(), Some(Ok(Proxied::Worked)))
    }

    fn health(&self, name: &str) -> Option<Health> {
        let ready = self.0.ready.as_ref()?.as_ref().ok()?;
        let mut all = ready.dependencies().into_iter();
        all.find(|(n, _)| *n == name).map(|(_, health)| health)
    }

    /// Trouble with the edge in whatever was asked there.
    fn edge_troubles(&self) -> impl Iterator<Item = (&'static str, &Trouble)> {
        let metrics = self.0.counters.iter().filter_map(|c| c.as_ref().err());
        let metrics = metrics.map(|trouble| ("GET /api/v1/metrics", trouble));
        let proxied = self.0.proxied.iter().filter_map(|p| p.as_ref().err());
        metrics.chain(proxied.map(|trouble| ("a pull through the edge", trouble)))
    }

    fn ready_trouble(&self) -> Option<&Trouble> {
        self.0.ready.as_ref()?.as_ref().err()
    }

    fn origin_trouble(&self) -> Option<&Trouble> {
        self.0.origin.as_ref()?.0.as_ref().err()
    }
}

fn finding(
    id: &'static str,
    severity: Severity,
    cause: &str,
    evidence: Vec<String>,
    advice: Advice,
) -> Finding {
    Finding {
        id,
        severity,
        cause: cause.to_owned(),
        evidence,
        explanation: advice.explanation.to_owned(),
        next_steps: advice.next_steps.iter().map(|s| (*s).to_owned()).collect(),
    }
}

/// Of the origin, by cause; builds that tell no causes tell most of it in their totals.
fn failures(counted: &Counted, cause: &str) -> u64 {
    if counted.metrics.failure_causes.is_some() {
        return counted.upstream(cause);
    }
    let totals = &counted.metrics.metrics;
    match cause {
        "timeout" => totals.vps_proxy_timeouts,
        "upstream_5xx" => totals.vps_proxy_5xx_passthrough,
        "circuit_open" => totals.vps_proxy_circuit_rejects,
        "network_error" => totals
            .vps_proxy_failures
            .saturating_sub(totals.vps_proxy_timeouts)
            .saturating_sub(totals.vps_proxy_5xx_passthrough),
        _ => 0,
    }
}
