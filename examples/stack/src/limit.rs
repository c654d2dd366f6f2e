//! The rate limit: so many requests in a window, for each client.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, StatusCode};

use crate::answer::{Refusal, round_up};
use crate::caller;
use crate::faults::RateLimited;
use crate::settings::RateLimitForm;

/// Counts the requests of each client.
#[derive(Debug)]
pub(crate) struct Limiter {
    requests_max: u64,
    window: Duration,
    clients: Mutex<Clients>,
}

#[derive(Debug, Default)]
struct Clients {
    windows: HashMap<String, Window>,
    sweep_at: usize,
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    requests: u64,
}

/// What is left to a client.
#[derive(Debug)]
pub(crate) struct Allowance {
    pub(crate) exceeded: bool,
    limit: u64,
    remaining: u64,
    reset: Duration,
}

impl Limiter {
    pub(crate) fn new(requests_max: u64, window_ms: u64) -> Self {
        Self {
            requests_max,
            window: Duration::from_millis(window_ms),
            clients: Mutex::default(),
        }
    }

    /// Counts one request.
    pub(crate) fn take(&self, headers: &HeaderMap, fault: Option<&RateLimited>) -> Allowance {
        let now = Instant::now();
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.windows.len() >= clients.sweep_at {
            clients.windows.retain(|_, window| window.ends > now);
            clients.sweep_at = (clients.windows.len() * 2).max(SWEEP_CLIENTS_MIN);
        }
        let fresh = || Window {
            ends: now + self.window,
            requests: 0,
        };
        let window = clients.windows.entry(client(headers)).or_insert_with(fresh);
        if window.ends <= now {
            *window = fresh();
        }
        window.requests = window.requests.saturating_add(1);
        match fault {
            Some(fault) => Allowance {
                exceeded: true,
                limit: self.requests_max,
                remaining: 0,
                reset: Duration::from_secs(fault.retry_after_s),
            },
            None => Allowance {
                exceeded: window.requests > self.requests_max,
                limit: self.requests_max,
                remaining: self.requests_max.saturating_sub(window.requests),
                reset: window.ends.saturating_duration_since(now),
            },
        }
    }
}

impl Allowance {
    pub(crate) fn headers(&self) -> [(HeaderName, u64); 3] {
        [
            (HeaderName::from_static("x-ratelimit-limit"), self.limit),
            (
                HeaderName::from_static("x-ratelimit-remaining"),
                self.remaining,
            ),
            (
                HeaderName::from_static("x-ratelimit-reset"),
                round_up(self.reset).as_secs(),
            ),
        ]
    }

    /// In the contract's envelope.
    pub(crate) fn refusal(&self) -> Refusal {
        let status = StatusCode::TOO_MANY_REQUESTS;
        let refusal = Refusal::new(status, "RATE_LIMITED", self.message());
        refusal.retryable().retry_after(self.reset)
    }

    /// In one of the origin's own forms.
    pub(crate) fn refusal_as(&self, form: RateLimitForm) -> Refusal {
        match form {
            RateLimitForm::Plain => self.refusal().plain(),
            RateLimitForm::InternalError => {
                Refusal::internal(self.message()).retry_after(self.reset)
            }
        }
    }

    fn message(&self) -> String {
        let seconds = round_up(self.reset).as_secs();
        format!("Rate limit exceeded, retry in {seconds} seconds")
    }
}

/// Whose request it is: the device's, else the token's holder's, else anybody's.
fn client(headers: &HeaderMap) -> String {
    if let Some(device) = caller::device_id(headers) {
        return device.to_string();
    }
    let token = caller::bearer(headers).unwrap_or_default();
    token.chars().take(TOKEN_CHARS_MAX).collect()
}

const SWEEP_CLIENTS_MIN: usize = 1_024;
const TOKEN_CHARS_MAX: usize = 128;
