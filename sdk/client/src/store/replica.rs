//! The store as the client sees it.

use std::path::PathBuf;
use std::time::Duration;

use evenkeel_proto::Failure;
use evenkeel_proto::engine::{Backlog, Pulled};
use evenkeel_proto::wire::{Cursor, PushAnswer, PushRequest};

use super::SqliteStore;
use super::sync::{Batch, Undone};
use crate::changes::Change;
use crate::guard::locked;
use crate::replica::{BatchLimits, PageBody, Replica, ReplicaFuture, ReplicaSignal, SnapshotBody};

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

    fn apply_page(&self, from: Cursor, page: PageBody) -> ReplicaFuture<'_, (Pulled, Vec<Change>)> {
        Box::pin(async move {
            let applied = self.call(move |worker| {
                worker.transact(|session, pace| session.apply_page(pace, from, page))
            });
            let (pulled, changes) = match applied.await {
                Ok(applied) => applied,
                Err(Undone::Reset(pulled)) => (pulled, Vec::new()),
                Err(Undone::Failed(error)) => return Err(error),
            };
            if pulled.changes == 0 {
                self.common.caught_up.send_replace(());
            }
            Ok((pulled, changes))
        })
    }

    fn replace(
        &self,
        snapshot: SnapshotBody,
        resume: Option<Cursor>,
    ) -> ReplicaFuture<'_, (Cursor, Vec<Change>)> {
        Box::pin(
            self.call(move |worker| {
                worker.transact(|session, _| session.replace(snapshot, resume))
            }),
        )
    }

    /// Beside the file, where SQLite has to be able to write too.
    fn spool_dir(&self) -> Option<PathBuf> {
        Some(self.dir.to_path_buf())
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
