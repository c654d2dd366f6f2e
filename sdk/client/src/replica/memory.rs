//! A replica that forgets everything when the process ends.

mod state;

use std::future::ready;
use std::sync::{Arc, Mutex};

use evenkeel_proto::Failure;
use evenkeel_proto::engine::{Backlog, Pulled};
use evenkeel_proto::wire::{Cursor, PushAnswer, PushRequest, Record};
use serde_json::{Map, Value};

use super::{
    BatchLimits, PageBody, Replica, ReplicaError, ReplicaFuture, ReplicaSignal, SnapshotBody,
};
use crate::changes::Change;
use crate::guard::locked;
use state::State;

/// Records in memory, for demos, tools and tests. **Not durable**: local writes that were not sent
/// are gone when the process ends. Clones share the same records.
///
/// ```
/// use evenkeel::MemoryReplica;
/// let notes = MemoryReplica::new();
/// let mut fields = serde_json::Map::new();
/// fields.insert("content".into(), "milk".into());
/// notes.put("n1", fields)?;
/// assert_eq!(notes.get("n1").unwrap().fields["content"], "milk");
/// # Ok::<(), evenkeel::WriteError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct MemoryReplica(Arc<Mutex<State>>);

/// A record that changed here and on the server. Both sides are kept until the app decides:
/// [`MemoryReplica::put`] or [`MemoryReplica::delete`] sends the app's decision, based on the server's
/// side; [`MemoryReplica::keep_server`] takes the server's.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConflictingRecord {
    /// Which record.
    pub id: String,
    /// What this app wants; `None` for a deletion.
    pub local: Option<Record>,
    /// What the server has; `None` where it has no such record.
    pub server: Option<Record>,
}

/// A write that the server does not take. It stays in the app's view; a new write to the record
/// replaces it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RefusedWrite {
    /// Which record.
    pub id: String,
    /// What this app wanted; `None` for a deletion.
    pub wanted: Option<Record>,
    /// What the server said.
    pub reason: String,
}

/// A local write was not taken; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// As many writes wait (or are in conflict, or refused) as are kept. Wait until some are sent, or
    /// decide some.
    #[error("the outbox is full")]
    OutboxFull,
    /// A record's id must have 1 to 128 characters.
    #[error("a record's id must have 1 to 128 characters")]
    Id,
}

impl MemoryReplica {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of its own: what happens to one from now on does not happen to the other. No client is
    /// attached to it.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut state = locked(&self.0).clone();
        state.signal = None;
        Self(Arc::new(Mutex::new(state)))
    }

    /// The record as this app sees it: with the local writes that wait. `None` if there is none, or
    /// it was deleted.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Record> {
        locked(&self.0).view(id)
    }

    /// All records as this app sees them, by id.
    #[must_use]
    pub fn list(&self) -> Vec<Record> {
        let state = locked(&self.0);
        state.ids().iter().filter_map(|id| state.view(id)).collect()
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        let state = locked(&self.0);
        let ids = state.ids();
        ids.iter().filter(|id| state.view(id).is_some()).count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes a record and queues the write for the server. Settles a conflict over the record.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub fn put(&self, id: &str, fields: Map<String, Value>) -> Result<(), WriteError> {
        self.write(id, Some(fields))
    }

    /// Deletes a record and queues that for the server. Settles a conflict over the record.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub fn delete(&self, id: &str) -> Result<(), WriteError> {
        self.write(id, None)
    }

    /// The records that wait for a decision, by id.
    #[must_use]
    pub fn conflicts(&self) -> Vec<ConflictingRecord> {
        locked(&self.0).conflicts.values().cloned().collect()
    }

    /// Settles a conflict for the server's side. Whether there was one.
    pub fn keep_server(&self, id: &str) -> bool {
        let settled = locked(&self.0).conflicts.remove(id).is_some();
        if settled {
            self.signal(None);
        }
        settled
    }

    /// The writes that the server does not take, by record.
    #[must_use]
    pub fn refused(&self) -> Vec<RefusedWrite> {
        locked(&self.0).refused.values().cloned().collect()
    }

    fn write(&self, id: &str, fields: Option<Map<String, Value>>) -> Result<(), WriteError> {
        if !(1..=ID_CHARS_MAX).contains(&id.chars().count()) {
            return Err(WriteError::Id);
        }
        let change = locked(&self.0).write(id, fields)?;
        self.signal(Some(change));
        Ok(())
    }

    /// Outside the lock: the client may look at the backlog at once.
    fn signal(&self, change: Option<Change>) {
        let signal = locked(&self.0).signal.clone();
        if let Some(signal) = signal {
            signal.wrote(change);
        }
    }
}

fn done<'a, T: Send + 'a>(result: Result<T, ReplicaError>) -> ReplicaFuture<'a, T> {
    Box::pin(ready(result))
}

impl Replica for MemoryReplica {
    fn attach(&self, signal: ReplicaSignal) {
        locked(&self.0).signal = Some(signal);
    }

    fn cursor(&self) -> ReplicaFuture<'_, Option<Cursor>> {
        done(Ok(locked(&self.0).cursor))
    }

    fn settled(&self) -> ReplicaFuture<'_, Cursor> {
        done(Ok(locked(&self.0).settled))
    }

    fn backlog(&self) -> Backlog {
        let state = locked(&self.0);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Backlog {
            waiting: count(state.outbox.len()),
            conflicts: count(state.conflicts.len()),
            rejected: count(state.refused.len()),
            level: state.level(),
        }
    }

    fn apply_page(&self, from: Cursor, page: PageBody) -> ReplicaFuture<'_, (Pulled, Vec<Change>)> {
        Box::pin(async move {
            let settles = page.settles();
            let page = page.parse().await?;
            locked(&self.0).apply_page(from, page, settles)
        })
    }

    fn replace(
        &self,
        snapshot: SnapshotBody,
        resume: Option<Cursor>,
    ) -> ReplicaFuture<'_, (Cursor, Vec<Change>)> {
        Box::pin(async move {
            let snapshot = snapshot.parse().await?;
            Ok(locked(&self.0).replace(snapshot, resume))
        })
    }

    fn take_batch(&self, limits: BatchLimits) -> ReplicaFuture<'_, Option<PushRequest>> {
        done(Ok(locked(&self.0).outbox.take_batch(limits)))
    }

    fn apply_push(&self, batch: PushRequest, answer: PushAnswer) -> ReplicaFuture<'_, Vec<Change>> {
        done(Ok(locked(&self.0).apply_push(&batch, answer)))
    }

    fn refuse_push(&self, batch: PushRequest, failure: Failure) -> ReplicaFuture<'_, ()> {
        locked(&self.0).refuse_push(batch, &failure);
        done(Ok(()))
    }
}

const ID_CHARS_MAX: usize = 128;

#[cfg(test)]
mod tests;
