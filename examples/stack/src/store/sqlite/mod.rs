//! The records in SQLite, on a thread of its own: whoever waits for it waits without holding up others.

mod read;
mod schema;
mod upkeep;
mod write;

use std::future::Future;
use std::io;
use std::path::Path;
use std::time::Duration;

use evenkeel_proto::wire::{BootstrapAnswer, Cursor, Device, PullPage, Record};
use rusqlite::{Connection, Transaction};
use tokio::sync::{mpsc, oneshot, watch};
use uuid::Uuid;

use super::{BoxFuture, Caller, Database, DatabaseError, DeviceState, Push, Pushed};

/// A database in a file or in memory.
#[derive(Debug)]
pub struct SqliteDatabase {
    jobs: mpsc::Sender<Job>,
    open: watch::Receiver<()>,
    devices_max: u64,
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

impl SqliteDatabase {
    /// Opens a file, creating it where need be; `None` is a database in memory, gone with this value.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, is of a later build, or there is no thread to be had.
    pub fn open(file: Option<&Path>, devices_max: u64) -> Result<Self, DatabaseError> {
        let connection = match file {
            Some(file) => Connection::open(file),
            None => Connection::open_in_memory(),
        };
        let mut connection = connection?;
        schema::migrate(&mut connection)?;
        let (jobs, mut queue) = mpsc::channel::<Job>(JOBS_MAX);
        let (open, closed) = watch::channel(());
        std::thread::Builder::new()
            .name("stack-sqlite".to_owned())
            .spawn(move || {
                while let Some(job) = queue.blocking_recv() {
                    job(&mut connection);
                }
                drop(connection);
                drop(open);
            })
            .map_err(|error: io::Error| DatabaseError::Failed(error.to_string()))?;
        Ok(Self {
            jobs,
            open: closed,
            devices_max,
        })
    }

    /// Returns once the file is closed, which it is soon after this value has been dropped.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut open = self.open.clone();
        async move { while open.changed().await.is_ok() {} }
    }

    /// Runs one transaction; an error keeps nothing of it.
    fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, DatabaseError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, DatabaseError>> {
        Box::pin(async move {
            let (answer, answered) = oneshot::channel();
            let job: Job = Box::new(move |connection| {
                // Nobody waiting for it any more does not make the work undone.
                let _ = answer.send(in_transaction(connection, work));
            });
            let gone = || DatabaseError::Failed("its thread is gone".to_owned());
            self.jobs.send(job).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())?
        })
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
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

    fn take_numbers(&self, count: u64) -> BoxFuture<'_, Result<Cursor, DatabaseError>> {
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

/// SQLite's integers have a sign; a number beyond them is as good as the largest.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

const JOBS_MAX: usize = 256;
