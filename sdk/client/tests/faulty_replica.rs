//! A store that is slow, panics or never answers is the client's to bear.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is a test's verdict"
)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{Service, builder, degraded, synced, until};
use evenkeel::wire::{PushAnswer, PushRequest};
use evenkeel::{
    Backlog, BatchLimits, Cause, Change, Cursor, Failure, Lifecycle, MemoryReplica, PageBody,
    Pulled, Replica, ReplicaFuture, ReplicaSignal, SnapshotBody,
};
use serde_json::Map;

/// A store in memory with a fault.
#[derive(Default)]
struct Odd {
    notes: MemoryReplica,
    cursor_hangs: AtomicBool,
    cursor_panics: AtomicBool,
    backlog_panics: AtomicBool,
    /// How many pages make it panic.
    page_panics: AtomicUsize,
    page_takes: Duration,
    applying: Arc<AtomicBool>,
    overlaps: AtomicUsize,
}

impl Replica for Odd {
    fn attach(&self, signal: ReplicaSignal) {
        self.notes.attach(signal);
    }

    fn cursor(&self) -> ReplicaFuture<'_, Option<Cursor>> {
        assert!(
            !self.cursor_panics.load(Ordering::SeqCst),
            "the store's bug"
        );
        if self.cursor_hangs.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        self.notes.cursor()
    }

    fn backlog(&self) -> Backlog {
        assert!(
            !self.backlog_panics.load(Ordering::SeqCst),
            "the store's bug"
        );
        self.notes.backlog()
    }

    fn apply_page(&self, from: Cursor, page: PageBody) -> ReplicaFuture<'_, (Pulled, Vec<Change>)> {
        let panics = self.page_panics.load(Ordering::SeqCst);
        if panics > 0 {
            self.page_panics.store(panics - 1, Ordering::SeqCst);
            panic!("the store's bug");
        }
        self.applying.store(true, Ordering::SeqCst);
        Box::pin(async move {
            let applied = self.notes.apply_page(from, page).await;
            tokio::time::sleep(self.page_takes).await;
            self.applying.store(false, Ordering::SeqCst);
            applied
        })
    }

    fn replace(
        &self,
        all: SnapshotBody,
        resume: Option<Cursor>,
    ) -> ReplicaFuture<'_, (Cursor, Vec<Change>)> {
        self.notes.replace(all, resume)
    }

    fn take_batch(&self, limits: BatchLimits) -> ReplicaFuture<'_, Option<PushRequest>> {
        self.notes.take_batch(limits)
    }

    fn apply_push(&self, batch: PushRequest, answer: PushAnswer) -> ReplicaFuture<'_, Vec<Change>> {
        let overlaps = self.applying.load(Ordering::SeqCst);
        self.overlaps.fetch_add(overlaps.into(), Ordering::SeqCst);
        self.notes.apply_push(batch, answer)
    }

    fn refuse_push(&self, batch: PushRequest, failure: Failure) -> ReplicaFuture<'_, ()> {
        self.notes.refuse_push(batch, failure)
    }
}

#[tokio::test]
async fn a_store_that_never_answers_keeps_neither_stop_nor_drop_waiting() {
    let service = Service::start().await;
    let store = Arc::new(Odd::default());
    store.cursor_hangs.store(true, Ordering::SeqCst);
    let builder = builder(&service.url).replica(Arc::clone(&store));
    let client = builder.build().unwrap();
    let calls = async {
        client.start().unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.stop().await;
        client.start().unwrap();
        client.stop().await;
        client.start().unwrap();
        let soon = Duration::from_millis(20);
        assert!(client.suspend(soon).await.is_err());
        assert!(client.sync_once(soon).await.is_err());
        client.stop().await;
    };
    let done = tokio::time::timeout(common::PATIENCE, calls).await;
    assert!(done.is_ok(), "hangs");
    store.cursor_hangs.store(false, Ordering::SeqCst);
    client.start().unwrap();
    synced(&client).await;
}

#[tokio::test]
async fn a_store_that_panics_is_store_failed_and_the_sync_goes_on() {
    let service = Service::start().await;
    service.write("a", "1");
    let store = Arc::new(Odd::default());
    store.page_panics.store(1, Ordering::SeqCst);
    store.cursor_panics.store(true, Ordering::SeqCst);
    let builder = builder(&service.url).replica(Arc::clone(&store));
    let client = builder.build().unwrap();
    client.start().unwrap();
    let status = degraded(&client).await;
    assert_eq!(status.cause, Some(Cause::StoreFailed));
    assert_eq!(status.lifecycle, Lifecycle::Running);
    client.retry_now();
    synced(&client).await;
    assert_eq!(store.notes.len(), 1);
}

#[tokio::test]
async fn a_store_that_cannot_count_does_not_end_the_client() {
    let service = Service::start().await;
    let store = Arc::new(Odd::default());
    let builder = builder(&service.url).replica(Arc::clone(&store));
    let client = builder.build().unwrap();
    client.start().unwrap();
    synced(&client).await;
    store.backlog_panics.store(true, Ordering::SeqCst);
    store.notes.put("a", Map::new()).unwrap();
    client.sync_now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(client.status().lifecycle, Lifecycle::Running);
    store.backlog_panics.store(false, Ordering::SeqCst);
    store.notes.put("a", Map::new()).unwrap();
    common::eventually("the write at the server", || service.content("a").is_some()).await;
}

#[tokio::test]
async fn one_answer_is_applied_at_a_time() {
    let service = Service::start().await;
    let store = Arc::new(Odd {
        page_takes: Duration::from_millis(200),
        ..Odd::default()
    });
    let builder = builder(&service.url).replica(Arc::clone(&store));
    let client = builder.build().unwrap();
    client.start().unwrap();
    synced(&client).await;
    for round in 0..3 {
        let id = format!("n{round}");
        service.write("theirs", &id);
        let applying = || store.applying.load(Ordering::SeqCst);
        common::eventually("a page that is applied", applying).await;
        store.notes.put(&id, Map::new()).unwrap();
        until(&client, "sent", |s| s.pending == 0).await;
        common::eventually("the write", || service.content(&id).is_some()).await;
    }
    synced(&client).await;
    assert_eq!(store.overlaps.load(Ordering::SeqCst), 0);
}
