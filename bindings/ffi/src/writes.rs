//! What becomes of local writes: pending, in conflict, refused.

use evenkeel::store;

use crate::errors::DataError;
use crate::names::{Cause, OutboxLevel};
use crate::records::{StoredRecord, fields, text};
use crate::status::number;

/// What waits for the server.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PendingWrites {
    /// In the order of the local writes.
    pub writes: Vec<PendingWrite>,
    /// How full the outbox is.
    pub level: OutboxLevel,
}

impl From<store::Pending> for PendingWrites {
    fn from(pending: store::Pending) -> Self {
        let writes = pending.operations.into_iter().map(|write| PendingWrite {
            id: write.id,
            deletion: write.deletion,
            sent: write.sent,
            written_at_ms: write.written_at.0,
        });
        Self {
            writes: writes.collect(),
            level: pending.level.into(),
        }
    }
}

/// A local write that the server has not answered for.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct PendingWrite {
    /// Which record.
    pub id: String,
    /// Whether it deletes the record.
    pub deletion: bool,
    /// It was sent, and its fate is not known.
    pub sent: bool,
    /// When; of several writes in one the last.
    pub written_at_ms: i64,
}

/// A record that changed here and on the server. Both sides are kept until it is resolved or written.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Conflict {
    /// Which record.
    pub id: String,
    /// What both sides began with, as an object in JSON; none where there was no such record.
    pub base_json: Option<String>,
    /// What this app wants; none for a deletion.
    pub local: Option<StoredRecord>,
    /// What the server has; none where it has no such record (any more).
    pub server: Option<StoredRecord>,
    /// What stands against what; none where the two would merge by now.
    pub clash: Option<Clash>,
    /// Since when.
    pub since_ms: i64,
}

impl From<store::Conflict> for Conflict {
    fn from(conflict: store::Conflict) -> Self {
        Self {
            id: conflict.id,
            base_json: conflict.base.map(text),
            local: conflict.local.map(StoredRecord::from),
            server: conflict.server.map(StoredRecord::from),
            clash: conflict.clash.map(|clash| match clash {
                store::Clash::Fields(names) => Clash::Fields { names },
                store::Clash::DeleteAgainstEdit => Clash::DeleteAgainstEdit,
                store::Clash::EditAgainstDelete => Clash::EditAgainstDelete,
            }),
            since_ms: i64::try_from(conflict.since_ms).unwrap_or(i64::MAX),
        }
    }
}

/// What stands against what in a conflict.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Clash {
    /// Both sides gave these fields different values. Sorted, never empty.
    Fields {
        /// Which.
        names: Vec<String>,
    },
    /// We deleted what they changed.
    DeleteAgainstEdit,
    /// We changed what they deleted.
    EditAgainstDelete,
}

/// What becomes of a conflict.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Resolution {
    /// The local side replaces the server's.
    KeepLocal,
    /// The server's side replaces the local one.
    KeepServer,
    /// These fields replace both.
    Merged {
        /// An object in JSON.
        json: String,
    },
}

impl Resolution {
    pub(crate) fn into_choice(self) -> Result<store::Resolution, DataError> {
        Ok(match self {
            Self::KeepLocal => store::Resolution::KeepLocal,
            Self::KeepServer => store::Resolution::KeepServer,
            Self::Merged { json } => store::Resolution::Merged(fields(&json)?),
        })
    }
}

/// A local write that the server does not take. It stays in the app's view until it is sent again,
/// discarded or replaced.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct Rejected {
    /// Which record.
    pub id: String,
    /// What this app wanted; none for a deletion.
    pub wanted: Option<StoredRecord>,
    /// Why it is parked.
    pub reason: RejectReason,
    /// Since when.
    pub since_ms: i64,
}

impl From<store::Rejected> for Rejected {
    fn from(rejected: store::Rejected) -> Self {
        Self {
            id: rejected.id,
            wanted: rejected.wanted.map(StoredRecord::from),
            reason: rejected.reason.into(),
            since_ms: i64::try_from(rejected.since_ms).unwrap_or(i64::MAX),
        }
    }
}

/// Why a write is parked.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum RejectReason {
    /// The service refused exactly these bytes.
    Refused {
        /// Why.
        cause: Cause,
        /// The answer's HTTP status, where there was an answer.
        http_status: Option<u16>,
        /// The service's own code.
        code: Option<String>,
        /// The service's text, for people.
        text: String,
    },
    /// The service answered twice, and left this write out both times.
    LeftOut,
}

impl From<store::RejectReason> for RejectReason {
    fn from(reason: store::RejectReason) -> Self {
        match reason {
            store::RejectReason::Refused {
                cause,
                http_status,
                code,
                message,
            } => Self::Refused {
                cause: cause.into(),
                http_status,
                code,
                text: message,
            },
            _ => Self::LeftOut,
        }
    }
}

/// What became of a local write.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub enum Verdict {
    /// The server has it, alone or merged with what others wrote.
    Acknowledged {
        /// The record's version since then.
        version: i64,
    },
    /// The record changed on the server too: it is among the conflicts.
    Conflicted,
    /// It is parked.
    Rejected {
        /// Why.
        reason: RejectReason,
    },
}

impl TryFrom<store::Verdict> for Verdict {
    type Error = DataError;

    fn try_from(verdict: store::Verdict) -> Result<Self, DataError> {
        match verdict {
            store::Verdict::Acknowledged { version } => Ok(Self::Acknowledged {
                version: number(version.0),
            }),
            store::Verdict::Conflicted => Ok(Self::Conflicted),
            store::Verdict::Rejected { reason } => Ok(Self::Rejected {
                reason: reason.into(),
            }),
            _ => Err(DataError::Internal {
                reason: "a verdict that this library does not know".into(),
            }),
        }
    }
}
