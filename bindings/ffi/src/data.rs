//! The client's records, what waits, and what needs a decision.

use std::collections::BTreeSet;
use std::sync::Arc;

use evenkeel::store;
use evenkeel::store::SqliteStore;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::client::EvenkeelClient;
use crate::errors::{DataError, OpenError};
use crate::feeds::{Feed, ListFeed, RecordFeed};
use crate::open::Core;
use crate::records::{
    Bootstrap, ImportedRecord, ListQuery, RecordPage, Recovery, StoredRecord, fields,
};
use crate::runtime::{CancelToken, call, run};
use crate::writes::{Conflict, PendingWrites, Rejected, Resolution, Verdict};

/// A local write that is durable.
#[derive(Debug, uniffi::Object)]
pub struct WriteHandle {
    verdict: Arc<Mutex<Awaited>>,
    runtime: Handle,
}

#[derive(Debug)]
enum Awaited {
    Not(store::WriteHandle),
    Known(Result<Verdict, DataError>),
}

impl WriteHandle {
    fn new(core: &Core, handle: store::WriteHandle) -> Arc<Self> {
        Arc::new(Self {
            verdict: Arc::new(Mutex::new(Awaited::Not(handle))),
            runtime: core.runtime().clone(),
        })
    }
}

#[uniffi::export]
impl WriteHandle {
    /// The server's verdict, however long that takes; `Closed` where none will come. It may be asked for
    /// again, and to cancel it changes nothing about the write.
    pub async fn verdict(&self, cancel: Option<Arc<CancelToken>>) -> Result<Verdict, DataError> {
        let verdict = Arc::clone(&self.verdict);
        run(&self.runtime, cancel, async move {
            let mut awaited = verdict.lock().await;
            if let Awaited::Not(handle) = &mut *awaited {
                let verdict = handle.await.map_err(DataError::from);
                *awaited = Awaited::Known(verdict.and_then(Verdict::try_from));
            }
            match &*awaited {
                Awaited::Known(verdict) => verdict.clone(),
                Awaited::Not(_) => Err(DataError::Closed),
            }
        })
        .await
    }
}

#[uniffi::export]
impl EvenkeelClient {
    /// Writes a record as a whole: fields that are not in the object `json` are removed. Returns once it is
    /// durable. Settles a conflict over the record, and replaces a parked write to it.
    pub async fn put(&self, id: String, json: String) -> Result<Arc<WriteHandle>, DataError> {
        self.write(move |core| async move { Ok(core.store.put(id, fields(&json)?).await?) })
            .await
    }

    /// `put` for an app that knows the fields in `known` only: those of them that are not in `json` are
    /// removed, all others are left as they are.
    pub async fn put_known(
        &self,
        id: String,
        json: String,
        known: Vec<String>,
    ) -> Result<Arc<WriteHandle>, DataError> {
        let known: BTreeSet<String> = known.into_iter().collect();
        self.write(
            move |core| async move { Ok(core.store.put_known(id, fields(&json)?, known).await?) },
        )
        .await
    }

    /// Writes the fields in the object `json` and leaves the others as they are. `null` is a value.
    pub async fn patch(&self, id: String, json: String) -> Result<Arc<WriteHandle>, DataError> {
        self.write(move |core| async move { Ok(core.store.patch(id, fields(&json)?).await?) })
            .await
    }

    /// Deletes a record. One that is not there is as good as deleted.
    pub async fn delete(&self, id: String) -> Result<Arc<WriteHandle>, DataError> {
        self.write(move |core| async move { Ok(core.store.delete(id).await?) })
            .await
    }

    /// The record as the app sees it, with the local writes on top; none where there is none, or it was
    /// deleted.
    pub async fn get(&self, id: String) -> Result<Option<StoredRecord>, DataError> {
        self.run(None, move |core| async move {
            Ok(core.store.get(id).await?.map(StoredRecord::from))
        })
        .await
    }

    /// A part of the records as the app sees them.
    pub async fn list(&self, query: ListQuery) -> Result<RecordPage, DataError> {
        self.run(None, move |core| async move {
            core.store.list(query.into_query()?).await?.try_into()
        })
        .await
    }

    /// The record as the app sees it, now and each time it looks different.
    pub fn observe(&self, id: String) -> Result<Arc<RecordFeed>, DataError> {
        let core = self.core().ok_or(DataError::Closed)?;
        call(core.runtime(), || {
            Ok(Arc::new(RecordFeed(Feed::new(
                &core,
                core.store.observe(id),
            ))))
        })
    }

    /// A part of the records as the app sees them, now and each time it looks different.
    pub fn observe_list(&self, query: ListQuery) -> Result<Arc<ListFeed>, DataError> {
        let core = self.core().ok_or(DataError::Closed)?;
        call(core.runtime(), || {
            let seen = core.store.observe_list(query.into_query()?);
            Ok(Arc::new(ListFeed(Feed::new(&core, seen))))
        })
    }

    /// Takes over what the app had before there was a service, once per store: an app can call it at each
    /// start. All of them or none.
    pub async fn bootstrap(&self, records: Vec<ImportedRecord>) -> Result<Bootstrap, DataError> {
        self.run(None, move |core| async move {
            let records = records.into_iter().map(ImportedRecord::into_record);
            let records = records.collect::<Result<_, _>>()?;
            Ok(core.store.bootstrap(records).await?.into())
        })
        .await
    }

    /// What waits for the server, in the order of the writes.
    pub async fn pending(&self) -> Result<PendingWrites, DataError> {
        self.run(None, |core| async move {
            Ok(core.store.pending().await?.into())
        })
        .await
    }

    /// The records that wait for a decision, oldest first.
    pub async fn conflicts(&self) -> Result<Vec<Conflict>, DataError> {
        self.run(None, |core| async move {
            let conflicts = core.store.conflicts().await?;
            Ok(conflicts.into_iter().map(Conflict::from).collect())
        })
        .await
    }

    /// Decides a conflict. The decision is a write like any other.
    pub async fn resolve(
        &self,
        id: String,
        choice: Resolution,
    ) -> Result<Arc<WriteHandle>, DataError> {
        self.write(
            move |core| async move { Ok(core.store.resolve(id, choice.into_choice()?).await?) },
        )
        .await
    }

    /// The writes that the server does not take, oldest first.
    pub async fn rejected(&self) -> Result<Vec<Rejected>, DataError> {
        self.run(None, |core| async move {
            let rejected = core.store.rejected().await?;
            Ok(rejected.into_iter().map(Rejected::from).collect())
        })
        .await
    }

    /// Sends a parked write once more, on top of what the server has by now.
    pub async fn retry(&self, id: String) -> Result<Arc<WriteHandle>, DataError> {
        self.write(move |core| async move { Ok(core.store.retry(id).await?) })
            .await
    }

    /// Forgets a parked write: the app sees the server's record again.
    pub async fn discard(&self, id: String) -> Result<(), DataError> {
        self.run(None, move |core| async move {
            Ok(core.store.discard(id).await?)
        })
        .await
    }
}

impl EvenkeelClient {
    async fn write<F>(
        &self,
        work: impl FnOnce(Arc<Core>) -> F,
    ) -> Result<Arc<WriteHandle>, DataError>
    where
        F: Future<Output = Result<store::WriteHandle, DataError>> + Send + 'static,
    {
        let core = self.core().ok_or(DataError::Closed)?;
        let written = run(core.runtime(), None, work(Arc::clone(&core))).await?;
        Ok(WriteHandle::new(&core, written))
    }
}

/// Makes a damaged store of this account's usable again: what the app wrote and the server has not answered
/// for is kept wherever it can be read, and the server's records come again with the next sync. A copy of the
/// damaged file stays beside it. No client may have it open.
#[uniffi::export]
pub async fn recover_store(path: String, account_id: String) -> Result<Recovery, OpenError> {
    Ok(SqliteStore::recover(path, account_id).await?.into())
}
