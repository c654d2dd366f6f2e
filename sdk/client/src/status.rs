//! What the app sees: the engine's status, with times as "how long from now".

mod told;

use std::time::Duration;

use evenkeel_proto::engine::Backlog;
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{
    Ask, Cause, Failure, Layer, Lifecycle, Link, OutboxLevel, SyncState, SyncStatus, Timestamp,
};
use serde::ser::{Serialize, SerializeStruct, Serializer};
use tokio::sync::watch;

use crate::clock;
use crate::follow::Follow;

pub(crate) use told::Told;

/// One consistent picture of the client.
///
/// Times are given as seen from now, on a clock that keeps counting while the device sleeps and does
/// not care what the user sets the device's clock to. As JSON (through serde) the fields have these
/// names, times are whole milliseconds from the moment of writing, and `null` is "none":
/// `version, state, lifecycle, syncs_here, link, cause, layer, in_state_for_ms, attempt,
/// next_attempt_in_ms, floor_from_server_ms, last_proof_ago_ms, cursor, pending, conflicts, rejected,
/// outbox, ask`.
///
/// Of several processes on one store one syncs. In the others `syncs_here` is false, `state`, `link`,
/// `cause`, `layer`, the times, `cursor` and `ask` are that one's, at most a second old, and this
/// client sends nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Rises with each published status, over restarts of the client too.
    pub version: u64,
    /// Where the data stands.
    pub state: SyncState,
    /// Whether the client is at work. The state of one that is not is its last one.
    pub lifecycle: Lifecycle,
    /// Whether this client does the syncing when it is at work; otherwise another process on the same
    /// store does.
    pub syncs_here: bool,
    /// How news reaches us.
    pub link: Link,
    /// Why the state is `degraded`; `None` otherwise.
    pub cause: Option<Cause>,
    /// Whose fault; `None` unless degraded.
    pub layer: Option<Layer>,
    /// Failures in a row behind the present wait; 0 when there is none.
    pub attempt: u32,
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
    since: Timestamp,
    next_attempt_at: Option<Timestamp>,
    floor_from_server: Option<Timestamp>,
    last_proof_at: Option<Timestamp>,
}

impl Status {
    /// How long until the next request goes out by itself, jitter and budget included. `None` when
    /// none is planned (all is well, or only the app can do something); zero when it is due.
    #[must_use]
    pub fn next_attempt_in(&self) -> Option<Duration> {
        self.next_attempt_at.map(left)
    }

    /// How long the server asked us to stay away from now on; `None` when it did not, or that is over.
    #[must_use]
    pub fn floor_from_server(&self) -> Option<Duration> {
        self.floor_from_server
            .map(left)
            .filter(|left| !left.is_zero())
    }

    /// How long the state has been what it is.
    #[must_use]
    pub fn in_state_for(&self) -> Duration {
        clock::now().since(self.since)
    }

    /// How long ago `synced` was last proven; `None` for never in this run.
    #[must_use]
    pub fn last_proof_ago(&self) -> Option<Duration> {
        self.last_proof_at.map(|at| clock::now().since(at))
    }

    /// Before the first start.
    pub(crate) fn initial(backlog: Backlog) -> Self {
        Self {
            version: 0,
            state: SyncState::Syncing,
            lifecycle: Lifecycle::Stopped,
            syncs_here: true,
            link: Link::None,
            cause: None,
            layer: None,
            attempt: 0,
            cursor: None,
            pending: backlog.waiting,
            conflicts: backlog.conflicts,
            rejected: backlog.rejected,
            outbox: backlog.level,
            ask: Ask::None,
            since: clock::now(),
            next_attempt_at: None,
            floor_from_server: None,
            last_proof_at: None,
        }
    }

    /// What the engine published, as the `version`th of this client.
    pub(crate) fn from_engine(status: &SyncStatus, version: u64) -> Self {
        Self {
            version,
            state: status.state,
            lifecycle: status.lifecycle,
            syncs_here: true,
            link: status.link,
            cause: status.cause,
            layer: status.layer,
            attempt: status.attempt,
            cursor: status.cursor,
            pending: status.pending,
            conflicts: status.conflicts,
            rejected: status.rejected,
            outbox: status.outbox,
            ask: status.ask,
            since: status.since,
            next_attempt_at: status.next_attempt_at,
            floor_from_server: status.floor_from_server,
            last_proof_at: status.last_proof_at,
        }
    }

    /// The client ended without the engine having been asked.
    pub(crate) fn end(&mut self) {
        self.rest(Lifecycle::Stopped);
    }

    /// The client does nothing any more, or for now.
    pub(crate) fn rest(&mut self, lifecycle: Lifecycle) {
        self.version += 1;
        self.lifecycle = lifecycle;
        self.link = Link::None;
        self.next_attempt_at = None;
    }

    /// Another process syncs, and has not told how things stand.
    pub(crate) fn follow(&mut self) {
        *self = Self {
            version: self.version + 1,
            lifecycle: Lifecycle::Running,
            syncs_here: false,
            cursor: self.cursor,
            last_proof_at: self.last_proof_at,
            ..Self::initial(Backlog {
                waiting: self.pending,
                conflicts: self.conflicts,
                rejected: self.rejected,
                level: self.outbox,
            })
        };
    }

    /// The store cannot be opened, or does not say who syncs it.
    pub(crate) fn no_store(&mut self, failure: &Failure, next_attempt_in: Duration) {
        let full = failure.cause == Cause::StorageFull;
        let now = clock::now();
        if self.cause != Some(failure.cause) {
            self.since = now;
            self.attempt = 0;
        }
        self.version += 1;
        self.lifecycle = Lifecycle::Running;
        self.state = SyncState::Degraded;
        self.link = Link::None;
        self.cause = Some(failure.cause);
        self.layer = Some(failure.layer);
        self.attempt += 1;
        self.next_attempt_at = Some(now + next_attempt_in);
        self.floor_from_server = None;
        self.ask = if full { Ask::FreeStorage } else { Ask::None };
    }

    /// The app wrote while the client was at rest.
    pub(crate) fn count(&mut self, backlog: Backlog) {
        self.version += 1;
        self.pending = backlog.waiting;
        self.conflicts = backlog.conflicts;
        self.rejected = backlog.rejected;
        self.outbox = backlog.level;
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Status", 18)?;
        out.serialize_field("version", &self.version)?;
        out.serialize_field("state", &self.state)?;
        out.serialize_field("lifecycle", &self.lifecycle)?;
        out.serialize_field("syncs_here", &self.syncs_here)?;
        out.serialize_field("link", &self.link)?;
        out.serialize_field("cause", &self.cause)?;
        out.serialize_field("layer", &self.layer)?;
        out.serialize_field("in_state_for_ms", &ms(self.in_state_for()))?;
        out.serialize_field("attempt", &self.attempt)?;
        out.serialize_field("next_attempt_in_ms", &self.next_attempt_in().map(ms))?;
        out.serialize_field("floor_from_server_ms", &self.floor_from_server().map(ms))?;
        out.serialize_field("last_proof_ago_ms", &self.last_proof_ago().map(ms))?;
        out.serialize_field("cursor", &self.cursor)?;
        out.serialize_field("pending", &self.pending)?;
        out.serialize_field("conflicts", &self.conflicts)?;
        out.serialize_field("rejected", &self.rejected)?;
        out.serialize_field("outbox", &self.outbox)?;
        out.serialize_field("ask", &self.ask)?;
        out.end()
    }
}

fn left(until: Timestamp) -> Duration {
    until.since(clock::now())
}

pub(crate) fn ms(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The statuses from now on: the present one first, then each newer one. A reader that is slower than
/// they come skips some, but never the latest. Ends when the client is dropped. Made by
/// [`status_changes`](crate::SyncClient::status_changes).
#[must_use = "a stream gives nothing unless it is read"]
#[derive(Debug)]
pub struct StatusChanges(Follow<Reader, Status>);

#[derive(Debug)]
pub(crate) struct Reader {
    values: watch::Receiver<Status>,
    begun: bool,
}

impl StatusChanges {
    pub(crate) fn new(values: watch::Receiver<Status>) -> Self {
        let reader = Reader {
            values,
            begun: false,
        };
        Self(Follow::new(reader, |reader| Box::pin(step(reader))))
    }

    /// The next status; `None` once the client is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Status> {
        self.0.next().await
    }
}

async fn step(mut reader: Reader) -> (Option<Status>, Reader) {
    if reader.begun && reader.values.changed().await.is_err() {
        return (None, reader);
    }
    reader.begun = true;
    let status = reader.values.borrow_and_update().clone();
    (Some(status), reader)
}

impl futures_core::Stream for StatusChanges {
    type Item = Status;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Status>> {
        self.0.poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_with_the_names_that_scripts_read() {
        let mut status = Status::initial(Backlog::default());
        status.pending = 2;
        status.state = SyncState::Degraded;
        status.cause = Some(Cause::CircuitOpen);
        status.layer = Some(Layer::Edge);
        status.cursor = Some(Cursor(7));
        status.next_attempt_at = Some(clock::now() + Duration::from_secs(20));
        let json = serde_json::to_value(&status).unwrap();
        assert_eq!(json["state"], "degraded");
        assert_eq!(json["lifecycle"], "stopped");
        assert_eq!(json["link"], "none");
        assert_eq!(json["cause"], "circuit_open");
        assert_eq!(json["layer"], "edge");
        assert_eq!(json["attempt"], 0);
        assert_eq!(json["cursor"], 7);
        assert_eq!(json["pending"], 2);
        assert_eq!(json["outbox"], "normal");
        let wait = json["next_attempt_in_ms"].as_u64().unwrap();
        assert!((19_000..=20_000).contains(&wait), "{wait}");
        assert!(json["last_proof_ago_ms"].is_null());
    }

    #[tokio::test]
    async fn a_slow_reader_skips_statuses_but_never_the_last() {
        let (sender, receiver) = watch::channel(Status::initial(Backlog::default()));
        let mut changes = StatusChanges::new(receiver);
        assert_eq!(changes.next().await.unwrap().version, 0);
        for _ in 0..5 {
            sender.send_modify(|status| status.version += 1);
        }
        drop(sender);
        assert_eq!(changes.next().await.unwrap().version, 5);
        assert_eq!(changes.next().await, None);
        assert_eq!(changes.next().await, None);
    }
}
