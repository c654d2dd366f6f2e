//! Streams, as objects to pull from.

use std::sync::Arc;

use evenkeel::store::{Observed, Page};
use evenkeel::wire::Record;
use evenkeel::{Changes, StatusChanges};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};

use crate::app::StatusListener;
use crate::errors::{ClientError, DataError};
use crate::open::Core;
use crate::records::{Change, RecordLook, RecordPage};
use crate::runtime::{CancelToken, run};
use crate::status::SyncStatus;

/// What every feed is made of.
#[derive(Debug)]
pub(crate) struct Feed<S> {
    source: Mutex<Option<S>>,
    cancel: Arc<CancelToken>,
    closing: watch::Receiver<bool>,
    runtime: Handle,
}

/// A stream of the SDK's.
pub(crate) trait Source: Send + 'static {
    type Item: Send + 'static;
    fn next(&mut self) -> impl Future<Output = Option<Self::Item>> + Send;
}

impl<S: Source> Feed<S> {
    pub(crate) fn new(core: &Core, source: S) -> Arc<Self> {
        Self::with(core.closing(), core.runtime().clone(), source)
    }

    pub(crate) fn with(closing: watch::Receiver<bool>, runtime: Handle, source: S) -> Arc<Self> {
        Arc::new(Self {
            source: Mutex::new(Some(source)),
            cancel: CancelToken::new(),
            closing,
            runtime,
        })
    }

    /// The next item; `None` at the end, which is for good.
    pub(crate) async fn next(self: &Arc<Self>) -> Option<S::Item> {
        let feed = Arc::clone(self);
        let step = async move {
            let mut source = feed.source.lock().await;
            let mut closing = feed.closing.clone();
            let item = tokio::select! {
                biased;
                () = feed.cancel.cancelled() => None,
                _ = closing.wait_for(|closing| *closing) => None,
                item = async {
                    match source.as_mut() {
                        Some(source) => source.next().await,
                        None => None,
                    }
                } => item,
            };
            if item.is_none() {
                *source = None;
            }
            item.ok_or(ClientError::Closed)
        };
        run(&self.runtime, None, step).await.ok()
    }

    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
        // One that nobody reads at the moment is let go of at once.
        if let Ok(mut source) = self.source.try_lock() {
            *source = None;
        }
    }
}

impl Source for Changes {
    type Item = Change;

    async fn next(&mut self) -> Option<Change> {
        Self::next(self).await.map(Change::from)
    }
}

impl Source for Observed<Option<Record>> {
    type Item = Result<RecordLook, DataError>;

    async fn next(&mut self) -> Option<Self::Item> {
        let look = Self::next(self).await?;
        let look = look.map(|record| RecordLook {
            record: record.map(Into::into),
        });
        Some(look.map_err(DataError::from))
    }
}

impl Source for Observed<Page<Record>> {
    type Item = Result<RecordPage, DataError>;

    async fn next(&mut self) -> Option<Self::Item> {
        let look = Self::next(self).await?;
        Some(look.map_err(DataError::from).and_then(RecordPage::try_from))
    }
}

/// What is applied to the store, as it happens. Read it from one place; it ends when it is cancelled or the
/// client is closed.
#[derive(Debug, uniffi::Object)]
pub struct ChangeFeed(pub(crate) Arc<Feed<Changes>>);

#[uniffi::export]
impl ChangeFeed {
    /// The next change; none at the end. A change is lost when its `next` is dropped.
    pub async fn next(&self) -> Option<Change> {
        self.0.next().await
    }

    /// Ends it, for a `next` that waits too.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// One record as the app sees it: now, and each time it looks different. A slow reader skips some looks, but
/// never the latest. Ends when it is cancelled or the client is closed.
#[derive(Debug, uniffi::Object)]
pub struct RecordFeed(pub(crate) Arc<Feed<Observed<Option<Record>>>>);

#[uniffi::export]
impl RecordFeed {
    /// The next look; none at the end. After an error it goes on.
    pub async fn next(&self) -> Result<Option<RecordLook>, DataError> {
        self.0.next().await.transpose()
    }

    /// Ends it, for a `next` that waits too.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// A part of the records as the app sees them: now, and each time it looks different. A slow reader skips
/// some looks, but never the latest. Ends when it is cancelled or the client is closed.
#[derive(Debug, uniffi::Object)]
pub struct ListFeed(pub(crate) Arc<Feed<Observed<Page<Record>>>>);

#[uniffi::export]
impl ListFeed {
    /// The next look; none at the end. After an error it goes on.
    pub async fn next(&self) -> Result<Option<RecordPage>, DataError> {
        self.0.next().await.transpose()
    }

    /// Ends it, for a `next` that waits too.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// A listener's. It goes on when this is let go of without being cancelled, until the client is closed.
#[derive(Debug, uniffi::Object)]
pub struct Subscription(Arc<CancelToken>);

#[uniffi::export]
impl Subscription {
    /// No call begins after this.
    pub fn cancel(&self) {
        self.0.cancel();
    }
}

/// Tells the listener of each status, on threads where it may take its time.
pub(crate) fn listen(
    core: &Arc<Core>,
    mut statuses: StatusChanges,
    listener: Arc<dyn StatusListener>,
) -> Arc<Subscription> {
    let cancel = CancelToken::new();
    let subscription = Arc::new(Subscription(Arc::clone(&cancel)));
    let failures = core.listener_failures();
    let told = async move {
        loop {
            let status = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                status = statuses.next() => status,
            };
            let Some(status) = status else { return };
            let (listener, cancel) = (Arc::clone(&listener), Arc::clone(&cancel));
            let call = tokio::task::spawn_blocking(move || {
                if cancel.is_cancelled() {
                    return Ok(());
                }
                listener.on_status(SyncStatus::from(status))
            });
            let failed = match call.await {
                Ok(told) => told.is_err(),
                Err(lost) if lost.is_panic() => true,
                Err(_) => return,
            };
            if failed {
                failures.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                tracing::warn!(target: "evenkeel", "a status listener failed");
            }
        }
    };
    core.runtime().spawn(told);
    subscription
}
