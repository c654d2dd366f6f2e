//! What an error on the way to an answer means.

use std::error::Error;
use std::io;

use evenkeel_proto::{Cause, Failure};

/// The failure behind an error of the HTTP client. The message never holds a URL: a ticket can be in
/// one.
pub(crate) fn classify(error: &reqwest::Error) -> Failure {
    Failure::local(cause(error), describe(error))
}

/// The chain of errors in one line, without the first one's URL.
pub(super) fn describe(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(link) = next {
        next = link.source();
        // One within another has a URL of its own to show.
        if link.is::<reqwest::Error>() {
            continue;
        }
        let text = link.to_string();
        // Most links repeat the one below them.
        if texts.last().is_none_or(|last| !last.ends_with(&text)) {
            texts.push(text);
        }
    }
    if texts.is_empty() {
        return cause(error).as_str().to_owned();
    }
    texts.join(": ")
}

fn cause(error: &reqwest::Error) -> Cause {
    if error.is_dns() {
        return Cause::DnsFailed;
    }
    let mut next = error.source();
    while let Some(link) = next {
        if let Some(cause) = of_link(link) {
            return cause;
        }
        next = link.source();
    }
    if error.is_builder() {
        Cause::BadRequest
    } else if error.is_connect() {
        Cause::ConnectFailed
    } else if error.is_timeout() {
        Cause::ResponseTimeout
    } else if error.is_redirect() {
        Cause::Redirected
    } else {
        Cause::ConnectionLost
    }
}

fn of_link(link: &(dyn Error + 'static)) -> Option<Cause> {
    if link.is::<rustls::Error>() {
        return Some(Cause::TlsFailed);
    }
    if let Some(error) = link.downcast_ref::<hyper::Error>() {
        // The other side does not speak HTTP.
        return error.is_parse().then_some(Cause::NotTheService);
    }
    // An I/O error hides what it wraps from `source`, and can wrap another one.
    of_link(link.downcast_ref::<io::Error>()?.get_ref()?)
}
