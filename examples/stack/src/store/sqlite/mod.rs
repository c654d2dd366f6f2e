//! The records in SQLite.

mod read;
mod schema;
mod upkeep;
mod worker;
mod write;

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use evenkeel_proto::wire::{BootstrapAnswer, Cursor, Device, PullPage, Record};
use rusqlite::Transaction;
use uuid::Uuid;

use super::{BoxFuture, Caller, Database, DatabaseError, DeviceState, Push, Pushed};
pub(crate) use worker::Worker;

/// A database in a file or in memory.
#[derive(Debug)]
pub struct SqliteDatabase {
    worker: Worker,
    devices_max: u64,
}

impl SqliteDatabase {
    /// Opens a file, creating it where need be; `None` is a database in memory, gone with this value.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, is of a later build, or there is no thread to be had.
    pub fn open(file: Option<&Path>, devices_max: u64) -> Result<Self, DatabaseError> {
        Ok(Self {
            worker: Worker::start(file, &schema::STEPS)?,
            devices_max,
        })
    }

    /// Returns once the file is closed, which it is soon after this value has been dropped.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.worker.closed()
    }

    fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, DatabaseError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, DatabaseError>> {
        Box::pin(self.worker.transact(work))
    }
}

impl Database for SqliteDatabase {
    fn greet(&self, caller: Caller) -> BoxFuture<'_, Result<DeviceState, DatabaseError>> {
        let devices_max = self.devices_max;
        self.transact(move |tx| write::greet(tx, &caller, devices_max))
    }

    fn pull(
        &self,
        user: String,
        after: Cursor,
        changes_max: u64,
    ) -> BoxFuture<'_, Result<PullPage, DatabaseError>> {
        self.transact(move |tx| read::pull(tx, &user, after, changes_max))
    }

    fn take_numbers(&self, count: u64) -> BoxFuture<'_, Result<Vec<Cursor>, DatabaseError>> {
        self.transact(move |tx| write::take_numbers(tx, count))
    }

    fn push_batch(&self, push: Push) -> BoxFuture<'_, Result<Pushed, DatabaseError>> {
        self.transact(move |tx| write::push_batch(tx, &push))
    }

    fn snapshot(
        &self,
        user: String,
        include_deleted: bool,
    ) -> BoxFuture<'_, Result<Vec<Record>, DatabaseError>> {
        self.transact(move |tx| read::snapshot(tx, &user, include_deleted))
    }

    fn latest_cursor(&self, user: String) -> BoxFuture<'_, Result<Cursor, DatabaseError>> {
        self.transact(move |tx| read::latest_cursor(tx, &user))
    }

    fn bootstrap(
        &self,
        caller: Caller,
        notes: Vec<Record>,
        fingerprint: String,
    ) -> BoxFuture<'_, Result<BootstrapAnswer, DatabaseError>> {
        self.transact(move |tx| write::bootstrap(tx, &caller, notes, &fingerprint))
    }

    fn devices(&self, user: String) -> BoxFuture<'_, Result<Vec<Device>, DatabaseError>> {
        self.transact(move |tx| read::devices(tx, &user))
    }

    fn revoke(&self, user: String, device: Uuid) -> BoxFuture<'_, Result<bool, DatabaseError>> {
        self.transact(move |tx| write::revoke(tx, &user, device))
    }

    fn prune(
        &self,
        older_than: Duration,
        through: Cursor,
    ) -> BoxFuture<'_, Result<(), DatabaseError>> {
        self.transact(move |tx| upkeep::prune(tx, older_than, through))
    }

    fn restore(&self, to: Cursor) -> BoxFuture<'_, Result<(), DatabaseError>> {
        self.transact(move |tx| upkeep::restore(tx, to))
    }

    fn health(&self) -> BoxFuture<'_, Result<(), DatabaseError>> {
        self.transact(|tx| Ok(tx.query_row("SELECT 1", [], |_| Ok(()))?))
    }
}

impl From<rusqlite::Error> for DatabaseError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<serde_json::Error> for DatabaseError {
    fn from(error: serde_json::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// A database's integers have a sign; a number beyond them is as good as the largest.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(super) fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
