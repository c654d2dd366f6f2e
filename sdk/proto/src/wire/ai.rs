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

    /// The task that is asked for at a path.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.path() == path)
    }

    /// Its name, as at the end of its path.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.path().rsplit('/').next().unwrap_or_default()
    }
}

/// The body of an [`AiTask::Analyze`] and of an [`AiTask::Cleanup`], and the result of the latter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AiContent {
    /// The text to look at.
    pub content: String,
}

/// The body of an [`AiTask::Batch`], whose result is a list of [`Analysis`] in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AiContents {
    /// The texts to look at.
    pub contents: Vec<String>,
}

/// One record, as far as the provider is told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AiNote {
    /// The record's id.
    pub id: String,
    /// Its text.
    pub content: String,
}

/// The body of an [`AiTask::Search`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AiQuery {
    /// What is looked for.
    pub query: String,
    /// Where.
    pub notes: Vec<AiNote>,
}

/// The result of an [`AiTask::Search`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AiFound {
    /// The ids of the records that fit, the best first.
    #[serde(default, deserialize_with = "or_default")]
    pub ids: Vec<String>,
}

/// The body of an [`AiTask::DailyBrief`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AiNotes {
    /// The day's records.
    pub notes: Vec<AiNote>,
}

/// The result of an [`AiTask::DailyBrief`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AiBrief {
    /// The day in a few sentences.
    pub summary: String,
}

/// The body of an [`AiTask::Transcribe`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AiRecording {
    /// The sound, in base64.
    pub audio: String,
    /// What it is encoded as, such as `audio/mp4`.
    pub mime_type: String,
}

/// The result of an [`AiTask::Transcribe`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AiTranscript {
    /// What was said.
    pub text: String,
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
