//! AI sessions and tasks, served by the edge.

use serde::{Deserialize, Serialize};

use super::lenient::or_default;
use super::open::open_enum;
use super::{Secret, UnixMillis};

open_enum! {
    /// Who does the thinking.
    AiProvider {
        /// Google's.
        Gemini = "gemini",
        /// A broker of many.
        Openrouter = "openrouter",
    }
}

open_enum! {
    /// What a session belongs to.
    AiScope {
        /// The account: its key has no lifetime.
        Account = "account",
        /// This device alone, by a cookie, for 24 h.
        Device = "device",
    }
}

/// The body of `POST /api/v1/auth/connect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectRequest {
    /// Whose key it is.
    pub provider: AiProvider,
    /// The user's own key.
    pub api_key: Secret,
}

/// The answer to `POST /api/v1/auth/connect`, `GET /api/v1/auth/status` and
/// `POST /api/v1/auth/disconnect`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AiSession {
    /// Whether there is a session.
    #[serde(default, deserialize_with = "or_default")]
    pub connected: bool,
    /// With whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<AiProvider>,
    /// What it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<AiScope>,
    /// Since when (an account's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<UnixMillis>,
    /// Until when (a device's).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixMillis>,
}

/// What the provider can be asked for, each under `POST /api/v1/ai/…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AiTask {
    /// Title, tags and type of one record.
    Analyze,
    /// The same for many.
    Batch,
    /// Tidy a text up.
    Cleanup,
    /// Find records by meaning.
    Search,
    /// The day's summary.
    DailyBrief,
    /// Speech to text.
    Transcribe,
}

impl AiTask {
    /// Every task.
    pub const ALL: [Self; 6] = [
        Self::Analyze,
        Self::Batch,
        Self::Cleanup,
        Self::Search,
        Self::DailyBrief,
        Self::Transcribe,
    ];

    /// Where it is asked for.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Analyze => "/api/v1/ai/analyze",
            Self::Batch => "/api/v1/ai/batch",
            Self::Cleanup => "/api/v1/ai/cleanup",
            Self::Search => "/api/v1/ai/search",
            Self::DailyBrief => "/api/v1/ai/daily-brief",
            Self::Transcribe => "/api/v1/ai/transcribe",
        }
    }
}

/// The body of an [`AiTask::Analyze`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AiContent {
    /// The text to look at.
    pub content: String,
}

/// The answer to a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AiAnswer<T> {
    /// What came of it: an [`Analysis`] for [`AiTask::Analyze`].
    pub result: T,
}

/// What the provider thinks of a text. A provider's words are not to be trusted to be of any set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Analysis {
    /// A title for it.
    #[serde(default, deserialize_with = "or_default")]
    pub title: String,
    /// Tags for it.
    #[serde(default, deserialize_with = "or_default")]
    pub tags: Vec<String>,
    /// `NOTE`, `TASK`, `IDEA` or whatever the provider made up.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// When it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_date: Option<UnixMillis>,
    /// `urgent`, `normal`, `low` or whatever the provider made up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
}
