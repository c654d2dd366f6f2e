//! How the AI capability stands, apart from how sync does.

use std::time::Duration;

use evenkeel_proto::{Cause, Layer, Timestamp};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use tokio::sync::watch;

use crate::clock;
use crate::follow::Follow;
use crate::status::ms;

/// Whether the app can offer what needs AI. As JSON: `state` (`available`, `degraded`,
/// `not_connected`), `cause`, `layer`, `next_attempt_in_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AiStatus {
    /// A provider is connected, and the last answer was one.
    Available,
    /// Something is in the way.
    Degraded(AiTrouble),
    /// No provider is connected, or it is not known yet whether one is: ask for the
    /// [`session`](crate::AiClient::session), or [`connect`](crate::AiClient::connect).
    NotConnected,
}

/// What is in the way of AI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AiTrouble {
    /// Why. [`Cause::AuthRequired`] is for the app: the user has to sign in.
    pub cause: Cause,
    /// Whose fault.
    pub layer: Layer,
    pub(super) next_attempt_at: Option<Timestamp>,
}

impl AiTrouble {
    pub(super) const fn new(cause: Cause, next_attempt_at: Option<Timestamp>) -> Self {
        Self {
            cause,
            layer: cause.layer(),
            next_attempt_at,
        }
    }

    /// How long from now until a call goes out again, zero once it may; `None` where only the app can
    /// do something. Calls are the app's: none goes out by itself.
    #[must_use]
    pub fn next_attempt_in(&self) -> Option<Duration> {
        Some(self.next_attempt_at?.since(clock::now()))
    }
}

impl AiStatus {
    /// The state's name.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Degraded(_) => "degraded",
            Self::NotConnected => "not_connected",
        }
    }
}

impl Serialize for AiStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let trouble = match self {
            Self::Degraded(trouble) => Some(trouble),
            _ => None,
        };
        let wait = trouble.and_then(AiTrouble::next_attempt_in);
        let mut out = serializer.serialize_struct("AiStatus", 4)?;
        out.serialize_field("state", self.as_str())?;
        out.serialize_field("cause", &trouble.map(|t| t.cause))?;
        out.serialize_field("layer", &trouble.map(|t| t.layer))?;
        out.serialize_field("next_attempt_in_ms", &wait.map(ms))?;
        out.end()
    }
}

/// The statuses from now on: the present one first, then each newer one. A reader that is slower than
/// they come skips some, but never the latest. Ends when the client is dropped. Made by
/// [`status_changes`](crate::AiClient::status_changes).
#[must_use = "a stream gives nothing unless it is read"]
#[derive(Debug)]
pub struct AiStatusChanges(Follow<Reader, AiStatus>);

#[derive(Debug)]
struct Reader {
    values: watch::Receiver<AiStatus>,
    begun: bool,
}

impl AiStatusChanges {
    pub(super) fn new(values: watch::Receiver<AiStatus>) -> Self {
        let reader = Reader {
            values,
            begun: false,
        };
        Self(Follow::new(reader, |reader| Box::pin(step(reader))))
    }

    /// The next status; `None` once the client is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<AiStatus> {
        self.0.next().await
    }
}

impl futures_core::Stream for AiStatusChanges {
    type Item = AiStatus;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<AiStatus>> {
        self.0.poll_next(cx)
    }
}

async fn step(mut reader: Reader) -> (Option<AiStatus>, Reader) {
    if reader.begun && reader.values.changed().await.is_err() {
        return (None, reader);
    }
    reader.begun = true;
    let status = *reader.values.borrow_and_update();
    (Some(status), reader)
}
