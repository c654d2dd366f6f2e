//! What a record or a list looks like, told again whenever it looks different.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use evenkeel_proto::wire::Record;
use futures_core::Stream;
use tokio::sync::watch;

use super::SqliteStore;
use super::error::StoreError;
use super::types::{Page, Query};
use crate::follow::Follow;

/// What the app sees of something in the store: at once, and then each time it looks different,
/// whoever made the difference (this app, the server, or within half a second another process). A
/// reader that is slower than the changes skips some, but never the latest.
///
/// A failure is an item, and the stream goes on after it. It ends when the store is closed, and keeps
/// it open like a handle does.
#[must_use = "a stream gives nothing unless it is read"]
pub struct Observed<T>(Pin<Box<dyn Stream<Item = Result<T, StoreError>> + Send>>);

impl<T> Observed<T> {
    /// The next look; `None` once the store is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<T, StoreError>> {
        poll_fn(|cx| self.0.as_mut().poll_next(cx)).await
    }
}

impl<T> Stream for Observed<T> {
    type Item = Result<T, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl<T> fmt::Debug for Observed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}

/// One record as the app sees it, in the form that `shape` gives it.
pub(super) fn record<T: Send + 'static>(
    store: &SqliteStore,
    id: String,
    shape: fn(Option<Record>) -> Result<T, StoreError>,
) -> Observed<T> {
    let look = move |store: SqliteStore| -> Looking<_> {
        let id = id.clone();
        Box::pin(async move { store.get(id).await })
    };
    observe(store, Box::new(look), shape)
}

/// A part of the records as the app sees them, in the form that `shape` gives it.
pub(super) fn list<T: Send + 'static>(
    store: &SqliteStore,
    query: Query,
    shape: fn(Page<Record>) -> Result<T, StoreError>,
) -> Observed<T> {
    let look = move |store: SqliteStore| -> Looking<_> {
        let query = query.clone();
        Box::pin(async move { store.list(query).await })
    };
    observe(store, Box::new(look), shape)
}

fn observe<R, T>(
    store: &SqliteStore,
    look: Box<dyn Fn(SqliteStore) -> Looking<R> + Send>,
    shape: fn(R) -> Result<T, StoreError>,
) -> Observed<T>
where
    R: Clone + PartialEq + Send + 'static,
    T: Send + 'static,
{
    let mut touched = store.common.touched.subscribe();
    // The first look is due at once.
    touched.mark_changed();
    let watch = Watch {
        store: store.clone(),
        touched,
        look,
        shape,
        last: None,
    };
    Observed(Box::pin(Follow::new(watch, |watch| Box::pin(step(watch)))))
}

type Looking<R> = Pin<Box<dyn Future<Output = Result<R, StoreError>> + Send>>;

struct Watch<R, T> {
    store: SqliteStore,
    touched: watch::Receiver<u64>,
    look: Box<dyn Fn(SqliteStore) -> Looking<R> + Send>,
    shape: fn(R) -> Result<T, StoreError>,
    /// What was told last.
    last: Option<Result<R, StoreError>>,
}

async fn step<R, T>(mut watch: Watch<R, T>) -> (Option<Result<T, StoreError>>, Watch<R, T>)
where
    R: Clone + PartialEq,
{
    // The sender lives as long as the store that `watch` holds.
    while watch.touched.changed().await.is_ok() {
        let seen = (watch.look)(watch.store.clone()).await;
        if seen == Err(StoreError::Closed) {
            break;
        }
        if watch.last.as_ref() != Some(&seen) {
            watch.last = Some(seen.clone());
            return (Some(seen.and_then(watch.shape)), watch);
        }
    }
    (None, watch)
}
