//! The cookies that the service sets.

use std::time::Duration;

use evenkeel_proto::wire::{AI_SESSION_COOKIE, SetCookie, TICKET_COOKIE, path};
use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::bytes::Bytes;

/// What is taken from a header can be sent in one: no control characters, no spaces, at most 4 KiB;
/// its life is bounded; writing and reading it changes nothing. The last usable one of a name counts,
/// and for a path only one that is meant for it.
///
/// Each line is one `Set-Cookie` header.
pub fn cookie(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut headers = HeaderMap::new();
    let mut last = [None, None];
    while !bytes.is_empty() {
        let Ok(value) = HeaderValue::from_bytes(bytes.line()) else {
            continue;
        };
        let read = value.to_str().ok().and_then(SetCookie::parse);
        headers.append(SET_COOKIE, value);
        let Some(cookie) = read else {
            continue;
        };
        usable(&cookie);
        for (name, last) in NAMES.iter().zip(&mut last) {
            if cookie.name == *name {
                *last = Some(cookie.clone());
            }
        }
    }
    for (name, last) in NAMES.iter().zip(last) {
        assert_eq!(SetCookie::find(&headers, name), last);
        let here = SetCookie::find_for(&headers, name, path::EVENTS);
        let own = here.and_then(|cookie| cookie.path);
        assert!(path::EVENTS.starts_with(own.as_deref().unwrap_or("/")));
    }
}

fn usable(cookie: &SetCookie) {
    let value = cookie.value.expose();
    for text in [&cookie.name, value] {
        assert!(!text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic()));
        assert!(!text.contains(';'));
    }
    assert!(value.len() <= 4096);
    HeaderValue::try_from(format!("{}={value}", cookie.name)).unwrap();
    assert!(cookie.max_age.unwrap_or_default() <= Duration::from_secs(400 * 24 * 3600));
    assert!(cookie.path.as_deref().unwrap_or("/").starts_with('/'));
    let shown = format!("{:?}", cookie.value);
    assert!(!shown.contains(value) || value.len() < 8, "{shown}");
    assert_eq!(SetCookie::parse(&cookie.to_header()).as_ref(), Some(cookie));
}

const NAMES: [&str; 2] = [TICKET_COOKIE, AI_SESSION_COOKIE];
