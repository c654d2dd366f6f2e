//! The runbook's exit criteria, each with its evidence.

use std::time::Duration;

use evenkeel::SyncState;
use serde::Serialize;
use tokio::time::sleep;

use super::Client;
use crate::exit::Failed;
use crate::probe::{Counted, Health, Probe, Target, Tls, Trouble};

/// One criterion, and what was seen.
#[derive(Debug, Serialize)]
pub(crate) struct Criterion {
    pub(crate) id: &'static str,
    #[serde(serialize_with = "as_state", rename = "state")]
    pub(crate) pass: bool,
    pub(crate) evidence: String,
}

/// Looks at the service from outside.
#[derive(Debug)]
pub(crate) struct Looking {
    probe: Probe,
}

impl Looking {
    pub(crate) fn at(edge: &str, origin: &str) -> Result<Self, Failed> {
        let probe = Probe {
            tls: Tls::trusting(None)?,
            edge: Some(Target::edge(edge)?),
            origin: Some(Target::origin(origin)?),
            token: None,
            device: uuid::Uuid::new_v4().to_string(),
        };
        Ok(Self { probe })
    }

    pub(crate) async fn circuit_opened(&self) -> bool {
        self.metrics().await.is_ok_and(|counted| {
            counted.metrics.metrics.vps_proxy_circuit_opens > 0
                && counted.circuit_open() == Some(true)
        })
    }

    /// Watches for the whole window and judges.
    pub(crate) async fn criteria(&self, clients: &[Client], window: Duration) -> [Criterion; 3] {
        let before = self.metrics().await;
        let mut strayed = None;
        let rounds = 10;
        for _ in 0..rounds {
            sleep(window / rounds).await;
            strayed = strayed.or_else(|| {
                clients.iter().find_map(|client| {
                    let state = client.sync.status().state;
                    (state == SyncState::Degraded).then_some(client.name)
                })
            });
        }
        let after = self.metrics().await;
        [
            self.ready().await,
            circuit(before, after, window),
            back(clients, strayed, window),
        ]
    }

    async fn ready(&self) -> Criterion {
        let (pass, evidence) = match self.probe.ready().await {
            Some((Ok(seen), _)) => {
                let mut parts = seen.dependencies().into_iter();
                let healthy = parts.all(|(_, health)| health == Health::Well);
                (seen.is_ready() && healthy, seen.words())
            }
            Some((Err(trouble), _)) => (false, format!("GET /ready: {trouble}")),
            None => (false, "nobody said where the origin is".to_owned()),
        };
        Criterion {
            id: "ready",
            pass,
            evidence,
        }
    }

    async fn metrics(&self) -> Result<Counted, Trouble> {
        let asked = self.probe.metrics().await;
        asked.unwrap_or_else(|| Err(Trouble::not_the_service("nobody said where the edge is")))
    }
}

fn circuit(
    before: Result<Counted, Trouble>,
    after: Result<Counted, Trouble>,
    window: Duration,
) -> Criterion {
    let (pass, evidence) = match (before, after) {
        (Ok(before), Ok(after)) => {
            let (was, is) = (&before.metrics.metrics, &after.metrics.metrics);
            let still = was.vps_proxy_circuit_opens == is.vps_proxy_circuit_opens
                && was.vps_proxy_circuit_rejects == is.vps_proxy_circuit_rejects;
            let open = after.circuit_open() == Some(true);
            let evidence = format!(
                "opened {} times, rejected {} requests; {} in the last {window:?}, circuit {}",
                is.vps_proxy_circuit_opens,
                is.vps_proxy_circuit_rejects,
                if still { "no more" } else { "STILL RISING" },
                if open { "OPEN" } else { "closed" },
            );
            (still && !open, evidence)
        }
        (Err(why), _) | (_, Err(why)) => (false, format!("GET /api/v1/metrics: {why}")),
    };
    Criterion {
        id: "circuit",
        pass,
        evidence,
    }
}

fn back(clients: &[Client], strayed: Option<&str>, window: Duration) -> Criterion {
    let states: Vec<_> = clients
        .iter()
        .map(|client| format!("{} {}", client.name, client.sync.status().state))
        .collect();
    let now = clients
        .iter()
        .all(|client| client.sync.status().state != SyncState::Degraded);
    let mut evidence = states.join(", ");
    match strayed {
        Some(name) => evidence.push_str(&format!("; {name} was degraded in the last {window:?}")),
        None => evidence.push_str(&format!("; none was degraded in the last {window:?}")),
    }
    Criterion {
        id: "client",
        pass: now && strayed.is_none(),
        evidence,
    }
}

fn as_state<S: serde::Serializer>(pass: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *pass { "pass" } else { "fail" })
}
