//! What the app sees.

use crate::cause::{Cause, Layer, named};
use crate::time::Timestamp;
use crate::wire::Cursor;

named! {
    /// Where the data stands.
    SyncState {
        /// Proven: the stream is live, a pull begun after its opening and after the last
        /// announcement has finished, and nothing waits to be sent.
        Synced = "synced",
        /// On the way there, with nothing in the way.
        Syncing = "syncing",
        /// A part of the sync path failed and has not worked since.
        Degraded = "degraded",
    }
}

named! {
    /// Whether the client is at work at all. The state of one that is not is its last one.
    Lifecycle {
        /// At work.
        Running = "running",
        /// Paused by the app; nothing is sent.
        Suspended = "suspended",
        /// Not started, or ended.
        Stopped = "stopped",
    }
}

named! {
    /// How news from the server reaches us.
    Link {
        /// Through a live event stream.
        Stream = "stream",
        /// By asking at intervals, because the stream does not work.
        Polling = "polling",
        /// Not at all at the moment.
        None = "none",
    }
}

named! {
    /// What only the app (or its user) can do.
    Ask {
        /// Nothing.
        None = "none",
        /// Sign in again, then announce the new token.
        SignIn = "sign_in",
        /// This device was revoked: sign out or register anew.
        DeviceRevoked = "device_revoked",
        /// Choose between both sides of a conflict.
        ResolveConflicts = "resolve_conflicts",
        /// Look at what the server refused.
        ReviewRejected = "review_rejected",
        /// Make room for the local store.
        FreeStorage = "free_storage",
    }
}

named! {
    /// How full the outbox is, writes in conflict and refused ones included.
    #[derive(Default)]
    OutboxLevel {
        /// There is room.
        #[default]
        Normal = "normal",
        /// The soft limit is reached: the app may want to tell its user.
        Backlog = "backlog",
        /// The hard limit is reached: writes to further records are refused.
        Blocked = "blocked",
    }
}

/// One consistent picture of the client. Times are on the engine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SyncStatus {
    /// Rises by one with each published status.
    pub version: u64,
    /// Where the data stands.
    pub state: SyncState,
    /// Whether the client is at work.
    pub lifecycle: Lifecycle,
    /// How news reaches us.
    pub link: Link,
    /// Why the state is `degraded`; `None` otherwise.
    pub cause: Option<Cause>,
    /// Whose fault; `None` unless degraded.
    pub layer: Option<Layer>,
    /// When the state was entered.
    pub since: Timestamp,
    /// Failures in a row behind the present wait; 0 when there is none.
    pub attempt: u32,
    /// When the next request goes out by itself, jitter and budget included.
    pub next_attempt_at: Option<Timestamp>,
    /// Until when the server asked us to stay away; `None` also where that holds back one kind of request alone,
    /// and another goes out before.
    pub floor_from_server: Option<Timestamp>,
    /// When `synced` was last proven.
    pub last_proof_at: Option<Timestamp>,
    /// How far the replica has come.
    pub cursor: Option<Cursor>,
    /// Local operations that the server has not answered for.
    pub pending: u32,
    /// Records with two sides waiting for a decision.
    pub conflicts: u32,
    /// Operations that the server refused.
    pub rejected: u32,
    /// How full the outbox is.
    pub outbox: OutboxLevel,
    /// What only the app can do.
    pub ask: Ask,
}
