//! The client: opening, lifecycle, hints, status, closing.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evenkeel::store::SqliteStore;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::ai::EvenkeelAi;
use crate::app::{StatusListener, TokenProvider, tokens_of};
use crate::config::EvenkeelConfig;
use crate::errors::{AiError, ClientError, OpenError, SyncOnceError};
use crate::feeds::{self, ChangeFeed, Feed, Subscription};
use crate::open::{Core, Open};
use crate::runtime::{Broken, CancelToken, OwnRuntime, call, run};
use crate::status::{SyncStatus, number, span};

/// A client of the sync service, with its store and its threads.
///
/// Every call may be made in any state, from any thread. Trouble of the service is no error here: it is in
/// the status, and the client deals with it by itself. After `shut_down` every call fails with `Closed`.
#[derive(Debug, uniffi::Object)]
pub struct EvenkeelClient {
    open: Mutex<Option<Open>>,
    /// True once nothing is left.
    closed: watch::Sender<bool>,
    device_id: String,
}

/// What the system says about the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Network {
    /// There is one, or it changed.
    Up,
    /// There is one that costs the user money: the client polls less often.
    Metered,
    /// There is none: the client sends nothing.
    Down,
}

/// What a `sync_once` did.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct SyncReport {
    /// How many changes of the server were applied.
    pub changes_applied: i64,
    /// How things stood at its end.
    pub status: SyncStatus,
}

#[uniffi::export]
impl EvenkeelClient {
    /// Opens the store, and makes it where there is none. Nothing is sent before `start`.
    #[uniffi::constructor]
    pub async fn open(
        config: EvenkeelConfig,
        token_provider: Arc<dyn TokenProvider>,
    ) -> Result<Arc<Self>, OpenError> {
        let no_threads = |e: std::io::Error| OpenError::internal(e.to_string());
        let runtime = OwnRuntime::new().map_err(no_threads)?;
        let Some(handle) = runtime.handle().cloned() else {
            return Err(OpenError::closed());
        };
        let made = run(&handle, None, async move {
            let options = config.store_options();
            let store = SqliteStore::open(&config.store_path, &config.account_id, options).await?;
            let client = config
                .builder()
                .token_provider(tokens_of(token_provider))
                .replica(store.clone())
                .build();
            match client {
                Ok(client) => Ok((client, store)),
                Err(error) => {
                    // So that the file is closed when the error arrives.
                    let _ = store.close().await;
                    Err(OpenError::from(error))
                }
            }
        });
        let (client, store) = made.await?;
        let device_id = client.device_id().to_owned();
        Ok(Arc::new(Self {
            open: Mutex::new(Some(Open::new(client, store, runtime, handle))),
            closed: watch::Sender::new(false),
            device_id,
        }))
    }

    /// Begins to sync. On a client that runs it changes nothing, on a suspended one it is `resume`.
    pub fn start(&self) -> Result<(), ClientError> {
        self.call(|core| core.client.start_on(core.runtime()))
    }

    /// Pauses the client: gives up what is under way, closes connections and files, and returns when nothing
    /// is left, at the latest after `deadline_ms`.
    pub async fn suspend(&self, deadline_ms: i64) -> Result<(), ClientError> {
        self.run(None, move |core| async move {
            Ok(core.client.suspend(span(deadline_ms)).await?)
        })
        .await
    }

    /// Goes on after `suspend`.
    pub fn resume(&self) -> Result<(), ClientError> {
        self.call(|core| core.client.resume())
    }

    /// Ends the syncing, and returns when it has ended. `start` begins anew.
    pub async fn stop(&self) -> Result<(), ClientError> {
        self.run(None, |core| async move {
            core.client.stop().await;
            Ok(())
        })
        .await
    }

    /// Ends everything, and returns when no thread, connection or file is left. What waits to be sent stays
    /// in the store. May be called again. (Not `close`: that name is taken by the languages for letting go of the
    /// handle.)
    pub async fn shut_down(&self) {
        self.begin_closing();
        // The sender is `self`.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// What the system says about the network.
    pub fn set_network(&self, network: Network) -> Result<(), ClientError> {
        let network = match network {
            Network::Up => evenkeel::Network::Up,
            Network::Metered => evenkeel::Network::Metered,
            Network::Down => evenkeel::Network::Down,
        };
        self.call(|core| core.client.set_network(network))
    }

    /// Whether the user sees the app. Coming to the foreground cuts a wait short.
    pub fn set_foreground(&self, foreground: bool) -> Result<(), ClientError> {
        self.call(|core| core.client.set_foreground(foreground))
    }

    /// The app has another token, or the user signed in again: the token provider is asked anew.
    pub fn token_changed(&self) -> Result<(), ClientError> {
        self.call(|core| core.client.set_token_changed())
    }

    /// The user asks to try again now. Cuts a wait short, but never the server's; rate-limited.
    pub fn retry_now(&self) -> Result<(), ClientError> {
        self.call(|core| core.client.retry_now())
    }

    /// Asks for a pull: a push notification came, or a screen was opened.
    pub fn sync_now(&self) -> Result<(), ClientError> {
        self.call(|core| core.client.sync_now())
    }

    /// For a background wake-up: starts or resumes the client if it is at rest, brings everything up to date,
    /// and puts it back to rest. `deadline_ms` is how long that may take.
    pub async fn sync_once(
        &self,
        deadline_ms: i64,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<SyncReport, SyncOnceError> {
        self.run(cancel, move |core| async move {
            let report = core.client.sync_once(span(deadline_ms)).await?;
            Ok(SyncReport {
                changes_applied: number(report.changes_applied),
                status: report.status.into(),
            })
        })
        .await
    }

    /// How things stand now.
    pub fn status(&self) -> Result<SyncStatus, ClientError> {
        self.call(|core| core.client.status().into())
    }

    /// The latest status once it is newer than `after_version` (the present one at once where that is none);
    /// none once the client is closed, or this was cancelled.
    pub async fn next_status(
        &self,
        after_version: Option<i64>,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<Option<SyncStatus>, ClientError> {
        let next = self.run(cancel, move |core| async move {
            let (mut statuses, mut closing) = (core.client.status_changes(), core.closing());
            drop(core);
            loop {
                let status = tokio::select! {
                    biased;
                    _ = closing.wait_for(|closing| *closing) => return Err(ClientError::Closed),
                    status = statuses.next() => status.ok_or(ClientError::Closed)?,
                };
                if after_version.is_none_or(|version| number(status.version) > version) {
                    return Ok(SyncStatus::from(status));
                }
            }
        });
        match next.await {
            Ok(status) => Ok(Some(status)),
            Err(ClientError::Closed | ClientError::Cancelled) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells the listener of each status from now on, the present one first.
    pub fn add_status_listener(
        &self,
        listener: Arc<dyn StatusListener>,
    ) -> Result<Arc<Subscription>, ClientError> {
        let core = self.core().ok_or(ClientError::Closed)?;
        call(core.runtime(), || {
            Ok(feeds::listen(&core, core.client.status_changes(), listener))
        })
    }

    /// What is applied to the store from now on.
    pub fn changes(&self) -> Result<Arc<ChangeFeed>, ClientError> {
        self.call(|core| Arc::new(ChangeFeed(Feed::new(core, core.client.changes()))))
    }

    /// The service's AI, with this client's token and device.
    pub fn ai(&self) -> Result<Arc<EvenkeelAi>, AiError> {
        let core = self.core().ok_or(AiError::Closed)?;
        call(core.runtime(), || {
            let ai = core.client.ai();
            let ai = ai.map_err(|error| AiError::internal(error.to_string()))?;
            Ok(EvenkeelAi::new(&core, ai))
        })
    }

    /// A picture for a support request, as JSON: settings, past statuses, counters and failures. It holds no
    /// token, ticket, cookie or content.
    pub fn diagnostics_json(&self) -> Result<String, ClientError> {
        let core = self.core().ok_or(ClientError::Closed)?;
        call(core.runtime(), || {
            let unwritable = |e: serde_json::Error| ClientError::internal(e.to_string());
            let mut all = serde_json::to_value(core.client.diagnostics()).map_err(unwritable)?;
            if let Value::Object(all) = &mut all {
                let failures = core.listener_failures().load(Ordering::Relaxed);
                all.insert("listener_failures".into(), json!(failures));
            }
            Ok(all.to_string())
        })
    }

    /// This device's id, as the service knows it.
    #[must_use]
    pub fn device_id(&self) -> String {
        self.device_id.clone()
    }
}

impl EvenkeelClient {
    pub(crate) fn core(&self) -> Option<Arc<Core>> {
        self.locked().as_ref().map(|open| Arc::clone(&open.core))
    }

    /// Does the work on the client's runtime.
    pub(crate) async fn run<T, E, F>(
        &self,
        cancel: Option<Arc<CancelToken>>,
        work: impl FnOnce(Arc<Core>) -> F,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: Broken,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let core = self.core().ok_or_else(E::closed)?;
        let runtime = core.runtime().clone();
        run(&runtime, cancel, work(core)).await
    }

    /// A call that returns at once.
    fn call<T>(&self, work: impl FnOnce(&Core) -> T) -> Result<T, ClientError> {
        let core = self.core().ok_or(ClientError::Closed)?;
        call(core.runtime(), || Ok(work(&core)))
    }

    fn locked(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_closing(&self) {
        if let Some(open) = self.locked().take() {
            open.close(self.closed.clone());
        }
    }
}

impl Drop for EvenkeelClient {
    fn drop(&mut self) {
        self.begin_closing();
    }
}
