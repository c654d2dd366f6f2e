//! One failure, however it came: from an answer of the service, or from the way there.
//!
//! What an answer means is decided here and nowhere else; what to do about it is the policy's.

mod floor;

use std::fmt;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};

pub use floor::RETRY_AFTER_MAX;

use crate::cause::{Cause, Layer};
use crate::wire::ErrorEnvelope;

/// What went wrong, in the form that the engine and the app's diagnostics use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// Why.
    pub cause: Cause,
    /// Whose fault.
    pub layer: Layer,
    /// The answer's status, where there was an answer.
    pub http_status: Option<u16>,
    /// The service's own code (`SERVICE_UNAVAILABLE`, …), at most 64 characters.
    pub code: Option<String>,
    /// The server's floor: no earlier than this after the answer's arrival. Never more than 15 min.
    pub retry_after: Option<Duration>,
    /// For people: at most 256 characters, no secrets, one line.
    pub message: String,
}

/// What was asked of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Request {
    /// `POST /api/v2/events/ticket`.
    Ticket,
    /// `GET /api/v2/events`.
    Events,
    /// `GET /api/v2/sync/pull`.
    Pull,
    /// `GET /api/v2/notes`.
    Snapshot,
    /// `POST /api/v2/sync/push`.
    Push,
    /// Anything else: devices, bootstrap, AI.
    Other,
}

impl Failure {
    /// A failure without an answer: transport, local steps, an answer that broke off. `message` is
    /// cut to one line of 256 characters; it must hold no URL, since a ticket can be in one.
    #[must_use]
    pub fn local(cause: Cause, message: impl Into<String>) -> Self {
        let message = one_line(&message.into(), MESSAGE_CHARS_MAX);
        Self {
            cause,
            layer: cause.layer(),
            http_status: None,
            code: None,
            retry_after: None,
            message: if message.is_empty() {
                cause.as_str().to_owned()
            } else {
                message
            },
        }
    }

    /// What an answer means that was not what `request` asked for: every status of 300 and above,
    /// and a 2xx whose body or type is not the contract's. `body` may be cut short; what is left of
    /// a refusal then speaks by its status alone.
    ///
    /// A floor is read from refusals only (400 and above). A date without the answer's own `Date`
    /// beside it gives none: this device's clock may be wrong by hours, and a floor invented from
    /// it could keep the client away for the full 15 minutes.
    ///
    /// ```
    /// use evenkeel_proto::{Cause, Failure, failure::Request};
    /// let body = br#"{"error":{"code":"SERVICE_UNAVAILABLE","cause":"circuit_open"}}"#;
    /// let mut headers = http::HeaderMap::new();
    /// headers.insert("retry-after", http::HeaderValue::from_static("17"));
    /// let failure = Failure::from_response(Request::Pull, 503, &headers, body);
    /// assert_eq!(failure.cause, Cause::CircuitOpen);
    /// assert_eq!(failure.retry_after.map(|floor| floor.as_secs()), Some(17));
    /// ```
    #[must_use]
    pub fn from_response(request: Request, status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let envelope = (status >= 400).then(|| envelope(body)).flatten();
        let code = envelope.as_ref().and_then(ErrorEnvelope::code);
        let limited = !(200..300).contains(&status) && floor::exhausted(headers);
        let cause = if limited {
            Cause::RateLimited
        } else {
            match status {
                300..400 if status != 304 => Cause::Redirected,
                400..500 => refusal(request, status, code),
                500.. => fault(status, code, named_cause(envelope.as_ref())),
                _ if is_page(headers, body) => Cause::NotTheService,
                _ => Cause::BadResponse,
            }
        };
        let retry_after = (status >= 400)
            .then(|| floor::read(headers, envelope.as_ref(), cause == Cause::RateLimited))
            .flatten();
        let message = envelope
            .as_ref()
            .and_then(ErrorEnvelope::message)
            .map(|message| one_line(message, MESSAGE_CHARS_MAX))
            .filter(|message| !message.is_empty())
            .unwrap_or_else(|| describe(status, cause));
        Self {
            cause,
            layer: cause.layer(),
            http_status: Some(status),
            code: code
                .map(|code| one_line(code, CODE_CHARS_MAX))
                .filter(|code| !code.is_empty()),
            retry_after,
            message,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause, self.message)
    }
}

impl std::error::Error for Failure {}

/// The meaning of a 4xx: its status decides, and its code where a status has several meanings.
fn refusal(request: Request, status: u16, code: Option<&str>) -> Cause {
    match (status, code) {
        (429, _) | (_, Some("RATE_LIMITED")) => Cause::RateLimited,
        (401, Some("STREAM_TICKET_REQUIRED")) => Cause::TicketRequired,
        (401, Some("STREAM_TICKET_INVALID")) => Cause::TicketInvalid,
        (401, Some("STREAM_TICKET_EXPIRED")) => Cause::TicketExpired,
        (401, Some("STREAM_TICKET_REPLAYED")) => Cause::TicketReplayed,
        // A later origin may know more ways to refuse a ticket. None of them says anything about
        // the token, which this path does not look at.
        (401, Some(code)) if request == Request::Events && code.starts_with("STREAM_TICKET_") => {
            Cause::TicketInvalid
        }
        (401, _) => Cause::AuthRequired,
        (403, Some("DEVICE_REVOKED")) => Cause::DeviceRevoked,
        (404, _) => Cause::NotFound,
        (413, _) => Cause::PayloadTooLarge,
        (400 | 415 | 422, _) => Cause::BadRequest,
        // A balancer that lost patience with the connection, or asks for another one: of the 4xx
        // only these pass by themselves.
        (408 | 425, _) => Cause::ServerError,
        _ => Cause::Forbidden,
    }
}

/// The meaning of a 5xx: the service's own word for it where there is one.
fn fault(status: u16, code: Option<&str>, named: Option<Cause>) -> Cause {
    match (code, named) {
        (Some("RATE_LIMITED"), _) => Cause::RateLimited,
        (Some("STREAM_TICKET_STORAGE_UNAVAILABLE"), _) => Cause::TicketStorageUnavailable,
        (_, Some(cause)) => cause,
        (Some("CONFIG_ERROR"), None) => Cause::OriginUnconfigured,
        (Some("PROVIDER_UNAVAILABLE"), None) => Cause::Provider5xx,
        // Network authentication required: a captive portal that says so.
        (None, None) if status == 511 => Cause::NotTheService,
        _ => Cause::ServerError,
    }
}

/// The envelope's cause, if it is one of the service's words: it has no say in ours.
fn named_cause(envelope: Option<&ErrorEnvelope>) -> Option<Cause> {
    let Some(ErrorEnvelope::Service { error }) = envelope else {
        return None;
    };
    Cause::from_name(error.cause.as_deref()?).filter(|cause| SERVICE_CAUSES.contains(cause))
}

fn envelope(body: &[u8]) -> Option<ErrorEnvelope> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let readable = body.len() <= ENVELOPE_BYTES_MAX;
    readable
        .then(|| serde_json::from_slice(body).ok())
        .flatten()
}

/// Whether this is a page for people: by its type or, where a portal lies about that, by its looks.
fn is_page(headers: &HeaderMap, body: &[u8]) -> bool {
    let typed = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let typed = typed.map(|value| value.split(';').next().unwrap_or("").trim());
    let html = |name: &str| typed.is_some_and(|typed| typed.eq_ignore_ascii_case(name));
    if html("text/html") || html("application/xhtml+xml") {
        return true;
    }
    let body = body
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(body)
        .trim_ascii_start();
    // Neither JSON nor an event stream of the contract begins with a tag.
    matches!(body, [b'<', b'!' | b'?' | b'a'..=b'z' | b'A'..=b'Z', ..])
}

fn describe(status: u16, cause: Cause) -> String {
    let ok = (200..300).contains(&status);
    let reason = StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason());
    let status = match reason {
        Some(reason) => format!("{status} {reason}"),
        None => format!("status {status}"),
    };
    match cause {
        Cause::BadResponse => format!("{status} with an answer that cannot be read"),
        Cause::NotTheService if ok => {
            format!("{status} with something that is not the service's answer")
        }
        _ => status,
    }
}

/// The text without anything that could break a log line or disguise it.
fn one_line(text: &str, chars_max: usize) -> String {
    let kept = text.chars().filter_map(|c| match c {
        '\t' | '\n' | '\r' | '\u{2028}' | '\u{2029}' => Some(' '),
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => None,
        c => (!c.is_control()).then_some(c),
    });
    let line: String = kept
        .skip_while(|c| c.is_whitespace())
        .take(chars_max)
        .collect();
    line.trim_end().to_owned()
}

const SERVICE_CAUSES: [Cause; 10] = [
    Cause::OriginUnconfigured,
    Cause::Timeout,
    Cause::NetworkError,
    Cause::Upstream5xx,
    Cause::CircuitOpen,
    Cause::KvUnavailable,
    Cause::ProviderTimeout,
    Cause::Provider5xx,
    Cause::ProviderCircuitOpen,
    Cause::ProviderNetworkError,
];

const MESSAGE_CHARS_MAX: usize = 256;
const CODE_CHARS_MAX: usize = 64;

/// No envelope is larger; a larger body is not worth its memory as a tree.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024;
