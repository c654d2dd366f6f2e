//! The runbook's exit criteria, each with its evidence.

use std::time::Duration;

use evenkeel::SyncState;
use evenkeel_proto::wire::{EdgeMetrics, Ready};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use super::Client;

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
pub(crate) struct Probe {
    http: reqwest::Client,
    ready: String,
    metrics: String,
}

impl Probe {
    pub(crate) fn new(edge: &str, origin: &str) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(5));
        Ok(Self {
            http: http.build()?,
            ready: format!("{origin}/ready"),
            metrics: format!("{edge}/api/v1/metrics"),
        })
    }

    pub(crate) async fn circuit_opened(&self) -> bool {
        self.metrics().await.is_ok_and(|(_, metrics)| {
            metrics.metrics.vps_proxy_circuit_opens > 0
                && metrics
                    .vps_proxy_circuit
                    .is_some_and(|circuit| circuit.open)
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
        let (pass, evidence) = match self.get::<Ready>(&self.ready).await {
            Ok((status, ready)) => {
                let parts = &ready.dependencies;
                let database = parts.database.as_ref().is_some_and(|d| d.ok);
                let redis = parts.redis.as_ref().is_some_and(|r| r.ok && !r.degraded);
                let realtime = parts.realtime.as_ref().is_some_and(|r| !r.degraded);
                let tickets = parts.stream_ticket.as_ref().is_none_or(|t| !t.degraded);
                let mut words = format!("GET /ready answers {status}");
                for (name, ok) in [
                    ("database", database),
                    ("redis", redis),
                    ("realtime", realtime),
                    ("streamTicket", tickets),
                ] {
                    words.push_str(if ok { ", " } else { ", NOT " });
                    words.push_str(name);
                }
                let healthy = database && redis && realtime && tickets;
                (status == 200 && ready.ok && healthy, words + " healthy")
            }
            Err(why) => (false, format!("GET /ready: {why}")),
        };
        Criterion {
            id: "ready",
            pass,
            evidence,
        }
    }

    async fn metrics(&self) -> Result<(u16, EdgeMetrics), String> {
        self.get(&self.metrics).await
    }

    async fn get<T: DeserializeOwned>(&self, url: &str) -> Result<(u16, T), String> {
        let answer = self.http.get(url).send().await;
        let answer = answer.map_err(|e| e.without_url().to_string())?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|e| e.to_string())?;
        let value = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
        Ok((status, value))
    }
}

fn circuit(
    before: Result<(u16, EdgeMetrics), String>,
    after: Result<(u16, EdgeMetrics), String>,
    window: Duration,
) -> Criterion {
    let (pass, evidence) = match (before, after) {
        (Ok((_, before)), Ok((_, after))) => {
            let (was, is) = (&before.metrics, &after.metrics);
            let still = was.vps_proxy_circuit_opens == is.vps_proxy_circuit_opens
                && was.vps_proxy_circuit_rejects == is.vps_proxy_circuit_rejects;
            let open = after.vps_proxy_circuit.is_some_and(|circuit| circuit.open);
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
