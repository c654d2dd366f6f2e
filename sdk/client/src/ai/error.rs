//! Why a call for AI came to nothing.

use std::time::Duration;

use evenkeel_proto::{Cause, Failure};

/// A call for AI came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AiError {
    /// This future runs in no tokio runtime. Await it in one.
    #[error("not within a tokio runtime")]
    NoRuntime,
    /// No provider is connected, or the service cannot use its session any more, or the provider does
    /// not take its key. [`connect`](crate::AiClient::connect).
    #[error("no AI provider is connected")]
    NotConnected,
    /// An earlier failure has to be waited out for longer than the deadline: nothing was sent. Ask
    /// again after that time.
    #[error("AI is to be left alone for another {} s: {cause}", wait.as_secs() + 1)]
    Held {
        /// How long from now.
        wait: Duration,
        /// What that failure was.
        cause: Cause,
    },
    /// The service or its provider refused, failed, or could not be reached; the last failure of so
    /// many attempts.
    #[error("{failure} (attempts: {attempts})")]
    Failed {
        /// What went wrong.
        #[source]
        failure: Failure,
        /// How many requests were sent.
        attempts: u32,
    },
}
