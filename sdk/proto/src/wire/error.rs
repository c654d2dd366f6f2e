//! The bodies of refusals: the service's envelope, and the plain one of some builds.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::lenient;

/// A refusal's body. Each field is read by itself: a strange one never hides the others.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum ErrorEnvelope {
    /// `{"error":{"code",…}}`: the contract's form.
    Service {
        /// What happened.
        error: ServiceError,
    },
    /// `{"statusCode","error":"…","message"}`: the form of the origin's framework.
    Plain(PlainError),
}

/// The service's own account of a failure.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceError {
    /// What kind, in capitals (`SERVICE_UNAVAILABLE`).
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub code: Option<String>,
    /// For people.
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub message: Option<String>,
    /// Whether the service thinks that trying again can help.
    #[serde(
        default,
        deserialize_with = "lenient::flag",
        skip_serializing_if = "Option::is_none"
    )]
    pub retryable: Option<bool>,
    /// Why, in snake case (`circuit_open`).
    #[serde(
        default,
        deserialize_with = "lenient::text",
        skip_serializing_if = "Option::is_none"
    )]
    pub cause: Option<String>,
    /// Not before this many milliseconds have passed.
    #[serde(
        default,
        with = "lenient::hint",
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_after_ms: Option<f64>,
    /// Not before this many seconds have passed.
    #[serde(
        default,
        with = "lenient::hint",
        skip_serializing_if = "Option::is_none"
    )]
    pub retry_after_seconds: Option<f64>,
}

/// What a framework says when nobody told it the contract's form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlainError {
    /// The status, once more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_code: Option<u16>,
    /// The framework's own code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The status in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl ErrorEnvelope {
    /// The contract's form with the fields that are always there.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>, retryable: bool) -> Self {
        Self::Service {
            error: ServiceError {
                code: Some(code.to_owned()),
                message: Some(message.into()),
                retryable: Some(retryable),
                ..ServiceError::default()
            },
        }
    }

    /// The service's or the framework's code.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Service { error } => error.code.as_deref(),
            Self::Plain(plain) => plain.code.as_deref(),
        }
    }

    /// The text for people.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Service { error } => error.message.as_deref(),
            Self::Plain(plain) => plain.message.as_deref().or(plain.error.as_deref()),
        }
    }
}

impl<'de> Deserialize<'de> for ErrorEnvelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Raw::deserialize(deserializer)?;
        Ok(match raw.error {
            Some(error @ Value::Object(_)) => Self::Service {
                error: serde_json::from_value(error).map_err(serde::de::Error::custom)?,
            },
            error => Self::Plain(PlainError {
                status_code: raw
                    .status_code
                    .filter(|n| (100.0..1000.0).contains(n))
                    .map(|n| n as u16),
                code: raw.code,
                error: error.as_ref().and_then(Value::as_str).map(str::to_owned),
                message: raw.message,
            }),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default, deserialize_with = "lenient::number")]
    status_code: Option<f64>,
    #[serde(default, deserialize_with = "lenient::text")]
    code: Option<String>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default, deserialize_with = "lenient::text")]
    message: Option<String>,
}
