//! A recording: what `record` writes, line by line, and `report` reads back.
//!
//! Every line is one JSON object and can be read without the others, so that a recording which ends in
//! the middle of a line is still one. Nothing in it is secret: no token, no ticket, no cookie, no
//! content of records; of addresses only scheme, host and port.

use std::time::Instant;

use evenkeel::Status;
use evenkeel_proto::wire::{EdgeMetrics, Ready};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::probe::{Kind, Readiness, Trouble};
use crate::status_line::{elapsed_ms, wall_ms};

/// The first line of each run of `record`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Begin {
    /// The format's version; 1.
    pub(crate) v: u32,
    pub(crate) at_ms: u64,
    /// Who wrote it.
    pub(crate) tool: String,
    pub(crate) edge: String,
    pub(crate) origin: Option<String>,
    /// How often it looks, in milliseconds.
    pub(crate) interval_ms: u64,
}

/// One look at the service from outside.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) at_ms: u64,
    pub(crate) elapsed_ms: u64,
    pub(crate) ready: Seen<ReadyAnswer>,
    pub(crate) edge: Seen<EdgeMetrics>,
}

/// What was seen, or why nothing was: unknown is not the same as fine.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Seen<T> {
    Unknown {
        unknown: String,
        /// It was asked, and what came is no answer: that counts against the service, while what
        /// nobody may ask counts for nothing.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failed: bool,
    },
    Known(T),
}

impl<T> Seen<T> {
    pub(crate) fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown {
            unknown: why.into(),
            failed: false,
        }
    }

    /// What a probe brought; `missing` is why it was not sent, if it was not.
    pub(crate) fn of(probed: Option<Result<T, Trouble>>, missing: &str) -> Self {
        match probed {
            None => Self::unknown(missing),
            Some(Ok(value)) => Self::Known(value),
            Some(Err(trouble)) => Self::Unknown {
                failed: trouble.kind != Kind::NotTold,
                unknown: trouble.to_string(),
            },
        }
    }

    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Self::Known(value) => Seen::Known(change(value)),
            Self::Unknown { unknown, failed } => Seen::Unknown { unknown, failed },
        }
    }

    #[cfg(test)]
    pub(crate) fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown { .. } => None,
        }
    }
}

/// The origin's answer to `GET /ready`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ReadyAnswer {
    /// The HTTP status.
    pub(crate) status: u16,
    pub(crate) body: Ready,
}

impl ReadyAnswer {
    /// Keeps what the wire format names and drops the rest: a payload may carry anything, and an error
    /// message a connection string with its password.
    pub(crate) fn new(seen: Readiness) -> Self {
        let mut body = seen.ready;
        body.metrics.clear();
        let parts = &mut body.dependencies;
        if let Some(database) = &mut parts.database {
            database.other.clear();
        }
        if let Some(redis) = &mut parts.redis {
            redis.other.clear();
            redis.last_error_message = redis.last_error_message.take().map(without_secrets);
        }
        if let Some(realtime) = &mut parts.realtime {
            realtime.other.clear();
            realtime.degraded_reason = realtime.degraded_reason.take().map(without_secrets);
        }
        if let Some(tickets) = &mut parts.stream_ticket {
            tickets.other.clear();
        }
        Self {
            status: seen.status,
            body,
        }
    }
}

/// The last line of a run that was ended rather than killed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct End {
    pub(crate) at_ms: u64,
    pub(crate) elapsed_ms: u64,
}

/// A status of the client; the fields of `watch --format jsonl` that a report shows. Names stay text:
/// a recording may come from another version.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct StatusRead {
    pub(crate) at_ms: u64,
    pub(crate) elapsed_ms: u64,
    pub(crate) state: String,
    pub(crate) link: String,
    pub(crate) cause: Option<String>,
    pub(crate) layer: Option<String>,
}

impl StatusRead {
    /// As it would be read back.
    pub(crate) fn of(status: &Status, begun: Instant) -> Self {
        Self {
            at_ms: wall_ms(),
            elapsed_ms: elapsed_ms(begun),
            state: status.state.to_string(),
            link: status.link.to_string(),
            cause: status.cause.map(|cause| cause.to_string()),
            layer: status.layer.map(|layer| layer.to_string()),
        }
    }
}

/// A line as it is read back.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line {
    Begin(Begin),
    Status(StatusRead),
    Sample(Box<Sample>),
    End(End),
    /// Of a later version.
    #[serde(other)]
    Other,
}

/// A line as it is written.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Written<'a> {
    Begin(&'a Begin),
    Sample(&'a Sample),
    End(&'a End),
}

/// Scheme, host and port: what a recording tells of an address.
pub(crate) fn place(url: &str) -> String {
    Url::parse(url).map_or_else(
        |_| "an address that cannot be read".to_owned(),
        |url| url.origin().ascii_serialization(),
    )
}

/// The first words of a message, without what stands before an `@`: there a password may be.
fn without_secrets(message: String) -> String {
    let words = message.split_whitespace().map(|word| {
        word.rsplit_once('@')
            .map_or(word.to_owned(), |(_, host)| format!("…@{host}"))
    });
    let text = words.collect::<Vec<_>>().join(" ");
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}

const MESSAGE_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_may_be_secret_is_not_kept() {
        let body = serde_json::json!({
            "ok": false,
            "metrics": {"token": "s3cret"},
            "dependencies": {
                "database": {"ok": true, "url": "postgres://me:s3cret@db"},
                "redis": {"ok": false, "lastErrorMessage": "connect redis://me:s3cret@redis:6379 refused", "password": "s3cret"},
                "realtime": {"degraded": true, "degradedReason": "redis://:s3cret@redis"},
                "streamTicket": {"secret": "s3cret"},
            },
        });
        let answer = ReadyAnswer::new(Readiness {
            status: 503,
            ready: serde_json::from_value(body).unwrap(),
        });
        let text = serde_json::to_string(&answer).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        assert!(text.contains("connect …@redis:6379 refused"), "{text}");
        assert_eq!(
            place("https://me:pw@example.com:8443/x?token=t"),
            "https://example.com:8443"
        );
        assert_eq!(place("nothing"), "an address that cannot be read");
    }

    #[test]
    fn lines_come_back_and_unknown_ones_are_no_error() {
        let sample = Sample {
            at_ms: 1,
            elapsed_ms: 2,
            ready: Seen::Known(ReadyAnswer {
                status: 200,
                body: Ready::default(),
            }),
            edge: Seen::unknown("nobody answers"),
        };
        let text = serde_json::to_string(&Written::Sample(&sample)).unwrap();
        let Line::Sample(back) = serde_json::from_str(&text).unwrap() else {
            panic!("{text}")
        };
        assert_eq!(back.ready.known().unwrap().status, 200);
        assert!(matches!(back.edge, Seen::Unknown { unknown, .. } if unknown == "nobody answers"));
        let line = serde_json::from_str(r#"{"event":"weather","sun":true}"#).unwrap();
        assert!(matches!(line, Line::Other));
    }
}
