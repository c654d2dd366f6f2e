//! A picture of the client for a support request: what it did and met, without secrets or content.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use evenkeel_proto::engine::StreamEvent;
use evenkeel_proto::{Cause, Failure, Layer, Lifecycle, Link, SyncState, Timestamp};
use serde::Serialize;

use crate::clock;
use crate::settings::{Limits, TicketCarrier, Timeouts};
use crate::status::{Status, ms};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Lane {
    /// Asking for a stream ticket.
    Ticket,
    /// The event stream.
    Stream,
    /// Reading a page of changes.
    Pull,
    /// Reading everything.
    Snapshot,
    /// Sending local writes.
    Push,
    /// Asking the app for a token.
    Token,
    /// Closing the store's files.
    Store,
}

impl Lane {
    /// The name used in JSON and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ticket => "ticket",
            Self::Stream => "stream",
            Self::Pull => "pull",
            Self::Snapshot => "snapshot",
            Self::Push => "push",
            Self::Token => "token",
            Self::Store => "store",
        }
    }
}

/// See [`SyncClient::diagnostics`](crate::SyncClient::diagnostics). Holds no token, ticket, cookie
/// or content of records. Times are milliseconds before the snapshot was taken.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Diagnostics {
    /// This SDK's version.
    pub sdk_version: &'static str,
    /// How the client was built.
    pub settings: Settings,
    /// How things stand.
    pub status: Status,
    /// The latest statuses, oldest first.
    pub history: Vec<PastStatus>,
    /// What each lane did since the client was built.
    pub lanes: BTreeMap<Lane, LaneCounters>,
    /// What came through streams since the client was built.
    pub stream_events: StreamCounters,
    /// The latest failures, oldest first.
    pub failures: Vec<PastFailure>,
    /// Changes applied to the replica since the client was built.
    pub changes_applied: u64,
    /// How often a floor could not be written to the state directory.
    pub floor_save_failures: u64,
}

/// How the client was built.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Settings {
    /// Where the service is.
    pub url: String,
    /// This device.
    pub device_id: String,
    /// How the client calls itself.
    pub user_agent: String,
    /// How tickets travel.
    pub ticket_carrier: TicketCarrier,
    /// Which way requests go: `environment`, `none` or `url`.
    pub proxy: &'static str,
    /// Whether the app brought its own DNS resolver.
    pub custom_resolver: bool,
    /// How many root certificates the app added.
    pub extra_roots: usize,
    /// Whether id and floors survive a restart.
    pub state_dir: bool,
    /// Limits.
    pub limits: Limits,
    /// Timeouts.
    pub timeouts: Timeouts,
}

/// A status of the past.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PastStatus {
    /// How long ago it was published.
    pub ago_ms: u64,
    /// Where the data stood.
    pub state: SyncState,
    /// Whether the client was at work.
    pub lifecycle: Lifecycle,
    /// How news reached us.
    pub link: Link,
    /// Why it was degraded.
    pub cause: Option<Cause>,
    /// Whose fault.
    pub layer: Option<Layer>,
    /// Failures in a row.
    pub attempt: u32,
    /// How long the wait was, when it was published.
    pub next_attempt_in_ms: Option<u64>,
    /// Operations that waited.
    pub pending: u32,
}

/// A failure of the past.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct PastFailure {
    /// How long ago it was met.
    pub ago_ms: u64,
    /// By what.
    pub lane: Lane,
    /// Why.
    pub cause: Cause,
    /// Whose fault.
    pub layer: Layer,
    /// The answer's status, where there was an answer.
    pub http_status: Option<u16>,
    /// The service's own code.
    pub code: Option<String>,
    /// The server's floor.
    pub retry_after_ms: Option<u64>,
    /// For people.
    pub message: String,
}

/// What one lane did.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct LaneCounters {
    /// Begun.
    pub started: u64,
    /// Went well. A stream did when its headers came.
    pub succeeded: u64,
    /// Given up because of the app: a suspend, a stop, no network.
    pub aborted: u64,
    /// Failed, by cause.
    pub failed: BTreeMap<&'static str, u64>,
}

/// What came through streams.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct StreamCounters {
    /// `ready` events.
    pub ready: u64,
    /// `heartbeat` events.
    pub heartbeat: u64,
    /// `sync` events.
    pub sync: u64,
    /// Anything else.
    pub other: u64,
}

/// Collects what [`Diagnostics`] shows.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) changes_applied: u64,
    pub(crate) floor_save_failures: u64,
    history: VecDeque<(Timestamp, PastStatus)>,
    failures: VecDeque<(Timestamp, PastFailure)>,
    lanes: BTreeMap<Lane, LaneCounters>,
    stream_events: StreamCounters,
}

impl Journal {
    pub(crate) fn started(&mut self, lane: Lane) {
        self.lanes.entry(lane).or_default().started += 1;
    }

    pub(crate) fn succeeded(&mut self, lane: Lane) {
        self.lanes.entry(lane).or_default().succeeded += 1;
    }

    pub(crate) fn aborted(&mut self, lane: Lane) {
        self.lanes.entry(lane).or_default().aborted += 1;
    }

    pub(crate) fn failed(&mut self, lane: Lane, failure: &Failure) {
        let lane_counters = self.lanes.entry(lane).or_default();
        *lane_counters
            .failed
            .entry(failure.cause.as_str())
            .or_default() += 1;
        let past = PastFailure {
            ago_ms: 0,
            lane,
            cause: failure.cause,
            layer: failure.layer,
            http_status: failure.http_status,
            code: failure.code.clone(),
            retry_after_ms: failure.retry_after.map(ms),
            message: failure.message.clone(),
        };
        keep(&mut self.failures, past, FAILURES_KEPT);
    }

    pub(crate) fn event(&mut self, event: &StreamEvent) {
        let counters = &mut self.stream_events;
        match event {
            StreamEvent::Ready => counters.ready += 1,
            StreamEvent::Heartbeat => counters.heartbeat += 1,
            StreamEvent::Sync(_) => counters.sync += 1,
            _ => counters.other += 1,
        }
    }

    pub(crate) fn published(&mut self, status: &Status) {
        let past = PastStatus {
            ago_ms: 0,
            state: status.state,
            lifecycle: status.lifecycle,
            link: status.link,
            cause: status.cause,
            layer: status.layer,
            attempt: status.attempt,
            next_attempt_in_ms: status.next_attempt_in().map(ms),
            pending: status.pending,
        };
        keep(&mut self.history, past, HISTORY_KEPT);
    }

    pub(crate) fn snapshot(&self, settings: Settings, status: Status) -> Diagnostics {
        let now = clock::now();
        let ago = |at: &Timestamp| ms(now.since(*at).min(Duration::from_secs(u32::MAX.into())));
        Diagnostics {
            sdk_version: env!("CARGO_PKG_VERSION"),
            settings,
            status,
            history: self
                .history
                .iter()
                .map(|(at, past)| PastStatus {
                    ago_ms: ago(at),
                    ..past.clone()
                })
                .collect(),
            lanes: self.lanes.clone(),
            stream_events: self.stream_events,
            failures: self
                .failures
                .iter()
                .map(|(at, past)| PastFailure {
                    ago_ms: ago(at),
                    ..past.clone()
                })
                .collect(),
            changes_applied: self.changes_applied,
            floor_save_failures: self.floor_save_failures,
        }
    }
}

fn keep<T>(kept: &mut VecDeque<(Timestamp, T)>, new: T, max: usize) {
    if kept.len() == max {
        kept.pop_front();
    }
    kept.push_back((clock::now(), new));
}

const HISTORY_KEPT: usize = 64;
const FAILURES_KEPT: usize = 32;
