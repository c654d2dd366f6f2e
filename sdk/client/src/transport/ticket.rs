//! The ticket: used once, sent to the events path only, never shown.

use std::time::{Duration, SystemTime};

use evenkeel_proto::failure::Request;
use evenkeel_proto::wire::path::{EVENTS, TICKET_PARAMETER};
use evenkeel_proto::wire::{Secret, SetCookie, TICKET_COOKIE, TicketAnswer};
use evenkeel_proto::{Cause, Failure};
use http::header::DATE;
use http::{HeaderMap, HeaderValue};
use url::Url;

use super::Answer;
use crate::settings::TicketCarrier;

/// Admission to one stream.
#[derive(Debug)]
pub(crate) struct Ticket {
    secret: Secret,
    carrier: Carrier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Cookie,
    Query,
}

impl Ticket {
    pub(super) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The stream's URL, and the cookie to send there.
    pub(super) fn attach(self, mut url: Url) -> Result<(Url, Option<HeaderValue>), Failure> {
        match self.carrier {
            Carrier::Query => {
                url.query_pairs_mut()
                    .append_pair(TICKET_PARAMETER, self.secret.expose());
                Ok((url, None))
            }
            Carrier::Cookie => {
                let text = format!("{TICKET_COOKIE}={}", self.secret.expose());
                let mut cookie = HeaderValue::try_from(text).map_err(|_| {
                    Failure::local(Cause::BadResponse, "the ticket cannot be sent as a cookie")
                })?;
                cookie.set_sensitive(true);
                Ok((url, Some(cookie)))
            }
        }
    }
}

/// The ticket in an answer, and how long it may be used from the request on.
pub(super) fn read(answer: &Answer, wanted: TicketCarrier) -> Result<(Ticket, Duration), Failure> {
    // Its path is the contract's, also where the service is below a base path.
    let cookie = SetCookie::find_for(&answer.headers, TICKET_COOKIE, EVENTS)
        .filter(|cookie| cookie.max_age != Some(Duration::ZERO));
    let body = serde_json::from_slice::<TicketAnswer>(&answer.body);
    let expires_at = body.as_ref().ok().and_then(TicketAnswer::expires_at);
    let max_age = cookie.as_ref().and_then(|cookie| cookie.max_age);
    let in_body = match &body {
        Ok(TicketAnswer::Body { ticket, .. }) => {
            Some(ticket.clone()).filter(|ticket| ticket.expose().len() <= TICKET_BYTES_MAX)
        }
        _ => None,
    };
    let in_cookie = cookie.map(|cookie| cookie.value);
    let (secret, carrier) = match (wanted, in_cookie, in_body) {
        (TicketCarrier::Auto | TicketCarrier::Cookie, Some(secret), _) => (secret, Carrier::Cookie),
        (TicketCarrier::Auto | TicketCarrier::Query, _, Some(secret)) => (secret, Carrier::Query),
        _ => return Err(no_ticket(answer)),
    };
    let by_date = expires_at.and_then(|at| left_by_date(&answer.headers, at.0));
    // The sooner of both where there are two; the shortest life the contract knows where there is
    // none, since this device's own clock says nothing about the service's.
    let life = [by_date, max_age].into_iter().flatten().min();
    let life = life.unwrap_or(LIFE_UNKNOWN).min(LIFE_MAX);
    Ok((Ticket { secret, carrier }, life))
}

fn no_ticket(answer: &Answer) -> Failure {
    let mut failure = Failure::from_response(Request::Ticket, 200, &answer.headers, &answer.body);
    if failure.cause == Cause::BadResponse {
        failure.message = "the answer holds no ticket in the form that is set".into();
    }
    failure
}

fn left_by_date(headers: &HeaderMap, expires_at_ms: i64) -> Option<Duration> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let expires_at_ms = u64::try_from(expires_at_ms).unwrap_or(0);
    let expires_at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(expires_at_ms))?;
    Some(expires_at.duration_since(date).unwrap_or(Duration::ZERO))
}

/// As much as a cookie may carry: more fits in no server's URL.
const TICKET_BYTES_MAX: usize = 4096;
const LIFE_UNKNOWN: Duration = Duration::from_secs(15);
const LIFE_MAX: Duration = Duration::from_secs(900);

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(headers: &[(&'static str, &str)], body: &'static str) -> Answer {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::try_from(*value).unwrap());
        }
        Answer {
            headers: map,
            body: body.into(),
        }
    }

    const COOKIE: (&str, &str) = (
        "set-cookie",
        "pb_stream_ticket=c00kie; Path=/api/v2/events; HttpOnly; SameSite=Lax; Max-Age=60",
    );
    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    const DATE_MS: i64 = 784_111_777_000;

    fn url() -> Url {
        Url::parse("https://h/api/v2/events").unwrap()
    }

    #[test]
    fn auto_takes_the_ticket_as_it_comes() {
        let (ticket, _) = read(&answer(&[COOKIE], r#"{"ok":true}"#), TicketCarrier::Auto).unwrap();
        let (at, cookie) = ticket.attach(url()).unwrap();
        assert_eq!(at, url());
        let cookie = cookie.unwrap();
        assert_eq!(cookie, "pb_stream_ticket=c00kie");
        assert!(cookie.is_sensitive());

        let body = r#"{"ticket":"q&ry","expires_at_ms":1}"#;
        let (ticket, _) = read(&answer(&[], body), TicketCarrier::Auto).unwrap();
        let (at, cookie) = ticket.attach(url()).unwrap();
        assert_eq!(at.as_str(), "https://h/api/v2/events?ticket=q%26ry");
        assert!(cookie.is_none());
    }

    #[test]
    fn a_carrier_that_is_set_is_the_only_one_taken() {
        let both = answer(&[COOKIE], r#"{"ticket":"query"}"#);
        let (ticket, _) = read(&both, TicketCarrier::Cookie).unwrap();
        assert_eq!(ticket.carrier, Carrier::Cookie);
        let (ticket, _) = read(&both, TicketCarrier::Query).unwrap();
        assert_eq!(ticket.carrier, Carrier::Query);
        let only = answer(&[COOKIE], r#"{"ok":true}"#);
        let failure = read(&only, TicketCarrier::Query).unwrap_err();
        assert_eq!(failure.cause, Cause::BadResponse);
        let page = answer(&[("content-type", "text/html")], "<!doctype html>");
        let failure = read(&page, TicketCarrier::Auto).unwrap_err();
        assert_eq!(failure.cause, Cause::NotTheService);
    }

    #[test]
    fn a_cookie_for_another_path_is_no_ticket() {
        let other = ("set-cookie", "pb_stream_ticket=other; Path=/api/v2/events2");
        let (ticket, _) = read(&answer(&[COOKIE, other], "{}"), TicketCarrier::Auto).unwrap();
        assert_eq!(ticket.secret.expose(), "c00kie");
        let failure = read(&answer(&[other], r#"{"ok":true}"#), TicketCarrier::Auto).unwrap_err();
        assert_eq!(failure.cause, Cause::BadResponse);
        for path in ["/", "/api", "/api/v2/", "/api/v2/events"] {
            let header = format!("pb_stream_ticket=x; Path={path}");
            let answer = answer(&[("set-cookie", &header)], "{}");
            assert!(read(&answer, TicketCarrier::Auto).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_ticket_that_fits_in_no_url_is_none() {
        let long = |bytes: usize| format!(r#"{{"ticket":"{}"}}"#, "x".repeat(bytes));
        let read = |body: String| read(&answer(&[], body.leak()), TicketCarrier::Auto);
        assert!(read(long(TICKET_BYTES_MAX)).is_ok());
        let failure = read(long(TICKET_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(failure.cause, Cause::BadResponse);
    }

    #[test]
    fn the_life_is_the_sooner_of_both_and_read_against_the_answers_date() {
        let life = |headers: &[(&'static str, &str)], expires_in_ms: i64| {
            let body = format!(r#"{{"ok":true,"expiresAt":{}}}"#, DATE_MS + expires_in_ms);
            let answer = answer(headers, body.leak());
            read(&answer, TicketCarrier::Auto).unwrap().1.as_millis()
        };
        assert_eq!(life(&[COOKIE, DATE], 30_000), 30_000);
        assert_eq!(life(&[COOKIE, DATE], 90_000), 60_000);
        assert_eq!(life(&[COOKIE, DATE], -5), 0);
        assert_eq!(life(&[COOKIE], 30_000), 60_000);
        let bare = ("set-cookie", "pb_stream_ticket=x");
        assert_eq!(life(&[bare], 30_000), 15_000);
        assert_eq!(life(&[bare, DATE], 86_400_000), 900_000);
    }

    #[test]
    fn a_ticket_does_not_show() {
        let answer = answer(&[COOKIE], "{}");
        let (ticket, _) = read(&answer, TicketCarrier::Auto).unwrap();
        assert!(!format!("{ticket:?}").contains("c00kie"));
    }
}
