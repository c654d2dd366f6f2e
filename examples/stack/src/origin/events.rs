//! The event stream.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Query, State};
use axum::response::Response;
use bytes::Bytes;
use evenkeel_proto::wire::{
    HeartbeatEvent, ReadyEvent, StreamMessage, SyncEvent, TICKET_COOKIE, path,
};
use futures_util::stream;
use http::header::{CACHE_CONTROL, COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::ticket::{BadTicket, Ticket};
use super::{Origin, auth};
use crate::answer::{self, Refusal};
use crate::caller::device_id;
use crate::clock::Clock;
use crate::faults::{Cut, FaultSet};
use crate::net::Connection;
use crate::store::Caller;
use crate::store::{DeviceState, Subscription, TicketUse};

pub(super) async fn open(
    State(origin): State<Arc<Origin>>,
    Extension(connection): Extension<Connection>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let ticket = origin.spend_ticket(&uri, &headers).await?;
    if origin.faults.now().stream_headers_never {
        origin.faults.until(|f| !f.stream_headers_never).await;
    }
    // Listening begins before the headers go out: whatever happens after a client has seen them, it
    // hears of.
    let events = Events::new(origin, connection, &ticket.user);
    let body = Body::from_stream(stream::unfold(events, Events::next));
    let mut response = answer::with_type(StatusCode::OK, "text/event-stream", body);
    let no_store = HeaderValue::from_static("no-cache, no-transform");
    response.headers_mut().insert(CACHE_CONTROL, no_store);
    Ok(response)
}

impl Origin {
    /// Uses up the request's ticket, on arrival: whatever happens afterwards, it is spent.
    async fn spend_ticket(&self, uri: &Uri, headers: &HeaderMap) -> Result<Ticket, Refusal> {
        let text = ticket_of(uri, headers)
            .ok_or_else(|| refused("STREAM_TICKET_REQUIRED", "a ticket is needed"))?;
        let ticket = self
            .tickets
            .read(&text, Clock::true_ms())
            .map_err(|bad| match bad {
                BadTicket::Invalid => refused("STREAM_TICKET_INVALID", "the ticket is not ours"),
                BadTicket::Expired => refused("STREAM_TICKET_EXPIRED", "the ticket has expired"),
            })?;
        if device_id(headers).is_some_and(|device| device != ticket.device) {
            let message = "the ticket is another device's";
            return Err(refused("STREAM_TICKET_INVALID", message));
        }
        match self.bus.consume_ticket(ticket.id, self.tickets.ttl()).await {
            TicketUse::Fresh => {}
            TicketUse::Replayed => {
                let message = "the ticket has been used before";
                return Err(refused("STREAM_TICKET_REPLAYED", message));
            }
            TicketUse::Unavailable => {
                let refusal = Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "STREAM_TICKET_STORAGE_UNAVAILABLE",
                    "tickets cannot be used up now",
                );
                return Err(refusal.retryable());
            }
        }
        let caller = Caller {
            user: ticket.user.clone(),
            device: ticket.device,
        };
        // The ticket says who asks; a database that is away is no reason to refuse a stream.
        let state = self.database.greet(caller).await;
        if state == Ok(DeviceState::Revoked) || self.revoked_by_fault(ticket.device) {
            return Err(auth::revoked());
        }
        Ok(ticket)
    }
}

fn ticket_of(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    #[derive(Deserialize)]
    struct Carried {
        ticket: Option<String>,
    }
    debug_assert_eq!(path::TICKET_PARAMETER, "ticket");
    let query = Query::<Carried>::try_from_uri(uri).ok();
    let in_query = query.and_then(|Query(carried)| carried.ticket);
    let ticket = in_query.or_else(|| {
        let cookies = headers.get_all(COOKIE).into_iter();
        let cookies = cookies.filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|line| line.split(';'));
        pairs.find_map(|pair| match pair.trim().split_once('=') {
            Some((name, value)) if name == TICKET_COOKIE => Some(value.to_owned()),
            _ => None,
        })
    });
    ticket.filter(|text| !text.is_empty())
}

fn refused(code: &'static str, message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, code, message)
}

/// One open stream. It makes its next bytes when the connection can take them, so a slow reader costs no
/// more than a fast one.
struct Events {
    announcements: Subscription,
    heartbeats: Interval,
    faults: watch::Receiver<Arc<FaultSet>>,
    cuts: watch::Receiver<Option<Cut>>,
    opened: Instant,
    unsent: Bytes,
    silent: bool,
    ended: bool,
    connection: Connection,
    _open: Open,
    origin: Arc<Origin>,
}

impl Events {
    fn new(origin: Arc<Origin>, connection: Connection, user: &str) -> Self {
        let period = Duration::from_millis(origin.settings.heartbeat_ms);
        let mut heartbeats = tokio::time::interval_at(Instant::now() + period, period);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hello = StreamMessage::Ready(ReadyEvent {
            connected_at: origin.clock.now(),
        });
        let retry = match origin.settings.stream_retry_ms {
            0 => String::new(),
            ms => format!("retry: {ms}\n"),
        };
        Self {
            announcements: origin.bus.subscribe(user),
            heartbeats,
            faults: origin.faults.subscribe(),
            cuts: origin.faults.cuts(),
            opened: Instant::now(),
            unsent: Bytes::from(format!("{retry}{}", hello.encode())),
            silent: false,
            ended: false,
            connection,
            _open: Open::new(&origin),
            origin,
        }
    }

    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        if self.ended {
            return None;
        }
        loop {
            let faults = self.faults.borrow_and_update().clone();
            self.silent |= faults.stream_silent;
            if !self.unsent.is_empty() && !self.silent && faults.stream_drip_ms.is_none() {
                let bytes = std::mem::take(&mut self.unsent);
                return Some((Ok(bytes), self));
            }
            let flap = faults.stream_flaps.clone();
            let flaps_at = flap
                .as_ref()
                .map(|flap| self.opened + Duration::from_millis(flap.after_ms));
            let sending = !self.unsent.is_empty();
            tokio::select! {
                () = self.connection.stopping() => return None,
                Ok(()) = self.cuts.changed() => {
                    let cut = *self.cuts.borrow_and_update();
                    return self.end(cut.unwrap_or(Cut::Clean));
                }
                () = at(flaps_at) => return self.end(flap.map_or(Cut::Clean, |flap| flap.how)),
                Ok(()) = self.faults.changed() => {}
                () = pause(faults.stream_drip_ms), if sending && !self.silent => {
                    let byte = self.unsent.split_to(1);
                    return Some((Ok(byte), self));
                }
                Some(cursor) = self.announcements.next(), if !sending => {
                    let ts = self.origin.clock.now();
                    let data = self.origin.shaped_data(&SyncEvent { cursor, ts });
                    self.unsent = Bytes::from(format!("event: sync\ndata: {data}\n\n"));
                }
                _ = self.heartbeats.tick(), if !sending && !faults.stream_no_heartbeats => {
                    let ts = self.origin.clock.now();
                    let heartbeat = StreamMessage::Heartbeat(HeartbeatEvent { ts });
                    self.unsent = Bytes::from(heartbeat.encode());
                }
            }
        }
    }

    fn end(mut self, how: Cut) -> Option<(io::Result<Bytes>, Self)> {
        match how {
            Cut::Clean => None,
            Cut::Reset => {
                self.connection.reset();
                self.ended = true;
                let error = io::Error::from(io::ErrorKind::ConnectionReset);
                Some((Err(error), self))
            }
        }
    }
}

async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

async fn pause(ms: Option<u64>) {
    // No pause asked for: the drip has just been switched off, and the next look sends the rest.
    tokio::time::sleep(Duration::from_millis(ms.unwrap_or(0))).await;
}

/// Counts a stream while it lives.
struct Open(Arc<Origin>);

impl Open {
    fn new(origin: &Arc<Origin>) -> Self {
        let counters = &origin.counters;
        counters.streams_opened.fetch_add(1, Ordering::Relaxed);
        counters.streams_open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(origin))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.streams_open.fetch_sub(1, Ordering::SeqCst);
    }
}
