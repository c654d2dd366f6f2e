//! The edge's counters. They fall back to zero at a restart and differ between instances.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::UnixMillis;
use super::lenient::or_default;

/// The answer to the edge's `GET /api/v1/metrics`. A group that an older build lacks is `None`: that
/// is not the same as zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EdgeMetrics {
    /// Totals since the start of this instance.
    #[serde(deserialize_with = "or_default")]
    pub metrics: EdgeCounters,
    /// How often each cause was behind a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_causes: Option<FailureCauses>,
    /// Faults of configuration and of secrets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reliability: Option<Reliability>,
    /// The circuit breaker towards the origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vps_proxy_circuit: Option<ProxyCircuit>,
}

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $($(#[$fdoc])* #[serde(deserialize_with = "or_default")] pub $field: u64,)+
        }
    };
}

counters! {
    /// Totals; one that this build of the edge does not count is 0.
    EdgeCounters {
        /// Requests of all kinds.
        requests,
        /// Requests without a valid token.
        auth_failures,
        /// Failures of the AI provider.
        provider_failures,
        /// Repeated requests to the AI provider.
        retries,
        /// Requests to the AI provider that were given up.
        timeouts,
        /// Requests turned away by the edge's own rate limit.
        rate_limited,
        /// How often the AI provider's circuit opened.
        circuit_opens,
        /// Failures of the origin.
        vps_proxy_failures,
        /// Requests to the origin that were given up.
        vps_proxy_timeouts,
        /// Repeated requests to the origin.
        vps_proxy_retries,
        /// How often the origin's circuit opened.
        vps_proxy_circuit_opens,
        /// Requests turned away while it was open.
        vps_proxy_circuit_rejects,
        /// Requests on the paths that are never repeated.
        vps_proxy_no_retry_path_hits,
        /// How often the origin's Retry-After was handed on.
        vps_proxy_retry_after_honored,
        /// The origin's 5xx answers handed on.
        vps_proxy_5xx_passthrough,
    }
}

/// How often each cause was behind a failure; causes this build does not know included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailureCauses {
    /// The origin's.
    #[serde(deserialize_with = "or_default")]
    pub upstream: BTreeMap<String, u64>,
    /// The AI provider's.
    #[serde(deserialize_with = "or_default")]
    pub provider: BTreeMap<String, u64>,
}

/// Faults of configuration and of secrets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reliability {
    /// Sign-in is not configured rightly.
    #[serde(deserialize_with = "or_default")]
    pub auth_config: AuthConfig,
    /// The secrets are not configured rightly.
    #[serde(deserialize_with = "or_default")]
    pub runtime_config: RuntimeConfig,
    /// How the change to a new secret goes.
    #[serde(deserialize_with = "or_default")]
    pub secret_rotation: SecretRotation,
    /// Failures of the session storage.
    #[serde(deserialize_with = "or_default")]
    pub kv_failures: u64,
}

counters! {
    /// Requests that met a fault in the sign-in configuration.
    AuthConfig {
        /// None there.
        missing_clerk_config,
        /// Only half of it there.
        partial_clerk_config,
        /// It cannot be right.
        invalid_clerk_config,
    }
}

counters! {
    /// Requests that met a fault in the secrets' configuration.
    RuntimeConfig {
        /// The active secret is unusable.
        invalid_encryption_secret,
        /// The previous secret is unusable.
        invalid_rotation_secret,
    }
}

counters! {
    /// How the change to a new secret goes.
    SecretRotation {
        /// Keys that only the previous secret could open.
        fallback_decrypts,
        /// Keys that neither could open.
        decrypt_failures,
        /// Keys moved to the active secret.
        reencrypt_successes,
        /// Keys that could not be moved.
        reencrypt_failures,
    }
}

/// The circuit breaker towards the origin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyCircuit {
    /// Whether it rejects now.
    #[serde(deserialize_with = "or_default")]
    pub open: bool,
    /// Until when, on the edge's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_until: Option<UnixMillis>,
    /// For how many more milliseconds.
    #[serde(deserialize_with = "or_default")]
    pub remaining_ms: u64,
}
