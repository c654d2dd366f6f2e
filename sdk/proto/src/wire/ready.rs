//! What the origin says of itself.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::UnixMillis;
use super::lenient::or_default;
use super::open::open_enum;

open_enum! {
    /// What the origin calls ready.
    ReadyMode {
        /// Every dependency must work.
        Strict = "strict",
        /// The database suffices.
        Degraded = "degraded",
    }
}

open_enum! {
    /// Which dependency keeps the origin from being ready.
    ReadyCause {
        /// The database.
        Database = "database",
        /// Redis.
        Redis = "redis",
    }
}

open_enum! {
    /// How announcements reach the other processes of the origin.
    RealtimeMode {
        /// Through Redis.
        Distributed = "distributed",
        /// Not at all: only this process's streams hear of this process's changes.
        LocalFallback = "local-fallback",
    }
}

/// The answer to the origin's `GET /ready`, 200 and 503 alike. It can be 200 with a degraded
/// dependency.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ready {
    /// Whether it is ready.
    #[serde(deserialize_with = "or_default")]
    pub ok: bool,
    /// What it calls ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_mode: Option<ReadyMode>,
    /// What is in the way. Written as `null` when nothing is.
    pub ready_cause: Option<ReadyCause>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// When it looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<UnixMillis>,
    /// How each dependency is.
    #[serde(deserialize_with = "or_default")]
    pub dependencies: Dependencies,
    /// Its counters, as they came.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Map::is_empty")]
    pub metrics: Map<String, Value>,
}

/// How each dependency is; `None` for one that this build of the origin does not report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Dependencies {
    /// Where the records are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// Where used tickets and announcements are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
    /// Announcements between processes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub realtime: Option<Realtime>,
    /// Whether tickets can be used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_ticket: Option<StreamTicketStore>,
}

/// The database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Database {
    /// Whether it answers.
    #[serde(deserialize_with = "or_default")]
    pub ok: bool,
    /// Fields that this build does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Redis.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Redis {
    /// Whether it answers.
    #[serde(deserialize_with = "or_default")]
    pub ok: bool,
    /// The connection's state in the origin's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Whether the origin makes do without it.
    #[serde(deserialize_with = "or_default")]
    pub degraded: bool,
    /// For how long already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded_for_ms: Option<u64>,
    /// How many attempts in a row have failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consecutive_failures: Option<u64>,
    /// What the last of them said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error_message: Option<String>,
    /// Whether the origin is not ready without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_for_ready: Option<bool>,
    /// Fields that this build does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Announcements between the origin's processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Realtime {
    /// How they travel now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<RealtimeMode>,
    /// Whether that is less than intended.
    #[serde(deserialize_with = "or_default")]
    pub degraded: bool,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded_reason: Option<String>,
    /// For how long already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub degraded_for_ms: Option<u64>,
    /// Whether announcements of others arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscriber_ready: Option<bool>,
    /// Whether our announcements leave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publisher_ready: Option<bool>,
    /// Fields that this build does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Where used tickets are remembered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StreamTicketStore {
    /// Whether a ticket can be used up, and so a stream opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_store_available: Option<bool>,
    /// Whether that is less than intended.
    #[serde(deserialize_with = "or_default")]
    pub degraded: bool,
    /// Fields that this build does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}
