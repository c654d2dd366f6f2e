//! A client of our own, and whether it strayed between two looks.

use std::sync::{Arc, Mutex, PoisonError};

use evenkeel::{Lifecycle, Link, Status, SyncClient, SyncState};
use tokio::task::AbortHandle;

use super::criteria::ClientSeen;
use crate::cli;
use crate::connect::connect;
use crate::exit::Failed;
use crate::status_line::describe;

/// Ends with [`stop`](Self::stop).
pub(crate) struct Watched {
    pub(crate) client: SyncClient,
    strayed: Arc<Mutex<Option<String>>>,
    following: AbortHandle,
}

impl Watched {
    pub(crate) fn start(service: &cli::Service) -> Result<Self, Failed> {
        let client = connect(service)?;
        let strayed = Arc::<Mutex<Option<String>>>::default();
        let mut statuses = client.status_changes();
        let told = Arc::clone(&strayed);
        let following = tokio::spawn(async move {
            while let Some(status) = statuses.next().await {
                if !is_back(&status) {
                    let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                    *told = Some(describe(&status));
                }
            }
        });
        client
            .start()
            .map_err(|e| Failed::configuration(e.to_string()))?;
        Ok(Self {
            client,
            strayed,
            following: following.abort_handle(),
        })
    }

    /// How it is, and what else it was since it was last asked.
    pub(crate) fn look(&self) -> ClientSeen {
        let strayed = self
            .strayed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        ClientSeen::of(&self.client.status(), strayed)
    }

    pub(crate) async fn stop(self) {
        self.following.abort();
        self.client.stop().await;
    }
}

fn is_back(status: &Status) -> bool {
    status.lifecycle == Lifecycle::Running
        && matches!(status.state, SyncState::Synced | SyncState::Syncing)
        && status.link == Link::Stream
}
