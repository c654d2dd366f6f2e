//! What goes into the engine and what comes out.

use std::fmt;
use std::time::Duration;

use crate::cause::Cause;
use crate::failure::Failure;
use crate::status::{OutboxLevel, SyncStatus};
use crate::time::Timestamp;
use crate::wire::Cursor;

/// Names one request; its answer repeats it. An answer to an aborted request changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u32);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// The app starts the client, or starts it again after it stopped.
    Start,
    /// The app ends the client: everything under way is aborted.
    Stop,
    /// The app pauses the client: everything under way is aborted, nothing is sent.
    Suspend,
    /// The app goes on after a pause.
    Resume,

    /// The answer to [`Output::RequestTicket`].
    Ticket {
        /// Which request.
        id: RequestId,
        /// Until when the ticket may be used, on the engine's clock; the ticket itself stays with
        /// the driver, under the same id.
        result: Result<Timestamp, Failure>,
    },
    /// The answer to [`Output::OpenStream`]: the headers of an event stream came, or a failure.
    Opened {
        /// Which request.
        id: RequestId,
        /// What came.
        result: Result<(), Failure>,
    },
    /// An event on the open stream.
    Event {
        /// Which stream.
        id: RequestId,
        /// What it says.
        event: StreamEvent,
    },
    /// The open stream ended: properly (`None`), or by a failure.
    Closed {
        /// Which stream.
        id: RequestId,
        /// Why, where it broke.
        failure: Option<Failure>,
    },
    /// The answer to [`Output::Pull`]: one page, already applied by the replica.
    Pulled {
        /// Which request.
        id: RequestId,
        /// What came.
        result: Result<Pulled, Failure>,
    },
    /// The answer to [`Output::Snapshot`], already applied by the replica.
    Snapshotted {
        /// Which request.
        id: RequestId,
        /// The cursor to pull from next, as the replica stored it.
        result: Result<Cursor, Failure>,
    },
    /// A part of an answer came (bytes of a page, a snapshot, an upload's acknowledgement): its
    /// watchdog starts anew. Once in a few seconds is enough.
    Progress {
        /// Which request.
        id: RequestId,
    },
    /// The answer to [`Output::Push`], already applied by the outbox.
    Pushed {
        /// Which request.
        id: RequestId,
        /// What came.
        result: Result<Backlog, Failure>,
    },
    /// The answer to [`Output::RefreshToken`].
    TokenRefreshed {
        /// Which request.
        id: RequestId,
        /// Whether there is a token that may work.
        result: Result<(), TokenError>,
    },

    /// The outbox changed because of the app (a write, a resolution, a discarded operation).
    LocalChange(Backlog),
    /// A hint from the system or the app.
    Hint(Hint),
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// `POST /api/v2/events/ticket`; answer with [`Input::Ticket`].
    RequestTicket {
        /// To be repeated in the answer.
        id: RequestId,
    },
    /// `GET /api/v2/events` with the ticket that came for `ticket`; use it up whatever happens.
    /// Answer with [`Input::Opened`], then [`Input::Event`]s, then [`Input::Closed`].
    OpenStream {
        /// To be repeated in every answer.
        id: RequestId,
        /// The ticket's request.
        ticket: RequestId,
    },
    /// `GET /api/v2/sync/pull?cursor=from`, one page, applied in one transaction; answer with
    /// [`Input::Pulled`].
    Pull {
        /// To be repeated in the answer.
        id: RequestId,
        /// Where to read from: at or below the replica's own cursor, so that late commits are seen.
        from: Cursor,
        /// What the replica may note with the page, for [`Config::settled`](super::Config::settled), if the page
        /// [`reaches`](Pulled::reaches) this cursor: the log up to it has been read again, after the time for late
        /// commits.
        settles: Option<Cursor>,
    },
    /// `GET /api/v2/notes`, replacing the replica's content in one transaction and setting its cursor
    /// to `resume` (or to the snapshot's own where that is `None`); answer with
    /// [`Input::Snapshotted`].
    Snapshot {
        /// To be repeated in the answer.
        id: RequestId,
        /// A cursor known before the snapshot was requested.
        resume: Option<Cursor>,
    },
    /// `POST /api/v2/sync/push` with the oldest waiting operations; answer with [`Input::Pushed`].
    Push {
        /// To be repeated in the answer.
        id: RequestId,
        /// No more operations than this.
        ops_max: u32,
    },
    /// Ask the app for a fresh token; answer with [`Input::TokenRefreshed`].
    RefreshToken {
        /// To be repeated in the answer.
        id: RequestId,
    },
    /// Give up this request or stream (or drop this unused ticket) now; no answer is expected.
    Abort {
        /// Which one.
        id: RequestId,
    },
    /// Tell the app.
    Publish(SyncStatus),
}

/// What came through the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// The stream is live.
    Ready,
    /// The stream is still alive.
    Heartbeat,
    /// Something changed, up to this cursor as far as the sender knew.
    Sync(Cursor),
    /// The server's `retry:` field: spread reconnects over this long.
    Retry(Duration),
    /// An event this build does not know, or a comment: a sign of life.
    Other,
}

/// One page of changes, as applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// How many changes the page held; 0 says that there is nothing more.
    pub changes: u32,
    /// The page's `nextCursor`.
    pub next: Cursor,
    /// The cursor is too old to pull from: a snapshot is needed.
    pub reset_required: bool,
}

impl Pulled {
    /// Whether this page, read from `from`, ends at or beyond `cursor`. An empty page that says nothing of its end
    /// shows no more than where it began.
    #[must_use]
    pub fn reaches(&self, from: Cursor, cursor: Cursor) -> bool {
        !self.reset_required && self.next.max(from) >= cursor
    }
}

/// How many things wait on this side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Operations that the server has not answered for.
    pub waiting: u32,
    /// Records with two sides waiting for a decision.
    pub conflicts: u32,
    /// Operations that the server refused.
    pub rejected: u32,
    /// How full that makes the outbox.
    pub level: OutboxLevel,
}

/// What came of asking the app for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// The app could not get one now (its own network trouble): try again later.
    Unavailable,
    /// The user is signed out: only the app can go on.
    SignedOut,
}

/// A hint cuts a wait short, but never under a server's floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hint {
    /// The system's network came (or changed).
    NetworkUp,
    /// The network came, and it costs the user money: poll less often.
    NetworkMetered,
    /// There is no network: send nothing.
    NetworkDown,
    /// The app came to the user's eyes.
    Foreground,
    /// The app went out of the user's sight: poll less often.
    Background,
    /// The app has another token, or the user signed in again.
    TokenChanged,
    /// The user asks to try again now.
    RetryNow,
    /// The app asks for a pull (a push notification came, a screen was opened).
    SyncNow,
}

/// What must survive a restart so that a server's floor is never undercut: how long each lane, and
/// the client as a whole, still has to stay away. Durations, since clocks do not survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// For every request.
    pub gate: Duration,
    /// For tickets and streams.
    pub stream: Duration,
    /// For pulls and snapshots.
    pub pull: Duration,
    /// For pushes.
    pub push: Duration,
    /// Why, so that the next run can say so.
    pub cause: Option<Cause>,
}
