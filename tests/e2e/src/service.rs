//! The whole service in processes of its own: an edge, some origins, Postgres and Redis.

use std::net::SocketAddr;
use std::path::Path;

use crate::process::{StackProcess, ask};
use crate::servers::{Postgres, Redis};

/// Edge and origins on one Postgres and one Redis.
#[derive(Debug)]
pub struct Service {
    /// Where the records are.
    pub postgres: Postgres,
    /// Where used tickets and announcements are.
    pub redis: Redis,
    /// Each in a process of its own.
    pub origins: Vec<StackProcess>,
    /// In front of them.
    pub edge: StackProcess,
}

impl Service {
    /// Starts it with so many origins; `way` is where the edge finds one that listens at a URL (itself, or
    /// a proxy before it).
    pub async fn start(origins: usize, way: impl AsyncFnMut(&str) -> String) -> Self {
        Self::start_with(origins, way, &[], &[]).await
    }

    /// One origin behind an edge that speaks TLS under an authority of its own, whose files are in `folder`.
    pub async fn start_over_tls(folder: &Path) -> Self {
        let folder = folder.to_string_lossy();
        let (edge, origin) = (["--tls-dir", &folder], ["--set", "cookie_secure=true"]);
        Self::start_with(1, async |url| url.to_owned(), &edge, &origin).await
    }

    async fn start_with(
        origins: usize,
        mut way: impl AsyncFnMut(&str) -> String,
        edge_args: &[&str],
        origin_args: &[&str],
    ) -> Self {
        let (postgres, redis) = tokio::join!(Postgres::start(CONNECTIONS_MAX), Redis::start());
        let mut parts = Vec::new();
        let mut urls = Vec::new();
        for _ in 0..origins {
            let origin = origin(&postgres, &redis, origin_args).await;
            urls.push(way(origin.said("origin")).await);
            parts.push(origin);
        }
        let mut args = vec!["--role", "edge"];
        args.extend(urls.iter().flat_map(|url| ["--origin-url", url]));
        args.extend(settings());
        args.extend(edge_args);
        let edge = StackProcess::start(&args).await;
        Self {
            postgres,
            redis,
            origins: parts,
            edge,
        }
    }

    /// What an origin says of itself at `/ready`, whatever the status.
    pub async fn ready(&self, origin: usize) -> String {
        let url = self.origins[origin].said("origin");
        ask(url, "GET", "/ready", "").await.1
    }

    /// How many streams are open at an origin, as its `/metrics` say.
    pub async fn streams_open(&self, origin: usize) -> u64 {
        let url = self.origins[origin].said("origin");
        let text = ask(url, "GET", "/metrics", "").await.1;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("stack_streams_open "));
        line.and_then(|number| number.trim().parse().ok())
            .unwrap_or(0)
    }

    /// How many requests the edge has counted since its start.
    pub async fn edge_requests(&self) -> u64 {
        let text = ask(&self.url(), "GET", "/api/v1/metrics", "").await.1;
        let metrics: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        metrics["metrics"]["requests"].as_u64().unwrap_or(0)
    }

    /// Where clients go.
    #[must_use]
    pub fn url(&self) -> String {
        self.edge.said("edge").to_owned()
    }
}

async fn origin(postgres: &Postgres, redis: &Redis, more: &[&str]) -> StackProcess {
    let (postgres, redis) = (postgres.url(), redis.url());
    let mut args = vec![
        "--role",
        "origin",
        "--database",
        &postgres,
        "--redis",
        &redis,
    ];
    args.extend(["--set", "ticket_secret=shared-by-all-origins"]);
    args.extend(settings());
    args.extend(more);
    StackProcess::start(&args).await
}

/// The address in a URL of this service.
///
/// # Panics
///
/// When there is none in it.
#[must_use]
pub fn address(url: &str) -> SocketAddr {
    let host = url.rsplit("//").next().unwrap_or_default();
    host.parse()
        .unwrap_or_else(|_| panic!("no address in {url}"))
}

/// Windows are short, so that a scenario takes seconds; the rules are the contract's.
fn settings() -> Vec<&'static str> {
    [
        "circuit_open_ms=3000",
        "heartbeat_ms=2000",
        "proxy_timeout_ms=3000",
        "rate_limit_requests=100000",
        "open_tokens=true",
    ]
    .iter()
    .flat_map(|pair| ["--set", pair])
    .collect()
}

const CONNECTIONS_MAX: u32 = 40;
