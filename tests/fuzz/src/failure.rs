//! What an answer means, whatever it looks like.

use evenkeel_proto::failure::RETRY_AFTER_MAX;
use evenkeel_proto::policy::{self, Class};
use evenkeel_proto::{Failure, Request, retry};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::bytes::Bytes;

/// Every answer has a meaning, always the same, fit for a log line; what comes of it never undercuts
/// the server's floor, and no server keeps a client away for more than 15 minutes and a spread of a tenth.
///
/// One byte for the request, two for the status, one for the number of headers; each header is a byte
/// for its name and a line for its value; the rest is the body.
pub fn failure(data: &[u8]) {
    let mut bytes = Bytes(data);
    let request = bytes.of(&REQUESTS);
    let status = match bytes.u16() {
        any if any % 4 == 0 => any,
        usual => STATUSES[usize::from(usual) % STATUSES.len()],
    };
    let headers = headers(&mut bytes, &NAMES);
    let body = bytes.rest();
    let failure = Failure::from_response(request, status, &headers, body);
    let again = Failure::from_response(request, status, &headers, body);
    assert_eq!(failure, again, "it depends on more than the answer");

    assert_eq!(failure.http_status, Some(status));
    assert_eq!(failure.layer, failure.cause.layer());
    assert!((1..=256).contains(&failure.message.chars().count()));
    let code = failure.code.as_deref().unwrap_or("-");
    assert!((1..=64).contains(&code.chars().count()));
    for text in [&failure.message, code] {
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert_eq!(text.trim(), text);
    }
    if status < 400 {
        assert_eq!(failure.retry_after, None, "only a refusal has a floor");
    }
    assert!(failure.retry_after.unwrap_or_default() <= RETRY_AFTER_MAX);
    waits(&failure, request);
}

fn waits(failure: &Failure, request: Request) {
    let class = policy::rule(failure.cause, request).class;
    for attempt in [0, 1, 2, 7, u32::MAX] {
        let mut rng = fastrand::Rng::with_seed(u64::from(attempt));
        let wait = retry::delay(&mut rng, class, attempt, failure.retry_after);
        let floor = failure.retry_after.unwrap_or_default();
        assert!(wait >= floor, "{wait:?} undercuts {floor:?}");
        if class == Class::Gate && failure.retry_after.is_none() {
            assert!(wait >= retry::GATE_FLOOR, "a gate without a floor");
        }
        let longest = RETRY_AFTER_MAX + RETRY_AFTER_MAX / 10;
        assert!(wait <= longest, "{wait:?} away");
    }
}

pub(crate) fn headers(bytes: &mut Bytes<'_>, names: &[&'static str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for _ in 0..bytes.u8() % 6 {
        let name = bytes.of(names);
        if let Ok(value) = HeaderValue::from_bytes(bytes.line()) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    headers
}

const REQUESTS: [Request; 6] = [
    Request::Ticket,
    Request::Events,
    Request::Pull,
    Request::Snapshot,
    Request::Push,
    Request::Other,
];
const STATUSES: [u16; 25] = [
    0, 100, 101, 200, 201, 204, 299, 301, 304, 308, 400, 401, 403, 404, 408, 413, 422, 429, 500,
    503, 504, 511, 520, 999, 65_535,
];
const NAMES: [&str; 6] = [
    "retry-after",
    "date",
    "content-type",
    "x-ratelimit-remaining",
    "x-ratelimit-reset",
    "server",
];
