//! The rate limit: so many requests in a window, for each client.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, StatusCode};

use super::auth;
use crate::answer::{Refusal, round_up};
use crate::faults::RateLimited;
use crate::settings::{RateLimitForm, Settings};

/// Counts the requests of each client.
#[derive(Debug)]
pub(super) struct Limiter {
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
pub(super) struct Allowance {
    pub(super) exceeded: bool,
    limit: u64,
    remaining: u64,
    reset: Duration,
}

impl Limiter {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            requests_max: settings.rate_limit_requests,
            window: Duration::from_millis(settings.rate_limit_window_ms),
            clients: Mutex::default(),
        }
    }

    /// Counts one request.
    pub(super) fn take(&self, headers: &HeaderMap, fault: Option<&RateLimited>) -> Allowance {
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
    pub(super) fn headers(&self) -> [(HeaderName, u64); 3] {
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

    pub(super) fn refusal(&self, form: RateLimitForm) -> Refusal {
        let seconds = round_up(self.reset).as_secs();
        let message = format!("Rate limit exceeded, retry in {seconds} seconds");
        let refusal = match form {
            RateLimitForm::Plain => {
                Refusal::new(StatusCode::TOO_MANY_REQUESTS, "RATE_LIMITED", message).plain()
            }
            RateLimitForm::InternalError => Refusal::internal(message),
        };
        refusal.retry_after(self.reset)
    }
}

/// Whose request it is: the device's, else the token's holder's, else anybody's.
fn client(headers: &HeaderMap) -> String {
    if let Some(device) = auth::device_id(headers) {
        return device.to_string();
    }
    let token = auth::bearer(headers).unwrap_or_default();
    token.chars().take(TOKEN_CHARS_MAX).collect()
}

const SWEEP_CLIENTS_MIN: usize = 1_024;
const TOKEN_CHARS_MAX: usize = 128;
