//! The service's AI: sessions with a provider, and tasks for it. A capability of its own: its trouble
//! never shows in the sync status, and sync's never here.

mod call;
mod cookie;
mod error;
mod gates;
mod status;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use evenkeel_proto::wire::{
    AiAnswer, AiBrief, AiContent, AiContents, AiFound, AiNote, AiNotes, AiProvider, AiQuery,
    AiRecording, AiSession, AiTask, AiTranscript, Analysis, ConnectRequest, Secret, path,
};
use evenkeel_proto::{Cause, Failure, Layer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

pub use error::AiError;
pub use status::{AiStatus, AiStatusChanges, AiTrouble};

use self::call::Ask;
use self::cookie::Jar;
use self::gates::{Gates, Way};
use crate::guard::locked;
use crate::token::Tokens;
use crate::transport::Transport;

/// The service's AI. Clones are handles to the same client. Made by
/// [`SyncClient::ai`](crate::SyncClient::ai), or without a sync client by
/// [`SyncClientBuilder::build_ai`](crate::SyncClientBuilder::build_ai).
///
/// A call sends at most three requests within its deadline
/// ([`Timeouts::ai`](crate::Timeouts::ai)), repeats only what may do better a moment later, and never
/// comes back before the service wants it. Failures are shared: while one is waited out, every call
/// waits or says at once how long ([`AiError::Held`]), then a single one finds out. Dropping a call's
/// future cancels it. Nothing is ever sent by itself.
///
/// With a token the session belongs to the account. Without one it belongs to this device, by a cookie
/// that lives 24 h, goes to the AI's own paths only and is kept in memory: like a token it is for the
/// system's keychain rather than a file, see [`device_session`](Self::device_session).
#[derive(Clone)]
pub struct AiClient {
    inner: Arc<Inner>,
    deadline: Duration,
}

struct Inner {
    transport: Transport,
    tokens: Option<Arc<Tokens>>,
    jar: Jar,
    gates: Gates,
    known: Mutex<Known>,
    status: watch::Sender<AiStatus>,
}

/// What the service last said.
#[derive(Default)]
struct Known {
    provider: Option<AiProvider>,
    connected: bool,
    signed_out: bool,
}

impl AiClient {
    pub(crate) fn new(
        transport: Transport,
        tokens: Option<Arc<Tokens>>,
        rng: fastrand::Rng,
        deadline: Duration,
    ) -> Self {
        let inner = Arc::new(Inner {
            transport,
            tokens,
            jar: Jar::default(),
            gates: Gates::new(rng),
            known: Mutex::default(),
            status: watch::Sender::new(AiStatus::NotConnected),
        });
        Self { inner, deadline }
    }

    /// A handle to the same client whose calls may take this long, waits and repeats included.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            deadline,
        }
    }

    /// How things stand now.
    #[must_use]
    pub fn status(&self) -> AiStatus {
        *self.inner.status.borrow()
    }

    /// The statuses from now on, beginning with the present one. A slow reader skips some, but never
    /// the latest.
    pub fn status_changes(&self) -> AiStatusChanges {
        AiStatusChanges::new(self.inner.status.subscribe())
    }

    /// Hands the user's own key to the service. Sent again only where the service cannot have taken it.
    ///
    /// # Errors
    ///
    /// See [`AiError`]; the key is in none of them.
    pub async fn connect(
        &self,
        provider: AiProvider,
        api_key: Secret,
    ) -> Result<AiSession, AiError> {
        let request = ConnectRequest { provider, api_key };
        let ask = Ask {
            path: path::AI_CONNECT,
            body: Some(json(&request)?),
            way: Way::Session,
            hidden: Some(request.api_key),
            repeatable: false,
        };
        self.about_session(&ask).await
    }

    /// The session, as the service knows it now.
    ///
    /// # Errors
    ///
    /// See [`AiError`].
    pub async fn session(&self) -> Result<AiSession, AiError> {
        self.inner.session(self.deadline).await
    }

    /// Ends the session: the service forgets the key.
    ///
    /// # Errors
    ///
    /// See [`AiError`]; the session may be there still.
    pub async fn disconnect(&self) -> Result<AiSession, AiError> {
        let ask = Ask {
            path: path::AI_DISCONNECT,
            body: Some(Bytes::from_static(b"{}")),
            way: Way::Session,
            hidden: None,
            repeatable: true,
        };
        let session = self.about_session(&ask).await?;
        self.inner.jar.forget();
        Ok(session)
    }

    /// A title, tags and a type for a text.
    ///
    /// # Errors
    ///
    /// See [`AiError`].
    pub async fn analyze(&self, content: impl Into<String>) -> Result<Analysis, AiError> {
        let content = content.into();
        self.task(AiTask::Analyze, &AiContent { content }).await
    }

    /// The same for many texts, in their order.
    ///
    /// # Errors
    ///
    /// See [`AiError`]. The edge takes 512 KiB.
    pub async fn batch(&self, contents: Vec<String>) -> Result<Vec<Analysis>, AiError> {
        self.task(AiTask::Batch, &AiContents { contents }).await
    }

    /// A text, tidied up.
    ///
    /// # Errors
    ///
    /// See [`AiError`].
    pub async fn cleanup(&self, content: impl Into<String>) -> Result<String, AiError> {
        let content = content.into();
        let done: AiContent = self.task(AiTask::Cleanup, &AiContent { content }).await?;
        Ok(done.content)
    }

    /// The ids of those of the records that fit, the best first.
    ///
    /// # Errors
    ///
    /// See [`AiError`].
    pub async fn search(
        &self,
        query: impl Into<String>,
        notes: Vec<AiNote>,
    ) -> Result<Vec<String>, AiError> {
        let query = query.into();
        let found: AiFound = self.task(AiTask::Search, &AiQuery { query, notes }).await?;
        Ok(found.ids)
    }

    /// The records of a day in a few sentences.
    ///
    /// # Errors
    ///
    /// See [`AiError`].
    pub async fn daily_brief(&self, notes: Vec<AiNote>) -> Result<String, AiError> {
        let brief: AiBrief = self.task(AiTask::DailyBrief, &AiNotes { notes }).await?;
        Ok(brief.summary)
    }

    /// What was said in a recording, whose encoding is named as `audio/mp4` is.
    ///
    /// # Errors
    ///
    /// See [`AiError`]. The edge takes 512 KiB, which is some 390 KB of sound.
    pub async fn transcribe(
        &self,
        audio: impl AsRef<[u8]>,
        mime_type: impl Into<String>,
    ) -> Result<String, AiError> {
        let recording = AiRecording {
            audio: BASE64_STANDARD.encode(audio),
            mime_type: mime_type.into(),
        };
        let heard: AiTranscript = self.task(AiTask::Transcribe, &recording).await?;
        Ok(heard.text)
    }

    /// A task in the app's own types, for a deployment whose shapes are others than those above: the
    /// body, and the answer's `result`.
    ///
    /// # Errors
    ///
    /// See [`AiError`].
    pub async fn task<R: DeserializeOwned + Send + 'static>(
        &self,
        task: AiTask,
        body: &(impl Serialize + Sync),
    ) -> Result<R, AiError> {
        let ask = Ask {
            path: task.path(),
            body: Some(json(body)?),
            way: self.inner.way(),
            hidden: None,
            repeatable: true,
        };
        let answer: AiAnswer<R> = self.inner.perform(&ask, self.deadline).await?;
        self.inner.works();
        Ok(answer.result)
    }

    /// The session of this device, to be put away where the app keeps its secrets; `None` where there is
    /// none, or it is the account's.
    #[must_use]
    pub fn device_session(&self) -> Option<Secret> {
        self.inner.jar.value()
    }

    /// Goes on with the session of this device from an earlier run; the next
    /// [`session`](Self::session) tells whether it still lives.
    pub fn set_device_session(&self, session: Secret) {
        self.inner.jar.keep(session);
    }

    /// The app has another token, or the user signed in again. A client made by a
    /// [`SyncClient`](crate::SyncClient) hears of it there too.
    pub fn set_token_changed(&self) {
        if let Some(tokens) = &self.inner.tokens {
            tokens.forget();
        }
        locked(&self.inner.known).signed_out = false;
        self.inner.publish();
    }

    /// Lets go of the connections that nobody uses now.
    pub(crate) fn drop_connections(&self) {
        self.inner.transport.renew();
    }

    async fn about_session(&self, ask: &Ask) -> Result<AiSession, AiError> {
        let session: AiSession = self.inner.perform(ask, self.deadline).await?;
        self.inner.knows(Some(&session));
        Ok(session)
    }
}

impl Inner {
    /// Which gates a task has to pass.
    fn way(&self) -> Way {
        let known = locked(&self.known);
        let name = known.provider.as_ref().map(AiProvider::as_str);
        Way::Task(name.unwrap_or_default().to_owned())
    }

    /// The service said what session there is.
    fn knows(&self, session: Option<&AiSession>) {
        let session = session.filter(|session| session.connected);
        if let Some(provider) = session.and_then(|session| session.provider.as_ref()) {
            self.gates.name(provider.as_str());
        }
        *locked(&self.known) = Known {
            provider: session.and_then(|session| session.provider.clone()),
            connected: session.is_some(),
            signed_out: false,
        };
        self.publish();
    }

    /// A task was done, so there is a session.
    fn works(&self) {
        {
            let mut known = locked(&self.known);
            known.connected = true;
            known.signed_out = false;
        }
        self.publish();
    }

    /// A call failed. Whoever gets as far as the provider has a session.
    fn met(&self, failure: &Failure) {
        if failure.layer == Layer::Provider {
            locked(&self.known).connected = true;
        }
        self.publish();
    }

    fn signed_out(&self) {
        locked(&self.known).signed_out = true;
        self.publish();
    }

    fn publish(&self) {
        let way = self.way();
        self.status.send_if_modified(|status| {
            let known = locked(&self.known);
            let way = if known.connected { &way } else { &Way::Session };
            let new = if known.signed_out {
                AiStatus::Degraded(AiTrouble::new(Cause::AuthRequired, None))
            } else if let Some(trouble) = self.gates.trouble(way) {
                AiStatus::Degraded(AiTrouble::new(trouble.cause, Some(trouble.until)))
            } else if known.connected {
                AiStatus::Available
            } else {
                AiStatus::NotConnected
            };
            std::mem::replace(status, new) != new
        });
    }
}

fn json(body: &impl Serialize) -> Result<Bytes, AiError> {
    let written = serde_json::to_vec(body).map(Bytes::from);
    // Serde's words could hold a piece of the body.
    written.map_err(|_| AiError::Failed {
        failure: Failure::local(Cause::BadRequest, "the body is not JSON"),
        attempts: 0,
    })
}

impl fmt::Debug for AiClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AiClient")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
