//! The ticket as it comes, and whether its cookie is one that a browser would keep to itself.

use evenkeel::Secret;
use evenkeel_proto::wire::path::{EVENTS, TICKET_PARAMETER};
use evenkeel_proto::wire::{SameSite, SetCookie, TICKET_COOKIE, TicketAnswer};
use http::header::COOKIE;

use super::State;
use super::attempt::Check;
use crate::probe::{Answer, Refusal, Request, Trouble};

/// Admission to one stream.
pub(super) struct Ticket {
    secret: Secret,
    /// `None` for one that came in the body.
    cookie: Option<SetCookie>,
}

impl Ticket {
    /// The error is in words.
    pub(super) fn read(answer: &Answer) -> Result<Self, String> {
        if !(200..300).contains(&answer.status) {
            return Err(match Refusal::read(answer) {
                Ok(refusal) => format!("answered {refusal}"),
                Err(trouble) => trouble.message,
            });
        }
        let cookie = SetCookie::find(&answer.headers, TICKET_COOKIE);
        if let Some(cookie) = cookie {
            return Ok(Self {
                secret: cookie.value.clone(),
                cookie: Some(cookie),
            });
        }
        let value = answer.json().map_err(|trouble: Trouble| trouble.message)?;
        match serde_json::from_value(value) {
            Ok(TicketAnswer::Body { ticket, .. }) => Ok(Self {
                secret: ticket,
                cookie: None,
            }),
            _ => Err("there is no ticket in the answer".to_owned()),
        }
    }

    /// The request for a stream; the same ticket every time.
    pub(super) fn stream(&self) -> Request {
        let request = match &self.cookie {
            Some(_) => {
                let text = format!("{TICKET_COOKIE}={}", self.secret.expose());
                Request::get(EVENTS).secret(COOKIE, &text, &self.secret)
            }
            None => {
                let query = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair(TICKET_PARAMETER, self.secret.expose())
                    .finish();
                Request::get(format!("{EVENTS}?{query}")).hiding(&self.secret)
            }
        };
        request.accepting("text/event-stream")
    }

    /// Whether the cookie goes nowhere but to the stream. `tls`: whether the edge speaks it.
    pub(super) fn check(&self, tls: bool) -> Check {
        let Some(cookie) = &self.cookie else {
            return Check {
                id: "cookie",
                state: State::Pass,
                evidence: "the ticket came in the body, so there is none".to_owned(),
            };
        };
        let max_age_s = cookie.max_age.map(|age| age.as_secs());
        let wrong: Vec<&str> = [
            (
                cookie.path.as_deref() != Some(EVENTS),
                "Path is not /api/v2/events",
            ),
            (!cookie.http_only, "HttpOnly is missing"),
            (
                !matches!(cookie.same_site, Some(SameSite::Lax | SameSite::Strict)),
                "SameSite is not Lax",
            ),
            (
                !max_age_s.is_some_and(|s| (1..=MAX_AGE_S_MAX).contains(&s)),
                "Max-Age is not between 1 and 900",
            ),
            (tls && !cookie.secure, "Secure is missing"),
        ]
        .into_iter()
        .filter_map(|(wrong, words)| wrong.then_some(words))
        .collect();
        let (state, evidence) = match wrong.is_empty() {
            true => {
                let secure = if cookie.secure { "; Secure" } else { "" };
                let age = max_age_s.unwrap_or_default();
                let words = format!("Path={EVENTS}; HttpOnly; SameSite=Lax; Max-Age={age}{secure}");
                (State::Pass, words)
            }
            false => (State::Fail, wrong.join(", ")),
        };
        Check {
            id: "cookie",
            state,
            evidence,
        }
    }
}

/// As long as a ticket may live.
const MAX_AGE_S_MAX: u64 = 900;

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(header: &str, tls: bool) -> (State, String) {
        let cookie = SetCookie::parse(header).unwrap();
        let ticket = Ticket {
            secret: cookie.value.clone(),
            cookie: Some(cookie),
        };
        let check = ticket.check(tls);
        (check.state, check.evidence)
    }

    #[test]
    fn each_attribute_that_is_missing_is_named() {
        let whole = "pb_stream_ticket=x; Path=/api/v2/events; HttpOnly; SameSite=Lax; Max-Age=60";
        assert_eq!(checked(whole, false).0, State::Pass);
        assert_eq!(checked(&format!("{whole}; Secure"), true).0, State::Pass);
        assert_eq!(checked(whole, true).1, "Secure is missing");
        for (part, word) in [
            ("Path=/api/v2/events; ", "Path"),
            ("HttpOnly; ", "HttpOnly"),
            ("SameSite=Lax; ", "SameSite"),
            ("; Max-Age=60", "Max-Age"),
        ] {
            let (state, evidence) = checked(&whole.replace(part, ""), false);
            assert_eq!(state, State::Fail, "{part}");
            assert!(evidence.starts_with(word), "{part}: {evidence}");
        }
        assert_eq!(
            checked(&whole.replace("/api/v2/events", "/"), false).1,
            "Path is not /api/v2/events"
        );
        assert_eq!(
            checked(&whole.replace("=60", "=86400"), false).0,
            State::Fail
        );
    }
}
