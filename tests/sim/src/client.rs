//! What the simulation asks of a client: the same of the real engine and of every rival.

use std::time::Duration;

use evenkeel_proto::Cause;

use crate::wheel::Ms;

/// One kind of request at a time may be under way in each lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Ticket and stream.
    Stream,
    /// Pages of changes.
    Pull,
    /// Batches of operations.
    Push,
}

/// What goes over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// `POST /api/v2/events/ticket`.
    Ticket,
    /// `GET /api/v2/events`.
    Events,
    /// `GET /api/v2/sync/pull?cursor=…`.
    Pull,
    /// `POST /api/v2/sync/push`.
    Push,
}

impl Request {
    /// The lane that it belongs to.
    #[must_use]
    pub fn lane(self) -> Lane {
        match self {
            Self::Ticket | Self::Events => Lane::Stream,
            Self::Pull => Lane::Pull,
            Self::Push => Lane::Push,
        }
    }
}

/// A request that failed, or a stream that broke.
#[derive(Clone, Copy, Debug)]
pub struct Trouble {
    /// Why.
    pub cause: Cause,
    /// The answer's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The same as this client reads it, where it came as a date and is held against the device's own clock.
    pub retry_after_by_clock: Option<Duration>,
}

/// What a client is told.
#[derive(Clone, Copy, Debug)]
pub enum News {
    /// It begins.
    Start,
    /// The user wrote something; so many operations wait now.
    Wrote(u32),
    /// A ticket came, or a stream's headers, or not.
    Stream(Result<(), Trouble>),
    /// The stream is live.
    Ready,
    /// A heartbeat.
    Heartbeat,
    /// Something changed, up to this cursor.
    Sync(u32),
    /// The stream's `retry:` field.
    Retry(Duration),
    /// The stream ended: properly, or by a failure.
    Closed(Option<Trouble>),
    /// A page: how many changes, and where the next begins.
    Pulled(Result<(u32, u32), Trouble>),
    /// A batch was taken; so many operations wait now.
    Pushed(Result<u32, Trouble>),
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sends a request; a pull begins at this cursor.
    Send(Request, u32),
    /// Gives up what is under way in this lane, or closes the stream.
    Abort(Lane),
}

/// One client of the fleet.
pub trait Client {
    /// A client that does nothing until [`News::Start`].
    fn new(seed: u64) -> Self;
    /// Something happened.
    fn hear(&mut self, now: Ms, news: News);
    /// The time that [`Client::wake`] named has come.
    fn tick(&mut self, now: Ms);
    /// The next thing to do.
    fn act(&mut self) -> Option<Action>;
    /// When to call [`Client::tick`].
    fn wake(&self) -> Option<Ms>;
}
