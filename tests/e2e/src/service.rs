//! The whole service in processes of its own: an edge, some origins, Postgres and Redis.

use std::net::SocketAddr;

use crate::process::Part;
use crate::servers::{Postgres, Redis};

/// Edge and origins on one Postgres and one Redis.
#[derive(Debug)]
pub struct Service {
    /// Where the records are.
    pub postgres: Postgres,
    /// Where used tickets and announcements are.
    pub redis: Redis,
    /// Each in a process of its own.
    pub origins: Vec<Part>,
    /// In front of them.
    pub edge: Part,
}

impl Service {
    /// Starts it with so many origins; `way` is where the edge finds one that listens at a URL (itself, or
    /// a proxy before it).
    pub async fn start(origins: usize, mut way: impl AsyncFnMut(&str) -> String) -> Self {
        let (postgres, redis) = tokio::join!(Postgres::start(CONNECTIONS_MAX), Redis::start());
        let mut parts = Vec::new();
        let mut args: Vec<String> = ["--role", "edge"].map(str::to_owned).into();
        for _ in 0..origins {
            let origin = Self::origin(&postgres, &redis).await;
            let url = way(origin.url("origin")).await;
            args.extend(["--origin-url".to_owned(), url]);
            parts.push(origin);
        }
        args.extend(settings().map(str::to_owned));
        let edge = Part::start(args).await;
        Self {
            postgres,
            redis,
            origins: parts,
            edge,
        }
    }

    /// One more origin of the same service.
    pub async fn origin(postgres: &Postgres, redis: &Redis) -> Part {
        let mut args: Vec<String> = ["--role", "origin"].map(str::to_owned).into();
        args.extend(["--database".to_owned(), postgres.url()]);
        args.extend(["--redis".to_owned(), redis.url()]);
        args.extend(["--set", "ticket_secret=shared-by-all-origins"].map(str::to_owned));
        args.extend(settings().map(str::to_owned));
        Part::start(args).await
    }

    /// What an origin says of itself at `/ready`, whatever the status.
    pub async fn ready(&self, origin: usize) -> String {
        fetch(self.origins[origin].url("origin"), "/ready").await
    }

    /// How many streams are open at an origin, as its `/metrics` say.
    pub async fn streams_open(&self, origin: usize) -> u64 {
        let text = fetch(self.origins[origin].url("origin"), "/metrics").await;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("stack_streams_open "));
        line.and_then(|number| number.trim().parse().ok())
            .unwrap_or(0)
    }

    /// How many requests the edge has counted since its start.
    pub async fn edge_requests(&self) -> u64 {
        let text = fetch(self.edge.url("edge"), "/api/v1/metrics").await;
        let metrics: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        metrics["metrics"]["requests"].as_u64().unwrap_or(0)
    }

    /// Where clients go.
    #[must_use]
    pub fn url(&self) -> String {
        self.edge.url("edge").to_owned()
    }
}

/// The body of an answer, asked for in the simplest way: what is asked here has to work without the SDK.
///
/// # Panics
///
/// When nothing comes within 10 s.
async fn fetch(url: &str, path: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let asking = async {
        let host = url.trim_start_matches("http://");
        let mut stream = tokio::net::TcpStream::connect(host).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(std::time::Duration::from_secs(10), asking).await;
    match answer {
        Ok(Ok(answer)) => {
            let body = answer
                .split_once("\r\n\r\n")
                .map(|(_, body)| body.to_owned());
            body.unwrap_or_default()
        }
        other => panic!("{url}{path}: {other:?}"),
    }
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
fn settings() -> impl Iterator<Item = &'static str> + use<> {
    [
        "circuit_open_ms=3000",
        "heartbeat_ms=2000",
        "proxy_timeout_ms=3000",
        "rate_limit_requests=100000",
        "open_tokens=true",
    ]
    .into_iter()
    .flat_map(|pair| ["--set", pair])
}

const CONNECTIONS_MAX: u32 = 40;
