//! The service: edges with the circuit of the contract, an origin with a capacity, a store for spent tickets.
//!
//! Not a server but a model of one. What it answers, and when, follows the contract; how it fails under load is
//! stated beside each constant.

use evenkeel_proto::Cause;

use crate::wheel::Ms;

/// An edge's circuit: consecutive failures until it opens, and for how long (the contract's defaults).
pub const FAILURES_TO_OPEN: u8 = 3;
/// The circuit's open window.
pub const OPEN_FOR: Ms = 20_000;
/// How long the edge waits before it tries once more (the contract; never for tickets and streams).
pub const EDGE_RETRY: Ms = 180;
/// The edge's patience with the origin.
pub const PROXY_TIMEOUT: Ms = 7_000;
/// Requests a minute from one client that the origin serves.
pub const RATE_LIMIT: u16 = 180;

/// Past this much work ahead of it the origin refuses what comes (503).
const SHED_AFTER: f64 = 5_000.0;
/// What a refusal costs the origin, measured in served requests.
const SHED_COST: f64 = 0.1;
/// What a request takes when there is nothing before it.
const SERVICE_TIME: Ms = 8;
/// Requests that bring one client back to `synced`: ticket, stream, page.
const REQUESTS_TO_RETURN: f64 = 3.0;
/// The helping service leaves room for everything else.
const HELP_MARGIN: f64 = 1.25;

/// One edge instance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Edge {
    failures: u8,
    open_until: Ms,
    /// Streams that it carries.
    pub carried: u32,
    /// Until when the places are taken that a helping edge gave to those that it turned away.
    promised: f64,
}

impl Edge {
    /// What is left of the open window; `None` where the circuit lets requests through.
    #[must_use]
    pub fn rejects(&self, now: Ms) -> Option<Ms> {
        (self.open_until > now).then(|| self.open_until - now)
    }

    /// The origin answered, or did not; says whether that opened the circuit.
    pub fn answered(&mut self, now: Ms, ok: bool) -> bool {
        if ok {
            self.failures = 0;
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        let opens = self.failures >= FAILURES_TO_OPEN && self.open_until <= now;
        if opens {
            self.open_until = now + OPEN_FOR;
            self.failures = 0;
        }
        opens
    }

    /// In how many seconds the next place is free, where each one that is turned away gets a place of its own: what
    /// a service that helps says in `Retry-After`. It grows with the number of those that wait.
    pub fn give_place(&mut self, now: Ms, share_per_s: f64) -> u32 {
        let earliest = now + self.rejects(now).unwrap_or(0);
        let each = REQUESTS_TO_RETURN * HELP_MARGIN / share_per_s * 1_000.0;
        self.promised = self.promised.max(earliest.into()) + each;
        ((self.promised - f64::from(now)) / 1_000.0).ceil() as u32
    }

    /// In how many seconds this edge's share of the origin can bring back all streams that it carries: what a service
    /// that helps says in the stream's `retry:`.
    #[must_use]
    pub fn time_to_return(&self, share_per_s: f64) -> u32 {
        (f64::from(self.carried) * REQUESTS_TO_RETURN * HELP_MARGIN / share_per_s).ceil() as u32
    }

    /// A new process: it knows of nothing.
    pub fn restart(&mut self) {
        *self = Self::default();
    }
}

/// What the origin makes of a request that reached it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Served at that time.
    Served(Ms),
    /// Failed at that time.
    Failed(Ms, Cause),
}

/// The origin: a queue that works off so many requests in a second.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Whether it runs.
    pub up: bool,
    /// Whether its store of spent tickets works.
    pub tickets: bool,
    /// Requests in a millisecond.
    pub capacity: f64,
    /// Streams that it can carry.
    pub streams_max: u32,
    /// Rises with each restart.
    pub epoch: u32,
    free_at: f64,
}

impl Origin {
    /// An origin that runs.
    #[must_use]
    pub fn new(capacity: f64, streams_max: u32) -> Self {
        Self {
            up: true,
            tickets: true,
            capacity,
            streams_max,
            epoch: 0,
            free_at: 0.0,
        }
    }

    /// A request comes in.
    pub fn take(&mut self, now: Ms) -> Fate {
        if !self.up {
            return Fate::Failed(now + 1, Cause::NetworkError);
        }
        let ahead = (self.free_at - f64::from(now)).max(0.0);
        let begin = f64::from(now) + ahead;
        if ahead > SHED_AFTER {
            self.free_at = begin + SHED_COST / self.capacity;
            return Fate::Failed(now + SERVICE_TIME, Cause::Upstream5xx);
        }
        self.free_at = begin + 1.0 / self.capacity;
        let done = self.free_at as Ms + SERVICE_TIME;
        if done - now > PROXY_TIMEOUT {
            return Fate::Failed(now + PROXY_TIMEOUT, Cause::Timeout);
        }
        Fate::Served(done)
    }

    /// It comes up again, with nothing to do.
    pub fn start(&mut self, now: Ms) {
        self.up = true;
        self.epoch += 1;
        self.free_at = now.into();
    }
}
