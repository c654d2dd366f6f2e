//! The edge's counters over time: by how much each rose, when, and where they began again.

use std::collections::BTreeMap;

use evenkeel_proto::wire::EdgeMetrics;

/// A counter that was seen at least once.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    /// By how much it rose in all.
    pub(crate) rose: u64,
    pub(crate) rises: Vec<Rise>,
}

/// By how much a counter rose between two looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rise {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) by: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    series: Vec<Series>,
    /// When a counter was lower than before: the edge was started anew (or another instance answered).
    pub(crate) restarts: Vec<u64>,
    /// Where each series is, and its latest value.
    latest: BTreeMap<(&'static str, String), (usize, Option<u64>)>,
    seen_at: Option<u64>,
}

impl Counters {
    pub(crate) fn see(&mut self, at: u64, metrics: &EdgeMetrics) {
        let values = values(metrics);
        let fell = values.iter().any(|(group, name, value)| {
            let before = self.latest.get(&(*group, name.clone()));
            before.is_some_and(|(_, before)| before.is_some_and(|before| *value < before))
        });
        if fell {
            if self.restarts.len() < RESTARTS_MAX {
                self.restarts.push(at);
            }
            // What was counted before the restart is gone; since then, each began at zero.
            for (_, before) in self.latest.values_mut() {
                *before = Some(0);
            }
        }
        for (group, name, value) in values {
            self.rise(at, group, name, value, fell);
        }
        self.seen_at = Some(at);
    }

    /// Those that rose, most important group first, the ones that rose most first within it.
    pub(crate) fn moved(&self) -> Vec<&Series> {
        let mut moved: Vec<_> = self.series.iter().filter(|s| s.rose > 0).collect();
        moved.sort_by_key(|s| (GROUPS.iter().position(|g| *g == s.group), u64::MAX - s.rose));
        moved
    }

    /// The names of those that did not move.
    pub(crate) fn still(&self) -> Vec<&str> {
        let still = self.series.iter().filter(|s| s.rose == 0);
        still.map(|s| s.name.as_str()).collect()
    }

    /// Each counter with its value when it was last seen, most important group first.
    pub(crate) fn all(&self) -> Vec<(&Series, u64)> {
        let values = self.latest.values();
        let values =
            values.filter_map(|(i, value)| Some((self.series.get(*i)?, value.unwrap_or(0))));
        let mut all: Vec<_> = values.collect();
        all.sort_by_key(|(s, _)| GROUPS.iter().position(|g| *g == s.group));
        all
    }

    /// When each rose before this time is no longer needed; by how much in all is kept.
    pub(crate) fn forget(&mut self, before: u64) {
        for series in &mut self.series {
            series.rises.retain(|rise| rise.to >= before);
        }
    }

    /// Whether they could be seen at all.
    pub(crate) fn seen(&self) -> bool {
        self.seen_at.is_some()
    }

    pub(crate) fn get(&self, group: &str, name: &str) -> Option<&Series> {
        let mut all = self.series.iter();
        all.find(|s| s.group == group && s.name == name)
    }

    fn rise(&mut self, at: u64, group: &'static str, name: String, value: u64, anew: bool) {
        // Names come from the service: a hostile one could bring a new one with each answer.
        let key = (group, name);
        let key = if self.latest.contains_key(&key) || self.series.len() < SERIES_MAX {
            key
        } else {
            return;
        };
        let (index, before) = *self.latest.entry(key.clone()).or_insert_with(|| {
            self.series.push(Series {
                group,
                name: key.1.clone(),
                rose: 0,
                rises: Vec::new(),
            });
            // A cause appears in its map when it is first counted.
            let counted_from_zero = (self.seen_at.is_some() && group.ends_with("causes")) || anew;
            (self.series.len() - 1, counted_from_zero.then_some(0))
        });
        self.latest.insert(key, (index, Some(value)));
        let (Some(series), Some(before)) = (self.series.get_mut(index), before) else {
            return;
        };
        let by = value.saturating_sub(before);
        if by > 0 {
            series.rose = series.rose.saturating_add(by);
            series.rises.push(Rise {
                from: self.seen_at.unwrap_or(at),
                to: at,
                by,
            });
            if series.rises.len() > RISES_MAX {
                let pairs = series.rises.chunks(2).map(|pair| Rise {
                    from: pair[0].from,
                    to: pair[pair.len() - 1].to,
                    by: pair.iter().fold(0, |sum, rise| rise.by.saturating_add(sum)),
                });
                series.rises = pairs.collect();
            }
        }
    }
}

/// Every counter of an answer. A group that this build of the edge lacks is not zero, but absent.
fn values(all: &EdgeMetrics) -> Vec<(&'static str, String, u64)> {
    let mut values = Vec::with_capacity(32);
    let mut add = |group, pairs: &[(&str, u64)]| {
        values.extend(
            pairs
                .iter()
                .map(|(name, n)| (group, (*name).to_owned(), *n)),
        );
    };
    let m = &all.metrics;
    add(
        CIRCUIT,
        &[
            (OPENS, m.vps_proxy_circuit_opens),
            (REJECTS, m.vps_proxy_circuit_rejects),
        ],
    );
    add(
        ORIGIN,
        &[
            ("vpsProxyFailures", m.vps_proxy_failures),
            ("vpsProxyTimeouts", m.vps_proxy_timeouts),
            ("vpsProxyRetries", m.vps_proxy_retries),
            ("vpsProxy5xxPassthrough", m.vps_proxy_5xx_passthrough),
            ("vpsProxyRetryAfterHonored", m.vps_proxy_retry_after_honored),
        ],
    );
    add(
        PROVIDER,
        &[
            ("providerFailures", m.provider_failures),
            ("circuitOpens", m.circuit_opens),
            ("retries", m.retries),
            ("timeouts", m.timeouts),
        ],
    );
    add(
        TRAFFIC,
        &[
            ("requests", m.requests),
            ("rateLimited", m.rate_limited),
            ("authFailures", m.auth_failures),
            ("vpsProxyNoRetryPathHits", m.vps_proxy_no_retry_path_hits),
        ],
    );
    if let Some(r) = &all.reliability {
        let (auth, run, keys) = (&r.auth_config, &r.runtime_config, &r.secret_rotation);
        add(
            CONFIG,
            &[
                ("kvFailures", r.kv_failures),
                ("missingClerkConfig", auth.missing_clerk_config),
                ("partialClerkConfig", auth.partial_clerk_config),
                ("invalidClerkConfig", auth.invalid_clerk_config),
                ("invalidEncryptionSecret", run.invalid_encryption_secret),
                ("invalidRotationSecret", run.invalid_rotation_secret),
                ("fallbackDecrypts", keys.fallback_decrypts),
                ("decryptFailures", keys.decrypt_failures),
                ("reencryptSuccesses", keys.reencrypt_successes),
                ("reencryptFailures", keys.reencrypt_failures),
            ],
        );
    }
    if let Some(causes) = &all.failure_causes {
        for (group, causes) in [(UPSTREAM, &causes.upstream), (PROVIDERS, &causes.provider)] {
            values.extend(causes.iter().map(|(name, n)| (group, name.clone(), *n)));
        }
    }
    values
}

pub(crate) const CIRCUIT: &str = "circuit";
pub(crate) const OPENS: &str = "vpsProxyCircuitOpens";
pub(crate) const REJECTS: &str = "vpsProxyCircuitRejects";
pub(crate) const UPSTREAM: &str = "upstream causes";
const ORIGIN: &str = "origin, as the edge met it";
pub(crate) const PROVIDERS: &str = "provider causes";
const PROVIDER: &str = "AI provider";
const CONFIG: &str = "configuration, secrets, session storage";
const TRAFFIC: &str = "traffic";
const GROUPS: [&str; 7] = [
    CIRCUIT, UPSTREAM, ORIGIN, PROVIDERS, PROVIDER, CONFIG, TRAFFIC,
];
/// Beyond these, two become one: a week at the shortest interval has more than a picture shows.
const RISES_MAX: usize = 100_000;
const SERIES_MAX: usize = 96;
const RESTARTS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    fn seen(answers: &[serde_json::Value]) -> Counters {
        let mut counters = Counters::default();
        for (i, answer) in answers.iter().enumerate() {
            let metrics = serde_json::from_value(answer.clone()).unwrap();
            counters.see(i as u64 * 1000, &metrics);
        }
        counters
    }

    #[test]
    fn what_was_counted_before_the_recording_is_not_a_rise() {
        let counters = seen(&[
            json!({"metrics": {"vpsProxyCircuitOpens": 7}, "failureCauses": {"upstream": {"timeout": 9}}}),
            json!({"metrics": {"vpsProxyCircuitOpens": 9}, "failureCauses": {"upstream": {"timeout": 9, "network_error": 2}}}),
        ]);
        assert_eq!(counters.get(CIRCUIT, OPENS).unwrap().rose, 2);
        assert_eq!(counters.get(UPSTREAM, "timeout").unwrap().rose, 0);
        assert_eq!(counters.get(UPSTREAM, "network_error").unwrap().rose, 2);
        assert!(counters.restarts.is_empty());
        assert!(
            counters.get(CONFIG, "kvFailures").is_none(),
            "not told is not zero"
        );
    }

    #[test]
    fn a_fall_is_a_restart_and_what_rose_since_counts() {
        let counters = seen(&[
            json!({"metrics": {"requests": 100, "vpsProxyCircuitRejects": 0}}),
            json!({"metrics": {"requests": 5, "vpsProxyCircuitRejects": 3}}),
            json!({"metrics": {"requests": 6, "vpsProxyCircuitRejects": 3}}),
        ]);
        assert_eq!(counters.restarts, [1000]);
        assert_eq!(counters.get(CIRCUIT, REJECTS).unwrap().rose, 3);
        assert_eq!(counters.get(TRAFFIC, "requests").unwrap().rose, 6);
    }

    #[test]
    fn a_service_that_invents_causes_does_not_fill_the_memory() {
        let answers: Vec<_> = (0..500)
            .map(|i| json!({"metrics": {}, "failureCauses": {"upstream": {format!("c{i}"): 1}}}))
            .collect();
        assert!(seen(&answers).series.len() <= SERIES_MAX);
    }
}
