//! The origin: the API on top of a database and a bus.

mod auth;
mod diagnostics;
mod events;
mod shape;
mod sync;
mod ticket;
mod upkeep;
mod validate;

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use evenkeel_proto::wire::path;
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;

use crate::answer::{self, Refusal};
use crate::caller::Issuer;
use crate::clock::{Clock, Stopwatch};
use crate::faults::{Faults, Share};
use crate::limit::Limiter;
use crate::net::Connection;
use crate::requests::{Lane, Part, Requests};
use crate::settings::Settings;
use crate::store::{BreakableBus, BreakableDatabase, Bus, Database, DatabaseError};
use ticket::TicketOffice;
use upkeep::Vitals;

/// What the requests of one origin share.
pub(crate) struct Origin {
    settings: Arc<Settings>,
    faults: Faults,
    clock: Clock,
    requests: Requests,
    database: Arc<dyn Database>,
    bus: Arc<dyn Bus>,
    issuer: Issuer,
    tickets: TicketOffice,
    limiter: Limiter,
    vitals: Vitals,
    uptime: Stopwatch,
    counters: Counters,
    error_share: Share,
}

/// What the diagnostics count.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: AtomicU64,
    errors: AtomicU64,
    tickets: AtomicU64,
    streams_opened: AtomicU64,
    streams_open: AtomicU64,
    operations_applied: AtomicU64,
    conflicts: AtomicU64,
    rate_limited: AtomicU64,
    pushes: AtomicU64,
    shaped: AtomicU64,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").finish_non_exhaustive()
    }
}

impl Origin {
    pub(crate) fn new(
        settings: Arc<Settings>,
        faults: Faults,
        requests: Requests,
        database: Arc<dyn Database>,
        bus: Arc<dyn Bus>,
    ) -> Self {
        Self {
            clock: Clock::new(faults.clone()),
            database: Arc::new(BreakableDatabase::new(database, faults.clone())),
            bus: Arc::new(BreakableBus::new(bus, faults.clone())),
            issuer: Issuer::new(&settings),
            tickets: TicketOffice::new(&settings),
            limiter: Limiter::new(settings.rate_limit_requests, settings.rate_limit_window_ms),
            vitals: Vitals::default(),
            uptime: Stopwatch::start(),
            counters: Counters::default(),
            error_share: Share::default(),
            settings,
            faults,
            requests,
        }
    }

    pub(crate) fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route(path::TICKET, post(ticket::issue))
            .route(path::EVENTS, get(events::open))
            .route(path::PULL, get(sync::pull))
            .route(path::PUSH, post(sync::push))
            .route(path::BOOTSTRAP, post(sync::bootstrap))
            .route(path::NOTES, get(sync::snapshot))
            .route(path::DEVICES, get(auth::devices))
            .route("/api/v2/devices/{id}/revoke", post(auth::revoke))
            .route(path::HEALTH, get(diagnostics::health))
            .route(path::READY, get(diagnostics::ready))
            .route(path::ORIGIN_METRICS, get(diagnostics::metrics))
            .fallback(async || Refusal::not_found())
            .method_not_allowed_fallback(async || Refusal::not_found())
            .layer(middleware::from_fn_with_state(Arc::clone(&self), arrive))
            .with_state(self)
    }

    /// How many streams are open.
    pub(crate) fn streams_open(&self) -> u64 {
        self.counters.streams_open.load(Ordering::SeqCst)
    }

    /// What the process as a whole does to a request, whatever it asks for.
    async fn misbehave(&self, lane: Lane, connection: &Connection) -> Result<(), Refusal> {
        let faults = self.faults.now();
        if faults.origin_resets {
            connection.reset();
            pending::<()>().await;
        }
        if faults.origin_hangs {
            self.faults.until(|f| !f.origin_hangs).await;
        }
        if faults.origin_latency_ms > 0 {
            tokio::time::sleep(Duration::from_millis(faults.origin_latency_ms)).await;
        }
        let api = lane != Lane::Diagnostics;
        let Some(errors) = faults.origin_errors.as_ref().filter(|_| api) else {
            return Ok(());
        };
        if !self.error_share.due(errors.rate) {
            return Ok(());
        }
        let status = StatusCode::from_u16(errors.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let refusal = Refusal::internal("something went wrong").status(status);
        Err(match errors.retry_after_s {
            Some(seconds) => refusal.retry_after(Duration::from_secs(seconds)),
            None => refusal,
        })
    }
}

/// Everything that happens around every request.
async fn arrive(
    State(origin): State<Arc<Origin>>,
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    let arrival = origin.requests.arrived(Part::Origin, &request);
    origin.counters.requests.fetch_add(1, Ordering::Relaxed);
    let lane = Lane::of(request.uri().path());
    let mut response = match origin.misbehave(lane, &connection).await {
        Ok(()) => origin.limited(lane, request, next).await,
        Err(refusal) => refusal.into_response(),
    };
    if response.status().is_server_error() {
        origin.counters.errors.fetch_add(1, Ordering::Relaxed);
    }
    answer::finish(&mut response, &origin.faults, &origin.clock);
    origin.requests.answered(&arrival, &response);
    response
}

impl Origin {
    async fn limited(&self, lane: Lane, request: Request, next: Next) -> Response {
        if lane == Lane::Diagnostics {
            return next.run(request).await;
        }
        let fault = self.faults.now().rate_limited.clone();
        let allowance = self.limiter.take(request.headers(), fault.as_ref());
        let mut response = match allowance.exceeded {
            false => next.run(request).await,
            true => {
                self.counters.rate_limited.fetch_add(1, Ordering::Relaxed);
                allowance
                    .refusal_as(self.settings.rate_limit_form)
                    .into_response()
            }
        };
        for (name, value) in allowance.headers() {
            response
                .headers_mut()
                .insert(name, HeaderValue::from(value));
        }
        response
    }
}

/// Reads a JSON body.
async fn read<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, Refusal> {
    let kind = request.headers().get(http::header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let refusal = Refusal::bad_request("the body must be application/json");
        return Err(refusal.status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let body = whole(request.into_body()).await?;
    serde_json::from_slice(&body).map_err(|error| Refusal::bad_request(error.to_string()))
}

async fn whole(mut body: Body) -> Result<Bytes, Refusal> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::bad_request("the body did not arrive"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if read.len() + data.len() > BODY_BYTES_MAX {
            return Err(Refusal::too_large(BODY_BYTES_MAX as u64));
        }
        read.extend_from_slice(&data);
    }
    Ok(read.into())
}

/// What a handler says when the database fails: nothing that would help a client.
impl From<DatabaseError> for Refusal {
    fn from(error: DatabaseError) -> Self {
        tracing::warn!(%error, "database");
        match error {
            DatabaseError::Unfit(_) => Self::bad_request("it holds text that cannot be stored"),
            _ => Self::internal("something went wrong"),
        }
    }
}

/// The largest body an edge may be set to let through.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;

pub(crate) use sync::write_note;
pub(crate) use upkeep::keep_up;
