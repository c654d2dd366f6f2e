//! The records in Postgres, which several origins may share.
//!
//! Everything is bounded in time, and a connection on which something failed is not used again: what a
//! database does with a transaction whose end was not heard is its own affair, and a repeat of the same
//! batch finds out by its request ids.

mod read;
mod schema;
mod upkeep;
mod write;

use std::future::Future;
use std::str::FromStr;
use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Transaction,
};
use evenkeel_proto::wire::{BootstrapAnswer, Cursor, Device, PullPage, Record};
use tokio::sync::OnceCell;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, IsolationLevel, NoTls};
use uuid::Uuid;

use super::{BoxFuture, Caller, Database, DatabaseError, DeviceState, Push, Pushed};

/// A database that is a server of its own, and may be away.
#[derive(Debug)]
pub struct PostgresDatabase {
    pool: Pool,
    prepared: OnceCell<()>,
    devices_max: u64,
}

impl PostgresDatabase {
    /// `url` is of the form `postgres://user[:password]@host[:port]/database`. The server need not be
    /// there yet; the tables are made when it first is, in a schema of their own, `evenkeel`. The way to
    /// it is not encrypted.
    ///
    /// # Errors
    ///
    /// The URL is not one of Postgres; the text does not repeat it.
    pub fn new(url: &str, connections_max: u64, devices_max: u64) -> Result<Self, String> {
        let mut config = Config::from_str(url).map_err(|error| chain(&error))?;
        let options = config.get_options().unwrap_or_default();
        let options = format!("{options} {SESSION}");
        config
            .options(options.trim())
            .connect_timeout(CONNECT_MAX)
            .tcp_user_timeout(WORK_MAX)
            .application_name("evenkeel-stack");
        let recycling_method = RecyclingMethod::Fast;
        let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method });
        let pool = Pool::builder(manager)
            .max_size(usize::try_from(connections_max).unwrap_or(usize::MAX))
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CONNECT_MAX))
            .create_timeout(Some(CONNECT_MAX))
            .recycle_timeout(Some(CONNECT_MAX))
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            pool,
            prepared: OnceCell::new(),
            devices_max,
        })
    }

    async fn lend(&self) -> Result<Lent, DatabaseError> {
        let mut lent = Lent(Some(self.pool.get().await?));
        let prepare = async { schema::migrate(lent.client()?).await };
        self.prepared.get_or_try_init(|| prepare).await?;
        Ok(lent)
    }
}

/// A connection that goes back to the pool only when nothing failed on it.
struct Lent(Option<Object>);

impl Lent {
    fn client(&mut self) -> Result<&mut Object, DatabaseError> {
        let gone = || DatabaseError::Failed("the connection was given back".to_owned());
        self.0.as_mut().ok_or_else(gone)
    }

    async fn begin(&mut self) -> Result<Transaction<'_>, DatabaseError> {
        Ok(self.client()?.transaction().await?)
    }

    /// Everything that is read is of one moment.
    async fn begin_reading(&mut self) -> Result<Transaction<'_>, DatabaseError> {
        let builder = self.client()?.build_transaction();
        let builder = builder.isolation_level(IsolationLevel::RepeatableRead);
        Ok(builder.read_only(true).start().await?)
    }

    fn give_back(mut self) {
        self.0 = None;
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    let late = |_| Err(DatabaseError::Away("no answer in time".to_owned()));
    tokio::time::timeout(limit, work).await.unwrap_or_else(late)
}

/// One transaction: `$begin` it, do the work, commit.
macro_rules! transact {
    ($self:ident.$begin:ident, $tx:ident => $work:expr) => {
        Box::pin(within(WORK_MAX, async move {
            let mut lent = $self.lend().await?;
            let $tx = lent.$begin().await?;
            let done = $work.await?;
            $tx.commit().await?;
            lent.give_back();
            Ok(done)
        }))
    };
}

impl Database for PostgresDatabase {
    fn greet(&self, caller: Caller) -> BoxFuture<'_, Result<DeviceState, DatabaseError>> {
        Box::pin(within(WORK_MAX, async move {
            let mut lent = self.lend().await?;
            let state = write::greet(lent.client()?, &caller, self.devices_max).await?;
            lent.give_back();
            Ok(state)
        }))
    }

    fn pull(
        &self,
        user: String,
        after: Cursor,
        changes_max: u64,
    ) -> BoxFuture<'_, Result<PullPage, DatabaseError>> {
        transact!(self.begin_reading, tx => read::pull(&tx, &user, after, changes_max))
    }

    fn take_numbers(&self, count: u64) -> BoxFuture<'_, Result<Vec<Cursor>, DatabaseError>> {
        transact!(self.begin, tx => write::take_numbers(&tx, count))
    }

    fn push_batch(&self, push: Push) -> BoxFuture<'_, Result<Pushed, DatabaseError>> {
        transact!(self.begin, tx => write::push_batch(&tx, &push))
    }

    fn snapshot(
        &self,
        user: String,
        include_deleted: bool,
    ) -> BoxFuture<'_, Result<Vec<Record>, DatabaseError>> {
        transact!(self.begin_reading, tx => read::snapshot(&tx, &user, include_deleted))
    }

    fn latest_cursor(&self, user: String) -> BoxFuture<'_, Result<Cursor, DatabaseError>> {
        transact!(self.begin_reading, tx => read::latest_cursor(&tx, &user))
    }

    fn bootstrap(
        &self,
        caller: Caller,
        notes: Vec<Record>,
        fingerprint: String,
    ) -> BoxFuture<'_, Result<BootstrapAnswer, DatabaseError>> {
        transact!(self.begin, tx => write::bootstrap(&tx, &caller, notes, &fingerprint))
    }

    fn devices(&self, user: String) -> BoxFuture<'_, Result<Vec<Device>, DatabaseError>> {
        transact!(self.begin_reading, tx => read::devices(&tx, &user))
    }

    fn revoke(&self, user: String, device: Uuid) -> BoxFuture<'_, Result<bool, DatabaseError>> {
        transact!(self.begin, tx => write::revoke(&tx, &user, device))
    }

    fn prune(
        &self,
        older_than: Duration,
        through: Cursor,
    ) -> BoxFuture<'_, Result<(), DatabaseError>> {
        transact!(self.begin, tx => upkeep::prune(&tx, older_than, through))
    }

    fn restore(&self, to: Cursor) -> BoxFuture<'_, Result<(), DatabaseError>> {
        transact!(self.begin, tx => upkeep::restore(&tx, to))
    }

    fn health(&self) -> BoxFuture<'_, Result<(), DatabaseError>> {
        let look: BoxFuture<'_, _> = transact!(self.begin, tx => read::takes_writes(&tx));
        Box::pin(within(HEALTH_MAX, look))
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        let why = chain(&error);
        let Some(state) = error.code() else {
            return Self::Away(why);
        };
        let away = [
            SqlState::READ_ONLY_SQL_TRANSACTION,
            SqlState::QUERY_CANCELED,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
        ];
        // 08: connection; 53: resources (connections, memory, disk); 57: operator, shutting down or starting.
        let class = &state.code()[..2];
        if *state == SqlState::CHARACTER_NOT_IN_REPERTOIRE {
            Self::Unfit(why)
        } else if ["08", "53", "57"].contains(&class) || away.contains(state) {
            Self::Away(why)
        } else {
            Self::Failed(why)
        }
    }
}

impl From<PoolError> for DatabaseError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) => error.into(),
            PoolError::Timeout(_) => Self::Away("no connection in time".to_owned()),
            other => Self::Away(other.to_string()),
        }
    }
}

/// An error with what led to it: the outer one alone only says "db error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}

/// Of each connection: names mean this service's tables, no statement runs longer than anybody waits for
/// it, and an origin that freezes within a transaction does not hold its locks for ever.
const SESSION: &str = "-c search_path=evenkeel -c statement_timeout=5s \
    -c idle_in_transaction_session_timeout=10s";
/// Below the seven seconds for which an edge waits.
const WORK_MAX: Duration = Duration::from_secs(5);
/// Whoever looks at readiness wants to know soon.
const HEALTH_MAX: Duration = Duration::from_secs(2);
const CONNECT_MAX: Duration = Duration::from_secs(2);
