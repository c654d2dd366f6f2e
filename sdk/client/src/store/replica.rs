//! The store as the client sees it.

use std::time::Duration;

use evenkeel_proto::Failure;
use evenkeel_proto::engine::Backlog;
use evenkeel_proto::wire::{Cursor, PullPage, PushAnswer, PushRequest, Snapshot};

use super::SqliteStore;
use super::sync::Batch;
use crate::changes::Change;
use crate::guard::locked;
use crate::replica::{BatchLimits, Replica, ReplicaError, ReplicaFuture, ReplicaSignal};

impl Replica for SqliteStore {
    fn attach(&self, signal: ReplicaSignal) {
        *locked(&self.common.signal) = Some(signal);
    }

    fn cursor(&self) -> ReplicaFuture<'_, Option<Cursor>> {
        Box::pin(async { Ok(self.read(|session| session.cursor()).await?) })
    }

    fn backlog(&self) -> Backlog {
        *locked(&self.common.backlog)
    }

    fn apply_page(&self, from: Cursor, page: PullPage) -> ReplicaFuture<'_, Vec<Change>> {
        Box::pin(async move {
            let ended = page.changes.is_empty();
            let applied = self.call(move |worker| {
                worker.transact(|session, pace| session.apply_page(pace, from, page))
            });
            let changes: Result<_, ReplicaError> = applied.await;
            if ended && changes.is_ok() {
                self.common.caught_up.send_replace(());
            }
            changes
        })
    }

    fn replace(
        &self,
        snapshot: Snapshot,
        resume: Option<Cursor>,
    ) -> ReplicaFuture<'_, Vec<Change>> {
        Box::pin(self.call(move |worker| {
            worker.transact(|session, _| Ok(session.replace(snapshot, resume)?))
        }))
    }

    fn take_batch(&self, limits: BatchLimits) -> ReplicaFuture<'_, Option<PushRequest>> {
        Box::pin(async move {
            let mut caught_up = self.common.caught_up.subscribe();
            let last = tokio::time::Instant::now() + PULL_WAIT_MAX;
            loop {
                let batch = self.call(move |worker| {
                    worker.transact(|session, pace| session.take_batch(pace, limits))
                });
                let batch: Result<Batch, super::StoreError> = batch.await;
                match batch? {
                    Batch::Operations(batch) => return Ok(Some(batch)),
                    Batch::Nothing => return Ok(None),
                    Batch::AfterPull => {
                        let pulled = tokio::time::timeout_at(last, caught_up.changed());
                        if !matches!(pulled.await, Ok(Ok(()))) {
                            return Ok(None);
                        }
                    }
                }
            }
        })
    }

    fn apply_push(&self, batch: PushRequest, answer: PushAnswer) -> ReplicaFuture<'_, Vec<Change>> {
        Box::pin(self.call(move |worker| {
            worker.transact(|session, pace| Ok(session.apply_push(pace, &batch, answer)?))
        }))
    }

    fn refuse_push(&self, batch: PushRequest, failure: Failure) -> ReplicaFuture<'_, ()> {
        Box::pin(self.call(move |worker| {
            worker.transact(|session, pace| Ok(session.refuse_push(pace, &batch, failure)?))
        }))
    }
}

/// A push holds nothing else back meanwhile, but the client can come to rest only after it.
const PULL_WAIT_MAX: Duration = Duration::from_secs(5);
