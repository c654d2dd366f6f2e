//! Why a request that the app made was not answered as wanted.

use evenkeel::Failure;

use crate::names::{Cause, Layer};
use crate::runtime::Broken;
use crate::status::ms;

/// One failure of the service, or on the way there.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct FailureInfo {
    /// Why.
    pub cause: Cause,
    /// Whose fault.
    pub layer: Layer,
    /// The answer's HTTP status, where there was an answer.
    pub http_status: Option<u16>,
    /// The service's own code.
    pub code: Option<String>,
    /// How long the service asked to be left alone.
    pub retry_after_ms: Option<i64>,
    /// For people: one line without secrets.
    pub text: String,
}

impl From<Failure> for FailureInfo {
    fn from(failure: Failure) -> Self {
        Self {
            cause: failure.cause.into(),
            layer: failure.layer.into(),
            http_status: failure.http_status,
            code: failure.code,
            retry_after_ms: failure.retry_after.map(ms),
            text: failure.message,
        }
    }
}

/// A request that the app made was not answered as wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi::export(Display)]
pub enum RequestError {
    /// The client is suspended: nothing was sent. Resume it first.
    #[error("the client is suspended")]
    Suspended,
    /// The service asked to be left alone: nothing was sent. Ask again after that time.
    #[error("the service asked to be left alone for another {wait_ms} ms")]
    Held {
        /// How long from now.
        wait_ms: i64,
    },
    /// The service refused, or could not be reached. See the cause.
    #[error("{}", failure.text)]
    Failed {
        /// What went wrong.
        failure: FailureInfo,
    },
    /// The app cancelled the call. The service may have done it.
    #[error("cancelled")]
    Cancelled,
    /// The client was closed. Open another one.
    #[error("the client is closed")]
    Closed,
    /// A fault in this library. Report it.
    #[error("{reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl From<evenkeel::RequestError> for RequestError {
    fn from(error: evenkeel::RequestError) -> Self {
        use evenkeel::RequestError as From;
        match error {
            From::Suspended => Self::Suspended,
            From::Held { wait } => Self::Held { wait_ms: ms(wait) },
            From::Failed(failure) => Self::Failed {
                failure: failure.into(),
            },
            other => Self::internal(other.to_string()),
        }
    }
}

/// A call for AI came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi::export(Display)]
pub enum AiError {
    /// No provider is connected, or it does not take its key any more. Ask the user for one, and connect.
    #[error("no AI provider is connected")]
    NotConnected,
    /// An earlier failure has to be waited out for longer than the call may take: nothing was sent. Ask
    /// again after that time.
    #[error("AI is to be left alone for another {wait_ms} ms")]
    Held {
        /// How long from now.
        wait_ms: i64,
        /// What that failure was.
        cause: Cause,
    },
    /// The service or its provider refused, failed, or could not be reached. See the cause.
    #[error("{}", failure.text)]
    Failed {
        /// The last failure.
        failure: FailureInfo,
        /// How many requests were sent.
        attempts: u32,
    },
    /// The app cancelled the call.
    #[error("cancelled")]
    Cancelled,
    /// The client was closed. Open another one.
    #[error("the client is closed")]
    Closed,
    /// A fault in this library. Report it.
    #[error("{reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl From<evenkeel::AiError> for AiError {
    fn from(error: evenkeel::AiError) -> Self {
        use evenkeel::AiError as From;
        match error {
            From::NotConnected => Self::NotConnected,
            From::Held { wait, cause } => Self::Held {
                wait_ms: ms(wait),
                cause: cause.into(),
            },
            From::Failed { failure, attempts } => Self::Failed {
                failure: failure.into(),
                attempts,
            },
            other => Self::internal(other.to_string()),
        }
    }
}
