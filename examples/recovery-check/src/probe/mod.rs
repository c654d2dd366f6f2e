//! Looking at the service from outside: `/ready`, the edge's counters, the way there and a proxied call.
//!
//! Everything here is bounded in time and in bytes, whatever the other side does, and what the other side
//! said is made fit for a terminal before anybody sees it.

mod call;
mod certificate;
mod connect;
mod edge;
mod ready;
mod refusal;
mod server_log;
mod target;
mod text;
mod tls;

use std::time::Duration;

use evenkeel::Secret;
use serde::Serialize;

pub(crate) use call::{Answer, Request, Sent, open};
pub(crate) use certificate::Validity;
pub(crate) use connect::Way;
pub(crate) use edge::{Counted, Proxied};
pub(crate) use ready::{Health, Readiness};
pub(crate) use refusal::Refusal;
pub(crate) use server_log::{RedisLog, read as read_server_log};
pub(crate) use target::Target;
pub(crate) use text::shown;
pub(crate) use tls::Tls;

/// What of a call went wrong, and where.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Trouble {
    pub(crate) phase: Phase,
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

/// The parts of a call, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Dns,
    Connect,
    Tls,
    Http,
    Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// It did not work.
    Failed,
    /// It took too long.
    TimedOut,
    /// The other side's certificate is none that we trust.
    Certificate,
    /// Something answered that is not the service: a page, a redirect, garbage, no end.
    NotTheService,
    /// The service answered with a 5xx of its own.
    ServerError,
    /// It is not told to us (404).
    NotTold,
}

impl Trouble {
    pub(crate) fn new(phase: Phase, kind: Kind, message: impl AsRef<str>) -> Self {
        Self {
            phase,
            kind,
            message: shown(message.as_ref()),
        }
    }

    pub(crate) fn not_the_service(message: impl AsRef<str>) -> Self {
        Self::new(Phase::Body, Kind::NotTheService, message)
    }
}

impl Phase {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Dns => "DNS",
            Self::Connect => "TCP",
            Self::Tls => "TLS",
            Self::Http | Self::Body => "HTTP",
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.phase.name(), self.message)
    }
}

/// Where the service is, and as whom it is asked.
#[derive(Clone, Debug)]
pub(crate) struct Probe {
    pub(crate) tls: Tls,
    pub(crate) edge: Option<Target>,
    pub(crate) origin: Option<Target>,
    pub(crate) token: Option<Secret>,
    pub(crate) device: String,
}

/// A span as milliseconds with one decimal: on loopback whole ones would all be 0.
pub(crate) fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 10_000.0).round() / 10.0
}
