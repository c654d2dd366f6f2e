//! What can be set, with its defaults and what is accepted.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::error::BuildError;

/// Limits on everything that a stranger could make large. Sizes in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Limits {
    /// The largest page of changes that is read. A legal page can hold 50 MB. 64 MiB.
    pub pull_bytes_max: usize,
    /// The largest snapshot that is read; it has no pages. 512 MiB.
    pub snapshot_bytes_max: usize,
    /// The largest answer to a push: conflicts carry the server's records. 64 MiB.
    pub push_answer_bytes_max: usize,
    /// How much of a ticket's answer or of a refusal is read. 64 KiB.
    pub small_bytes_max: usize,
    /// The longest line and the largest event of the stream. 1 MiB.
    pub event_bytes_max: usize,
    /// The largest batch that is pushed; the edge takes 512 KiB unless it was told otherwise. 448 KiB.
    pub push_bytes_max: usize,
    /// How many changes wait for a reader of [`changes`](crate::SyncClient::changes) before it lags.
    /// 1,024.
    pub changes_waiting_max: usize,
    /// Requests a minute, never exceeded in the long run. The origin allows 180. 80.
    pub requests_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pull_bytes_max: 64 << 20,
            snapshot_bytes_max: 512 << 20,
            push_answer_bytes_max: 64 << 20,
            small_bytes_max: 64 << 10,
            event_bytes_max: 1 << 20,
            push_bytes_max: 448 << 10,
            changes_waiting_max: 1024,
            requests_per_minute: 80,
        }
    }
}

/// How long things may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Timeouts {
    /// To a connection, TLS included. 10 s.
    #[serde(rename = "connect_ms", serialize_with = "as_millis")]
    pub connect: Duration,
    /// From a ticket's or stream's request to its headers. 15 s.
    #[serde(rename = "stream_headers_ms", serialize_with = "as_millis")]
    pub stream_headers: Duration,
    /// From a pull's, snapshot's or push's request to the end of its answer; the edge may try the
    /// origin twice for 30 s. 65 s.
    #[serde(rename = "data_ms", serialize_with = "as_millis")]
    pub data: Duration,
    /// From a stream's headers to its first event. 10 s.
    #[serde(rename = "ready_ms", serialize_with = "as_millis")]
    pub ready: Duration,
    /// A stream is never called silent before this, however fast its heartbeats come. 15 s.
    #[serde(rename = "silence_min_ms", serialize_with = "as_millis")]
    pub silence_min: Duration,
    /// The pace of what is tried without much prospect: polls come this often while the stream does
    /// not work, the stream itself is tried half as often. 30 s.
    #[serde(rename = "poll_every_ms", serialize_with = "as_millis")]
    pub poll_every: Duration,
    /// For one answer of the token provider. 20 s.
    #[serde(rename = "token_ms", serialize_with = "as_millis")]
    pub token: Duration,
    /// For one call of the AI client, its waits and repeats included. 60 s.
    #[serde(rename = "ai_ms", serialize_with = "as_millis")]
    pub ai: Duration,
    /// How long `syncing` must last before it is published after `synced`. 300 ms.
    #[serde(rename = "quiet_ms", serialize_with = "as_millis")]
    pub quiet: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            stream_headers: Duration::from_secs(15),
            data: Duration::from_secs(65),
            ready: Duration::from_secs(10),
            silence_min: Duration::from_secs(15),
            poll_every: Duration::from_secs(30),
            token: Duration::from_secs(20),
            ai: Duration::from_secs(60),
            quiet: Duration::from_millis(300),
        }
    }
}

/// How the ticket travels from the ticket's answer to the stream's request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TicketCarrier {
    /// As the service hands it out: a cookie if it sets one, else a query parameter.
    #[default]
    Auto,
    /// Only as a cookie.
    Cookie,
    /// Only as a query parameter; be aware that proxies log those.
    Query,
}

/// Which way requests go.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxySetting {
    /// As `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say; never for a service on loopback.
    #[default]
    Environment,
    /// Directly.
    None,
    /// Through this HTTP proxy: `http://host:port`, credentials may be in it.
    Url(String),
}

/// Credentials can be in a proxy's URL.
impl std::fmt::Debug for ProxySetting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ProxySetting {
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Environment => "environment",
            Self::None => "none",
            Self::Url(_) => "url",
        }
    }
}

impl Limits {
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        const GIB: usize = 1 << 30;
        let sizes = [
            ("pull_bytes_max", self.pull_bytes_max, 1 << 10, 2 * GIB - 1),
            (
                "snapshot_bytes_max",
                self.snapshot_bytes_max,
                1 << 10,
                2 * GIB - 1,
            ),
            (
                "push_answer_bytes_max",
                self.push_answer_bytes_max,
                1 << 10,
                2 * GIB - 1,
            ),
            ("small_bytes_max", self.small_bytes_max, 1 << 10, 16 << 20),
            ("event_bytes_max", self.event_bytes_max, 1 << 10, 64 << 20),
            ("push_bytes_max", self.push_bytes_max, 16 << 10, 10 << 20),
            ("changes_waiting_max", self.changes_waiting_max, 1, 1 << 20),
            (
                "requests_per_minute",
                self.requests_per_minute as usize,
                6,
                180,
            ),
        ];
        for (name, value, min, max) in sizes {
            within(name, value, min, max)?;
        }
        Ok(())
    }
}

impl Timeouts {
    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let spans = [
            ("connect", self.connect, 10, 120_000),
            ("stream_headers", self.stream_headers, 10, 120_000),
            ("data", self.data, 10, 3_600_000),
            ("ready", self.ready, 10, 120_000),
            ("silence_min", self.silence_min, 10, 120_000),
            ("poll_every", self.poll_every, 100, 3_600_000),
            ("token", self.token, 10, 30_000),
            ("ai", self.ai, 10, 3_600_000),
            ("quiet", self.quiet, 0, 10_000),
        ];
        for (name, value, min, max) in spans {
            within(name, value.as_millis(), min, max)?;
        }
        Ok(())
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    name: &'static str,
    value: T,
    min: T,
    max: T,
) -> Result<(), BuildError> {
    if value >= min && value <= max {
        return Ok(());
    }
    Err(BuildError::Setting {
        name,
        reason: format!("{value} is not within {min} to {max}"),
    })
}

fn as_millis<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted_and_nonsense_is_named() {
        Limits::default().check().unwrap();
        Timeouts::default().check().unwrap();
        let limits = Limits {
            requests_per_minute: 0,
            ..Limits::default()
        };
        let error = limits.check().unwrap_err();
        assert!(error.to_string().contains("requests_per_minute"), "{error}");
        let timeouts = Timeouts {
            data: Duration::ZERO,
            ..Timeouts::default()
        };
        let error = timeouts.check().unwrap_err();
        assert!(error.to_string().contains("data"), "{error}");
    }

    #[test]
    fn a_proxys_credentials_are_not_shown() {
        let proxy = ProxySetting::Url("http://me:pw@proxy:8080".into());
        assert!(!format!("{proxy:?}").contains("pw"));
    }
}
