//! What was deployed wrongly, as far as the edge counts it.

use evenkeel_proto::wire::Reliability;

use super::super::advice;
use super::{Finding, Seen, Severity, finding};
use crate::probe::Counted;

pub(super) fn origin_unconfigured(seen: &Seen<'_>) -> Option<Finding> {
    let cause = "origin_unconfigured";
    let mut evidence = seen.upstream(cause);
    for refusal in seen.refusals() {
        if refusal.code.as_deref() == Some("CONFIG_ERROR") && evidence.is_empty() {
            evidence.push(format!("a pull through the edge is answered {refusal}"));
        }
    }
    let advice = advice::ORIGIN_UNCONFIGURED;
    (!evidence.is_empty()).then(|| {
        finding(
            "origin_unconfigured",
            Severity::Critical,
            cause,
            evidence,
            advice,
        )
    })
}

pub(super) fn kv_unavailable(seen: &Seen<'_>) -> Option<Finding> {
    let cause = "kv_unavailable";
    let mut evidence = seen.upstream(cause);
    let rise = seen.rise(|c| c.metrics.reliability.as_ref().map_or(0, |r| r.kv_failures));
    if rise > 0 {
        evidence.push(format!("the edge counted {rise} more kvFailures"));
    }
    (!evidence.is_empty()).then(|| finding(cause, Severity::Critical, cause, evidence, advice::KV))
}

/// Faults of configuration that rise.
pub(super) fn secrets(seen: &Seen<'_>) -> Option<Finding> {
    let counted: [Counter; 4] = [
        ("invalidEncryptionSecret", |c| {
            reliability(c).map_or(0, |r| r.runtime_config.invalid_encryption_secret)
        }),
        ("invalidRotationSecret", |c| {
            reliability(c).map_or(0, |r| r.runtime_config.invalid_rotation_secret)
        }),
        ("decryptFailures", |c| {
            reliability(c).map_or(0, |r| r.secret_rotation.decrypt_failures)
        }),
        ("reencryptFailures", |c| {
            reliability(c).map_or(0, |r| r.secret_rotation.reencrypt_failures)
        }),
    ];
    let evidence = rising(seen, &counted);
    let advice = advice::SECRETS;
    (!evidence.is_empty()).then(|| {
        finding(
            "secrets",
            Severity::Critical,
            "secret_config",
            evidence,
            advice,
        )
    })
}

pub(super) fn auth_config(seen: &Seen<'_>) -> Option<Finding> {
    let counted: [Counter; 3] = [
        ("missingClerkConfig", |c| {
            reliability(c).map_or(0, |r| r.auth_config.missing_clerk_config)
        }),
        ("partialClerkConfig", |c| {
            reliability(c).map_or(0, |r| r.auth_config.partial_clerk_config)
        }),
        ("invalidClerkConfig", |c| {
            reliability(c).map_or(0, |r| r.auth_config.invalid_clerk_config)
        }),
    ];
    let evidence = rising(seen, &counted);
    let advice = advice::AUTH_CONFIG;
    (!evidence.is_empty()).then(|| {
        finding(
            "auth_config",
            Severity::Critical,
            "auth_config",
            evidence,
            advice,
        )
    })
}

/// A counter of the edge by its name.
type Counter = (&'static str, fn(&Counted) -> u64);

fn rising(seen: &Seen<'_>, counted: &[Counter]) -> Vec<String> {
    let rises = counted.iter().map(|(name, of)| (name, seen.rise(of)));
    let rises = rises.filter(|(_, rise)| *rise > 0);
    rises
        .map(|(name, rise)| format!("the edge counted {rise} more {name}"))
        .collect()
}

fn reliability(counted: &Counted) -> Option<&Reliability> {
    counted.metrics.reliability.as_ref()
}
