//! The server's floor, in every form it has.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use evenkeel_proto::failure::RETRY_AFTER_MAX;
use evenkeel_proto::{Failure, Request};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::bytes::Bytes;
use crate::failure::headers;

/// Where the header is a number or a date in any of their forms, the floor is exactly that, cut to
/// 15 minutes; a date is read against the answer's own; what is malformed or in the past is as if it
/// were not there; the longest of several counts; a header beats the body.
///
/// The first byte chooses between headers made of numbers and headers of any bytes.
pub fn retry_after(data: &[u8]) {
    let mut bytes = Bytes(data);
    match bytes.u8() % 4 {
        0 => seconds(&mut bytes),
        1 => dates(&mut bytes),
        _ => anything(&mut bytes),
    }
}

fn seconds(bytes: &mut Bytes<'_>) {
    let zeros = "0".repeat(usize::from(bytes.u8() % 8));
    let several: Vec<u64> = (0..=bytes.u8() % 3)
        .map(|_| bytes.u64() >> (bytes.u8() % 64))
        .collect();
    let joined = bytes.bool();
    let text = |n: &u64| format!("{zeros}{n}");
    let texts: Vec<String> = several.iter().map(text).collect();
    let mut map = HeaderMap::new();
    if joined {
        append(&mut map, "retry-after", &texts.join(", "));
    } else {
        for text in &texts {
            append(&mut map, "retry-after", text);
        }
    }
    let longest = several.iter().max().copied().unwrap_or_default();
    let body = format!(
        r#"{{"error":{{"code":"X","message":"","retryAfterMs":{}}}}}"#,
        bytes.u64()
    );
    let expected = Duration::from_secs(longest).min(RETRY_AFTER_MAX);
    assert_eq!(floor(&map, body.as_bytes()), Some(expected));
}

fn dates(bytes: &mut Bytes<'_>) {
    let (now, then) = (moment(bytes), moment(bytes));
    let mut map = HeaderMap::new();
    append(&mut map, "retry-after", &httpdate::fmt_http_date(then));
    assert_eq!(floor(&map, b""), None, "a date alone depends on our clock");
    append(&mut map, "date", &httpdate::fmt_http_date(now));
    let expected = then.duration_since(now).ok();
    let expected = expected.map(|span| span.min(RETRY_AFTER_MAX));
    assert_eq!(floor(&map, b""), expected);
}

fn anything(bytes: &mut Bytes<'_>) {
    let map = headers(
        bytes,
        &["retry-after", "retry-after", "date", "x-ratelimit-reset"],
    );
    let body = bytes.rest();
    for status in [200, 304, 400, 429, 503] {
        let failure = Failure::from_response(Request::Pull, status, &map, body);
        assert!(failure.retry_after.unwrap_or_default() <= RETRY_AFTER_MAX);
        assert!(status >= 400 || failure.retry_after.is_none());
    }
}

/// Whole seconds, from 1970 to 9999, most often close together.
fn moment(bytes: &mut Bytes<'_>) -> SystemTime {
    let base = bytes.of(&[0, 784_111_777, 1_900_000_000, YEAR_9999_SECONDS - 70_000]);
    UNIX_EPOCH + Duration::from_secs(base + u64::from(bytes.u16()))
}

fn append(map: &mut HeaderMap, name: &'static str, value: &str) {
    map.append(
        HeaderName::from_static(name),
        HeaderValue::try_from(value).unwrap(),
    );
}

fn floor(headers: &HeaderMap, body: &[u8]) -> Option<Duration> {
    Failure::from_response(Request::Pull, 503, headers, body).retry_after
}

const YEAR_9999_SECONDS: u64 = 253_402_300_799;
