//! The runbook's four steps, with what each of them saw.

use serde::Serialize;
use serde_json::{Value, json};

use super::evidence::Evidence;
use crate::probe::{Health, Kind, Proxied, ms};

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Step {
    pub(crate) id: &'static str,
    pub(crate) state: StepState,
    pub(crate) took_ms: f64,
    /// In words.
    pub(crate) summary: Vec<String>,
    /// As it was told.
    pub(crate) details: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StepState {
    Ok,
    /// It could not be told; the summary says what is missing.
    Unknown,
    Failed,
}

/// All four, in the runbook's order.
pub(crate) fn steps(evidence: &Evidence) -> Vec<Step> {
    vec![
        ready(evidence),
        edge(evidence),
        reachability(evidence),
        redis(evidence),
    ]
}

fn ready(evidence: &Evidence) -> Step {
    let (state, summary, details) = match &evidence.ready {
        None => (
            StepState::Unknown,
            "not asked: give --origin URL or set EVENKEEL_ORIGIN".to_owned(),
            Value::Null,
        ),
        Some(Err(trouble)) => (
            StepState::Failed,
            format!("GET /ready: {trouble}"),
            json!(trouble),
        ),
        Some(Ok(seen)) => {
            let all = seen.dependencies();
            let told = |wanted: &Health| all.iter().any(|(_, health)| health == wanted);
            let bad = all
                .iter()
                .any(|(_, h)| matches!(h, Health::Down(_) | Health::Degraded(_)));
            // Older builds do not report the tickets' store.
            let missing = all[..2].iter().any(|(_, h)| *h == Health::NotTold);
            let state = match (seen.is_ready() && !bad, missing) {
                (false, _) => StepState::Failed,
                (true, true) => StepState::Unknown,
                (true, false) => StepState::Ok,
            };
            let mut words = seen.words();
            if told(&Health::NotTold) && missing {
                words.push_str("; without its dependencies nobody can say that they are well");
            }
            (
                state,
                words,
                json!({ "status": seen.status, "payload": seen.ready }),
            )
        }
    };
    Step {
        id: "ready",
        state,
        took_ms: ms(evidence.ready_took),
        summary: vec![summary],
        details,
    }
}

fn edge(evidence: &Evidence) -> Step {
    let (state, summary, details) = match &evidence.counters {
        None => (
            StepState::Unknown,
            vec!["not asked: give --edge URL or set EVENKEEL_EDGE".to_owned()],
            Value::Null,
        ),
        Some(Err(trouble)) => {
            let state = match trouble.kind {
                Kind::NotTheService => StepState::Failed,
                _ => StepState::Unknown,
            };
            let mut words = vec![format!("GET /api/v1/metrics: {trouble}")];
            if trouble.kind == Kind::NotTold {
                words.push(
                    "unknown, not fine: run this on the edge's own machine to see them".to_owned(),
                );
            }
            (state, words, json!(trouble))
        }
        Some(Ok(counters)) => {
            let t = &counters.after.metrics.metrics;
            let rose = |name: &str, total: u64, rise: u64| match rise {
                0 => format!("{name} {total}"),
                _ => format!("{name} {total} (+{rise})"),
            };
            let opens = counters.rise(|c| c.metrics.metrics.vps_proxy_circuit_opens);
            let rejects = counters.rise(|c| c.metrics.metrics.vps_proxy_circuit_rejects);
            let failures = counters.rise(|c| c.metrics.metrics.vps_proxy_failures);
            let timeouts = counters.rise(|c| c.metrics.metrics.vps_proxy_timeouts);
            let circuit = match counters.after.circuit_open() {
                Some(true) => "circuit OPEN",
                Some(false) => "circuit closed",
                None => "circuit not told by this build",
            };
            let mut words = vec![format!(
                "{circuit}, {}, {}, {}, {}, in {:.1} s",
                rose("opens", t.vps_proxy_circuit_opens, opens),
                rose("rejects", t.vps_proxy_circuit_rejects, rejects),
                rose("failures", t.vps_proxy_failures, failures),
                rose("timeouts", t.vps_proxy_timeouts, timeouts),
                counters.apart.as_secs_f64(),
            )];
            words.extend(causes(evidence));
            if counters.restarted() {
                words.push("counters fell: the edge was restarted meanwhile".to_owned());
            }
            let open = counters.after.circuit_open() == Some(true);
            let state = match open || [opens, rejects, failures].iter().any(|rise| *rise > 0) {
                true => StepState::Failed,
                false => StepState::Ok,
            };
            let details = json!({
                "before": counters.before.metrics,
                "after": counters.after.metrics,
                "apart_ms": ms(counters.apart),
            });
            (state, words, details)
        }
    };
    Step {
        id: "edge",
        state,
        took_ms: ms(evidence.took),
        summary,
        details,
    }
}

/// The cause maps in words, with what rose.
fn causes(evidence: &Evidence) -> Option<String> {
    let Some(Ok(counters)) = &evidence.counters else {
        return None;
    };
    let Some(told) = &counters.after.metrics.failure_causes else {
        return Some("this build of the edge tells no causes".to_owned());
    };
    let mut parts = Vec::new();
    for (whose, map) in [("upstream", &told.upstream), ("provider", &told.provider)] {
        for (cause, total) in map.iter().take(CAUSES_MAX) {
            let rise = counters.rise(|c| match whose {
                "upstream" => c.upstream(cause),
                _ => c.provider(cause),
            });
            let rise = if rise > 0 {
                format!(" (+{rise})")
            } else {
                String::new()
            };
            parts.push(format!(
                "{whose} {} {total}{rise}",
                crate::probe::shown(cause)
            ));
        }
    }
    (!parts.is_empty()).then(|| format!("causes: {}", parts.join(", ")))
}

fn reachability(evidence: &Evidence) -> Step {
    let mut states = Vec::new();
    let mut summary = Vec::new();
    match &evidence.origin {
        None => {
            states.push(StepState::Unknown);
            summary.push("origin from here: not asked, give --origin URL".to_owned());
        }
        Some((seen, way)) => {
            let words = match seen {
                Ok(status) => {
                    states.push(StepState::Ok);
                    format!("{} (GET /health: {status})", way.words())
                }
                Err(trouble) => {
                    states.push(StepState::Failed);
                    let so_far = way.words();
                    let so_far = if so_far.is_empty() {
                        so_far
                    } else {
                        so_far + ", then "
                    };
                    format!("{so_far}{trouble}")
                }
            };
            summary.push(format!("origin from here: {words}"));
            if let Some(days) = days_left(way.certificate, evidence.now_ms) {
                summary.push(format!("origin's certificate: {days} days left"));
            }
        }
    }
    match evidence.proxied.last() {
        None => {
            states.push(StepState::Unknown);
            summary.push("through the edge: not asked, give --edge URL".to_owned());
        }
        Some(Err(trouble)) => {
            states.push(StepState::Failed);
            summary.push(format!("a pull through the edge: {trouble}"));
        }
        Some(Ok(seen)) => {
            let unauthorised = seen.refusal().is_some_and(|r| r.status == 401);
            states.push(match seen {
                Proxied::Worked => StepState::Ok,
                _ if unauthorised && !evidence.with_token => StepState::Unknown,
                _ => StepState::Failed,
            });
            let mut words = seen.words();
            if unauthorised && !evidence.with_token {
                words.push_str("; set EVENKEEL_TOKEN or give --token-file FILE");
            }
            if *seen == Proxied::Worked {
                words = format!("{words} ({})", evidence.edge_way.words());
            }
            summary.push(words);
        }
    }
    if let Some(days) = days_left(evidence.edge_way.certificate, evidence.now_ms) {
        summary.push(format!("edge's certificate: {days} days left"));
    }
    Step {
        id: "reachability",
        state: states.into_iter().max().unwrap_or(StepState::Unknown),
        took_ms: ms(evidence.took),
        summary,
        details: json!({
            "origin": evidence.origin.as_ref().map(|(_, way)| way),
            "edge": evidence.edge_way,
        }),
    }
}

fn redis(evidence: &Evidence) -> Step {
    let (mut state, mut summary) = match &evidence.ready {
        Some(Ok(seen)) => match seen.redis() {
            Health::Well => (StepState::Ok, vec!["/ready: redis ok".to_owned()]),
            Health::Degraded(why) => (
                StepState::Failed,
                vec![format!("/ready: redis DEGRADED ({why})")],
            ),
            Health::Down(why) => (
                StepState::Failed,
                vec![format!("/ready: redis DOWN ({why})")],
            ),
            Health::NotTold => (
                StepState::Unknown,
                vec!["/ready does not tell of redis".to_owned()],
            ),
        },
        _ => (
            StepState::Unknown,
            vec!["/ready could not be asked; --server-log FILE tells too".to_owned()],
        ),
    };
    let details = match &evidence.log {
        None => Value::Null,
        Some(Err(why)) => {
            state = state.max(StepState::Unknown);
            summary.push(format!("server log: {why}"));
            Value::Null
        }
        Some(Ok(log)) => {
            for (name, seen) in [
                ("connection errors", &log.connection_errors),
                ("reconnects", &log.reconnects),
            ] {
                let mut words = format!("server log: {} {name}", seen.count);
                if let Some(ago) = seen.last_before(evidence.now_ms) {
                    words.push_str(&format!(", the last {:.0} s ago", ago.as_secs_f64()));
                }
                if let Some(message) = &seen.last_message {
                    words.push_str(&format!(" ({message})"));
                }
                summary.push(words);
            }
            if log.unreadable_lines > 0 {
                summary.push(format!(
                    "server log: {} of {} lines are not JSON objects",
                    log.unreadable_lines, log.lines
                ));
            }
            json!(log)
        }
    };
    Step {
        id: "redis",
        state,
        took_ms: ms(evidence.ready_took),
        summary,
        details,
    }
}

/// Whole days until a certificate's end, negative after it.
pub(super) fn days_left(certificate: Option<crate::probe::Validity>, now_ms: i64) -> Option<i64> {
    Some(
        certificate?
            .not_after_ms
            .saturating_sub(now_ms)
            .div_euclid(86_400_000),
    )
}

const CAUSES_MAX: usize = 20;
