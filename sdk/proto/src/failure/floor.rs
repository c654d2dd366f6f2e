//! How long the server asks us to stay away, in every form that it has for saying so.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

use crate::wire::ErrorEnvelope;

/// No server can keep a client away for longer than this with one answer.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(15 * 60);

/// The floor: the header, else the body's hint, else (for rate limiting) the end of the window.
/// What is negative or malformed is as if it were not there, what is too long is cut.
pub(super) fn read(
    headers: &HeaderMap,
    envelope: Option<&ErrorEnvelope>,
    rate_limited: bool,
) -> Option<Duration> {
    let date = headers.get(DATE).and_then(http_date);
    header(headers, date)
        .or_else(|| body(envelope?))
        .or_else(|| rate_limited.then(|| window(headers, date)).flatten())
        .map(|floor| floor.min(RETRY_AFTER_MAX))
}

/// Whether the answer says that the client's allowance is used up.
pub(super) fn exhausted(headers: &HeaderMap) -> bool {
    values(headers, REMAINING).any(|value| value.parse().is_ok_and(|left: f64| left <= 0.0))
}

/// Of several `Retry-After` headers the longest valid one: both were asked for.
fn header(headers: &HeaderMap, date: Option<SystemTime>) -> Option<Duration> {
    let dates = headers.get_all(RETRY_AFTER).iter().filter_map(|value| {
        // A date in the past is a negative wait.
        http_date(value)?.duration_since(date?).ok()
    });
    values(headers, "retry-after")
        .filter_map(delta_seconds)
        .chain(dates)
        .max()
}

fn body(envelope: &ErrorEnvelope) -> Option<Duration> {
    let ErrorEnvelope::Service { error } = envelope else {
        return None;
    };
    let seconds = || {
        error
            .retry_after_seconds
            .and_then(|seconds| millis(seconds * 1e3))
    };
    error.retry_after_ms.and_then(millis).or_else(seconds)
}

/// `x-ratelimit-reset`: seconds from now, or (some builds) a point in time.
fn window(headers: &HeaderMap, date: Option<SystemTime>) -> Option<Duration> {
    let spans = values(headers, RESET).filter_map(|value| {
        let reset: f64 = value.parse().ok()?;
        if reset <= EPOCH_SECONDS_MIN {
            return millis(reset * 1e3);
        }
        let epoch_ms = if reset > EPOCH_MILLIS_MIN {
            reset
        } else {
            reset * 1e3
        };
        let date_ms = date?.duration_since(UNIX_EPOCH).ok()?.as_millis() as f64;
        millis(epoch_ms - date_ms)
    });
    spans.max()
}

/// Every value of a header, those that a proxy has joined with commas taken apart.
fn values<'h>(headers: &'h HeaderMap, name: &'static str) -> impl Iterator<Item = &'h str> {
    let texts = headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

fn delta_seconds(value: &str) -> Option<Duration> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    // More digits than fit are a very long time, not a mistake.
    digits.then(|| Duration::from_secs(value.parse().unwrap_or(u64::MAX)))
}

fn http_date(value: &HeaderValue) -> Option<SystemTime> {
    httpdate::parse_http_date(value.to_str().ok()?.trim()).ok()
}

/// A wait in milliseconds, rounded up; `None` for a negative one.
fn millis(ms: f64) -> Option<Duration> {
    let max = RETRY_AFTER_MAX.as_millis() as f64;
    (ms >= 0.0).then(|| Duration::from_millis(ms.min(max).ceil() as u64))
}

const REMAINING: &str = "x-ratelimit-remaining";
const RESET: &str = "x-ratelimit-reset";

/// 2001 as seconds since 1970; no window is that long.
const EPOCH_SECONDS_MIN: f64 = 1e9;
/// 1973 as milliseconds since 1970; as seconds it lies beyond the year 5000.
const EPOCH_MILLIS_MIN: f64 = 1e11;
