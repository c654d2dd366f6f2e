//! The handle that an app holds.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::actor::{self, Running};
use crate::ai::AiClient;
use crate::builder::SyncClientBuilder;
use crate::changes::Changes;
use crate::diagnostics::Diagnostics;
use crate::error::{BuildError, StartError, SuspendError, SyncOnceError};
use crate::guard::locked;
use crate::mailbox::{Command, Network, Posted};
use crate::once::{self, SyncReport};
use crate::shared::Shared;
use crate::status::{Status, StatusChanges};

/// A client of the sync service. Clones are handles to the same client; when the last one is dropped,
/// the client ends by itself.
///
/// Every method may be called in any state, from any thread, any number of times. Trouble of the
/// service is never an error here: it is in the [`status`](Self::status), and the client deals with
/// it by itself.
#[derive(Clone)]
pub struct SyncClient {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

/// Dropped with the last handle.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.mailbox.close();
    }
}

impl SyncClient {
    /// Begins a client for the service at `url`: `https`, or `http` on loopback; a base path is kept.
    pub fn builder(url: impl AsRef<str>) -> SyncClientBuilder {
        SyncClientBuilder::new(url.as_ref())
    }

    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let alive = Arc::new(Alive(Arc::clone(&shared)));
        Self {
            shared,
            _alive: alive,
        }
    }

    pub(crate) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Begins to sync, on the tokio runtime of the caller (with its I/O and time drivers enabled). On
    /// a client that runs it changes nothing, on a suspended one it is [`resume`](Self::resume).
    ///
    /// # Errors
    ///
    /// [`StartError::NoRuntime`] when called outside of a tokio runtime.
    pub fn start(&self) -> Result<(), StartError> {
        let runtime = Handle::try_current().map_err(|_| StartError::NoRuntime)?;
        self.start_on(&runtime);
        Ok(())
    }

    /// [`start`](Self::start) on a runtime of one's choice.
    pub fn start_on(&self, runtime: &Handle) {
        {
            let mut wakes = locked(&self.shared.wakes);
            wakes.after = None;
            wakes.suspended = false;
        }
        spawn(&self.shared, runtime);
    }

    /// How things stand now.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// The statuses from now on, beginning with the present one. A slow reader skips some, but never
    /// the latest.
    pub fn status_changes(&self) -> StatusChanges {
        StatusChanges::new(self.shared.status.subscribe())
    }

    /// What is applied to the replica from now on. A slow reader is told what it missed.
    pub fn changes(&self) -> Changes {
        Changes::new(self.shared.changes.subscribe())
    }

    /// Asks for a pull now: a push notification came, or a screen was opened. A server's floor and
    /// the client's own pace are respected. Where another process syncs the store, that one is asked.
    pub fn sync_now(&self) {
        self.shared.mailbox.post(Command::SyncNow);
    }

    /// For a background wake-up: starts or resumes the client if it is at rest, brings the replica
    /// up to date and sends what waits, then puts the client back to rest. `deadline` is how long that
    /// may take from now on. Dropping the future puts it back to rest too. Where another process syncs
    /// the store, that one is asked to, and waited for.
    ///
    /// # Errors
    ///
    /// See [`SyncOnceError`]; it comes as soon as it is clear that the deadline cannot be met.
    pub async fn sync_once(&self, deadline: Duration) -> Result<SyncReport, SyncOnceError> {
        once::run(&self.shared, deadline).await
    }

    /// What the system says about the network; it holds over restarts of the client. `Up` also says
    /// that it changed: old connections are dropped.
    pub fn set_network(&self, network: Network) {
        locked(&self.shared.hints).network = Some(network);
        self.shared.mailbox.post(Command::Network(network));
    }

    /// Whether the user sees the app; it holds over restarts of the client. Coming to the foreground
    /// cuts a wait short.
    pub fn set_foreground(&self, foreground: bool) {
        locked(&self.shared.hints).foreground = Some(foreground);
        self.shared.mailbox.post(Command::Foreground(foreground));
    }

    /// The app has another token, or the user signed in again: the token provider is asked anew.
    pub fn set_token_changed(&self) {
        self.shared.tokens.forget();
        if let Some(ai) = &*locked(&self.shared.ai) {
            ai.set_token_changed();
        }
        self.shared.mailbox.post(Command::TokenChanged);
    }

    /// The user asks to try again now. Cuts a wait short, but never a server's floor; rate-limited.
    pub fn retry_now(&self) {
        self.shared.mailbox.post(Command::RetryNow);
    }

    /// Pauses the client: gives up what is under way, closes the stream and all connections, and
    /// returns when nothing is left, at the latest after `deadline`. Nothing is sent until
    /// [`resume`](Self::resume) or [`start`](Self::start). Without effect on a client that does
    /// not run. Dropping the future does not undo it.
    ///
    /// # Errors
    ///
    /// [`SuspendError::Unfinished`] says what was still under way at the deadline.
    pub async fn suspend(&self, deadline: Duration) -> Result<(), SuspendError> {
        let posted = {
            let mut wakes = locked(&self.shared.wakes);
            wakes.after = None;
            wakes.suspended = self.shared.mailbox.is_running();
            self.shared.mailbox.post(Command::Suspend)
        };
        if let Some(ai) = &*locked(&self.shared.ai) {
            ai.drop_connections();
        }
        let Posted::Number(number) = posted else {
            return Ok(());
        };
        let in_time = self.shared.timer(deadline, self.shared.settled(number));
        if in_time.await.is_some() {
            return Ok(());
        }
        Err(SuspendError::Unfinished {
            left: self.shared.lanes_at_work(),
        })
    }

    /// Goes on after [`suspend`](Self::suspend). Without effect on a client that is not suspended.
    pub fn resume(&self) {
        let mut wakes = locked(&self.shared.wakes);
        wakes.after = None;
        wakes.suspended = false;
        self.shared.mailbox.post(Command::Resume);
    }

    /// Ends the client, and returns when everything of it has ended. [`start`](Self::start) begins
    /// anew. Dropping the future does not undo it.
    pub async fn stop(&self) {
        let posted = {
            let mut wakes = locked(&self.shared.wakes);
            wakes.after = None;
            wakes.suspended = false;
            self.shared.mailbox.post(Command::Stop)
        };
        if let Posted::Number(number) = posted {
            self.shared.settled(number).await;
        }
    }

    /// The service's AI, with this client's token and device. It is the same one each time, works
    /// whether this client runs or not, and has connections of its own.
    ///
    /// # Errors
    ///
    /// [`BuildError::Http`] where the HTTP client cannot be set up.
    pub fn ai(&self) -> Result<AiClient, BuildError> {
        let mut made = locked(&self.shared.ai);
        if let Some(ai) = &*made {
            return Ok(ai.clone());
        }
        let ai = AiClient::new(
            self.shared.transport.sibling()?,
            Some(Arc::clone(&self.shared.tokens)),
            locked(&self.shared.seed).fork(),
            self.shared.timeouts.ai,
        );
        *made = Some(ai.clone());
        Ok(ai)
    }

    /// A picture for a support request: settings, past statuses, counters and failures. It holds no
    /// token, ticket, cookie or content.
    #[must_use]
    pub fn diagnostics(&self) -> Diagnostics {
        let settings = self.shared.settings.clone();
        locked(&self.shared.journal).snapshot(settings, self.status())
    }

    /// This device's id, as the service knows it.
    #[must_use]
    pub fn device_id(&self) -> &str {
        &self.shared.settings.device_id
    }
}

impl fmt::Debug for SyncClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncClient")
            .field("url", &self.shared.settings.url)
            .field("device_id", &self.shared.settings.device_id)
            .field("status", &*self.shared.status.borrow())
            .finish_non_exhaustive()
    }
}

/// Posts a start, and spawns the actor if none runs.
pub(crate) fn spawn(shared: &Arc<Shared>, runtime: &Handle) {
    if let Posted::Spawn(run) = shared.mailbox.post(Command::Start) {
        *locked(&shared.runtime) = Some(runtime.clone());
        let shared = Arc::clone(shared);
        runtime.spawn(actor::run(Running { shared, run }));
    }
}
