//! Brings the local writes of a damaged store into a new one.
//!
//! The server's copies are left behind: a page of them that reads well can still hold something else
//! than the server has, and they come again. The new content takes the damaged one's place in one
//! transaction; a copy of the damaged file stays for good.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::types::Value;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params_from_iter};

use super::error::OpenError;
use super::schema::{self, Check, Stop};
use super::types::StoreOptions;
use crate::state::wall_ms;

/// What [`SqliteStore::recover`](super::SqliteStore::recover) brought over.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Local writes on their way.
    pub operations: u32,
    /// Local sides of conflicts.
    pub conflicts: u32,
    /// Parked writes.
    pub rejected: u32,
    /// Everything local could be read. Otherwise some writes were on the damaged pages.
    pub complete: bool,
    /// Where the damaged file lies now, with its log beside it where it had one (`…-wal`). Delete
    /// them when nobody needs to look at them any more.
    pub damaged: PathBuf,
}

pub(super) fn recover(path: &Path, account_id: &str) -> Result<Recovery, OpenError> {
    let refused = |stop| schema::refusal(path, stop);
    // Whether it can be done at all; and nobody has it open.
    open_damaged(path, account_id).map_err(refused)?;
    // While it is not open here: to close the file after reading it would take SQLite's lock away.
    let copy = keep_a_copy(path)?;
    let draft = beside(path, ".recovering");
    remove_store(&draft)?;
    let recovered = bring_over(path, account_id, &draft);
    remove_store(&draft)?;
    match recovered {
        Ok(recovery) => Ok(Recovery {
            damaged: copy,
            ..recovery
        }),
        Err(stop) => {
            remove_store(&copy)?;
            Err(refused(stop))
        }
    }
}

fn bring_over(path: &Path, account_id: &str, draft: &Path) -> Result<Recovery, Stop> {
    let mut damaged = open_damaged(path, account_id)?;
    let mut new = schema::open(draft, account_id, &StoreOptions::default(), Check::No)?;
    let recovery = salvage(&damaged.db, damaged.version, &mut new)?;
    // One transaction, however large: a crash leaves the one store or the other.
    let backup = Backup::new(&new, &mut damaged.db)?;
    while backup.step(PAGES_AT_ONCE)? != StepResult::Done {}
    drop(backup);
    schema::check_integrity(&damaged.db)?;
    Ok(recovery)
}

struct Damaged {
    db: Connection,
    version: i64,
}

/// Opens what is a store of this account's in spite of its damage, for nobody else meanwhile.
fn open_damaged(path: &Path, account_id: &str) -> Result<Damaged, Stop> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(schema::BUSY_MAX)?;
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    // What is there is to be read even where it is less than there should be.
    db.pragma_update(None, "writable_schema", "ON")?;
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let version = schema::recognize(&db, path)?;
    if version == 0 {
        let path = path.to_owned();
        return Err(OpenError::NotAStore { path }.into());
    }
    schema::check_account(&db, account_id)?;
    // The lock stays when the transaction is over.
    db.transaction_with_behavior(TransactionBehavior::Exclusive)?;
    Ok(Damaged { db, version })
}

fn salvage(old: &Connection, version: i64, new: &mut Connection) -> Result<Recovery, Stop> {
    let mut recovery = Recovery {
        operations: 0,
        conflicts: 0,
        rejected: 0,
        complete: true,
        damaged: PathBuf::new(),
    };
    let counts = [
        &mut recovery.operations,
        &mut recovery.conflicts,
        &mut recovery.rejected,
    ];
    let tx = new.transaction()?;
    for (table, count) in TABLES.iter().zip(counts) {
        let columns = table.columns(version);
        let (rows, complete) = table.read(old, &columns);
        *count = table.write(&tx, &columns, &rows)?;
        recovery.complete &= complete && *count as usize == rows.len();
    }
    tx.commit()?;
    Ok(recovery)
}

/// What is brought over of a table.
struct Table {
    name: &'static str,
    /// Columns that every format has.
    columns: &'static str,
    /// Those that came later, with the format that brought them.
    later: &'static [(i64, &'static str)],
    /// Which of all of these are JSON.
    json: &'static [&'static str],
}

type Rows = BTreeMap<i64, Vec<Value>>;

impl Table {
    fn columns(&self, version: i64) -> Vec<&'static str> {
        let later = self.later.iter().filter(|(from, _)| *from <= version);
        let first = self.columns.split(", ");
        first.chain(later.map(|(_, column)| *column)).collect()
    }

    /// All rows that can be read, from both ends up to the damage; and whether that is all.
    fn read(&self, db: &Connection, columns: &[&str]) -> (Rows, bool) {
        let mut rows = Rows::new();
        let whole = ["ASC", "DESC"]
            .iter()
            .any(|direction| self.read_on(db, columns, direction, &mut rows).is_ok());
        let before = rows.len();
        rows.retain(|_, row| {
            let mut cells = columns.iter().zip(row);
            cells.all(|(name, value)| !self.json.contains(name) || is_json(value))
        });
        let complete = whole && rows.len() == before;
        (rows, complete)
    }

    fn read_on(
        &self,
        db: &Connection,
        columns: &[&str],
        direction: &str,
        found: &mut Rows,
    ) -> rusqlite::Result<()> {
        // Not through an index, which may be damaged by itself.
        let sql = format!(
            "SELECT rowid, {} FROM {} NOT INDEXED ORDER BY rowid {direction}",
            columns.join(", "),
            self.name
        );
        let mut statement = db.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values = (1..=columns.len()).map(|at| row.get(at));
            found.insert(row.get(0)?, values.collect::<Result<_, _>>()?);
        }
        Ok(())
    }

    /// How many could be written: a row that breaks the table's rules was not ours.
    fn write(&self, db: &Connection, columns: &[&str], rows: &Rows) -> rusqlite::Result<u32> {
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({})",
            self.name,
            columns.join(", "),
            vec!["?"; columns.len()].join(", ")
        );
        let mut statement = db.prepare(&sql)?;
        let mut written = 0;
        for row in rows.values() {
            match statement.execute(params_from_iter(row)) {
                Ok(_) => written += 1,
                Err(error) if is_misfit(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(written)
    }
}

fn is_json(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
        _ => false,
    }
}

fn is_misfit(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation)
}

fn keep_a_copy(path: &Path) -> Result<PathBuf, OpenError> {
    let kept = beside(path, &format!(".damaged-{}", wall_ms()));
    let copy = |suffix: &str| -> io::Result<()> {
        let copy = beside(&kept, suffix);
        fs::copy(beside(path, suffix), &copy)?;
        File::open(copy)?.sync_all()
    };
    let copied = copy("").and_then(|()| match copy("-wal") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        copied => copied,
    });
    if let Err(error) = copied {
        remove_store(&kept)?;
        return Err(unusable(path, &error));
    }
    Ok(kept)
}

/// Removes a file of ours that is no store (yet), with those beside it.
fn remove_store(path: &Path) -> Result<(), OpenError> {
    let removed = remove(path).and_then(|()| remove_beside(path));
    removed.map_err(|error| unusable(path, &error))
}

fn remove_beside(path: &Path) -> io::Result<()> {
    ["-wal", "-shm", "-journal"]
        .iter()
        .try_for_each(|suffix| remove(&beside(path, suffix)))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn unusable(path: &Path, error: &io::Error) -> OpenError {
    if error.kind() == io::ErrorKind::StorageFull {
        return OpenError::Full;
    }
    OpenError::Unusable {
        path: path.into(),
        message: error.to_string(),
    }
}

/// A hundred megabytes or so.
const PAGES_AT_ONCE: std::ffi::c_int = 25_000;

const TABLES: [Table; 3] = [
    Table {
        name: "outbox",
        columns: "record_id, base_version, base_fields, fields, created_at, updated_at, seq, \
                  request_id, merged, body, sent_first_ms, sent_last_ms, left_out",
        later: &[(3, "imported")],
        json: &["base_fields", "fields", "body"],
    },
    Table {
        name: "conflicts",
        columns: "record_id, base_version, base_fields, fields, created_at, updated_at, since_ms",
        later: &[],
        json: &["base_fields", "fields"],
    },
    Table {
        name: "parked",
        columns: "record_id, base_version, base_fields, fields, created_at, updated_at, since_ms, \
                  reason",
        later: &[],
        json: &["base_fields", "fields", "reason"],
    },
];
