//! What goes into the store's calls, and what comes out.

use std::time::Duration;

use evenkeel_proto::merge::Clash;
use evenkeel_proto::wire::{Record, UnixMillis, Version};
use evenkeel_proto::{Cause, Failure, OutboxLevel};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::clock::WallClock;
use super::error::OpenError;

/// How a store works. `StoreOptions::default()` suits most apps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreOptions {
    /// What a write survives. [`Durability::Full`].
    pub durability: Durability,
    /// From this many kept operations on (waiting, in conflict or parked), [`Pending::level`] says
    /// that there is a backlog. 500.
    pub outbox_soft_max: u32,
    /// A write that would make it more kept operations than this is refused. 1,000.
    pub outbox_hard_max: u32,
    /// The file grows no further than this, in bytes; rounded up to whole pages of 4 KiB. No limit.
    pub bytes_max: Option<u64>,
    /// How long the service can be trusted to know a `requestId` again. An operation that was first
    /// sent longer ago is compared with a fresh pull before it is sent again. 23 h: the service
    /// remembers for 24 h.
    pub idempotency_window: Duration,
    /// The time of day. The system's.
    pub wall_clock: WallClock,
}

/// What a local write that was answered for survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// A crash of the app, of the system, and a power cut. Each write waits for the disk.
    Full,
    /// A crash of the app. A power cut or a crash of the system can take back the last writes, but
    /// never damages the store. Several times as fast on most disks.
    Fast,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Full,
            outbox_soft_max: 500,
            outbox_hard_max: 1_000,
            bytes_max: None,
            idempotency_window: Duration::from_secs(23 * 3600),
            wall_clock: WallClock::default(),
        }
    }
}

impl StoreOptions {
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let wrong = |name| Err(OpenError::Setting { name });
        if self.outbox_hard_max == 0 {
            return wrong("outbox_hard_max");
        }
        if self.outbox_soft_max > self.outbox_hard_max {
            return wrong("outbox_soft_max");
        }
        if self.bytes_max.is_some_and(|bytes| bytes < BYTES_MAX_MIN) {
            return wrong("bytes_max");
        }
        Ok(())
    }

    /// How full the outbox is with so many kept operations.
    pub(super) const fn level(&self, kept: u32) -> OutboxLevel {
        if kept >= self.outbox_hard_max {
            OutboxLevel::Blocked
        } else if kept >= self.outbox_soft_max {
            OutboxLevel::Backlog
        } else {
            OutboxLevel::Normal
        }
    }
}

/// Which records to list, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// In which order.
    pub order: Order,
    /// How many at most; between 1 and 1,000.
    pub limit: usize,
    /// Where the page before ended ([`Page::next`]); `None` for the first one.
    pub after: Option<Bookmark>,
}

impl Default for Query {
    /// The 100 that were written last.
    fn default() -> Self {
        Self {
            order: Order::default(),
            limit: 100,
            after: None,
        }
    }
}

/// In which order records are listed; the id decides between equals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// The last written first.
    #[default]
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

/// A place in a list. It stays valid when records come and go, and can be put away as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bookmark {
    pub(super) key: i64,
    pub(super) id: String,
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Page<T> {
    /// The records.
    pub items: Vec<T>,
    /// Where the next page begins; `None` where this is the last one.
    pub next: Option<Bookmark>,
}

/// What waits for the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Pending {
    /// In the order of the local writes.
    pub operations: Vec<PendingWrite>,
    /// How full the outbox is.
    pub level: OutboxLevel,
}

/// A local write that the server has not answered for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PendingWrite {
    /// Which record.
    pub id: String,
    /// Whether it deletes the record.
    pub deletion: bool,
    /// It was sent, and its fate is not known.
    pub sent: bool,
    /// When, on this device's clock; of several writes in one the last.
    pub written_at: UnixMillis,
}

/// A record that changed here and on the server. Both sides are kept until
/// [`resolve`](super::SqliteStore::resolve), or a write to the record, which then is the decision.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Conflict {
    /// Which record.
    pub id: String,
    /// What both sides began with; `None` where there was no such record.
    pub base: Option<Map<String, Value>>,
    /// What this app wants; `None` for a deletion.
    pub local: Option<Record>,
    /// What the server has; `None` where it has no such record (any more).
    pub server: Option<Record>,
    /// What stands against what; `None` where the two would merge by now, or merged a moment ago and
    /// met again.
    pub clash: Option<Clash>,
    /// Since when, in Unix milliseconds on this device's clock.
    pub since_ms: u64,
}

/// What becomes of a conflict.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Resolution {
    /// The local side replaces the server's.
    KeepLocal,
    /// The server's side replaces the local one.
    KeepServer,
    /// These fields replace both.
    Merged(Map<String, Value>),
}

/// A local write that the server does not take. It stays in the app's view until
/// [`retry`](super::SqliteStore::retry), [`discard`](super::SqliteStore::discard), or a write to the
/// record, which replaces it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rejected {
    /// Which record.
    pub id: String,
    /// What this app wanted; `None` for a deletion.
    pub wanted: Option<Record>,
    /// Why it is parked.
    pub reason: RejectReason,
    /// Since when, in Unix milliseconds on this device's clock.
    pub since_ms: u64,
}

/// Why a write is parked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RejectReason {
    /// The service refused exactly these bytes.
    Refused {
        /// Why, in the terms of the status.
        cause: Cause,
        /// The answer's HTTP status, where there was an answer.
        http_status: Option<u16>,
        /// The service's own code.
        code: Option<String>,
        /// The service's text, for people.
        message: String,
    },
    /// The service answered twice, and left this write out both times.
    LeftOut,
}

impl RejectReason {
    pub(super) fn refused(failure: Failure) -> Self {
        Self::Refused {
            cause: failure.cause,
            http_status: failure.http_status,
            code: failure.code,
            message: failure.message,
        }
    }
}

/// What became of a local write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Verdict {
    /// The server has it, alone or merged with what others wrote.
    Acknowledged {
        /// The record's version since then.
        version: Version,
    },
    /// The record changed on the server too: it is among the conflicts.
    Conflicted,
    /// It is parked.
    Rejected {
        /// Why.
        reason: RejectReason,
    },
}

/// What came of [`bootstrap`](super::SqliteStore::bootstrap).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bootstrap {
    /// They are local writes now.
    Taken {
        /// How many. The others were known already, or deleted.
        records: u64,
    },
    /// It was done before: nothing changed.
    DoneBefore,
}

/// What becomes of the data when the user signs out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignOut {
    /// It stays, for the same account alone.
    Keep,
    /// It goes, local writes that were not sent included, and the file is free for another account.
    Wipe,
}

/// An empty store has a few dozen pages.
const BYTES_MAX_MIN: u64 = 1 << 20;
