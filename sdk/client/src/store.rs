//! A durable replica: records, outbox, conflicts and parked writes in one SQLite file.
//!
//! ```
//! use evenkeel::store::{Query, SqliteStore, StoreOptions};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Note { content: String }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("notes.db");
//! let store = SqliteStore::open(path, "account-1", StoreOptions::default()).await?;
//! let notes = store.collection::<Note>();
//! notes.put("n1", &Note { content: "milk".into() }).await?;
//! // The note is safe now. With a client, made with `.replica(store.clone())`, it goes to the server.
//! assert_eq!(store.pending().await?.operations.len(), 1);
//! assert_eq!(notes.list(Query::default()).await?.items[0].value.content, "milk");
//! # Ok(())
//! # }
//! ```

mod clock;
mod collection;
mod error;
mod handle;
mod lease;
mod observe;
mod read;
mod recover;
mod replica;
mod rows;
mod schema;
mod settle;
mod sync;
mod types;
mod verdicts;
mod worker;
mod write;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use evenkeel_proto::wire::Record;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

pub use clock::WallClock;
pub use collection::{Collection, Item};
pub use error::{OpenError, StoreError};
pub use evenkeel_proto::merge::Clash;
pub use handle::WriteHandle;
pub use observe::Observed;
pub use recover::Recovery;
pub use types::{
    Bookmark, Bootstrap, Conflict, Durability, Order, Page, Pending, PendingWrite, Query,
    RejectReason, Rejected, Resolution, SignOut, StoreOptions, Verdict,
};

use crate::guard::locked;
use rows::Session;
use worker::{Common, Job, Worker};
use write::Written;

/// Records in an SQLite file. Clones are handles to the same store, which is closed with the last one.
///
/// A write returns once it is durable, and a call whose future is dropped either happens as a whole or
/// not at all.
///
/// Several processes may have the file open and write to it, all for the same account. The client of one
/// of them syncs it, and another one takes over within seconds where that one ends, is suspended or
/// freezes. What one writes the others see, send and settle within a second or so: observed records,
/// what waits, and the verdicts on [`WriteHandle`]s, wherever the write was made.
#[derive(Clone)]
pub struct SqliteStore {
    jobs: mpsc::Sender<Job>,
    common: Arc<Common>,
    /// Where the file is.
    dir: Arc<Path>,
}

impl SqliteStore {
    /// Opens the store of an account at `path`, and makes it where there is no file. Checks the file
    /// from end to end, which takes about a second per gigabyte or two.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. A file that is damaged, foreign, from a later release or another account's is
    /// left as it is.
    pub async fn open(
        path: impl Into<PathBuf>,
        account_id: impl Into<String>,
        options: StoreOptions,
    ) -> Result<Self, OpenError> {
        let path = path.into();
        let dir = match path.parent() {
            Some(dir) if dir != Path::new("") => Arc::from(dir),
            _ => Arc::from(Path::new(".")),
        };
        let (jobs, common) = worker::start(path, account_id.into(), options).await?;
        Ok(Self { jobs, common, dir })
    }

    /// Makes a damaged store of this account's usable again: what the app wrote and the server has not
    /// answered for is kept wherever it can be read, and the server's records come again with the next
    /// sync. A copy of the damaged file stays beside it. It must be closed, in every process.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]: [`NotAStore`](OpenError::NotAStore) or [`Corrupt`](OpenError::Corrupt) where
    /// not even whose store it is can be read, [`Busy`](OpenError::Busy) where somebody has it open. The
    /// file is as it was.
    pub async fn recover(
        path: impl Into<PathBuf>,
        account_id: impl Into<String>,
    ) -> Result<Recovery, OpenError> {
        let (path, account_id) = (path.into(), account_id.into());
        let unusable = |message: String| OpenError::Unusable {
            path: path.clone(),
            message,
        };
        let (done, recovered) = oneshot::channel();
        let file = path.clone();
        let work = move || drop(done.send(recover::recover(&file, &account_id)));
        let thread = thread::Builder::new().name("evenkeel-recover".into());
        thread.spawn(work).map_err(|e| unusable(e.to_string()))?;
        let lost = |_| Err(unusable("recovering it panicked".into()));
        recovered.await.unwrap_or_else(lost)
    }

    /// Writes a record as a whole: fields that are not in `fields` are removed. The service's five names
    /// in there are left out. Settles a conflict over
    /// the record, and replaces a parked write to it.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; nothing was written.
    pub async fn put(
        &self,
        id: impl Into<String>,
        fields: Map<String, Value>,
    ) -> Result<WriteHandle, StoreError> {
        let id = id.into();
        self.write(move |session| session.write(&id, Some(fields)))
            .await
    }

    /// [`put`](Self::put) for an app that knows these fields of a record only: those in `known` that are
    /// not in `fields` are removed, all others are left as they are.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; nothing was written.
    pub async fn put_known(
        &self,
        id: impl Into<String>,
        fields: Map<String, Value>,
        known: BTreeSet<String>,
    ) -> Result<WriteHandle, StoreError> {
        let id = id.into();
        self.write(move |session| session.write_known(&id, fields, |_| known))
            .await
    }

    /// Writes some fields of a record and leaves the others as they are. `null` is a value.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] where there is no such record; see also [`StoreError`].
    pub async fn patch(
        &self,
        id: impl Into<String>,
        fields: Map<String, Value>,
    ) -> Result<WriteHandle, StoreError> {
        let id = id.into();
        self.write(move |session| session.patch(&id, fields)).await
    }

    /// Deletes a record. One that is not there is as good as deleted.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; nothing was written.
    pub async fn delete(&self, id: impl Into<String>) -> Result<WriteHandle, StoreError> {
        let id = id.into();
        self.write(move |session| session.write(&id, None)).await
    }

    /// Takes over what the app had before there was a service, as local writes that go to the server
    /// like any other: a record that it has too is merged, or in conflict. All of them or none, and
    /// once per store: an app can call it at each start. They do not count against the outbox's limits.
    ///
    /// Of a record the id, both times and the fields are used. Records that the store knows already and
    /// deleted ones are left out.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; nothing was taken.
    pub async fn bootstrap(&self, records: Vec<Record>) -> Result<Bootstrap, StoreError> {
        self.call(move |worker| worker.transact(|session, _| session.bootstrap(records)))
            .await
    }

    /// The record as the app sees it, with the local writes on top; `None` where there is none, or it
    /// was deleted.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn get(&self, id: impl Into<String>) -> Result<Option<Record>, StoreError> {
        let id = id.into();
        self.read(move |session| session.view(&id)).await
    }

    /// A part of the records as the app sees them, in order.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn list(&self, query: Query) -> Result<Page<Record>, StoreError> {
        self.read(move |session| session.list(&query)).await
    }

    /// The record as the app sees it, now and each time it looks different; see [`Observed`].
    pub fn observe(&self, id: impl Into<String>) -> Observed<Option<Record>> {
        observe::record(self, id.into(), Ok)
    }

    /// A part of the records as the app sees them, in order, now and each time it looks different;
    /// see [`Observed`].
    pub fn observe_list(&self, query: Query) -> Observed<Page<Record>> {
        observe::list(self, query, Ok)
    }

    /// The records as values of a type of the app's.
    #[must_use]
    pub fn collection<T: Serialize + DeserializeOwned + Send + 'static>(&self) -> Collection<T> {
        Collection::new(self.clone())
    }

    /// What waits for the server, in the order of the writes.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn pending(&self) -> Result<Pending, StoreError> {
        let pending = |session: &Session<'_>| {
            let operations = session.pending()?;
            let level = session.options.level(session.counts()?.kept);
            Ok(Pending { operations, level })
        };
        self.read(pending).await
    }

    /// The records that wait for a decision, oldest first.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn conflicts(&self) -> Result<Vec<Conflict>, StoreError> {
        let conflicts = |session: &Session<'_>| {
            let rows = session.conflicts()?.into_iter();
            rows.map(|(wish, since_ms)| session.conflict(wish, since_ms))
                .collect()
        };
        self.read(conflicts).await
    }

    /// Decides a conflict. The decision is a write like any other: durable, sent when it can be, and
    /// met by another conflict where the server's record moves on meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] where there is no such conflict; see also [`StoreError`].
    pub async fn resolve(
        &self,
        id: impl Into<String>,
        resolution: Resolution,
    ) -> Result<WriteHandle, StoreError> {
        let id = id.into();
        self.write(move |session| session.resolve(&id, resolution))
            .await
    }

    /// The writes that the server does not take, oldest first.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn rejected(&self) -> Result<Vec<Rejected>, StoreError> {
        self.read(|session| session.parked()).await
    }

    /// Sends a parked write once more, on top of what the server has by now.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] where there is no such parked write; see also [`StoreError`].
    pub async fn retry(&self, id: impl Into<String>) -> Result<WriteHandle, StoreError> {
        let id = id.into();
        self.write(move |session| session.retry(&id)).await
    }

    /// Forgets a parked write: the app sees the server's record again.
    ///
    /// # Errors
    ///
    /// [`StoreError::NotFound`] where there is no such parked write; see also [`StoreError`].
    pub async fn discard(&self, id: impl Into<String>) -> Result<(), StoreError> {
        let id = id.into();
        self.call(move |worker| worker.transact(|session, _| session.discard(&id)))
            .await
    }

    /// Closes the store for all handles, with or without what is in it. Stop the client first.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; the store is as it was, and open.
    pub async fn sign_out(&self, what: SignOut) -> Result<(), StoreError> {
        self.call(move |worker| match what {
            SignOut::Keep => {
                worker.close();
                Ok(())
            }
            SignOut::Wipe => worker.wipe(),
        })
        .await
    }

    /// Closes the store for all handles; returns once the file is closed. Without it the file is closed
    /// a moment after the last handle is dropped.
    ///
    /// # Errors
    ///
    /// [`StoreError::Closed`] where it was closed already.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.sign_out(SignOut::Keep).await
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Session<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.call(move |worker| worker.read(work)).await
    }

    async fn write(
        &self,
        work: impl FnOnce(&mut Session<'_>) -> Result<Written, StoreError> + Send + 'static,
    ) -> Result<WriteHandle, StoreError> {
        self.call(move |worker| worker.write(work)).await
    }

    /// Has the thread do a job. Once it is handed over it is done, whoever waits.
    async fn call<T, E>(
        &self,
        work: impl FnOnce(&mut Worker) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |worker| drop(answer.send(work(worker))));
        if self.jobs.send(job).await.is_err() {
            return Err(StoreError::Closed.into());
        }
        let lost = |_| StoreError::Failed {
            message: "the store panicked".into(),
        };
        answered.await.map_err(lost)?
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("backlog", &*locked(&self.common.backlog))
            .finish_non_exhaustive()
    }
}
