//! The whole service in processes of its own: an edge, some origins, Postgres and Redis.

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

    /// Where clients go.
    #[must_use]
    pub fn url(&self) -> String {
        self.edge.url("edge").to_owned()
    }
}

/// Windows are short, so that a scenario takes seconds; the rules are the contract's.
fn settings() -> impl Iterator<Item = &'static str> + use<> {
    [
        "circuit_open_ms=3000",
        "heartbeat_ms=2000",
        "proxy_timeout_ms=3000",
        "rate_limit_requests=100000",
    ]
    .into_iter()
    .flat_map(|pair| ["--set", pair])
}

const CONNECTIONS_MAX: u32 = 40;
