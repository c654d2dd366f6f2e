//! What can go wrong, and what the app can do about it.

mod opening;
mod requests;

use evenkeel::store;

use crate::runtime::Broken;
use crate::status::SyncStatus;

pub use opening::OpenError;
pub use requests::{AiError, FailureInfo, RequestError};

macro_rules! broken {
    ($($name:ident),+) => {$(
        impl Broken for $name {
            fn closed() -> Self {
                Self::Closed
            }

            fn cancelled() -> Self {
                Self::Cancelled
            }

            fn internal(reason: String) -> Self {
                Self::Internal { reason }
            }
        }
    )+};
}

broken!(ClientError, DataError, SyncOnceError, RequestError, AiError);

/// A call that steers the client failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi::export(Display)]
pub enum ClientError {
    /// The client was closed. Open another one.
    #[error("the client is closed")]
    Closed,
    /// The app cancelled the call.
    #[error("cancelled")]
    Cancelled,
    /// `suspend` did not come to its end in time. The client is suspended nevertheless, and what is named
    /// here ends by itself.
    #[error("still under way at the deadline: {}", left.join(", "))]
    Unfinished {
        /// What was still under way: `pull`, `push`, `stream`, …
        left: Vec<String>,
    },
    /// A fault in this library. Report it.
    #[error("{reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl From<evenkeel::SuspendError> for ClientError {
    fn from(error: evenkeel::SuspendError) -> Self {
        match error {
            evenkeel::SuspendError::Unfinished { left } => Self::Unfinished {
                left: left.iter().map(|lane| lane.as_str().to_owned()).collect(),
            },
            other => Self::internal(other.to_string()),
        }
    }
}

/// A call to the store failed; nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi::export(Display)]
pub enum DataError {
    /// As many writes wait (or are in conflict, or parked) as are kept. Wait until some are sent, or have
    /// the user decide some.
    #[error("the outbox is full with {kept} writes")]
    OutboxFull {
        /// How many there are.
        kept: u32,
    },
    /// A record's id must have 1 to 128 characters. Correct it.
    #[error("a record's id must have 1 to 128 characters")]
    Id,
    /// There is no such record, conflict or parked write. Look again what there is.
    #[error("there is nothing of that kind by this id")]
    NotFound,
    /// A text is not what it should be: a record is an object in JSON, a bookmark one that a page gave.
    /// Correct it.
    #[error("not readable: {reason}")]
    Json {
        /// What is wrong with it, without its content.
        reason: String,
    },
    /// No room is left. Ask the user to make some.
    #[error("no room is left for the store")]
    Full,
    /// The store is damaged. Close the client; `recover_store` saves what the app wrote.
    #[error("the store is damaged: {reason}")]
    Corrupt {
        /// What was found.
        reason: String,
    },
    /// The client was closed or signed out, here or in another process. Open it again.
    #[error("the store is closed")]
    Closed,
    /// The client is suspended, and its files are closed. Resume it first.
    #[error("the store is suspended")]
    Suspended,
    /// Another process wrote for several seconds without a pause. Try again.
    #[error("another process keeps the store busy")]
    Busy,
    /// The app cancelled the call. A write may have been done: read the record.
    #[error("cancelled")]
    Cancelled,
    /// Anything else, in the store or in this library. Report it.
    #[error("{reason}")]
    Internal {
        /// What happened, without content of records.
        reason: String,
    },
}

impl From<store::StoreError> for DataError {
    fn from(error: store::StoreError) -> Self {
        use store::StoreError as From;
        match error {
            From::OutboxFull { kept } => Self::OutboxFull { kept },
            From::Id => Self::Id,
            From::NotFound => Self::NotFound,
            From::Shape { message } => Self::Json { reason: message },
            From::Full => Self::Full,
            From::Corrupt { message } => Self::Corrupt { reason: message },
            From::Closed => Self::Closed,
            From::Suspended => Self::Suspended,
            From::Busy => Self::Busy,
            other => Self::internal(other.to_string()),
        }
    }
}

/// `sync_once` did not reach its goal. The client goes back to what it was doing before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, uniffi::Error)]
#[uniffi::export(Display)]
pub enum SyncOnceError {
    /// The deadline came first. What was applied until then stays; try at the next occasion.
    #[error("not up to date within the time given")]
    Deadline {
        /// How things stood.
        status: SyncStatus,
    },
    /// A failure stands in the way, and the next attempt would come after the deadline, or only the app can
    /// do something. See the status; try at the next occasion.
    #[error("not up to date: {:?}", status.cause)]
    Failed {
        /// How things stood.
        status: SyncStatus,
    },
    /// The client was stopped or suspended meanwhile.
    #[error("the client was stopped or suspended meanwhile")]
    Interrupted,
    /// The app cancelled the call. What was applied until then stays.
    #[error("cancelled")]
    Cancelled,
    /// The client was closed. Open another one.
    #[error("the client is closed")]
    Closed,
    /// A fault in this library. Report it.
    #[error("{reason}")]
    Internal {
        /// What happened.
        reason: String,
    },
}

impl From<evenkeel::SyncOnceError> for SyncOnceError {
    fn from(error: evenkeel::SyncOnceError) -> Self {
        use evenkeel::SyncOnceError as From;
        match error {
            From::Deadline { status } => Self::Deadline {
                status: (*status).into(),
            },
            From::Failed { status } => Self::Failed {
                status: (*status).into(),
            },
            From::Interrupted => Self::Interrupted,
            other => Self::internal(other.to_string()),
        }
    }
}
