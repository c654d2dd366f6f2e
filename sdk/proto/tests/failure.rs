//! What an answer means: the vectors, and that no answer breaks the function.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use evenkeel_proto::failure::{RETRY_AFTER_MAX, Request};
use evenkeel_proto::{Cause, Failure};
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use serde::Deserialize;

#[test]
fn every_vector_means_what_it_says() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../../tests/vectors/failures.json")).unwrap();
    assert!(vectors.len() > 100);
    for vector in &vectors {
        let headers = headers(&vector.headers);
        let body = vector.body.as_bytes();
        let failure = Failure::from_response(vector.request.into(), vector.status, &headers, body);
        let name = &vector.name;
        let expect = &vector.expect;
        assert_eq!(failure.cause.as_str(), expect.cause, "{name}: {failure:?}");
        assert_eq!(failure.layer.as_str(), expect.layer, "{name}");
        assert_eq!(failure.http_status, Some(vector.status), "{name}");
        assert_eq!(failure.code, expect.code, "{name}");
        let floor = expect.retry_after_ms.map(Duration::from_millis);
        assert_eq!(failure.retry_after, floor, "{name}");
        if let Some(message) = &expect.message {
            assert_eq!(&failure.message, message, "{name}");
        }
        well_formed(&failure);
    }
}

#[test]
fn only_a_ticket_can_be_refused_for_itself() {
    let body = br#"{"error":{"code":"STREAM_TICKET_FOREIGN"}}"#;
    let asked = |request| Failure::from_response(request, 401, &HeaderMap::new(), body).cause;
    assert_eq!(asked(Request::Events), Cause::TicketInvalid);
    assert_eq!(asked(Request::Pull), Cause::AuthRequired);
    // A known word for it means the same whatever was asked: the token is not doubted.
    let body = br#"{"error":{"code":"STREAM_TICKET_INVALID"}}"#;
    let failure = Failure::from_response(Request::Pull, 401, &HeaderMap::new(), body);
    assert_eq!(failure.cause, Cause::TicketInvalid);
}

#[test]
fn a_rate_limit_is_one_under_any_status_and_beside_any_cause() {
    let body = br#"{"error":{"code":"RATE_LIMITED","cause":"upstream_5xx"}}"#;
    for status in [400, 403, 429, 500, 503] {
        let failure = Failure::from_response(Request::Pull, status, &HeaderMap::new(), body);
        assert_eq!(failure.cause, Cause::RateLimited, "{status}");
    }
}

#[test]
fn a_pages_text_is_never_repeated() {
    for status in [200, 302, 403, 404, 502, 511] {
        let page = b"<html><body>Call 555-0100 to pay</body></html>";
        let failure = Failure::from_response(Request::Pull, status, &HeaderMap::new(), page);
        assert!(!failure.message.contains("555"), "{failure:?}");
    }
}

#[test]
fn a_success_that_is_none_says_so() {
    let said = |status, body| {
        Failure::from_response(Request::Pull, status, &HeaderMap::new(), body).message
    };
    let unreadable = said(200, b"{\"changes\":");
    assert_eq!(unreadable, "200 OK with an answer that cannot be read");
    let page = said(200, b"<html>");
    let strange = "200 OK with something that is not the service's answer";
    assert_eq!(page, strange);
    assert_eq!(said(511, b""), "511 Network Authentication Required");
}

#[test]
fn a_huge_refusal_speaks_by_its_status() {
    let body = format!(
        r#"{{"error":{{"code":"X","message":"{}"}}}}"#,
        "y".repeat(70_000)
    );
    let failure = Failure::from_response(Request::Pull, 503, &HeaderMap::new(), body.as_bytes());
    assert_eq!((failure.cause, failure.code), (Cause::ServerError, None));
}

#[test]
fn a_local_failure_has_its_causes_layer_and_one_line() {
    let failure = Failure::local(Cause::DnsFailed, "no such\nhost");
    assert_eq!(failure.layer, Cause::DnsFailed.layer());
    assert_eq!(failure.to_string(), "dns_failed: no such host");
    assert_eq!(Failure::local(Cause::Offline, "").message, "offline");
}

proptest! {
    #[test]
    fn no_answer_breaks_it(
        request in prop::sample::select(REQUESTS),
        status in any::<u16>(),
        headers in prop::collection::vec(
            (prop::sample::select(NAMES), prop_oneof![any::<i64>().prop_map(|n| n.to_string()), "\\PC{0,40}"]),
            0..6,
        ),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            ("\\PC*", "\\PC*", any::<f64>()).prop_map(|(code, message, wait)| {
                serde_json::json!({"error": {"code": code, "message": message, "retryAfterMs": wait}})
                    .to_string()
                    .into_bytes()
            }),
        ],
    ) {
        let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let failure = Failure::from_response(request, status, &self::headers(&headers), &body);
        well_formed(&failure);
    }
}

fn well_formed(failure: &Failure) {
    assert_eq!(failure.layer, failure.cause.layer());
    assert!(
        failure
            .retry_after
            .is_none_or(|floor| floor <= RETRY_AFTER_MAX)
    );
    assert!(!failure.message.is_empty());
    assert!(failure.message.chars().count() <= 256);
    assert!(!failure.message.chars().any(char::is_control));
    let code = failure.code.as_deref().unwrap_or("-");
    assert!((1..=64).contains(&code.chars().count()));
}

fn headers(pairs: &[(String, String)]) -> HeaderMap {
    pairs
        .iter()
        .filter_map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(value.as_bytes()).ok()?))
        })
        .fold(HeaderMap::new(), |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        })
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    request: Asked,
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
    expect: Expect,
}

#[derive(Deserialize)]
struct Expect {
    cause: String,
    layer: String,
    code: Option<String>,
    retry_after_ms: Option<u64>,
    message: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Asked {
    Ticket,
    Events,
    Pull,
    Snapshot,
    Push,
    Other,
}

impl From<Asked> for Request {
    fn from(asked: Asked) -> Self {
        match asked {
            Asked::Ticket => Self::Ticket,
            Asked::Events => Self::Events,
            Asked::Pull => Self::Pull,
            Asked::Snapshot => Self::Snapshot,
            Asked::Push => Self::Push,
            Asked::Other => Self::Other,
        }
    }
}

const REQUESTS: &[Request] = &[
    Request::Ticket,
    Request::Events,
    Request::Pull,
    Request::Snapshot,
    Request::Push,
    Request::Other,
];

const NAMES: &[&str] = &[
    "retry-after",
    "date",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "content-type",
];
