//! One request to an AI provider: with a limit of time, a repeat and a circuit breaker.

use std::time::{Duration, Instant};

use bytes::Bytes;
use evenkeel_proto::wire::{AiProvider, Secret};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use http_body_util::{BodyExt, Limited};
use serde::Deserialize;

use super::Edge;
use crate::answer::Refusal;
use crate::caller::auth_required;
use crate::edge::origins::Turn;
use crate::edge::upstream::Exchange;
use crate::provider::COMPLETIONS;

/// How an attempt failed.
#[derive(Debug)]
enum Failed {
    Timeout,
    Network,
    /// Its own status, and how long it wants to be left alone.
    Answer(StatusCode, Option<Duration>),
    /// A 200 that is not what was asked for.
    Garbage,
}

/// As much of a completion as is needed.
#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

impl Edge {
    /// Asks, and reads the words of the answer with `read`.
    pub(super) async fn complete<T>(
        &self,
        provider: &AiProvider,
        key: &Secret,
        prompt: Bytes,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Refusal> {
        let circuit = self.provider_circuit(provider);
        let now = Instant::now();
        if circuit.hold(self.faults.now().provider_circuit_forced_open, now) {
            self.counters.count(|t| t.totals.circuit_opens += 1);
        }
        if let Some(remaining) = circuit.remaining(now) {
            self.counters.count(|t| t.provider("provider_circuit_open"));
            let message = "the AI provider's circuit is open";
            let refusal = unavailable(StatusCode::SERVICE_UNAVAILABLE, message);
            return Err(refusal
                .cause("provider_circuit_open")
                .retry_after(remaining));
        }
        match self.with_repeats_of(key, prompt, read).await {
            Ok(answer) => {
                circuit.succeeded();
                Ok(answer)
            }
            Err(Failed::Answer(status, wait)) if !status.is_server_error() => {
                circuit.succeeded();
                Err(refused(status, wait))
            }
            Err(failed) => {
                let opened = circuit.failed(Instant::now());
                let (cause, refusal) = failed.told();
                self.counters.count(|t| {
                    t.totals.provider_failures += 1;
                    t.totals.circuit_opens += u64::from(opened);
                    t.provider(cause);
                });
                Err(refusal.cause(cause))
            }
        }
    }

    async fn with_repeats_of<T>(
        &self,
        key: &Secret,
        prompt: Bytes,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Failed> {
        let mut repeats = self.settings.provider_retries;
        let limit = Duration::from_millis(self.settings.provider_timeout_ms);
        loop {
            let attempt = tokio::time::timeout(limit, self.attempt_of(key, prompt.clone(), &read));
            let failed = match attempt.await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failed)) => failed,
                Err(_) => Failed::Timeout,
            };
            tracing::debug!(?failed, "provider");
            if matches!(failed, Failed::Timeout) {
                self.counters.count(|t| t.totals.timeouts += 1);
            }
            // Whoever was slow will be slow again, and a wait that it asked for is the client's.
            let again = match failed {
                Failed::Network => true,
                Failed::Answer(status, None) => status.is_server_error(),
                _ => false,
            };
            if repeats == 0 || !again {
                return Err(failed);
            }
            repeats -= 1;
            self.counters.count(|t| t.totals.retries += 1);
            let pause = Duration::from_millis(self.settings.provider_retry_backoff_ms);
            tokio::time::sleep(pause).await;
        }
    }

    async fn attempt_of<T>(
        &self,
        key: &Secret,
        prompt: Bytes,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, Failed> {
        let Some(authority) = &self.provider else {
            return Err(Failed::Network);
        };
        let bearer = HeaderValue::try_from(format!("Bearer {}", key.expose()));
        let mut bearer = bearer.map_err(|_| Failed::Answer(StatusCode::UNAUTHORIZED, None))?;
        bearer.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let exchange = Exchange {
            method: Method::POST,
            uri: Uri::from_static(COMPLETIONS),
            headers,
            body: prompt,
        };
        let answer = exchange.send(&mut Turn::of_one(authority)).await;
        let answer = answer.map_err(|_| Failed::Network)?;
        let (head, body, _connection) = answer.into_parts();
        if !head.status.is_success() {
            let wait = head.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
            let wait = wait.and_then(|text| self.read_retry_after(text));
            return Err(Failed::Answer(head.status, wait));
        }
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.is::<hyper::Error>() {
            true => Failed::Network,
            false => Failed::Garbage,
        })?;
        let completion = serde_json::from_slice::<Completion>(&body.to_bytes());
        let choices = completion.map_err(|_| Failed::Garbage)?.choices;
        let words = choices.first().ok_or(Failed::Garbage)?;
        read(&words.message.content).ok_or(Failed::Garbage)
    }
}

impl Failed {
    /// How it is counted, and what the client is told.
    fn told(self) -> (&'static str, Refusal) {
        match self {
            Self::Timeout => {
                let message = "the AI provider did not answer in time";
                let refusal = Refusal::new(StatusCode::GATEWAY_TIMEOUT, "TIMEOUT", message);
                let refusal = refusal.retryable().retry_after(TIMEOUT_RETRY_AFTER);
                ("provider_timeout", refusal)
            }
            Self::Network => {
                let message = "the AI provider could not be reached";
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let refusal = Refusal::new(status, "NETWORK", message).retryable();
                ("provider_network_error", refusal)
            }
            Self::Answer(status, wait) => {
                let message = format!("the AI provider answered {}", status.as_u16());
                let mut refusal = unavailable(status, message);
                if let Some(wait) = wait {
                    refusal = refusal.retry_after(wait);
                }
                ("provider_5xx", refusal)
            }
            Self::Garbage => {
                let message = "the AI provider's answer cannot be read";
                (
                    "provider_5xx",
                    unavailable(StatusCode::BAD_GATEWAY, message),
                )
            }
        }
    }
}

/// What a provider does not do is not its fault.
fn refused(status: StatusCode, wait: Option<Duration>) -> Refusal {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            auth_required("the AI provider does not take this key")
        }
        StatusCode::TOO_MANY_REQUESTS => {
            let message = "the AI provider has had too many requests with this key";
            let refusal = Refusal::new(status, "RATE_LIMITED", message).retryable();
            refusal.retry_after(wait.unwrap_or(RATE_RETRY_AFTER))
        }
        _ => Refusal::bad_request("the AI provider does not take this request"),
    }
}

fn unavailable(status: StatusCode, message: impl Into<String>) -> Refusal {
    Refusal::new(status, "PROVIDER_UNAVAILABLE", message).retryable()
}

const ANSWER_BYTES_MAX: usize = 1024 * 1024;
const TIMEOUT_RETRY_AFTER: Duration = Duration::from_secs(5);
const RATE_RETRY_AFTER: Duration = Duration::from_secs(20);
