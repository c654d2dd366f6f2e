//! One failure, however it came: from an answer of the service, or from the way there.

use std::time::Duration;

use crate::cause::{Cause, Layer};

/// What went wrong, in the form that the engine and the app's diagnostics use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// Whose fault.
    pub layer: Layer,
    /// The answer's status, where there was an answer.
    pub http_status: Option<u16>,
    /// The service's own code (`SERVICE_UNAVAILABLE`, …), at most 64 characters.
    pub code: Option<String>,
    /// The server's floor: no earlier than this after the answer's arrival. Never more than 15 min.
    pub retry_after: Option<Duration>,
    /// For people: at most 256 characters, no secrets, one line.
    pub message: String,
}

/// What was asked when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// `POST /api/v2/events/ticket`.
    Ticket,
    /// `GET /api/v2/events`, and the stream that came of it.
    Events,
    /// `GET /api/v2/sync/pull`.
    Pull,
    /// `GET /api/v2/notes`.
    Snapshot,
    /// `POST /api/v2/sync/push`.
    Push,
    /// Anything that the engine does not ask for: devices, AI, diagnostics.
    Other,
}
