//! The service's AI.

use std::sync::Arc;

use evenkeel::wire::{self, AiProvider, Secret};
use evenkeel::{AiClient, AiStatusChanges};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::errors::AiError;
use crate::feeds::{Feed, Source};
use crate::names::{Cause, Layer};
use crate::open::Core;
use crate::runtime::{CancelToken, call, run};
use crate::status::ms;

/// The service's AI, with its client's token and device. A capability of its own: its trouble never shows in
/// the sync status. A call sends at most three requests; while a failure is waited out it says at once how
/// long (`Held`).
#[derive(Debug, uniffi::Object)]
pub struct EvenkeelAi {
    ai: AiClient,
    runtime: Handle,
    closing: watch::Receiver<bool>,
}

impl EvenkeelAi {
    pub(crate) fn new(core: &Core, ai: AiClient) -> Arc<Self> {
        Arc::new(Self {
            ai,
            runtime: core.runtime().clone(),
            closing: core.closing(),
        })
    }

    async fn run<T, F>(
        &self,
        cancel: Option<Arc<CancelToken>>,
        work: impl FnOnce(AiClient) -> F,
    ) -> Result<T, AiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, evenkeel::AiError>> + Send + 'static,
    {
        let asked = work(self.ai.clone());
        run(&self.runtime, cancel, async move { Ok(asked.await?) }).await
    }
}

#[uniffi::export]
impl EvenkeelAi {
    /// How things stand now.
    pub fn status(&self) -> Result<AiStatus, AiError> {
        call(&self.runtime, || Ok(self.ai.status().into()))
    }

    /// The statuses from now on, beginning with the present one.
    pub fn statuses(&self) -> Result<Arc<AiFeed>, AiError> {
        call(&self.runtime, || {
            let (closing, runtime) = (self.closing.clone(), self.runtime.clone());
            let changes = self.ai.status_changes();
            Ok(Arc::new(AiFeed(Feed::with(closing, runtime, changes))))
        })
    }

    /// Hands the user's own key to the service. `provider` is `gemini`, `openrouter` or another one that the
    /// service knows.
    pub async fn connect(
        &self,
        provider: String,
        api_key: String,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<AiSession, AiError> {
        let (provider, key) = (AiProvider::from(provider), Secret::new(api_key));
        self.run(cancel, |ai| async move {
            ai.connect(provider, key).await.map(AiSession::from)
        })
        .await
    }

    /// The session, as the service knows it now.
    pub async fn session(&self, cancel: Option<Arc<CancelToken>>) -> Result<AiSession, AiError> {
        self.run(cancel, |ai| async move {
            ai.session().await.map(AiSession::from)
        })
        .await
    }

    /// Ends the session: the service forgets the key.
    pub async fn disconnect(&self, cancel: Option<Arc<CancelToken>>) -> Result<AiSession, AiError> {
        self.run(cancel, |ai| async move {
            ai.disconnect().await.map(AiSession::from)
        })
        .await
    }

    /// A title, tags and a type for a text.
    pub async fn analyze(
        &self,
        content: String,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<Analysis, AiError> {
        self.run(cancel, |ai| async move {
            ai.analyze(content).await.map(Analysis::from)
        })
        .await
    }

    /// The same for many texts, in their order. The service takes 512 KiB.
    pub async fn batch(
        &self,
        contents: Vec<String>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<Vec<Analysis>, AiError> {
        self.run(cancel, |ai| async move {
            let analyses = ai.batch(contents).await?;
            Ok(analyses.into_iter().map(Analysis::from).collect())
        })
        .await
    }

    /// A text, tidied up.
    pub async fn cleanup(
        &self,
        content: String,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<String, AiError> {
        self.run(cancel, |ai| async move { ai.cleanup(content).await })
            .await
    }

    /// The ids of those of the records that fit, the best first.
    pub async fn search(
        &self,
        query: String,
        notes: Vec<AiNote>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<Vec<String>, AiError> {
        self.run(
            cancel,
            |ai| async move { ai.search(query, told(notes)).await },
        )
        .await
    }

    /// The records of a day in a few sentences.
    pub async fn daily_brief(
        &self,
        notes: Vec<AiNote>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<String, AiError> {
        self.run(
            cancel,
            |ai| async move { ai.daily_brief(told(notes)).await },
        )
        .await
    }

    /// What was said in a recording, whose encoding is named as `audio/mp4` is. Up to some 390 KB.
    pub async fn transcribe(
        &self,
        audio: Vec<u8>,
        mime_type: String,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<String, AiError> {
        self.run(
            cancel,
            |ai| async move { ai.transcribe(audio, mime_type).await },
        )
        .await
    }
}

/// The statuses of AI. Ends when it is cancelled or the client is closed.
#[derive(Debug, uniffi::Object)]
pub struct AiFeed(Arc<Feed<AiStatusChanges>>);

#[uniffi::export]
impl AiFeed {
    /// The next status; none at the end. A slow reader skips some, but never the latest.
    pub async fn next(&self) -> Option<AiStatus> {
        self.0.next().await
    }

    /// Ends it, for a `next` that waits too.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

impl Source for AiStatusChanges {
    type Item = AiStatus;

    async fn next(&mut self) -> Option<AiStatus> {
        Self::next(self).await.map(AiStatus::from)
    }
}

/// Whether the app can offer what needs AI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum AiState {
    /// A provider is connected, and the last answer was one.
    Available,
    /// Something is in the way.
    Degraded,
    /// No provider is connected, or it is not known yet whether one is: ask for the session, or connect.
    NotConnected,
}

/// How things stand with AI.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct AiStatus {
    /// In a word.
    pub state: AiState,
    /// What is in the way; none unless degraded.
    pub cause: Option<Cause>,
    /// Whose fault; none unless degraded.
    pub layer: Option<Layer>,
    /// How long until a call goes out again; none where only the app can do something.
    pub next_attempt_in_ms: Option<i64>,
}

impl From<evenkeel::AiStatus> for AiStatus {
    fn from(status: evenkeel::AiStatus) -> Self {
        let (state, trouble) = match status {
            evenkeel::AiStatus::Available => (AiState::Available, None),
            evenkeel::AiStatus::Degraded(trouble) => (AiState::Degraded, Some(trouble)),
            _ => (AiState::NotConnected, None),
        };
        Self {
            state,
            cause: trouble.map(|trouble| trouble.cause.into()),
            layer: trouble.map(|trouble| trouble.layer.into()),
            next_attempt_in_ms: trouble.and_then(|t| t.next_attempt_in()).map(ms),
        }
    }
}

/// What the service knows of the user's key.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct AiSession {
    /// Whether there is a session.
    pub connected: bool,
    /// With whom.
    pub provider: Option<String>,
    /// What it belongs to: `account` or `device`.
    pub scope: Option<String>,
    /// Since when (an account's).
    pub connected_at_ms: Option<i64>,
    /// Until when (a device's).
    pub expires_at_ms: Option<i64>,
}

impl From<wire::AiSession> for AiSession {
    fn from(session: wire::AiSession) -> Self {
        Self {
            connected: session.connected,
            provider: session.provider.map(|p| p.as_str().to_owned()),
            scope: session.scope.map(|s| s.as_str().to_owned()),
            connected_at_ms: session.connected_at.map(|at| at.0),
            expires_at_ms: session.expires_at.map(|at| at.0),
        }
    }
}

/// One record, as far as the provider is told of it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct AiNote {
    /// The record's id.
    pub id: String,
    /// Its text.
    pub content: String,
}

/// What the provider thinks of a text. Its words are not to be trusted to be of any set.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Analysis {
    /// A title for it.
    pub title: String,
    /// Tags for it.
    pub tags: Vec<String>,
    /// `NOTE`, `TASK`, `IDEA` or whatever the provider made up.
    pub kind: Option<String>,
    /// When it is due.
    pub due_date_ms: Option<i64>,
    /// `urgent`, `normal`, `low` or whatever the provider made up.
    pub priority: Option<String>,
}

impl From<wire::Analysis> for Analysis {
    fn from(analysis: wire::Analysis) -> Self {
        Self {
            title: analysis.title,
            tags: analysis.tags,
            kind: analysis.kind,
            due_date_ms: analysis.due_date.map(|at| at.0),
            priority: analysis.priority,
        }
    }
}

fn told(notes: Vec<AiNote>) -> Vec<wire::AiNote> {
    let notes = notes.into_iter();
    notes
        .map(|AiNote { id, content }| wire::AiNote { id, content })
        .collect()
}
