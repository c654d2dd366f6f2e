//! Opens the file: finds out whether it is a store of ours before anything is written to it.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::error::OpenError;
use super::types::{Durability, StoreOptions};

/// Opens the file, and waits while another process makes it, brings it to this format or repairs its
/// log. `check` says whether to look at the file from end to end.
pub(super) fn open(
    path: &Path,
    account_id: &str,
    options: &StoreOptions,
    check: Check,
) -> Result<Connection, OpenError> {
    options.check()?;
    if !(1..=ACCOUNT_ID_CHARS_MAX).contains(&account_id.chars().count()) {
        return Err(OpenError::Setting { name: "account_id" });
    }
    let last = Instant::now() + BUSY_MAX;
    loop {
        let error = match prepare(path, account_id, options, check) {
            Ok(db) => return Ok(db),
            Err(stop) => refusal(path, stop),
        };
        // SQLite does not wait by itself where that could come to a deadlock.
        if error != OpenError::Busy || Instant::now() >= last {
            return Err(error);
        }
        thread::sleep(BUSY_NAP);
    }
}

/// Whether the file is looked at from end to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Whole,
    /// This process did it before.
    No,
}

/// `Err` of one kind or the other, so that `?` works on both.
pub(super) enum Stop {
    Typed(OpenError),
    Sqlite(rusqlite::Error),
}

impl From<OpenError> for Stop {
    fn from(error: OpenError) -> Self {
        Self::Typed(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn prepare(
    path: &Path,
    account_id: &str,
    options: &StoreOptions,
    check: Check,
) -> Result<Connection, Stop> {
    let mut db = Connection::open(path)?;
    db.busy_timeout(BUSY_MAX)?;
    // Closing would write the log of a file into it even where the file turns out not to be ours.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let tx = db.transaction()?;
    let version = recognize(&tx, path)?;
    drop(tx);
    if version > 0 {
        check_account(&db, account_id)?;
        if check == Check::Whole {
            check_integrity(&db)?;
        }
    }
    // From here on the file is ours, or was empty.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    let synchronous = match options.durability {
        Durability::Full => "FULL",
        Durability::Fast => "NORMAL",
    };
    db.pragma_update(None, "synchronous", synchronous)?;
    db.pragma_update(None, "secure_delete", "ON")?;
    // Without this, statements are planned anew for each value that is bound to them.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
    if let Some(bytes) = options.bytes_max {
        let page: u32 = db.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = bytes.div_ceil(u64::from(page.max(1)));
        let pages = i64::try_from(pages).unwrap_or(i64::MAX);
        db.pragma_update(None, "max_page_count", pages)?;
    }
    migrate(&mut db, path)?;
    if owner(&db)?.is_none() {
        let sql = "UPDATE meta SET account_id = ?1 WHERE account_id IS NULL";
        db.execute(sql, [account_id])?;
    }
    // Another process may have been faster.
    check_account(&db, account_id)?;
    Ok(db)
}

/// The store's format; 0 for an empty file. Within a transaction: another process may be making it.
pub(super) fn recognize(db: &Connection, path: &Path) -> Result<i64, Stop> {
    let application_id: i64 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let empty = db.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| {
        row.get(0)
    })?;
    if application_id == 0 && version == 0 && empty {
        return Ok(0);
    }
    if application_id != APPLICATION_ID || version < 1 {
        let path = path.to_owned();
        return Err(Stop::Typed(OpenError::NotAStore { path }));
    }
    let known = MIGRATIONS.len() as i64;
    if version > known {
        let found = version;
        return Err(Stop::Typed(OpenError::Newer { found, known }));
    }
    Ok(version)
}

pub(super) fn check_integrity(db: &Connection) -> Result<(), Stop> {
    let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(Stop::Typed(OpenError::Corrupt { message: verdict }))
}

/// Whose store it is; `None` for nobody's yet, or again.
pub(super) fn owner(db: &Connection) -> Result<Option<String>, rusqlite::Error> {
    let mut statement = db.prepare_cached("SELECT account_id FROM meta")?;
    statement.query_row([], |row| row.get(0))
}

pub(super) fn check_account(db: &Connection, account_id: &str) -> Result<(), Stop> {
    if owner(db)?.is_some_and(|owner| owner != account_id) {
        return Err(Stop::Typed(OpenError::WrongAccount));
    }
    Ok(())
}

/// Each step is one transaction: a crash in between leaves a store of an older format. Another process
/// may be at it too.
fn migrate(db: &mut Connection, path: &Path) -> Result<(), Stop> {
    for (index, migration) in MIGRATIONS.iter().enumerate() {
        let before = index as i64;
        let tx = db.transaction()?;
        let done = recognize(&tx, path)? > before;
        drop(tx);
        if done {
            continue;
        }
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if recognize(&tx, path)? == before {
            tx.execute_batch(migration)?;
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
            tx.pragma_update(None, "user_version", before + 1)?;
        }
        tx.commit()?;
    }
    Ok(())
}

pub(super) fn refusal(path: &Path, stop: Stop) -> OpenError {
    match stop {
        Stop::Typed(error) => error,
        Stop::Sqlite(error) => classify(path, &error),
    }
}

fn classify(path: &Path, error: &rusqlite::Error) -> OpenError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::NotAStore { path: path.into() },
        Some(ErrorCode::DatabaseCorrupt) => OpenError::Corrupt {
            message: error.to_string(),
        },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => OpenError::Busy,
        Some(ErrorCode::DiskFull) => OpenError::Full,
        _ => OpenError::Unusable {
            path: path.into(),
            message: error.to_string(),
        },
    }
}

/// In order; the file's `user_version` counts those that were done. Never changed once released.
const MIGRATIONS: [&str; 5] = [
    include_str!("migrations/0001_store.sql"),
    include_str!("migrations/0002_processes.sql"),
    include_str!("migrations/0003_bootstrap.sql"),
    include_str!("migrations/0004_sent.sql"),
    include_str!("migrations/0005_settled.sql"),
];
/// "Evkl": tells our files from other databases.
const APPLICATION_ID: i64 = 0x45_76_6b_6c;
const ACCOUNT_ID_CHARS_MAX: usize = 256;
/// How long another process may be waited for.
pub(super) const BUSY_MAX: Duration = Duration::from_secs(5);
const BUSY_NAP: Duration = Duration::from_millis(20);
const STATEMENTS_CACHED_MAX: usize = 64;
