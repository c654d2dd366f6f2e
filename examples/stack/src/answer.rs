//! How both parts say no.

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use evenkeel_proto::wire::{ErrorEnvelope, PlainError, ServiceError};
use http::header::{CONTENT_TYPE, DATE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::clock::Clock;
use crate::faults::Faults;
use crate::requests::Verdict;

/// A refusal, before it is put on the wire.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    cause: Option<&'static str>,
    message: String,
    retryable: bool,
    retry_after: Option<Duration>,
    plain: bool,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            cause: None,
            message: message.into(),
            retryable: false,
            retry_after: None,
            plain: false,
            headers: Vec::new(),
        }
    }

    /// The edge's 503, with its cause.
    pub(crate) fn unavailable(cause: &'static str, message: impl Into<String>) -> Self {
        let refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, message);
        refusal.cause(cause).retryable()
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BAD_REQUEST", message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT_FOUND", "there is nothing here")
    }

    pub(crate) fn too_large(bytes_max: u64) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "PAYLOAD_TOO_LARGE",
            format!("the body is larger than {bytes_max} bytes"),
        )
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
    }

    pub(crate) const fn cause(mut self, cause: &'static str) -> Self {
        self.cause = Some(cause);
        self
    }

    pub(crate) const fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }

    pub(crate) const fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// In whole seconds, rounded up: nobody is told to come too early.
    pub(crate) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(round_up(wait));
        self
    }

    /// With the framework's body instead of the contract's envelope.
    pub(crate) const fn plain(mut self) -> Self {
        self.plain = true;
        self
    }

    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<HeaderValue>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(&self) -> ErrorEnvelope {
        if self.plain {
            return ErrorEnvelope::Plain(PlainError {
                status_code: Some(self.status.as_u16()),
                error: self.status.canonical_reason().map(str::to_owned),
                message: Some(self.message.clone()),
                ..PlainError::default()
            });
        }
        ErrorEnvelope::Service {
            error: ServiceError {
                code: Some(self.code.to_owned()),
                message: Some(self.message.clone()),
                retryable: Some(self.retryable),
                cause: self.cause.map(str::to_owned),
                retry_after_ms: self.retry_after.map(|wait| wait.as_secs_f64() * 1_000.0),
                retry_after_seconds: self.retry_after.map(|wait| wait.as_secs_f64()),
            },
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &self.body());
        response.headers_mut().extend(self.headers);
        if let Some(wait) = self.retry_after {
            let seconds = HeaderValue::from(wait.as_secs());
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response.extensions_mut().insert(Verdict {
            code: self.code,
            cause: self.cause,
            retry_after_ms: self
                .retry_after
                .map(|wait| wait.as_secs().saturating_mul(1_000)),
        });
        response
    }
}

/// A JSON answer.
pub(crate) fn json<T: Serialize>(status: StatusCode, body: &T) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => with_type(status, "application/json; charset=utf-8", bytes),
        // Our own types always become JSON; a 500 without a body says that one did not.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// An answer of any other kind.
pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// The last touch to every answer: the clock as the service shows it, and the form of `Retry-After`.
pub(crate) fn finish(response: &mut Response, faults: &Faults, clock: &Clock) {
    let headers = response.headers_mut();
    if let Ok(date) = HeaderValue::try_from(clock.http_date(Duration::ZERO)) {
        headers.insert(DATE, date);
    }
    if !faults.now().retry_after_as_date {
        return;
    }
    let seconds = headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
    let Some(seconds) = seconds.and_then(|text| text.parse().ok()) else {
        return;
    };
    if let Ok(date) = HeaderValue::try_from(clock.http_date(Duration::from_secs(seconds))) {
        headers.insert(RETRY_AFTER, date);
    }
}

pub(crate) fn round_up(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

const UNAVAILABLE: &str = "SERVICE_UNAVAILABLE";
