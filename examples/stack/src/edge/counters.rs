//! What this instance of the edge has counted since its start.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use evenkeel_proto::wire::{EdgeCounters, EdgeMetrics, FailureCauses, ProxyCircuit, Reliability};

#[derive(Debug, Default)]
pub(super) struct Counters(Mutex<Tally>);

/// The numbers themselves.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) totals: EdgeCounters,
    pub(super) kv_failures: u64,
    upstream: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn upstream(&mut self, cause: &'static str) {
        *self.upstream.entry(cause).or_default() += 1;
    }
}

impl Counters {
    pub(super) fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The numbers as the contract shows them.
    pub(super) fn shown(&self, circuit: ProxyCircuit) -> EdgeMetrics {
        let tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let upstream = tally.upstream.iter();
        EdgeMetrics {
            metrics: tally.totals.clone(),
            failure_causes: Some(FailureCauses {
                upstream: upstream.map(|(c, n)| ((*c).to_owned(), *n)).collect(),
                provider: BTreeMap::new(),
            }),
            reliability: Some(Reliability {
                kv_failures: tally.kv_failures,
                ..Reliability::default()
            }),
            vps_proxy_circuit: Some(circuit),
        }
    }
}
