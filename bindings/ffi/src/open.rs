//! What an open client holds, and how it lets go of it.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::Duration;

use evenkeel::SyncClient;
use evenkeel::store::{SqliteStore, StoreError};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::runtime::OwnRuntime;

#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) core: Arc<Core>,
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

impl Open {
    pub(crate) fn new(
        client: SyncClient,
        store: SqliteStore,
        runtime: OwnRuntime,
        handle: Handle,
    ) -> Self {
        let core = Arc::new(Core {
            client,
            store,
            runtime: handle,
            closing: watch::Sender::new(false),
            listener_failures: Arc::default(),
        });
        Self { core, runtime }
    }

    /// On a thread of its own: a runtime cannot be waited for from within one, and this may be called from
    /// anywhere.
    pub(crate) fn close(self, closed: watch::Sender<bool>) {
        let Self { core, runtime } = self;
        core.closing.send_replace(true);
        let told = closed.clone();
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
            told.send_replace(true);
        };
        let thread = thread::Builder::new().name("evenkeel-close".into());
        if thread.spawn(work).is_err() {
            // The system has no thread left: the runtime was dropped with the work.
            closed.send_replace(true);
        }
    }
}

/// A store's last transaction, or a lane's end.
const STOP_MAX: Duration = Duration::from_secs(10);
