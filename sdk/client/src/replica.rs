//! Where the data lives: what the client asks of a store.

mod body;
mod lease;
mod memory;
mod metered;
mod outbox;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Weak};

use evenkeel_proto::Failure;
use evenkeel_proto::engine::{Backlog, Pulled};
use evenkeel_proto::wire::{Cursor, PushAnswer, PushRequest};

pub use body::{PageBody, SnapshotBody};
pub use lease::{Hold, Lease};
pub use memory::{ConflictingRecord, MemoryReplica, RefusedWrite, WriteError};

pub(crate) use body::{Body, Content};

use crate::changes::Change;
use crate::mailbox::Command;
use crate::shared::Shared;

/// What a replica's methods return.
pub type ReplicaFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, ReplicaError>> + Send + 'a>>;

/// A copy of the server's records, and the local writes that the server has not answered for.
///
/// The client calls one of its `apply_*`, `replace` and `refuse_push` at a time, and lets it run to
/// its end once begun (unless the client itself is dropped). Each is one transaction: it happens as a
/// whole or not at all, even when its future is dropped. A replica serves one client at a time.
pub trait Replica: Send + Sync + 'static {
    /// Called once, when the client is built: how to tell it about local writes.
    fn attach(&self, signal: ReplicaSignal);

    /// How far the replica has come; `None` if it never synced.
    fn cursor(&self) -> ReplicaFuture<'_, Option<Cursor>>;

    /// Up to this cursor the log has been read again, after the time for late commits: the highest of
    /// [`PageBody::settles`] that was noted, and 0 again after [`Replica::replace`]. With 0, the default, each start
    /// costs one more request, which reads the last changes again.
    fn settled(&self) -> ReplicaFuture<'_, Cursor> {
        Box::pin(std::future::ready(Ok(Cursor::ZERO)))
    }

    /// How many things wait. Called often, so it must neither block nor do I/O; a write must be
    /// counted before [`ReplicaSignal::wrote`] is called for it.
    fn backlog(&self) -> Backlog;

    /// Applies a page that was read from `from`, and moves the cursor to the page's `nextCursor` if
    /// that is further. Returns what the page said, and what changed by it. Idempotent: a record is
    /// changed only by a higher version than it has. A page that asks for a reset changes nothing. One
    /// that begins beyond the replica's own cursor would leave a hole: it changes nothing and
    /// answers [`ReplicaError::Gap`]. Notes what the page [settles](PageBody::settles).
    fn apply_page(&self, from: Cursor, page: PageBody) -> ReplicaFuture<'_, (Pulled, Vec<Change>)>;

    /// Replaces all records by the snapshot's (local writes that wait stay on top), and sets the cursor
    /// to `resume`, or to the snapshot's own where that is `None`. Returns the cursor, and what changed.
    fn replace(
        &self,
        snapshot: SnapshotBody,
        resume: Option<Cursor>,
    ) -> ReplicaFuture<'_, (Cursor, Vec<Change>)>;

    /// A directory of the app's for answers that are too large for memory (pages beyond 1 MiB,
    /// snapshots), until they are applied. They are in unnamed files there, gone with the process.
    /// `None`, the default, keeps them in memory.
    fn spool_dir(&self) -> Option<PathBuf> {
        None
    }

    /// The oldest waiting operations, at most so many and so large together (but at least one);
    /// `None` when nothing waits. They stay in the outbox, and are given again with the same
    /// `requestId`s and bytes, until one of the two methods below settles them.
    fn take_batch(&self, limits: BatchLimits) -> ReplicaFuture<'_, Option<PushRequest>>;

    /// Settles what the server said about a batch. An operation in neither of its lists is sent once
    /// more, then kept as refused.
    fn apply_push(&self, batch: PushRequest, answer: PushAnswer) -> ReplicaFuture<'_, Vec<Change>>;

    /// The server refused the bytes of this batch: they must not be sent again as they are. The
    /// replica makes the next batch smaller, and keeps a single refused operation out of the way.
    fn refuse_push(&self, batch: PushRequest, failure: Failure) -> ReplicaFuture<'_, ()>;

    /// How processes that share it take turns; `None` for a replica that one process has to itself.
    fn lease(&self) -> Option<&dyn Lease> {
        None
    }
}

/// How large a batch may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// No more operations than this.
    pub ops_max: usize,
    /// No more bytes of JSON than this, unless the first operation alone is larger.
    pub bytes_max: usize,
}

/// The replica could not do it. The client tells so in its status (`store_failed`, `storage_full`, or
/// what is wrong with an answer) and tries again by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicaError {
    /// The page would leave a hole; see [`Replica::apply_page`].
    #[error("a page from {from} does not join a replica at {cursor}")]
    Gap {
        /// Where the page begins.
        from: Cursor,
        /// How far the replica has come.
        cursor: Cursor,
    },
    /// The page or snapshot is not what the contract says: the service's fault, not the store's.
    /// [`PageBody`] and [`SnapshotBody`] say so.
    #[error("{0}")]
    Unreadable(Failure),
    /// No room is left: the user has to make some.
    #[error("no room is left for the store")]
    Full,
    /// Another process syncs the replica; see [`Lease`]. Nothing was changed.
    #[error("another process syncs the store")]
    LeaseLost,
    /// Anything else.
    #[error("the store failed: {message}")]
    Failed {
        /// What happened, without content of records.
        message: String,
    },
}

/// Tells the client about local writes. Holds nothing of the client alive.
#[derive(Clone, Debug)]
pub struct ReplicaSignal(pub(crate) Weak<Shared>);

impl ReplicaSignal {
    /// The outbox or the list of conflicts changed because of the app; with the record it did, if any.
    /// Cheap, callable from any thread.
    pub fn wrote(&self, change: Option<Change>) {
        if let Some(shared) = self.0.upgrade() {
            shared.local_write(change);
        }
    }

    /// Another process asks this one, which holds the [`Lease`], to sync now.
    pub fn asked(&self) {
        if let Some(shared) = self.0.upgrade() {
            shared.mailbox.post(Command::SyncNow);
        }
    }

    /// Whether there is a client to tell.
    pub(crate) fn is_heard(&self) -> bool {
        self.0.strong_count() > 0
    }
}

impl<R: Replica + ?Sized> Replica for Arc<R> {
    fn attach(&self, signal: ReplicaSignal) {
        (**self).attach(signal);
    }

    fn cursor(&self) -> ReplicaFuture<'_, Option<Cursor>> {
        (**self).cursor()
    }

    fn settled(&self) -> ReplicaFuture<'_, Cursor> {
        (**self).settled()
    }

    fn backlog(&self) -> Backlog {
        (**self).backlog()
    }

    fn apply_page(&self, from: Cursor, page: PageBody) -> ReplicaFuture<'_, (Pulled, Vec<Change>)> {
        (**self).apply_page(from, page)
    }

    fn replace(
        &self,
        snapshot: SnapshotBody,
        resume: Option<Cursor>,
    ) -> ReplicaFuture<'_, (Cursor, Vec<Change>)> {
        (**self).replace(snapshot, resume)
    }

    fn spool_dir(&self) -> Option<PathBuf> {
        (**self).spool_dir()
    }

    fn take_batch(&self, limits: BatchLimits) -> ReplicaFuture<'_, Option<PushRequest>> {
        (**self).take_batch(limits)
    }

    fn apply_push(&self, batch: PushRequest, answer: PushAnswer) -> ReplicaFuture<'_, Vec<Change>> {
        (**self).apply_push(batch, answer)
    }

    fn refuse_push(&self, batch: PushRequest, failure: Failure) -> ReplicaFuture<'_, ()> {
        (**self).refuse_push(batch, failure)
    }

    fn lease(&self) -> Option<&dyn Lease> {
        (**self).lease()
    }
}
