//! What the edge does with a request for the origin, and what it says when that fails.

use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use evenkeel_proto::wire::path;
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Limited};

use super::Edge;
use super::origins::Turn;
use super::upstream::{self, Answer, Exchange};
use crate::answer::Refusal;
use crate::faults::Unconfigured;
use crate::net::Connection;

/// How an attempt failed.
enum Failed {
    Timeout,
    Network(std::io::Error),
    Upstream(StatusCode, HeaderMap),
}

impl Edge {
    pub(super) async fn proxy(
        &self,
        request: Request,
        client: Connection,
    ) -> Result<Response, Refusal> {
        let faults = self.faults.now();
        self.kv_up()?;
        let (Some(mut turn), None) = (self.origins.turn(), faults.edge_unconfigured) else {
            return Err(self.unconfigured(faults.edge_unconfigured));
        };
        let (head, body) = request.into_parts();
        let body = self.read_body(body).await?;
        if let Some(remaining) = self.circuit_remaining() {
            self.counters.count(|t| {
                t.totals.vps_proxy_circuit_rejects += 1;
                t.upstream("circuit_open");
            });
            let refusal = Refusal::unavailable("circuit_open", "the origin's circuit is open");
            return Err(refusal.retry_after(remaining));
        }
        let exchange = Exchange {
            headers: upstream::allowed(&head.headers, head.uri.path().starts_with(path::EVENTS)),
            method: head.method,
            uri: head.uri,
            body,
        };
        match self.with_repeats(&exchange, &mut turn).await {
            Ok(answer) => {
                self.circuit.succeeded();
                Ok(answer.hand_on(client, self.alive.subscribe()))
            }
            Err(failed) => Err(self.failed(failed)),
        }
    }

    fn unconfigured(&self, how: Option<Unconfigured>) -> Refusal {
        self.counters.count(|t| t.upstream("origin_unconfigured"));
        let (status, code) = match how {
            Some(Unconfigured::ConfigError) => (StatusCode::INTERNAL_SERVER_ERROR, "CONFIG_ERROR"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE"),
        };
        let refusal = Refusal::new(status, code, "the edge has no origin configured");
        refusal.cause("origin_unconfigured")
    }

    /// Reads the whole body, for it may have to be sent twice.
    pub(super) async fn read_body(&self, mut body: Body) -> Result<Bytes, Refusal> {
        let bytes_max = self.settings.body_bytes_max;
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::bad_request("the body did not arrive"))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if (read.len() + data.len()) as u64 > bytes_max {
                drain(body).await;
                return Err(Refusal::too_large(bytes_max));
            }
            read.extend_from_slice(&data);
        }
        Ok(read.into())
    }

    async fn with_repeats(
        &self,
        exchange: &Exchange,
        turn: &mut Turn<'_>,
    ) -> Result<Answer, Failed> {
        let never_repeated = [path::EVENTS, path::TICKET].contains(&exchange.uri.path());
        if never_repeated {
            self.counters
                .count(|t| t.totals.vps_proxy_no_retry_path_hits += 1);
        }
        let mut repeats = match never_repeated {
            true => 0,
            false => self.settings.proxy_retries,
        };
        loop {
            let outcome = self.attempt(exchange, turn).await;
            if matches!(outcome, Err(Failed::Timeout)) {
                self.counters.count(|t| t.totals.vps_proxy_timeouts += 1);
            }
            if outcome.is_ok() || repeats == 0 {
                return outcome;
            }
            repeats -= 1;
            self.counters.count(|t| t.totals.vps_proxy_retries += 1);
            let pause = Duration::from_millis(self.settings.proxy_retry_backoff_ms);
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt(&self, exchange: &Exchange, turn: &mut Turn<'_>) -> Result<Answer, Failed> {
        let faults = self.faults.now();
        let limit = Duration::from_millis(self.settings.proxy_timeout_ms);
        if faults.edge_path_down {
            let error = std::io::Error::from(std::io::ErrorKind::HostUnreachable);
            return Err(Failed::Network(error));
        }
        if faults.edge_times_out {
            tokio::time::sleep(limit).await;
            return Err(Failed::Timeout);
        }
        let answer = match tokio::time::timeout(limit, exchange.send(turn)).await {
            Err(_) => return Err(Failed::Timeout),
            Ok(Err(error)) => return Err(Failed::Network(error)),
            Ok(Ok(answer)) => answer,
        };
        let status = answer.response.status();
        if status.is_server_error() {
            let headers = answer.response.headers().clone();
            return Err(Failed::Upstream(status, headers));
        }
        Ok(answer)
    }

    fn failed(&self, failed: Failed) -> Refusal {
        let opened = self.circuit.failed(Instant::now());
        self.counters.count(|t| {
            t.totals.vps_proxy_failures += 1;
            t.totals.vps_proxy_circuit_opens += u64::from(opened);
        });
        let window = Duration::from_millis(self.settings.circuit_open_ms);
        match failed {
            Failed::Timeout => {
                self.counters.count(|t| t.upstream("timeout"));
                Refusal::unavailable("timeout", "the origin did not answer in time")
                    .retry_after(window)
            }
            Failed::Network(error) => {
                tracing::debug!(%error, "origin not reached");
                self.counters.count(|t| t.upstream("network_error"));
                Refusal::unavailable("network_error", "the origin could not be reached")
                    .retry_after(window)
            }
            Failed::Upstream(status, headers) => self.upstream_5xx(status, &headers),
        }
    }

    fn upstream_5xx(&self, status: StatusCode, headers: &HeaderMap) -> Refusal {
        let wait = headers.get(RETRY_AFTER);
        let wait = wait.and_then(|value| self.read_retry_after(value.to_str().ok()?));
        self.counters.count(|t| {
            t.upstream("upstream_5xx");
            t.totals.vps_proxy_5xx_passthrough += 1;
            t.totals.vps_proxy_retry_after_honored += u64::from(wait.is_some());
        });
        let message = format!("the origin answered {}", status.as_u16());
        let mut refusal = Refusal::unavailable("upstream_5xx", message);
        if let Some(wait) = wait {
            refusal = refusal.retry_after(wait);
        }
        for (name, value) in headers {
            if name.as_str().starts_with("x-ratelimit-") {
                refusal = refusal.header(name.clone(), value.clone());
            }
        }
        refusal
    }

    /// How long the other side wants to be left alone, in either form.
    pub(super) fn read_retry_after(&self, text: &str) -> Option<Duration> {
        if let Ok(seconds) = text.trim().parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = httpdate::parse_http_date(text).ok()?;
        let at_s = at.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        let at_ms = i64::try_from(at_s).ok()?.saturating_mul(1_000);
        let ahead = at_ms.saturating_sub(self.clock.now().0);
        u64::try_from(ahead).ok().map(Duration::from_millis)
    }
}

/// Reads on for a while before a refusal, so that a sender who reads only after sending gets to see it.
async fn drain(body: Body) {
    let mut limited = Limited::new(body, DRAIN_BYTES_MAX);
    let reading = async { while let Some(Ok(_)) = limited.frame().await {} };
    // Whoever is slower than this sees a reset instead.
    let _ = tokio::time::timeout(DRAIN_TIME_MAX, reading).await;
}

const DRAIN_BYTES_MAX: usize = 16 * 1024 * 1024;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);
