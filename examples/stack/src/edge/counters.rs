//! What this instance of the edge has counted since its start.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use evenkeel_proto::wire::{
    AuthConfig, EdgeCounters, EdgeMetrics, FailureCauses, ProxyCircuit, Reliability, RuntimeConfig,
    SecretRotation,
};

#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<Tally>);

/// The numbers themselves.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) totals: EdgeCounters,
    pub(super) kv_failures: u64,
    pub(super) sign_in: AuthConfig,
    pub(super) runtime: RuntimeConfig,
    pub(super) rotation: SecretRotation,
    upstream: BTreeMap<&'static str, u64>,
    provider: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn upstream(&mut self, cause: &'static str) {
        *self.upstream.entry(cause).or_default() += 1;
    }

    pub(super) fn provider(&mut self, cause: &'static str) {
        *self.provider.entry(cause).or_default() += 1;
    }
}

impl Counters {
    pub(super) fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The numbers as the contract shows them.
    pub(super) fn shown(&self, circuit: ProxyCircuit) -> EdgeMetrics {
        let tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        EdgeMetrics {
            metrics: tally.totals.clone(),
            failure_causes: Some(FailureCauses {
                upstream: named(&tally.upstream),
                provider: named(&tally.provider),
            }),
            reliability: Some(Reliability {
                kv_failures: tally.kv_failures,
                auth_config: tally.sign_in.clone(),
                runtime_config: tally.runtime.clone(),
                secret_rotation: tally.rotation.clone(),
            }),
            vps_proxy_circuit: Some(circuit),
        }
    }
}

fn named(causes: &BTreeMap<&'static str, u64>) -> BTreeMap<String, u64> {
    let named = causes.iter().map(|(cause, n)| ((*cause).to_owned(), *n));
    named.collect()
}
