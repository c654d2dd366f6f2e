//! What breaks the service: dependencies, and the ways to it.

use super::super::advice;
use super::{Finding, Seen, Severity, finding};
use crate::probe::{Health, Kind, Phase, Proxied};

pub(super) fn redis(seen: &Seen<'_>) -> Option<Finding> {
    let (severity, mut evidence) = match seen.health("redis")? {
        Health::Down(why) => (
            Severity::Critical,
            vec![format!("/ready: redis down ({why})")],
        ),
        Health::Degraded(why) => (
            Severity::Warning,
            vec![format!("/ready: redis degraded ({why})")],
        ),
        _ => return None,
    };
    if let Some(Health::Down(why) | Health::Degraded(why)) = seen.health("streamTicket") {
        evidence.push(format!("/ready: streamTicket {why}"));
    }
    if let Some(Ok(log)) = &seen.0.log {
        evidence.push(format!(
            "server log: {} connection errors, {} reconnects",
            log.connection_errors.count, log.reconnects.count
        ));
    }
    Some(finding("redis", severity, "redis", evidence, advice::REDIS))
}

pub(super) fn ticket_store(seen: &Seen<'_>) -> Option<Finding> {
    let why = match seen.health("streamTicket")? {
        Health::Down(why) | Health::Degraded(why) => why,
        _ => return None,
    };
    let redis = match seen.health("redis") {
        // Then it is what has to be mended.
        Some(Health::Down(_) | Health::Degraded(_)) => return None,
        Some(Health::Well) => "redis ok",
        _ => "redis not told",
    };
    let evidence = vec![format!("/ready: streamTicket {why}, {redis}")];
    let advice = advice::TICKET_STORE;
    Some(finding(
        "ticket_store",
        Severity::Critical,
        "stream_ticket",
        evidence,
        advice,
    ))
}

pub(super) fn database(seen: &Seen<'_>) -> Option<Finding> {
    let Health::Down(why) = seen.health("database")? else {
        return None;
    };
    let evidence = vec![format!("/ready: database down ({why})")];
    Some(finding(
        "database",
        Severity::Critical,
        "database",
        evidence,
        advice::DATABASE,
    ))
}

pub(super) fn certificate(seen: &Seen<'_>) -> Option<Finding> {
    let at_edge = seen.edge_troubles().map(|(_, trouble)| ("edge", trouble));
    let at_origin = seen.origin_trouble();
    let at_origin = at_origin.into_iter().chain(seen.ready_trouble());
    let mut evidence: Vec<_> = at_edge
        .chain(at_origin.map(|trouble| ("origin", trouble)))
        .filter(|(_, trouble)| trouble.kind == Kind::Certificate)
        .map(|(place, trouble)| format!("{place}: {trouble}"))
        .collect();
    evidence.dedup();
    let advice = advice::CERTIFICATE;
    (!evidence.is_empty())
        .then(|| finding("certificate", Severity::Critical, "tls", evidence, advice))
}

pub(super) fn edge_unreachable(seen: &Seen<'_>) -> Option<Finding> {
    // The call decides: counters may be kept from us.
    let trouble = seen.0.proxied.last()?.as_ref().err()?;
    if matches!(trouble.kind, Kind::NotTheService | Kind::Certificate) {
        return None;
    }
    let cause = match (trouble.kind, trouble.phase) {
        (Kind::TimedOut, _) => "timeout",
        (_, Phase::Dns) => "dns_failed",
        (_, Phase::Tls) => "tls_failed",
        _ => "network_error",
    };
    let evidence = vec![format!("a pull through the edge: {trouble}")];
    let advice = advice::EDGE_UNREACHABLE;
    Some(finding(
        "edge_unreachable",
        Severity::Critical,
        cause,
        evidence,
        advice,
    ))
}

pub(super) fn not_the_service(seen: &Seen<'_>) -> Option<Finding> {
    let ready = seen.ready_trouble();
    let ready = ready.map(|trouble| ("GET /ready", trouble));
    let health = seen
        .origin_trouble()
        .map(|trouble| ("GET /health", trouble));
    let evidence: Vec<_> = seen
        .edge_troubles()
        .chain(ready)
        .chain(health)
        .filter(|(_, trouble)| trouble.kind == Kind::NotTheService)
        .map(|(what, trouble)| format!("{what}: {}", trouble.message))
        .collect();
    let advice = advice::NOT_THE_SERVICE;
    (!evidence.is_empty()).then(|| {
        finding(
            "not_the_service",
            Severity::Critical,
            "not_the_service",
            evidence,
            advice,
        )
    })
}

/// Between the edge and the origin, or the origin's process itself.
pub(super) fn path(seen: &Seen<'_>) -> Option<Finding> {
    let mut evidence = Vec::new();
    let mut causes = Vec::new();
    for cause in ["network_error", "timeout"] {
        let found = seen.upstream(cause);
        if !found.is_empty() {
            causes.push(cause);
            evidence.extend(found);
        }
    }
    // An origin that answers anything can be reached, whatever becomes of its /ready.
    let direct = match &seen.0.origin {
        Some((Ok(_), _)) => None,
        Some((Err(trouble), _)) => Some(trouble),
        None => seen.ready_trouble(),
    };
    let direct = direct.filter(|t| matches!(t.kind, Kind::Failed | Kind::TimedOut));
    if let (Some(trouble), false) = (direct, seen.proxied_works()) {
        evidence.push(format!("the origin from here: {trouble}"));
        if causes.is_empty() {
            causes.push(match trouble.kind {
                Kind::TimedOut => "timeout",
                _ => "network_error",
            });
        }
    }
    let cause = *causes.first()?;
    let mut finding = finding("path", Severity::Critical, cause, evidence, advice::PATH);
    match (direct, &seen.0.origin) {
        (Some(trouble), _) if trouble.phase == Phase::Http => finding.explanation.push_str(
            " From here TCP connects and nothing answers either: the origin's process is stuck.",
        ),
        (Some(_), _) => finding.explanation.push_str(
            " From here it cannot be reached either: the origin itself, or what both ways share.",
        ),
        (None, Some((Ok(_), _))) => finding
            .explanation
            .push_str(" From here it can be reached: the way between the two is what is broken."),
        _ => {}
    }
    Some(finding)
}

pub(super) fn not_ready(seen: &Seen<'_>) -> Option<Finding> {
    let ready = seen.0.ready.as_ref()?.as_ref().ok()?;
    let blamed = ready
        .dependencies()
        .iter()
        .any(|(_, health)| matches!(health, Health::Down(_) | Health::Degraded(_)));
    if ready.is_ready() || blamed {
        return None;
    }
    let cause = ready.ready.ready_cause.as_ref();
    let cause = cause.map_or("not_ready".to_owned(), ToString::to_string);
    let evidence = vec![ready.words()];
    Some(finding(
        "not_ready",
        Severity::Critical,
        &cause,
        evidence,
        advice::NOT_READY,
    ))
}

/// The origin answers, but not when it is asked whether it is ready.
pub(super) fn ready_silent(seen: &Seen<'_>) -> Option<Finding> {
    let trouble = seen.ready_trouble()?;
    let cause = match trouble.kind {
        Kind::TimedOut => "timeout",
        Kind::Failed => "network_error",
        _ => return None,
    };
    let Some((Ok(status), _)) = &seen.0.origin else {
        return None;
    };
    let evidence = vec![
        format!("GET /ready: {trouble}"),
        format!("GET /health: {status}"),
    ];
    let advice = advice::READY_SILENT;
    Some(finding(
        "ready_silent",
        Severity::Critical,
        cause,
        evidence,
        advice,
    ))
}

/// Refusals that have no cause of the table.
pub(super) fn refused(seen: &Seen<'_>) -> Option<Finding> {
    let Some(Ok(Proxied::Refused(refusal))) = seen.0.proxied.last() else {
        return None;
    };
    let of_the_caller = matches!(refusal.status, 401 | 403 | 429);
    let caused = refusal.cause.is_some() || refusal.code.as_deref() == Some("CONFIG_ERROR");
    if caused && !of_the_caller {
        return None;
    }
    let evidence = vec![format!("a pull through the edge is answered {refusal}")];
    let code = refusal.code.as_deref().unwrap_or("refused");
    let code = code.to_ascii_lowercase();
    Some(match refusal.status {
        401 if !seen.0.with_token => return None,
        401 | 403 => finding(
            "account",
            Severity::Warning,
            &code,
            evidence,
            advice::ACCOUNT,
        ),
        429 => {
            let advice = advice::RATE_LIMITED;
            finding(
                "rate_limited",
                Severity::Warning,
                "rate_limited",
                evidence,
                advice,
            )
        }
        _ => finding(
            "refused",
            Severity::Critical,
            &code,
            evidence,
            advice::OTHER_REFUSAL,
        ),
    })
}
