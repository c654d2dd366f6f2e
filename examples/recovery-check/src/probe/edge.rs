//! The edge: its counters, and a call through it.

use std::time::Duration;

use evenkeel_proto::wire::{Cursor, EdgeMetrics, PullPage, path};
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::{Answer, Kind, Phase, Probe, Refusal, Request, Target, Trouble, Way};

/// The edge's counters as they were told.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    pub(crate) metrics: EdgeMetrics,
}

/// What became of a call through the edge.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Proxied {
    /// The origin answered below 300, as the service does.
    Worked,
    Refused(Refusal),
}

impl Probe {
    /// `None` when nobody said where the edge is.
    pub(crate) async fn metrics(&self) -> Option<Result<Counted, Trouble>> {
        let edge = self.edge.as_ref()?;
        let request = Request::get(path::EDGE_METRICS).within(METRICS_TIME_MAX);
        let answer = request
            .send(edge, &self.tls, METRICS_BYTES_MAX, &mut Way::default())
            .await;
        Some(answer.and_then(|answer| Counted::read(&answer)))
    }

    /// A page of changes from `cursor` on, through the edge to the origin; only its beginning is read.
    pub(crate) async fn proxied(&self, cursor: Cursor) -> Option<(Result<Proxied, Trouble>, Way)> {
        let edge = self.edge.as_ref()?;
        let mut way = Way::default();
        let outcome = self.pull(edge, cursor, &mut way).await;
        Some((outcome, way))
    }

    async fn pull(&self, edge: &Target, cursor: Cursor, way: &mut Way) -> Result<Proxied, Trouble> {
        let request = Request::get(format!("{}?cursor={cursor}", path::PULL)).of(self);
        let request = request.within(PROXIED_TIME_MAX);
        let answer = request.send(edge, &self.tls, PULL_BYTES_MAX, way).await?;
        Proxied::read(&answer)
    }
}

impl Counted {
    fn read(answer: &Answer) -> Result<Self, Trouble> {
        if answer.status == 404 {
            let message = "404: the counters are told to callers on the edge's own machine only";
            return Err(Trouble::new(Phase::Http, Kind::NotTold, message));
        }
        let value = answer.json()?;
        // Every counter has a default, so that any object would read as zeroes.
        if answer.status != 200 || !value.get("metrics").is_some_and(Value::is_object) {
            let message = format!("{} with JSON that is not the counters'", answer.status);
            return Err(Trouble::not_the_service(message));
        }
        let metrics = serde_json::from_value(value)
            .map_err(|e| Trouble::not_the_service(format!("unreadable: {e}")))?;
        Ok(Self { metrics })
    }

    /// Failures of the origin by cause; a build without the causes tells none.
    pub(crate) fn upstream(&self, cause: &str) -> u64 {
        let causes = self.metrics.failure_causes.as_ref();
        causes
            .and_then(|c| c.upstream.get(cause).copied())
            .unwrap_or(0)
    }

    /// Failures of the AI provider by cause.
    pub(crate) fn provider(&self, cause: &str) -> u64 {
        let causes = self.metrics.failure_causes.as_ref();
        causes
            .and_then(|c| c.provider.get(cause).copied())
            .unwrap_or(0)
    }

    pub(crate) fn circuit_open(&self) -> Option<bool> {
        Some(self.metrics.vps_proxy_circuit.as_ref()?.open)
    }

    /// Whether these are younger than a restart that lies between: some counter has fallen.
    pub(crate) fn restarted_since(&self, before: &Self) -> bool {
        fn totals(value: &EdgeMetrics) -> Vec<(String, u64)> {
            let mut found = Vec::new();
            let tree = serde_json::to_value(value).unwrap_or_default();
            for part in ["metrics", "failureCauses", "reliability"] {
                flatten(part, tree.get(part).unwrap_or(&Value::Null), &mut found);
            }
            found
        }
        let now = totals(&self.metrics);
        totals(&before.metrics).iter().any(|(name, was)| {
            let is = now.iter().find(|(n, _)| n == name).map_or(0, |(_, n)| *n);
            is < *was
        })
    }
}

fn flatten(name: &str, value: &Value, into: &mut Vec<(String, u64)>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                flatten(&format!("{name}.{field}"), value, into);
            }
        }
        other => into.extend(other.as_u64().map(|n| (name.to_owned(), n))),
    }
}

impl Proxied {
    fn read(answer: &Answer) -> Result<Self, Trouble> {
        let status = answer.status;
        if (200..300).contains(&status) {
            return match reads_as_page(answer) {
                true => Ok(Self::Worked),
                false => Err(Trouble::not_the_service(answer.unreadable())),
            };
        }
        Refusal::read(answer).map(Self::Refused)
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Worked => None,
        }
    }

    pub(crate) fn words(&self) -> String {
        match self {
            Self::Worked => "a pull through the edge works".to_owned(),
            Self::Refused(refusal) => format!("a pull through the edge is answered {refusal}"),
        }
    }
}

/// A whole page is read; of a larger one the beginning has to do.
fn reads_as_page(answer: &Answer) -> bool {
    if answer.whole {
        return serde_json::from_slice::<PullPage>(&answer.body).is_ok();
    }
    let kind = answer.header(&CONTENT_TYPE).unwrap_or_default();
    kind.starts_with("application/json") && answer.body.trim_ascii_start().starts_with(b"{")
}

const METRICS_BYTES_MAX: usize = 256 * 1024;
const METRICS_TIME_MAX: Duration = Duration::from_secs(5);
const PULL_BYTES_MAX: usize = 256 * 1024;
/// The edge's own timeout, twice, and its pause, at the contract's defaults.
const PROXIED_TIME_MAX: Duration = Duration::from_secs(16);
