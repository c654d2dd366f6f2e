//! What the origin says of itself; asked for directly, never through the edge.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use axum::extract::State;
use axum::response::Response;
use evenkeel_proto::wire::{
    Database, Dependencies, Ready, ReadyCause, ReadyMode, Realtime, RealtimeMode, Redis,
    StreamTicketStore,
};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::Origin;
use super::upkeep::Pulse;
use crate::answer;
use crate::settings::ReadyWhen;

pub(super) async fn health(State(origin): State<Arc<Origin>>) -> Response {
    let body = json!({
        "ok": true,
        "service": SERVICE,
        "ts": origin.clock.now(),
        "uptimeMs": origin.uptime.ms(),
    });
    answer::json(StatusCode::OK, &body)
}

pub(super) async fn ready(State(origin): State<Arc<Origin>>) -> Response {
    origin.faults.until(|faults| !faults.ready_hangs).await;
    let ready = origin.readiness().await;
    let status = match ready.ok {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer::json(status, &ready)
}

pub(super) async fn metrics(State(origin): State<Arc<Origin>>) -> Response {
    let mut text = String::new();
    for (name, kind, help, value) in origin.counted() {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "# HELP stack_{name} {help}\n# TYPE stack_{name} {kind}\nstack_{name} {value}\n"
        );
    }
    let ready = origin.readiness().await.dependencies;
    text.push_str("# HELP stack_dependency_up Whether a dependency works.\n");
    text.push_str("# TYPE stack_dependency_up gauge\n");
    for (name, up) in [
        ("database", ready.database.is_some_and(|d| d.ok)),
        ("redis", ready.redis.is_some_and(|r| r.ok)),
        ("realtime", ready.realtime.is_some_and(|r| !r.degraded)),
        (
            "stream_ticket",
            ready.stream_ticket.is_some_and(|t| !t.degraded),
        ),
    ] {
        let _ = writeln!(
            text,
            "stack_dependency_up{{dependency=\"{name}\"}} {}",
            u8::from(up)
        );
    }
    answer::with_type(
        StatusCode::OK,
        "text/plain; version=0.0.4; charset=utf-8",
        text,
    )
}

impl Origin {
    async fn readiness(&self) -> Ready {
        let (database, pulse) = tokio::join!(self.database.health(), self.look_at_bus());
        let strict = self.settings.ready_mode == ReadyWhen::Strict;
        let redis_away = pulse.health.fan_out.is_some();
        let cause = match database {
            Err(_) => Some(ReadyCause::Database),
            Ok(()) if strict && redis_away => Some(ReadyCause::Redis),
            Ok(()) => None,
        };
        let mut other = Map::new();
        if let Err(error) = &database {
            other.insert("lastErrorMessage".to_owned(), json!(error.to_string()));
        }
        Ready {
            ok: cause.is_none(),
            ready_mode: Some(match strict {
                true => ReadyMode::Strict,
                false => ReadyMode::Degraded,
            }),
            ready_cause: cause,
            service: Some(SERVICE.to_owned()),
            ts: Some(self.clock.now()),
            dependencies: Dependencies {
                database: Some(Database {
                    ok: database.is_ok(),
                    other,
                }),
                redis: Some(self.redis(&pulse, strict)),
                realtime: Some(realtime(&pulse)),
                stream_ticket: Some(stream_ticket(&pulse)),
            },
            metrics: self
                .counted()
                .into_iter()
                .map(|(name, _, _, value)| (name.to_owned(), Value::from(value)))
                .collect(),
        }
    }

    fn redis(&self, pulse: &Pulse, strict: bool) -> Redis {
        let away = pulse.health.fan_out.clone();
        let pretended = self.faults.active_for("ready_degraded");
        let since = pulse.redis_since.map(elapsed_ms);
        let since = since.or_else(|| pretended.map(|span| span.as_millis() as u64));
        let status = match (&away, pretended) {
            (Some(_), _) => "reconnecting",
            (None, Some(_)) => "connecting",
            (None, None) => "ready",
        };
        Redis {
            ok: away.is_none(),
            status: Some(status.to_owned()),
            degraded: away.is_some() || pretended.is_some(),
            degraded_for_ms: Some(since.unwrap_or(0)),
            consecutive_failures: Some(pulse.failures),
            last_error_message: away,
            required_for_ready: Some(strict),
            ..Redis::default()
        }
    }

    fn counted(&self) -> [(&'static str, &'static str, &'static str, u64); 8] {
        let c = &self.counters;
        let read = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        [
            (
                "requests_total",
                "counter",
                "Requests of all kinds.",
                read(&c.requests),
            ),
            (
                "errors_total",
                "counter",
                "Answers of 500 and above.",
                read(&c.errors),
            ),
            (
                "rate_limited_total",
                "counter",
                "Requests over the limit.",
                read(&c.rate_limited),
            ),
            (
                "tickets_total",
                "counter",
                "Tickets issued.",
                read(&c.tickets),
            ),
            (
                "streams_total",
                "counter",
                "Streams opened.",
                read(&c.streams_opened),
            ),
            (
                "streams_open",
                "gauge",
                "Streams open now.",
                read(&c.streams_open),
            ),
            (
                "operations_applied_total",
                "counter",
                "Operations applied, repeats included.",
                read(&c.operations_applied),
            ),
            (
                "conflicts_total",
                "counter",
                "Operations refused as conflicts.",
                read(&c.conflicts),
            ),
        ]
    }
}

fn realtime(pulse: &Pulse) -> Realtime {
    let away = pulse.health.fan_out.clone();
    Realtime {
        mode: Some(match away {
            None => RealtimeMode::Distributed,
            Some(_) => RealtimeMode::LocalFallback,
        }),
        degraded: away.is_some(),
        degraded_for_ms: Some(pulse.redis_since.map_or(0, elapsed_ms)),
        subscriber_ready: Some(away.is_none()),
        publisher_ready: Some(away.is_none()),
        degraded_reason: away,
        ..Realtime::default()
    }
}

fn stream_ticket(pulse: &Pulse) -> StreamTicketStore {
    let away = pulse.health.replay_store.clone();
    let mut other = Map::new();
    if let Some(since) = pulse.tickets_since {
        other.insert("degradedForMs".to_owned(), json!(elapsed_ms(since)));
    }
    StreamTicketStore {
        replay_store_available: Some(away.is_none()),
        degraded: away.is_some(),
        other,
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

const SERVICE: &str = "evenkeel-stack";
