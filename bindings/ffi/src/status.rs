//! The client's status as it crosses the border.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evenkeel::Status;

use crate::names::{Ask, Cause, Layer, Lifecycle, Link, OutboxLevel, SyncState};

/// One consistent picture of the client.
///
/// What is left of a wait is given beside its end: count the remaining milliseconds down on a clock that
/// the user cannot set, the moment is for showing.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub struct SyncStatus {
    /// Rises with each status.
    pub version: i64,
    /// Where the data stands.
    pub state: SyncState,
    /// Whether the client is at work. The state of one that is not is its last one.
    pub lifecycle: Lifecycle,
    /// Whether this client syncs; otherwise another one on the same store does.
    pub syncs_here: bool,
    /// How news reaches us.
    pub link: Link,
    /// Why the state is `degraded`; none otherwise.
    pub cause: Option<Cause>,
    /// Whose fault; none unless degraded.
    pub layer: Option<Layer>,
    /// Since when the state is what it is.
    pub since_ms: i64,
    /// Failures in a row behind the present wait; 0 when there is none.
    pub attempt: u32,
    /// When the next request goes out by itself; none when none is planned.
    pub next_attempt_at_ms: Option<i64>,
    /// How long until then.
    pub next_attempt_in_ms: Option<i64>,
    /// How long the service asked to be left alone from now on.
    pub server_floor_ms: Option<i64>,
    /// How long ago `synced` was last proven; none for never in this run.
    pub last_proof_ago_ms: Option<i64>,
    /// Local writes that the server has not answered for.
    pub pending: u32,
    /// Records with two sides waiting for a decision.
    pub conflicts: u32,
    /// Writes that the server refused.
    pub rejected: u32,
    /// How full the outbox is.
    pub outbox: OutboxLevel,
    /// What only the app can do.
    pub ask: Ask,
}

impl From<Status> for SyncStatus {
    fn from(status: Status) -> Self {
        let now = wall_ms();
        let next_attempt_in_ms = status.next_attempt_in().map(ms);
        Self {
            version: number(status.version),
            state: status.state.into(),
            lifecycle: status.lifecycle.into(),
            syncs_here: status.syncs_here,
            link: status.link.into(),
            cause: status.cause.map(Cause::from),
            layer: status.layer.map(Layer::from),
            since_ms: now.saturating_sub(ms(status.in_state_for())),
            attempt: status.attempt,
            next_attempt_at_ms: next_attempt_in_ms.map(|left| now.saturating_add(left)),
            next_attempt_in_ms,
            server_floor_ms: status.floor_from_server().map(ms),
            last_proof_ago_ms: status.last_proof_ago().map(ms),
            pending: status.pending,
            conflicts: status.conflicts,
            rejected: status.rejected,
            outbox: status.outbox.into(),
            ask: status.ask.into(),
        }
    }
}

pub(crate) fn ms(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

/// Swift and Kotlin count with signed numbers.
pub(crate) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A span from the app: less than nothing is nothing.
pub(crate) fn span(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, ms)
}
