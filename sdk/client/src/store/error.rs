//! What can go wrong with a store.

use std::path::PathBuf;

use crate::replica::ReplicaError;

/// The store could not be opened. A file that was there is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The store belongs to another account. Open another file, or sign that account out first.
    #[error("the store belongs to another account")]
    WrongAccount,
    /// An account id must have 1 to 256 characters, and the options must be in range. Correct it.
    #[error("setting `{name}` is out of range")]
    Setting {
        /// Which one.
        name: &'static str,
    },
    /// The file is something else than a store. Choose another path.
    #[error("{} is not a store", path.display())]
    NotAStore {
        /// Which file.
        path: PathBuf,
    },
    /// A later release of the SDK wrote this store. Use that one.
    #[error("the store has format {found}, this release knows up to {known}")]
    Newer {
        /// The file's format.
        found: i64,
        /// The latest one that this release knows.
        known: i64,
    },
    /// The store is damaged: [`SqliteStore::recover`](super::SqliteStore::recover) saves what the app
    /// wrote.
    #[error("the store is damaged: {message}")]
    Corrupt {
        /// What was found.
        message: String,
    },
    /// Another process kept the store to itself for several seconds. Try again.
    #[error("the store is in use elsewhere")]
    Busy,
    /// No room is left to open it. Make some.
    #[error("no room is left for the store")]
    Full,
    /// The file cannot be opened, made or read.
    #[error("{} cannot be opened: {message}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
}

/// A call to the store failed; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// As many writes wait (or are in conflict, or parked) as are kept. Wait until some are sent, or
    /// decide some.
    #[error("the outbox is full with {kept} operations")]
    OutboxFull {
        /// How many there are.
        kept: u32,
    },
    /// A record's id must have 1 to 128 characters.
    #[error("a record's id must have 1 to 128 characters")]
    Id,
    /// There is no such record, conflict or parked write.
    #[error("there is nothing of that kind by this id")]
    NotFound,
    /// A value does not fit a record: it must be an object in JSON, read back as it was, and be nested no more
    /// than 100 levels deep.
    #[error("the record does not fit the type: {message}")]
    Shape {
        /// What is wrong with it.
        message: String,
    },
    /// No room is left: the user has to make some.
    #[error("no room is left for the store")]
    Full,
    /// The store is damaged. Close it and look at the file.
    #[error("the store is damaged: {message}")]
    Corrupt {
        /// What was found.
        message: String,
    },
    /// The store was closed, or its account signed out, here or in another process. Open it again.
    #[error("the store is closed")]
    Closed,
    /// The store's client is suspended, and its files are closed. Resume the client, or start it.
    #[error("the store is suspended")]
    Suspended,
    /// Another process wrote for several seconds without a pause. Try again.
    #[error("another process keeps the store busy")]
    Busy,
    /// Anything else.
    #[error("the store failed: {message}")]
    Failed {
        /// What happened, without content of records.
        message: String,
    },
}

impl StoreError {
    /// Something in the file that this code never writes.
    pub(super) fn corrupt(error: impl std::fmt::Display) -> Self {
        let message = error.to_string();
        Self::Corrupt { message }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::{Error, ErrorCode as Code};
        if let Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..) = error {
            return Self::corrupt("a row does not read as it was written");
        }
        match error.sqlite_error_code() {
            Some(Code::DiskFull) => Self::Full,
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => Self::Busy,
            Some(Code::DatabaseCorrupt | Code::NotADatabase) => Self::corrupt(error),
            _ => {
                let message = error.to_string();
                Self::Failed { message }
            }
        }
    }
}

impl From<OpenError> for StoreError {
    /// A store that was open before does not open again.
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::WrongAccount => Self::Closed,
            OpenError::Busy => Self::Busy,
            OpenError::Full => Self::Full,
            OpenError::Corrupt { message } => Self::Corrupt { message },
            other => Self::Failed {
                message: other.to_string(),
            },
        }
    }
}

impl From<StoreError> for ReplicaError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::Full,
            other => Self::Failed {
                message: other.to_string(),
            },
        }
    }
}
