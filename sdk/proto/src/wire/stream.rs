//! What comes through the event stream.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::lenient::or_default;
use super::{Cursor, UnixMillis};

/// One event of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamMessage {
    /// `ready`: the stream is live.
    Ready(ReadyEvent),
    /// `heartbeat`: it still is.
    Heartbeat(HeartbeatEvent),
    /// `sync`: something changed.
    Sync(SyncEvent),
    /// A kind of event that this build does not know: a sign of life.
    Unknown {
        /// Its name.
        event: String,
    },
}

/// The first event of every stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadyEvent {
    /// When the stream was opened, on the service's clock.
    #[serde(default, deserialize_with = "or_default")]
    pub connected_at: UnixMillis,
}

/// Sent every 20 s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatEvent {
    /// When it was sent, on the service's clock.
    #[serde(default, deserialize_with = "or_default")]
    pub ts: UnixMillis,
}

/// Something changed; may be repeated, coalesced or missed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncEvent {
    /// The end of the log as far as the sender knew.
    pub cursor: Cursor,
    /// When it was sent, on the service's clock.
    #[serde(default, deserialize_with = "or_default")]
    pub ts: UnixMillis,
}

impl StreamMessage {
    /// Reads an event by its name and data. `ready` and `heartbeat` say all by their name: whatever
    /// their data is, they are read.
    ///
    /// # Errors
    ///
    /// A `sync` without a readable cursor: it must not be taken for "nothing changed".
    pub fn parse(event: &str, data: &str) -> Result<Self, serde_json::Error> {
        Ok(match event {
            "ready" => Self::Ready(serde_json::from_str(data).unwrap_or_default()),
            "heartbeat" => Self::Heartbeat(serde_json::from_str(data).unwrap_or_default()),
            "sync" => Self::Sync(serde_json::from_str(data)?),
            _ => Self::Unknown {
                event: event.to_owned(),
            },
        })
    }

    /// The event's name.
    #[must_use]
    pub fn event(&self) -> &str {
        match self {
            Self::Ready(_) => "ready",
            Self::Heartbeat(_) => "heartbeat",
            Self::Sync(_) => "sync",
            Self::Unknown { event } => event,
        }
    }

    /// The event's data: JSON in one line.
    #[must_use]
    pub fn data(&self) -> Cow<'static, str> {
        let json = match self {
            Self::Ready(ready) => serde_json::to_string(ready),
            Self::Heartbeat(heartbeat) => serde_json::to_string(heartbeat),
            Self::Sync(sync) => serde_json::to_string(sync),
            Self::Unknown { .. } => return Cow::Borrowed("{}"),
        };
        json.map_or(Cow::Borrowed("{}"), Cow::Owned)
    }

    /// The event as it goes over the wire, blank line included.
    #[must_use]
    pub fn encode(&self) -> String {
        format!("event: {}\ndata: {}\n\n", self.event(), self.data())
    }
}
