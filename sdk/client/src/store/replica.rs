//! The store as the client sees it.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use evenkeel_proto::Failure;
use evenkeel_proto::engine::{Backlog, Pulled};
use evenkeel_proto::wire::{Cursor, PushAnswer, PushRequest};

use super::rows::{signed, unsigned};
use super::sync::{Batch, Undone};
use super::worker::Worker;
use super::{SqliteStore, StoreError};
use crate::changes::Change;
use crate::guard::locked;
use crate::replica::{
    BatchLimits, Hold, Lease, PageBody, Replica, ReplicaError, ReplicaFuture, ReplicaSignal,
    SnapshotBody,
};

impl Replica for SqliteStore {
    fn attach(&self, signal: ReplicaSignal) {
        *locked(&self.common.signal) = Some(signal);
    }

    fn cursor(&self) -> ReplicaFuture<'_, Option<Cursor>> {
        Box::pin(async { Ok(self.read(|session| session.cursor()).await?) })
    }

    fn settled(&self) -> ReplicaFuture<'_, Cursor> {
        Box::pin(async { Ok(self.read(|session| session.settled()).await?) })
    }

    fn backlog(&self) -> Backlog {
        *locked(&self.common.backlog)
    }

    fn apply_page(&self, from: Cursor, page: PageBody) -> ReplicaFuture<'_, (Pulled, Vec<Change>)> {
        Box::pin(async move {
            let applied = self.call(move |worker| {
                worker.sync(|session, pace| session.apply_page(pace, from, page))
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
            self.call(move |worker| worker.sync(|session, _| session.replace(snapshot, resume))),
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
                    worker.sync(|session, pace| {
                        Ok::<_, ReplicaError>(session.take_batch(pace, limits)?)
                    })
                });
                match batch.await? {
                    Batch::Operations(batch) => return Ok(Some(batch)),
                    Batch::Nothing => return Ok(None),
                    Batch::AfterPull => {
                        let mut held = self.common.held.subscribe();
                        let pulled = async {
                            tokio::select! {
                                pulled = caught_up.changed() => pulled.is_ok(),
                                _ = held.wait_for(|held| !held) => false,
                            }
                        };
                        if !matches!(tokio::time::timeout_at(last, pulled).await, Ok(true)) {
                            return Ok(None);
                        }
                    }
                }
            }
        })
    }

    fn apply_push(&self, batch: PushRequest, answer: PushAnswer) -> ReplicaFuture<'_, Vec<Change>> {
        Box::pin(self.call(move |worker| {
            worker.sync(|session, pace| Ok(session.apply_push(pace, &batch, answer)?))
        }))
    }

    fn refuse_push(&self, batch: PushRequest, failure: Failure) -> ReplicaFuture<'_, ()> {
        Box::pin(self.call(move |worker| {
            worker.sync(|session, pace| Ok(session.refuse_push(pace, &batch, failure)?))
        }))
    }

    fn lease(&self) -> Option<&dyn Lease> {
        Some(self)
    }
}

impl Lease for SqliteStore {
    fn hold(&self) -> ReplicaFuture<'_, Hold> {
        Box::pin(async { Ok(self.call(Worker::hold).await?) })
    }

    fn lost(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let mut held = self.common.held.subscribe();
        // The sender lives as long as `self`.
        Box::pin(async move { drop(held.wait_for(|held| !held).await) })
    }

    fn publish(&self, status: String) {
        *locked(&self.common.status) = Some(status);
        // Where too much waits, it is written with the next look at the other processes.
        drop(self.jobs.try_send(Box::new(Worker::publish_status)));
    }

    fn ask(&self) -> ReplicaFuture<'_, u64> {
        Box::pin(async { Ok(self.call(Worker::ask).await?) })
    }

    fn asked(&self) -> u64 {
        unsigned(self.common.asked.load(Ordering::Relaxed))
    }

    fn answer(&self, question: u64) {
        let before = self
            .common
            .answered
            .fetch_max(signed(question), Ordering::Relaxed);
        if before < signed(question) {
            drop(self.jobs.try_send(Box::new(Worker::publish_status)));
        }
    }

    fn release(&self) -> ReplicaFuture<'_, ()> {
        Box::pin(async {
            let released = self.call(|worker| {
                worker.release();
                Ok::<_, StoreError>(())
            });
            Ok(released.await?)
        })
    }

    fn suspend(&self) -> ReplicaFuture<'_, ()> {
        self.common.interrupted.store(true, Ordering::Relaxed);
        Box::pin(async {
            let suspended = self.call(|worker| {
                worker.suspend();
                Ok::<_, StoreError>(())
            });
            Ok(suspended.await?)
        })
    }
}

/// A push holds nothing else back meanwhile, but the client can come to rest only after it.
const PULL_WAIT_MAX: Duration = Duration::from_secs(5);
