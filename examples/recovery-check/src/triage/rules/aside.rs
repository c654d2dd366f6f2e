//! What does not break sync, or not yet, or not any more.

use std::time::Duration;

use super::super::advice;
use super::super::step::days_left;
use super::{Finding, Seen, Severity, finding};
use crate::probe::{Health, Kind};

/// Sync works without it, so it is never named before what sync needs.
pub(super) fn provider(seen: &Seen<'_>) -> Option<Finding> {
    let mut evidence = Vec::new();
    let mut first = None;
    // The circuit follows from the others, as it does for the origin.
    for cause in [
        "provider_5xx",
        "provider_timeout",
        "provider_network_error",
        "provider_circuit_open",
    ] {
        let rise = seen.rise(|c| c.provider(cause));
        if rise > 0 {
            evidence.push(format!("the edge counted {rise} more {cause}"));
            first.get_or_insert(cause);
        }
    }
    if first.is_none() {
        let rise = seen.rise(|c| c.metrics.metrics.provider_failures);
        if rise > 0 {
            evidence.push(format!("the edge counted {rise} more providerFailures"));
            first = Some("provider");
        }
    }
    Some(finding(
        "provider",
        Severity::Warning,
        first?,
        evidence,
        advice::PROVIDER,
    ))
}

/// What only the log tells.
pub(super) fn redis_log(seen: &Seen<'_>) -> Option<Finding> {
    let Some(Ok(log)) = &seen.0.log else {
        return None;
    };
    let told = matches!(
        seen.health("redis"),
        Some(Health::Down(_) | Health::Degraded(_))
    );
    if told || log.connection_errors.count == 0 {
        return None;
    }
    let last = log.connection_errors.last_before(seen.0.now_ms);
    let recent = last.is_some_and(|ago| ago <= RECENT);
    let severity = if recent {
        Severity::Warning
    } else {
        Severity::Info
    };
    let mut evidence = vec![format!(
        "server log: {} connection errors with Redis, {} reconnects",
        log.connection_errors.count, log.reconnects.count
    )];
    evidence.push(match last {
        Some(ago) => format!("the last {:.0} s ago", ago.as_secs_f64()),
        None => "their times cannot be read".to_owned(),
    });
    Some(finding(
        "redis_log",
        severity,
        "redis",
        evidence,
        advice::REDIS,
    ))
}

pub(super) fn origin_from_here(seen: &Seen<'_>) -> Option<Finding> {
    let trouble = seen.origin_trouble()?;
    if !seen.proxied_works() || trouble.kind == Kind::Certificate {
        return None;
    }
    let evidence = vec![
        format!("the origin from here: {trouble}"),
        "the edge reaches it".into(),
    ];
    let advice = advice::ORIGIN_FROM_HERE;
    Some(finding(
        "origin_from_here",
        Severity::Warning,
        "network_error",
        evidence,
        advice,
    ))
}

pub(super) fn certificate_ends(seen: &Seen<'_>) -> Option<Finding> {
    let edge = ("edge", seen.0.edge_way.certificate);
    let origin = seen
        .0
        .origin
        .as_ref()
        .map(|(_, way)| ("origin", way.certificate));
    let evidence: Vec<_> = [Some(edge), origin]
        .into_iter()
        .flatten()
        .filter_map(|(place, certificate)| {
            let days = days_left(certificate, seen.0.now_ms)?;
            (days <= CERTIFICATE_DAYS).then(|| format!("{place}: {days} days left"))
        })
        .collect();
    let advice = advice::CERTIFICATE_ENDS;
    (!evidence.is_empty()).then(|| {
        finding(
            "certificate_ends",
            Severity::Warning,
            "tls",
            evidence,
            advice,
        )
    })
}

/// Old counts are not today's trouble, and not nothing.
pub(super) fn earlier(seen: &Seen<'_>) -> Option<Finding> {
    let counters = seen.counters()?;
    let causes = counters.after.metrics.failure_causes.as_ref()?;
    let evidence: Vec<_> = causes
        .upstream
        .iter()
        .chain(&causes.provider)
        .filter(|(cause, total)| {
            let rise = seen.rise(|c| c.upstream(cause).max(c.provider(cause)));
            **total > 0 && rise == 0 && seen.upstream(cause).is_empty()
        })
        .take(20)
        .map(|(cause, total)| format!("{} {total}", crate::probe::shown(cause)))
        .collect();
    let advice = advice::EARLIER;
    (!evidence.is_empty()).then(|| {
        finding(
            "earlier_failures",
            Severity::Info,
            "earlier",
            evidence,
            advice,
        )
    })
}

pub(super) fn restarted(seen: &Seen<'_>) -> Option<Finding> {
    let counters = seen.counters().filter(|counters| counters.restarted())?;
    let evidence = vec![format!(
        "the edge's counters fell within {:.1} s",
        counters.apart.as_secs_f64()
    )];
    let advice = advice::RESTARTED;
    Some(finding(
        "edge_restarted",
        Severity::Info,
        "restart",
        evidence,
        advice,
    ))
}

/// Errors younger than this are about now.
const RECENT: Duration = Duration::from_secs(10 * 60);
const CERTIFICATE_DAYS: i64 = 14;
