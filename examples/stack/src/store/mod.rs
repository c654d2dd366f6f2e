//! The seam between the service and what it is built on: whole transactions of the domain, never rows.
//!
//! [`Database`] keeps the records, [`Bus`] is the fast side: which tickets have been used, and who hears
//! of changes. In one process they are SQLite and memory; for several there are Postgres and Redis.

mod batch;
mod broken;
mod local_bus;
mod postgres;
mod redis_bus;
pub(crate) mod sqlite;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use evenkeel_proto::wire::{
    BootstrapAnswer, Cursor, Device, Operation, PullPage, PushAnswer, Record,
};
use tokio::sync::broadcast;
use uuid::Uuid;

pub(crate) use broken::{BreakableBus, BreakableDatabase};
pub use local_bus::LocalBus;
pub use postgres::PostgresDatabase;
pub use redis_bus::RedisBus;
pub use sqlite::SqliteDatabase;

/// A future of one of these traits.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why the database did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// It cannot be reached, or does not take this kind of access now.
    #[error("the database is away: {0}")]
    Away(String),
    /// It failed while it did it; nothing of it was kept.
    #[error("the database failed: {0}")]
    Failed(String),
    /// What it was given cannot be stored, whenever it is tried.
    #[error("it cannot be stored: {0}")]
    Unfit(String),
    /// What it holds cannot be read.
    #[error("a stored record is damaged: {0}")]
    Damaged(String),
}

/// Who asks, and from where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The user's name.
    pub user: String,
    /// The device.
    pub device: Uuid,
}

/// A batch, and how it is to be carried out.
#[derive(Clone, Debug)]
pub struct Push {
    /// Who writes.
    pub caller: Caller,
    /// What.
    pub operations: Vec<Operation>,
    /// Change numbers taken beforehand, one for each operation; empty to take them as they are needed.
    pub numbers: Vec<Cursor>,
    /// How long outcomes are remembered.
    pub idempotency: Duration,
    /// Stops after so many operations; what has been applied stays.
    pub stop_after: Option<u64>,
    /// Operations in this batch, by their request ids, that are passed over in silence.
    pub skip: Vec<String>,
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    /// The answer.
    pub answer: PushAnswer,
    /// The highest number among the changes, repeats included: where the first answer did not arrive, the
    /// announcement may not have gone out either. `None` where all were conflicts.
    pub announce: Option<Cursor>,
    /// Whether it was stopped before its end.
    pub stopped: bool,
}

/// What is known of the device that asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// It may go on.
    Welcome,
    /// Its owner has shut it out.
    Revoked,
}

/// The slow, durable side.
pub trait Database: Debug + Send + Sync {
    /// Notes that a device has asked, as a new one where need be, and says whether it may.
    fn greet(&self, caller: Caller) -> BoxFuture<'_, Result<DeviceState, DatabaseError>>;

    /// One page of the changes after a cursor, or the news that they have been pruned.
    fn pull(
        &self,
        user: String,
        after: Cursor,
        changes_max: u64,
    ) -> BoxFuture<'_, Result<PullPage, DatabaseError>>;

    /// Takes numbers for a batch whose transaction commits later.
    fn take_numbers(&self, count: u64) -> BoxFuture<'_, Result<Vec<Cursor>, DatabaseError>>;

    /// Carries out a batch: versions, conflicts, repeats.
    fn push_batch(&self, push: Push) -> BoxFuture<'_, Result<Pushed, DatabaseError>>;

    /// Every record of a user.
    fn snapshot(
        &self,
        user: String,
        include_deleted: bool,
    ) -> BoxFuture<'_, Result<Vec<Record>, DatabaseError>>;

    /// The end of a user's log: asked for after [`snapshot`](Self::snapshot), and not in its transaction.
    fn latest_cursor(&self, user: String) -> BoxFuture<'_, Result<Cursor, DatabaseError>>;

    /// The first import, once for each user.
    fn bootstrap(
        &self,
        caller: Caller,
        notes: Vec<Record>,
        fingerprint: String,
    ) -> BoxFuture<'_, Result<BootstrapAnswer, DatabaseError>>;

    /// Every device of a user.
    fn devices(&self, user: String) -> BoxFuture<'_, Result<Vec<Device>, DatabaseError>>;

    /// Shuts a device out; says whether the user has it.
    fn revoke(&self, user: String, device: Uuid) -> BoxFuture<'_, Result<bool, DatabaseError>>;

    /// Forgets changes that are older, and those up to a cursor.
    fn prune(
        &self,
        older_than: Duration,
        through: Cursor,
    ) -> BoxFuture<'_, Result<(), DatabaseError>>;

    /// Goes back to how everything was at a cursor, as after restoring a backup.
    fn restore(&self, to: Cursor) -> BoxFuture<'_, Result<(), DatabaseError>>;

    /// Whether it answers.
    fn health(&self) -> BoxFuture<'_, Result<(), DatabaseError>>;
}

/// What became of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketUse {
    /// It had not been used before, and is used up now.
    Fresh,
    /// It had been used before.
    Replayed,
    /// Nobody can tell: the store is away.
    Unavailable,
}

/// How the fast side is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BusHealth {
    /// Why the replay store cannot be used; `None` while it can.
    pub replay_store: Option<String>,
    /// Why announcements do not leave this process; `None` while they do.
    pub fan_out: Option<String>,
    /// How often announcements may have been missed so far.
    pub gaps: u64,
}

/// The fast side, which may be away without any data being lost.
pub trait Bus: Debug + Send + Sync {
    /// Uses up a ticket, which needs to be remembered no longer than `ttl`.
    fn consume_ticket(&self, id: Uuid, ttl: Duration) -> BoxFuture<'_, TicketUse>;

    /// Tells every stream of a user that the log now reaches to a cursor.
    fn publish(&self, user: String, cursor: Cursor) -> BoxFuture<'_, ()>;

    /// Hears of a user's changes from now on.
    fn subscribe(&self, user: &str) -> Subscription;

    /// Whose streams are open in this process.
    fn listeners(&self) -> Vec<String>;

    /// How it is.
    fn health(&self) -> BoxFuture<'_, BusHealth>;
}

/// A stream's ear. One that is too slow hears of the latest change only.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Cursor>,
}

impl Subscription {
    /// Hears what a sender says.
    #[must_use]
    pub const fn new(receiver: broadcast::Receiver<Cursor>) -> Self {
        Self { receiver }
    }

    /// The next announcement; `None` once there can be none.
    pub async fn next(&mut self) -> Option<Cursor> {
        loop {
            match self.receiver.recv().await {
                Ok(cursor) => return Some(cursor),
                Err(broadcast::error::RecvError::Closed) => return None,
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    if let Some(cursor) = self.latest() {
                        return Some(cursor);
                    }
                }
            }
        }
    }

    /// The highest of all that waits, for a reader who came too late for each.
    fn latest(&mut self) -> Option<Cursor> {
        let mut latest = None;
        loop {
            match self.receiver.try_recv() {
                Ok(cursor) => latest = latest.max(Some(cursor)),
                Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(_) => return latest,
            }
        }
    }
}
