//! The client: opening, lifecycle, hints, status, closing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use evenkeel::SyncClient;
use evenkeel::store::{SqliteStore, StoreError};
use serde_json::{Value, json};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::ai::EvenkeelAi;
use crate::app::{StatusListener, TokenProvider, tokens_of};
use crate::config::EvenkeelConfig;
use crate::errors::{AiError, ClientError, DataError, OpenError, RequestError, SyncOnceError};
use crate::feeds::{self, ChangeFeed, Feed, Subscription};
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

#[derive(Debug)]
struct Open {
    core: Arc<Core>,
    runtime: OwnRuntime,
}

/// What the calls work on.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) client: SyncClient,
    pub(crate) store: SqliteStore,
    runtime: Handle,
    closing: watch::Sender<bool>,
    listener_failures: Arc<AtomicU64>,
}

impl Core {
    pub(crate) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }

    pub(crate) fn listener_failures(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.listener_failures)
    }
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

/// What becomes of the data when the user signs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum SignOut {
    /// It stays, for the same account alone.
    Keep,
    /// It goes, writes that were not sent included, and the file is free for another account.
    Wipe,
}

/// What a `sync_once` did.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct SyncReport {
    /// How many changes of the server were applied.
    pub changes_applied: i64,
    /// How things stood at its end.
    pub status: SyncStatus,
}

/// One device of the account.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct DeviceInfo {
    /// Its id.
    pub id: String,
    /// Whether it is this one.
    pub current: bool,
    /// Its name for people.
    pub label: Option<String>,
    /// What it runs on.
    pub platform: Option<String>,
    /// When it last asked for something.
    pub last_seen_at_ms: Option<i64>,
    /// When it first asked for something.
    pub created_at_ms: Option<i64>,
    /// Since when it is shut out, if it is.
    pub revoked_at_ms: Option<i64>,
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
        let core = Arc::new(Core {
            client,
            store,
            runtime: handle,
            closing: watch::Sender::new(false),
            listener_failures: Arc::default(),
        });
        Ok(Arc::new(Self {
            open: Mutex::new(Some(Open { core, runtime })),
            closed: watch::Sender::new(false),
            device_id,
        }))
    }

    /// Begins to sync. On a client that runs it changes nothing, on a suspended one it is `resume`.
    pub fn start(&self) -> Result<(), ClientError> {
        self.call(|core| core.client.start_on(&core.runtime))
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
        call(&core.runtime, || {
            Ok(feeds::listen(&core, core.client.status_changes(), listener))
        })
    }

    /// What is applied to the store from now on.
    pub fn changes(&self) -> Result<Arc<ChangeFeed>, ClientError> {
        self.call(|core| Arc::new(ChangeFeed(Feed::new(core, core.client.changes()))))
    }

    /// The devices of this account, revoked ones included, as the service knows them now.
    pub async fn devices(
        &self,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<Vec<DeviceInfo>, RequestError> {
        self.run(cancel, |core| async move {
            let list = core.client.devices().await?;
            let current = list.current_device_id;
            let devices = list.devices.into_iter().map(|device| DeviceInfo {
                current: current.as_deref() == Some(&*device.id),
                id: device.id,
                label: device.label,
                platform: device.platform,
                last_seen_at_ms: device.last_seen_at.map(|at| at.0),
                created_at_ms: device.created_at.map(|at| at.0),
                revoked_at_ms: device.revoked_at.map(|at| at.0),
            });
            Ok(devices.collect())
        })
        .await
    }

    /// Shuts a device out of the account, for ever; its id as the service confirms it.
    pub async fn revoke_device(
        &self,
        id: String,
        cancel: Option<Arc<CancelToken>>,
    ) -> Result<String, RequestError> {
        self.run(cancel, move |core| async move {
            let answer = core.client.revoke_device(&id).await?;
            Ok(answer.revoked_device_id)
        })
        .await
    }

    /// Ends the syncing and closes the client, with or without what is in the store. Where a wipe fails the
    /// client is stopped and open.
    pub async fn sign_out(&self, data: SignOut) -> Result<(), DataError> {
        let signed_out = self.run(None, move |core| async move {
            core.client.stop().await;
            let what = match data {
                SignOut::Keep => evenkeel::store::SignOut::Keep,
                SignOut::Wipe => evenkeel::store::SignOut::Wipe,
            };
            core.store.sign_out(what).await.map_err(DataError::from)
        });
        signed_out.await?;
        self.shut_down().await;
        Ok(())
    }

    /// The service's AI, with this client's token and device.
    pub fn ai(&self) -> Result<Arc<EvenkeelAi>, AiError> {
        let core = self.core().ok_or(AiError::Closed)?;
        call(&core.runtime, || {
            let ai = core.client.ai();
            let ai = ai.map_err(|error| AiError::internal(error.to_string()))?;
            Ok(EvenkeelAi::new(&core, ai))
        })
    }

    /// A picture for a support request, as JSON: settings, past statuses, counters and failures. It holds no
    /// token, ticket, cookie or content.
    pub fn diagnostics_json(&self) -> Result<String, ClientError> {
        let core = self.core().ok_or(ClientError::Closed)?;
        call(&core.runtime, || {
            let unwritable = |e: serde_json::Error| ClientError::internal(e.to_string());
            let mut all = serde_json::to_value(core.client.diagnostics()).map_err(unwritable)?;
            if let Value::Object(all) = &mut all {
                let failures = core.listener_failures.load(Ordering::Relaxed);
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
        let runtime = core.runtime.clone();
        run(&runtime, cancel, work(core)).await
    }

    /// A call that returns at once.
    fn call<T>(&self, work: impl FnOnce(&Core) -> T) -> Result<T, ClientError> {
        let core = self.core().ok_or(ClientError::Closed)?;
        call(&core.runtime, || Ok(work(&core)))
    }

    fn locked(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On a thread of its own: a runtime cannot be waited for from within one, and this may be called from
    /// anywhere.
    fn begin_closing(&self) {
        let Some(Open { core, runtime }) = self.locked().take() else {
            return;
        };
        core.closing.send_replace(true);
        let closed = self.closed.clone();
        let work = move || {
            let handle = core.runtime.clone();
            handle.block_on(async {
                let ended = async {
                    core.client.stop().await;
                    match core.store.close().await {
                        Ok(()) | Err(StoreError::Closed) => {}
                        Err(error) => tracing::warn!(target: "evenkeel", %error, "not closed"),
                    }
                };
                // What is stuck ends with the runtime.
                let _ = tokio::time::timeout(STOP_MAX, ended).await;
            });
            drop(core);
            runtime.end();
            closed.send_replace(true);
        };
        let thread = thread::Builder::new().name("evenkeel-close".into());
        if thread.spawn(work).is_err() {
            // The system has no thread left: the runtime was dropped with the work.
            self.closed.send_replace(true);
        }
    }
}

impl Drop for EvenkeelClient {
    fn drop(&mut self) {
        self.begin_closing();
    }
}

/// A store's last transaction, or a lane's end.
const STOP_MAX: Duration = Duration::from_secs(10);
