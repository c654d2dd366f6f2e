//! Records and their changes, as they cross the border.

use evenkeel::store;
use evenkeel::wire::{Record, UnixMillis};
use serde_json::{Map, Value};

use crate::errors::DataError;
use crate::names::Origin;
use crate::status::number;

/// A record as the app sees it.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct StoredRecord {
    /// Names the record for ever.
    pub id: String,
    /// The version that the server has; 0 where it has none.
    pub version: i64,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it was last written.
    pub updated_at_ms: i64,
    /// The app's fields: an object in JSON.
    pub json: String,
}

impl From<Record> for StoredRecord {
    fn from(record: Record) -> Self {
        Self {
            id: record.id,
            version: number(record.version.0),
            created_at_ms: record.created_at.0,
            updated_at_ms: record.updated_at.0,
            json: text(record.fields),
        }
    }
}

/// A record that the app had before there was a service.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ImportedRecord {
    /// Names the record for ever.
    pub id: String,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it was last written.
    pub updated_at_ms: i64,
    /// Its fields: an object in JSON.
    pub json: String,
}

impl ImportedRecord {
    pub(crate) fn into_record(self) -> Result<Record, DataError> {
        Ok(Record {
            fields: fields(&self.json)?,
            id: self.id,
            version: evenkeel::wire::Version::ZERO,
            created_at: UnixMillis(self.created_at_ms),
            updated_at: UnixMillis(self.updated_at_ms),
            deleted_at: None,
        })
    }
}

/// Which records to list, and how.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct ListQuery {
    /// In which order. The last written first where none is given.
    #[uniffi(default = None)]
    pub order: Option<Order>,
    /// How many at most, 1 to 1,000.
    #[uniffi(default = 100)]
    pub limit: u32,
    /// Where the page before ended; none for the first one.
    #[uniffi(default = None)]
    pub after: Option<String>,
}

impl ListQuery {
    pub(crate) fn into_query(self) -> Result<store::Query, DataError> {
        let after = self.after.map(|text| serde_json::from_str(&text));
        Ok(store::Query {
            order: match self.order.unwrap_or(Order::NewestUpdate) {
                Order::NewestUpdate => store::Order::NewestUpdate,
                Order::OldestUpdate => store::Order::OldestUpdate,
                Order::NewestCreation => store::Order::NewestCreation,
                Order::OldestCreation => store::Order::OldestCreation,
                Order::Id => store::Order::Id,
            },
            limit: self.limit as usize,
            after: after.transpose().map_err(unreadable)?,
        })
    }
}

/// In which order records are listed; the id decides between equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Order {
    /// The last written first.
    NewestUpdate,
    /// The first written first.
    OldestUpdate,
    /// The last made first.
    NewestCreation,
    /// The first made first.
    OldestCreation,
    /// By id.
    Id,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct RecordPage {
    /// The records.
    pub items: Vec<StoredRecord>,
    /// A bookmark where the next page begins; none where this is the last one.
    pub next: Option<String>,
}

impl TryFrom<store::Page<Record>> for RecordPage {
    type Error = DataError;

    fn try_from(page: store::Page<Record>) -> Result<Self, DataError> {
        let next = page.next.map(|mark| serde_json::to_string(&mark));
        Ok(Self {
            items: page.items.into_iter().map(StoredRecord::from).collect(),
            next: next.transpose().map_err(unreadable)?,
        })
    }
}

/// What a look at one record showed.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct RecordLook {
    /// None where there is none, or it was deleted.
    pub record: Option<StoredRecord>,
}

/// Something was applied to the store.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Change {
    /// A record is new or has new content.
    Upserted {
        /// Which one.
        id: String,
        /// The version it has now.
        version: i64,
        /// Who did it.
        origin: Origin,
    },
    /// A record was deleted.
    Deleted {
        /// Which one.
        id: String,
        /// The version it has now.
        version: i64,
        /// Who did it.
        origin: Origin,
    },
    /// A snapshot took the place of everything: read all again.
    Replaced {
        /// How many records there are now.
        records: i64,
    },
    /// Another process worked on the store: read again what is shown.
    Elsewhere,
    /// The app was slower than the changes came: read again what is shown.
    Missed {
        /// How many.
        count: i64,
    },
}

impl From<Result<evenkeel::Change, evenkeel::Lagged>> for Change {
    fn from(change: Result<evenkeel::Change, evenkeel::Lagged>) -> Self {
        use evenkeel::Change as From;
        match change {
            Ok(From::Upserted {
                id,
                version,
                origin,
            }) => Self::Upserted {
                id,
                version: number(version.0),
                origin: origin.into(),
            },
            Ok(From::Deleted {
                id,
                version,
                origin,
            }) => Self::Deleted {
                id,
                version: number(version.0),
                origin: origin.into(),
            },
            Ok(From::Replaced { records }) => Self::Replaced {
                records: number(records),
            },
            // What a later SDK may add can be read again too.
            Ok(_) => Self::Elsewhere,
            Err(lagged) => Self::Missed {
                count: number(lagged.missed),
            },
        }
    }
}

/// What came of taking over earlier records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Bootstrap {
    /// They are local writes now.
    Taken {
        /// How many. The others were known already, or deleted.
        records: i64,
    },
    /// It was done before: nothing changed.
    DoneBefore,
}

impl From<store::Bootstrap> for Bootstrap {
    fn from(bootstrap: store::Bootstrap) -> Self {
        match bootstrap {
            store::Bootstrap::Taken { records } => Self::Taken {
                records: number(records),
            },
            _ => Self::DoneBefore,
        }
    }
}

/// What was brought over from a damaged store.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Recovery {
    /// Local writes on their way.
    pub operations: u32,
    /// Local sides of conflicts.
    pub conflicts: u32,
    /// Parked writes.
    pub rejected: u32,
    /// Everything local could be read. Otherwise some writes were on the damaged pages.
    pub complete: bool,
    /// Where the damaged file lies now.
    pub damaged: String,
}

impl From<store::Recovery> for Recovery {
    fn from(recovery: store::Recovery) -> Self {
        Self {
            operations: recovery.operations,
            conflicts: recovery.conflicts,
            rejected: recovery.rejected,
            complete: recovery.complete,
            damaged: recovery.damaged.display().to_string(),
        }
    }
}

/// A record's fields from the app's text.
pub(crate) fn fields(json: &str) -> Result<Map<String, Value>, DataError> {
    serde_json::from_str(json).map_err(unreadable)
}

pub(crate) fn text(fields: Map<String, Value>) -> String {
    Value::Object(fields).to_string()
}

/// Where, but not what: the text is the user's.
fn unreadable(error: serde_json::Error) -> DataError {
    let (line, column) = (error.line(), error.column());
    DataError::Json {
        reason: format!("{:?} at line {line}, column {column}", error.classify()),
    }
}
