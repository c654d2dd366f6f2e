//! The policy table: what a cause means for the request that met it.
//!
//! One function, total over every cause and request; everyone who needs to know asks it. `POLICY.md`
//! beside this crate is printed from it.

use std::fmt::Write as _;

use crate::cause::{Cause, named};
use crate::failure::Request;

named! {
    /// How the engine goes on after a failure.
    Class {
        /// One fast reconnect, then as `backoff`.
        Again = "again",
        /// 1 s, doubled up to 30 s.
        Backoff = "backoff",
        /// The server said when: not before that, nor 20 s where it forgot the time.
        Gate = "gate",
        /// 30 s, doubled up to 5 min, for ever.
        Slow = "slow",
        /// Only the app can go on (for a token: after one refresh).
        Ask = "ask",
    }
}

named! {
    /// Who has to wait.
    Scope {
        /// The whole client: every request would meet the same.
        Client = "client",
        /// The lane alone: it says nothing about the others.
        Lane = "lane",
        /// The lane alone while another one has worked in the last 30 s, else the whole client.
        LaneWhileOthersWork = "lane_while_others_work",
    }
}

/// One row's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How to go on.
    pub class: Class,
    /// Who waits.
    pub scope: Scope,
}

/// What this cause means for the request that met it.
#[must_use]
pub const fn rule(cause: Cause, request: Request) -> Rule {
    use {Class as C, Scope as S};
    let stream_only = matches!(request, Request::Events);
    let ticketing = matches!(request, Request::Events | Request::Ticket);
    let (class, scope) = match cause {
        Cause::CircuitOpen | Cause::RateLimited => (C::Gate, S::Client),
        Cause::DeviceRevoked => (C::Ask, S::Client),
        // The stream request carries no bearer token: its 401 can only mean the ticket.
        Cause::AuthRequired if stream_only => (C::Again, S::Lane),
        Cause::AuthRequired => (C::Ask, S::Client),

        Cause::OriginUnconfigured => (C::Slow, S::Client),
        Cause::Redirected | Cause::NotTheService if !stream_only => (C::Slow, S::Client),
        Cause::StoreFailed | Cause::StorageFull => (C::Slow, S::Client),

        // The edge, or its way to the origin, is the same for every request.
        Cause::NetworkError | Cause::DnsFailed | Cause::ConnectFailed => (C::Backoff, S::Client),
        Cause::TlsFailed | Cause::Offline | Cause::TokenUnavailable => (C::Backoff, S::Client),

        Cause::StreamClosed if ticketing => (C::Again, S::Lane),
        Cause::TicketRequired | Cause::TicketInvalid if ticketing => (C::Again, S::Lane),
        Cause::TicketExpired | Cause::TicketReplayed if ticketing => (C::Again, S::Lane),
        Cause::TicketStorageUnavailable if ticketing => (C::Backoff, S::Lane),

        // The outbox has already taken the batch apart: the next one holds other bytes.
        Cause::BadRequest | Cause::PayloadTooLarge if matches!(request, Request::Push) => {
            (C::Backoff, S::Lane)
        }
        Cause::BadRequest | Cause::PayloadTooLarge | Cause::NotFound => (C::Slow, lane(request)),
        Cause::Forbidden | Cause::BadResponse | Cause::ResponseTooLarge => (C::Slow, lane(request)),
        Cause::Redirected | Cause::NotTheService => (C::Slow, lane(request)),
        Cause::TicketRequired | Cause::TicketInvalid => (C::Slow, lane(request)),
        Cause::TicketExpired | Cause::TicketReplayed => (C::Slow, lane(request)),

        Cause::Timeout | Cause::Upstream5xx | Cause::KvUnavailable => (C::Backoff, lane(request)),
        Cause::ServerError | Cause::TicketStorageUnavailable => (C::Backoff, lane(request)),
        Cause::ConnectionLost | Cause::ResponseTimeout => (C::Backoff, lane(request)),
        Cause::StreamStalled | Cause::StreamClosed => (C::Backoff, lane(request)),
        Cause::ProviderTimeout | Cause::Provider5xx => (C::Backoff, lane(request)),
        Cause::ProviderCircuitOpen | Cause::ProviderNetworkError => (C::Backoff, lane(request)),
    };
    Rule { class, scope }
}

/// What the stream's own request meets never stops the others: the origin can hold it, or a proxy
/// swallow it, while everything else works.
const fn lane(request: Request) -> Scope {
    match request {
        Request::Events => Scope::Lane,
        _ => Scope::LaneWhileOthersWork,
    }
}

/// The table as the Markdown page `POLICY.md`.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(PREFACE);
    for &cause in Cause::ALL {
        let _ = write!(page, "| `{cause}` | {} ", cause.layer());
        for request in REQUESTS {
            let Rule { class, scope } = rule(cause, request);
            let _ = write!(page, "| {class}, {} ", scope.as_str().replace('_', " "));
        }
        page.push_str("|\n");
    }
    page
}

/// Every request the engine makes.
pub const REQUESTS: [Request; 5] = [
    Request::Ticket,
    Request::Events,
    Request::Pull,
    Request::Snapshot,
    Request::Push,
];

const PREFACE: &str = "\
# What happens after a failure

Printed from `src/policy.rs` (`EVENKEEL_WRITE=1 cargo test -p evenkeel-proto --test policy`); a test
fails when it is stale.

## Classes

| class | wait |
|---|---|
| again | one fast reconnect within 1 s, then as backoff |
| backoff | b = 1 s, doubled with each failure in a row up to 30 s |
| gate | the server's time: `Retry-After`, else `x-ratelimit-reset`, else 20 s; b as in backoff |
| slow | b = 30 s, doubled up to 5 min, for ever; a network change looks again at once |
| ask | nothing until the app acts (a 401: after one refresh of the token) |

Without a server's floor the wait is uniform in [b/2, b]. With one it begins at max(floor, b/2) and ends at
max(floor + s, b), since everybody got the same floor. The spread s is half of the floor at the first failure,
and doubles with each in a row, up to three times the floor or a minute. Floors of more than half a minute are
spread over half a minute, or a tenth of them. The floor is at most 15 min.
Why these numbers: [what they do to a fleet, and to the service](../../tests/sim/README.md).

![Five minutes without the origin, six policies](../../tests/sim/outage-5m.svg)

A stream's `retry:` field, the latest that came, is such a floor for the stream lane when that stream ends,
however it ends: uniform in [0, retry], within 1 s to 5 min. No hint and no restart undercuts a floor.
Retries, probes and polls share a budget: ten tokens, one back every 15 s.

## Scopes

| scope | who waits |
|---|---|
| client | every request; then one probe: a ticket, the first of the three requests that lead to `synced`; a pull where the replica is empty or the stream fails by itself |
| lane | the stream, pull or push lane that met it |
| lane while others work | the lane, where another lane has worked in the last 30 s; else the whole client |

A probe that fails always closes the gate for the whole client again.

## Causes

| cause | layer | ticket | events | pull | snapshot | push |
|---|---|---|---|---|---|---|
";
