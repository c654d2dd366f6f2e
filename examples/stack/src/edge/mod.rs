//! The edge: a proxy in front of the origin, with a timeout, a repeat and a circuit breaker; and the AI
//! sessions and tasks, which it serves itself.

mod ai;
mod circuit;
mod counters;
mod origins;
mod proxy;
mod upstream;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use evenkeel_proto::wire::{ProxyCircuit, path};
use http::header::RETRY_AFTER;
use http::uri::Authority;
use http::{HeaderValue, Method, StatusCode};
use tokio::sync::watch;

use crate::answer::{self, Refusal};
use crate::caller::Issuer;
use crate::clock::Clock;
use crate::faults::{CdnBody, CdnError, Faults};
use crate::limit::Limiter;
use crate::net::Connection;
use crate::requests::{Part, Requests};
use crate::secrets::Secrets;
use crate::settings::Settings;
pub(crate) use ai::Sessions;
use circuit::Circuit;
use counters::Counters;
use origins::Origins;

/// What outlives a restart of the edge.
#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) settings: Arc<Settings>,
    pub(crate) faults: Faults,
    pub(crate) requests: Requests,
    /// Empty for an edge that was deployed without one.
    pub(crate) origins: Vec<Authority>,
    /// `None` for an edge that was deployed without one: it cannot be reached then.
    pub(crate) provider: Option<Authority>,
    pub(crate) secrets: Secrets,
    pub(crate) sessions: Sessions,
}

/// One instance of the edge: what its requests share.
#[derive(Debug)]
pub(crate) struct Edge {
    settings: Arc<Settings>,
    faults: Faults,
    clock: Clock,
    requests: Requests,
    origins: Origins,
    circuit: Circuit,
    counters: Counters,
    provider: Option<Authority>,
    provider_circuits: [Circuit; 2],
    ai_limiter: Limiter,
    issuer: Issuer,
    secrets: Secrets,
    sessions: Sessions,
    /// Streams end when it goes.
    alive: watch::Sender<()>,
}

/// The edge as its clients see it: one instance, until the next takes its place.
#[derive(Debug)]
pub(crate) struct Deployment {
    standing: Standing,
    instance: Mutex<Arc<Edge>>,
}

impl Deployment {
    pub(crate) fn new(standing: Standing) -> Arc<Self> {
        let instance = Mutex::new(Arc::new(Edge::new(&standing)));
        Arc::new(Self { standing, instance })
    }

    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new().fallback(front).with_state(Arc::clone(self))
    }

    pub(crate) const fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Puts a new instance in the place of this one, as a deploy does: counters, circuits and rate limits
    /// begin anew, streams end; other requests that are under way finish on the old one.
    pub(crate) fn restart(&self) {
        let new = Arc::new(Edge::new(&self.standing));
        *self.lock() = new;
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Edge>> {
        self.instance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Edge {
    fn new(standing: &Standing) -> Self {
        let Standing {
            settings,
            faults,
            requests,
            origins,
            provider,
            secrets,
            sessions,
        } = standing.clone();
        let provider_circuit = || {
            let window = Duration::from_millis(settings.provider_circuit_open_ms);
            Circuit::new(settings.provider_circuit_threshold, window)
        };
        Self {
            clock: Clock::new(faults.clone()),
            circuit: Circuit::new(
                settings.circuit_threshold,
                Duration::from_millis(settings.circuit_open_ms),
            ),
            counters: Counters::default(),
            provider_circuits: [provider_circuit(), provider_circuit()],
            ai_limiter: Limiter::new(
                settings.ai_rate_limit_requests,
                settings.ai_rate_limit_window_ms,
            ),
            issuer: Issuer::new(&settings),
            alive: watch::Sender::new(()),
            settings,
            faults,
            requests,
            origins: Origins::new(origins),
            provider,
            secrets,
            sessions,
        }
    }

    async fn answer(&self, request: Request, client: Connection) -> Response {
        let asked = request.uri().path();
        // Diagnostics are asked for on the machine itself, so nothing stands in front of them.
        if asked == path::EDGE_METRICS && request.method() == Method::GET {
            return self.metrics(&request, &client);
        }
        if let Some(fault) = &self.faults.now().cdn_error {
            return cdn_page(fault);
        }
        self.counters.count(|t| t.totals.requests += 1);
        let response = if asked.starts_with("/api/v2/") {
            let proxied = self.proxy(request, client).await;
            proxied.unwrap_or_else(Refusal::into_response)
        } else if Self::serves(asked) {
            let served = self.ai(request).await;
            served.unwrap_or_else(Refusal::into_response)
        } else {
            Refusal::not_found().into_response()
        };
        self.counters.count(|t| match response.status() {
            StatusCode::UNAUTHORIZED => t.totals.auth_failures += 1,
            StatusCode::TOO_MANY_REQUESTS => t.totals.rate_limited += 1,
            _ => {}
        });
        response
    }

    fn metrics(&self, request: &Request, client: &Connection) -> Response {
        // A proxy's own connection is a loopback one too, but its caller is somewhere else.
        let direct = !request.headers().contains_key("x-forwarded-for")
            && !request.headers().contains_key("forwarded");
        if !direct || !client.peer.ip().is_loopback() {
            return Refusal::not_found().into_response();
        }
        let remaining = self.circuit_remaining();
        let until = remaining.map(|left| {
            let left_ms = i64::try_from(left.as_millis()).unwrap_or(i64::MAX);
            self.clock.shown(Clock::true_ms().saturating_add(left_ms))
        });
        let circuit = ProxyCircuit {
            open: remaining.is_some(),
            open_until: until,
            remaining_ms: remaining.map_or(0, |left| left.as_millis() as u64),
        };
        answer::json(StatusCode::OK, &self.counters.shown(circuit))
    }

    fn circuit_remaining(&self) -> Option<Duration> {
        let now = Instant::now();
        if self
            .circuit
            .hold(self.faults.now().circuit_forced_open, now)
        {
            self.counters
                .count(|t| t.totals.vps_proxy_circuit_opens += 1);
        }
        self.circuit.remaining(now)
    }
}

async fn front(
    State(deployment): State<Arc<Deployment>>,
    Extension(client): Extension<Connection>,
    request: Request,
) -> Response {
    let edge = Arc::clone(&deployment.lock());
    let arrival = edge.requests.arrived(Part::Edge, &request);
    let mut response = edge.answer(request, client).await;
    answer::finish(&mut response, &edge.faults, &edge.clock);
    edge.requests.answered(&arrival, &response);
    response
}

fn cdn_page(fault: &CdnError) -> Response {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = match fault.body {
        CdnBody::Html => answer::with_type(status, "text/html; charset=UTF-8", CDN_PAGE),
        CdnBody::Empty => (status, Body::empty()).into_response(),
    };
    if let Some(seconds) = fault.retry_after_s {
        let seconds = HeaderValue::from(seconds);
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

const CDN_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head>\
    <body><h1>Bad gateway</h1><p>The web server reported a bad gateway error.</p></body></html>\n";
