//! The abstract service: what it answers in each mode.

use std::time::Duration;

use evenkeel_proto::engine::RequestId;
use evenkeel_proto::wire::Cursor;
use evenkeel_proto::{Cause, Failure, Request};

/// What is wrong with the service at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Up,
    /// No connection: `network_error`, without a time.
    Down,
    /// The edge's circuit is open: 503 with `Retry-After: 20`.
    CircuitOpen,
    /// Too many requests: 429, without a time.
    Limited,
    /// Tickets cannot be stored: 503 for them alone.
    TicketsFail,
    /// Tickets come expired.
    TicketsExpired,
    /// Streams are refused as if each ticket had been used before.
    EventsFail,
    /// Streams are closed by a 5xx with a time of its own for this lane: `Retry-After: 40`.
    EventsWait,
    /// Pulls ask for a reset; snapshots work.
    Reset,
    /// Pushes fail with a 500.
    PushesFail,
    /// Each bearer token is refused: 401.
    Unauthorised,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Up,
        Self::Down,
        Self::CircuitOpen,
        Self::Limited,
        Self::TicketsFail,
        Self::TicketsExpired,
        Self::EventsFail,
        Self::EventsWait,
        Self::Reset,
        Self::PushesFail,
        Self::Unauthorised,
    ];

    /// The failure that this request meets; `None` where it is served.
    pub(super) fn refuses(self, request: Request) -> Option<Failure> {
        let failure = |cause, status, retry_after| {
            let mut failure = Failure::local(cause, "as the mode says");
            failure.http_status = status;
            failure.retry_after = retry_after;
            failure
        };
        let ticketing = request == Request::Ticket;
        let events = request == Request::Events;
        match self {
            Self::Down => Some(failure(Cause::NetworkError, None, None)),
            Self::CircuitOpen => Some(failure(
                Cause::CircuitOpen,
                Some(503),
                Some(Duration::from_secs(20)),
            )),
            Self::Limited => Some(failure(Cause::RateLimited, Some(429), None)),
            Self::TicketsFail if ticketing => {
                Some(failure(Cause::TicketStorageUnavailable, Some(503), None))
            }
            Self::EventsFail if events => Some(failure(Cause::TicketReplayed, Some(401), None)),
            Self::EventsWait if events => Some(failure(
                Cause::TicketStorageUnavailable,
                Some(503),
                Some(Duration::from_secs(40)),
            )),
            Self::PushesFail if request == Request::Push => {
                Some(failure(Cause::ServerError, Some(500), None))
            }
            Self::Unauthorised if !events => Some(failure(Cause::AuthRequired, Some(401), None)),
            _ => None,
        }
    }
}

/// What a request under way asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Ticket,
    Events,
    Pull(Cursor),
    Snapshot(Option<Cursor>),
    /// So many operations.
    Push(u32),
    /// Of the app, not of the service.
    Token,
}

impl Asked {
    pub(super) fn request(self) -> Request {
        match self {
            Self::Ticket => Request::Ticket,
            Self::Events => Request::Events,
            Self::Pull(_) => Request::Pull,
            Self::Snapshot(_) => Request::Snapshot,
            Self::Push(_) => Request::Push,
            Self::Token => Request::Other,
        }
    }

    /// Stream, pull, push; the app's token beside them.
    pub(super) fn lane(self) -> u8 {
        match self {
            Self::Ticket | Self::Events => 0,
            Self::Pull(_) | Self::Snapshot(_) => 1,
            Self::Push(_) => 2,
            Self::Token => 3,
        }
    }
}

/// A request whose answer has not come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) id: RequestId,
    pub(super) asked: Asked,
    /// Its answer will not come: only the watchdog ends it.
    pub(super) lost: bool,
    /// It began after the last thing that `synced` has to be proven for.
    pub(super) fresh: bool,
}
